//! Frame headers and whole frames (RFC 6455 5.2).
//!
//! Owns every rule that a header alone can break. Never reads a payload. Invariant: a header is refused at the first
//! byte that breaks a rule.

use super::mask::{self, MaskKey};
use super::violation::Violation;
use crate::protocol::role::Role;

/// Bytes of a control frame's payload at most (RFC 6455 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// Bytes of a header at most: two, a length of eight, a key of four.
pub const HEADER_BYTES_MAX: usize = 14;

/// Bytes of a payload at most whose length takes one byte (RFC 6455 5.2).
pub(super) const SHORT_LENGTH_MAX: usize = 125;

pub(super) const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
/// Marks the first frame of a compressed message (RFC 7692 6).
const RSV1: u8 = 0x40;
pub(super) const MASK: u8 = 0x80;

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that an earlier frame began.
    Continuation = 0,
    /// The first frame of a text message.
    Text = 1,
    /// The first frame of a binary message.
    Binary = 2,
    /// The last frame that an endpoint sends.
    Close = 8,
    /// A ping, which the peer answers with a pong.
    Ping = 9,
    /// A pong, in answer to a ping or unsolicited.
    Pong = 10,
}

impl Opcode {
    fn new(number: u8) -> Result<Self, Violation> {
        Ok(match number {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            opcode => return Err(Violation::ReservedOpcode { opcode }),
        })
    }

    /// Returns whether this is Close, Ping or Pong.
    pub fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }
}

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The frame is the last of its message.
    pub fin: bool,
    /// The opcode.
    pub opcode: Opcode,
    /// The frame begins a compressed message: RSV1, which is defined only by permessage-deflate.
    pub compressed: bool,
    /// The key that a client has masked the payload with.
    pub mask: Option<MaskKey>,
    /// Bytes of payload, below 2^63.
    pub payload_bytes: u64,
}

impl FrameHeader {
    /// Parses the header at the beginning of `input`, sent to an endpoint in `role`. Returns the header and its length
    /// in bytes, or `None` if more bytes are needed. `compression` is true if permessage-deflate was agreed.
    #[inline]
    pub fn parse(input: &[u8], role: Role, compression: bool) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = input.first() else { return Ok(None) };
        let reserved = first & RSV;
        let compressed = compression && reserved == RSV1;
        if reserved != 0 && !compressed {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::new(first & 0x0F)?;
        // RFC 7692 6.1: the bit is allowed only in the first frame of a message.
        if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Violation::ReservedBits);
        }
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }
        let Some(&second) = input.get(1) else { return Ok(None) };
        let masked = second & MASK != 0;
        match role {
            Role::Server if !masked => return Err(Violation::Unmasked),
            Role::Client if masked => return Err(Violation::Masked),
            _ => {}
        }
        let length = second & !MASK;
        if opcode.is_control() && usize::from(length) > CONTROL_PAYLOAD_MAX {
            return Err(Violation::ControlTooLong);
        }
        let Some((payload_bytes, end)) = payload_length(input, length)? else { return Ok(None) };
        if !masked {
            return Ok(Some((Self { fin, opcode, compressed, mask: None, payload_bytes }, end)));
        }
        let Some(&mask) = input[end..].first_chunk() else { return Ok(None) };
        Ok(Some((Self { fin, opcode, compressed, mask: Some(mask), payload_bytes }, end + 4)))
    }

    /// Appends the header's bytes.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        // Copying a fixed number of bytes and cutting off the surplus is cheaper than copying a variable number.
        let (bytes, length) = self.encode();
        let end = out.len() + length;
        out.extend_from_slice(&bytes);
        out.truncate(end);
    }

    /// Returns the header's bytes, and their number.
    #[inline]
    pub fn encode(&self) -> ([u8; HEADER_BYTES_MAX], usize) {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let mask_bit = if self.mask.is_some() { MASK } else { 0 };
        bytes[0] = self.opcode as u8 | if self.fin { FIN } else { 0 } | if self.compressed { RSV1 } else { 0 };
        let mut end = match self.payload_bytes {
            length @ 0..=125 => {
                bytes[1] = mask_bit | length as u8;
                2
            }
            length @ 126..=0xFFFF => {
                bytes[1] = mask_bit | 126;
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            length => {
                bytes[1] = mask_bit | 127;
                bytes[2..10].copy_from_slice(&length.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            bytes[end..end + 4].copy_from_slice(&key);
            end += 4;
        }
        (bytes, end)
    }
}

/// Appends a whole, unfragmented frame. `mask` is `None` for a server and a fresh, unpredictable key for a client.
#[inline]
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<MaskKey>) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_PAYLOAD_MAX, "a control frame is short");
    out.reserve(HEADER_BYTES_MAX + payload.len());
    if mask.is_none() && payload.len() <= SHORT_LENGTH_MAX {
        // The common case: a header of two bytes, written directly.
        out.extend_from_slice(&[opcode as u8 | FIN, payload.len() as u8]);
        out.extend_from_slice(payload);
        return;
    }
    write_any_frame(out, opcode, false, payload, mask);
}

/// Appends the only frame of a message compressed by [`Connection::compress`](super::Connection::compress).
pub fn write_compressed_frame(out: &mut Vec<u8>, opcode: Opcode, compressed: &[u8], mask: Option<MaskKey>) {
    out.reserve(HEADER_BYTES_MAX + compressed.len());
    write_any_frame(out, opcode, true, compressed, mask);
}

fn write_any_frame(out: &mut Vec<u8>, opcode: Opcode, compressed: bool, payload: &[u8], mask: Option<MaskKey>) {
    FrameHeader { fin: true, opcode, compressed, mask, payload_bytes: payload.len() as u64 }.write(out);
    match mask {
        None => out.extend_from_slice(payload),
        Some(key) => mask::append(out, payload, key, 0),
    }
}

/// Returns the payload's length and the end of the length's bytes; `None` if more bytes are needed.
#[inline]
fn payload_length(input: &[u8], length: u8) -> Result<Option<(u64, usize)>, Violation> {
    match length {
        126 => {
            let Some(&bytes) = input[2..].first_chunk() else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(bytes));
            if length < 126 {
                return Err(Violation::LengthNotMinimal { length });
            }
            Ok(Some((length, 4)))
        }
        127 => {
            // The first byte is enough to see a length of 64 bits.
            if input.get(2).is_some_and(|byte| byte & 0x80 != 0) {
                return Err(Violation::LengthTooLarge);
            }
            let Some(&bytes) = input[2..].first_chunk() else { return Ok(None) };
            let length = u64::from_be_bytes(bytes);
            if length <= 0xFFFF {
                return Err(Violation::LengthNotMinimal { length });
            }
            Ok(Some((length, 10)))
        }
        length => Ok(Some((u64::from(length), 2))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::CloseCode;

    fn header(fin: bool, opcode: Opcode, payload_bytes: u64, mask: Option<MaskKey>) -> FrameHeader {
        FrameHeader { fin, opcode, compressed: false, mask, payload_bytes }
    }

    /// Returns the verdict of RFC 6455, and of RFC 7692 with compression, on the first two bytes of a client's frame.
    fn verdict(first: u8, second: u8, compression: bool) -> Option<Violation> {
        let opcode = first & 0x0F;
        let control = opcode >= 8;
        let begins_compressed = compression && first & 0x70 == 0x40;
        if first & 0x70 != 0 && !begins_compressed {
            Some(Violation::ReservedBits)
        } else if !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
            Some(Violation::ReservedOpcode { opcode })
        } else if begins_compressed && !matches!(opcode, 1 | 2) {
            Some(Violation::ReservedBits)
        } else if control && first & 0x80 == 0 {
            Some(Violation::ControlFragmented)
        } else if second & 0x80 == 0 {
            Some(Violation::Unmasked)
        } else if control && second & 0x7F > 125 {
            Some(Violation::ControlTooLong)
        } else {
            None
        }
    }

    #[test]
    fn all_pairs_of_first_bytes_get_the_verdict_of_the_rfc() {
        for first in 0..=255 {
            for second in 0..=255 {
                for compression in [false, true] {
                    let parsed = FrameHeader::parse(&[first, second], Role::Server, compression);
                    match verdict(first, second, compression) {
                        Some(violation) => {
                            assert_eq!(violation.close_code(), CloseCode::PROTOCOL_ERROR);
                            assert_eq!(parsed, Err(violation), "{first:02x} {second:02x}");
                        }
                        None => assert_eq!(parsed, Ok(None), "{first:02x} {second:02x}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_client_refuses_masked_frames() {
        assert_eq!(FrameHeader::parse(&[0x81, 0x80], Role::Client, false), Err(Violation::Masked));
        assert_eq!(
            FrameHeader::parse(&[0x81, 0x00], Role::Client, false),
            Ok(Some((header(true, Opcode::Text, 0, None), 2)))
        );
    }

    #[test]
    fn lengths_in_a_longer_form_than_needed_are_refused() {
        for length in [0u64, 1, 125] {
            let mut bytes = vec![0x82, 0xFE];
            bytes.extend((length as u16).to_be_bytes());
            assert_eq!(FrameHeader::parse(&bytes, Role::Server, false), Err(Violation::LengthNotMinimal { length }));
        }
        for length in [0u64, 125, 126, 0xFFFF] {
            let mut bytes = vec![0x82, 0xFF];
            bytes.extend(length.to_be_bytes());
            assert_eq!(FrameHeader::parse(&bytes, Role::Server, false), Err(Violation::LengthNotMinimal { length }));
        }
    }

    #[test]
    fn a_length_of_64_bits_is_refused_at_its_first_byte() {
        for high in 0x80..=0xFF {
            assert_eq!(FrameHeader::parse(&[0x82, 0xFF, high], Role::Server, false), Err(Violation::LengthTooLarge));
        }
    }

    proptest! {
        #[test]
        fn headers_survive_a_round_trip_and_every_prefix_waits_for_more(
            fin: bool,
            compressed: bool,
            opcode in prop::sample::select(vec![Opcode::Continuation, Opcode::Text, Opcode::Binary]),
            payload_bytes in prop_oneof![0u64..200, 65_000u64..66_000, 0u64..1 << 63],
            mask: MaskKey,
        ) {
            for (role, mask) in [(Role::Server, Some(mask)), (Role::Client, None)] {
                let compressed = compressed && opcode != Opcode::Continuation;
                let header = FrameHeader { fin, opcode, compressed, mask, payload_bytes };
                let mut bytes = Vec::new();
                header.write(&mut bytes);
                for cut in 0..bytes.len() {
                    prop_assert_eq!(FrameHeader::parse(&bytes[..cut], role, true), Ok(None));
                }
                prop_assert_eq!(FrameHeader::parse(&bytes, role, true), Ok(Some((header, bytes.len()))));
            }
        }
    }
}
