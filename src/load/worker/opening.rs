//! The opening of connections: first attempts, handshake answers, timeouts and retries.
//!
//! Invariant: a failed connection waits before its next attempt, so that repeated failures do not take all of the
//! worker's time.

use std::cmp::Reverse;

use super::Worker;
use crate::load::client::{Job, Phase};
use crate::load::tally::Stage;
use crate::protocol::http::HeadLimits;
use crate::reactor::{self, Reactor};
use crate::tls::Session as TlsSession;
use crate::transport::Transport;

/// The longest time a handshake may take.
const HANDSHAKE_TIMEOUT_NS: u64 = 30_000_000_000;

impl<R: Reactor> Worker<R> {
    /// Opens connections, up to the limit of those opening at once.
    pub(super) fn open_more(&mut self, now_ns: u64) {
        while self.traffic.stage < Stage::Settle
            && self.opening < self.opening_max
            && self.unopened < self.clients.len()
        {
            self.unopened += 1;
            self.open(self.unopened - 1, now_ns);
        }
        // Retries wait until messages flow: until then each is tried once, so that opening ends even if some fail.
        while self.traffic.is_flowing() && self.opening < self.opening_max {
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
                client.reset(Transport::new(socket), now_ns);
                self.opening += 1;
                let token = client.token(at);
                if let Some(transport) = &mut client.transport {
                    transport.watch(&mut self.reactor, token);
                }
                match &self.shared.connector {
                    None => self.send_request(at),
                    Some(connector) => match connector.connect() {
                        Ok(session) => self.shake_hands(at, session),
                        Err(error) => self.fail_opening(at, error.to_string()),
                    },
                }
            }
            Err(error) => {
                self.traffic.counts.fault(format!("A connection could not be started: {error}."), 1);
                self.reopen(at);
            }
        }
    }

    /// Begins the TLS session of a connection.
    fn shake_hands(&mut self, at: usize, session: TlsSession) {
        let client = &mut self.clients[at];
        if let Some(transport) = &mut client.transport {
            self.tls.insert(at as u32, session);
            transport.secure();
            match self.tls.start(at as u32) {
                Ok(()) => self.send_answer(at),
                Err(fault) => self.fail_opening(at, fault.to_string()),
            }
        }
    }

    /// Sends the request for a WebSocket.
    pub(super) fn send_request(&mut self, at: usize) {
        self.queue_send(at, self.shared.request.clone());
    }

    /// Reads the handshake answer, and any frames that follow it.
    pub(super) fn consume_answer(&mut self, at: usize, input: &[u8]) {
        let client = &mut self.clients[at];
        client.head.extend_from_slice(input);
        let bytes = match client.scan.find_end(&client.head, &HeadLimits::default()) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(refusal) => return self.fail_opening(at, format!("The server's answer is not HTTP/1.1. {refusal}")),
        };
        let head = std::mem::take(&mut client.head);
        let protocols: Vec<&str> = self.shared.plan.protocols.iter().map(String::as_str).collect();
        if let Err(error) = self.shared.handshake.check_response(&head[..bytes], &protocols) {
            return self.fail_opening(at, error.to_string());
        }
        let now_ns = self.shared.clock.now_ns();
        let client = &mut self.clients[at];
        client.phase = Phase::Open;
        self.opening -= 1;
        self.open += 1;
        self.traffic.counts.opened += 1;
        match (client.job, &self.shared.plan.greeting) {
            (Job::Reconnect, _) => {
                client.tries = 0;
                self.traffic.latencies.note(now_ns.saturating_sub(client.since_ns), 1);
                return self.end(at);
            }
            (_, Some(greeting)) => self.traffic.write_greeting(greeting),
            _ => {}
        }
        self.transmit(at);
        self.consume_frames(at, &mut head[bytes..].to_vec());
        self.fill(at, now_ns);
    }

    pub(super) fn fail_opening(&mut self, at: usize, why: String) {
        self.traffic.counts.fault(why, 1);
        self.end(at);
    }

    /// Reopens a connection that has ended: at once after an intended end, later after a failure.
    pub(super) fn reopen(&mut self, at: usize) {
        let client = &self.clients[at];
        if self.traffic.stage >= Stage::Settle || !client.job.reopens(self.shared.plan.mode) {
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
                self.fail_opening(at, "A handshake was not answered in 30 s.".to_owned());
            }
        }
    }
}
