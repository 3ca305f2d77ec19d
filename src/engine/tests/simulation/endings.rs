//! The ways in which an honest client ends: the bytes that it sends last, and the server's answer.
//!
//! Each is determined: in fair weather the server has no other answer. Endings that may be answered in several ways
//! belong to `hostile`.

use crate::engine::tests::client::{Frame, compressed_fragment, fragment, masked, masked_close, text};
use crate::engine::tests::dice::Dice;
use crate::protocol::deflate::{Compression, Compressors, WindowBits};
use crate::protocol::{FrameHeader, MessageLimits, Opcode, write_frame};

/// The code that stands for a Close frame without one (RFC 6455 7.1.5).
pub const NO_CODE: u16 = 1005;

/// See the module.
pub struct Ending {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// The frames before the server's Close frame.
    pub echo: Option<Frame>,
    pub code: u16,
    /// The ending contains the client's Close frame.
    pub says_goodbye: bool,
}

/// The number of endings.
pub const COUNT: usize = 38;

impl Ending {
    pub fn choose(dice: &mut Dice) -> Self {
        // Every other client leaves as clients usually do.
        if dice.once_in(2) { Self::number(0) } else { Self::number(dice.below(COUNT)) }
    }

    /// Adapts the expected code: without compression, a compressed message violates another rule.
    pub fn settle(&mut self, compressed: bool) {
        const FIRST_BYTE: u8 = 0xC2;
        if !compressed && self.bytes.first() == Some(&FIRST_BYTE) {
            self.code = 1002;
        }
    }

    /// Returns the ending of this number.
    pub fn number(number: usize) -> Self {
        let command = |command: &str| masked(Opcode::Text, command.as_bytes());
        let then = |first: &str, second: Vec<u8>| [command(first), second].concat();
        let max = MessageLimits::default().message_bytes_max;
        let (name, code, bytes) = match number {
            0 => ("close", 1000, masked_close(1000, "done")),
            1 => ("close without a code", NO_CODE, masked(Opcode::Close, b"")),
            2 => ("close with a code of its own", 4999, masked_close(4999, "mine")),
            3 => ("close for going away", 1001, masked_close(1001, "")),
            4 => ("message without a mask", 1002, unmasked(Opcode::Text, b"bare")),
            5 => ("ping without a mask", 1002, unmasked(Opcode::Ping, b"")),
            6 => ("reserved bit", 1002, altered(masked(Opcode::Text, b"bit"), 0, 0x20)),
            7 => ("reserved bit of a control frame", 1002, altered(masked(Opcode::Ping, b""), 0, 0x10)),
            8 => ("reserved opcode", 1002, altered(masked(Opcode::Text, b"op"), 0, 0x02)),
            9 => ("reserved control opcode", 1002, altered(masked(Opcode::Pong, b""), 0, 0x01)),
            10 => ("fragmented ping", 1002, fragment(Opcode::Ping, false, b"half")),
            11 => ("long ping", 1002, fragment(Opcode::Ping, true, &[1; 126])),
            12 => ("continuation of nothing", 1002, fragment(Opcode::Continuation, true, b"of what?")),
            13 => {
                let bytes = [fragment(Opcode::Text, false, b"one"), fragment(Opcode::Binary, true, b"two")].concat();
                ("two messages at once", 1002, bytes)
            }
            14 => ("length that is not the shortest", 1002, vec![0x82, 0xFE, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0]),
            15 => ("length of 64 bits", 1002, vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4]),
            16 => ("text that is not UTF-8", 1007, masked(Opcode::Text, b"\xC3\x28")),
            17 => ("text that ends within a character", 1007, masked(Opcode::Text, b"\xE2\x82")),
            18 => {
                let bytes = [fragment(Opcode::Text, false, b"\xE2\x82"), fragment(Opcode::Continuation, true, b"a")];
                ("character cut in two wrongly", 1007, bytes.concat())
            }
            19 => ("message too large", 1009, announced(max + 1)),
            20 => {
                let bytes = [fragment(Opcode::Binary, false, &vec![7; max as usize]), announced_more(1)].concat();
                ("fragments too large", 1009, bytes)
            }
            21 => ("empty fragments", 1008, {
                let rest = fragment(Opcode::Continuation, false, b"").repeat(70);
                [fragment(Opcode::Text, false, b""), rest].concat()
            }),
            22 => ("close of one byte", 1002, masked(Opcode::Close, &[3])),
            23 => ("close with a code that is never sent", 1002, masked(Opcode::Close, &1005u16.to_be_bytes())),
            24 => ("close with a code that nobody defined", 1002, masked(Opcode::Close, &999u16.to_be_bytes())),
            25 => ("close with a reason that is not UTF-8", 1007, masked(Opcode::Close, b"\x03\xE8\xFF")),
            26 => ("panic in message", 1011, command("/panic")),
            27 => ("panic in ping", 1011, then("/panic-in ping", masked(Opcode::Ping, b"boo"))),
            28 => ("panic in pong", 1011, then("/panic-in pong", masked(Opcode::Pong, b""))),
            29 => ("panic in close", 1011, then("/panic-in close", masked_close(1000, ""))),
            30 => ("panic of a task", 1011, command("/task-panic")),
            31 => ("panic after a last word", 1011, command("/say-and-panic")),
            32 => ("panic in the drop of the state", 1000, then("/bomb", masked_close(1000, ""))),
            33 => ("close by the server", 4000, command("/close 4000 why-not")),
            34 => ("close by the server before more is said", 1000, command("/close-and-send")),
            35 => ("close by a task", 1001, command("/task-close")),
            36 => ("damaged compressed message", 1007, compressed_fragment(Opcode::Binary, true, &[0xFF])),
            _ => ("compressed message that becomes too large", 1009, too_large()),
        };
        let echo = match number {
            27 => Some(Frame::Pong(b"boo".to_vec())),
            31 => Some(text("the last word")),
            _ => None,
        };
        Self { name, bytes, echo, code, says_goodbye: matches!(number, 0..=3 | 32) }
    }
}

/// Returns a few bytes that inflate beyond the limit of a message: one literal zero, and copies of it (RFC 1951 3.2.6).
fn too_large() -> Vec<u8> {
    let mut compressors = Compressors::new(&Compression::default());
    let zeros = vec![0; MessageLimits::default().message_bytes_max as usize + 1];
    let compressed = compressors.compress(&zeros, WindowBits::MAX).expect("zeros become less");
    compressed_fragment(Opcode::Binary, true, compressed)
}

fn unmasked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, opcode, payload, None);
    bytes
}

fn altered(mut bytes: Vec<u8>, at: usize, bits: u8) -> Vec<u8> {
    bytes[at] |= bits;
    bytes
}

/// Returns the head of a frame whose payload never comes.
fn announced(payload_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader { fin: true, opcode: Opcode::Binary, compressed: false, mask: Some([1; 4]), payload_bytes }
        .write(&mut bytes);
    bytes
}

fn announced_more(payload_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader { fin: false, opcode: Opcode::Continuation, compressed: false, mask: Some([1; 4]), payload_bytes }
        .write(&mut bytes);
    bytes
}
