//! RFC 6455 5: framing, fragmentation, control frames, and violations of their rules.

use ringsock::protocol::{CloseCode, Violation};

use crate::harness::*;
use crate::wire::*;

fn both() -> [Endpoint; 2] {
    [Endpoint::server(), Endpoint::client()]
}

#[test]
fn messages_of_every_form_of_length_arrive() {
    for endpoint in both() {
        for length in [0, 1, 2, 125, 126, 127, 1000, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|i| (i % 127) as u8).collect();
            let as_text = String::from_utf8_lossy(&payload);
            assert_eq!(endpoint.receive(&endpoint.frame(FIN | BINARY, &payload)), idle([binary(&payload)]));
            assert_eq!(endpoint.receive(&endpoint.frame(FIN | TEXT, &payload)), idle([text(&as_text)]));
        }
    }
}

/// Guards against frames that tungstenite 0.30 accepts; the fuzz target that compares the two found one.
#[test]
fn rejects_a_control_frame_with_1002_whose_short_length_is_in_a_longer_form() {
    for first in [FIN | PING, FIN | PONG, FIN | CLOSE] {
        for length in [&[0xFE, 0, 0][..], &[0xFE, 0, 125], &[0xFF, 0, 0, 0, 0, 0, 0, 0, 0]] {
            let frame = [&[first][..], length, &KEY, &[0; 125]].concat();
            assert_eq!(receive(&frame), violated([], Violation::ControlTooLong), "{first:02x} {length:02x?}");
        }
    }
}

#[test]
fn the_examples_of_rfc_6455_5_7_are_understood() {
    let single = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(Endpoint::client().receive(&single), idle([text("Hello")]));
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(receive(&masked), idle([text("Hello")]));
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(Endpoint::client().receive(&fragmented), idle([text("Hello")]));
    let masked_pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(receive(&masked_pong), idle([pong(b"Hello")]));
}

#[test]
fn a_message_in_two_three_or_many_fragments_arrives_as_one() {
    let payload: Vec<u8> = (0..=255).collect();
    for endpoint in both() {
        for fragments in [2, 3, 64, 256] {
            let mut pieces: Vec<_> = payload.chunks(256 / fragments).collect();
            let mut bytes = endpoint.frame(BINARY, pieces.remove(0));
            let last = pieces.pop();
            bytes.extend(pieces.iter().flat_map(|piece| endpoint.frame(CONTINUATION, piece)));
            bytes.extend(last.iter().flat_map(|piece| endpoint.frame(FIN | CONTINUATION, piece)));
            bytes.extend(endpoint.frame(FIN | TEXT, b"next"));
            assert_eq!(endpoint.receive(&bytes), idle([binary(&payload), text("next")]));
        }
    }
}

#[test]
fn empty_first_and_last_fragments_are_fine() {
    let bytes = [
        masked(TEXT, b""),
        masked(CONTINUATION, b"body"),
        masked(FIN | CONTINUATION, b""),
        masked(TEXT, b""),
        masked(FIN | CONTINUATION, b""),
    ];
    assert_eq!(receive(&bytes.concat()), idle([text("body"), text("")]));
}

#[test]
fn each_fragment_is_unmasked_with_its_own_key() {
    let bytes = [masked_with([1, 2, 3, 4], BINARY, b"abcde"), masked_with([9, 8, 7, 6], FIN | CONTINUATION, b"fgh")];
    assert_eq!(receive(&bytes.concat()), idle([binary(b"abcdefgh")]));
}

#[test]
fn control_frames_between_fragments_come_first() {
    for endpoint in both() {
        let bytes = [
            endpoint.frame(TEXT, b"one "),
            endpoint.frame(FIN | PING, b"a"),
            endpoint.frame(CONTINUATION, b"two "),
            endpoint.frame(FIN | PONG, b""),
            endpoint.frame(FIN | PING, b"b"),
            endpoint.frame(FIN | CONTINUATION, b"three"),
        ];
        assert_eq!(endpoint.receive(&bytes.concat()), idle([ping(b"a"), pong(b""), ping(b"b"), text("one two three")]));
    }
}

#[test]
fn pings_and_pongs_carry_up_to_125_bytes() {
    let payload: Vec<u8> = (100..225).collect();
    for endpoint in both() {
        for length in 0..=125 {
            let payload = &payload[..length];
            let bytes = [endpoint.frame(FIN | PING, payload), endpoint.frame(FIN | PONG, payload)];
            assert_eq!(endpoint.receive(&bytes.concat()), idle([ping(payload), pong(payload)]));
        }
    }
}

#[test]
fn messages_before_a_bad_frame_are_delivered_before_the_violation() {
    let bytes = [
        masked(FIN | TEXT, b"one"),
        masked(BINARY, b"tw"),
        masked(FIN | PING, b"?"),
        masked(FIN | CONTINUATION, b"o"),
        masked(FIN | 0x40 | TEXT, b"compressed?"),
        masked(FIN | TEXT, b"never seen"),
    ];
    assert_eq!(receive(&bytes.concat()), violated([text("one"), ping(b"?"), binary(b"two")], Violation::ReservedBits));
}

#[test]
fn rejects_unmasked_frames_of_every_opcode_with_1002() {
    for opcode in [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] {
        for payload in [&b""[..], b"\x03\xE8", &[b'a'; 125]] {
            let outcome = receive(&plain(FIN | opcode, payload));
            assert_eq!(outcome, violated([], Violation::Unmasked));
            assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
        }
    }
}

#[test]
fn a_client_rejects_masked_frames_of_every_opcode_with_1002() {
    for opcode in [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] {
        let outcome = Endpoint::client().receive(&masked(FIN | opcode, b""));
        assert_eq!(outcome, violated([], Violation::Masked));
        assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
    }
}

#[test]
fn rejects_a_continuation_of_nothing_with_1002() {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        let expected = violated([text("whole")], Violation::UnexpectedContinuation);
        assert_eq!(expected.close_code(), Some(CloseCode::PROTOCOL_ERROR));
        let bytes = [masked(FIN | TEXT, b"whole"), masked(first, b"more")];
        assert_eq!(receive(&bytes.concat()), expected);
        // A control frame is not a message to continue.
        let bytes = [masked(FIN | PING, b""), masked(first, b"more")];
        assert_eq!(receive(&bytes.concat()), violated([ping(b"")], Violation::UnexpectedContinuation));
    }
}

#[test]
fn rejects_a_message_within_a_message_with_1002() {
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        for payload in [&b"inner"[..], b""] {
            let bytes = [masked(TEXT, b"outer"), masked(FIN | PING, b""), masked(first, payload)];
            let outcome = receive(&bytes.concat());
            assert_eq!(outcome, violated([ping(b"")], Violation::InterleavedMessage));
            assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
        }
    }
}

/// Returns the violation of RFC 6455 5.1, 5.2 or 5.5 in the first two bytes of a client's frame.
fn forbidden(first: u8, second: u8) -> Option<Violation> {
    let opcode = first & 0x0F;
    let control = opcode & 8 != 0;
    match opcode {
        _ if first & 0x70 != 0 => Some(Violation::ReservedBits),
        3..=7 | 11..=15 => Some(Violation::ReservedOpcode { opcode }),
        _ if control && first & FIN == 0 => Some(Violation::ControlFragmented),
        _ if second & 0x80 == 0 => Some(Violation::Unmasked),
        _ if control && second & 0x7F > 125 => Some(Violation::ControlTooLong),
        _ => None,
    }
}

/// Returns the outcome of a lone frame with these first bytes, if they are allowed.
fn allowed(first: u8, payload: &[u8]) -> Outcome {
    match (first & 0x0F, first & FIN) {
        (CONTINUATION, _) => violated([], Violation::UnexpectedContinuation),
        (TEXT | BINARY, 0) => waiting([]),
        (TEXT, _) => idle([text(&String::from_utf8_lossy(payload))]),
        (BINARY, _) => idle([binary(payload)]),
        (PING, _) => idle([ping(payload)]),
        (PONG, _) => idle([pong(payload)]),
        _ => match payload {
            [] => closed([Received::Close(None)]),
            [_] => violated([], Violation::CloseCodeCut),
            [_, _, reason @ ..] => closed([close(1000, &String::from_utf8_lossy(reason))]),
        },
    }
}

#[test]
fn all_65536_pairs_of_first_bytes_get_the_verdict_of_the_rfc() {
    for (first, second) in (0..=255).flat_map(|first| (0..=255).map(move |second| (first, second))) {
        if let Some(violation) = forbidden(first, second) {
            assert_eq!(violation.close_code(), CloseCode::PROTOCOL_ERROR);
            assert_eq!(receive(&[first, second]), violated([], violation));
            continue;
        }
        let length = match second & 0x7F {
            126 => 126,
            127 => 65_536,
            length => usize::from(length),
        };
        let mut payload = vec![b'a'; length];
        if let (CLOSE, [high, low, ..]) = (first & 0x0F, &mut payload[..]) {
            [*high, *low] = 1000u16.to_be_bytes();
        }
        let bytes = masked(first, &payload);
        assert_eq!(bytes[..2], [first, second]);
        assert_eq!(receive(&bytes), allowed(first, &payload), "{first:02x} {second:02x}");
    }
}

#[test]
fn rejects_lengths_of_64_bits_with_1002() {
    for high in 0x80..=0xFF {
        for low in [0, 1, 0xFF] {
            let bytes = [0x82, 0xFF, high, low, low, low, low, low, low, low, 1, 2, 3, 4];
            let outcome = receive(&bytes);
            assert_eq!(outcome, violated([], Violation::LengthTooLarge));
            assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
        }
    }
}

#[test]
fn rejects_every_length_that_has_a_shorter_form_with_1002() {
    for length in 0..126u16 {
        let bytes = [&[0x82, 0xFE], &length.to_be_bytes()[..], &KEY].concat();
        let length = u64::from(length);
        assert_eq!(receive(&bytes), violated([], Violation::LengthNotMinimal { length }));
    }
    for length in 0..=0xFFFFu64 {
        let bytes = [&[0x82, 0xFF], &length.to_be_bytes()[..], &KEY].concat();
        let outcome = receive(&bytes);
        assert_eq!(outcome, violated([], Violation::LengthNotMinimal { length }));
        assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
    }
}
