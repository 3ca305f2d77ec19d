//! What open connections say and hear: the messages of a run, and the check that each one is right.
//!
//! Knows no sockets: what is to be sent is written to a buffer, which the worker sends. Invariant: every message that comes
//! is either counted as received or as a fault, and so is every one that has to come and does not.

use std::sync::Arc;

use super::client::{Client, Part};
use super::plan::{Mode, Pace, Plan};
use super::rounds::Rounds;
use super::stamp::{Messages, Stamp};
use super::tally::{Counts, Latencies, Stage};
use crate::protocol::{Close, CloseCode, Event, Message, Opcode, write_frame};

/// One worker's messages.
#[derive(Debug)]
pub(super) struct Talk {
    messages: Messages,
    plan: Arc<Plan>,
    rounds: Arc<Rounds>,
    pub stage: Stage,
    pub counts: Counts,
    pub latencies: Latencies,
    /// A time that messages took, and how many in a row that is not among the latencies yet: of those that were due at once
    /// and come in one read it is the same.
    took_ns: u64,
    times: u64,
    /// Messages whose echo has not come.
    pub in_flight: u64,
    /// What came of each publisher and was not told to the others yet.
    delivered: Box<[u64]>,
    /// What is to be sent.
    pub out: Vec<u8>,
}

impl Talk {
    pub fn new(plan: Arc<Plan>, rounds: Arc<Rounds>) -> Self {
        Self {
            messages: Messages::new(plan.size, plan.text, &plan.envelope, plan.mode == Mode::Fanout),
            stage: Stage::default(),
            counts: Counts::default(),
            latencies: Latencies::default(),
            took_ns: 0,
            times: 0,
            in_flight: 0,
            delivered: vec![0; if plan.mode == Mode::Fanout { plan.publishers } else { 0 }].into(),
            plan,
            rounds,
            out: Vec::new(),
        }
    }

    /// Whether messages are sent now.
    pub fn flows(&self) -> bool {
        matches!(self.stage, Stage::WarmUp | Stage::Measure)
    }

    /// Writes the next message of a connection.
    pub fn say(&mut self, client: &mut Client, due_ns: u64) {
        self.messages.write(&mut self.out, Stamp { sender: client.number, number: client.next, due_ns });
        client.next += 1;
        self.counts.sent += 1;
        if !matches!(client.part, Part::Publish(_)) {
            client.due_ns.push_back(due_ns);
            self.in_flight += 1;
        }
    }

    /// Fills a connection up to what is to be under way on it, in a closed loop.
    pub fn fill(&mut self, client: &mut Client, now_ns: u64) {
        let Pace::InFlight(max) = self.plan.pace else { return };
        if !self.flows() {
            return;
        }
        match client.part {
            Part::Echo => (client.due_ns.len()..max).for_each(|_| self.say(client, now_ns)),
            Part::Publish(publisher) => {
                let completed = self.rounds.completed(publisher);
                (client.next..completed + max as u64).for_each(|_| self.say(client, now_ns));
            }
            _ => {}
        }
    }

    /// Takes what came on a connection, and writes what it answers.
    pub fn hear(&mut self, client: &mut Client, event: Event<'_>, now_ns: u64) {
        match event {
            Event::Message(_) if client.skipped < self.plan.skipped_greetings => client.skipped += 1,
            Event::Message(message) => match client.part {
                Part::Publish(_) | Part::Listen => self.hear_published(client, message, now_ns),
                _ => self.hear_echo(client, message, now_ns),
            },
            Event::Ping(payload) => {
                let mask = self.messages.mask();
                write_frame(&mut self.out, Opcode::Pong, payload, Some(mask));
            }
            Event::Pong(_) => {}
            Event::Close(close) => {
                if self.stage < Stage::Close {
                    self.counts.fault(closed_early(close), 1);
                }
                let mask = self.messages.mask();
                client.connection.close(&mut self.out, close, Some(mask));
            }
        }
    }

    fn hear_echo(&mut self, client: &mut Client, message: Message<'_>, now_ns: u64) {
        let Some(due_ns) = client.due_ns.pop_front() else {
            // Once connections are closed, what had not come was counted as missing.
            if self.stage < Stage::Close && !(self.plan.greeting.is_some() && client.heard == 0) {
                self.counts.fault("A message came on a connection that awaited none.", 1);
            }
            return;
        };
        self.in_flight -= 1;
        if self.messages.is(message.as_bytes(), client.number, client.heard) {
            self.counts.received += 1;
            self.counts.received_bytes += message.len() as u64;
            self.note(now_ns.saturating_sub(due_ns));
        } else {
            self.counts.fault("A message came that was not the one due: changed, lost, twice or out of order.", 1);
        }
        client.heard += 1;
        if client.part == Part::Echo && self.flows() && matches!(self.plan.pace, Pace::InFlight(_)) {
            self.say(client, now_ns);
        }
    }

    fn hear_published(&mut self, client: &mut Client, message: Message<'_>, now_ns: u64) {
        let stamp = self.messages.read(message.as_bytes());
        let known = stamp.and_then(|stamp| Some((stamp, self.plan.publisher(stamp.sender as usize)?)));
        let Some((stamp, publisher)) = known else {
            // The answer to the greeting, in the server's own words.
            if !(self.plan.greeting.is_some() && self.stage == Stage::Open) {
                self.counts.fault("A message came that nobody had published.", 1);
            }
            return;
        };
        let expected = &mut client.expected[publisher];
        if stamp.number < *expected {
            self.counts.fault("A message came twice, or after a later one of its publisher.", 1);
            return;
        }
        let missed = stamp.number - *expected;
        if missed > 0 {
            self.counts.missed += missed;
            self.counts.fault("A message never came, though a later one of its publisher did.", missed);
        }
        *expected = stamp.number + 1;
        // Also for those that are lost, or the publisher would wait for them for ever.
        self.delivered[publisher] += missed + 1;
        self.counts.received += 1;
        self.counts.received_bytes += message.len() as u64;
        self.note(now_ns.saturating_sub(stamp.due_ns));
    }

    fn note(&mut self, took_ns: u64) {
        if took_ns != self.took_ns {
            self.note_same();
            self.took_ns = took_ns;
        }
        self.times += 1;
    }

    fn note_same(&mut self) {
        if self.times > 0 {
            self.latencies.note(self.took_ns, std::mem::take(&mut self.times));
        }
    }

    /// How long everything took since this was last asked.
    pub fn take_latencies(&mut self) -> Latencies {
        self.note_same();
        let latencies = self.latencies.clone();
        self.latencies.clear();
        latencies
    }

    /// Tells all threads what has been delivered. Once a turn, since it costs an atomic operation for each publisher.
    pub fn tell_delivered(&mut self) {
        for (publisher, count) in self.delivered.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            self.rounds.delivered(publisher, std::mem::take(count));
        }
    }

    /// The end has come: what was under way on a connection until now counts as missing.
    pub fn give_up(&mut self, client: &mut Client) {
        let missing = client.due_ns.len() as u64;
        if missing > 0 {
            self.counts.fault(missing_fault(self.plan.mode), missing);
        }
        self.forget(client);
    }

    /// A connection has ended: what was under way on it never comes.
    pub fn forget(&mut self, client: &mut Client) {
        self.in_flight -= client.due_ns.len() as u64;
        client.due_ns.clear();
    }

    /// Writes the frame that ends a connection.
    pub fn part(&mut self, client: &mut Client) {
        let mask = self.messages.mask();
        client.connection.close(&mut self.out, Some(Close::new(CloseCode::NORMAL, "")), Some(mask));
    }

    /// Writes the first words of a connection to a server that has commands.
    pub fn greet(&mut self, greeting: &str) {
        let mask = self.messages.mask();
        write_frame(&mut self.out, Opcode::Text, greeting.as_bytes(), Some(mask));
    }
}

/// What it is called that a message did not come, though it was waited for.
pub(super) fn missing_fault(mode: Mode) -> &'static str {
    match mode {
        Mode::Idle => "A connection did not answer in the end, though it was waited for.",
        _ => "A message never came, though it was waited for to the end.",
    }
}

fn closed_early(close: Option<Close<'_>>) -> String {
    match close {
        Some(close) if close.reason.is_empty() => format!("The server closed a connection with {}.", close.code),
        Some(close) => format!("The server closed a connection with {}: {:?}.", close.code, close.reason),
        None => "The server closed a connection without saying why.".to_owned(),
    }
}
