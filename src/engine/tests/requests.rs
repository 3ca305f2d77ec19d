//! Tests of requests: their order, their deadlines, and the events that end their connection.

use super::client::{Client, get, upgrade_request};
use super::world::World;
use crate::engine::Limits;
use crate::reactor::sim::Faults;

/// Makes every answer wait in the outbox until the end of the turn, because no socket takes anything.
fn without_room() -> Faults {
    Faults { send_would_block: 1000, ..Faults::default() }
}

/// Checks that this input gets these bodies as answers, and that the connection then ends, however it is split in two.
pub(super) fn assert_answered_however_cut(input: &[u8], due: &[&str]) {
    for cut in 0..input.len() {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&input[..cut]);
        world.settle();
        client.write(&input[cut..]);
        world.settle();
        assert_eq!(client.bodies(), due, "cut at {cut}");
        assert!(client.is_at_end());
        assert_eq!(world.counters.http_answers.read(), due.len() as u64);
    }
}

/// Sends fifty pieces, one every 100 ms: the time for a request ends before the next piece, and the pieces do not
/// extend it.
pub(super) fn drip_until_time_is_over<'a>(
    world: &mut World,
    client: &mut Client,
    mut pieces: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    assert_eq!(pieces.len(), 50);
    for piece in pieces.by_ref().take(49) {
        client.write(piece);
        world.advance(100);
        assert!(client.hears_nothing(), "at {} ms", world.now_ms());
    }
    client.write(pieces.next().unwrap());
    world.advance(200);
    assert_eq!(client.statuses(), [408]);
    assert!(client.is_at_end());
    assert_eq!(world.counters.handshake_timeouts.read(), 1);
}

#[test]
fn a_connection_is_kept_alive_between_requests() {
    let mut world = World::new();
    let mut client = world.connect();
    for path in ["/one", "/two"] {
        client.write(&get(path, ""));
        world.settle();
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, path));
        assert!(answer.head.contains("Connection: keep-alive\r\n"));
        world.advance(4_000);
    }
    assert!(client.hears_nothing());
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_cut() {
    let input = [get("/one", ""), get("/two", ""), get("/three", "Connection: close\r\n"), get("/four", "")].concat();
    assert_answered_however_cut(&input, &["/one", "/two", "/three"]);
}

#[test]
fn requests_after_the_last_answer_are_not_served_while_it_waits_to_leave() {
    for last in [get("/one", "Connection: close\r\n"), b"GET nonsense\r\n\r\n".to_vec()] {
        let mut world = World::faulty(Limits::default(), 1, without_room());
        let mut client = world.connect();
        world.settle();
        client.write(&last);
        world.turns(2);
        client.write(&get("/smuggled", ""));
        world.settle();
        assert_eq!(client.statuses().len(), 1);
        assert!(client.is_at_end());
    }
}

#[test]
fn a_head_that_drips_stays_where_it_lies_but_to_grow() {
    let mut world = World::with(Limits { handshake_timeout_ms: 600_000, ..Limits::default() });
    let mut client = world.connect();
    world.settle();
    let head = get("/", &format!("X: {}\r\n", "y".repeat(16_000)));
    let mut places = Vec::new();
    for byte in &head.as_slice()[..head.len() - 1] {
        client.write(&[*byte]);
        world.turn();
        places.extend(world.view().session_at(0).unwrap().unconsumed_place());
    }
    assert!(places.len() > 16_000);
    places.dedup();
    // The room doubles. A copy for each byte would be 128 MiB, for a client that sent 16 KiB.
    assert!(places.len() <= 16, "it was copied {} times", places.len());
    client.write(&head[head.len() - 1..]);
    world.settle();
    assert_eq!(client.answer().unwrap().body, "/");
}

#[test]
fn an_upgrade_may_follow_other_requests() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/one", ""));
    client.ask("/", &[]);
    world.settle();
    assert_eq!(client.answer().unwrap().body, "/one");
    assert!(client.is_accepted());
}

#[test]
fn an_empty_line_before_a_request_is_skipped_and_costs_no_turns() {
    for line in ["\r", "\r\n"] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(line.as_bytes());
        world.settle();
        client.write(&[&b"\r\n"[line.len()..], &get("/", "")[..]].concat());
        world.settle();
        assert_eq!(client.statuses(), [200]);
    }
}

#[test]
fn a_malformed_request_is_refused_and_the_connection_ends() {
    for (request, status) in [
        (&b"nonsense\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (&[b'A'; 20_000], 414),
        (&get("/", &"X: y\r\n".repeat(65)), 431),
        (&get("/", &format!("X: {}\r\n", "y".repeat(20_000))), 431),
    ] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(request);
        world.settle();
        assert_eq!(client.statuses(), [status]);
        assert!(client.is_at_end());
        assert_eq!(world.counters.http_refusals.read(), 1);
    }
}

#[test]
fn frames_before_the_upgrade_is_answered_are_refused_with_400() {
    for target in ["/", "/later"] {
        let mut world = World::new();
        let mut client = world.connect();
        let (request, _) = upgrade_request(target, &[]);
        client.write(&[&request[..], b"\x81\x80abcd"].concat());
        world.settle();
        assert_eq!(client.statuses(), [400]);
        assert!(client.is_at_end());
        assert!(world.log.opened.borrow().is_empty());
        world.log.gate.open();
    }
}

#[test]
fn a_drip_of_bytes_does_not_move_the_deadline_of_the_handshake() {
    let mut world = World::new();
    let mut client = world.connect();
    let head = get("/", &format!("X: {}\r\n", "y".repeat(200)));
    world.settle();
    drip_until_time_is_over(&mut world, &mut client, head[..50].chunks(1));
}

#[test]
fn a_client_that_has_sent_nothing_is_closed_without_an_answer() {
    let mut world = World::new();
    let mut client = world.connect();
    world.advance(4_950);
    assert!(client.hears_nothing());
    world.advance(100);
    assert!(client.is_at_end());
}

#[test]
fn the_deadline_begins_anew_with_every_answer() {
    let mut world = World::new();
    let mut client = world.connect();
    world.advance(4_000);
    client.write(&get("/", ""));
    world.advance(4_900);
    assert_eq!(client.statuses(), [200]);
    assert!(client.hears_nothing());
    world.advance(200);
    assert!(client.is_at_end());
}

#[test]
fn a_client_that_does_not_read_its_answers_is_cut_off() {
    for rest in [&b""[..], b"GET / HT"] {
        let mut world = World::new();
        let client = world.connect();
        client.peer.stop_reading();
        // More than the socket takes, so that an answer waits.
        (0..20).for_each(|_| client.write(&get("/large", "")));
        client.write(rest);
        world.advance(11_000);
        assert!(client.peer.is_closed_by_server());
        assert_eq!(world.core.sessions(), 0);
    }
}

#[test]
fn answers_that_are_not_read_are_bounded() {
    let mut world = World::new();
    let client = world.connect();
    client.peer.stop_reading();
    (0..4_000).for_each(|_| client.write(&get("/large", "")));
    world.settle();
    let session = world.view().session_at(0).unwrap();
    let held = session.outbox_bytes() + session.unconsumed_bytes();
    // The limit, one answer, and one read of a head.
    assert!((1..256 * 1024 + 41_000 + 16 * 1024).contains(&held), "{held}");
    assert!(client.peer.unread() > 0);
}

#[test]
fn a_request_and_the_end_of_the_stream_in_one_read_are_answered() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/", ""));
    client.peer.finish();
    world.settle();
    assert_eq!(client.statuses(), [200]);
    assert!(client.is_at_end());
    assert_eq!(world.core.sessions(), 0);
}

#[test]
fn a_large_answer_reaches_a_client_that_has_finished() {
    let mut world = World::new();
    let mut client = world.connect();
    client.peer.stop_reading();
    (0..8).for_each(|_| client.write(&get("/large", "")));
    client.peer.finish();
    world.settle();
    client.peer.resume_reading();
    world.settle();
    assert_eq!(client.statuses(), [200; 8]);
    assert!(client.is_at_end());
}

#[test]
fn a_panic_in_a_request_costs_that_connection_and_is_answered_with_500() {
    let mut world = World::new();
    let (mut client, mut other) = (world.connect(), world.connect());
    client.write(&get("/panic", ""));
    other.write(&get("/", ""));
    world.settle();
    assert_eq!((client.statuses(), other.statuses()), (vec![500], vec![200]));
    assert!(client.is_at_end() && other.hears_nothing());
    assert_eq!(world.counters.handler_panics.read(), 1);
}
