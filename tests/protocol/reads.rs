//! The state that a connection keeps between reads: the beginning of an incomplete message, and unread bytes.

use ringsock::protocol::{AssemblyPool, Connection, Event, Incoming, MessageLimits, Role};

use crate::harness::*;
use crate::wire::*;

#[test]
fn a_connection_between_messages_is_three_words_compressed_or_not() {
    assert_eq!(size_of::<Connection>(), 3 * size_of::<usize>());
}

#[test]
fn nothing_is_assembled_between_messages() {
    let mut reader = Endpoint::server().reader();
    assert_eq!(reader.connection.assembling_since(), None);
    reader.read(b"", 1);
    assert_eq!(reader.connection.assembling_since(), None);
    for frame in [masked(FIN | TEXT, b"whole"), masked(FIN | PING, b""), masked(FIN | BINARY, b"")] {
        reader.read(&frame, 2);
        assert_eq!(reader.connection.assembling_since(), None);
    }
}

#[test]
fn the_stamp_is_that_of_the_first_incomplete_read_and_stays_until_the_message_ends() {
    let frame = masked(FIN | TEXT, b"some text");
    for cut in 1..frame.len() {
        let mut reader = Endpoint::server().reader();
        reader.read(&frame[..cut], 7);
        assert_eq!(reader.connection.assembling_since(), Some(7), "cut at {cut}");
        for (stamp, byte) in (8..).zip(&frame[cut..frame.len() - 1]) {
            reader.read(&[*byte], stamp);
            assert_eq!(reader.connection.assembling_since(), Some(7), "cut at {cut}");
        }
        reader.read(&frame[frame.len() - 1..], 99);
        assert_eq!(reader.connection.assembling_since(), None, "cut at {cut}");
    }
}

#[test]
fn neither_fragments_nor_control_frames_renew_the_stamp() {
    let mut reader = Endpoint::server().reader();
    let ping = masked(FIN | PING, b"still here");
    reader.read(&masked(TEXT, b""), 10);
    for (stamp, piece) in (11..).zip([
        &masked(CONTINUATION, b"more")[..],
        &ping,
        &ping[..1],
        &ping[1..9],
        &ping[9..],
        &masked(CONTINUATION, b""),
    ]) {
        reader.read(piece, stamp);
        assert_eq!(reader.connection.assembling_since(), Some(10));
    }
    reader.read(&masked(FIN | CONTINUATION, b""), 20);
    assert_eq!(reader.connection.assembling_since(), None);
}

#[test]
fn the_next_message_gets_a_stamp_of_its_own() {
    let frame = masked(FIN | BINARY, b"payload");
    let (head, tail) = frame.split_at(9);
    let mut reader = Endpoint::server().reader();
    reader.read(head, 1);
    // The end of one and the beginning of the next in the same read.
    for stamp in 2..9 {
        reader.read(&[tail, head].concat(), stamp);
        assert_eq!(reader.connection.assembling_since(), Some(stamp));
    }
    // A split control frame is not a message: a message that begins after it is new.
    let ping = masked(FIN | PING, b"ping");
    reader.read(&[tail, &ping[..3]].concat(), 20);
    assert_eq!(reader.connection.assembling_since(), Some(20));
    reader.read(&[&ping[3..], head].concat(), 21);
    assert_eq!(reader.connection.assembling_since(), Some(21));
}

#[test]
fn a_caller_that_stops_early_is_given_exactly_the_remaining_events_later() {
    let bytes = [
        masked(FIN | TEXT, b"one"),
        masked(BINARY, b"tw"),
        masked(FIN | PING, b"three"),
        masked(FIN | CONTINUATION, b"o"),
        masked(FIN | PONG, b""),
        masked(FIN | TEXT, b"four"),
        masked(FIN | CLOSE, b""),
        masked(FIN | TEXT, b"never"),
    ]
    .concat();
    let all = receive(&bytes).events;
    assert_eq!(all.len(), 6);
    let (mut pool, limits) = (AssemblyPool::default(), MessageLimits::default());
    for stop in 0..=all.len() {
        for cut in 0..=bytes.len() {
            let mut connection = Connection::new(Role::Server);
            let mut events: Vec<Received> = Vec::new();
            // Two reads; the caller takes `stop` events in all, keeps the rest, and asks again.
            let mut kept = Vec::new();
            for read in [&bytes[..cut], &bytes[cut..]] {
                kept.extend_from_slice(read);
                let mut incoming = Incoming::new(&mut kept, 0);
                take(&mut incoming, &mut connection, &mut pool, &limits, stop, &mut events);
                kept = incoming.rest().to_vec();
            }
            assert_eq!(events, all[..stop]);
            let mut incoming = Incoming::new(&mut kept, 1);
            take(&mut incoming, &mut connection, &mut pool, &limits, usize::MAX, &mut events);
            assert_eq!(events, all, "stopped after {stop}, cut at {cut}");
        }
    }
}

/// Asks for events until there are `count` of them, or no more.
fn take(
    incoming: &mut Incoming<'_>,
    connection: &mut Connection,
    pool: &mut AssemblyPool,
    limits: &MessageLimits,
    count: usize,
    events: &mut Vec<Received>,
) {
    while events.len() < count
        && let Ok(Some(event)) = incoming.next(connection, pool, limits)
    {
        events.push(event.into());
    }
}

#[test]
fn a_frame_that_lies_in_the_read_whole_is_borrowed_from_it() {
    let mut bytes = [masked(FIN | PING, b"ping"), masked(FIN | BINARY, b"message")].concat();
    let range = bytes.as_ptr_range();
    let (mut pool, limits) = (AssemblyPool::default(), MessageLimits::default());
    let mut connection = Connection::new(Role::Server);
    let mut incoming = Incoming::new(&mut bytes, 0);
    for _ in 0..2 {
        let payload = match incoming.next(&mut connection, &mut pool, &limits) {
            Ok(Some(Event::Message(message))) => message.as_bytes(),
            Ok(Some(Event::Ping(payload))) => payload,
            other => panic!("{other:?}"),
        };
        assert!(range.contains(&payload.as_ptr()));
    }
}
