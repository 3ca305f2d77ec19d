//! Compressed messages (RFC 7692), however they are cut into frames and reads.

use ringsock::protocol::deflate::{Agreement, Compression, Compressors, WindowBits};
use ringsock::protocol::{CloseCode, Connection, Role, Violation};

use crate::harness::*;
use crate::wire::*;

const RSV1: u8 = 0x40;
const COMPRESSED: u8 = FIN | RSV1 | TEXT;

/// "Hello" as in RFC 7692 7.2.3.1.
const HELLO: [u8; 7] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
/// "Hello" once more, referring to the first, as in 7.2.3.2.
const HELLO_AGAIN: [u8; 5] = [0xF2, 0x00, 0x11, 0x00, 0x00];

fn agreement(takeover: bool) -> Agreement {
    Agreement {
        server_context_takeover: takeover,
        client_context_takeover: takeover,
        server_window_bits: WindowBits::MAX,
        client_window_bits: WindowBits::MAX,
    }
}

fn shared() -> Endpoint {
    Endpoint::server().with_compression(agreement(false))
}

fn dedicated() -> Endpoint {
    Endpoint::server().with_compression(agreement(true))
}

/// Returns the frame of a compressed message that stands alone.
fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut peer = Connection::compressed(Role::Client, agreement(false));
    peer.compress(payload, &mut Compressors::new(&Compression::default())).unwrap_or_default().to_vec()
}

fn pseudo_text(bytes: usize) -> String {
    let mut random = Random(bytes as u64);
    let mut text = String::new();
    while text.len() < bytes {
        text += &format!("{{\"käse\":{}}}, ", random.below(5_000));
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

#[test]
fn inflates_the_example_of_the_rfc_in_one_frame_and_in_any_fragments() {
    for endpoint in [shared(), dedicated()] {
        let whole = endpoint.frame(COMPRESSED, &HELLO);
        assert_eq!(endpoint.receive(&whole), idle([text("Hello")]));
        for cut in 0..=HELLO.len() {
            let fragments = [
                endpoint.frame(RSV1 | TEXT, &HELLO[..cut]),
                endpoint.frame(FIN | PING, b"between"),
                endpoint.frame(FIN | CONTINUATION, &HELLO[cut..]),
            ];
            assert_eq!(endpoint.receive(&fragments.concat()), idle([ping(b"between"), text("Hello")]), "cut at {cut}");
        }
    }
}

#[test]
fn a_client_inflates_what_a_server_compressed() {
    let endpoint = Endpoint::client().with_compression(agreement(true));
    let frames = [endpoint.frame(COMPRESSED, &HELLO), endpoint.frame(COMPRESSED, &HELLO_AGAIN)];
    assert_eq!(endpoint.receive(&frames.concat()), idle([text("Hello"), text("Hello")]));
}

#[test]
fn earlier_messages_are_referred_to_only_where_that_was_agreed() {
    let frames = [masked(COMPRESSED, &HELLO), masked(COMPRESSED, &HELLO_AGAIN)].concat();
    assert_eq!(dedicated().receive(&frames), idle([text("Hello"), text("Hello")]));
    assert_eq!(shared().receive(&frames), violated([text("Hello")], Violation::CompressedDataInvalid));
}

#[test]
fn plain_messages_between_compressed_ones_are_passed_on() {
    let frames = [masked(COMPRESSED, &HELLO), masked(FIN | TEXT, b"plain"), masked(COMPRESSED, &HELLO_AGAIN)].concat();
    assert_eq!(dedicated().receive(&frames), idle([text("Hello"), text("plain"), text("Hello")]));
}

#[test]
fn rejects_rsv1_with_1002_where_compression_was_not_agreed() {
    let outcome = receive(&masked(COMPRESSED, &HELLO));
    assert_eq!(outcome, violated([], Violation::ReservedBits));
    assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
}

#[test]
fn rejects_rsv1_with_1002_on_continuations_and_control_frames() {
    for opcode in [CONTINUATION, CLOSE, PING, PONG] {
        let frames = [masked(RSV1 | TEXT, &HELLO[..3]), masked(FIN | RSV1 | opcode, &[])].concat();
        assert_eq!(shared().receive(&frames), violated([], Violation::ReservedBits), "opcode {opcode}");
    }
}

#[test]
fn rejects_rsv2_and_rsv3_with_1002_compressed_or_not() {
    for reserved in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
        let frame = masked(FIN | reserved | TEXT, &HELLO);
        assert_eq!(shared().receive(&frame), violated([], Violation::ReservedBits), "{reserved:02x}");
    }
}

#[test]
fn rejects_text_with_1007_that_is_not_utf8_once_inflated() {
    let bytes = [b"valid text, valid text, valid text, ".repeat(4), vec![0xFF]].concat();
    assert_eq!(shared().receive(&masked(COMPRESSED, &compressed(&bytes))), violated([], Violation::NotUtf8));
    assert_eq!(shared().receive(&masked(FIN | RSV1 | BINARY, &compressed(&bytes))), idle([binary(&bytes)]));
}

#[test]
fn rejects_damaged_data_with_1007() {
    for damaged in [&[0xFF][..], &[0x07], &HELLO[..3], &[0x00, 0x05, 0x00, 0xFA]] {
        let outcome = shared().receive(&masked(COMPRESSED, damaged));
        assert_eq!(outcome, violated([], Violation::CompressedDataInvalid), "{damaged:02x?}");
        assert_eq!(outcome.close_code(), Some(CloseCode::INVALID_DATA));
    }
}

#[test]
fn rejects_a_message_with_1009_that_exceeds_the_limit_once_inflated() {
    let message = pseudo_text(2_000);
    let frame = masked(COMPRESSED, &compressed(message.as_bytes()));
    let bytes = message.len() as u64;
    assert_eq!(shared().with_message_bytes_max(bytes).receive(&frame), idle([text(&message)]));
    let outcome = shared().with_message_bytes_max(bytes - 1).receive(&frame);
    assert_eq!(outcome, violated([], Violation::MessageTooLarge { bytes, max: bytes - 1 }));
    assert_eq!(outcome.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
}

#[test]
fn rejects_a_frame_with_1009_that_is_too_long_to_inflate_to_an_allowed_message() {
    let max = 1_000 + 1_000 / 8 + 64;
    let endpoint = shared().with_message_bytes_max(1_000);
    let header = header(COMPRESSED, Some(KEY), max + 1);
    assert_eq!(endpoint.receive(&header), violated([], Violation::MessageTooLarge { bytes: max + 1, max }));
    let fragments = [masked(RSV1 | TEXT, &[0; 1_000]), crate::wire::header(FIN, Some(KEY), 1_000)].concat();
    assert_eq!(endpoint.receive(&fragments), violated([], Violation::MessageTooLarge { bytes: 2_000, max }));
}

#[test]
fn rejects_a_bomb_with_1009() {
    let zeros = compressed(&vec![0; 4 << 20]);
    let mut endpoint = shared().with_message_bytes_max(16 << 20);
    let outcome = endpoint.receive(&masked(FIN | RSV1 | BINARY, &zeros));
    assert_eq!(outcome, violated([], Violation::InflationRatio { max: 100 }));
    assert_eq!(outcome.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
    endpoint.limits.inflation_ratio_max = 0;
    assert_eq!(
        endpoint.reader().read_in_pieces(&masked(FIN | RSV1 | BINARY, &zeros), &[]),
        idle([binary(&vec![0; 4 << 20])])
    );
}

#[test]
fn after_its_own_close_frame_messages_are_inflated_but_not_handed_out() {
    let close = masked(FIN | CLOSE, &close_payload(1000, ""));
    let good = [masked(COMPRESSED, &HELLO), close.clone()].concat();
    assert_eq!(shared().having_sent_close().receive(&good), closed([crate::harness::close(1000, "")]));
    let bad = [masked(COMPRESSED, &[0xFF]), close].concat();
    assert_eq!(shared().having_sent_close().receive(&bad), violated([], Violation::CompressedDataInvalid));
}

#[test]
fn long_messages_come_back_whole_with_every_window_and_with_and_without_context_takeover() {
    for bits in 9..=15 {
        for takeover in [false, true] {
            let window = WindowBits::new(bits).unwrap();
            let agreement = Agreement { client_window_bits: window, ..agreement(takeover) };
            let mut peer = Connection::compressed(Role::Client, agreement);
            let mut compressors = Compressors::new(&Compression::default());
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for length in [40, 300, 5_000, 40, 60_000, 300] {
                let message = pseudo_text(length);
                // Small messages, which are not worth compressing, are sent uncompressed between the others.
                match peer.compress(message.as_bytes(), &mut compressors) {
                    Some(compressed) => bytes.extend(masked(COMPRESSED, compressed)),
                    None => bytes.extend(masked(FIN | TEXT, message.as_bytes())),
                }
                expected.push(text(&message));
            }
            let outcome = Endpoint::server().with_compression(agreement).receive(&bytes);
            assert_eq!(outcome, idle(expected), "{bits} bits, takeover {takeover}");
        }
    }
}
