//! Tests of input: sizes, fragments, order, fairness, and the answer to each violation.

use super::client::{Frame, close, fragment, get, masked, masked_close, text};
use super::handler::numbered;
use super::world::World;
use crate::engine::Limits;
use crate::protocol::Opcode;

#[test]
fn messages_of_every_size_come_back_as_they_were() {
    let mut world = World::new();
    let mut client = world.open("/");
    let around = |size: usize| size - 2..=size + 2;
    // Lengths at which the encoding changes, a message goes directly to the socket, and replies are flushed.
    let sizes = (0..=3).chain(around(125)).chain(around(8 * 1024)).chain(65_500..=65_536);
    for size in sizes {
        let payload: Vec<u8> = (0..size).map(|at| (at * 7) as u8).collect();
        client.send_binary(&payload);
        world.settle();
        assert!(client.frames() == [Frame::Binary(payload)], "{size} bytes");
    }
}

#[test]
fn messages_above_64_kib_come_back_where_the_limit_allows_them() {
    let mut limits = Limits::default();
    limits.messages.message_bytes_max = 1 << 20;
    let mut world = World::with(limits);
    let mut client = world.open("/");
    for size in [65_537, 300_000, 1 << 20] {
        let payload = numbered(size, size);
        client.send_binary(&payload);
        world.settle();
        assert!(client.frames() == [Frame::Binary(payload)], "{size} bytes");
    }
}

#[test]
fn many_messages_in_one_read_are_answered_in_order() {
    let mut world = World::new();
    let mut client = world.open("/");
    let sizes = [10, 9_000, 20, 8_192, 30_000, 4, 65_000];
    let messages: Vec<_> = sizes.iter().enumerate().map(|(number, bytes)| numbered(number, *bytes)).collect();
    let input: Vec<u8> = messages.iter().flat_map(|message| masked(Opcode::Binary, message)).collect();
    client.write(&input);
    world.settle();
    assert!(client.frames() == messages.into_iter().map(Frame::Binary).collect::<Vec<_>>());
}

#[test]
fn a_message_may_come_in_fragments_with_pings_between_them() {
    let input = [
        fragment(Opcode::Text, false, b"one "),
        masked(Opcode::Ping, b"in between"),
        fragment(Opcode::Continuation, false, b""),
        fragment(Opcode::Continuation, true, b"two"),
    ]
    .concat();
    for cut in 0..input.len() {
        let mut world = World::new();
        let mut client = world.open("/");
        client.write(&input[..cut]);
        world.settle();
        client.write(&input[cut..]);
        world.settle();
        assert_eq!(client.frames(), [Frame::Pong(b"in between".to_vec()), text("one two")], "cut at {cut}");
    }
}

#[test]
fn a_ping_is_answered_and_shown_and_so_is_a_pong() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.ping(b"payload");
    client.write(&masked(Opcode::Pong, b"unasked"));
    client.send("/ping question");
    world.settle();
    assert_eq!(client.frames(), [Frame::Pong(b"payload".to_vec()), Frame::Ping(b"question".to_vec())]);
    assert_eq!(*world.log.pings.borrow(), [b"payload"]);
    assert_eq!(*world.log.pongs.borrow(), [b"unasked"]);
}

#[test]
fn frames_before_a_violation_are_answered_before_it_is() {
    let violations: [(Vec<u8>, u16); 12] = [
        (vec![0xC1, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x81, 0x01, b'a'], 1002),
        (vec![0x09, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x89, 0xFE, 0, 126], 1002),
        (vec![0x82, 0xFE, 0, 1], 1002),
        (vec![0x82, 0xFF, 0x80], 1002),
        (fragment(Opcode::Continuation, true, b"of nothing"), 1002),
        ([fragment(Opcode::Text, false, b"a"), masked(Opcode::Text, b"b")].concat(), 1002),
        (masked(Opcode::Close, b"1"), 1002),
        (masked(Opcode::Text, b"\xFF"), 1007),
        (vec![0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1], 1009),
    ];
    for (bytes, code) in violations {
        let mut world = World::new();
        let mut client = world.open("/");
        client.write(&[masked(Opcode::Text, b"before"), bytes.clone(), masked(Opcode::Text, b"after")].concat());
        world.settle();
        let frames = client.frames();
        assert_eq!(frames.len(), 2, "{bytes:x?}");
        assert_eq!(frames[0], text("before"));
        assert!(matches!(&frames[1], Frame::Close(sent, reason) if *sent == code && !reason.is_empty()), "{frames:?}");
        // The server has ended its output and lets the peer read; it closes the socket once the peer has finished too.
        assert!(client.is_at_end() && !client.peer.is_closed_by_server());
        client.write(b"garbage that is thrown away");
        client.peer.finish();
        world.settle();
        assert!(client.peer.is_closed_by_server() && !client.peer.was_reset());
        assert_eq!(world.log.ends(), [(None, String::new(), false)]);
        assert_eq!(world.counters.violations.read(), 1);
    }
}

#[test]
fn too_many_empty_fragments_in_a_row_are_against_the_policy() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&fragment(Opcode::Text, false, b""));
    (0..64).for_each(|_| client.write(&fragment(Opcode::Continuation, false, b"")));
    world.settle();
    assert!(matches!(client.frames()[..], [Frame::Close(1008, _)]));
}

#[test]
fn a_peer_that_goes_on_sending_after_a_violation_is_cut_off() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&[0xFF]);
    world.settle();
    assert!(client.hears_close(1002));
    client.write(&vec![0; 300 * 1024]);
    world.settle();
    assert!(client.peer.was_reset());
    assert_eq!(world.core.sessions(), 0);
}

#[test]
fn a_peer_that_stays_after_a_violation_is_cut_off_after_five_seconds() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&[0xFF]);
    world.advance(4_950);
    assert!(client.hears_close(1002));
    assert!(!client.peer.is_closed_by_server());
    world.advance(100);
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn a_message_and_the_end_of_the_stream_in_one_read_are_answered() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("the last");
    client.peer.finish();
    world.settle();
    assert_eq!(client.frames(), [text("the last")]);
    assert!(client.is_at_end());
    assert_eq!(world.log.ends(), [(None, String::new(), false)]);
}

#[test]
fn the_end_of_the_stream_amid_a_message_ends_the_session() {
    let mut world = World::new();
    let client = world.open("/");
    client.write(&masked(Opcode::Text, b"half a message")[..9]);
    client.peer.finish();
    world.settle();
    assert!(client.peer.is_closed_by_server());
    assert!(world.log.messages.borrow().is_empty());
}

#[test]
fn a_reset_at_any_byte_leaves_nothing_behind() {
    let input = [
        get(
            "/",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
        masked(Opcode::Text, b"hello"),
        fragment(Opcode::Binary, false, &[7; 300]),
        masked_close(1000, "bye"),
    ];
    let head = input[0].len();
    let input = input.concat();
    for cut in 0..=input.len() {
        let mut world = World::new();
        let client = world.connect();
        client.write(&input[..cut.min(head)]);
        world.settle();
        client.write(&input[cut.min(head)..cut]);
        if cut % 2 == 0 {
            world.settle();
        }
        client.peer.reset();
        world.settle();
        assert_eq!(world.core.sessions(), 0, "reset after {cut} bytes");
        assert_eq!(world.network.open_sockets(), 1);
    }
}

#[test]
fn endless_input_of_one_session_does_not_keep_the_others_waiting() {
    let mut world = World::new();
    let (greedy, mut modest) = (world.open("/"), world.open("/"));
    let burst: Vec<u8> = (0..40_000).flat_map(|_| masked(Opcode::Pong, b"")).collect();
    (0..40).for_each(|_| greedy.write(&burst));
    world.turns(2);
    assert!(greedy.peer.unread() > 0);
    modest.send("me too");
    world.turns(3);
    assert!(greedy.peer.unread() > 0, "the test needs input that is not over yet");
    assert_eq!(modest.frames(), [text("me too")]);
}

#[test]
fn an_interrupted_session_is_read_without_a_further_report() {
    let mut world = World::new();
    let mut client = world.open("/");
    let input: Vec<u8> = (0..30_000).flat_map(|_| masked(Opcode::Pong, &[0; 100])).collect();
    client.write(&input);
    client.send("behind it all");
    world.settle();
    assert_eq!(client.frames(), [text("behind it all")]);
    assert_eq!(world.log.pongs.borrow().len(), 30_000);
}

#[test]
fn pings_of_a_closed_session_are_not_answered() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&[masked_close(1000, ""), masked(Opcode::Ping, b"")].concat());
    world.settle();
    assert_eq!(client.frames(), [close(1000, "")]);
}

#[test]
fn those_who_send_much_are_read_by_turns_and_hold_up_nobody() {
    const MIB: usize = 1 << 20;
    let messages = crate::protocol::MessageLimits { message_bytes_max: 4 * MIB as u64, ..Default::default() };
    let mut world = World::with(Limits { messages, ..Limits::default() });
    let (mut large, ids): (Vec<_>, Vec<_>) = (0..40).map(|_| world.open_session()).unzip();
    let mut small = world.open("/");
    let half = vec![7; 256 * 1024];
    large.iter().for_each(|client| client.write(&fragment(Opcode::Binary, false, &half)));
    small.send("a few bytes");
    let held = |world: &World| -> usize {
        ids.iter().filter_map(|id| world.view().session(*id)).map(|session| session.assembled_bytes()).sum()
    };
    world.turn();
    let mut turns = 0;
    let mut before = held(&world);
    while before < 40 * half.len() {
        world.turn();
        let after = held(&world);
        assert!(after - before <= 2 * MIB + 512 * 1024 + 2 * 40 * 4 * 1024, "{} bytes in a turn", after - before);
        before = after;
        turns += 1;
        assert!(turns < 100);
    }
    assert!(turns > 3, "it took {turns} turns");
    assert_eq!(small.frames(), [text("a few bytes")]);
    large.iter().for_each(|client| client.write(&fragment(Opcode::Continuation, true, b"")));
    world.settle();
    let echoes: usize = large.iter_mut().map(|client| client.frames().len()).sum();
    assert_eq!(echoes, 40);
}
