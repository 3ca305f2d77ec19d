//! The record of one topic of a core.
//!
//! Knows no other topic. Invariant: a record fits into one cache line, since a core may have a million of them.

use compact_str::CompactString;

use super::flow::Flow;
use super::members::Membership;
use crate::slab::Slab;

/// The name of a topic on one core, valid for as long as the topic exists there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct TopicKey {
    pub(in crate::engine) index: u32,
    pub(in crate::engine) generation: u32,
}

/// Another core with subscribers of a topic, and the core's key for the topic.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Remote {
    pub(in crate::engine) core: u16,
    pub(in crate::engine) key: TopicKey,
}

/// The record of a topic.
#[derive(Debug)]
pub(in crate::engine) struct Topic {
    /// The name; that of a pattern ends with `*`.
    pub(in crate::engine) name: CompactString,
    /// Boxed, because most topics have no remotes.
    #[allow(clippy::box_collection, reason = "a third of the size where there are none, which is what counts")]
    pub(super) remotes: Option<Box<Vec<Remote>>>,
    pub(super) flow: Option<Box<Flow>>,
    pub(super) members: Membership,
    pub(super) hash: u32,
    pub(super) generation: u32,
    /// The other cores were told that the topic has subscribers here.
    pub(super) announced: bool,
    /// The topic is queued for an announcement.
    pub(super) queued: bool,
    /// The number of its announcements that some core has not received.
    pub(super) in_transit: u8,
}

/// The limit for a topic's record in bytes: one cache line. The entry in the table (5 to 10 bytes) and a name beyond 24
/// bytes come on top.
const TOPIC_RECORD_BYTES_MAX: usize = 64;
const _: () = assert!(Slab::<Topic>::ENTRY_BYTES <= TOPIC_RECORD_BYTES_MAX);

impl Topic {
    pub(in crate::engine) fn remotes(&self) -> &[Remote] {
        self.remotes.as_deref().map_or(&[], |remotes| remotes)
    }

    pub(in crate::engine) fn members(&self) -> u32 {
        self.members.count
    }
}
