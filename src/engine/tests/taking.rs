//! Tests of peers that send nothing and read slowly: acknowledged bytes are a sign of life, and nothing else is.

use super::client::{Client, Frame, close, masked, text};
use super::world::World;
use crate::engine::{Limits, SessionId};
use crate::protocol::{CloseCode, Opcode};

/// More bytes than the simulated socket takes, in messages that fit into an outbox.
const MESSAGES: usize = 6;
const MESSAGE_BYTES: usize = 50_000;

/// The bytes that a slow peer reads in a second: it needs a minute to read a full socket.
const TAKEN_PER_SECOND: usize = 2_000;

/// Returns limits with short timeouts, for a test of a minute.
fn hasty() -> Limits {
    Limits {
        ping_interval_ms: 1_000,
        dead_peer_timeout_ms: 3_000,
        send_timeout_ms: 3_000,
        close_timeout_ms: 3_000,
        ..Limits::default()
    }
}

/// Opens a session whose peer stops reading, and sends it so many messages.
fn silent_session(world: &mut World, messages: usize) -> (Client, SessionId) {
    let (client, id) = world.open_session();
    client.peer.stop_reading();
    world.send_to(id, messages, MESSAGE_BYTES);
    world.settle();
    (client, id)
}

/// Makes the peer read its share of so many seconds.
fn take_for(world: &mut World, client: &Client, seconds: usize) {
    for second in 0..seconds {
        client.peer.take(TAKEN_PER_SECOND);
        world.advance(1_000);
        assert!(!client.peer.is_closed_by_server(), "cut off after {second} s");
    }
}

/// Makes the peer read everything.
fn read_all(world: &mut World, client: &mut Client) -> Vec<Frame> {
    client.peer.resume_reading();
    world.settle();
    client.frames()
}

fn messages(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| matches!(frame, Frame::Binary(_))).count()
}

#[test]
fn a_silent_peer_that_takes_what_waits_in_its_socket_is_alive() {
    let mut world = World::with(hasty());
    let (mut client, id) = silent_session(&mut world, 2);
    assert_eq!(world.bytes_held(id), 0, "the server itself sees nothing wait");
    take_for(&mut world, &client, 30);
    let frames = read_all(&mut world, &mut client);
    assert_eq!((messages(&frames), frames.last()), (2, Some(&Frame::Ping(Vec::new()))));
    client.write(&masked(Opcode::Pong, b""));
    world.settle();
    assert!(client.hears_nothing());
}

#[test]
fn a_silent_peer_that_takes_nothing_is_dead_whatever_it_took_before() {
    for seconds in [0, 10] {
        let mut world = World::with(hasty());
        let (client, _) = silent_session(&mut world, 2);
        take_for(&mut world, &client, seconds);
        world.advance(2_900);
        // An acknowledgement is noticed up to a quarter of the time later.
        world.advance(if seconds > 0 { 750 + 150 } else { 150 });
        assert!(client.peer.is_closed_by_server(), "it took for {seconds} s");
        assert_eq!(world.counters.dead_peers.read(), 1);
    }
}

#[test]
fn a_ping_that_arrives_and_is_not_answered_is_no_sign_of_life() {
    let mut world = World::with(hasty());
    let (mut client, _) = world.open_session();
    world.advance(2_950);
    assert_eq!(client.frames(), [Frame::Ping(Vec::new())]);
    assert!(!client.peer.is_closed_by_server());
    world.advance(150);
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn a_subscriber_that_takes_messages_and_answers_no_ping_lives_as_long_as_they_come() {
    let mut world = World::with(hasty());
    let (mut client, id) = world.open_session();
    for _ in 0..20 {
        world.advance(500);
        world.send_to(id, 1, 10);
        assert!(!client.frames().is_empty() && !client.peer.is_closed_by_server());
    }
    world.advance(3_000 + 750 + 150);
    assert!(client.peer.is_closed_by_server());
    assert_eq!(world.counters.dead_peers.read(), 1);
}

#[test]
fn without_pings_too_what_a_peer_takes_is_a_sign_of_life() {
    let mut world = World::with(Limits { ping_interval_ms: 0, ..hasty() });
    let (client, _) = silent_session(&mut world, 2);
    take_for(&mut world, &client, 20);
    world.advance(3_000 + 750 + 150);
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn a_peer_is_not_stalled_while_it_takes_what_the_socket_holds_back() {
    // Linux lets a sender continue only once a third of the socket's buffer is free: 43 KB here, in 21 s.
    let mut world = World::with(Limits { dead_peer_timeout_ms: 0, ..hasty() });
    let (mut client, id) = silent_session(&mut world, MESSAGES);
    let waiting = world.bytes_held(id);
    assert!(waiting > 0);
    take_for(&mut world, &client, 15);
    assert!(world.bytes_held(id) >= waiting, "nothing has left the server itself");
    assert_eq!(messages(&read_all(&mut world, &mut client)), MESSAGES);
    assert_eq!(world.counters.send_timeouts.read(), 0);
}

#[test]
fn a_peer_that_takes_no_more_is_stalled() {
    let mut world = World::with(Limits { dead_peer_timeout_ms: 0, ..hasty() });
    let (client, _) = silent_session(&mut world, MESSAGES);
    take_for(&mut world, &client, 10);
    world.advance(3_000 + 750 + 150);
    assert!(client.peer.is_closed_by_server());
    assert_eq!(world.counters.send_timeouts.read(), 1);
}

#[test]
fn a_close_behind_much_that_is_still_taken_has_the_time_it_needs() {
    for count in [2, MESSAGES] {
        let mut world = World::with(hasty());
        let (mut client, id) = silent_session(&mut world, count);
        world.call(id, |session| session.close(CloseCode::GOING_AWAY, "see you"));
        take_for(&mut world, &client, 15);
        let frames = read_all(&mut world, &mut client);
        assert_eq!((messages(&frames), frames.last()), (count, Some(&close(1001, "see you"))));
        client.close(1001, "");
        world.settle();
        assert!(world.log.last_closed().clean);
    }
}

#[test]
fn a_close_that_is_taken_and_not_answered_is_awaited_no_longer_than_before() {
    let mut world = World::with(hasty());
    let (mut client, id) = world.open_session();
    world.call(id, |session| session.close(CloseCode::GOING_AWAY, "see you"));
    assert_eq!(client.frames(), [close(1001, "see you")]);
    world.advance(2_900);
    assert!(!client.peer.is_closed_by_server());
    world.advance(150);
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn a_close_behind_much_that_nobody_takes_any_more_is_given_up() {
    let mut world = World::with(hasty());
    let (client, id) = silent_session(&mut world, MESSAGES);
    world.call(id, |session| session.close(CloseCode::GOING_AWAY, "see you"));
    take_for(&mut world, &client, 8);
    world.advance(3_000 + 750 + 150);
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn a_peer_that_has_ended_its_stream_has_time_for_what_it_still_takes() {
    let mut world = World::with(hasty());
    let (mut client, _) = silent_session(&mut world, MESSAGES);
    client.peer.finish();
    take_for(&mut world, &client, 15);
    assert_eq!(messages(&read_all(&mut world, &mut client)), MESSAGES);
    assert!(client.is_at_end() && !client.peer.was_reset());
}

#[test]
fn the_last_word_to_a_peer_that_broke_a_rule_has_time_behind_what_it_still_takes() {
    let mut world = World::with(hasty());
    let (mut client, _) = silent_session(&mut world, 2);
    client.write(&masked(Opcode::Text, b"\xFF"));
    take_for(&mut world, &client, 15);
    let frames = read_all(&mut world, &mut client);
    assert!(matches!(frames.last(), Some(Frame::Close(1007, _))), "{:?}", frames.last());
}

#[test]
fn the_answer_to_a_request_has_no_more_time_because_it_is_taken_slowly() {
    let mut world = World::with(hasty());
    let client = world.connect();
    client.peer.stop_reading();
    client.write(&super::client::get("/large", "Connection: close\r\n"));
    for _ in 0..4 {
        client.peer.take(TAKEN_PER_SECOND);
        world.advance(800);
    }
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn draining_gives_nobody_more_than_its_time() {
    let mut world = World::with(Limits { drain_timeout_ms: 10_000, ..hasty() });
    let (client, _) = silent_session(&mut world, MESSAGES);
    world.core.drain();
    take_for(&mut world, &client, 9);
    client.peer.take(TAKEN_PER_SECOND);
    world.advance(1_100);
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn a_ping_of_the_application_that_arrives_is_no_sign_of_life_either() {
    let mut world = World::with(hasty());
    let (mut client, id) = world.open_session();
    client.send("hello");
    let mut alive_ms = 0;
    while !client.peer.is_closed_by_server() {
        world.call(id, |session| session.ping(b"are you there?"));
        let _ = client.frames();
        world.advance(100);
        alive_ms += 100;
    }
    assert!((2_900..3_200).contains(&alive_ms), "{alive_ms}");
}

#[test]
fn bytes_sent_at_the_end_of_a_long_silence_can_still_be_acknowledged() {
    for reads in [true, false] {
        let mut world = World::with(Limits { ping_interval_ms: 0, ..hasty() });
        let (mut client, id) = world.open_session();
        world.advance(2_900);
        client.peer.stop_reading();
        world.send_to(id, 2, MESSAGE_BYTES);
        world.settle();
        if reads {
            assert_eq!(messages(&read_all(&mut world, &mut client)), 2);
            world.advance(2_900);
        } else {
            take_for(&mut world, &client, 10);
        }
        assert!(!client.peer.is_closed_by_server());
        world.advance(3_000 + 750 + 150);
        assert!(client.peer.is_closed_by_server());
    }
}

#[test]
fn a_healthy_session_is_looked_at_once_when_it_becomes_idle() {
    let mut world = World::new();
    let mut client = world.open("/");
    for looks in 1..4 {
        for _ in 0..10 {
            world.advance(25_100);
            assert_eq!(client.frames(), [Frame::Ping(Vec::new())]);
            client.write(&masked(Opcode::Pong, b""));
            world.settle();
        }
        assert_eq!(world.looks(), looks);
        client.send("hello");
        world.settle();
        assert_eq!(client.frames(), [text("hello")]);
    }
}

#[test]
fn a_session_that_speaks_and_is_spoken_to_is_never_looked_at() {
    let mut world = World::new();
    let mut client = world.open("/");
    for _ in 0..60 {
        world.advance(5_000);
        client.send("hello");
        world.settle();
        assert_eq!(client.frames(), [text("hello")]);
    }
    assert_eq!(world.looks(), 0);
}
