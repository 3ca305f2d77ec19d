//! The input of a peer: mostly valid frames, made of a fuzzer's bytes, and streams of them that are partly invalid.

use ringsock::protocol::deflate::{Agreement, WindowBits};
use ringsock::protocol::{MessageLimits, Role};

use crate::ending::KEY;
use crate::harness::Endpoint;
use crate::input::Input;
use crate::wire::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT};

/// The bit of a message's first frame that says that the message is compressed (RFC 7692 6).
pub const RSV1: u8 = 0x40;

/// Bytes of one stream at most: enough for a few messages of any form of length.
const STREAM_BYTES_MAX: usize = 136 * 1024;

/// A frame whose header violates no rule of its own.
#[derive(Clone, Debug)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns the next frame. `in_message` says whether a fragmented message is under way before and after it; mostly
    /// the frame respects that.
    pub fn next(input: &mut Input<'_>, in_message: &mut bool) -> Self {
        let shape = input.byte();
        match shape % 16 {
            13 => return Self { fin: true, opcode: PING, payload: control_payload(input) },
            14 => return Self { fin: true, opcode: PONG, payload: control_payload(input) },
            15 => return Self { fin: true, opcode: CLOSE, payload: close_payload(input) },
            _ => {}
        }
        let in_order = shape % 16 != 12;
        let opcode = match *in_message == in_order {
            true => CONTINUATION,
            false if shape & 0x10 == 0 => TEXT,
            false => BINARY,
        };
        let fin = shape & 0x20 == 0;
        *in_message = !fin;
        Self { fin, opcode, payload: payload(input, shape >> 6) }
    }

    /// Returns the bytes as a peer of an endpoint in `role` sends them.
    pub fn write(&self, out: &mut Vec<u8>, role: Role) {
        let first = self.opcode | if self.fin { FIN } else { 0 };
        out.extend(match role {
            Role::Server => wire::masked(first, &self.payload),
            Role::Client => wire::plain(first, &self.payload),
        });
    }
}

pub fn payload(input: &mut Input<'_>, form: u8) -> Vec<u8> {
    match form {
        // Up to the second form of length, and beyond.
        0 => input.short().to_vec(),
        1 => vec![input.byte(); length(input)],
        // Text of characters of all lengths; with tiny fragments, cut anywhere.
        2 => "aä€🦀\u{7FF}\u{FFFF}\u{10FFFF}".repeat(1 + usize::from(input.byte() % 32)).into_bytes(),
        _ => input.take(1 + usize::from(input.clone().byte() % 4)).to_vec(),
    }
}

/// Returns a length: mostly short, since long ones take long; sometimes at the border of the third form of length.
fn length(input: &mut Input<'_>) -> usize {
    match usize::from(input.byte()) {
        border @ 252.. => 65_533 + border - 251,
        high => high * 4 + usize::from(input.byte() % 4),
    }
}

fn control_payload(input: &mut Input<'_>) -> Vec<u8> {
    let payload = input.short();
    payload[..payload.len().min(125)].to_vec()
}

/// Returns mostly a code near one with a meaning, and a reason.
pub fn close_payload(input: &mut Input<'_>) -> Vec<u8> {
    let near = [0, 1000, 1003, 1005, 1007, 1011, 1014, 1016, 2999, 3000, 4999, 65_535];
    match input.byte() {
        0 => Vec::new(),
        1 => control_payload(input),
        choice => {
            let code = u16::from(input.byte() % 4).wrapping_add(near[usize::from(choice) % near.len()]);
            let reason = control_payload(input);
            [&code.to_be_bytes()[..], &reason[..reason.len().min(123)]].concat()
        }
    }
}

/// Returns limits as a test would choose them: at the borders of the forms of length, and small.
pub fn limits(input: &mut Input<'_>) -> MessageLimits {
    let mut limits = MessageLimits::default();
    limits.message_bytes_max = input.choose(&[65_536, 0, 1, 3, 100, 125, 126, 1000, 4095, 4096, 4097, 65_535]);
    limits.empty_fragments_max = input.choose(&[64, 0, 1, 2]);
    limits
}

/// Returns a server or a client, new or with its Close frame sent, that may have agreed on compression.
pub fn endpoint(input: &mut Input<'_>) -> Endpoint {
    let choice = input.byte();
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let limits = limits(input);
    let compression = (choice & 8 == 8).then(|| agreement(input));
    Endpoint { role, limits, close_sent: choice & 6 == 6, compression }
}

/// Returns parameters that two ends may have agreed on.
pub fn agreement(input: &mut Input<'_>) -> Agreement {
    let takeover = input.byte();
    Agreement {
        server_context_takeover: takeover & 1 == 1,
        client_context_takeover: takeover & 2 == 2,
        server_window_bits: window_bits(input),
        client_window_bits: window_bits(input),
    }
}

pub fn window_bits(input: &mut Input<'_>) -> WindowBits {
    WindowBits::new(15 - input.byte() % 8).unwrap_or(WindowBits::MAX)
}

/// Returns bytes for an endpoint in `role`: the rest of the input unchanged, or frames made of it.
pub fn stream(input: &mut Input<'_>, role: Role) -> Vec<u8> {
    if input.flag() {
        return input.rest().to_vec();
    }
    let mut bytes = Vec::new();
    let mut in_message = false;
    while !input.is_empty() && bytes.len() < STREAM_BYTES_MAX {
        let fault = input.byte();
        let start = bytes.len();
        match fault {
            255 => bytes.extend(input.short()),
            254 => bytes.extend(long_form(input, role)),
            253 => {
                bytes.extend(wire::header(input.byte(), key(role), u64::from(input.number()) << (input.byte() % 64)))
            }
            _ => Frame::next(input, &mut in_message).write(&mut bytes, role),
        }
        match fault {
            // RSV1, as of a compressed message: its payload can seldom be inflated, see `deflate`.
            240..=248 => bytes[start] |= RSV1,
            // Reserved bits, reserved opcodes, a missing FIN; then a wrong mask bit or length; then any byte.
            252 => bytes[start] ^= input.byte(),
            251 => bytes[start + 1] ^= input.byte(),
            250 => {
                let at = start + usize::from(input.byte()) % (bytes.len() - start);
                bytes[at] ^= input.byte();
            }
            249 => bytes.truncate(start + usize::from(input.byte())),
            _ => {}
        }
    }
    bytes
}

fn key(role: Role) -> Option<[u8; 4]> {
    (role == Role::Server).then_some(KEY)
}

/// Returns a header with its length in a longer form than needed.
fn long_form(input: &mut Input<'_>, role: Role) -> Vec<u8> {
    let mask_bit = if role == Role::Server { 0x80 } else { 0 };
    let first = input.byte();
    let length = input.number();
    let mut bytes = match input.flag() {
        true => [&[first, mask_bit | 126][..], &length.to_be_bytes()].concat(),
        false => [&[first, mask_bit | 127][..], &u64::from(length).to_be_bytes()].concat(),
    };
    bytes.extend(key(role).into_iter().flatten());
    bytes.extend(vec![0; usize::from(length % 1024)]);
    bytes
}
