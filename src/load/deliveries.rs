//! Delivery counts of a fan-out, shared by the threads of a process: how many of each publisher's messages have
//! arrived.
//!
//! Invariant: a waiting publisher is woken once all connections have received its next message.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use super::plan::Plan;

/// The deliveries of all publishers of a run. Publishers of other processes are included and stay at 0.
#[derive(Debug)]
pub(super) struct Deliveries {
    /// Receivers of each message in this process.
    receivers: u64,
    publishers: Box<[Publisher]>,
}

#[derive(Debug, Default)]
struct Publisher {
    /// How often one of its messages was received.
    delivered: AtomicU64,
    /// Wakes the publisher's thread.
    waker: OnceLock<Waker>,
}

impl Deliveries {
    pub fn new(plan: &Plan, connections_here: usize) -> Self {
        let receivers = connections_here.saturating_sub(usize::from(!plan.receives_own)).max(1) as u64;
        let publishers = (0..plan.publishers).map(|_| Publisher::default()).collect();
        Self { receivers, publishers }
    }

    /// Returns how many messages of a publisher have reached all receivers, on average.
    pub fn completed(&self, publisher: usize) -> u64 {
        self.publishers[publisher].delivered.load(Ordering::Relaxed) / self.receivers
    }

    /// Adds `count` deliveries of a publisher's messages, and wakes the publisher if that completes one.
    pub fn add(&self, publisher: usize, count: u64) {
        let Publisher { delivered, waker } = &self.publishers[publisher];
        let before = delivered.fetch_add(count, Ordering::Relaxed);
        if before / self.receivers != (before + count) / self.receivers
            && let Some(waker) = waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// Sets the waker of a publisher's thread.
    pub fn set_waker(&self, publisher: usize, waker: Waker) {
        let _ = self.publishers[publisher].waker.set(waker);
    }
}
