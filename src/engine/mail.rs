//! The entries that cores and other threads send each other through the mesh.
//!
//! Never says what becomes of them.

use crate::engine::subscribers::Tally;
use crate::engine::topics::{Notice, TopicKey};
use crate::protocol::{Batch, Prepared};
use crate::reactor::Token;

/// One entry of the mesh: small, and what is large is referred to.
#[derive(Debug)]
pub struct Parcel(pub(super) Content);

/// Bytes of an entry, of which each ring holds many.
const PARCEL_BYTES_MAX: usize = 40;
const _: () = assert!(size_of::<Parcel>() <= PARCEL_BYTES_MAX);

#[derive(Debug)]
pub(super) enum Content {
    /// Topics of the sending core gained their first subscriber, or lost their last.
    Notice(Notice),
    /// Messages for the subscribers of a topic of the receiving core.
    Batch { key: TopicKey, batch: Batch },
    /// Messages to publish.
    Publish { name: Box<str>, batch: Batch },
    /// A message for one session.
    Send { token: Token, prepared: Prepared },
    /// How many subscribers does a topic have here?
    Count { name: Box<str>, tally: Tally },
}

impl From<Notice> for Parcel {
    fn from(notice: Notice) -> Self {
        Self(Content::Notice(notice))
    }
}
