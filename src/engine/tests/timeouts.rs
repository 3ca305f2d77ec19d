//! Tests of silence, slow messages and stalled sends: when each timeout expires, and what extends it.

use super::client::{Frame, fragment, masked, text};
use super::world::World;
use crate::engine::Limits;
use crate::protocol::Opcode;

#[test]
fn a_silent_peer_is_pinged_after_25_seconds_and_dead_after_60() {
    let mut world = World::new();
    let mut client = world.open("/");
    world.advance(24_950);
    assert!(client.hears_nothing());
    world.advance(100);
    assert_eq!(client.frames(), [Frame::Ping(Vec::new())]);
    world.advance(34_850);
    assert!(client.hears_nothing(), "one ping is enough");
    world.advance(150);
    assert!(client.peer.is_closed_by_server());
    assert_eq!(world.counters.dead_peers.read(), 1);
    assert_eq!(world.counters.pings_sent.read(), 1);
    assert_eq!(world.log.ends(), [(None, String::new(), false)]);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut world = World::new();
    let mut client = world.open("/");
    let input = masked(Opcode::Text, b"slow");
    for byte in input {
        world.advance(2_400);
        client.write(&[byte]);
    }
    world.settle();
    assert_eq!(client.frames(), [text("slow")]);
    world.advance(24_900);
    assert!(client.hears_nothing());
    world.advance(150);
    assert_eq!(client.frames(), [Frame::Ping(Vec::new())]);
    client.write(&masked(Opcode::Pong, b""));
    world.advance(24_900);
    assert!(client.hears_nothing());
    world.advance(150);
    assert_eq!(client.frames(), [Frame::Ping(Vec::new())], "after a sign of life another ping is due");
}

#[test]
fn input_that_arrived_in_time_counts_even_if_it_was_not_reported_yet() {
    // Time passes in one step, as if the core had not run; its events are reported after the next turn only.
    let mut world = World::new();
    let (mut alive, mut slow, mut closing) = (world.open("/"), world.open("/"), world.open("/"));
    let (mut asking, mut silent) = (world.connect(), world.connect());
    slow.write(&fragment(Opcode::Text, false, b"in "));
    closing.send("/close 4000 done");
    world.settle();
    assert!(closing.hears_close(4000));
    world.skip(70_000);
    alive.write(&masked(Opcode::Pong, b""));
    slow.write(&fragment(Opcode::Continuation, true, b"time"));
    closing.close(4000, "");
    asking.ask("/", &[]);
    world.turn();
    world.settle();
    alive.send("alive");
    world.settle();
    assert_eq!(alive.frames(), [text("alive")]);
    assert_eq!(slow.frames(), [text("in time")]);
    assert!(asking.is_accepted(), "the request was there in time");
    assert!(silent.is_at_end(), "one that asked for nothing is not waited for");
    let counters = &world.counters;
    let gave_up = [&counters.dead_peers, &counters.close_timeouts, &counters.handshake_timeouts];
    assert_eq!(gave_up.map(|counter| counter.read()), [0, 0, 1]);
}

#[test]
fn without_timeouts_a_silent_peer_stays() {
    let mut world = World::with(Limits { ping_interval_ms: 0, dead_peer_timeout_ms: 0, ..Limits::default() });
    let mut client = world.open("/");
    world.advance(24 * 3600 * 1000);
    assert!(client.hears_nothing());
    client.send("still here");
    world.settle();
    assert_eq!(client.frames(), [text("still here")]);
}

#[test]
fn a_message_that_takes_more_than_30_seconds_is_against_the_policy() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&fragment(Opcode::Binary, false, b"the first"));
    for _ in 0..299 {
        world.advance(100);
        client.write(&fragment(Opcode::Continuation, false, b"."));
    }
    assert!(client.hears_nothing(), "at {} ms", world.now_ms());
    world.advance(150);
    assert!(client.hears_close(1008));
    assert!(client.is_at_end());
    assert_eq!(world.counters.violations.read(), 1);
}

#[test]
fn a_message_that_stalls_is_against_the_policy_whatever_it_stopped_at() {
    let input = [fragment(Opcode::Binary, false, b"ab"), fragment(Opcode::Continuation, true, b"cd")].concat();
    for cut in 1..input.len() {
        let mut world = World::with(Limits { ping_interval_ms: 0, dead_peer_timeout_ms: 0, ..Limits::default() });
        let mut client = world.open("/");
        client.write(&input[..cut]);
        world.advance(29_950);
        assert!(client.hears_nothing(), "cut at {cut}");
        world.advance(150);
        assert!(client.hears_close(1008), "cut at {cut}");
    }
}

#[test]
fn each_message_has_a_time_of_its_own() {
    let mut world = World::new();
    let mut client = world.open("/");
    for _ in 0..4 {
        client.write(&fragment(Opcode::Text, false, b"in "));
        world.advance(20_000);
        client.write(&fragment(Opcode::Continuation, true, b"time"));
        world.settle();
        assert_eq!(client.frames(), [text("in time")]);
    }
}

/// Returns limits under which only a stalled send matters.
fn patient() -> Limits {
    Limits { ping_interval_ms: 0, dead_peer_timeout_ms: 0, ..Limits::default() }
}

#[test]
fn a_peer_that_stops_reading_is_cut_off_after_10_seconds() {
    for limits in [Limits::default(), patient()] {
        let mut world = World::with(limits);
        let client = world.open("/");
        client.peer.stop_reading();
        client.send("/flood 10 50000");
        world.advance(9_950);
        assert!(!client.peer.is_closed_by_server());
        world.advance(150);
        assert!(client.peer.is_closed_by_server());
        assert_eq!(world.counters.send_timeouts.read(), 1);
        assert_eq!(world.log.ends(), [(None, String::new(), false)]);
    }
}

#[test]
fn a_peer_that_reads_now_and_then_is_not_cut_off() {
    let mut world = World::with(patient());
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 10 50000");
    let mut received = 0;
    for _ in 0..3 {
        world.advance(9_500);
        assert!(!client.peer.is_closed_by_server());
        client.peer.resume_reading();
        received += client.frames().len();
        client.peer.stop_reading();
    }
    assert!(received > 0);
    // The ten seconds count from when bytes were last sent.
    world.advance(9_500);
    client.peer.resume_reading();
    world.settle();
    received += client.frames().len();
    let sent = world.counters.messages_sent.read() as usize;
    assert_eq!((received, world.counters.send_timeouts.read()), (sent, 0));
}

#[test]
fn a_paused_peer_is_not_taken_for_dead() {
    let mut world = World::new();
    let (mut client, id) = world.open_session();
    client.send("/pause");
    client.send("unread");
    world.advance(300_000);
    assert!(!client.peer.is_closed_by_server());
    world.resume(id);
    world.settle();
    assert!(client.frames().contains(&text("unread")));
}

#[test]
fn a_message_is_given_time_while_backpressure_keeps_it_from_being_read() {
    let mut world = World::with(patient());
    let (client, id) = world.open_session();
    client.write(&fragment(Opcode::Text, false, b"begun "));
    world.settle();
    client.peer.stop_reading();
    for _ in 0..8 {
        world.send_to(id, 6, 65_000);
        // The peer reads enough to be spared, and too little to be read from for long.
        world.advance(5_000);
        client.peer.resume_reading();
        let _ = client.peer.read();
        client.peer.stop_reading();
        world.turns(2);
    }
    client.peer.resume_reading();
    world.settle();
    let _ = client.peer.read();
    client.write(&fragment(Opcode::Continuation, true, b"and ended"));
    world.settle();
    assert_eq!(*world.log.messages.borrow(), [(id, b"begun and ended".to_vec())]);
}

#[test]
fn an_unread_message_is_timed_again_once_input_is_read_again() {
    let mut world = World::with(patient());
    let (mut client, id) = world.open_session();
    client.write(&fragment(Opcode::Text, false, b"begun"));
    world.settle();
    world.call(id, |session| session.pause());
    world.advance(40_000);
    assert!(client.hears_nothing());
    world.resume(id);
    world.advance(31_000);
    assert!(client.hears_close(1008));
}

#[test]
fn timeouts_are_kept_when_the_core_was_kept_from_running() {
    let mut world = World::new();
    let (mut silent, mut asking) = (world.open("/"), world.connect());
    world.settle();
    world.skip(200_000);
    world.settle();
    assert!(asking.is_at_end());
    assert!(silent.hears_nothing() || silent.frames() == [Frame::Ping(Vec::new())]);
    world.advance(60_050);
    assert!(silent.peer.is_closed_by_server());
}
