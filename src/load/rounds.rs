//! What the threads of a process tell each other in fan-out: how far each publisher's messages have come.
//!
//! Invariant: a publisher that waits is woken once all have heard its next message.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use super::plan::Plan;

/// All publishers of a run. Those of other processes are there and never move.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How many hear each message, in this process.
    listeners: u64,
    publishers: Box<[Publisher]>,
}

#[derive(Debug, Default)]
struct Publisher {
    /// How often one of its messages was heard.
    delivered: AtomicU64,
    /// Wakes its thread.
    waker: OnceLock<Waker>,
}

impl Rounds {
    pub fn new(plan: &Plan, connections_here: usize) -> Self {
        let listeners = connections_here.saturating_sub(usize::from(!plan.hears_itself)).max(1) as u64;
        let publishers = (0..plan.publishers).map(|_| Publisher::default()).collect();
        Self { listeners, publishers }
    }

    /// How many of its messages all have heard, on average.
    pub fn completed(&self, publisher: usize) -> u64 {
        self.publishers[publisher].delivered.load(Ordering::Relaxed) / self.listeners
    }

    /// Messages of a publisher were heard so many times more.
    pub fn delivered(&self, publisher: usize, count: u64) {
        let Publisher { delivered, waker } = &self.publishers[publisher];
        let before = delivered.fetch_add(count, Ordering::Relaxed);
        if before / self.listeners != (before + count) / self.listeners
            && let Some(waker) = waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// A publisher's thread is woken by this.
    pub fn wakes(&self, publisher: usize, waker: Waker) {
        let _ = self.publishers[publisher].waker.set(waker);
    }
}
