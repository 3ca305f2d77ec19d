//! The sessions that publish too much: for one turn, or for the deliveries to keep up.
//!
//! Invariant: a throttled session is on the list until it is released, and the list is checked in every turn.

use crate::reactor::Token;

/// Messages that a session may publish in a turn before it has to wait for the next. The smallest messages come in tens
/// of thousands in one read, and each costs up to a microsecond.
const PUBLISHED_PER_TURN_MAX: u32 = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Publishers {
    throttled: Vec<Token>,
    /// The session that published last in this turn, and the number of its messages in a row.
    last: Option<(Token, u32)>,
}

impl Publishers {
    /// Begins a turn, in which every session may publish again.
    pub(in crate::engine) fn begin_turn(&mut self) {
        self.last = None;
    }

    /// Counts a message of a session. Returns whether the session has published as much as it may in a turn.
    #[inline]
    pub(in crate::engine) fn note_published(&mut self, token: Token) -> bool {
        let before = self.last.filter(|(last, _)| *last == token).map_or(0, |(_, count)| count);
        self.last = Some((token, before + 1));
        before + 1 >= PUBLISHED_PER_TURN_MAX
    }

    /// Adds a session that is not read until there is room again.
    pub(in crate::engine) fn note_throttled(&mut self, token: Token) {
        self.throttled.push(token);
    }

    /// Returns whether a session is throttled because of what it published.
    pub(in crate::engine) fn has_throttled(&self) -> bool {
        !self.throttled.is_empty()
    }

    /// Takes the sessions that resume reading.
    pub(in crate::engine) fn take_throttled(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.throttled)
    }
}
