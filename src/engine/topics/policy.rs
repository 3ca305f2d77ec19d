//! What a subscriber wants, and why a topic can refuse it.

use thiserror::Error;

/// What becomes of a topic's messages for a subscriber that does not keep up: its outbox is above its limit, or what
/// waits longest there has waited longer than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is closed with 1013 (Try Again Later): it comes back, and knows that it missed something.
    #[default]
    Close,
    /// New messages are dropped until there is room.
    DropNewest,
    /// Messages that wait are dropped to make room for new ones, the oldest first.
    DropOldest,
    /// What waits of this topic is dropped, and only its latest message is kept until there is room: for states, such as
    /// prices, of which only the last counts. Kept once for all who wait, beside the limits of outboxes and backlog.
    Latest,
}

/// How a session subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// What becomes of messages that it cannot take. Default: it is closed.
    pub overflow: Overflow,
    /// Whether it is sent what it publishes itself. Default: yes.
    pub echo: bool,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { overflow: Overflow::Close, echo: true }
    }
}

/// Bytes of a topic's name at most, without the `*` of a pattern.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Why a topic cannot be subscribed to, or published to. The caller's fault, or that of whoever gave it the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    /// A name of no bytes.
    #[error("A topic needs a name of 1 to {TOPIC_BYTES_MAX} bytes; this one is empty.")]
    NameEmpty,
    /// A name of too many.
    #[error("A topic's name may have {TOPIC_BYTES_MAX} bytes; this one has {bytes}. Choose a shorter one.")]
    NameTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// A pattern is not published to.
    #[error("A name that ends with * is a pattern to subscribe to; publish to a topic of a full name.")]
    PatternNotPublishable,
    /// The session has as many subscriptions as it may.
    #[error("A session may have {max} subscriptions, and this one has as many. Leave a topic, or raise the limit.")]
    TooManySubscriptions {
        /// The limit.
        max: u32,
    },
    /// The core has as many topics as it may.
    #[error("A core may have {max} topics with subscribers, and this one has as many. Raise the limit.")]
    TooManyTopics {
        /// The limit.
        max: usize,
    },
    /// Patterns have as many different lengths as they may.
    #[error(
        "Patterns may have {max} different lengths, because each slows down whoever publishes. Subscribe to a pattern of \
         another length, or to topics."
    )]
    TooManyPatternLengths {
        /// The limit.
        max: usize,
    },
    /// The session is closing.
    #[error("A session that is closing subscribes to nothing.")]
    SessionClosing,
}

/// Checks that a topic or pattern can have this name: 1 to 255 bytes, a pattern's `*` not counted.
pub fn check_topic(name: &str) -> Result<(), TopicError> {
    check(name).map(drop)
}

/// Checks the name of what is published to.
pub(in crate::engine) fn check_publishable(name: &str) -> Result<(), TopicError> {
    if check(name)? { Err(TopicError::PatternNotPublishable) } else { Ok(()) }
}

/// Checks the length of a name; says whether it is a pattern.
pub(super) fn check(name: &str) -> Result<bool, TopicError> {
    let stem = name.strip_suffix('*');
    let bytes = stem.unwrap_or(name).len();
    match (name.len(), bytes) {
        (0, _) => Err(TopicError::NameEmpty),
        (_, 0..=TOPIC_BYTES_MAX) => Ok(stem.is_some()),
        _ => Err(TopicError::NameTooLong { bytes }),
    }
}

/// What one session and one core may subscribe to.
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
