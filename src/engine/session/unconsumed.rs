//! The bytes that a session has received and not consumed.
//!
//! Never reads a socket. Invariant: room for a request's body grows only as its bytes come, and never beyond its end.

use crate::protocol::http::{Chunks, HeadScan, Refusal};

/// Bytes that were received and not consumed: a part of a request, or frames that arrived while input was paused.
#[derive(Debug, Default)]
pub(in crate::engine) struct Unconsumed {
    pub(in crate::engine) bytes: Vec<u8>,
    /// The index of the first byte that was not consumed.
    pub(in crate::engine) start: usize,
    /// The event before which it is useless to look at the bytes again.
    pub(in crate::engine) awaits: Awaits,
}

/// The event that unconsumed input waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) enum Awaits {
    /// None: the bytes were not looked at yet.
    #[default]
    Nothing,
    /// The end of a request's head, which was searched for up to here.
    HeadEnd(HeadScan),
    /// The end of a request's body, which is complete with this many bytes.
    BodyEnd(usize),
    /// The end of a chunked body: the bytes of the request's head, which come first here, and the state of the chunk
    /// reader. The bytes after the head are already without their chunk framing.
    LastChunk(usize, Chunks),
}

impl Unconsumed {
    /// Adds input. Returns whether it is worth looking at now. The room for a body doubles as bytes arrive, whatever
    /// length its head claims, and ends where the body does. So bytes that arrive one by one cost no more than in one
    /// piece, and the room never exceeds twice the limit.
    pub(in crate::engine) fn add(&mut self, input: &[u8]) -> bool {
        let Awaits::BodyEnd(end) = self.awaits else {
            self.bytes.extend_from_slice(input);
            return true;
        };
        extend_towards(end, &mut self.bytes, input);
        self.bytes.len() >= end
    }

    /// Begins with the head of a request whose body is chunked.
    pub(in crate::engine) fn in_chunks(head: &[u8]) -> Self {
        Self { bytes: head.to_vec(), start: 0, awaits: Awaits::LastChunk(head.len(), Chunks::default()) }
    }

    pub(in crate::engine) fn is_in_chunks(&self) -> bool {
        matches!(self.awaits, Awaits::LastChunk(..))
    }

    /// Removes the chunk framing from a part of a body. Returns the length of the head and the bytes of `input` that
    /// belong to the body, once it is complete. The room grows as in [`Unconsumed::add`].
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

/// Appends bytes to a buffer that will hold at most `end`. Its room doubles, but not beyond `end`.
fn extend_towards(end: usize, bytes: &mut Vec<u8>, input: &[u8]) {
    let length = bytes.len() + input.len();
    if length > bytes.capacity() {
        bytes.reserve_exact(length.max(end.min(2 * length)) - bytes.len());
    }
    bytes.extend_from_slice(input);
}
