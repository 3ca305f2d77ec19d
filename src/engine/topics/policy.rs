//! The options of a subscription, and the errors of topics.

use thiserror::Error;

/// The policy for a topic's messages to a subscriber that does not keep up: its outbox exceeds its limit, or its oldest
/// shared frames have waited for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The session is closed with 1013 (Try Again Later). The client reconnects, and knows that it missed something.
    #[default]
    Close,
    /// New messages are dropped until there is room.
    DropNewest,
    /// Waiting messages are dropped, the oldest first, to make room for new ones.
    DropOldest,
    /// Waiting messages of the topic are dropped, and only its latest message is kept until there is room: for states,
    /// such as prices, of which only the last matters. It is stored once for all subscribers that wait for it, and
    /// counts neither for their outboxes nor for the backlog.
    Latest,
}

/// The options of a subscription: `Subscribe::new().overflow(Overflow::Latest)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe {
    pub(crate) overflow: Overflow,
    pub(crate) echo: bool,
}

impl Subscribe {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the policy for messages that the session cannot take. Default: [`Overflow::Close`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sets whether the session receives the messages that it publishes itself. Default: yes.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { overflow: Overflow::Close, echo: true }
    }
}

/// The limit of a topic's name in bytes, without the `*` of a pattern.
pub const TOPIC_BYTES_MAX: usize = 255;

/// The reason why a topic cannot be subscribed to or published to: a mistake of the caller, or of the name's author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The name is empty.
    #[error("A topic needs a name of 1 to {TOPIC_BYTES_MAX} bytes; this one is empty.")]
    NameEmpty,
    /// The name is too long.
    #[error("A topic's name may have {TOPIC_BYTES_MAX} bytes; this one has {bytes}. Choose a shorter name.")]
    NameTooLong {
        /// The bytes of the name.
        bytes: usize,
    },
    /// A pattern cannot be published to.
    #[error("A name that ends with * is a pattern to subscribe to; publish to a topic with a full name.")]
    PatternNotPublishable,
    /// The session has as many subscriptions as it may have.
    #[error("A session may have {max} subscriptions, and this one has that many. End one, or raise the limit.")]
    TooManySubscriptions {
        /// The limit.
        max: u32,
    },
    /// The core has as many topics as it may have.
    #[error("A core may have {max} topics with subscribers, and this one has that many. Raise the limit.")]
    TooManyTopics {
        /// The limit.
        max: usize,
    },
    /// Patterns have as many different lengths as they may have.
    #[error(
        "Patterns may have {max} different lengths, because each slows down publishing. Subscribe to a pattern of a \
         length in use, or to topics."
    )]
    TooManyPatternLengths {
        /// The limit.
        max: usize,
    },
    /// The session, its subject or its address has subscribed too often.
    #[error("Subscriptions come faster than this server takes them from one sender. Wait for some seconds.")]
    SubscribesTooOften,
    /// The session is closing.
    #[error("A closing session cannot subscribe to a topic.")]
    SessionClosing,
}

/// Checks the name of a topic or pattern: 1 to 255 bytes, without the `*` of a pattern.
pub fn check_topic(name: &str) -> Result<(), TopicError> {
    check(name).map(drop)
}

/// Checks the name of a topic to publish to.
pub(in crate::engine) fn check_publishable(name: &str) -> Result<(), TopicError> {
    if check(name)? { Err(TopicError::PatternNotPublishable) } else { Ok(()) }
}

/// Checks the length of a name. Returns whether it is a pattern.
pub(super) fn check(name: &str) -> Result<bool, TopicError> {
    let stem = name.strip_suffix('*');
    let bytes = stem.unwrap_or(name).len();
    match (name.len(), bytes) {
        (0, _) => Err(TopicError::NameEmpty),
        (_, 0..=TOPIC_BYTES_MAX) => Ok(stem.is_some()),
        _ => Err(TopicError::NameTooLong { bytes }),
    }
}

/// The limits on subscriptions of one session and one core.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct SubscriptionLimits {
    pub(in crate::engine) subscriptions_max: u32,
    pub(in crate::engine) topics_max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_255_bytes_and_patterns_a_star_more() {
        assert_eq!(check(""), Err(TopicError::NameEmpty));
        assert_eq!((check("a"), check("*"), check("ä*"), check("a*b")), (Ok(false), Ok(true), Ok(true), Ok(false)));
        assert_eq!((check(&"x".repeat(255)), check(&("x".repeat(255) + "*"))), (Ok(false), Ok(true)));
        assert_eq!(check_publishable("a*"), Err(TopicError::PatternNotPublishable));
        assert_eq!(check(&"x".repeat(256)), Err(TopicError::NameTooLong { bytes: 256 }));
        assert_eq!(check(&("ä".repeat(128) + "*")), Err(TopicError::NameTooLong { bytes: 256 }));
    }
}
