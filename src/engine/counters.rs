//! What a core has done, counted. Written by its core alone, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread raises and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more. Only the owning core may call it: a load and a store, no locked instruction.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The count so far.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn write(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The counters of one core.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Counters {
            /// Every counter by name, in a fixed order.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.read()),)+]
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Attempts to accept that failed, most often for want of descriptors.
    accept_errors,
    /// Connections turned away because the server was full or had no descriptor left, or their address had too many.
    turned_away,
    /// Connections that are gone.
    closed,
    /// Upgrades answered with 101.
    upgraded,
    /// Requests answered otherwise.
    http_answers,
    /// Requests refused by the protocol: 4xx and 5xx that no handler asked for.
    http_refusals,
    /// Connections that did not complete a request in time.
    handshake_timeouts,
    /// Messages received.
    messages_received,
    /// Messages sent.
    messages_sent,
    /// Messages sent compressed.
    messages_compressed,
    /// Messages dropped because an outbox was full or the session was closing.
    messages_dropped,
    /// Connections failed because the peer broke the protocol.
    violations,
    /// Handler calls that panicked.
    handler_panics,
    /// Pings sent.
    pings_sent,
    /// Pongs left out because newer pings replaced theirs.
    pongs_coalesced,
    /// Sessions ended because the peer was silent for too long.
    dead_peers,
    /// Sessions ended because nothing left for too long.
    send_timeouts,
    /// Sessions ended because their closing handshake took too long.
    close_timeouts,
    /// Turns of the core's loop.
    turns,
    /// When the last turn was, in milliseconds since the server began: a core that stalls stops counting.
    last_turn_ms,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_by_name() {
        let counters = Counters::default();
        counters.accepted.add(2);
        assert_eq!(counters.all()[0], ("accepted", 2));
    }
}
