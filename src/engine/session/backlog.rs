//! The bytes that a session has received and not consumed.
//!
//! Never reads a socket. Invariant: room for a request's body grows only as its bytes come, and never beyond its end.

use crate::protocol::http::{Chunks, HeadScan, Refusal};

/// Bytes that were received and not consumed: part of a request, or frames that came while input was paused.
#[derive(Debug, Default)]
pub(in crate::engine) struct Backlog {
    pub(in crate::engine) bytes: Vec<u8>,
    /// Where what was not consumed begins.
    pub(in crate::engine) start: usize,
    /// What has to come before it is worth looking at them again.
    pub(in crate::engine) awaits: Awaits,
}

/// What a backlog waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) enum Awaits {
    /// Nothing: it was not looked at yet.
    #[default]
    Nothing,
    /// The end of a request's head, which was searched for this far, in vain.
    HeadEnd(HeadScan),
    /// The end of a request's body, which is where so many bytes are here.
    BodyEnd(usize),
    /// The end of a body in chunks. Of the bytes here so many are the request's head, and what follows has been taken out of
    /// its chunks already.
    LastChunk(usize, Chunks),
}

impl Backlog {
    /// Adds what came, and says whether it is worth looking at now. The room for a body doubles as bytes really come,
    /// whatever length its head claims, and ends where the body does; so bytes that come one by one cost no more than in
    /// one piece, and twice what may be kept is never taken.
    pub(in crate::engine) fn add(&mut self, input: &[u8]) -> bool {
        let Awaits::BodyEnd(end) = self.awaits else {
            self.bytes.extend_from_slice(input);
            return true;
        };
        extend_towards(end, &mut self.bytes, input);
        self.bytes.len() >= end
    }

    /// Begins with the head of a request whose body comes in chunks.
    pub(in crate::engine) fn in_chunks(head: &[u8]) -> Self {
        Self { bytes: head.to_vec(), start: 0, awaits: Awaits::LastChunk(head.len(), Chunks::default()) }
    }

    pub(in crate::engine) fn is_in_chunks(&self) -> bool {
        matches!(self.awaits, Awaits::LastChunk(..))
    }

    /// Takes what came of a body out of its chunks. Gives the length of the head and the bytes of `input` that are the body's
    /// once it is whole. Room for it grows as in [`Backlog::add`].
    pub(in crate::engine) fn take_chunks(
        &mut self,
        input: &[u8],
        body_bytes_max: usize,
    ) -> Result<Option<(usize, usize)>, Refusal> {
        let Awaits::LastChunk(head_bytes, chunks) = &mut self.awaits else { return Ok(None) };
        let (bytes, end) = (&mut self.bytes, head_bytes.saturating_add(body_bytes_max));
        let taken = chunks.read(input, body_bytes_max, |data| extend_towards(end, bytes, data))?;
        Ok(taken.map(|taken| (*head_bytes, taken)))
    }
}

/// Adds bytes to those that will be `end` at most. Room doubles, but not beyond `end`.
fn extend_towards(end: usize, bytes: &mut Vec<u8>, input: &[u8]) {
    let length = bytes.len() + input.len();
    if length > bytes.capacity() {
        bytes.reserve_exact(length.max(end.min(2 * length)) - bytes.len());
    }
    bytes.extend_from_slice(input);
}
