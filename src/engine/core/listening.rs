//! The listeners of a core, and the state of accepting from each.

use crate::reactor::Listener;

/// A listener, and the state of accepting from it.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) listener: Listener,
    /// The time to start accepting, in milliseconds; `None` while the reactor accepts.
    pub(super) again_ms: Option<u64>,
}

impl Accepting {
    /// Returns a listener from which the core's first turn starts accepting.
    pub(super) fn new(listener: Listener) -> Self {
        Self { listener, again_ms: Some(0) }
    }
}
