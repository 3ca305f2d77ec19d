//! The topics of one core and the counters of all, as a handler sees them during a call that is for no session.

use std::fmt;
use std::sync::Arc;

use crate::engine::common::Common;
use crate::engine::counters::Counters;
use crate::engine::topics::TopicError;
use crate::engine::values::Sent;
use crate::protocol::Message;
use crate::protocol::deflate::Compress;

/// See the module.
pub struct Hub<'a> {
    pub(in crate::engine) common: &'a mut Common,
}

impl Hub<'_> {
    /// Publishes a message to everyone who is subscribed to the topic, or to a pattern that it matches, on whatever core.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> Result<Sent, TopicError> {
        self.common.publish(None, topic, message.into(), Compress::IfLarge)
    }

    /// How many sessions of this core are subscribed to a topic or pattern.
    pub fn subscribers_here(&self, topic: &str) -> usize {
        self.common.topics.count(topic)
    }

    /// What every core of the server has counted, in the order of their numbers.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.common.counters_of_all
    }

    /// The number of this core.
    pub fn core(&self) -> u16 {
        self.common.core
    }
}

impl fmt::Debug for Hub<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("core", &self.common.core).finish_non_exhaustive()
    }
}
