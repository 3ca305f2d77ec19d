//! How connections come to be: opened, answered, given up, and tried again.
//!
//! Invariant: whoever failed waits before the next try, so that no loop of failures takes the worker's time.

use std::cmp::Reverse;

use super::Worker;
use crate::load::client::{Part, Phase};
use crate::load::tally::Stage;
use crate::protocol::http::HeadLimits;
use crate::reactor::{self, Chunks, Reactor};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT_NS: u64 = 30_000_000_000;

impl<R: Reactor> Worker<R> {
    /// Opens connections, as many as may be opening at once.
    pub(super) fn open_more(&mut self, now_ns: u64) {
        while self.talk.stage < Stage::Settle && self.opening < self.opening_max && self.unopened < self.clients.len() {
            self.unopened += 1;
            self.open(self.unopened - 1, now_ns);
        }
        // Once messages flow: before, each is tried once, so that opening ends though some cannot be opened.
        while self.talk.flows() && self.opening < self.opening_max {
            let Some(Reverse((_, at))) = self.retries.peek().copied().filter(|Reverse((due_ns, _))| *due_ns <= now_ns)
            else {
                break;
            };
            self.retries.pop();
            self.open(at, now_ns);
        }
    }

    fn open(&mut self, at: usize, now_ns: u64) {
        let client = &mut self.clients[at];
        client.tries += 1;
        let (target, source) = self.shared.plan.route(client.number as usize);
        match reactor::connect(target, source) {
            Ok(socket) => {
                client.reset(socket, now_ns);
                client.sending = true;
                let token = client.token(at);
                self.opening += 1;
                self.reactor.watch(socket, token);
                self.reactor.send(socket, token, Chunks::One(self.shared.request.clone()));
            }
            Err(error) => {
                self.talk.counts.fault(format!("No connection could be begun: {error}."), 1);
                self.come_again(at);
            }
        }
    }

    /// Reads the answer to the request, and the frames that may follow it.
    pub(super) fn consume_answer(&mut self, at: usize, input: &[u8]) {
        let client = &mut self.clients[at];
        client.head.extend_from_slice(input);
        let bytes = match client.scan.find_end(&client.head, &HeadLimits::default()) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(refusal) => return self.refused(at, format!("The server's answer is no HTTP/1.1 head. {refusal}")),
        };
        let head = std::mem::take(&mut client.head);
        let protocols: Vec<&str> = self.shared.plan.protocols.iter().map(String::as_str).collect();
        if let Err(error) = self.shared.handshake.check_response(&head[..bytes], &protocols) {
            return self.refused(at, error.to_string());
        }
        let now_ns = self.shared.clock.now_ns();
        let client = &mut self.clients[at];
        client.phase = Phase::Open;
        self.opening -= 1;
        self.open += 1;
        self.talk.counts.opened += 1;
        match (client.part, &self.shared.plan.greeting) {
            (Part::ComeAndGo, _) => {
                client.tries = 0;
                self.talk.latencies.note(now_ns.saturating_sub(client.since_ns), 1);
                return self.end(at);
            }
            (_, Some(greeting)) => self.talk.greet(greeting),
            _ => {}
        }
        self.transmit(at);
        self.consume_frames(at, &mut head[bytes..].to_vec());
        self.fill(at, now_ns);
    }

    pub(super) fn refused(&mut self, at: usize, why: String) {
        self.talk.counts.fault(why, 1);
        self.end(at);
    }

    /// Opens a connection again that has ended: at once if that was meant, later if not.
    pub(super) fn come_again(&mut self, at: usize) {
        let client = &self.clients[at];
        if self.talk.stage >= Stage::Settle || !client.part.comes_again(self.shared.plan.mode) {
            return;
        }
        let now_ns = self.shared.clock.now_ns();
        match client.backoff_ns() {
            0 => self.open(at, now_ns),
            backoff_ns => self.retries.push(Reverse((now_ns + backoff_ns, at))),
        }
    }

    pub(super) fn give_up_on_slow_handshakes(&mut self, now_ns: u64) {
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if client.phase == Phase::Opening && now_ns.saturating_sub(client.since_ns) > HANDSHAKE_TIMEOUT_NS {
                self.refused(at, "A handshake was not answered in 30 s.".to_owned());
            }
        }
    }
}
