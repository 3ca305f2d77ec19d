//! The entries that cores and other threads send each other through the mesh.
//!
//! Does not know how they are handled.

use std::any::Any;

use crate::engine::subscribers::Tally;
use crate::engine::topics::{Notice, TopicKey};
use crate::protocol::{Batch, Prepared};
use crate::reactor::Token;

/// One entry of the mesh: small, since large parts are referred to.
#[derive(Debug)]
pub struct MeshEntry(pub(super) EntryKind);

/// Mail between handlers. All handlers of a server have one type of mail, which the rings do not know.
pub(super) type HandlerMail = Box<dyn Any + Send>;

/// The limit for an entry in bytes, since each ring holds many.
const ENTRY_BYTES_MAX: usize = 40;
const _: () = assert!(size_of::<MeshEntry>() <= ENTRY_BYTES_MAX);

#[derive(Debug)]
pub(super) enum EntryKind {
    /// A topic of the sending core has gained its first subscriber or lost its last.
    Notice(Notice),
    /// Messages for the subscribers of a topic on the receiving core.
    Batch { key: TopicKey, batch: Batch },
    /// Messages to publish.
    Publish { name: Box<str>, batch: Batch },
    /// A message for one session.
    Send { token: Token, prepared: Prepared },
    /// Mail for the handler of the receiving core.
    Mail(HandlerMail),
    /// A request for the number of a topic's subscribers on the receiving core.
    Count { name: Box<str>, tally: Tally },
}

impl From<Notice> for MeshEntry {
    fn from(notice: Notice) -> Self {
        Self(EntryKind::Notice(notice))
    }
}
