//! Tests of request bodies: with a known length, in chunks, and withheld until the server asks for them.

use super::client::{CONTINUE, get, post, post_chunks, post_chunks_head, upgrade_request};
use super::requests::{assert_answered_however_cut, drip_until_time_is_over};
use super::world::World;
use crate::engine::Limits;
use crate::protocol::http::{CHUNK_EXTRAS_BYTES_MAX, Refusal};

/// Returns a request that is hidden in a body, and must never be answered.
fn hidden() -> Vec<u8> {
    get("/hidden", "")
}

/// Returns the bytes that are kept of the current request, and the room for them.
fn kept(world: &World, index: u32) -> (usize, usize) {
    let session = world.view().session_at(index);
    session.map_or((0, 0), |session| (session.unconsumed_bytes(), session.unconsumed_room()))
}

/// The type of functions that make a request from a target, headers and a body.
type Way = fn(&str, &str, &[u8]) -> Vec<u8>;

/// The ways to send a body.
const WAYS: [Way; 2] = [post, post_in_chunks];

/// Returns a request whose body comes in two chunks, if it has the bytes for them.
fn post_in_chunks(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let (first, rest) = body.split_at(body.len() / 2);
    post_chunks(target, headers, [first, rest].into_iter().filter(|chunk| !chunk.is_empty()))
}

#[test]
fn a_body_is_read_and_what_follows_it_is_the_next_request_however_they_are_cut() {
    let hidden = hidden();
    let due = [std::str::from_utf8(&hidden).unwrap(), "/two", "/three", "another", "the last body"];
    for [one, other] in [WAYS, [WAYS[1], WAYS[0]]] {
        let input = [
            one("/one", "", &hidden),
            get("/two", ""),
            one("/three", "", b""),
            other("/four", "", b"another"),
            one("/five", "Connection: close\r\n", b"the last body"),
            get("/six", ""),
        ];
        assert_answered_however_cut(&input.concat(), &due);
    }
}

#[test]
fn bodies_that_come_byte_by_byte_are_read_like_others() {
    let mut world = World::new();
    let mut client = world.connect();
    let trailer =
        [&post_chunks_head("/", "Trailer: X\r\n")[..], b"2;a=\"b\"\r\nhi\r\n000\r\nX: y\r\nZ:\r\n\r\n"].concat();
    let requests = WAYS.map(|way| [way("/", "", &hidden()), way("/empty", "", b""), way("/", "", b"!")].concat());
    for byte in [requests.concat(), trailer, get("/last", "")].concat() {
        client.write(&[byte]);
        world.turns(2);
    }
    world.settle();
    let hidden = String::from_utf8(hidden()).unwrap();
    assert_eq!(client.bodies(), [&hidden, "/empty", "!", &hidden, "/empty", "!", "hi", "/last"]);
    assert!(client.hears_nothing());
}

#[test]
fn a_body_that_drips_stays_where_it_lies_but_to_grow_and_takes_no_more_room_than_it_needs() {
    const BYTES: usize = 256 << 10;
    let limits = Limits { body_bytes_max: BYTES, handshake_timeout_ms: 60_000, ..Limits::default() };
    let mut world = World::with(limits);
    let mut client = world.connect();
    let request = post("/", "", &[b'a'; BYTES]);
    world.settle();
    let (first, rest) = request.split_at(200);
    client.write(first);
    world.turns(2);
    let mut places = Vec::new();
    for piece in rest[..rest.len() - 1].chunks(8) {
        piece.iter().for_each(|byte| client.write(&[*byte]));
        world.turn();
        places.push(world.view().session_at(0).unwrap().unconsumed_place().unwrap());
    }
    world.settle();
    places.dedup();
    // The room doubles. A copy of everything for each piece would be 4 GB, for a client that sent 256 KiB.
    assert!(places.len() <= 16, "it was copied {} times", places.len());
    assert_eq!(kept(&world, 0), (request.len() - 1, request.len()));
    client.write(&request[request.len() - 1..]);
    world.settle();
    assert_eq!(client.answer().unwrap().body.len(), BYTES);
}

#[test]
fn a_body_of_one_byte_chunks_takes_no_more_room_than_one_with_a_length() {
    let limits = Limits { handshake_timeout_ms: 600_000, ..Limits::default() };
    let limit = limits.body_bytes_max;
    let mut world = World::with(limits);
    let mut client = world.connect();
    let request = post_chunks("/", "", vec![&b"x"[..]; limit]);
    let head_bytes = post_chunks_head("/", "").len();
    let (last, before) = request.split_last().unwrap();
    for piece in before.chunks(1_000) {
        client.write(piece);
        world.turn();
        let (bytes, room) = kept(&world, 0);
        assert!(room <= head_bytes + limit, "{room} for {bytes} bytes");
    }
    world.settle();
    assert_eq!(kept(&world, 0).0, head_bytes + limit, "nothing is kept but head and data");
    client.write(&[*last]);
    world.settle();
    assert_eq!(client.answer().unwrap().body.len(), limit);
    assert_eq!(kept(&world, 0), (0, 0));
}

#[test]
fn a_large_chunk_is_read_in_few_turns() {
    let mut world = World::with(Limits { body_bytes_max: 4 << 20, ..Limits::default() });
    let mut client = world.connect();
    client.write(&post_chunks("/", "", [&vec![b'x'; 4 << 20][..]]));
    world.settle();
    assert_eq!(client.answer().unwrap().body.len(), 4 << 20);
}

#[test]
fn a_body_at_the_limit_is_read() {
    let limit = Limits::default().body_bytes_max;
    for way in WAYS {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&way("/", "", &vec![b'a'; limit]));
        world.settle();
        assert_eq!(client.answer().unwrap().body.len(), limit);
    }
}

#[test]
fn a_body_above_the_limit_is_refused_as_soon_as_a_size_says_so() {
    let limit = Limits::default().body_bytes_max;
    let counted = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", limit + 1).into_bytes();
    let chunks = |sizes: String| [post_chunks_head("/", ""), sizes.into_bytes()].concat();
    let (first, second) = (format!("{:x}\r", limit + 1), format!("1\r\nx\r\n{limit:x}\r"));
    for request in [counted, chunks(first), chunks(second)] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&request);
        world.settle();
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, 413);
        assert!(answer.body.contains("65537") && answer.body.contains("65536"), "{}", answer.body);
        // Bytes on their way are discarded so that no reset overtakes the answer, including a hidden request.
        client.write(&hidden());
        world.settle();
        assert!(client.is_at_end() && !client.peer.was_reset());
        assert_eq!(world.counters.http_refusals.read_for(&Refusal::BodyTooLarge { bytes: 0, limit: 0 }), 1);
        assert_eq!(world.counters.http_answers.read(), 0);
    }
}

#[test]
fn chunks_that_are_none_are_refused_and_what_follows_is_not_read() {
    let extras = format!("0;{}", "x".repeat(CHUNK_EXTRAS_BYTES_MAX as usize)).into_bytes();
    for (body, status) in [(&b"5\nhello\r\n"[..], 400), (b"2\r\nhello", 400), (b"0\r\nX y\r\n", 400), (&extras, 431)] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&[&post_chunks_head("/", "")[..], body, &hidden()].concat());
        world.settle();
        assert_eq!(client.statuses(), [status]);
        assert!(client.is_at_end());
        assert_eq!((world.counters.http_refusals.read(), world.counters.http_answers.read()), (1, 0));
    }
}

#[test]
fn the_kept_bytes_of_a_request_never_exceed_the_limits_of_its_head_and_body() {
    let limits = Limits::default();
    let (head_max, body_max) = (limits.head.head_bytes_max, limits.body_bytes_max);
    let mut world = World::with(limits);
    let mut client = world.connect();
    let padding = head_max + body_max - post("/", "X: \r\n", &vec![b'a'; body_max]).len();
    let request = post("/", &format!("X: {}\r\n", "y".repeat(padding)), &vec![b'a'; body_max]);
    assert_eq!(request.len(), head_max + body_max);
    for piece in request[..request.len() - 1].chunks(1_000) {
        client.write(piece);
        world.settle();
        let (_, room) = kept(&world, 0);
        assert!(room <= head_max + body_max, "{room}");
    }
    client.write(&request[request.len() - 1..]);
    world.settle();
    assert_eq!(client.answer().unwrap().body.len(), body_max);
}

#[test]
fn bytes_after_a_body_stay_in_the_socket_until_the_answer_is_sent() {
    const BODY_BYTES: usize = 50_000;
    for way in WAYS {
        let limits = Limits::default();
        let head_bytes_max = limits.head.head_bytes_max;
        let mut world = World::with(limits);
        let client = world.connect();
        client.peer.stop_reading();
        let request = [way("/large", "", &[b'x'; BODY_BYTES]), get("/large", "").repeat(20_000)].concat();
        for piece in request.chunks(10_000) {
            client.write(piece);
            world.turns(2);
            let (bytes, _) = kept(&world, 0);
            assert!(bytes <= BODY_BYTES + head_bytes_max, "{bytes}");
        }
        world.settle();
        assert!(kept(&world, 0).0 <= head_bytes_max);
    }
}

#[test]
fn a_body_that_is_never_whole_is_refused_with_408_when_the_time_is_over() {
    let counted = post("/", "", &[b'a'; 200]);
    let begun = counted[..counted.len() - 100].to_vec();
    for (begun, piece) in [(begun, &b"a"[..]), (post_chunks_head("/", ""), b"1\r\nx\r\n")] {
        let mut world = World::new();
        let mut client = world.connect();
        world.settle();
        client.write(&begun);
        drip_until_time_is_over(&mut world, &mut client, [piece; 50].into_iter());
    }
}

#[test]
fn a_part_of_a_body_and_the_end_of_the_stream_are_answered_with_silence() {
    for (request, head_bytes) in [
        (post("/", "", b"hello"), post("/", "", b"hello").len() - 5),
        (post_in_chunks("/", "", b"hello"), post_chunks_head("/", "").len()),
    ] {
        for end in head_bytes..request.len() {
            let mut world = World::new();
            let mut client = world.connect();
            client.write(&request[..end]);
            client.peer.finish();
            world.settle();
            assert!(client.is_at_end());
            assert_eq!((world.core.sessions(), world.counters.http_answers.read()), (0, 0));
        }
    }
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

/// Returns the heads of requests whose bodies are withheld, and these bodies.
fn held_back(target: &str) -> [(Vec<u8>, &'static [u8]); 2] {
    let expect = "Expect: 100-continue\r\n";
    let counted = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n{expect}\r\n");
    [(counted.into_bytes(), b"hello"), (post_chunks_head(target, expect), b"5\r\nhello\r\n0\r\n\r\n")]
}

#[test]
fn a_body_that_is_held_back_is_asked_for_once_and_then_answered() {
    for (head, body) in held_back("/") {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&get("/before", ""));
        client.write(&head);
        world.settle();
        assert_eq!(client.answer().unwrap().body, "/before");
        assert_eq!(client.bytes(), CONTINUE);
        world.advance(1_000);
        for byte in body {
            assert!(client.hears_nothing());
            client.write(&[*byte]);
            world.settle();
        }
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
        client.write(&head);
        world.settle();
        assert_eq!(client.bytes(), CONTINUE, "and so is the next one");
    }
}

#[test]
fn a_body_that_comes_without_being_asked_for_is_not_asked_for() {
    for (head, body) in held_back("/") {
        let request = [&head[..], body].concat();
        for cut in 0..request.len() {
            let mut world = World::new();
            let mut client = world.connect();
            client.write(&request[..cut]);
            world.settle();
            let heard = client.bytes();
            assert_eq!(heard, if cut == head.len() { CONTINUE } else { b"" }, "cut at {cut}");
            client.write(&request[cut..]);
            world.settle();
            assert_eq!(client.answer().unwrap().body, "hello", "cut at {cut}");
        }
    }
}

#[test]
fn a_body_that_is_held_back_is_refused_unread_if_it_is_of_no_use() {
    for (target, status) in [("/unread", 403), ("/panic-before-body", 500)] {
        for (head, body) in held_back(target) {
            let mut world = World::new();
            let mut client = world.connect();
            client.write(&head);
            world.settle();
            let answer = client.answer().unwrap();
            assert_eq!(answer.status, status);
            assert!(answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
            // The client may send the body anyway, and another request after it.
            client.write(&[body, &hidden()].concat());
            world.settle();
            assert!(client.is_at_end() && !client.peer.was_reset());
        }
    }
}

#[test]
fn nothing_is_asked_for_that_would_be_refused_anyway() {
    let limit = Limits::default().body_bytes_max;
    let large = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n", limit + 1);
    let mut world = World::new();
    let mut client = world.connect();
    client.write(large.as_bytes());
    world.settle();
    assert_eq!(client.statuses(), [413]);
    for (head, _) in held_back("/") {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&head[..head.len() - 1]);
        world.settle();
        world.core.drain();
        world.turns(2);
        client.write(&head[head.len() - 1..]);
        world.settle();
        assert_eq!(client.statuses(), [503]);
        assert!(client.is_at_end());
    }
}

#[test]
fn a_body_that_was_asked_for_and_never_comes_is_refused_with_408() {
    for (head, _) in held_back("/") {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&head);
        world.advance(4_900);
        assert_eq!(client.bytes(), CONTINUE);
        world.advance(200);
        assert_eq!(client.statuses(), [408]);
        assert!(client.is_at_end());
    }
}

#[test]
fn a_refusal_reaches_a_client_that_sends_its_whole_body_before_it_reads() {
    for head in [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n".to_vec(),
        [post_chunks_head("/", ""), b"3938700\r\n".to_vec()].concat(),
    ] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&head);
        for _ in 0..60 {
            client.write(&vec![0; 1_000_000]);
            world.turns(4);
        }
        assert_eq!(client.statuses(), [413]);
        assert!(!client.peer.was_reset());
        assert_eq!(world.counters.input_overruns.read(), 0);
        // The limit is not infinite.
        for _ in 0..10 {
            client.write(&vec![0; 1_000_000]);
            world.turns(4);
        }
        world.settle();
        assert!(client.peer.is_closed_by_server());
        assert_eq!(world.counters.input_overruns.read(), 1);
    }
}
