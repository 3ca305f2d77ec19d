//! The small values that handlers are given: names of sessions, outcomes, ends.

use std::fmt;

use crate::protocol::CloseCode;
use crate::reactor::Token;

/// Names one session of this process for as long as it lives; afterwards it names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The core it lives on.
    pub core: u16,
    pub(in crate::engine) token: Token,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.core, self.token.index, self.token.generation)
    }
}

/// What became of a message given to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Queued,
    /// It is on its way, but much is waiting before it: send no more until [`Handler::drain`](super::Handler::drain).
    Backpressure,
    /// It is not sent: the outbox was full, or the session is closing.
    Dropped,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The peer's close code; `None` when it sent none, which `1005` stands for elsewhere, or was cut off (`1006`).
    pub code: Option<CloseCode>,
    /// The peer's words.
    pub reason: &'a str,
    /// Whether both ends sent a Close frame.
    pub clean: bool,
}
