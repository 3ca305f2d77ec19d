//! A core's listeners, and how far accepting from each has come.

use crate::reactor::Listener;

/// A listener, and how far accepting from it has come.
#[derive(Debug)]
pub(in crate::engine) struct Accepting {
    pub(in crate::engine) listener: Listener,
    /// When to ask the reactor to accept, in milliseconds; `None` while it accepts.
    pub(super) again_ms: Option<u64>,
}

impl Accepting {
    /// Begins with the core's first turn.
    pub(in crate::engine) fn new(listener: Listener) -> Self {
        Self { listener, again_ms: Some(0) }
    }
}
