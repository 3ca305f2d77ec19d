//! Decompressors: compressed messages in, messages out, never more than the limit.
//!
//! Never allocates for a length that a message only claims. Invariant: the output grows only as bytes come out of the
//! decompressor, and never past the limit by more than the one byte that shows the excess.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{TAIL, WindowBits};

/// Final blocks in one message. Default 64: a regular sender writes one or none (RFC 7692 7.2.3.4), and each restarts
/// the decompressor.
pub const FINAL_BLOCKS_MAX: u32 = 64;

/// Bytes of output allowed at any ratio: a few hundred bytes of one repeated letter are no bomb.
const RATIO_EXEMPT_BYTES: u64 = 64 * 1024;

/// The first output buffer of a message, in bytes; it grows as bytes come out.
const OUTPUT_BYTES_FIRST: usize = 4 * 1024;

/// The limits on the inflated size of a message.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Inflation {
    /// The most bytes of output.
    pub(in crate::protocol) bytes_max: u64,
    /// The most bytes of output for each compressed byte; 0 for no limit.
    pub(in crate::protocol) ratio_max: u32,
}

impl Inflation {
    fn bytes_max(&self, compressed: usize) -> u64 {
        match self.ratio_max {
            0 => self.bytes_max,
            ratio => self.bytes_max.min((compressed as u64).saturating_mul(ratio.into()).max(RATIO_EXEMPT_BYTES)),
        }
    }

    fn exceeded(&self, bytes: u64) -> InflationError {
        if bytes > self.bytes_max {
            return InflationError::TooLarge { bytes, max: self.bytes_max };
        }
        InflationError::Ratio { max: self.ratio_max }
    }
}

/// The fault of a compressed message. The sender is responsible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum InflationError {
    /// The data do not follow RFC 1951, or refer beyond the window.
    Damaged,
    /// The message grew by more than this factor.
    Ratio { max: u32 },
    /// The message has at least `bytes` bytes, above the limit `max`.
    TooLarge { bytes: u64, max: u64 },
}

/// One decompression stream.
pub(in crate::protocol) struct Decompressor(Inflate);

impl Decompressor {
    /// Creates a stream with a window of its own: up to 48 KiB.
    pub(in crate::protocol) fn new(window: WindowBits) -> Self {
        Self(Inflate::new(false, window.number()))
    }

    /// Drops the history: the next message may refer to none before it.
    pub(in crate::protocol) fn forget(&mut self) {
        self.0.reset(false);
    }

    /// Decompresses a whole message into `output`, which must be empty. Costs about 2 ns per byte.
    pub(in crate::protocol) fn decompress(
        &mut self,
        compressed: &[u8],
        output: &mut Vec<u8>,
        inflation: &Inflation,
    ) -> Result<(), InflationError> {
        let mut run = Run {
            bytes_max: usize::try_from(inflation.bytes_max(compressed.len())).unwrap_or(usize::MAX - 1),
            output,
            written: 0,
            final_blocks: 0,
            at_stream_start: false,
        };
        let first = compressed.len().saturating_mul(4).max(OUTPUT_BYTES_FIRST).min(run.bytes_max.saturating_add(1));
        run.grow(first);
        run.inflate(&mut self.0, compressed, inflation)?;
        let written = run.written;
        if !run.at_stream_start && !compressed.is_empty() {
            self.end_message(&mut output[..])?;
        }
        output.truncate(written);
        Ok(())
    }

    /// Feeds the tail, and checks that the message ended where it must: in the header of a stored block. Within any
    /// other block the tail would be read as data.
    fn end_message(&mut self, room: &mut [u8]) -> Result<(), InflationError> {
        const BEYOND: u8 = 0;
        let [a, b, c, d] = TAIL;
        let before = (self.0.total_in(), self.0.total_out());
        // Stopping at the end of a block leaves the last byte unread.
        let status = self.0.decompress(&[a, b, c, d, BEYOND], room, InflateFlush::Block);
        let taken = (self.0.total_in() - before.0, self.0.total_out() - before.1);
        if status.is_ok() && taken == (TAIL.len() as u64, 0) { Ok(()) } else { Err(InflationError::Damaged) }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("total_out", &self.0.total_out()).finish_non_exhaustive()
    }
}

/// One message being inflated.
struct Run<'o> {
    output: &'o mut Vec<u8>,
    written: usize,
    bytes_max: usize,
    final_blocks: u32,
    /// The last byte read ended a final block.
    at_stream_start: bool,
}

impl Run<'_> {
    /// Grows the output to exactly `bytes`, because a vector that grows by itself takes up to twice the size needed.
    fn grow(&mut self, bytes: usize) {
        self.output.reserve_exact(bytes.saturating_sub(self.output.len()));
        self.output.resize(bytes, 0);
    }

    fn inflate(&mut self, inflate: &mut Inflate, mut rest: &[u8], inflation: &Inflation) -> Result<(), InflationError> {
        loop {
            let before = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(rest, &mut self.output[self.written..], InflateFlush::SyncFlush);
            let status = status.map_err(|_| InflationError::Damaged)?;
            let taken = (inflate.total_in() - before.0) as usize;
            self.written += (inflate.total_out() - before.1) as usize;
            rest = &rest[taken..];
            self.at_stream_start = status == Status::StreamEnd || (self.at_stream_start && taken == 0);
            if self.written > self.bytes_max {
                return Err(inflation.exceeded(self.written as u64));
            }
            if status == Status::StreamEnd {
                // A final block ends a stream, not the message (RFC 7692 7.2.3.4).
                self.final_blocks += 1;
                if self.final_blocks > FINAL_BLOCKS_MAX {
                    return Err(InflationError::Damaged);
                }
                inflate.reset(false);
            }
            if self.written == self.output.len() {
                // The output is full: the decompressor may hold more even after all input was read.
                let more = self.output.len().saturating_mul(2).min(self.bytes_max.saturating_add(1));
                self.grow(more);
            } else if rest.is_empty() {
                return Ok(());
            } else if taken == 0 && status != Status::StreamEnd {
                // There is room and input, but no progress.
                return Err(InflationError::Damaged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompress(compressed: &[u8], bytes_max: u64, ratio_max: u32) -> Result<Vec<u8>, InflationError> {
        let mut output = Vec::new();
        let verdict =
            Decompressor::new(WindowBits::MAX).decompress(compressed, &mut output, &Inflation { bytes_max, ratio_max });
        assert!(output.capacity() as u64 <= (bytes_max + 1).max(OUTPUT_BYTES_FIRST as u64), "{}", output.capacity());
        verdict.map(|()| output)
    }

    /// Compresses `bytes` zeros, about 1:1000.
    fn bomb(bytes: usize) -> Vec<u8> {
        let mut deflate = zlib_rs::Deflate::new(9, false, 15);
        let mut compressed = vec![0; bytes / 500 + 100];
        deflate.compress(&vec![0; bytes], &mut compressed, zlib_rs::DeflateFlush::SyncFlush).unwrap();
        compressed.truncate(deflate.total_out() as usize - TAIL.len());
        compressed
    }

    #[test]
    fn the_examples_of_rfc_7692_7_2_3_are_read() {
        let hello = b"Hello".to_vec();
        let stored = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
        let final_block = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
        let two_blocks = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
        assert_eq!(decompress(&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], 5, 0), Ok(hello.clone()));
        assert_eq!(decompress(&stored, 5, 0), Ok(hello.clone()));
        assert_eq!(decompress(&final_block, 5, 0), Ok(hello.clone()));
        assert_eq!(decompress(&two_blocks, 5, 0), Ok(hello.clone()));
        // 7.2.3.2: the second message refers to the first.
        let mut shared = Decompressor::new(WindowBits::MAX);
        for compressed in [&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..], &[0xF2, 0x00, 0x11, 0x00, 0x00]] {
            let mut output = Vec::new();
            shared.decompress(compressed, &mut output, &Inflation { bytes_max: 5, ratio_max: 0 }).unwrap();
            assert_eq!(output, hello);
        }
        assert_eq!(decompress(&[0xF2, 0x00, 0x11, 0x00, 0x00], 5, 0), Err(InflationError::Damaged));
        // 7.2.3.6: an empty message. Empty input is one too.
        assert_eq!(decompress(&[0x00], 0, 0), Ok(Vec::new()));
        assert_eq!(decompress(&[], 0, 0), Ok(Vec::new()));
    }

    #[test]
    fn a_message_may_become_exactly_as_large_as_the_limit() {
        for bytes in [1, 100, 4_096, 4_097, 65_536, 1_000_000] {
            let compressed = bomb(bytes);
            let bytes = bytes as u64;
            assert_eq!(decompress(&compressed, bytes, 0).map(|output| output.len() as u64), Ok(bytes));
            let verdict = decompress(&compressed, bytes - 1, 0);
            assert_eq!(verdict, Err(InflationError::TooLarge { bytes, max: bytes - 1 }));
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit_or_at_its_ratio() {
        let compressed = bomb(64 << 20);
        let verdict = decompress(&compressed, 65_536, 0);
        assert_eq!(verdict, Err(InflationError::TooLarge { bytes: 65_537, max: 65_536 }));
        assert_eq!(decompress(&compressed, 1 << 30, 100), Err(InflationError::Ratio { max: 100 }));
        // A small result is no bomb.
        assert_eq!(decompress(&bomb(65_536), 1 << 30, 2).map(|output| output.len()), Ok(65_536));
    }

    #[test]
    fn damaged_data_are_refused() {
        // A reserved block type, a stored block whose lengths disagree, a distance before the start.
        for damaged in [&[0xFF][..], &[0x07], &[0x00, 0x05, 0x00, 0x00, 0x00], &[0x4B, 0x04, 0x12]] {
            assert_eq!(decompress(damaged, 1_000, 0), Err(InflationError::Damaged), "{damaged:02x?}");
        }
    }

    #[test]
    fn final_blocks_without_end_are_refused() {
        let empty_final_block = [0x03, 0x00];
        let most = empty_final_block.repeat(FINAL_BLOCKS_MAX as usize);
        assert_eq!(decompress(&most, 0, 0), Ok(Vec::new()));
        let more = empty_final_block.repeat(FINAL_BLOCKS_MAX as usize + 1);
        assert_eq!(decompress(&more, 0, 0), Err(InflationError::Damaged));
    }
}
