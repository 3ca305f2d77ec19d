//! The units that subjects and addresses have spent, over all cores.
//!
//! Owns a table that cores share. It is used for each message only while there is a rate for subjects or addresses;
//! each lock is held for one lookup. Invariant: the table holds at most [`SENDERS_MAX`] senders. Those that have a
//! whole burst again are forgotten; when the table is full of others, a new sender is not counted, so that nobody can
//! lock others out.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kind::{KindRates, room_at_ms, spend};
use super::rate::Spent;
use crate::engine::admission::Network;

/// Parts of the table with a lock each: many more than cores, so that two cores seldom compete for one.
const SHARDS: usize = 64;

/// Senders that are remembered: 131,072, some 16 MiB.
const SENDERS_MAX: usize = 128 * 1024;

/// Senders that a part remembers.
const SENDERS_PER_SHARD_MAX: usize = SENDERS_MAX / SHARDS;

/// The time between two looks through a part that is rather full, which takes some 20 µs: else every message of a new
/// sender would pay for one.
const LOOK_INTERVAL_MS: u64 = 1_000;

/// Senders of a part from which on those that have a whole burst again are forgotten.
const SENDERS_KEPT: usize = 64;

/// A sender that may have several sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    Subject(Arc<str>),
    Address(Network),
}

impl Sender {
    /// Returns the sender that an address belongs to.
    pub(super) fn of_address(address: IpAddr) -> Self {
        Self::Address(Network::of(address))
    }
}

/// See the module.
#[derive(Debug)]
pub struct SharedRates {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

impl Default for SharedRates {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

#[derive(Debug, Default)]
struct Shard {
    senders: HashMap<Sender, Entry>,
    /// The number of senders from which on the next one looks for those that can be forgotten.
    kept: usize,
    /// The time before which nobody looks again.
    look_again_ms: u64,
}

/// The units that a sender has spent, on the scale of these rates. Cores take new rates one after another, and another
/// scale would mean nothing.
#[derive(Clone, Copy, Debug)]
struct Entry {
    rates: KindRates,
    messages: Spent,
    bytes: Spent,
    subscriptions: Spent,
}

impl SharedRates {
    /// Counts a message. Returns the time from which there is room for the next.
    pub(super) fn publish(&self, sender: Sender, rates: KindRates, bytes: u64, now_ms: u64) -> u64 {
        self.with(sender, rates, now_ms, |entry| {
            let messages_ms = spend(rates.messages, &mut entry.messages, 1, now_ms);
            messages_ms.max(spend(rates.bytes, &mut entry.bytes, bytes, now_ms))
        })
    }

    /// Returns the time from which there is room for a message.
    pub(super) fn room_at_ms(&self, sender: Sender, rates: KindRates, now_ms: u64) -> u64 {
        let shard = self.shard(&sender);
        let Some(entry) = shard.senders.get(&sender).filter(|entry| entry.rates == rates) else { return now_ms };
        room_at_ms(rates.messages, entry.messages, now_ms).max(room_at_ms(rates.bytes, entry.bytes, now_ms))
    }

    /// Counts a subscription, unless there were too many recently.
    pub(super) fn admit_subscription(&self, sender: Sender, rates: KindRates, now_ms: u64) -> bool {
        let Some(rate) = rates.subscriptions else { return true };
        self.with(sender, rates, now_ms, |entry| {
            let has_room = rate.has_room(entry.subscriptions, now_ms);
            if has_room {
                entry.subscriptions = rate.spend(entry.subscriptions, 1, now_ms);
            }
            has_room
        })
    }

    /// Calls `count` with the entry of a sender: its own, or that of a sender that nothing is known of.
    fn with<T>(&self, sender: Sender, rates: KindRates, now_ms: u64, count: impl FnOnce(&mut Entry) -> T) -> T {
        let mut shard = self.shard(&sender);
        let entry = shard.senders.get_mut(&sender);
        if let Some(entry) = entry.filter(|entry| entry.rates == rates) {
            return count(entry);
        }
        let mut entry = Entry::new(rates);
        let counted = count(&mut entry);
        shard.remember(sender, entry, now_ms);
        counted
    }

    fn shard(&self, sender: &Sender) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(sender) as usize % SHARDS;
        // No code that runs under the lock can panic midway.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn remember(&mut self, sender: Sender, entry: Entry, now_ms: u64) {
        if self.senders.len() >= self.kept.max(SENDERS_KEPT) && now_ms >= self.look_again_ms {
            self.senders.retain(|_, entry| !entry.is_rested(now_ms));
            self.kept = (2 * self.senders.len()).min(SENDERS_PER_SHARD_MAX);
            if self.senders.len() >= SENDERS_PER_SHARD_MAX / 2 {
                self.look_again_ms = now_ms + LOOK_INTERVAL_MS;
            }
        }
        if self.senders.len() < SENDERS_PER_SHARD_MAX || self.senders.contains_key(&sender) {
            self.senders.insert(sender, entry);
        }
    }
}

impl Entry {
    fn new(rates: KindRates) -> Self {
        let none = Spent::default();
        Self { rates, messages: none, bytes: none, subscriptions: none }
    }

    /// Returns whether the sender has whole bursts, as one that nothing is known of.
    fn is_rested(&self, now_ms: u64) -> bool {
        let Self { rates, messages, bytes, subscriptions } = *self;
        [(rates.messages, messages), (rates.bytes, bytes), (rates.subscriptions, subscriptions)]
            .into_iter()
            .all(|(rate, spent)| rate.is_none_or(|rate| rate.is_rested(spent, now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::super::rate::Rate;
    use super::*;

    fn of_messages(per_second: u32, burst_ms: u64) -> KindRates {
        KindRates { messages: Rate::new(per_second, burst_ms), ..KindRates::default() }
    }

    fn stranger(number: u128) -> Sender {
        Sender::of_address(IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (number << 64))))
    }

    fn remembered(shared: &SharedRates) -> usize {
        shared.shards.iter().map(|shard| shard.lock().unwrap().senders.len()).sum()
    }

    #[test]
    fn the_count_is_exact_whatever_core_a_sender_meets() {
        // A burst of 100,000.
        let (shared, rates, passed) = (SharedRates::default(), of_messages(1, 100_000_000), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        assert_eq!(shared.publish(stranger(1), rates, 1, 1_000), 1_000);
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let left = (0..).take_while(|_| shared.publish(stranger(1), rates, 1, 1_000) == 1_000).count() as u64;
        // There is room for another message after all but the last.
        assert_eq!(passed.load(Ordering::Relaxed) + left, 99_999);
    }

    #[test]
    fn millions_of_senders_take_no_more_than_their_memory_and_lock_nobody_out() {
        let (shared, rates) = (SharedRates::default(), of_messages(1, 1_000_000));
        for number in 0..300_000 {
            assert_eq!(shared.publish(stranger(number), rates, 1, 5_000), 5_000);
        }
        assert!(remembered(&shared) <= SENDERS_MAX, "{}", remembered(&shared));
        // Once they are rested, they make room for others.
        for number in 0..100_000 {
            shared.publish(stranger(2_000_000 + number), rates, 1, 10_000);
        }
        let known = (0..100_000).filter(|number| {
            let sender = stranger(2_000_000 + number);
            shared.shard(&sender).senders.contains_key(&sender)
        });
        assert!(known.count() > 90_000);
    }

    #[test]
    fn what_was_spent_by_other_rates_means_nothing() {
        let shared = SharedRates::default();
        let (fast, slow) = (of_messages(1_000_000, 1_000), of_messages(1, 1_000));
        (0..3).for_each(|_| assert_eq!(shared.publish(stranger(1), fast, 1, 1_000_000), 1_000_000));
        assert_eq!(shared.room_at_ms(stranger(1), slow, 1_000_000), 1_000_000);
        assert_eq!(shared.publish(stranger(1), slow, 1, 1_000_000), 1_001_000);
    }
}
