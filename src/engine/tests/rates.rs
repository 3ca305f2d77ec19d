//! Tests of rates: a session that publishes above its rate is read more slowly, loses nothing, and is closed only if it
//! goes on.

use super::client::{Client, Frame, fragment, text};
use super::world::World;
use crate::engine::{Limits, SenderRates, TopicError};
use crate::protocol::Opcode;

/// A rate of messages with a burst of a second.
fn of_messages(messages_per_second: u32) -> Limits {
    let session_rates = SenderRates { messages_per_second, ..SenderRates::default() };
    Limits { session_rates, rate_burst_ms: 1_000, rate_patience_ms: 600_000, ..Limits::default() }
}

fn publish_many(client: &Client, count: usize) {
    (0..count).for_each(|number| client.send(&format!("/publish news {number}")));
}

fn published(world: &World) -> u64 {
    world.counters.messages_published.read()
}

/// Asserts that so many units have passed in this time from the start, with a tick's delay.
fn assert_passed(count: u64, rate: u64, burst: u64, time_ms: u64) {
    let at_most = rate * time_ms / 1_000 + burst + 1;
    let at_least = (rate * time_ms.saturating_sub(50) / 1_000 + burst).saturating_sub(1);
    assert!((at_least..=at_most).contains(&count), "{count} after {time_ms} ms, not {at_least} to {at_most}");
}

#[test]
fn a_session_above_its_rate_passes_exactly_rate_times_time_and_the_burst_and_loses_nothing() {
    for rate in [1, 3, 10, 100, 333] {
        let mut world = World::with(of_messages(rate));
        let (mut subscriber, publisher) = (world.open("/"), world.open("/"));
        subscriber.send("/join news");
        world.settle();
        subscriber.frames();
        let count = rate as usize * 21;
        publish_many(&publisher, count);
        world.settle();
        for second in 0..20 {
            assert_passed(published(&world), rate.into(), rate.into(), second * 1_000);
            world.advance(1_000);
        }
        world.advance(1_000);
        let expected: Vec<Frame> = (0..count).map(|number| text(&number.to_string())).collect();
        let messages = subscriber.frames().into_iter().filter(|frame| matches!(frame, Frame::Text(_)));
        assert_eq!(messages.collect::<Vec<_>>(), expected, "in order, and all");
        assert_eq!((world.counters.publishers_closed.read(), world.counters.dead_peers.read()), (0, 0));
    }
}

#[test]
fn a_session_that_keeps_its_rate_is_never_slowed_down() {
    let mut world = World::with(of_messages(10));
    let publisher = world.open("/");
    for _ in 0..300 {
        publish_many(&publisher, 1);
        world.advance(100);
    }
    assert_eq!((published(&world), world.counters.publishers_slowed.read()), (300, 0));
}

#[test]
fn a_burst_passes_at_once_and_again_after_a_rest() {
    let mut world = World::with(of_messages(10));
    let publisher = world.open("/");
    for round in 1..=3 {
        publish_many(&publisher, 10);
        world.settle();
        assert_eq!(published(&world), round * 10);
        world.advance(1_000);
    }
}

#[test]
fn bytes_are_limited_too_and_a_message_larger_than_the_burst_passes_and_is_waited_for() {
    let session_rates = SenderRates { bytes_per_second: 1_000, ..SenderRates::default() };
    let mut world = World::with(Limits { session_rates, ..of_messages(0) });
    let publisher = world.open("/");
    publisher.send(&format!("/publish news {}", "x".repeat(5_000)));
    publisher.send("/publish news y");
    world.settle();
    assert_eq!(published(&world), 1);
    world.advance(3_900);
    assert_eq!(published(&world), 1, "4,000 bytes above the burst take 4 s");
    world.advance(200);
    assert_eq!(published(&world), 2);
    // Fragments are one message.
    let before = published(&world);
    world.advance(10_000);
    publisher.write(&fragment(Opcode::Text, false, b"/publish "));
    publisher.write(&fragment(Opcode::Continuation, false, b"news "));
    publisher.write(&fragment(Opcode::Continuation, true, b"z"));
    world.settle();
    assert_eq!(published(&world), before + 1);
}

#[test]
fn a_session_that_goes_on_is_closed_with_1008_after_the_patience() {
    let mut world = World::with(Limits { rate_patience_ms: 5_000, ..of_messages(100) });
    let (mut flooder, mut other) = (world.open("/"), world.open("/"));
    publish_many(&flooder, 5_000);
    world.advance(4_900);
    assert!(flooder.hears_nothing());
    assert_passed(published(&world), 100, 100, 4_900);
    world.advance(300);
    assert!(flooder.hears_close(1008));
    assert_eq!(world.counters.publishers_closed.read(), 1);
    other.send("hello");
    world.settle();
    assert_eq!(other.frames(), [text("hello")]);
}

#[test]
fn a_session_that_is_above_its_rate_now_and_then_is_not_closed() {
    let mut world = World::with(Limits { rate_patience_ms: 5_000, ..of_messages(10) });
    let mut publisher = world.open("/");
    for _ in 0..20 {
        publish_many(&publisher, 20);
        world.advance(2_500);
    }
    assert_eq!((published(&world), world.counters.publishers_closed.read()), (400, 0));
    assert!(world.counters.publishers_slowed.read() >= 20);
    assert!(!publisher.hears_close(1008));
}

#[test]
fn a_session_that_is_slowed_down_is_still_sent_messages_and_its_silence_does_not_count() {
    let limits = Limits { ping_interval_ms: 2_000, dead_peer_timeout_ms: 5_000, ..of_messages(1) };
    let mut world = World::with(Limits { rate_burst_ms: 10_000, ..limits });
    let (mut publisher, other) = (world.open("/"), world.open("/"));
    publisher.send("/join news");
    world.settle();
    publish_many(&publisher, 60);
    for _ in 0..30 {
        world.advance(1_000);
        other.send("/publish news of another");
        other.send("still here");
        world.settle();
    }
    let frames = publisher.frames();
    assert_eq!(frames.iter().filter(|frame| **frame == text("of another")).count(), 30);
    assert_eq!(world.counters.dead_peers.read(), 0);
}

#[test]
fn sessions_of_one_subject_share_a_rate_and_others_are_not_slowed_down() {
    let subject_rates = SenderRates { messages_per_second: 10, ..SenderRates::default() };
    let mut world = World::with(Limits { subject_rates, ..of_messages(0) });
    let clients = ["/subject/ann", "/", "/subject/bob", "/"].map(|target| world.open(target));
    clients[1].send("/subject /subject/ann");
    clients.iter().for_each(|client| publish_many(client, 60));
    world.settle();
    // Each session learns of the shared rate with a message of its own.
    let of_ann = published(&world) - 10 - 60;
    assert!((10..=11).contains(&of_ann), "{of_ann}");
    world.advance(5_000);
    let of_ann = published(&world) - 60 - 60;
    assert!((60..=62).contains(&of_ann), "{of_ann}");
    world.advance(10_000);
    assert_eq!(published(&world), 240, "nothing is lost");
}

#[test]
fn sessions_of_one_address_share_a_rate() {
    let address_rates = SenderRates { messages_per_second: 10, subscriptions_per_second: 2, ..SenderRates::default() };
    let mut world = World::with(Limits { address_rates, ..of_messages(0) });
    let mut open = |from: &str| {
        let mut client = world.connect_from(from);
        client.ask("/", &[]);
        world.settle();
        assert!(client.is_accepted());
        client
    };
    let clients = [open("192.0.2.1"), open("192.0.2.1"), open("192.0.2.2")];
    clients.iter().for_each(|client| publish_many(client, 30));
    world.settle();
    assert!((20..=21).contains(&published(&world)), "{}", published(&world));
    world.advance(10_000);
    assert_eq!(published(&world), 90);
    clients[0].send("/join a");
    clients[1].send("/join b");
    clients[1].send("/join c");
    clients[2].send("/join d");
    world.settle();
    assert_eq!(*world.log.topic_errors.borrow(), [TopicError::SubscribesTooOften]);
}

#[test]
fn subscriptions_above_the_rate_are_refused_and_counted_and_renewing_one_is_none() {
    let session_rates = SenderRates { subscriptions_per_second: 2, ..SenderRates::default() };
    let mut world = World::with(Limits { session_rates, ..of_messages(0) });
    let client = world.open("/");
    for topic in ["a", "b", "a", "b", "c", "d"] {
        client.send(&format!("/join {topic}"));
    }
    world.settle();
    assert_eq!(*world.log.topic_errors.borrow(), [TopicError::SubscribesTooOften; 2]);
    assert_eq!(world.counters.subscriptions_refused.read(), 2);
    world.advance(500);
    client.send("/join c");
    world.settle();
    assert_eq!(world.log.topic_errors.borrow().len(), 2);
}

#[test]
fn echoes_are_not_limited() {
    let all = SenderRates { messages_per_second: 1, bytes_per_second: 1, subscriptions_per_second: 1 };
    let limits = Limits { session_rates: all, subject_rates: all, address_rates: all, ..of_messages(1) };
    let mut world = World::with(limits);
    let mut client = world.open("/subject/ann");
    (0..100).for_each(|number| client.send(&number.to_string()));
    world.settle();
    assert_eq!(client.frames().len(), 100);
}

#[test]
fn a_session_that_is_slowed_down_can_be_closed_from_either_end() {
    let mut world = World::with(of_messages(1));
    let (mut drained, gone) = (world.open("/"), world.open("/"));
    publish_many(&drained, 10);
    publish_many(&gone, 10);
    world.settle();
    gone.peer.reset();
    world.core.drain();
    world.settle();
    assert!(drained.hears_close(1001));
    drained.close(1001, "");
    world.settle();
    assert!(drained.peer.is_closed_by_server() && gone.peer.is_closed_by_server());
}

#[test]
fn new_rates_hold_at_once_and_release_those_that_were_slowed_down() {
    let mut world = World::with(of_messages(1));
    let client = world.open("/");
    publish_many(&client, 100);
    world.settle();
    assert_eq!(published(&world), 1);
    world.limits.replace(of_messages(10));
    world.advance(100);
    assert!((10..=13).contains(&published(&world)), "{}", published(&world));
    world.limits.replace(of_messages(0));
    world.advance(100);
    assert_eq!(published(&world), 100);
}
