//! The system's allocator, counting the bytes that each thread, and so each test, holds.
//!
//! Owns the global allocator of the program that includes it: the protocol's tests and the fuzz targets.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Signed, because a thread may free memory that another one allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(added: usize, removed: usize) {
    // A thread that ends frees its last blocks after its counters are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + added as isize - removed as isize);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the block came from `System`, for it is all that the other three return.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        // SAFETY: as for `dealloc`, and the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes that this thread holds more than at the start of the measurement, now and at most since.
#[derive(Debug)]
pub struct Growth {
    before: isize,
}

impl Growth {
    /// Starts a measurement, and the peak of the thread with it.
    pub fn start() -> Self {
        PEAK.set(HELD.get());
        Self { before: HELD.get() }
    }

    /// Returns the bytes held now.
    pub fn now(&self) -> isize {
        HELD.get() - self.before
    }

    /// Returns the most bytes held since the start.
    pub fn peak(&self) -> isize {
        PEAK.get() - self.before
    }
}
