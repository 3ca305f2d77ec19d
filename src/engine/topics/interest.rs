//! The interest of cores in topics: the changes here that other cores have yet to be told of, or to receive.

use std::collections::VecDeque;

use super::topic::TopicKey;

/// A change of a core's interest, as it is announced to another core.
#[derive(Debug)]
pub(in crate::engine) enum Notice {
    /// The sending core has subscribers for the topic from now on, and knows the topic by this key.
    Interest {
        /// The sending core's key.
        key: TopicKey,
        /// The topic.
        name: Box<str>,
    },
    /// The sending core has no subscribers for the topic any more.
    Disinterest {
        /// The topic.
        name: Box<str>,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Interest {
    /// There are no other cores.
    pub(super) is_alone: bool,
    /// Topics that gained their first subscriber or lost their last.
    pub(super) changed: VecDeque<u32>,
    /// The announcements that some core has not received, in order. Each has, for each core, the number of entries that
    /// the core will have popped by then.
    pub(super) announced: VecDeque<(TopicKey, Vec<(u16, u64)>)>,
}

impl Interest {
    pub(super) fn new(is_alone: bool) -> Self {
        Self { is_alone, ..Self::default() }
    }

    /// Returns whether something must be announced or confirmed.
    pub(in crate::engine) fn is_pending(&self) -> bool {
        !self.changed.is_empty() || !self.announced.is_empty()
    }
}
