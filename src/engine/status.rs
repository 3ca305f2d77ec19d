//! The status of a server, as its handlers and its admin listener read it.

use std::sync::atomic::{AtomicBool, Ordering};

/// The readiness of a server. All its threads share it, and the supervisor thread writes it.
#[derive(Debug, Default)]
pub struct Status {
    ready: AtomicBool,
}

impl Status {
    /// Returns whether all cores run, none is stalled, and the server is not draining.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Sets whether the server is ready. Returns whether it was.
    pub(in crate::engine) fn set_ready(&self, ready: bool) -> bool {
        self.ready.swap(ready, Ordering::Relaxed)
    }
}
