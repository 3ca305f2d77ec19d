//! Tests of backpressure: a peer that does not read delays only itself, and its output is bounded, ordered and
//! complete.

use super::client::{Frame, close, masked, text};
use super::handler::numbered;
use super::world::World;
use crate::engine::{Limits, Sent};
use crate::protocol::Opcode;

const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// The limit of one read, in bytes.
const READ_BYTES: usize = 256 * 1024;

#[test]
fn while_too_much_waits_input_is_not_read_and_everything_arrives_in_order() {
    let mut world = World::new();
    let (mut client, id) = world.open_session();
    client.peer.stop_reading();
    let messages: Vec<_> = (0..100).map(|number| numbered(number, 40_000)).collect();
    messages.iter().for_each(|message| client.send_binary(message));
    for _ in 0..200 {
        world.turn();
        let held = world.bytes_held(id);
        assert!(held <= OUTBOX_BYTES_MAX + 40_014 + READ_BYTES, "{held} bytes are held");
    }
    assert!(client.peer.unread() > 1_000_000, "the rest stays with the peer");
    client.peer.resume_reading();
    world.settle();
    let frames = client.frames();
    assert_eq!((frames.len(), client.peer.unread()), (100, 0));
    assert!(frames == messages.into_iter().map(Frame::Binary).collect::<Vec<_>>());
    assert!(world.log.sent.borrow().iter().all(|sent| *sent != Sent::Dropped), "an echo is never dropped");
}

#[test]
fn too_much_is_first_told_and_then_dropped_and_relief_is_told_once() {
    for limits in [Limits::default(), Limits { outbox_bytes_max: 20_000, ..Limits::default() }] {
        let max = limits.outbox_bytes_max;
        let mut world = World::with(limits);
        let (mut client, id) = world.open_session();
        client.peer.stop_reading();
        client.send("/flood 50 30000");
        world.settle();
        let sent = world.log.sent.borrow().clone();
        let queued = sent.iter().filter(|sent| **sent == Sent::Queued).count();
        assert!(queued > 0);
        assert_eq!(sent[queued], Sent::Backpressure);
        assert!(sent[queued + 1..].iter().all(|sent| *sent == Sent::Dropped));
        assert!(world.bytes_held(id) <= max + 30_010);
        assert_eq!(world.counters.messages_dropped.read() as usize, 50 - queued - 1);
        assert_eq!(world.log.drained.borrow().len(), 0);
        client.peer.resume_reading();
        world.settle();
        let expected: Vec<_> = (0..=queued).map(|number| Frame::Binary(numbered(number, 30_000))).collect();
        assert!(client.frames() == expected);
        let drained = world.log.drained.borrow().clone();
        assert_eq!(drained.len(), 1);
        assert!(drained[0].0 == id && drained[0].1 <= max / 2);
    }
}

#[test]
fn bytes_in_the_socket_do_not_count_as_waiting() {
    let mut world = World::with(Limits { outbox_bytes_max: 1_000, ..Limits::default() });
    let mut client = world.open("/");
    client.send("/flood 60 900");
    world.settle();
    assert_eq!(client.frames().len(), 60);
    assert_eq!(*world.log.sent.borrow(), [Sent::Queued; 60]);
}

#[test]
fn one_message_may_exceed_the_limit() {
    let mut world = World::with(Limits { outbox_bytes_max: 1_000, ..Limits::default() });
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 3 200000");
    world.settle();
    assert_eq!(*world.log.sent.borrow(), [Sent::Backpressure, Sent::Dropped, Sent::Dropped]);
    client.peer.resume_reading();
    world.settle();
    assert!(client.frames() == [Frame::Binary(numbered(0, 200_000))]);
}

#[test]
fn a_handler_told_of_backpressure_is_told_of_its_end() {
    for bytes in [500, 5_000, 50_000, 200_000] {
        let mut world = World::with(Limits { outbox_bytes_max: 1_000, ..Limits::default() });
        let client = world.open("/");
        client.peer.stop_reading();
        client.send(&format!("/flood 300 {bytes}"));
        world.settle();
        client.peer.resume_reading();
        world.settle();
        let told = world.log.sent.borrow().iter().any(|sent| *sent != Sent::Queued);
        assert_eq!(world.log.drained.borrow().len(), usize::from(told), "{bytes} bytes each");
    }
}

#[test]
fn a_paused_session_loses_nothing_of_what_came_before_or_after() {
    let frames: Vec<Vec<u8>> =
        (0..1_000).map(|number| masked(Opcode::Text, format!("message {number}").as_bytes())).collect();
    for pause_at in [0, 1, 500, 999] {
        let mut world = World::new();
        let (mut client, id) = world.open_session();
        let (before, after) = frames.split_at(pause_at);
        client.write(&[before.concat(), masked(Opcode::Text, b"/pause"), after.concat()].concat());
        world.settle();
        client.send("later");
        world.settle();
        assert_eq!(client.frames().len(), pause_at);
        world.resume(id);
        world.settle();
        let expected: Vec<_> =
            (pause_at..1_000).map(|number| text(&format!("message {number}"))).chain([text("later")]).collect();
        assert_eq!(client.frames(), expected);
    }
}

#[test]
fn a_session_may_be_paused_time_and_again_within_one_read() {
    let mut world = World::new();
    let (mut client, id) = world.open_session();
    let input: Vec<u8> = (0..50)
        .flat_map(|number| [masked(Opcode::Text, b"/pause"), masked(Opcode::Text, format!("{number}").as_bytes())])
        .flatten()
        .collect();
    client.write(&input);
    for number in 0..50 {
        world.settle();
        world.resume(id);
        world.settle();
        assert_eq!(client.frames(), [text(&number.to_string())]);
    }
}

#[test]
fn unconsumed_input_is_not_moved_however_often_a_session_is_paused() {
    let mut world = World::new();
    let (client, id) = world.open_session();
    client.write(&masked(Opcode::Text, b"/pause").repeat(60));
    world.settle();
    let mut places = Vec::new();
    while let Some(place) = world.view().session(id).and_then(|session| session.unconsumed_place()) {
        places.push(place);
        world.resume(id);
        world.settle();
    }
    assert_eq!(places.len(), 59);
    places.dedup();
    assert_eq!(places.len(), 1, "it was copied");
}

#[test]
fn a_paused_session_holds_at_most_one_read() {
    let mut world = World::new();
    let (mut client, id) = world.open_session();
    client.send("/pause");
    (0..100).for_each(|_| client.send_binary(&[0; 60_000]));
    world.settle();
    assert!(world.bytes_held(id) <= READ_BYTES);
    world.resume(id);
    world.settle();
    assert_eq!(client.frames().len(), 100);
}

#[test]
fn the_end_of_the_stream_waits_behind_a_pause() {
    let mut world = World::new();
    let (mut client, id) = world.open_session();
    client.write(&[masked(Opcode::Text, b"/pause"), masked(Opcode::Text, b"still there")].concat());
    client.peer.finish();
    world.settle();
    assert!(client.hears_nothing());
    world.resume(id);
    world.settle();
    assert_eq!(client.frames(), [text("still there")]);
    assert!(client.is_at_end());
}

#[test]
fn a_flood_of_pings_from_a_peer_that_does_not_read_costs_a_few_pongs() {
    let mut world = World::new();
    let (mut client, id) = world.open_session();
    client.peer.stop_reading();
    // Fills the socket, and leaves something in the outbox.
    client.send("/flood 3 50000");
    world.settle();
    let before = world.bytes_held(id);
    assert!(before > 0);
    for number in 0..10_000u32 {
        client.ping(&number.to_be_bytes());
    }
    world.settle();
    let pong_bytes = 2 + 4;
    assert!(world.bytes_held(id) <= before + 17 * pong_bytes);
    client.peer.resume_reading();
    world.settle();
    let frames = client.frames();
    let expected = (0..16).chain([9_999u32]).map(|number| Frame::Pong(number.to_be_bytes().to_vec()));
    assert_eq!(frames[3..], expected.collect::<Vec<_>>());
    assert_eq!(world.counters.pongs_coalesced.read(), 10_000 - 17);
}

#[test]
fn a_flood_of_pings_that_one_read_brought_costs_a_few_kilobytes_of_pongs() {
    let mut world = World::new();
    let (client, id) = world.open_session();
    client.peer.stop_reading();
    client.send("/flood 1 30000");
    world.settle();
    assert_eq!(world.bytes_held(id), 0, "there is room in the socket");
    for number in 0..2_000u32 {
        client.ping(&[number as u8; 100]);
    }
    world.settle();
    let pong_bytes = 2 + 100;
    // The rest of the first read is in flight, with the pongs of that turn; the outbox waits behind it.
    let bound = 4 * 1024 + pong_bytes + 2 * 17 * pong_bytes;
    assert!(world.bytes_held(id) <= bound, "{} bytes are held", world.bytes_held(id));
}

#[test]
fn pongs_keep_their_place_among_messages() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 3 50000");
    world.settle();
    client.send("one");
    client.ping(b"two");
    client.send("three");
    world.settle();
    client.peer.resume_reading();
    world.settle();
    assert_eq!(client.frames()[3..], [text("one"), Frame::Pong(b"two".to_vec()), text("three")]);
}

#[test]
fn no_pong_follows_the_close_frame_however_many_pings_came_before_it() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 3 60000");
    world.settle();
    (0..100).for_each(|_| client.ping(b"again"));
    client.close(1000, "");
    world.settle();
    client.peer.resume_reading();
    world.settle();
    let frames = client.frames();
    assert_eq!(frames.last(), Some(&close(1000, "")), "{} frames", frames.len());
    assert!(frames.contains(&Frame::Pong(b"again".to_vec())));
}
