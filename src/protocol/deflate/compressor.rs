//! Compressors: messages in, compressed messages out.
//!
//! Never sends. Invariant: the output is never longer than the input. A message that would grow is left uncompressed,
//! and the compressor then drops its history, so the peer misses nothing that was not sent.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::{Compress, Compression, TAIL, WindowBits};

/// Memory level of zlib. 5 instead of the usual 8: starting a message costs 0.7 µs less and takes 60 KiB less memory,
/// and larger blocks gain nothing at the size of messages.
const MEM_LEVEL: i32 = 5;

/// Bytes of output buffer kept for the next message; a larger buffer is freed.
const OUTPUT_BYTES_KEPT: usize = 1024 * 1024;

/// One compression stream.
pub(in crate::protocol) struct Compressor {
    deflate: Deflate,
    window: WindowBits,
    level: u8,
}

impl Compressor {
    /// Creates a stream with a window of its own: up to 270 KiB.
    pub(in crate::protocol) fn new(window: WindowBits, level: u8) -> Self {
        let config = DeflateConfig {
            level: i32::from(level.clamp(1, 9)),
            // A negative value means data without a header, as in RFC 1951.
            window_bits: -i32::from(window.number()),
            mem_level: MEM_LEVEL,
            ..DeflateConfig::default()
        };
        Self { deflate: Deflate::new_with_config(config), window, level }
    }

    /// Drops the history: the next message refers to none before it, so the peer can read it whatever it has received.
    pub(in crate::protocol) fn forget(&mut self) {
        self.deflate.reset();
    }

    /// Compresses a message into `output` and returns the compressed length; `None` if it is better sent uncompressed.
    /// Costs 3.5 µs for 1 KiB of JSON at level 1, 2 µs of it for the reset before it.
    fn compress(&mut self, payload: &[u8], output: &mut Vec<u8>) -> Option<usize> {
        // A flush without input gives no output, so an empty message has no compressed form.
        if payload.is_empty() {
            return None;
        }
        let Some(bytes) = self.flush(payload, output) else {
            *self = Self::new(self.window, self.level);
            return None;
        };
        if bytes < payload.len() {
            return Some(bytes);
        }
        self.forget();
        None
    }

    /// Compresses a message to its end, whatever length that takes, because zlib-rs 0.6 must not be reset while output
    /// is pending: each such reset loses buffer space, until it panics. Returns `None` if zlib-rs fails.
    fn flush(&mut self, payload: &[u8], output: &mut Vec<u8>) -> Option<usize> {
        // The codes of level 1 take up to nine bits per byte.
        let mut room = payload.len() + payload.len() / 8 + 64;
        let (mut taken, mut given) = (0, 0);
        loop {
            if output.len() < room {
                output.resize(room, 0);
            }
            let before = (self.deflate.total_in(), self.deflate.total_out());
            let flushed = self.deflate.compress(&payload[taken..], &mut output[given..room], DeflateFlush::SyncFlush);
            flushed.ok()?;
            taken += (self.deflate.total_in() - before.0) as usize;
            given += (self.deflate.total_out() - before.1) as usize;
            if given < room {
                break;
            }
            room += room / 2;
        }
        let bytes = output[..given].strip_suffix(&TAIL)?.len();
        (taken == payload.len()).then_some(bytes)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("window", &self.window).finish_non_exhaustive()
    }
}

/// The compressors of a core: one shared stream for each window size in use, and the output buffer.
#[derive(Debug)]
pub struct Compressors {
    shared: [Option<Box<Compressor>>; WindowBits::COMPRESSOR_SIZES],
    output: Vec<u8>,
    level: u8,
    message_bytes_min: usize,
}

impl Compressors {
    /// Creates no compressor yet: each is created for the first message that uses it.
    pub fn new(compression: &Compression) -> Self {
        Self {
            shared: Default::default(),
            output: Vec::new(),
            level: compression.level,
            message_bytes_min: compression.message_bytes_min,
        }
    }

    /// Returns whether a payload of this size is to be compressed.
    pub fn should_compress(&self, compress: Compress, bytes: usize) -> bool {
        match compress {
            Compress::IfLarge => bytes >= self.message_bytes_min,
            Compress::Always => true,
            Compress::Never => false,
        }
    }

    /// Compresses an independent message with this window; `None` if it is better sent uncompressed.
    pub fn compress(&mut self, payload: &[u8], window: WindowBits) -> Option<&[u8]> {
        let shared = self.shared.get_mut(window.compressor_index()?)?;
        let compressor = shared.get_or_insert_with(|| Box::new(Compressor::new(window, self.level)));
        compressor.forget();
        trim(&mut self.output, payload.len());
        let bytes = compressor.compress(payload, &mut self.output)?;
        Some(&self.output[..bytes])
    }

    /// Compresses the next message of a connection with its own stream, which its first message creates.
    pub(in crate::protocol) fn compress_next(
        &mut self,
        payload: &[u8],
        window: WindowBits,
        dedicated: &mut Option<Compressor>,
    ) -> Option<&[u8]> {
        window.compressor_index()?;
        let compressor = dedicated.get_or_insert_with(|| Compressor::new(window, self.level));
        trim(&mut self.output, payload.len());
        let bytes = compressor.compress(payload, &mut self.output)?;
        Some(&self.output[..bytes])
    }
}

/// Frees an output buffer that only a larger message than this needed.
fn trim(output: &mut Vec<u8>, payload_bytes: usize) {
    if output.len() > OUTPUT_BYTES_KEPT && payload_bytes <= OUTPUT_BYTES_KEPT {
        *output = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::super::decompressor::{Decompressor, Inflation};
    use super::*;

    const INFLATION: Inflation = Inflation { bytes_max: 1 << 24, ratio_max: 0 };

    fn text(bytes: usize) -> Vec<u8> {
        let mut text = Vec::new();
        let mut number = 1u64;
        while text.len() < bytes {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(format!("{{\"id\":{},\"name\":\"user\"}},", number >> 44).as_bytes());
        }
        text.truncate(bytes);
        text
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..bytes).map(|_| next()).collect()
    }

    fn inflated(decompressor: &mut Decompressor, compressed: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        decompressor.decompress(compressed, &mut output, &INFLATION).unwrap();
        output
    }

    #[test]
    fn messages_of_every_size_come_back_with_every_window() {
        let mut compressors = Compressors::new(&Compression::default());
        for bits in 9..=15 {
            let window = WindowBits::new(bits).unwrap();
            // The peer's window is no larger than agreed.
            let mut decompressor = Decompressor::new(window);
            for bytes in [1, 2, 100, 511, 513, 5_000, 40_000, 200_000] {
                let message = text(bytes);
                match compressors.compress(&message, window) {
                    Some(compressed) => {
                        assert!(compressed.len() <= bytes);
                        assert_eq!(inflated(&mut decompressor, compressed), message);
                    }
                    None => assert!(bytes < 100, "{bytes} bytes of text were not compressed"),
                }
            }
        }
    }

    #[test]
    fn every_level_gives_what_can_be_read() {
        for level in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 200] {
            let mut compressors = Compressors::new(&Compression { level, ..Compression::default() });
            let message = text(30_000);
            let compressed = compressors.compress(&message, WindowBits::MAX).unwrap().to_vec();
            assert_eq!(inflated(&mut Decompressor::new(WindowBits::MAX), &compressed), message);
        }
    }

    #[test]
    fn incompressible_messages_are_sent_uncompressed() {
        let mut compressors = Compressors::new(&Compression::default());
        // Often enough to reveal a stream that does not return to its initial state.
        for _ in 0..3_000 {
            assert_eq!(compressors.compress(&noise(100), WindowBits::MAX), None);
        }
        for bytes in [0, 1, 2, 70_000, 1 << 20] {
            assert_eq!(compressors.compress(&noise(bytes), WindowBits::MAX), None, "{bytes} bytes of noise");
        }
        let smallest = WindowBits::new(8).unwrap();
        assert_eq!(compressors.compress(&text(1_000), smallest), None, "zlib has no window of 256 bytes");
    }

    #[test]
    fn a_dedicated_stream_refers_to_earlier_messages_and_survives_what_it_leaves_alone() {
        let mut compressors = Compressors::new(&Compression::default());
        let (mut own, mut decompressor) = (None, Decompressor::new(WindowBits::MAX));
        let message = text(2_000);
        let mut lengths = Vec::new();
        for step in 0..20 {
            if step % 7 == 3 {
                assert_eq!(compressors.compress_next(&noise(5_000), WindowBits::MAX, &mut own), None);
            }
            let compressed = compressors.compress_next(&message, WindowBits::MAX, &mut own).unwrap();
            lengths.push(compressed.len());
            assert_eq!(inflated(&mut decompressor, compressed), message);
        }
        assert!(lengths[1] * 10 < lengths[0], "the second copy costs {} of {} bytes", lengths[1], lengths[0]);
        assert!(lengths[3] * 2 > lengths[0], "after noise nothing is referred to");
    }

    #[test]
    fn a_large_message_leaves_no_large_buffer_behind() {
        let mut compressors = Compressors::new(&Compression::default());
        assert!(compressors.compress(&text(3 << 20), WindowBits::MAX).is_some());
        assert!(compressors.compress(&text(1_000), WindowBits::MAX).is_some());
        assert!(compressors.output.capacity() <= OUTPUT_BYTES_KEPT);
    }
}
