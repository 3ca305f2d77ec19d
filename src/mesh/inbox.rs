//! The inbox of a core: a bounded queue into which any thread pushes.
//!
//! Never waits, neither for room nor for its core. Invariants: the entries of one thread keep their order; an inbox
//! that is full or closed gives an entry back at once; no entry stays in an inbox that is closed. An entry that is
//! pushed while the inbox closes may be dropped, as if the core had ended a moment later.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

/// The entries from outside that wait for one core.
pub(super) struct Inbox<T> {
    /// Allocated at the first push: most cores get no entry from outside, and allocating writes the whole capacity.
    entries: OnceLock<ArrayQueue<T>>,
    capacity: usize,
    /// The core has ended, and will pop nothing more.
    closed: AtomicBool,
    /// The number of entries that found no room.
    refused: AtomicU64,
}

impl<T> Inbox<T> {
    /// Creates an inbox with room for so many entries, and for one at least, which the queue requires.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: OnceLock::new(),
            capacity: capacity.max(1),
            closed: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// Removes and returns the oldest entry.
    pub(super) fn pop(&self) -> Option<T> {
        self.entries.get()?.pop()
    }

    /// Returns whether an entry waits.
    pub(super) fn has_entries(&self) -> bool {
        self.entries.get().is_some_and(|entries| !entries.is_empty())
    }

    /// Adds an entry, or gives it back if the inbox is full or closed.
    pub(super) fn push(&self, entry: T) -> Result<(), T> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(entry);
        }
        self.entries.get_or_init(|| ArrayQueue::new(self.capacity)).push(entry).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        // The core may have ended since the first check, and have emptied the inbox before this entry was in it.
        // `close` stores before it pops, and this loads after the push, so one of the two sees the other's entry or
        // flag.
        if self.closed.load(Ordering::SeqCst) {
            self.close();
        }
        Ok(())
    }

    /// Returns how many entries have found no room so far. Those that came after the end of the core do not count.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Refuses further entries, and drops those in the inbox.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.pop().is_some() {}
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("entries", &self.entries.get().map_or(0, ArrayQueue::len))
            .field("closed", &self.closed)
            .finish()
    }
}
