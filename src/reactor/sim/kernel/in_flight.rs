//! The operations of the simulated kernel in flight: requested, and not completed.

use crate::reactor::{Chunks, Token};

#[derive(Debug, Default)]
pub(super) struct Accept {
    /// It was tried before. The first try reports a lack of descriptors even if no connection waits, as io_uring does.
    pub(super) tried: bool,
    /// It ends with the first connection.
    pub(super) once: bool,
    pub(super) ended: bool,
}

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) token: Token,
    /// A `Readable` is due, which covers everything else that arrives until then.
    pub(super) raised: bool,
    pub(super) ended: bool,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) token: Token,
    pub(super) chunks: Chunks,
    /// The socket had no room for all of it.
    pub(super) blocked: bool,
    pub(super) ended: bool,
}
