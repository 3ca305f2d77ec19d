//! The counters of a core: written by the core alone, readable from any thread.
//!
//! Each counter is one row of the table below: its name, its exported name, and its help text.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::reasons::{DropReason, End};
use crate::protocol::http::Refusal;
use crate::protocol::{CloseCode, Reason, Violation};
use crate::tls::FaultKind;

/// A number that one thread raises and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the counter. Only the owning core may call it: a load and a store, no locked instruction.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Returns the count so far.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn write(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Numbers that one thread raises and any thread reads, one for each reason.
#[derive(Debug)]
pub struct ByReason<R> {
    counters: Box<[Counter]>,
    reason: PhantomData<fn(R)>,
}

impl<R: Reason> ByReason<R> {
    /// Adds one to the count of this reason. Only the owning core may call it.
    #[inline]
    pub fn add(&self, reason: &R) {
        self.add_many(reason, 1);
    }

    /// Adds to the count of this reason. Only the owning core may call it.
    #[inline]
    pub fn add_many(&self, reason: &R, count: u64) {
        if let Some(counter) = self.counters.get(reason.index()) {
            counter.add(count);
        }
    }

    /// Returns the count of this reason so far.
    pub fn read_for(&self, reason: &R) -> u64 {
        self.counters.get(reason.index()).map_or(0, Counter::read)
    }

    /// Returns the name and the count so far of every reason, in a fixed order.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        R::NAMES.iter().copied().zip(self.counters.iter().map(Counter::read))
    }

    /// Returns the count of all reasons so far.
    pub fn read(&self) -> u64 {
        self.counters.iter().map(Counter::read).sum()
    }
}

impl<R: Reason> Default for ByReason<R> {
    fn default() -> Self {
        Self { counters: R::NAMES.iter().map(|_| Counter::default()).collect(), reason: PhantomData }
    }
}

/// The values of one counter at one moment: one number, or one for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CounterFamily {
    /// The exported name, without the prefix `ringsock_` and the suffix `_total`.
    pub name: &'static str,
    /// The help text: a sentence that says what is counted.
    pub help: &'static str,
    /// The label that tells the values apart; empty for a single number.
    pub label: &'static str,
    /// The values by the label's value; a single number has an empty one.
    pub counts: Vec<(&'static str, u64)>,
}

impl CounterFamily {
    /// Returns the sum of all values.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

/// The type of a row of the table.
trait Row {
    fn family(&self, name: &'static str, help: &'static str) -> CounterFamily;
}

impl Row for Counter {
    fn family(&self, name: &'static str, help: &'static str) -> CounterFamily {
        CounterFamily { name, help, label: "", counts: vec![("", self.read())] }
    }
}

impl<R: Reason> Row for ByReason<R> {
    fn family(&self, name: &'static str, help: &'static str) -> CounterFamily {
        CounterFamily { name, help, label: R::LABEL, counts: self.counts().collect() }
    }
}

macro_rules! counters {
    ($(#[doc = $doc:literal] $field:ident: $row:ty = $name:literal,)+) => {
        /// The counters of one core, since the server started. [`Counters::all`] returns each with its name and help.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $doc] pub(crate) $field: $row,)+
            /// The topics with subscribers on this core.
            pub(crate) topics: Counter,
            /// The clients that wait for their handshake of TLS.
            pub(crate) tls_handshakes_waiting: Counter,
            /// The subscriptions of this core's sessions.
            pub(crate) subscriptions: Counter,
            /// The time of the last turn in milliseconds since the server started, by the host's clock. Written by the
            /// loop that drives the core, so it stops while the core is stalled.
            pub(crate) last_turn_ms: Counter,
        }

        impl Counters {
            /// Returns the values of every counter, in a fixed order.
            pub fn all(&self) -> Vec<CounterFamily> {
                vec![$(self.$field.family($name, $doc.trim_ascii()),)+]
            }

            /// Returns the number of connections at present.
            pub fn connections(&self) -> u64 {
                // A closed connection was accepted before, so the closed ones are read first.
                let closed = self.closed.read();
                self.accepted.read().saturating_sub(closed)
            }

            /// Returns the number of WebSocket sessions at present.
            pub fn sessions(&self) -> u64 {
                let closed = self.sessions_closed.read();
                self.upgraded.read().saturating_sub(closed)
            }
        }
    };
}

counters! {
    /// Connections that were accepted.
    accepted: Counter = "connections_accepted",
    /// Attempts to accept that failed, mostly for lack of descriptors.
    accept_errors: Counter = "accept_errors",
    /// Connections that were answered without a session; for the reasons see ringsock_refusals_total.
    turned_away: Counter = "connections_turned_away",
    /// Connections that have ended, by the first event that made their end certain.
    closed: ByReason<End> = "connections_closed",
    /// Upgrades that were answered with 101, each a WebSocket session.
    upgraded: Counter = "sessions_opened",
    /// WebSocket sessions that have ended, for any reason.
    sessions_closed: Counter = "sessions_closed",
    /// Requests that a handler answered, including upgrades that it rejected.
    http_answers: Counter = "http_answers",
    /// Requests and connections that were refused before a handler saw them, or because it failed.
    http_refusals: ByReason<Refusal> = "refusals",
    /// Connections that did not complete a request in time.
    handshake_timeouts: Counter = "handshake_timeouts",
    /// Handshakes of TLS that were completed.
    tls_handshakes: Counter = "tls_handshakes",
    /// Connections on which TLS failed, in the handshake or later.
    tls_failures: ByReason<FaultKind> = "tls_failures",
    /// Handshakes of TLS that were not continued because their client had left.
    tls_handshakes_skipped: Counter = "tls_handshakes_skipped",
    /// Connections that were reset because too many clients waited for their handshake of TLS.
    tls_handshakes_cut_off: Counter = "tls_handshakes_cut_off",
    /// Streams over TLS that ended without close_notify.
    tls_truncated: Counter = "tls_truncated",
    /// Messages that were received.
    messages_received: Counter = "messages_received",
    /// Messages that were published to topics, by handlers or from outside.
    messages_published: Counter = "messages_published",
    /// Messages sent or queued for sessions; a published one counts for each subscriber, even if dropped later.
    messages_sent: Counter = "messages_sent",
    /// Messages that were sent compressed.
    messages_compressed: Counter = "messages_compressed",
    /// Messages that were dropped instead of sent, some of them while they waited.
    messages_dropped: ByReason<DropReason> = "messages_dropped",
    /// Protocol violations of peers, each of which failed a session.
    violations: ByReason<Violation> = "violations",
    /// Close frames that peers sent.
    closes_received: ByReason<Option<CloseCode>> = "close_frames_received",
    /// Close frames that this server sent, including echoes.
    closes_sent: ByReason<Option<CloseCode>> = "close_frames_sent",
    /// Calls and tasks of handlers that panicked.
    handler_panics: Counter = "handler_panics",
    /// Pings that were sent.
    pings_sent: Counter = "pings_sent",
    /// Pongs that were left out because newer pings replaced theirs.
    pongs_coalesced: Counter = "pongs_coalesced",
    /// Bytes that were discarded because they arrived after the last answer or Close frame.
    bytes_discarded: Counter = "discarded_bytes",
    /// Connections that were cut off because too many bytes arrived after the last answer or Close frame.
    input_overruns: Counter = "input_overruns",
    /// Sessions that ended because their peer was silent for too long.
    dead_peers: Counter = "dead_peers",
    /// Sessions that ended because nothing could be sent for too long.
    send_timeouts: Counter = "send_timeouts",
    /// Connections that were cut off because their end took too long.
    close_timeouts: Counter = "close_timeouts",
    /// Sessions that were throttled because they published more than could be delivered.
    publishers_throttled: Counter = "publishers_throttled",
    /// Times that a session was read more slowly because it published above its rate.
    publishers_slowed: Counter = "publishers_slowed",
    /// Sessions that were closed with 1008 because they went on to publish above their rate.
    publishers_closed: Counter = "publishers_closed",
    /// Subscriptions that were refused because they came above the rate of their session, subject or address.
    subscriptions_refused: Counter = "subscriptions_refused",
    /// Mail between handlers that was handed to the handler of its core.
    mail_delivered: Counter = "mail_delivered",
    /// Mail to a core that was dropped because the ring to that core was full, or there is no such core.
    mail_dropped: Counter = "mail_dropped",
    /// Entries from threads outside the cores (mail, messages to publish and to send) that found the core's inbox full.
    inbox_full: Counter = "inbox_full",
    /// Turns of the core's loop.
    turns: Counter = "turns",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_by_name_and_reason() {
        let counters = Counters::default();
        counters.accepted.add(2);
        counters.closed.add(&End::Violation);
        counters.closes_sent.add(&None);
        counters.closes_sent.add(&CloseCode::new(4999));
        let all = counters.all();
        assert_eq!((all[0].name, &all[0].counts[..]), ("connections_accepted", &[("", 2)][..]));
        let family = |name| all.iter().find(|family| family.name == name).unwrap();
        let counted =
            |name| family(name).counts.iter().copied().filter(|(_, count)| *count > 0).collect::<Vec<(&str, u64)>>();
        assert_eq!(counted("connections_closed"), [("violation", 1)]);
        assert_eq!(counted("close_frames_sent"), [("4000-4999", 1), ("none", 1)]);
        assert_eq!((family("close_frames_sent").label, family("close_frames_sent").total()), ("code", 2));
        assert_eq!((family("connections_closed").label, family("turns").label), ("reason", ""));
        assert_eq!((counters.closed.read_for(&End::Violation), counters.closed.read()), (1, 1));
    }

    #[test]
    fn every_counter_has_a_name_of_its_own_and_says_in_a_sentence_what_it_counts() {
        let all = Counters::default().all();
        let mut names: Vec<_> = all.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for family in all {
            assert!(family.help.starts_with(char::is_uppercase) && family.help.ends_with('.'), "{family:?}");
        }
    }
}
