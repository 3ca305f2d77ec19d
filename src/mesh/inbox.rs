//! The inbox of a core: a bounded queue into which any thread pushes.
//!
//! Never waits for its core. Invariant: the entries of one thread keep their order, and an inbox that is full or closed
//! gives an entry back at once.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

/// The entries from outside that wait for one core.
pub(super) struct Inbox<T> {
    /// Allocated at the first push: most cores get no entry from outside, and allocating writes the whole capacity.
    entries: OnceLock<ArrayQueue<T>>,
    capacity: usize,
    /// The core has ended and pops nothing any more.
    closed: AtomicBool,
    /// Entries that found no room.
    refused: AtomicU64,
}

impl<T> Inbox<T> {
    pub(super) fn new(entries: usize) -> Self {
        Self {
            entries: OnceLock::new(),
            capacity: entries.max(1),
            closed: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn pop(&self) -> Option<T> {
        self.entries.get()?.pop()
    }

    pub(super) fn has_entries(&self) -> bool {
        self.entries.get().is_some_and(|entries| !entries.is_empty())
    }

    pub(super) fn push(&self, entry: T) -> Result<(), T> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(entry);
        }
        self.entries.get_or_init(|| ArrayQueue::new(self.capacity)).push(entry).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        // The core may have ended in between, and have emptied the inbox before this entry was in it.
        if self.closed.load(Ordering::SeqCst) {
            self.close();
        }
        Ok(())
    }

    /// Returns how many entries have found no room so far.
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
