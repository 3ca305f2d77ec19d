//! RFC 6455 5.5.1 and 7: Close frames, and the states between the first and the last of them.

use ringsock::protocol::{
    AssemblyPool, Close, CloseCode, Connection, Event, Incoming, Message, MessageLimits, REASON_BYTES_MAX, Role, State,
    Violation,
};

use crate::harness::*;
use crate::wire::*;

const STATES: [State; 4] = [State::Open, State::CloseSent, State::CloseReceived, State::Closed];

/// Returns a server's connection in `state`, reached by the shortest way.
fn connection_in(state: State) -> Connection {
    let mut connection = Connection::new(Role::Server);
    match state {
        State::Open => {}
        State::CloseSent => assert!(connection.close(&mut Vec::new(), None, None)),
        State::CloseReceived => assert_eq!(offer(&mut connection, &masked(FIN | CLOSE, b"")), 1),
        State::Closed => connection.abandon(),
    }
    assert_eq!(connection.state(), state);
    connection
}

/// Reads `bytes`, which break no rule. Returns the number of events.
fn offer(connection: &mut Connection, bytes: &[u8]) -> usize {
    let (mut bytes, mut pool, limits) = (bytes.to_vec(), AssemblyPool::default(), MessageLimits::default());
    let mut incoming = Incoming::new(&mut bytes, 0);
    let mut events = 0;
    while let Ok(Some(_)) = incoming.next(connection, &mut pool, &limits) {
        events += 1;
    }
    events
}

#[test]
fn a_close_frame_may_carry_nothing_a_code_or_a_code_and_a_reason() {
    for endpoint in [Endpoint::server(), Endpoint::client()] {
        let empty = endpoint.frame(FIN | CLOSE, b"");
        assert_eq!(endpoint.receive(&empty), closed([Received::Close(None)]));
        let reason = "é".repeat(REASON_BYTES_MAX / 2);
        for reason in ["", "bye", &reason] {
            let bytes = endpoint.frame(FIN | CLOSE, &close_payload(1001, reason));
            assert_eq!(endpoint.receive(&bytes), closed([close(1001, reason)]));
        }
    }
}

#[test]
fn of_all_65536_close_codes_only_those_that_may_be_sent_are_taken() {
    for code in 0..=u16::MAX {
        let outcome = receive(&masked(FIN | CLOSE, &close_payload(code, "x")));
        // RFC 6455 7.4.1 and 7.4.2, and 1012 to 1014 from the registry of 11.7.
        if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            assert_eq!(outcome, closed([close(code, "x")]));
        } else {
            assert_eq!(outcome, violated([], Violation::CloseCodeForbidden { code }));
            assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
        }
    }
}

#[test]
fn rejects_a_close_code_of_one_byte_with_1002() {
    let outcome = receive(&masked(FIN | CLOSE, b"\x03"));
    assert_eq!(outcome, violated([], Violation::CloseCodeCut));
    assert_eq!(outcome.close_code(), Some(CloseCode::PROTOCOL_ERROR));
}

#[test]
fn rejects_a_reason_that_is_not_utf8_with_1007() {
    for reason in [&b"\xFF"[..], b"ok\xC3", b"\xED\xA0\x80", b"\xF4\x90\x80\x80"] {
        let payload = [&1000u16.to_be_bytes(), reason].concat();
        let outcome = receive(&masked(FIN | CLOSE, &payload));
        assert_eq!(outcome, violated([], Violation::CloseReasonNotUtf8));
        assert_eq!(outcome.close_code(), Some(CloseCode::INVALID_DATA));
    }
}

#[test]
fn frames_after_a_close_frame_are_ignored() {
    let followers = [masked(FIN | TEXT, b"late"), b"\xFF\xFF garbage".to_vec(), plain(0x80, b"")];
    for follower in followers {
        let bytes = [masked(FIN | TEXT, b"last"), masked(FIN | CLOSE, b""), follower];
        assert_eq!(receive(&bytes.concat()), closed([text("last"), Received::Close(None)]));
    }
}

#[test]
fn a_close_frame_may_come_within_a_fragmented_message() {
    let bytes = [masked(TEXT, b"never ended"), masked(FIN | CLOSE, &close_payload(1000, ""))];
    assert_eq!(receive(&bytes.concat()), closed([close(1000, "")]));
    let mut reader = Endpoint::server().reader();
    reader.read(&bytes.concat(), 0);
    assert_eq!(reader.connection.assembling_since(), None, "what will never end is not kept");
}

#[test]
fn messages_that_cross_our_close_are_dropped_and_the_peers_close_is_found() {
    let endpoint = Endpoint::server().having_sent_close();
    let crossing = [
        masked(FIN | TEXT, b"whole"),
        masked(FIN | PING, b"ping"),
        masked(BINARY, b"in "),
        masked(FIN | PONG, b""),
        masked(FIN | CONTINUATION, b"fragments"),
    ]
    .concat();
    assert_eq!(endpoint.receive(&crossing), idle([]));
    let closing = masked(FIN | CLOSE, &close_payload(1001, "too"));
    assert_eq!(endpoint.receive(&closing), closed([close(1001, "too")]));
    let bytes = [&crossing[..], &closing, b"more"].concat();
    assert_eq!(endpoint.receive(&bytes), closed([close(1001, "too")]));
    let unfinished = [masked(BINARY, b"unfinished"), closing].concat();
    assert_eq!(endpoint.receive(&unfinished), closed([close(1001, "too")]));
}

#[test]
fn rules_hold_for_what_crosses_our_close() {
    let endpoint = Endpoint::server().having_sent_close();
    let broken = [
        (masked(FIN | 0x40 | TEXT, b""), Violation::ReservedBits),
        (masked(FIN | CONTINUATION, b""), Violation::UnexpectedContinuation),
        (masked(FIN | CLOSE, b"\x03"), Violation::CloseCodeCut),
        (masked(FIN | TEXT, b"text \xFF"), Violation::NotUtf8),
        (masked(FIN | TEXT, b"\xFF text"), Violation::NotUtf8),
    ];
    for (bytes, violation) in broken {
        assert_eq!(endpoint.receive(&bytes), violated([], violation));
    }
}

#[test]
fn a_close_that_was_sent_in_the_middle_of_a_message_drops_its_rest() {
    let mut reader = Endpoint::server().reader();
    reader.read(&masked(TEXT, b"begun"), 1);
    assert!(reader.connection.close(&mut Vec::new(), None, None));
    reader.read(&[masked(FIN | CONTINUATION, b"ended"), masked(FIN | CLOSE, b"")].concat(), 2);
    assert_eq!(reader.events, [Received::Close(None)]);
    assert_eq!(reader.connection.state(), State::Closed);
}

#[test]
fn a_close_between_two_events_of_a_read_drops_those_that_follow() {
    let mut bytes = [masked(FIN | TEXT, b"bye"), masked(FIN | TEXT, b"?"), masked(FIN | CLOSE, b"")].concat();
    let (mut pool, limits) = (AssemblyPool::default(), MessageLimits::default());
    let mut connection = Connection::new(Role::Server);
    let mut incoming = Incoming::new(&mut bytes, 0);
    let first = incoming.next(&mut connection, &mut pool, &limits);
    assert_eq!(first, Ok(Some(Event::Message(Message::Text("bye")))));
    assert!(connection.close(&mut Vec::new(), None, None));
    let second = incoming.next(&mut connection, &mut pool, &limits);
    assert_eq!(second, Ok(Some(Event::Close(None))));
    assert_eq!(incoming.next(&mut connection, &mut pool, &limits), Ok(None));
}

#[test]
fn close_sends_one_frame_and_only_once() {
    for state in STATES {
        let mut connection = connection_in(state);
        let mut out = Vec::new();
        let sent = connection.close(&mut out, Some(Close::new(CloseCode::NORMAL, "done")), Some(KEY));
        let (after, may_send) = match state {
            State::Open => (State::CloseSent, true),
            State::CloseReceived => (State::Closed, true),
            other => (other, false),
        };
        assert_eq!((connection.state(), sent), (after, may_send), "{state:?}");
        let frame = masked(FIN | CLOSE, &close_payload(1000, "done"));
        assert_eq!(out, if may_send { frame } else { Vec::new() }, "{state:?}");
        let length = out.len();
        assert!(!connection.close(&mut out, None, None), "a second close");
        connection.fail(&mut out, Close::new(CloseCode::POLICY_VIOLATION, ""), None);
        assert_eq!(out.len(), length, "nothing follows a Close frame");
    }
}

#[test]
fn fail_sends_a_close_frame_unless_one_was_sent_and_ends_the_connection() {
    for state in STATES {
        let mut connection = connection_in(state);
        let mut out = Vec::new();
        connection.fail(&mut out, Close::new(CloseCode::PROTOCOL_ERROR, "why"), None);
        assert_eq!(connection.state(), State::Closed, "{state:?}");
        let frame = plain(FIN | CLOSE, &close_payload(1002, "why"));
        let may_send = matches!(state, State::Open | State::CloseReceived);
        assert_eq!(out, if may_send { frame } else { Vec::new() }, "{state:?}");
        assert_eq!(offer(&mut connection, &masked(FIN | TEXT, b"late")), 0);
    }
}

#[test]
fn abandon_ends_the_connection_and_forgets_the_message_that_was_arriving() {
    for state in STATES {
        let mut connection = connection_in(state);
        offer(&mut connection, &masked(BINARY, b"half"));
        connection.abandon();
        assert_eq!((connection.state(), connection.assembling_since()), (State::Closed, None));
        assert_eq!(offer(&mut connection, &masked(FIN | TEXT, b"late")), 0);
    }
}

#[test]
fn the_peers_close_ends_input_in_every_state() {
    for state in STATES {
        let mut connection = connection_in(state);
        let events = offer(&mut connection, &masked(FIN | CLOSE, b""));
        let (after, expected) = match state {
            State::Open => (State::CloseReceived, 1),
            State::CloseSent => (State::Closed, 1),
            other => (other, 0),
        };
        assert_eq!((connection.state(), events), (after, expected), "{state:?}");
        assert_eq!(offer(&mut connection, &masked(FIN | TEXT, b"late")), 0);
    }
}

#[test]
fn each_end_understands_the_close_of_the_other() {
    let reason = "ä".repeat(100);
    for (from, mask, to) in [(Role::Client, Some(KEY), Endpoint::server()), (Role::Server, None, Endpoint::client())] {
        let mut out = Vec::new();
        let close_frame = Close::new(CloseCode::GOING_AWAY, &reason);
        assert!(Connection::new(from).close(&mut out, Some(close_frame), mask));
        // 123 bytes are left for the reason, and half a character is not text.
        assert_eq!(to.receive(&out), closed([close(1001, &"ä".repeat(61))]));
    }
}
