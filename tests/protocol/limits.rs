//! Limits: the size of a message, the number of its empty fragments, and the cost of many fragments.

use std::time::Duration;

use ringsock::protocol::{AssemblyPool, CloseCode, Connection, Event, Incoming, MessageLimits, Role, Violation};

use crate::harness::*;
use crate::wire::*;

/// Returns a binary message of `fragments`.
fn message(fragments: &[&[u8]]) -> Vec<u8> {
    message_of(BINARY, fragments)
}

fn message_of(kind: u8, fragments: &[&[u8]]) -> Vec<u8> {
    let last = fragments.len() - 1;
    let frames = fragments.iter().enumerate().map(|(index, fragment)| {
        let opcode = if index == 0 { kind } else { CONTINUATION };
        masked(if index == last { FIN | opcode } else { opcode }, fragment)
    });
    frames.collect::<Vec<_>>().concat()
}

#[test]
fn a_message_may_be_as_large_as_the_limit() {
    for limit in [0, 1, 125, 126, 1000, 65_535, 65_536] {
        let payload = vec![b'x'; limit];
        let endpoint = Endpoint::server().with_message_bytes_max(limit as u64);
        let (left, right) = payload.split_at(limit / 3);
        for bytes in [message(&[&payload]), message(&[left, right]), message(&[b"", &payload, b""])] {
            assert_eq!(endpoint.receive(&bytes), idle([binary(&payload)]), "{limit}");
        }
    }
}

#[test]
fn rejects_a_message_one_byte_above_the_limit_with_1009() {
    for max in [0, 1, 125, 126, 1000, 65_535, 65_536] {
        let payload = vec![b'x'; max + 1];
        let max = max as u64;
        let endpoint = Endpoint::server().with_message_bytes_max(max);
        let (left, right) = payload.split_at(payload.len() / 2);
        for bytes in [message(&[&payload]), message(&[left, right]), message(&[&payload, b""])] {
            let bytes = [masked(FIN | PING, b"before"), bytes].concat();
            let outcome = endpoint.receive(&bytes);
            let violation = Violation::MessageTooLarge { bytes: max + 1, max };
            assert_eq!(outcome, violated([ping(b"before")], violation));
            assert_eq!(outcome.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
        }
    }
}

#[test]
fn the_header_that_exceeds_the_limit_is_enough() {
    let max = MessageLimits::default().message_bytes_max;
    let violation = |bytes| violated([], Violation::MessageTooLarge { bytes, max });
    let largest = (1 << 63) - 1;
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        for length in [max + 1, 1 << 31, 1 << 32, largest] {
            assert_eq!(receive(&header(first, Some(KEY), length)), violation(length));
        }
    }
    let begun = masked(BINARY, &[0; 1000]);
    for first in [CONTINUATION, FIN | CONTINUATION] {
        for length in [max - 999, 1 << 31, largest] {
            let bytes = [&begun[..], &header(first, Some(KEY), length)].concat();
            assert_eq!(receive(&bytes), violation(1000 + length));
        }
        let bytes = [&begun[..], &header(first, Some(KEY), max - 1000)].concat();
        assert_eq!(receive(&bytes), waiting([]));
    }
}

#[test]
fn the_limit_holds_for_each_message_alone_and_not_for_control_frames() {
    let endpoint = Endpoint::server().with_message_bytes_max(3);
    let bytes = [message(&[b"abc"]), message(&[b"ab", b"c"]), masked(FIN | PING, &[0; 125])];
    assert_eq!(endpoint.receive(&bytes.concat()), idle([binary(b"abc"), binary(b"abc"), ping(&[0; 125])]));
}

/// Returns an unfinished message that begins with `count` empty fragments, with a ping after each if wanted.
fn empty_fragments(count: usize, with_pings: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for index in 0..count {
        bytes.extend(masked(if index == 0 { TEXT } else { CONTINUATION }, b""));
        if with_pings {
            bytes.extend(masked(FIN | PING, b"?"));
        }
    }
    bytes
}

#[test]
fn a_message_may_have_64_empty_fragments_in_a_row() {
    let end = masked(FIN | CONTINUATION, b"end");
    let bytes = [empty_fragments(64, false), end.clone()].concat();
    assert_eq!(receive(&bytes), idle([text("end")]));
    // A byte of payload ends the row.
    let again: Vec<u8> = (0..64).flat_map(|_| masked(CONTINUATION, b"")).collect();
    let bytes = [empty_fragments(64, false), masked(CONTINUATION, b"."), again, end].concat();
    assert_eq!(receive(&bytes), idle([text(".end")]));
    // And so does the end of the message.
    let empty = [empty_fragments(64, false), masked(FIN | CONTINUATION, b"")].concat();
    assert_eq!(receive(&[&empty[..], &empty].concat()), idle([text(""), text("")]));
}

#[test]
fn rejects_65_empty_fragments_in_a_row_with_1008() {
    let outcome = receive(&empty_fragments(65, false));
    assert_eq!(outcome, violated([], Violation::EmptyFragments { max: 64 }));
    assert_eq!(outcome.close_code(), Some(CloseCode::POLICY_VIOLATION));
    let begun = [masked(TEXT, b"begun"), masked(CONTINUATION, b"").repeat(65)].concat();
    assert_eq!(receive(&begun), violated([], Violation::EmptyFragments { max: 64 }));
}

#[test]
fn pings_between_empty_fragments_do_not_begin_a_new_row() {
    let pings = |count| vec![ping(b"?"); count];
    assert_eq!(receive(&empty_fragments(64, true)), waiting(pings(64)));
    assert_eq!(receive(&empty_fragments(65, true)), violated(pings(64), Violation::EmptyFragments { max: 64 }));
}

#[test]
fn a_limit_of_no_empty_fragments_still_allows_messages() {
    let mut endpoint = Endpoint::server();
    endpoint.limits.empty_fragments_max = 0;
    assert_eq!(
        endpoint.receive(&[masked(FIN | TEXT, b""), message(&[b"a", b""])].concat()),
        idle([text(""), binary(b"a")])
    );
    assert_eq!(endpoint.receive(&empty_fragments(1, false)), violated([], Violation::EmptyFragments { max: 0 }));
}

/// Returns how long a message of `count` one-byte fragments takes, in reads of 64 KiB.
fn time_of_fragments(kind: u8, count: usize) -> Duration {
    let mut bytes = message_of(kind, &vec![&b"x"[..]; count]);
    let mut limits = MessageLimits::default();
    limits.message_bytes_max = count as u64;
    let (mut pool, mut connection) = (AssemblyPool::default(), Connection::new(Role::Server));
    let mut message_bytes = 0;
    let start = processor_time();
    for read in bytes.chunks_mut(64 * 1024) {
        let mut incoming = Incoming::new(read, 0);
        while let Ok(Some(Event::Message(message))) = incoming.next(&mut connection, &mut pool, &limits) {
            message_bytes = message.len();
        }
    }
    let time = processor_time() - start;
    assert_eq!(message_bytes, count);
    time
}

/// Returns the processor time of this thread: elapsed time would also count other work of the machine.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is that of a local that outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Guards against CVE-2026-65623: another server measured all fragments again with each one.
#[test]
fn many_one_byte_fragments_take_linear_time() {
    for kind in [BINARY, TEXT] {
        // Linear work takes a fraction of a second even without optimisation, quadratic work minutes.
        let time = time_of_fragments(kind, 2_000_000);
        assert!(time < Duration::from_secs(30), "{time:?}");
    }
}
