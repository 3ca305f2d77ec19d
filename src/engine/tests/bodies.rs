//! Bodies that come in chunks, and bodies that are held back until they are asked for.

use super::client::{CONTINUE, Client, get, post, post_chunks, post_chunks_head};
use super::world::World;
use crate::engine::Limits;
use crate::protocol::http::{CHUNK_EXTRAS_BYTES_MAX, Refusal};

/// A request that is hidden in a body: it is the body, and is never answered.
fn hidden() -> Vec<u8> {
    get("/hidden", "")
}

fn bodies(client: &mut Client) -> Vec<String> {
    std::iter::from_fn(|| client.answer()).map(|answer| answer.body).collect()
}

/// Of the request at hand: bytes that are kept of it, and the room for them.
fn kept(world: &mut World, index: u32) -> (usize, usize) {
    let sessions = &mut world.core.sessions;
    let slot = sessions.token_at(index).and_then(|token| sessions.get_mut(token));
    let backlog = slot.and_then(|slot| slot.backlog.as_ref());
    backlog.map_or((0, 0), |backlog| (backlog.bytes.len(), backlog.bytes.capacity()))
}

#[test]
fn a_body_in_chunks_is_read_and_what_follows_it_is_the_next_request_however_they_are_cut() {
    let hidden = hidden();
    let (first, rest) = hidden.split_at(7);
    let input = [
        post_chunks("/one", "", [first, rest]),
        get("/two", ""),
        post_chunks("/three", "", []),
        post("/four", "", b"counted"),
        post_chunks("/five", "Connection: close\r\n", [&b"the last"[..], b" body"]),
        get("/six", ""),
    ]
    .concat();
    let due = [std::str::from_utf8(&hidden).unwrap(), "/two", "/three", "counted", "the last body"];
    for cut in 0..input.len() {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&input[..cut]);
        world.settle();
        client.write(&input[cut..]);
        world.settle();
        assert_eq!(bodies(&mut client), due, "cut at {cut}");
        assert!(client.is_at_end());
        assert_eq!(world.counters.http_answers.read(), 5);
    }
}

#[test]
fn chunks_that_come_byte_by_byte_are_read_like_others() {
    let mut world = World::new();
    let mut client = world.connect();
    let trailer =
        [&post_chunks_head("/two", "Trailer: X\r\n")[..], b"2;a=\"b\"\r\nhi\r\n000\r\nX: y\r\nZ:\r\n\r\n"].concat();
    for byte in [post_chunks("/one", "", [&hidden()[..]]), trailer, get("/three", "")].concat() {
        client.write(&[byte]);
        world.turns(2);
    }
    world.settle();
    assert_eq!(bodies(&mut client), [String::from_utf8(hidden()).unwrap(), "hi".to_owned(), "/three".to_owned()]);
    assert!(client.hears_nothing());
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
        let (bytes, room) = kept(&mut world, 0);
        assert!(room <= head_bytes + limit, "{room} for {bytes} bytes");
    }
    world.settle();
    assert_eq!(kept(&mut world, 0).0, head_bytes + limit, "nothing is kept but head and data");
    client.write(&[*last]);
    world.settle();
    assert_eq!(client.answer().unwrap().body.len(), limit);
    assert_eq!(kept(&mut world, 0), (0, 0));
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
fn chunks_above_the_limit_are_refused_as_soon_as_a_size_says_so() {
    let limit = Limits::default().body_bytes_max;
    let above = format!("{:x}\r", limit + 1).into_bytes();
    let second = [&b"1\r\nx\r\n"[..], format!("{limit:x}\r").as_bytes()].concat();
    for body in [above, second] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&[post_chunks_head("/", ""), body].concat());
        world.settle();
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, 413);
        assert!(answer.body.contains("65537") && answer.body.contains("65536"), "{}", answer.body);
        client.write(&hidden());
        world.settle();
        assert!(client.is_at_end() && !client.peer.was_reset());
        assert_eq!(world.counters.http_refusals.read_for(&Refusal::BodyTooLarge { bytes: 0, limit: 0 }), 1);
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
fn what_follows_a_body_in_chunks_is_left_in_the_socket_until_the_answer_has_gone() {
    let limits = Limits::default();
    let head_bytes_max = limits.head.head_bytes_max;
    let mut world = World::with(limits);
    let client = world.connect();
    client.peer.stop_reading();
    let request = [post_chunks("/large", "", [&[b'x'; 50_000][..]]), get("/large", "").repeat(20_000)].concat();
    for piece in request.chunks(10_000) {
        client.write(piece);
        world.turns(2);
        let (bytes, _) = kept(&mut world, 0);
        assert!(bytes <= 50_000 + head_bytes_max, "{bytes}");
    }
    world.settle();
    assert!(world.bytes_in_slot(0).1 <= head_bytes_max);
}

#[test]
fn a_body_in_chunks_that_is_never_whole_is_refused_with_408_when_the_time_is_over() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&post_chunks_head("/", ""));
    for _ in 0..49 {
        client.write(b"1\r\nx\r\n");
        world.advance(100);
        assert!(client.hears_nothing(), "at {} ms", world.now_ms());
    }
    client.write(b"1\r\nx\r\n");
    world.advance(200);
    assert_eq!(client.statuses(), [408]);
    assert!(client.is_at_end());
}

#[test]
fn half_a_chunk_and_the_end_of_the_stream_are_answered_with_silence() {
    for cut in [1, 2, 6, 8] {
        let mut world = World::new();
        let mut client = world.connect();
        let request = post_chunks("/", "", [&b"hello"[..]]);
        client.write(&request[..request.len() - cut]);
        client.peer.finish();
        world.settle();
        assert!(client.is_at_end());
        assert_eq!((world.core.sessions(), world.counters.http_answers.read()), (0, 0));
    }
}

/// Heads of requests whose bodies are held back, and these bodies.
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
            // The client may send it all the same, and a request behind it.
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
        // Not without end.
        for _ in 0..10 {
            client.write(&vec![0; 1_000_000]);
            world.turns(4);
        }
        world.settle();
        assert!(client.peer.is_closed_by_server());
        assert_eq!(world.counters.input_overruns.read(), 1);
    }
}
