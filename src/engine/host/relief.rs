//! Has the allocator give memory back to the kernel that a crowd of sessions has left behind.
//!
//! mimalloc, which the program uses, keeps freed memory for a second and gives it back on the occasion of a later change of
//! its pages. Who has left brings no such change, and neither do echoes, which need no new page: 2,000 sessions with
//! compression streams of their own left 580 MB behind for ever. Giving back at once would be simpler, but then every large
//! buffer would cost its page faults anew. So each core makes the occasion itself, once a second. Nothing here knows which
//! allocator there is: for one that needs no occasion this is a block taken and given back.

use std::hint::black_box;

/// How often memory is given back: mimalloc keeps it for about as long (its `purge_delay`).
const INTERVAL_MS: u64 = 1_000;

/// Bytes of the block that makes the occasion: more than allocators keep in lists of their own. It is never touched, so it
/// takes no memory.
const BLOCK_BYTES: usize = 2 * 1024 * 1024;

/// When a core last had memory given back.
#[derive(Debug, Default)]
pub(in crate::engine) struct Relief {
    next_ms: u64,
}

impl Relief {
    /// Has memory given back if it is time to. Costs a comparison if it is not, and a few microseconds if it is.
    #[inline]
    pub(in crate::engine) fn give_back(&mut self, now_ms: u64) {
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + INTERVAL_MS;
            drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
        }
    }
}
