//! The record of one topic of a core.
//!
//! Knows no other topic. Invariant: it is one line of the cache, since a core may have a million of them.

use compact_str::CompactString;

use super::arena::Arena;
use super::flow::Flow;
use super::members::Membership;

/// Names a topic of one core for as long as it is kept there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct TopicKey {
    pub(in crate::engine) index: u32,
    pub(in crate::engine) generation: u32,
}

/// A core with subscribers, and what the topic is to it.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Remote {
    pub(in crate::engine) core: u16,
    pub(in crate::engine) key: TopicKey,
}

/// What is kept of a topic.
#[derive(Debug)]
pub(in crate::engine) struct Topic {
    /// Its name; a pattern ends with `*`.
    pub(in crate::engine) name: CompactString,
    /// Boxed, because most topics have none.
    #[allow(clippy::box_collection, reason = "a third of the size where there are none, which is what counts")]
    pub(super) remotes: Option<Box<Vec<Remote>>>,
    pub(super) flow: Option<Box<Flow>>,
    pub(super) members: Membership,
    pub(super) hash: u32,
    pub(super) generation: u32,
    /// The other cores were told that it has subscribers here.
    pub(super) told: bool,
    /// It is on the list of those about which the others may have to be told.
    pub(super) queued: bool,
    /// Times that it was told and not every core has heard it.
    pub(super) unheard: u8,
}

/// What a topic may cost, in bytes, without its place in the table (5 to 10) and what its name has beyond 24 bytes: one
/// line of the cache.
const TOPIC_RECORD_BYTES_MAX: usize = 64;
const _: () = assert!(Arena::<Topic>::ENTRY_BYTES <= TOPIC_RECORD_BYTES_MAX);

impl Topic {
    pub(in crate::engine) fn remotes(&self) -> &[Remote] {
        self.remotes.as_deref().map_or(&[], |remotes| remotes)
    }

    pub(in crate::engine) fn members(&self) -> u32 {
        self.members.count
    }
}
