//! Makes the allocator give memory of closed sessions back to the kernel.
//!
//! mimalloc, which the program uses, keeps freed memory for a second and gives it back at a later change of its pages.
//! A session that closes causes no such change, and neither do echoes, which need no new page: 2,000 sessions with
//! compression streams of their own left 580 MB behind for ever. Giving memory back at once would be simpler, but then
//! every large buffer would cost its page faults again. So each core causes the change itself, once a second. The code
//! does not depend on the allocator: for one that needs no such change, it only allocates and frees a block.

use std::hint::black_box;

/// The interval at which memory is given back: mimalloc keeps it for about as long (its `purge_delay`).
const INTERVAL_MS: u64 = 1_000;

/// Bytes of the block that causes the change: more than allocators keep in their own lists. It is never touched, so it
/// takes no memory.
const BLOCK_BYTES: usize = 2 * 1024 * 1024;

/// The time at which a core gives memory back again.
#[derive(Debug, Default)]
pub(in crate::engine) struct Purge {
    next_ms: u64,
}

impl Purge {
    /// Gives memory back if it is due. Costs a comparison if not, and a few microseconds if so.
    #[inline]
    pub(in crate::engine) fn run_if_due(&mut self, now_ms: u64) {
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + INTERVAL_MS;
            drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
        }
    }
}
