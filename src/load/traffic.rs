//! The messages of open connections: writes those to send, and checks each one received.
//!
//! Knows no sockets: outgoing frames go into a buffer, which the worker sends. Invariant: every received message counts
//! either as received or as a fault, and so does every expected message that never arrives.

use std::sync::Arc;

use super::client::{Client, Job};
use super::deliveries::Deliveries;
use super::plan::{Mode, Pace, Plan};
use super::stamp::{Messages, Stamp};
use super::tally::{Counts, Latencies, Stage};
use crate::protocol::{Close, CloseCode, Event, Message, Opcode, write_frame};

/// One worker's traffic.
#[derive(Debug)]
pub(super) struct Traffic {
    messages: Messages,
    plan: Arc<Plan>,
    deliveries: Arc<Deliveries>,
    pub stage: Stage,
    pub counts: Counts,
    pub latencies: Latencies,
    /// A latency, and how many messages in a row had it, not recorded yet: messages that were due at once and arrive in
    /// one read share the same latency.
    took_ns: u64,
    times: u64,
    /// Messages whose echo has not arrived.
    pub in_flight: u64,
    /// Deliveries of each publisher that were not shared with the other threads yet.
    delivered: Box<[u64]>,
    /// Frames to send.
    pub out: Vec<u8>,
}

impl Traffic {
    pub fn new(plan: Arc<Plan>, deliveries: Arc<Deliveries>) -> Self {
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
            deliveries,
            out: Vec::new(),
        }
    }

    /// Returns whether messages are being sent.
    pub fn is_flowing(&self) -> bool {
        matches!(self.stage, Stage::WarmUp | Stage::Measure)
    }

    /// Writes the next message of a connection.
    pub fn write_next(&mut self, client: &mut Client, due_ns: u64) {
        self.messages.write(&mut self.out, Stamp { sender: client.number, number: client.next, due_ns });
        client.next += 1;
        self.counts.sent += 1;
        if !matches!(client.job, Job::Publish(_)) {
            client.due_ns.push_back(due_ns);
            self.in_flight += 1;
        }
    }

    /// Writes messages of a closed loop until the intended number is in flight.
    pub fn fill(&mut self, client: &mut Client, now_ns: u64) {
        let Pace::InFlight(max) = self.plan.pace else { return };
        if !self.is_flowing() {
            return;
        }
        match client.job {
            Job::Echo => (client.due_ns.len()..max).for_each(|_| self.write_next(client, now_ns)),
            Job::Publish(publisher) => {
                let completed = self.deliveries.completed(publisher);
                (client.next..completed + max as u64).for_each(|_| self.write_next(client, now_ns));
            }
            _ => {}
        }
    }

    /// Processes an event of a connection, and writes the answer to it.
    pub fn receive(&mut self, client: &mut Client, event: Event<'_>, now_ns: u64) {
        match event {
            Event::Message(_) if client.skipped < self.plan.skipped_greetings => client.skipped += 1,
            Event::Message(message) => match client.job {
                Job::Publish(_) | Job::Subscribe => self.receive_published(client, message, now_ns),
                _ => self.receive_echo(client, message, now_ns),
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

    fn receive_echo(&mut self, client: &mut Client, message: Message<'_>, now_ns: u64) {
        let Some(due_ns) = client.due_ns.pop_front() else {
            // In the last stage, missing echoes were counted already.
            if self.stage < Stage::Close && !(self.plan.greeting.is_some() && client.received == 0) {
                self.counts.fault("An unexpected message arrived.", 1);
            }
            return;
        };
        self.in_flight -= 1;
        if self.messages.is(message.as_bytes(), client.number, client.received) {
            self.counts.received += 1;
            self.counts.received_bytes += message.len() as u64;
            self.note(now_ns.saturating_sub(due_ns));
        } else {
            self.counts
                .fault("A message arrived that is not the expected one: changed, lost, repeated or reordered.", 1);
        }
        client.received += 1;
        if client.job == Job::Echo && self.is_flowing() && matches!(self.plan.pace, Pace::InFlight(_)) {
            self.write_next(client, now_ns);
        }
    }

    fn receive_published(&mut self, client: &mut Client, message: Message<'_>, now_ns: u64) {
        let stamp = self.messages.read(message.as_bytes());
        let known = stamp.and_then(|stamp| Some((stamp, self.plan.publisher(stamp.sender as usize)?)));
        let Some((stamp, publisher)) = known else {
            // The answer to the greeting has a form of the server's own.
            if !(self.plan.greeting.is_some() && self.stage == Stage::Open) {
                self.counts.fault("A message arrived that was never published.", 1);
            }
            return;
        };
        let expected = &mut client.expected[publisher];
        if stamp.number < *expected {
            self.counts.fault("A message arrived twice, or after a later one of its publisher.", 1);
            return;
        }
        let missed = stamp.number - *expected;
        if missed > 0 {
            self.counts.missed += missed;
            self.counts.fault("A message never arrived, but a later one of its publisher did.", missed);
        }
        *expected = stamp.number + 1;
        // Lost messages count as delivered, or the publisher would wait for them for ever.
        self.delivered[publisher] += missed + 1;
        self.counts.received += 1;
        self.counts.received_bytes += message.len() as u64;
        self.note(now_ns.saturating_sub(stamp.due_ns));
    }

    fn note(&mut self, took_ns: u64) {
        if took_ns != self.took_ns {
            self.record_pending();
            self.took_ns = took_ns;
        }
        self.times += 1;
    }

    fn record_pending(&mut self) {
        if self.times > 0 {
            self.latencies.note(self.took_ns, std::mem::take(&mut self.times));
        }
    }

    /// Takes the latencies since the last call.
    pub fn take_latencies(&mut self) -> Latencies {
        self.record_pending();
        let latencies = self.latencies.clone();
        self.latencies.clear();
        latencies
    }

    /// Shares the deliveries with all threads. Called once a turn, because each publisher costs an atomic operation.
    pub fn share_deliveries(&mut self) {
        for (publisher, count) in self.delivered.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            self.deliveries.add(publisher, std::mem::take(count));
        }
    }

    /// Counts the messages in flight of a connection as missing: the end of the run has come.
    pub fn count_missing(&mut self, client: &mut Client) {
        let missing = client.due_ns.len() as u64;
        if missing > 0 {
            self.counts.fault(missing_fault(self.plan.mode), missing);
        }
        self.drop_in_flight(client);
    }

    /// Drops the messages in flight of a connection that has ended.
    pub fn drop_in_flight(&mut self, client: &mut Client) {
        self.in_flight -= client.due_ns.len() as u64;
        client.due_ns.clear();
    }

    /// Writes a Close frame.
    pub fn write_close(&mut self, client: &mut Client) {
        let mask = self.messages.mask();
        client.connection.close(&mut self.out, Some(Close::new(CloseCode::NORMAL, "")), Some(mask));
    }

    /// Writes the greeting of a connection, for servers with commands.
    pub fn write_greeting(&mut self, greeting: &str) {
        let mask = self.messages.mask();
        write_frame(&mut self.out, Opcode::Text, greeting.as_bytes(), Some(mask));
    }
}

/// Returns the fault for a message that did not arrive by the end.
pub(super) fn missing_fault(mode: Mode) -> &'static str {
    match mode {
        Mode::Idle => "A connection did not answer at the end of the run.",
        _ => "A message had not arrived by the end of the run.",
    }
}

fn closed_early(close: Option<Close<'_>>) -> String {
    match close {
        Some(close) if close.reason.is_empty() => format!("The server closed a connection with {}.", close.code),
        Some(close) => format!("The server closed a connection with {}: {:?}.", close.code, close.reason),
        None => "The server closed a connection without a close code.".to_owned(),
    }
}
