//! Messages that can be told apart: each says who sent it, its number and, in fan-out, when it was due.
//!
//! Everything is visible ASCII, so that a message is valid text and fits into JSON. Invariant: no two messages of a
//! connection are alike unless they are too short to say so.

use crate::protocol::{MaskKey, Opcode, write_frame};

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The number of the connection that sent it.
    pub sender: u32,
    /// How many that connection had sent before.
    pub number: u64,
    /// When it was due, in nanoseconds of the run's [`Clock`](super::clock::Clock).
    pub due_ns: u64,
}

/// Bytes that say who sent it and which it is.
const IDENTITY: usize = 16;

impl Stamp {
    /// Bytes of a message that says all of it.
    pub const BYTES: usize = 2 * IDENTITY;

    fn identity(sender: u32, number: u64) -> [u8; IDENTITY] {
        // 24 bits of sender are as many as a core can name, and 40 bits of numbers last for days.
        hex(u64::from(sender) << 40 | number & ((1 << 40) - 1))
    }
}

/// Writes messages of one size and knows them again.
#[derive(Debug)]
pub(super) struct Messages {
    opcode: Opcode,
    /// What stands before and after the message, where the server has commands.
    before: Vec<u8>,
    after: Vec<u8>,
    /// The message without its stamp.
    plain: Vec<u8>,
    /// The last one written, with what it is wrapped in.
    scratch: Vec<u8>,
    masks: u32,
}

impl Messages {
    pub fn new(size: usize, text: bool, (before, after): &(String, String)) -> Self {
        Self {
            opcode: if text { Opcode::Text } else { Opcode::Binary },
            before: before.as_bytes().to_vec(),
            after: after.as_bytes().to_vec(),
            plain: (b'a'..=b'z').cycle().take(size).collect(),
            scratch: Vec::new(),
            masks: 0x9E37_79B9,
        }
    }

    /// Appends the frame of a message to `out`. Costs two passes over the message.
    pub fn write(&mut self, out: &mut Vec<u8>, stamp: Stamp) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.before);
        let start = self.scratch.len();
        self.scratch.extend_from_slice(&self.plain);
        let message = &mut self.scratch[start..];
        let identity = Stamp::identity(stamp.sender, stamp.number);
        let shown = message.len().min(IDENTITY);
        // Of a short one the last digits, which differ most.
        message[..shown].copy_from_slice(&identity[IDENTITY - shown..]);
        if let Some(time) = message.get_mut(IDENTITY..Stamp::BYTES) {
            time.copy_from_slice(&hex(stamp.due_ns));
        }
        self.scratch.extend_from_slice(&self.after);
        let mask = self.mask();
        write_frame(out, self.opcode, &self.scratch, Some(mask));
    }

    /// A key to mask with. Nobody here is to be protected from whoever predicts it.
    pub fn mask(&mut self) -> MaskKey {
        // Marsaglia's xorshift32.
        self.masks ^= self.masks << 13;
        self.masks ^= self.masks >> 17;
        self.masks ^= self.masks << 5;
        self.masks.to_ne_bytes()
    }

    /// Whether this is that message, to the last byte, whenever it was due. Costs one pass over it.
    pub fn is(&self, message: &[u8], sender: u32, number: u64) -> bool {
        let shown = self.plain.len().min(IDENTITY);
        let rest = if self.plain.len() < Stamp::BYTES { shown } else { Stamp::BYTES };
        message.len() == self.plain.len()
            && message[..shown] == Stamp::identity(sender, number)[IDENTITY - shown..]
            && message[rest..] == self.plain[rest..]
    }

    /// What a message says of itself, if it is one of ours to the last byte.
    pub fn read(&self, message: &[u8]) -> Option<Stamp> {
        let (stamp, rest) = message.split_at_checked(Stamp::BYTES)?;
        let identity = number(&stamp[..IDENTITY])?;
        let due_ns = number(&stamp[IDENTITY..])?;
        let stamp = Stamp { sender: (identity >> 40) as u32, number: identity & ((1 << 40) - 1), due_ns };
        (message.len() == self.plain.len() && rest == &self.plain[Stamp::BYTES..]).then_some(stamp)
    }
}

fn hex(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * at) & 15) as usize];
    }
    digits
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{FrameHeader, Role, apply_mask};

    fn written(messages: &mut Messages, stamp: Stamp) -> Vec<u8> {
        let mut frame = Vec::new();
        messages.write(&mut frame, stamp);
        let (header, start) = FrameHeader::parse(&frame, Role::Server, false).unwrap().unwrap();
        let mut payload = frame.split_off(start);
        assert_eq!(payload.len() as u64, header.payload_bytes);
        apply_mask(&mut payload, header.mask.unwrap(), 0);
        payload
    }

    fn plain(size: usize) -> Messages {
        Messages::new(size, false, &Default::default())
    }

    const STAMP: Stamp = Stamp { sender: 0xABCDE, number: 0x12_3456_7890, due_ns: 0xFEDC_BA98_7654_3210 };

    #[test]
    fn a_message_is_known_again_whatever_its_size() {
        for size in [1, 2, 15, 16, 17, 31, 32, 33, 64, 1000] {
            let mut messages = plain(size);
            let message = written(&mut messages, STAMP);
            assert_eq!(message.len(), size);
            assert!(message.is_ascii());
            assert!(messages.is(&message, STAMP.sender, STAMP.number), "{size}");
            assert!(!messages.is(&message, STAMP.sender, STAMP.number + 1), "{size}");
            assert!(size < 16 || !messages.is(&message, STAMP.sender + 1, STAMP.number), "{size}");
            assert!(!messages.is(&message[..size - 1], STAMP.sender, STAMP.number), "{size}");
            assert_eq!(messages.read(&message), (size >= Stamp::BYTES).then_some(STAMP), "{size}");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let mut messages = plain(100);
        let message = written(&mut messages, STAMP);
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(messages.read(&changed) != Some(STAMP), "{at}");
            // When it was due is for fan-out alone.
            let is_time = (IDENTITY..Stamp::BYTES).contains(&at);
            assert_eq!(messages.is(&changed, STAMP.sender, STAMP.number), is_time, "{at}");
        }
    }

    #[test]
    fn a_message_is_wrapped_for_servers_with_commands() {
        let mut messages = Messages::new(40, true, &("pub t ".to_owned(), "!".to_owned()));
        let sent = written(&mut messages, STAMP);
        let message = sent.strip_prefix(b"pub t ").unwrap().strip_suffix(b"!").unwrap();
        assert_eq!(messages.read(message), Some(STAMP));
        assert_eq!(messages.opcode, Opcode::Text);
    }

    #[test]
    fn keys_differ_from_frame_to_frame() {
        let mut messages = plain(1);
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| messages.mask()).collect();
        assert_eq!(keys.len(), 1000);
    }
}
