//! Small values of the API that handlers receive: the id of a session, the outcome of a send, the end of a session.
//!
//! Never reaches a core or a session: [`Hub::session`](super::Hub::session) finds the session of an id.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::protocol::CloseCode;
use crate::reactor::Token;

/// The id of one session of this process, by which [`Hub::session`](super::Hub::session) and
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

/// Reads the form in which an id is written.
impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let mut numbers = text.split('-').map(|number| number.parse::<u32>());
        let parts = (numbers.next(), numbers.next(), numbers.next(), numbers.next());
        let (Some(Ok(core)), Some(Ok(index)), Some(Ok(generation)), None) = parts else { return Err(InvalidSessionId) };
        let core = u16::try_from(core).map_err(|_| InvalidSessionId)?;
        Ok(Self { core, token: Token { index, generation } })
    }
}

/// A text that is no id of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("The id of a session is three numbers with hyphens between them, such as 0-12-34.")]
#[non_exhaustive]
pub struct InvalidSessionId;

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
    /// The close code that the peer sent; `None` without a code or a Close frame, for which RFC 6455 7.1.5
    /// has the codes 1005 and 1006.
    pub code: Option<CloseCode>,
    /// The reason that the peer sent; empty without one.
    pub reason: &'a str,
    /// Both ends sent a Close frame.
    pub clean: bool,
}
