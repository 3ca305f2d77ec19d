//! The size of an LZ77 window (RFC 7692 7.1.2).

use std::fmt;

/// The base-two logarithm of a window's size in bytes, 8 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 32 KiB: the size if none is negotiated.
    pub const MAX: Self = Self(15);
    /// 512 bytes: the smallest window that zlib compresses with. A peer that allows only 256 bytes gets uncompressed
    /// messages.
    pub const COMPRESSOR_MIN: Self = Self(9);
    /// The number of window sizes that zlib compresses with.
    pub(in crate::protocol) const COMPRESSOR_SIZES: usize = 7;

    /// Returns the window of this size, `None` outside 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            8..=15 => Some(Self(bits)),
            _ => None,
        }
    }

    /// Returns the base-two logarithm.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Parses a parameter's value: digits without a leading zero (RFC 7692 7.1.2.1).
    pub(in crate::protocol) fn parse(value: &str) -> Option<Self> {
        match value.as_bytes() {
            [digit @ b'8'..=b'9'] => Self::new(digit - b'0'),
            [b'1', digit @ b'0'..=b'5'] => Self::new(10 + digit - b'0'),
            _ => None,
        }
    }

    /// Returns the index among the sizes that zlib compresses with; `None` for the one that is too small.
    pub(in crate::protocol) fn compressor_index(self) -> Option<usize> {
        self.0.checked_sub(Self::COMPRESSOR_MIN.0).map(usize::from)
    }
}

impl fmt::Display for WindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_8_to_15_without_a_leading_zero_are_window_bits() {
        for bits in 8..=15 {
            assert_eq!(WindowBits::parse(&bits.to_string()), WindowBits::new(bits));
        }
        for wrong in ["", "0", "7", "16", "08", "015", "+9", "-9", "9.0", " 9", "1e1", "256", "99999999999999999999"] {
            assert_eq!(WindowBits::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_size_but_the_smallest_can_be_compressed_with() {
        let indexes: Vec<_> = (8..=15).map(|bits| WindowBits::new(bits).unwrap().compressor_index()).collect();
        assert_eq!(indexes, [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]);
        assert_eq!(WindowBits::MAX.compressor_index(), Some(WindowBits::COMPRESSOR_SIZES - 1));
    }
}
