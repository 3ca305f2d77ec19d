//! permessage-deflate (RFC 7692): what both ends agree on, and the streams that compress and decompress messages.
//!
//! zlib-rs does the compressing. Without context takeover, which is the default, every message stands alone: one
//! compressor for each window size and one decompressor serve all connections of a core, and a connection that agreed
//! on compression costs no more than one that did not. Dedicated ones exist only where context takeover was agreed.
//!
//! Never decides who may use it, never holds more of an inflated message than its limit.

mod agreement;
mod compressor;
mod decompressor;
mod window;

pub use agreement::Agreement;
pub(super) use compressor::Compressor;
pub use compressor::Compressors;
pub use decompressor::FINAL_BLOCKS_MAX;
pub(super) use decompressor::{Decompressor, Inflation, InflationError};
pub use window::WindowBits;

/// How this end compresses, and what it agrees to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Whether messages may refer to earlier ones, if the peer agrees. Default false: compressors are shared, and no
    /// connection costs memory for them. True: up to 300 KiB for each connection, and smaller messages.
    pub context_takeover: bool,
    /// 1, the fastest, to 9, the smallest. Default 1: 1 KiB of JSON takes 3.5 µs and becomes 0.4 KiB; level 6 makes
    /// 0.3 KiB of it in 9.6 µs.
    pub level: u8,
    /// Payloads below are not compressed unless the handler asks for it. Default 256 bytes: less saves nothing that a
    /// packet's headers do not outweigh, and costs microseconds all the same.
    pub message_bytes_min: usize,
    /// The largest window the server compresses with. Default 15, which is 32 KiB.
    pub server_window_bits: WindowBits,
    /// The largest window clients are asked to compress with. Default 15. It matters with context takeover alone: the
    /// shared decompressor has room for any.
    pub client_window_bits: WindowBits,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            context_takeover: false,
            level: 1,
            message_bytes_min: 256,
            server_window_bits: WindowBits::MAX,
            client_window_bits: WindowBits::MAX,
        }
    }
}

/// Whether a message is compressed, where that was agreed with the client. It makes no difference otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// If it has at least [`Compression::message_bytes_min`] bytes.
    #[default]
    IfLarge,
    /// Whatever its size: for messages that compress well, or that earlier ones resemble.
    Always,
    /// Not at all: for what is compressed already, and for secrets beside what a stranger chose (CRIME, BREACH).
    Never,
}

/// What ends every message on the wire unsaid (RFC 7692 7.2.1): the length of an empty stored block.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
