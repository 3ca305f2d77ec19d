//! Tests of limits that a reload replaces while sessions are open.

use super::client::{Frame, close, compressed_fragment, text};
use super::world::{World, open_offering};
use crate::engine::Limits;
use crate::protocol::deflate::Compression;
use crate::protocol::{MessageLimits, Opcode};

/// Sessions of a test in which one turn cannot check all.
const MANY: usize = 2_500;

fn of_messages(message_bytes_max: u64) -> Limits {
    Limits { messages: MessageLimits { message_bytes_max, ..MessageLimits::default() }, ..Limits::default() }
}

fn of_silence(ping_interval_ms: u64, dead_peer_timeout_ms: u64) -> Limits {
    Limits { ping_interval_ms, dead_peer_timeout_ms, ..Limits::default() }
}

fn of_compression(level: Option<u8>) -> Limits {
    let compression = level.map(|level| Compression { level, context_takeover: true, ..Compression::default() });
    Limits { compression, ..Limits::default() }
}

#[test]
fn new_limits_hold_for_open_sessions_and_for_later_ones() {
    let mut world = World::new();
    let mut clients = vec![world.open("/")];
    world.limits.replace(of_messages(10));
    world.settle();
    clients.push(world.open("/"));
    for client in &mut clients {
        client.send("0123456789");
        world.settle();
        assert_eq!(client.frames(), [text("0123456789")]);
        client.send("0123456789a");
        world.settle();
        assert!(client.hears_close(1009));
    }
}

#[test]
fn a_session_keeps_the_limits_that_its_handler_gave_it() {
    let mut world = World::new();
    let mut own = world.open("/limited/100/-/-/-");
    world.limits.replace(of_messages(10));
    world.settle();
    own.send(&"a".repeat(100));
    world.settle();
    assert_eq!(own.frames(), [text(&"a".repeat(100))]);
}

#[test]
fn idle_sessions_are_pinged_by_the_new_interval_however_late_they_were_to_be_checked() {
    for former_ms in [0, 3_600_000] {
        let mut world = World::with(of_silence(former_ms, 0));
        let mut clients: Vec<_> = (0..3).map(|_| world.open("/")).collect();
        world.advance(1_000);
        world.limits.replace(of_silence(2_000, 0));
        world.advance(900);
        assert!(clients.iter_mut().all(|client| client.hears_nothing()), "{former_ms}");
        world.advance(150);
        for client in &mut clients {
            assert_eq!(client.frames(), [Frame::Ping(Vec::new())], "{former_ms}");
        }
    }
}

#[test]
fn a_new_timeout_ends_those_that_were_silent_for_longer_and_nobody_else() {
    let mut world = World::with(of_silence(0, 0));
    let mut silent = world.open("/");
    world.advance(10_000);
    let mut recent = world.open("/");
    world.limits.replace(of_silence(0, 5_000));
    // At first the core asks whether the peer has acknowledged bytes, and gives it the whole time to.
    for _ in 0..6 {
        world.advance(1_000);
        recent.send("hello");
        world.settle();
        assert_eq!(recent.frames(), [text("hello")]);
    }
    assert!(silent.peer.is_closed_by_server() && silent.frames().is_empty());
    assert_eq!(world.counters.dead_peers.read(), 1);
}

#[test]
fn a_reload_checks_no_more_sessions_in_a_turn_than_timers_do() {
    let mut world = World::with(of_silence(0, 0));
    let mut clients: Vec<_> = (0..MANY).map(|_| world.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask("/", &[]));
    world.settle();
    world.advance(10_000);
    world.limits.replace(of_silence(1_000, 0));
    let mut before = 0;
    for turn in 0..MANY.div_ceil(1024) {
        world.turn();
        let pinged = world.counters.pings_sent.read();
        assert!(pinged > before && pinged - before <= 1024, "{pinged} after turn {turn}");
        before = pinged;
    }
    assert_eq!(before, MANY as u64);
}

#[test]
fn sessions_keep_the_compression_that_they_agreed_on_and_later_ones_agree_anew() {
    let message = "{\"as\": \"JSON\"}, ".repeat(100);
    let mut world = World::with(of_compression(Some(1)));
    let mut clients = vec![open_offering(&mut world, true), open_offering(&mut world, false)];
    for level in [None, Some(9), None, Some(1)] {
        world.limits.replace(of_compression(level));
        world.settle();
        let mut later = open_offering(&mut world, true);
        assert_eq!(later.is_compressed(), level.is_some());
        let before = world.counters.messages_compressed.read();
        for client in &mut clients {
            assert!(client.is_compressed());
            let compressed = client.compress(message.as_bytes()).unwrap();
            client.write(&compressed_fragment(Opcode::Text, true, &compressed));
            world.settle();
            assert_eq!(client.frames(), [text(&message)], "level {level:?}");
        }
        later.send(&message);
        world.settle();
        assert_eq!(later.frames(), [text(&message)]);
        let expected = 2 + u64::from(level.is_some());
        assert_eq!(world.counters.messages_compressed.read() - before, expected, "level {level:?}");
    }
}

#[test]
fn a_topics_subscribers_are_served_across_reloads_whatever_they_agreed_on() {
    let mut world = World::new();
    let mut clients = vec![open_offering(&mut world, false)];
    for level in [Some(1), None, Some(9)] {
        world.limits.replace(of_compression(level));
        world.settle();
        clients.push(open_offering(&mut world, true));
    }
    clients.iter().for_each(|client| client.send("/join news"));
    world.settle();
    clients.iter_mut().for_each(|client| drop(client.frames()));
    let message = "news ".repeat(100);
    for level in [None, Some(1)] {
        world.limits.replace(of_compression(level));
        world.settle();
        clients[0].send(&format!("/publish news {message}"));
        world.settle();
        for client in &mut clients {
            assert!(client.frames().contains(&text(&message)), "level {level:?}");
        }
    }
}

#[test]
fn a_smaller_outbox_holds_at_once_and_what_waits_still_arrives() {
    let mut world = World::with(Limits { outbox_bytes_max: 4_000_000, ..Limits::default() });
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 100 20000");
    world.settle();
    let dropped = world.counters.messages_dropped.read();
    world.limits.replace(Limits { outbox_bytes_max: 1_024, ..Limits::default() });
    world.settle();
    client.peer.resume_reading();
    world.settle();
    assert_eq!((client.frames().len(), world.counters.messages_dropped.read()), (100, dropped));
}

#[test]
fn a_core_that_drains_keeps_its_limits() {
    let mut world = World::with(Limits { drain_delay_ms: 1_000, ..Limits::default() });
    let mut client = world.open("/");
    world.core.drain();
    world.settle();
    world.limits.replace(Limits { drain_delay_ms: 60_000, drain_spread_ms: 60_000, ..of_messages(1) });
    client.send("hello");
    world.settle();
    assert_eq!(client.frames(), [text("hello")]);
    world.advance(1_100);
    assert_eq!(client.frames(), [close(1001, "The server is shutting down.")]);
}
