//! Interest: which changes of this core's topics the other cores have yet to be told of, or to hear.

use std::collections::VecDeque;

use super::topic::TopicKey;

/// A change of interest, as another core is told of it.
#[derive(Debug)]
pub(in crate::engine) enum Notice {
    /// This core has subscribers for the topic from now on, and knows it by this key.
    Interest {
        /// The sending core's key.
        key: TopicKey,
        /// The topic.
        name: Box<str>,
    },
    /// This core has no subscribers for the topic any more.
    Disinterest {
        /// The topic.
        name: Box<str>,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Interest {
    /// Whether there are no other cores.
    pub(super) is_alone: bool,
    /// Topics that gained their first subscriber or lost their last.
    pub(super) changed: VecDeque<u32>,
    /// What was told and not heard by all, in order; with it, how many entries each core will have popped then.
    pub(super) told: VecDeque<(TopicKey, Vec<(u16, u64)>)>,
}

impl Interest {
    pub(super) fn new(is_alone: bool) -> Self {
        Self { is_alone, ..Self::default() }
    }

    /// Whether something has to be told or heard.
    pub(in crate::engine) fn is_pending(&self) -> bool {
        !self.changed.is_empty() || !self.told.is_empty()
    }
}
