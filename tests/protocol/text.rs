//! RFC 6455 5.6 and 8.1: text is UTF-8, and other bytes are refused at the first that makes it invalid.

use ringsock::protocol::{CloseCode, Violation};

use crate::harness::*;
use crate::wire::*;

/// Characters of one to four bytes at the borders of their ranges.
const CHARACTERS: [char; 10] =
    ['\0', 'a', '\u{7F}', '\u{80}', '\u{7FF}', '\u{800}', '\u{D7FF}', '\u{E000}', '\u{10000}', '\u{10FFFF}'];

/// Bytes at the borders of UTF-8's ranges, which make nearly valid sequences likely.
const EDGES: [u8; 16] =
    [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5];

/// Returns text, in three of four cases with one byte replaced, inserted or cut off.
fn nearly_text(random: &mut Random) -> Vec<u8> {
    let characters = random.below(12);
    let text: String = (0..characters).map(|_| CHARACTERS[random.below(10)]).collect();
    let mut bytes = text.into_bytes();
    let at = random.below(bytes.len() + 1);
    let edge = EDGES[random.below(16)];
    match random.below(4) {
        0 => bytes.insert(at, edge),
        1 => bytes.truncate(at),
        2 if at < bytes.len() => bytes[at] = edge,
        _ => {}
    }
    bytes
}

/// Returns a text message with the payload split into fragments at `cuts`.
fn fragmented(payload: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut start = 0;
    for &cut in cuts {
        let opcode = if bytes.is_empty() { TEXT } else { CONTINUATION };
        bytes.extend(masked(opcode, &payload[start..cut]));
        start = cut;
    }
    let opcode = if bytes.is_empty() { TEXT } else { CONTINUATION };
    bytes.extend(masked(FIN | opcode, &payload[start..]));
    bytes
}

#[test]
fn agrees_with_the_standard_library_on_a_million_strings_however_they_are_cut() {
    let mut random = Random(1);
    let mut reader = Endpoint::server().reader();
    let (mut valid, mut invalid) = (0, 0);
    for _ in 0..1_000_000 {
        let payload = nearly_text(&mut random);
        let bytes = fragmented(&payload, &random.cuts(payload.len(), 3));
        let outcome = reader.read_in_pieces(&bytes, &random.cuts(bytes.len(), 4));
        match std::str::from_utf8(&payload) {
            Ok(as_text) => {
                assert_eq!(outcome, idle([text(as_text)]));
                valid += 1;
            }
            Err(_) => {
                assert_eq!(outcome, violated([], Violation::NotUtf8), "{payload:02x?}");
                invalid += 1;
            }
        }
    }
    assert!(valid > 100_000 && invalid > 100_000, "{valid} valid, {invalid} not");
}

#[test]
fn text_split_within_characters_across_fragments_is_joined() {
    let payload = "aκόσμε🦀z";
    for first in 0..=payload.len() {
        for second in first..=payload.len() {
            let bytes = fragmented(payload.as_bytes(), &[first, second]);
            assert_eq!(receive(&bytes), idle([text(payload)]), "{first}, {second}");
        }
    }
}

#[test]
fn long_text_in_one_frame_over_several_reads_is_checked_across_them() {
    let payload = "κόσμε 🦀 ".repeat(2000);
    assert_eq!(receive(&masked(FIN | TEXT, payload.as_bytes())), idle([text(&payload)]));
    let mut broken = payload.into_bytes();
    broken[20_000] = 0xFF;
    assert_eq!(receive(&masked(FIN | TEXT, &broken)), violated([], Violation::NotUtf8));
}

#[test]
fn rejects_text_that_ends_within_a_character_with_1007() {
    for payload in [&b"\xC3"[..], b"abc\xE2\x82", b"\xF0\x9F\xA6"] {
        for bytes in [
            masked(FIN | TEXT, payload),
            [masked(TEXT, payload), masked(FIN | CONTINUATION, b"")].concat(),
            [masked(TEXT, payload), masked(FIN | CONTINUATION, b"x")].concat(),
        ] {
            let outcome = receive(&bytes);
            assert_eq!(outcome, violated([], Violation::NotUtf8));
            assert_eq!(outcome.close_code(), Some(CloseCode::INVALID_DATA));
        }
    }
}

#[test]
fn binary_messages_are_not_text() {
    let bytes = [masked(BINARY, b"\xC3"), masked(FIN | CONTINUATION, b"\xFF")];
    assert_eq!(receive(&bytes.concat()), idle([binary(b"\xC3\xFF")]));
}

#[test]
fn a_message_does_not_begin_with_the_cut_character_of_the_one_before() {
    let bytes = [
        masked(TEXT, b"\xC3"),
        masked(FIN | CONTINUATION, b"\xA4"),
        masked(TEXT, b"\xA4"),
        masked(FIN | CONTINUATION, b""),
    ];
    assert_eq!(receive(&bytes.concat()), violated([text("ä")], Violation::NotUtf8));
}

/// Returns how many bytes show that `payload`, which may be continued, is not text.
fn impossible_at(payload: &[u8]) -> Option<usize> {
    (1..=payload.len())
        .find(|&end| std::str::from_utf8(&payload[..end]).is_err_and(|error| error.error_len().is_some()))
}

#[test]
fn the_violation_comes_with_the_first_impossible_byte() {
    let mut random = Random(2);
    let mut failures = 0;
    for _ in 0..20_000 {
        let payload = nearly_text(&mut random);
        let Some(impossible_at) = impossible_at(&payload) else { continue };
        // The frame announces more than it brings, so only the bytes that arrived can show it.
        for first in [TEXT, FIN | TEXT] {
            let mut bytes = header(first, Some(KEY), 1000);
            let header_bytes = bytes.len();
            bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
            let mut reader = Endpoint::server().reader();
            let refused_at = (1..=bytes.len()).find(|&end| {
                reader.read(&bytes[end - 1..end], 0);
                reader.violation.is_some()
            });
            assert_eq!(reader.violation, Some(Violation::NotUtf8));
            assert_eq!(refused_at, Some(header_bytes + impossible_at), "{payload:02x?}");
        }
        failures += 1;
    }
    assert!(failures > 5_000, "{failures}");
}
