//! A message that is arriving: one contiguous buffer for all its frames and reads.
//!
//! A connection owns an assembly only while a message or frame is incomplete. Assemblies are recycled through a pool,
//! so that large messages do not go to the allocator each time. Never grows before bytes arrive. Invariant: a recycled
//! assembly holds nothing of its last connection.

use super::frame::{FrameHeader, HEADER_BYTES_MAX};
use super::message::MessageKind;
use super::utf8::Utf8;
use crate::protocol::deflate::{Decompressor, WindowBits};

/// The received part of an incomplete frame header, control frame or message.
#[derive(Debug, Default)]
pub struct Assembly {
    /// The caller's timestamp of its beginning.
    pub(super) stamp: u32,
    /// The received part of a header.
    pub(super) header: [u8; HEADER_BYTES_MAX],
    pub(super) header_bytes: u8,
    /// The frame whose payload is arriving.
    pub(super) frame: Option<ArrivingFrame>,
    /// The received payload of a control frame.
    pub(super) control: Vec<u8>,
    /// The kind of the message that is arriving.
    pub(super) message: Option<MessageKind>,
    /// The message is compressed, so it is inflated once it is complete.
    pub(super) compressed: bool,
    pub(super) payload: Vec<u8>,
    pub(super) utf8: Utf8,
    pub(super) empty_fragments: u32,
}

/// A frame whose payload is incomplete.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivingFrame {
    pub(super) header: FrameHeader,
    pub(super) received: u64,
}

impl Assembly {
    /// Returns whether nothing is incomplete.
    pub(super) fn is_idle(&self) -> bool {
        self.message.is_none() && self.frame.is_none() && self.header_bytes == 0
    }

    fn reset(&mut self) {
        let mut payload = std::mem::take(&mut self.payload);
        let mut control = std::mem::take(&mut self.control);
        payload.clear();
        control.clear();
        *self = Self { payload, control, ..Self::default() };
    }
}

/// Assemblies ready for reuse: one pool per core.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a connection holds its assembly boxed, and the box is reused too")]
pub struct AssemblyPool {
    free: Vec<Box<Assembly>>,
    bytes: usize,
    /// Inflates the messages of all connections without context takeover.
    decompressor: Option<Box<Decompressor>>,
    /// Bytes inflated since the last [`take_inflated_bytes`](Self::take_inflated_bytes).
    pub(super) inflated_bytes: u64,
}

impl AssemblyPool {
    /// Bytes of buffers kept for reuse: 4 MiB, so that a handful of connections that stream large messages never reach
    /// the allocator, and a burst of thousands does not keep its memory.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;
    /// Assemblies kept for reuse, whatever their size.
    pub const FREE_MAX: usize = 256;

    /// The first buffer of a message, in bytes; it doubles as bytes arrive, whatever length a frame claims.
    const PAYLOAD_BYTES_FIRST: usize = 4 * 1024;

    pub(super) fn take(&mut self, stamp: u32) -> Box<Assembly> {
        let mut assembly = match self.free.pop() {
            Some(assembly) => {
                self.bytes -= assembly.payload.capacity();
                assembly
            }
            None => Box::new(Assembly::default()),
        };
        assembly.stamp = stamp;
        assembly
    }

    /// Returns the bytes of inflated output since the last call, and resets the count. Inflating is the most expensive
    /// work that a peer can cause with a few bytes.
    pub fn take_inflated_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.inflated_bytes)
    }

    /// Returns the shared decompressor, created at its first use, with a window large enough for any peer.
    pub(super) fn decompressor(&mut self) -> &mut Decompressor {
        self.decompressor.get_or_insert_with(|| Box::new(Decompressor::new(WindowBits::MAX)))
    }

    pub(super) fn recycle(&mut self, mut assembly: Box<Assembly>) {
        let bytes = assembly.payload.capacity();
        if self.free.len() < Self::FREE_MAX && self.bytes + bytes <= Self::BYTES_MAX {
            assembly.reset();
            self.bytes += bytes;
            self.free.push(assembly);
        }
    }
}

/// Reserves room for `bytes` more by doubling the buffer.
pub(super) fn reserve(payload: &mut Vec<u8>, bytes: usize) {
    if payload.capacity() - payload.len() < bytes {
        payload.reserve(bytes.max(AssemblyPool::PAYLOAD_BYTES_FIRST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_no_more_than_its_limits() {
        let mut pool = AssemblyPool::default();
        let mut taken: Vec<_> = (0..1000).map(|_| pool.take(0)).collect();
        for assembly in &mut taken {
            assembly.payload.reserve_exact(64 * 1024);
        }
        taken.into_iter().for_each(|assembly| pool.recycle(assembly));
        assert_eq!(pool.free.len(), AssemblyPool::BYTES_MAX / (64 * 1024));
        assert!(pool.bytes <= AssemblyPool::BYTES_MAX);
    }

    #[test]
    fn a_recycled_assembly_remembers_nothing() {
        let mut pool = AssemblyPool::default();
        let mut assembly = pool.take(7);
        assembly.payload.extend_from_slice(b"secret");
        assembly.message = Some(MessageKind::Text);
        assembly.empty_fragments = 3;
        pool.recycle(assembly);
        let assembly = pool.take(8);
        assert!(assembly.is_idle() && assembly.payload.is_empty() && assembly.empty_fragments == 0);
        assert_eq!(assembly.stamp, 8);
    }
}
