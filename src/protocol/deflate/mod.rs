//! permessage-deflate (RFC 7692): the agreement of both ends, and the streams that compress and decompress messages.
//!
//! zlib-rs does the compressing. Without context takeover, which is the default, every message is independent: one
//! compressor for each window size and one decompressor serve all connections of a core, and a connection with
//! compression costs no more than one without. A connection has streams of its own only if context takeover was agreed.
//!
//! Never decides which connections compress. Invariant: it never holds more of an inflated message than the limit.

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

/// The compression settings of this end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// Lets messages refer to earlier ones, if the peer agrees. Default false: all connections share
    /// compressors, and none takes memory for them. True: up to 300 KiB per connection, and smaller messages.
    pub context_takeover: bool,
    /// The level: 1 is the fastest, 9 gives the smallest messages. Default 1: 1 KiB of JSON takes 3.5 µs and becomes
    /// 0.4 KiB; level 6 takes 9.6 µs and gives 0.3 KiB.
    pub level: u8,
    /// The smallest payload that is compressed unless the handler asks for it. Default 256 bytes: a smaller one saves
    /// less than a packet's headers take, and still costs microseconds.
    pub message_bytes_min: usize,
    /// The largest window that the server compresses with. Default 15, which is 32 KiB.
    pub server_window_bits: WindowBits,
    /// The largest window that clients are asked to compress with. Default 15. It matters only with context takeover:
    /// the shared decompressor has room for any window.
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

/// The choice whether to compress one message. It has an effect only on connections with compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// Compresses a message of at least [`Compression::message_bytes_min`] bytes.
    #[default]
    IfLarge,
    /// Compresses at any size: for messages that compress well, or that resemble earlier ones.
    Always,
    /// Does not compress: for data that is compressed already, and for secrets next to data that a stranger chose
    /// (CRIME, BREACH).
    Never,
}

/// The end of every compressed message, which is not sent (RFC 7692 7.2.1): the length of an empty stored block.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
