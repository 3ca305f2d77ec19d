//! Identifiable messages: each contains its sender, its number and, in fan-out, when it was due.
//!
//! All bytes are visible ASCII, so that a message is valid text and fits into JSON. Invariant: no two messages of a
//! connection are equal, unless they are too short for the whole stamp.

use crate::protocol::{MaskKey, Opcode, apply_mask, write_frame};

/// The identity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The number of the sending connection.
    pub sender: u32,
    /// The number of messages that the connection had sent before.
    pub number: u64,
    /// The due time of the message, in nanoseconds of the run's [`Clock`](super::clock::Clock).
    pub due_ns: u64,
}

/// Bytes that encode sender and number.
const IDENTITY: usize = 16;

impl Stamp {
    /// Bytes of a message that has the whole stamp.
    pub const BYTES: usize = 2 * IDENTITY;

    fn identity(sender: u32, number: u64) -> [u8; IDENTITY] {
        // 24 bits suffice for every connection that a core can number, and 40 bits of messages last for days.
        letters(u64::from(sender) << 40 | number & ((1 << 40) - 1))
    }
}

/// Writes messages of one size, and recognizes them.
#[derive(Debug)]
pub(super) struct Messages {
    /// The unmasked frame of a message with its envelope, but without its stamp.
    frame: Vec<u8>,
    /// The offsets of the masking key and of the message in the frame.
    key_at: usize,
    message_at: usize,
    /// The message without its stamp.
    plain: Vec<u8>,
    /// True if messages contain their due time. In an echo the sender remembers it instead.
    says_when: bool,
    masks: u32,
}

impl Messages {
    pub fn new(size: usize, text: bool, (before, after): &(String, String), says_when: bool) -> Self {
        let plain: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let payload = [before.as_bytes(), &plain, after.as_bytes()].concat();
        let mut frame = Vec::new();
        // A key of 0 leaves the payload unmasked.
        write_frame(&mut frame, if text { Opcode::Text } else { Opcode::Binary }, &payload, Some([0; 4]));
        let start = frame.len() - payload.len();
        Self { frame, key_at: start - 4, message_at: start + before.len(), plain, says_when, masks: 0x9E37_79B9 }
    }

    /// Appends the frame of a message to `out`. Takes a copy of the frame and one pass over it.
    pub fn write(&mut self, out: &mut Vec<u8>, stamp: Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let message = &mut out[start + self.message_at..][..self.plain.len()];
        let identity = Stamp::identity(stamp.sender, stamp.number);
        match message.split_first_chunk_mut() {
            Some((shown, rest)) => {
                *shown = identity;
                if let Some(time) = rest.first_chunk_mut().filter(|_| self.says_when) {
                    *time = letters(stamp.due_ns);
                }
            }
            None => message.copy_from_slice(end_of(&identity, message.len())),
        }
        let key = self.mask();
        let (key_place, payload) = out[start + self.key_at..].split_at_mut(key.len());
        key_place.copy_from_slice(&key);
        apply_mask(payload, key, 0);
    }

    /// Returns a masking key. It may be predictable: a load generator protects no proxy from its payloads.
    pub fn mask(&mut self) -> MaskKey {
        // Marsaglia's xorshift32.
        self.masks ^= self.masks << 13;
        self.masks ^= self.masks >> 17;
        self.masks ^= self.masks << 5;
        self.masks.to_ne_bytes()
    }

    /// Returns whether a message without due time is the expected one, to the last byte. Takes one pass over it.
    pub fn is(&self, message: &[u8], sender: u32, number: u64) -> bool {
        let identity = Stamp::identity(sender, number);
        message.len() == self.plain.len()
            && match message.split_first_chunk() {
                Some((shown, rest)) => *shown == identity && rest == &self.plain[IDENTITY..],
                None => message == end_of(&identity, message.len()),
            }
    }

    /// Returns the stamp of a message with due time, if all of its bytes are right.
    pub fn read(&self, message: &[u8]) -> Option<Stamp> {
        let (identity, rest) = message.split_first_chunk()?;
        let (due, rest) = rest.split_first_chunk()?;
        let (identity, due_ns) = (number(identity)?, number(due)?);
        let stamp = Stamp { sender: (identity >> 40) as u32, number: identity & ((1 << 40) - 1), due_ns };
        (message.len() == self.plain.len() && rest == &self.plain[Stamp::BYTES..]).then_some(stamp)
    }
}

/// Returns the part of the identity that fits into a short message: its end, which varies most.
fn end_of(identity: &[u8; IDENTITY], bytes: usize) -> &[u8] {
    &identity[IDENTITY - bytes..]
}

/// Returns a word that repeats a byte eight times.
const fn bytes(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Returns a number in 16 letters, from `a` for 0 to `p` for 15; computes eight of them at once.
fn letters(number: u64) -> [u8; IDENTITY] {
    let half = |half: u64| {
        let spread = (half << 16 | half) & 0x0000_FFFF_0000_FFFF;
        let spread = (spread << 8 | spread) & 0x00FF_00FF_00FF_00FF;
        ((spread << 4 | spread) & bytes(0x0F)) + bytes(b'a')
    };
    let both = u128::from(half(number >> 32)) << 64 | u128::from(half(number & 0xFFFF_FFFF));
    both.to_be_bytes()
}

/// Returns the number that [`letters`] encodes as `text`.
fn number(text: &[u8; IDENTITY]) -> Option<u64> {
    let half = |half: u64| {
        let digits = half.wrapping_sub(bytes(b'a')) & bytes(0x0F);
        let pairs = (digits >> 4 | digits) & 0x00FF_00FF_00FF_00FF;
        let fours = (pairs >> 8 | pairs) & 0x0000_FFFF_0000_FFFF;
        (fours >> 16 | fours) & 0xFFFF_FFFF
    };
    let both = u128::from_be_bytes(*text);
    let number = half((both >> 64) as u64) << 32 | half(both as u64);
    // Any other byte encodes differently.
    (letters(number) == *text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{FrameHeader, Role};

    fn written(messages: &mut Messages, stamp: Stamp) -> Vec<u8> {
        let mut frame = Vec::new();
        messages.write(&mut frame, stamp);
        let (header, start) = FrameHeader::parse(&frame, Role::Server, false).unwrap().unwrap();
        let mut payload = frame.split_off(start);
        assert_eq!(payload.len() as u64, header.payload_bytes);
        apply_mask(&mut payload, header.mask.unwrap(), 0);
        payload
    }

    fn plain(size: usize, says_when: bool) -> Messages {
        Messages::new(size, false, &Default::default(), says_when)
    }

    const STAMP: Stamp = Stamp { sender: 0xABCDE, number: 0x12_3456_7890, due_ns: 0xFEDC_BA98_7654_3210 };

    #[test]
    fn a_message_is_known_again_whatever_its_size() {
        for size in [1, 2, 15, 16, 17, 31, 32, 33, 64, 1000, 65_536] {
            let mut messages = plain(size, false);
            let message = written(&mut messages, STAMP);
            assert_eq!(message.len(), size);
            assert!(message.is_ascii());
            assert!(messages.is(&message, STAMP.sender, STAMP.number), "{size}");
            assert!(!messages.is(&message, STAMP.sender, STAMP.number + 1), "{size}");
            assert!(size < 16 || !messages.is(&message, STAMP.sender + 1, STAMP.number), "{size}");
            assert!(!messages.is(&message[..size - 1], STAMP.sender, STAMP.number), "{size}");
            let mut messages = plain(size, true);
            let message = written(&mut messages, STAMP);
            assert!(message.is_ascii());
            assert_eq!(messages.read(&message), (size >= Stamp::BYTES).then_some(STAMP), "{size}");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let (mut untimed, mut timed) = (plain(100, false), plain(100, true));
        let (message, with_time) = (written(&mut untimed, STAMP), written(&mut timed, STAMP));
        for at in 0..message.len() {
            for bit in 0..8 {
                let changed = |message: &[u8]| {
                    let mut changed = message.to_vec();
                    changed[at] ^= 1 << bit;
                    changed
                };
                assert!(!untimed.is(&changed(&message), STAMP.sender, STAMP.number), "{at}");
                assert!(timed.read(&changed(&with_time)) != Some(STAMP), "{at}");
            }
        }
    }

    #[test]
    fn numbers_are_sixteen_letters() {
        let spelled = |value: u64| (0..IDENTITY).map(|at| b'a' + (value << (4 * at) >> 60) as u8).collect::<Vec<_>>();
        for shift in 0..64 {
            for value in [1 << shift, u64::MAX >> shift, 0xFEDC_BA98_7654_3210_u64.rotate_left(shift)] {
                assert_eq!(&letters(value)[..], spelled(value));
                assert_eq!(number(&letters(value)), Some(value));
            }
        }
        for byte in (0..=255).filter(|byte| !matches!(byte, b'a'..=b'p')) {
            for at in 0..IDENTITY {
                let mut text = letters(0x0123_4567_89AB_CDEF);
                text[at] = byte;
                assert_eq!(number(&text), None, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_message_is_wrapped_for_servers_with_commands() {
        let mut messages = Messages::new(40, true, &("pub t ".to_owned(), "!".to_owned()), true);
        let sent = written(&mut messages, STAMP);
        let message = sent.strip_prefix(b"pub t ").unwrap().strip_suffix(b"!").unwrap();
        assert_eq!(messages.read(message), Some(STAMP));
        assert_eq!(messages.frame[0], 0x80 | Opcode::Text as u8);
    }

    #[test]
    fn keys_differ_from_frame_to_frame() {
        let mut messages = plain(1, false);
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| messages.mask()).collect();
        assert_eq!(keys.len(), 1000);
    }
}
