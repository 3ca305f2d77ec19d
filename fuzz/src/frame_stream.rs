//! Frames in both roles, any bytes at all: whatever the cuts between reads, the outcome is the same; what was read can
//! be written and read again; a broken rule ends it with one close code. Compression may be agreed on.

use ringsock::protocol::{Close, CloseCode};
use ringsock::protocol::{FrameHeader, Opcode, Role, write_close, write_frame};

use crate::ending::{self, KEY};
use crate::harness::{End, Endpoint, Outcome, Received};
use crate::input::{Input, Split, every_byte};
use crate::sent;

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let endpoint = sent::endpoint(&mut input);
    let split = Split::new(&mut input);
    let bytes = sent::stream(&mut input, endpoint.role);
    let outcome = outcome(&endpoint, &bytes, &split);
    check_events(&endpoint, &outcome);
    check_header(&bytes, &endpoint);
    if !endpoint.close_sent {
        check_round_trip(&endpoint, outcome);
    }
}

/// Reads the bytes whole, in the pieces of `split` and byte by byte.
pub fn outcome(endpoint: &Endpoint, bytes: &[u8], split: &Split) -> Outcome {
    let mut reader = endpoint.reader();
    let whole = reader.read_in_pieces(bytes, &[]);
    for cuts in [split.cuts(bytes.len()), every_byte(bytes.len())] {
        assert_eq!(reader.read_in_pieces(bytes, &cuts), whole, "the cuts changed the outcome");
    }
    if whole.end == End::Closed {
        assert_eq!(reader.connection.assembling_since(), None, "a connection that was closed holds a buffer");
    }
    if let Some(violation) = reader.violation {
        ending::check(endpoint.role, reader.connection, &violation);
    }
    whole
}

pub fn check_events(endpoint: &Endpoint, outcome: &Outcome) {
    for event in &outcome.events {
        let (bytes, bytes_max) = match event {
            Received::Text(text) => (text.len(), endpoint.limits.message_bytes_max),
            Received::Binary(bytes) => (bytes.len(), endpoint.limits.message_bytes_max),
            Received::Ping(bytes) | Received::Pong(bytes) => (bytes.len(), 125),
            Received::Close(close) => (close.as_ref().map_or(0, |(_, reason)| reason.len()), 123),
        };
        assert!(bytes as u64 <= bytes_max, "{bytes} bytes, allowed are {bytes_max}: {event:?}");
        assert!(!endpoint.close_sent || matches!(event, Received::Close(_)), "{event:?} after this end's Close frame");
    }
    let closes = outcome.events.iter().filter(|event| matches!(event, Received::Close(_))).count();
    let last = matches!(outcome.events.last(), Some(Received::Close(_)));
    assert_eq!(closes, usize::from(last), "something came after a Close frame");
    assert_eq!(outcome.end == End::Closed, last, "the end contradicts the events");
}

/// Checks that a header has one form only: it is written to the same bytes, and no part of it is a header. It is masked
/// if and only if a client sent it.
fn check_header(bytes: &[u8], endpoint: &Endpoint) {
    let parse = |bytes| FrameHeader::parse(bytes, endpoint.role, endpoint.compression.is_some());
    let Ok(Some((header, length))) = parse(bytes) else { return };
    let (written, written_length) = header.encode();
    assert_eq!(written[..written_length], bytes[..length]);
    assert_eq!(header.mask.is_some(), endpoint.role == Role::Server);
    assert!(header.fin && header.payload_bytes <= 125 || !header.opcode.is_control());
    for cut in 0..length {
        assert_eq!(parse(&bytes[..cut]), Ok(None));
    }
}

/// Writes the events with the encoder, and reads them again.
fn check_round_trip(endpoint: &Endpoint, outcome: Outcome) {
    let mut written = Vec::new();
    for event in &outcome.events {
        write(&mut written, event, (endpoint.role == Role::Server).then_some(KEY));
    }
    let again = endpoint.reader().read_in_pieces(&written, &[]);
    assert_eq!(again.events, outcome.events);
    assert_eq!(again.end, if outcome.end == End::Closed { End::Closed } else { End::Idle });
}

fn write(out: &mut Vec<u8>, event: &Received, mask: Option<[u8; 4]>) {
    match event {
        Received::Text(text) => write_frame(out, Opcode::Text, text.as_bytes(), mask),
        Received::Binary(bytes) => write_frame(out, Opcode::Binary, bytes, mask),
        Received::Ping(bytes) => write_frame(out, Opcode::Ping, bytes, mask),
        Received::Pong(bytes) => write_frame(out, Opcode::Pong, bytes, mask),
        Received::Close(None) => write_close(out, None, mask),
        Received::Close(Some((code, reason))) => {
            let code = CloseCode::new(*code).expect("a code that was accepted may be sent");
            write_close(out, Some(Close::new(code, reason)), mask);
        }
    }
}
