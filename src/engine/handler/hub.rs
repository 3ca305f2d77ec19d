//! The topics of one core and the counters of all, as a handler sees them during a call that is for no session.

use std::fmt;
use std::sync::Arc;

use crate::engine::counters::Counters;
use crate::engine::parts::Parts;
use crate::engine::topics::TopicError;
use crate::engine::values::Sent;
use crate::protocol::Message;
use crate::protocol::deflate::Compress;

/// See the module.
pub struct Hub<'a> {
    pub(in crate::engine) parts: &'a mut Parts,
}

impl Hub<'_> {
    /// Publishes a message to everyone who is subscribed to the topic, or to a pattern that it matches, on whatever core.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> Result<Sent, TopicError> {
        self.parts.publish(None, topic, message.into(), Compress::IfLarge)
    }

    /// How many sessions of this core are subscribed to a topic or pattern.
    pub fn subscribers_here(&self, topic: &str) -> usize {
        self.parts.topics.count(topic)
    }

    /// What every core of the server has counted, in the order of their numbers.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.parts.counters_of_all
    }

    /// The number of this core.
    pub fn core(&self) -> u16 {
        self.parts.core
    }
}

impl fmt::Debug for Hub<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("core", &self.parts.core).finish_non_exhaustive()
    }
}
