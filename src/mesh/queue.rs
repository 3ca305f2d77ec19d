//! The bounded queue of a core, into which any thread pushes.
//!
//! Entries of one thread keep their order. A queue that is full or closed gives an entry back at once.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;

/// What waits for one core.
pub(super) struct Queue<T> {
    /// Made with the first entry: most cores are sent none, and all its room is written then.
    entries: OnceLock<ArrayQueue<T>>,
    capacity: usize,
    /// The core has ended, and pops nothing any more.
    closed: AtomicBool,
}

impl<T> Queue<T> {
    pub(super) fn new(entries: usize) -> Self {
        Self { entries: OnceLock::new(), capacity: entries.max(1), closed: AtomicBool::new(false) }
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
        self.entries.get_or_init(|| ArrayQueue::new(self.capacity)).push(entry)?;
        // It may have ended in between, and emptied the queue before this entry was there.
        if self.closed.load(Ordering::SeqCst) {
            self.close();
        }
        Ok(())
    }

    /// Takes nothing more, and drops what is there.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.pop().is_some() {}
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("entries", &self.entries.get().map_or(0, ArrayQueue::len))
            .field("closed", &self.closed)
            .finish()
    }
}
