//! The small values that handlers receive: names of sessions, outcomes, ends.

use std::fmt;

use crate::protocol::CloseCode;
use crate::reactor::Token;

/// The name of one session of this process, by which [`Hub::session`](super::Hub::session) and
/// [`ServerHandle::send`](super::ServerHandle::send) reach it. It is never used for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The core that the session lives on.
    pub core: u16,
    pub(in crate::engine) token: Token,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.core, self.token.index, self.token.generation)
    }
}

/// The outcome of sending or publishing a message, or of sending mail. It is known at once: nothing waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The message will be sent.
    Queued,
    /// The message will be sent, but much waits before it: send no more until
    /// [`Handler::drain`](super::Handler::drain).
    Backpressure,
    /// The message will not be sent: the session's outbox or a queue on the way is full, or the session is closing. The
    /// server counts it.
    Dropped,
}

/// The way a session ended, for [`Handler::close`](super::Handler::close).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// The peer's close code; `None` if it sent none, for which others use `1005`, or was cut off (`1006`).
    pub code: Option<CloseCode>,
    /// The peer's reason.
    pub reason: &'a str,
    /// Both ends sent a Close frame.
    pub clean: bool,
}
