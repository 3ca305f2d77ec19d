//! Limits that a handler gives to single sessions.

use super::client::{Frame, close, text};
use super::world::World;
use crate::engine::{End, Limits, SESSION_PROFILES_MAX, Sent};
use crate::protocol::deflate::Compression;
use crate::protocol::handshake::Offer;

#[test]
fn a_message_limit_holds_for_its_session_alone() {
    let mut world = World::new();
    let (mut small, mut large, mut usual) =
        (world.open("/limited/100/-/-/-"), world.open("/limited/200000/-/-/-"), world.open("/"));
    let long = "x".repeat(150_000);
    small.send(&"y".repeat(101));
    large.send(&long);
    usual.send(&long);
    world.settle();
    let Frame::Close(code, _) = &small.frames()[0] else { panic!("it is not closed") };
    assert_eq!(*code, 1009);
    assert_eq!(large.frames(), [text(&long)]);
    assert!(matches!(usual.frames()[..], [Frame::Close(1009, _)]));
}

#[test]
fn an_outbox_limit_holds_for_its_session_alone() {
    for (target, dropped) in [("/limited/-/10000/-/-", true), ("/", false)] {
        let mut world = World::with(Limits { outbox_bytes_max: 2_000_000, ..Limits::default() });
        let client = world.open(target);
        client.peer.stop_reading();
        client.send("/flood 40 20000");
        world.settle();
        assert_eq!(world.log.sent.borrow().contains(&Sent::Dropped), dropped, "{target}");
    }
}

#[test]
fn pings_and_silence_are_limited_for_a_session_alone() {
    let mut world = World::new();
    let (mut eager, mut usual) = (world.open("/limited/-/-/1000/3000"), world.open("/"));
    world.advance(1_200);
    assert_eq!(eager.frames(), [Frame::Ping(Vec::new())]);
    assert!(usual.hears_nothing());
    world.advance(2_500);
    assert_eq!(world.counters.closed.read_for(&End::DeadPeer), 1);
    assert!(usual.hears_nothing());
}

#[test]
fn a_session_may_do_without_the_servers_compression() {
    let limits = Limits { compression: Some(Compression::default()), ..Limits::default() };
    for (target, compressed) in [("/limited/-/-/-/-?plain", false), ("/limited/-/-/-/-", true)] {
        let mut world = World::with(limits.clone());
        let mut client = world.connect();
        client.offer(Offer::new(&Compression::default()));
        client.ask(target, &[]);
        world.settle();
        assert!(client.is_accepted());
        assert_eq!(client.is_compressed(), compressed, "{target}");
    }
}

#[test]
fn limits_that_contradict_each_other_or_are_too_many_are_the_handlers_fault() {
    let mut world = World::new();
    let mut client = world.connect();
    client.ask("/limited/-/-/5000/4000", &[]);
    world.settle();
    assert_eq!(client.statuses(), [500]);
    let clients: Vec<_> =
        (1..=SESSION_PROFILES_MAX).map(|bytes| world.open(&format!("/limited/{bytes}/-/-/-"))).collect();
    let mut one_more = world.connect();
    one_more.ask("/limited/9999/-/-/-", &[]);
    world.settle();
    assert_eq!(one_more.statuses(), [500]);
    // Equal limits are shared, and limits that no session has any more make room.
    world.open("/limited/1/-/-/-");
    clients[4].peer.reset();
    world.settle();
    let mut another = world.open("/limited/9999/-/-/-");
    another.send("hello");
    another.close(1000, "");
    world.settle();
    assert_eq!(another.frames(), [text("hello"), close(1000, "")]);
}
