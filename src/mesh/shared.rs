//! The part of a mesh that all cores and the threads outside share.

use super::inbox::Inbox;
use super::park::Park;

/// The sleep states and inboxes of all cores, indexed by the number of the core.
#[derive(Debug)]
pub(super) struct Shared<T> {
    pub(super) parks: Vec<Park>,
    pub(super) inboxes: Vec<Inbox<T>>,
}

impl<T> Shared<T> {
    pub(super) fn new(cores: usize, inbox_entries: usize) -> Self {
        Self {
            parks: (0..cores).map(|_| Park::default()).collect(),
            inboxes: (0..cores).map(|_| Inbox::new(inbox_entries)).collect(),
        }
    }
}
