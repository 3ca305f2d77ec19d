//! Tests of subscribers that do not keep up: each policy is followed, and every missing message is counted.

use super::client::{Client, Frame, close};
use super::handler::numbered;
use super::world::World;
use crate::engine::{DropReason, Limits};

const PAYLOAD_BYTES: usize = 1_000;

/// Returns the numbers that one client received of `/publish-many`, and its other frames.
fn heard(client: &mut Client) -> (Vec<u32>, Vec<Frame>) {
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    for frame in client.frames() {
        match frame {
            Frame::Binary(bytes) => {
                let number = u32::from_be_bytes(*bytes.first_chunk().unwrap());
                assert!(bytes == numbered(number as usize, bytes.len()), "{number} is not what was said");
                numbers.push(number);
            }
            other => others.push(other),
        }
    }
    (numbers, others)
}

/// A world in which one subscriber does not read and another does, after so many messages, a few at a time.
struct Scene {
    world: World,
    slow: Client,
    quick: Client,
}

const PUBLISHED: usize = 600;

impl Scene {
    fn new(how: &str) -> Self {
        let mut world = World::with(Limits { outbox_bytes_max: 20_000, ..Limits::default() });
        let (slow, quick) = (world.open("/"), world.open("/"));
        slow.send(&format!("/join a {how}"));
        quick.send("/join a");
        world.settle();
        slow.peer.stop_reading();
        let mut scene = Self { world, slow, quick };
        scene.publish();
        scene
    }

    /// Publishes messages numbered from 0.
    fn publish(&mut self) {
        // The numbers of one call begin at 0, so each message is a call with a number of its own.
        for number in 0..PUBLISHED {
            self.quick.send_binary_publish(number);
            self.world.turn();
        }
        self.world.settle();
        assert!(self.heard_by_quick().eq(0..PUBLISHED as u32), "who reads misses nothing");
    }

    fn heard_by_quick(&mut self) -> impl Iterator<Item = u32> + use<> {
        heard(&mut self.quick).0.into_iter()
    }

    fn dropped(&self, reason: DropReason) -> usize {
        self.world.counters.messages_dropped.read_for(&reason) as usize
    }

    fn told(&self) -> usize {
        self.world.log.dropped.borrow().iter().map(|(_, _, messages)| *messages as usize).sum()
    }

    /// Returns whether the bytes that wait for the slow subscriber stay within their limit.
    fn is_bounded(&mut self) -> bool {
        let id = self.world.log.opened.borrow()[0];
        self.world.bytes_held(id) <= 20_000 + 5_000 + 2 * (PAYLOAD_BYTES + 14)
    }

    fn read(&mut self) -> (Vec<u32>, Vec<Frame>) {
        self.slow.peer.resume_reading();
        self.world.settle();
        heard(&mut self.slow)
    }
}

#[test]
fn close_closes_with_1013_after_what_was_queued() {
    let mut scene = Scene::new("close");
    assert!(scene.is_bounded());
    let dropped = scene.dropped(DropReason::TopicClose);
    assert!(dropped > 0 && dropped == scene.told());
    assert_eq!(scene.world.counters.subscriptions.read(), 1, "it is no subscriber any more");
    let (numbers, others) = scene.read();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u32));
    assert_eq!(others, [close(1013, "Published messages waited for too long to be read.")]);
}

#[test]
fn drop_newest_keeps_what_waits_and_goes_on_once_there_is_room() {
    let mut scene = Scene::new("newest");
    assert!(scene.is_bounded());
    let dropped = scene.dropped(DropReason::TopicNewest);
    assert_eq!(dropped, scene.told());
    let (numbers, others) = scene.read();
    assert!(others.is_empty() && numbers.iter().copied().eq(0..numbers.len() as u32), "the first ones");
    assert_eq!(numbers.len() + dropped, PUBLISHED);
    scene.publish();
    assert!(heard(&mut scene.slow).0.into_iter().eq(0..PUBLISHED as u32), "it keeps up now");
}

#[test]
fn drop_oldest_makes_room_for_what_is_new() {
    let mut scene = Scene::new("oldest");
    assert!(scene.is_bounded());
    let dropped = scene.dropped(DropReason::TopicOldest);
    assert_eq!(dropped, scene.told());
    let (numbers, others) = scene.read();
    assert!(others.is_empty() && numbers.is_sorted());
    assert_eq!(numbers.last(), Some(&(PUBLISHED as u32 - 1)), "the last one came");
    assert_eq!(numbers.len() + dropped, PUBLISHED);
    // There is one gap: after the messages that had been sent or were in flight come the newest.
    assert_eq!(numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count(), 1);
}

#[test]
fn drop_oldest_keeps_the_newest_however_long_nothing_has_left() {
    let limits = Limits { outbox_bytes_max: 20_000, outbox_age_ms_max: 1_000, ..Limits::default() };
    let limits = Limits { send_timeout_ms: 1_000_000, dead_peer_timeout_ms: 0, ping_interval_ms: 0, ..limits };
    let mut world = World::with(limits);
    let (mut slow, publisher) = (world.open("/"), world.open("/"));
    slow.send("/join a oldest");
    world.settle();
    slow.peer.stop_reading();
    for number in 0..600 {
        publisher.send_binary_publish(number);
        world.settle();
        // The messages in flight are soon older than any may wait.
        world.advance(10);
    }
    let dropped = world.counters.messages_dropped.read_for(&DropReason::TopicOldest) as usize;
    let id = world.log.opened.borrow()[0];
    assert!(world.bytes_held(id) <= 20_000 + 5_000 + 2 * (PAYLOAD_BYTES + 14));
    slow.peer.resume_reading();
    world.settle();
    let (numbers, others) = heard(&mut slow);
    assert!(others.is_empty() && numbers.is_sorted());
    assert_eq!(numbers.last(), Some(&599), "the last one came");
    assert_eq!(numbers.len() + dropped, 600);
}

#[test]
fn latest_keeps_the_last_message_alone() {
    let mut scene = Scene::new("latest");
    assert!(scene.is_bounded());
    let dropped = scene.dropped(DropReason::TopicLatest);
    assert_eq!(dropped, scene.told());
    let (numbers, others) = scene.read();
    assert!(others.is_empty() && numbers.is_sorted());
    assert_eq!(numbers.last(), Some(&(PUBLISHED as u32 - 1)));
    assert_eq!(numbers.len() + dropped, PUBLISHED);
    let after_the_gap = numbers.len() - numbers.windows(2).position(|pair| pair[0] + 1 != pair[1]).unwrap() - 1;
    assert_eq!(after_the_gap, 1, "and none between");
    scene.publish();
    assert!(heard(&mut scene.slow).0.into_iter().eq(0..PUBLISHED as u32), "it keeps up now");
}

#[test]
fn the_latest_of_each_topic_comes_once_there_is_room_and_is_dropped_with_the_session() {
    let mut world = World::with(Limits { outbox_bytes_max: 5_000, ..Limits::default() });
    let (mut slow, gone, publisher) = (world.open("/"), world.open("/"), world.open("/"));
    for topic in ["a", "b", "c"] {
        slow.send(&format!("/join {topic} latest"));
        gone.send(&format!("/join {topic} latest"));
    }
    world.settle();
    slow.peer.stop_reading();
    gone.peer.stop_reading();
    for round in 0..300 {
        for topic in ["a", "b", "c"] {
            publisher.send(&format!("/publish {topic} {topic} {round} {}", "x".repeat(500)));
        }
        world.settle();
    }
    let before = world.counters.messages_dropped.read_for(&DropReason::TopicLatest);
    gone.peer.reset();
    world.settle();
    assert_eq!(world.counters.messages_dropped.read_for(&DropReason::TopicLatest), before + 3);
    slow.peer.resume_reading();
    world.settle();
    let mut last: Vec<_> = slow.frames().into_iter().rev().take(3).collect();
    last.sort_by_key(|frame| format!("{frame:?}"));
    let expected = ["a", "b", "c"].map(|topic| Frame::Text(format!("{topic} 299 {}", "x".repeat(500))));
    assert_eq!(last, expected);
}

#[test]
fn pings_and_a_close_frame_get_through_a_full_outbox() {
    let mut scene = Scene::new("newest");
    scene.slow.ping(b"still there?");
    scene.slow.send("/close 1000 done");
    scene.world.settle();
    let (_, others) = scene.read();
    assert_eq!(others, [Frame::Pong(b"still there?".to_vec()), close(1000, "done")]);
}

#[test]
fn an_old_message_counts_as_a_full_outbox_however_small_it_is() {
    let limits =
        Limits { outbox_age_ms_max: 1_000, send_timeout_ms: 1_000_000, dead_peer_timeout_ms: 0, ..Limits::default() };
    let mut world = World::with(Limits { ping_interval_ms: 0, ..limits });
    let (mut slow, publisher) = (world.open("/"), world.open("/"));
    slow.send("/join a newest");
    world.settle();
    slow.peer.stop_reading();
    // More than the socket takes, and less than the outbox may hold.
    for _ in 0..200 {
        publisher.send("/publish-many a 1 1000");
        world.settle();
    }
    let dropped = |world: &World| world.counters.messages_dropped.read_for(&DropReason::TopicNewest);
    assert_eq!(dropped(&world), 0);
    world.advance(1_100);
    publisher.send("/publish-many a 1 1000");
    world.settle();
    assert_eq!(dropped(&world), 1);
    slow.peer.resume_reading();
    world.settle();
    assert_eq!(slow.frames().len(), 200);
    publisher.send("/publish-many a 1 1000");
    world.settle();
    assert_eq!((slow.frames().len(), dropped(&world)), (1, 1));
}

#[test]
fn a_session_that_its_handler_closes_when_it_is_told_of_a_drop_is_sent_nothing_after_its_close_frame() {
    for how in ["close", "newest", "oldest", "latest"] {
        let mut world = World::with(Limits { outbox_bytes_max: 5_000, ..Limits::default() });
        let (mut slow, publisher) = (world.open("/"), world.open("/"));
        slow.send(&format!("/join a {how}"));
        slow.send("/join b oldest");
        slow.send("/close-in dropped");
        world.settle();
        slow.peer.stop_reading();
        for number in 0..300 {
            publisher.send(&format!("/publish-many {} 1 1000", ["a", "b"][number % 2]));
            world.settle();
        }
        slow.peer.resume_reading();
        world.settle();
        let frames = slow.frames();
        let at = frames.iter().position(|frame| *frame == close(4000, "dropped"));
        assert_eq!(at, Some(frames.len() - 1), "{how}");
    }
}
