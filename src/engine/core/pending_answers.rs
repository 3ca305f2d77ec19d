//! The answers of a core that are pending: given later, or written piece by piece.
//!
//! Owns their numbers and the ends that their tasks wait for. Never writes anything to a client. Invariant: a
//! connection has at most one pending answer, and no two answers have the same number at the same time.

use std::collections::HashMap;
use std::convert::Infallible;

use super::pending::Arrivals;
use crate::engine::handler::reply::Reply;
use crate::engine::tasks::Promise;
use crate::protocol::http::Request;
use crate::reactor::Token;

/// The pending answers of a core, by the index of the connection's slot.
#[derive(Default)]
pub(super) struct Answers {
    latest: u32,
    pub(super) pending: HashMap<u32, Pending>,
    pub(super) arrived: Arrivals<Arrived>,
}

impl Answers {
    /// Forgets the answer of a connection, and tells its task that no client waits for it.
    pub(super) fn forget(&mut self, index: u32) {
        if !self.pending.is_empty() {
            self.pending.remove(&index);
        }
    }

    /// Adds an answer and returns its number.
    pub(super) fn add(&mut self, index: u32, form: AnswerForm) -> u32 {
        self.latest = self.latest.wrapping_add(1);
        self.pending.insert(index, Pending { number: self.latest, form, stream: Stream::NotBegun });
        self.latest
    }

    /// Returns the answer of this number, if it is still pending.
    pub(super) fn find(&mut self, index: u32, number: u32) -> Option<&mut Pending> {
        self.pending.get_mut(&index).filter(|pending| pending.number == number)
    }
}

/// The properties of a request that its answer depends on.
#[derive(Clone, Copy)]
pub(super) struct AnswerForm {
    pub(super) keep_alive: bool,
    pub(super) head_only: bool,
    /// The client understands chunks.
    pub(super) takes_chunks: bool,
}

impl AnswerForm {
    pub(super) fn by(request: &Request<'_>) -> Self {
        Self {
            keep_alive: request.keep_alive(),
            head_only: request.method() == "HEAD",
            takes_chunks: request.minor_version() > 0,
        }
    }
}

/// A pending answer.
pub(super) struct Pending {
    number: u32,
    pub(super) form: AnswerForm,
    pub(super) stream: Stream,
}

/// The body of a pending answer.
pub(super) enum Stream {
    /// The handler has not decided yet.
    NotBegun,
    /// A task writes the body.
    Open {
        /// Dropped once the body should end.
        alive: Option<Promise<Infallible>>,
        /// Kept once there is room for more.
        written: Option<Promise<()>>,
        keep_alive: bool,
    },
}

/// An event of an answer's task.
pub(super) enum Arrived {
    /// The handler has decided; `None` if the decision panicked.
    Reply { token: Token, number: u32, reply: Option<Reply> },
    /// The task that writes the body has ended, perhaps by a panic.
    BodyEnded { token: Token, number: u32, panicked: bool },
}
