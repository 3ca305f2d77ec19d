//! The time in nanoseconds since 1970: the same for all processes of a host, and never running backwards within one.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock cheap enough to be read for each batch of messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    start_ns: u64,
}

impl Clock {
    pub fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_ns: since_1970.as_nanos() as u64 }
    }

    /// Returns the current time. Takes some 20 ns.
    pub fn now_ns(&self) -> u64 {
        self.start_ns + self.start.elapsed().as_nanos() as u64
    }
}
