//! Requests: their order, their deadlines, and what ends a connection that serves them.

use super::client::{Client, get, post, upgrade_request};
use super::world::World;
use crate::engine::Limits;
use crate::protocol::http::Refusal;
use crate::reactor::sim::Faults;

/// Nothing fits into a socket at once, so that every answer waits in an outbox for the end of the turn.
fn without_room() -> Faults {
    Faults { send_would_block: 1000, ..Faults::default() }
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
    for cut in 0..input.len() {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&input[..cut]);
        world.settle();
        client.write(&input[cut..]);
        world.settle();
        let bodies: Vec<_> = std::iter::from_fn(|| client.answer()).map(|answer| answer.body).collect();
        assert_eq!(bodies, ["/one", "/two", "/three"], "cut at {cut}");
        assert!(client.is_at_end());
    }
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

/// A request that is hidden in a body: it is the body, and is never answered.
fn hidden() -> Vec<u8> {
    get("/hidden", "")
}

#[test]
fn a_body_is_read_and_what_follows_it_is_the_next_request_however_they_are_cut() {
    let last = post("/three", "Connection: close\r\n", b"the last body");
    let input = [post("/one", "", &hidden()), get("/two", ""), last, get("/four", "")].concat();
    let due = [String::from_utf8(hidden()).unwrap(), "/two".to_owned(), "the last body".to_owned()];
    for cut in 0..input.len() {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&input[..cut]);
        world.settle();
        client.write(&input[cut..]);
        world.settle();
        let bodies: Vec<_> = std::iter::from_fn(|| client.answer()).map(|answer| answer.body).collect();
        assert_eq!(bodies, due, "cut at {cut}");
        assert!(client.is_at_end());
        assert_eq!(world.counters.http_answers.read(), 3);
    }
}

#[test]
fn bodies_that_come_byte_by_byte_are_read_like_others() {
    let mut world = World::new();
    let mut client = world.connect();
    for byte in [post("/one", "", &hidden()), post("/two", "", b""), post("/three", "", b"!")].concat() {
        client.write(&[byte]);
        world.turns(2);
    }
    world.settle();
    let bodies: Vec<_> = std::iter::from_fn(|| client.answer()).map(|answer| answer.body).collect();
    assert_eq!(bodies, [String::from_utf8(hidden()).unwrap(), "/two".to_owned(), "!".to_owned()]);
    assert!(client.hears_nothing());
}

#[test]
fn a_body_that_drips_is_looked_at_once_and_takes_no_more_room_than_it_needs() {
    let limits = Limits { body_bytes_max: 1 << 20, handshake_timeout_ms: 60_000, ..Limits::default() };
    let mut world = World::with(limits);
    let mut client = world.connect();
    let request = post("/", "", &vec![b'a'; 1 << 20]);
    world.settle();
    let (first, rest) = request.split_at(200);
    client.write(first);
    world.turns(2);
    let begun = std::time::Instant::now();
    for (number, byte) in rest[..rest.len() - 1].iter().enumerate() {
        client.write(&[*byte]);
        if number % 8 == 7 {
            world.turn();
        }
    }
    world.settle();
    // A copy of everything for each piece would be 64 GB.
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    let token = world.core.sessions.token_at(0).unwrap();
    let backlog = world.core.sessions.get_mut(token).unwrap().backlog.as_ref().unwrap();
    assert_eq!((backlog.bytes.len(), backlog.bytes.capacity()), (request.len() - 1, request.len()));
    client.write(&request[request.len() - 1..]);
    world.settle();
    assert_eq!(client.answer().unwrap().body.len(), 1 << 20);
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
        let token = world.core.sessions.token_at(0).unwrap();
        let backlog = world.core.sessions.get_mut(token).unwrap().backlog.as_ref();
        places.extend(backlog.map(|backlog| backlog.bytes.as_ptr()));
    }
    assert!(places.len() > 16_000);
    places.dedup();
    // Room for it doubles. A copy for each byte would be 128 MiB, of a client that sent 16 KiB.
    assert!(places.len() <= 16, "it was copied {} times", places.len());
    client.write(&head[head.len() - 1..]);
    world.settle();
    assert_eq!(client.answer().unwrap().body, "/");
}

#[test]
fn a_body_at_the_limit_is_read_and_one_above_it_refused_as_soon_as_its_head_is_here() {
    let limit = Limits::default().body_bytes_max;
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&post("/", "", &vec![b'a'; limit]));
    world.settle();
    assert_eq!(client.answer().unwrap().body.len(), limit);
    let mut other = world.connect();
    other.write(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", limit + 1).as_bytes());
    world.settle();
    let answer = other.answer().unwrap();
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("65537") && answer.body.contains("65536"), "{}", answer.body);
    // What was on its way is thrown away, so that no reset overtakes the answer; a hidden request too.
    other.write(&hidden());
    world.settle();
    assert!(other.is_at_end() && !other.peer.was_reset());
    assert_eq!(world.counters.http_refusals.read_for(&Refusal::BodyTooLarge { bytes: 0, limit: 0 }), 1);
    assert_eq!(world.counters.http_answers.read(), 1);
}

#[test]
fn what_is_kept_of_a_request_never_exceeds_the_limits_of_its_head_and_body() {
    let limits = Limits::default();
    let (head_max, body_max) = (limits.head.head_bytes_max, limits.body_bytes_max);
    let mut world = World::with(limits);
    let client = world.connect();
    let padding = head_max + body_max - post("/", "X: \r\n", &vec![b'a'; body_max]).len();
    let request = post("/", &format!("X: {}\r\n", "y".repeat(padding)), &vec![b'a'; body_max]);
    assert_eq!(request.len(), head_max + body_max);
    for piece in request[..request.len() - 1].chunks(1_000) {
        client.write(piece);
        world.settle();
        let token = world.core.sessions.token_at(0).unwrap();
        let backlog = world.core.sessions.get_mut(token).unwrap().backlog.as_ref();
        let kept = backlog.map_or(0, |backlog| backlog.bytes.capacity());
        assert!(kept <= head_max + body_max, "{kept}");
    }
    // What comes after the body is left in the socket until the body has been answered.
    client.write(&[&request[request.len() - 1..], &get("/next", "").repeat(10_000)[..]].concat());
    client.peer.stop_reading();
    world.settle();
    assert!(world.bytes_in_slot(0).1 <= head_max);
}

#[test]
fn a_body_that_is_never_whole_is_refused_with_408_when_the_time_is_over() {
    let mut world = World::new();
    let mut client = world.connect();
    let request = post("/", "", &[b'a'; 200]);
    world.settle();
    client.write(&request[..request.len() - 100]);
    drip_until_time_is_over(&mut world, &mut client, &request[request.len() - 100..][..50]);
}

#[test]
fn half_a_body_and_the_end_of_the_stream_are_answered_with_silence() {
    let mut world = World::new();
    let mut client = world.connect();
    let request = post("/", "", b"hello");
    client.write(&request[..request.len() - 1]);
    client.peer.finish();
    world.settle();
    assert!(client.is_at_end());
    assert_eq!((world.core.sessions(), world.counters.http_answers.read()), (0, 0));
}

#[test]
fn a_body_with_an_upgrade_or_with_get_is_refused_and_not_read_as_a_request() {
    let (upgrade, _) = upgrade_request("/", &[]);
    for head in [upgrade, get("/", "")] {
        let line = format!("Content-Length: {}\r\n\r\n", hidden().len());
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&[&head[..head.len() - 2], line.as_bytes(), &hidden()].concat());
        world.settle();
        assert_eq!(client.statuses(), [400]);
        assert!(client.is_at_end());
    }
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
fn what_is_no_request_is_refused_and_the_connection_ends() {
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
    drip_until_time_is_over(&mut world, &mut client, &head[..50]);
}

/// Fifty bytes, one each 100 ms: the time for a request is over before the next would come, and it is not longer for them.
fn drip_until_time_is_over(world: &mut World, client: &mut Client, bytes: &[u8]) {
    let (last, before) = bytes.split_last().unwrap();
    for byte in before {
        client.write(&[*byte]);
        world.advance(100);
        assert!(client.hears_nothing(), "at {} ms", world.now_ms());
    }
    client.write(&[*last]);
    world.advance(200);
    assert_eq!(client.statuses(), [408]);
    assert!(client.is_at_end());
    assert_eq!(world.counters.handshake_timeouts.read(), 1);
}

#[test]
fn who_has_sent_nothing_is_let_go_in_silence() {
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
    let (outbox, backlog) = world.bytes_in_slot(0);
    let held = outbox + backlog;
    // The limit, one answer, one read of a head.
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
