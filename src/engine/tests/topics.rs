//! Tests of topics: each published message reaches every subscriber on every core, once and in order.

use super::client::{Client, Frame, masked, text};
use super::cluster::Cluster;
use super::handler::numbered;
use super::world::World;
use crate::engine::{DropReason, Limits, Sent, TopicError};
use crate::mesh::MeshCapacity;
use crate::protocol::deflate::Compression;
use crate::protocol::handshake::Offer;
use crate::protocol::{Message, Opcode, Prepared};

/// Returns a client that has subscribed.
fn member(world: &mut World, topic: &str, how: &str) -> Client {
    let client = world.open("/");
    client.send(&format!("/join {topic} {how}"));
    world.settle();
    client
}

fn texts(client: &mut Client) -> Vec<String> {
    let texts = client.frames().into_iter().map(|frame| match frame {
        Frame::Text(text) => text,
        other => panic!("{other:?}"),
    });
    texts.collect()
}

#[test]
fn a_message_reaches_every_subscriber_including_the_publisher_and_no_other_session() {
    let mut world = World::new();
    let mut members: Vec<_> = (0..5).map(|_| member(&mut world, "news", "")).collect();
    let (mut other, mut outside) = (member(&mut world, "sports", ""), world.open("/"));
    members[2].send("/publish news hello to all");
    outside.send("/publish news from outside");
    world.settle();
    members.iter_mut().for_each(|member| assert_eq!(texts(member), ["hello to all", "from outside"]));
    assert!(other.hears_nothing() && outside.hears_nothing());
    assert_eq!((world.counters.messages_published.read(), world.counters.messages_sent.read()), (2, 10));
    assert_eq!((world.counters.topics.read(), world.counters.subscriptions.read()), (2, 6));
}

#[test]
fn a_subscriber_without_echo_receives_the_messages_of_others() {
    let mut world = World::new();
    let (mut silent, mut loud) = (member(&mut world, "a", "close-silent"), member(&mut world, "a", ""));
    // All messages are published in one turn, and so in one batch.
    for number in 0..3 {
        silent.send(&format!("/publish a silent {number}"));
        loud.send(&format!("/publish a loud {number}"));
    }
    world.settle();
    let mut all = texts(&mut loud);
    all.sort();
    assert_eq!(all, ["loud 0", "loud 1", "loud 2", "silent 0", "silent 1", "silent 2"]);
    assert_eq!(texts(&mut silent), ["loud 0", "loud 1", "loud 2"]);
    silent.send("/publish a alone");
    world.settle();
    assert!(silent.hears_nothing());
    assert_eq!(texts(&mut loud), ["alone"]);
}

#[test]
fn unsubscribed_sessions_receive_nothing_and_ended_ones_are_forgotten() {
    let mut world = World::new();
    let (mut left, mut closed, gone) =
        (member(&mut world, "a", ""), member(&mut world, "a", ""), member(&mut world, "a", ""));
    left.send("/leave a");
    closed.close(1000, "");
    gone.peer.reset();
    world.settle();
    assert_eq!((world.counters.topics.read(), world.counters.subscriptions.read()), (0, 0));
    left.send("/publish a to nobody");
    world.settle();
    assert!(left.hears_nothing() && closed.hears_close(1000));
    assert_eq!(world.view().backlog_bytes(), 0);
}

#[test]
fn a_session_subscribes_once_however_often_it_says_so() {
    let mut world = World::new();
    let mut client = member(&mut world, "a", "");
    client.send("/join a close-silent");
    client.send("/publish a mine");
    world.settle();
    assert!(client.hears_nothing(), "it changed its mind");
    client.send("/join a close");
    client.send("/publish a mine");
    world.settle();
    assert_eq!(texts(&mut client), ["mine"]);
    assert_eq!(world.log.subscribed.borrow().len(), 1);
    assert_eq!(world.counters.subscriptions.read(), 1);
}

#[test]
fn patterns_match_what_begins_like_them() {
    let mut world = World::new();
    let (mut all, mut some, mut one) =
        (member(&mut world, "*", ""), member(&mut world, "a/*", ""), member(&mut world, "a/b", ""));
    for topic in ["a", "a/", "a/b", "b"] {
        one.send(&format!("/publish {topic} {topic}"));
    }
    one.send("/publish a/* to a pattern");
    world.settle();
    assert_eq!(texts(&mut all), ["a", "a/", "a/b", "b"]);
    assert_eq!(texts(&mut some), ["a/", "a/b"]);
    assert_eq!(texts(&mut one), ["a/b"]);
    assert_eq!(*world.log.topic_errors.borrow(), [TopicError::PatternNotPublishable]);
}

#[test]
fn names_and_numbers_of_subscriptions_are_limited() {
    let mut world = World::with(Limits { subscriptions_max: 2, topics_max: 3, ..Limits::default() });
    let first = member(&mut world, "a", "");
    for topic in ["b", "c", "", &"x".repeat(256)] {
        first.send(&format!("/join {topic}"));
    }
    world.settle();
    let second = member(&mut world, "c", "");
    second.send("/join d");
    world.settle();
    first.send("/leave a");
    world.settle();
    second.send("/join d");
    world.settle();
    let errors = [
        TopicError::TooManySubscriptions { max: 2 },
        TopicError::NameEmpty,
        TopicError::NameTooLong { bytes: 256 },
        TopicError::TooManyTopics { max: 3 },
    ];
    assert_eq!(*world.log.topic_errors.borrow(), errors);
    assert_eq!(world.counters.topics.read(), 3);
}

#[test]
fn a_closing_session_subscribes_to_nothing() {
    let mut world = World::new();
    let (client, id) = world.open_session();
    client.send("/join a");
    client.send("/close 1000");
    world.settle();
    let mut joined = Ok(true);
    world.call(id, |session| joined = session.subscribe("b"));
    assert_eq!(joined, Err(TopicError::SessionClosing));
    assert_eq!(world.counters.subscriptions.read(), 0);
}

#[test]
fn one_publish_to_very_many_is_cut_over_several_turns_and_others_are_served_between() {
    let mut world = World::new();
    let mut members: Vec<_> = (0..6_000).map(|_| world.open("/")).collect();
    members.iter().for_each(|member| member.send("/join a"));
    world.settle();
    let mut echo = world.open("/");
    members[0].send("/publish a one");
    members[0].send("/publish a two");
    world.turns(2);
    let sent = world.counters.messages_sent.read();
    assert!((1..=2 * 1024).contains(&sent), "{sent} in one turn");
    echo.send("between");
    members[1].send("/publish a three");
    world.turns(2);
    assert_eq!(texts(&mut echo), ["between"]);
    assert!(world.counters.messages_sent.read() < 12_000, "and yet it is not over");
    world.settle();
    members.iter_mut().for_each(|member| assert_eq!(texts(member), ["one", "two", "three"]));
}

#[test]
fn messages_that_wait_behind_a_large_round_join_those_published_meanwhile() {
    let mut world = World::new();
    let mut members: Vec<_> = (0..1_500).map(|_| member(&mut world, "a", "")).collect();
    members[0].send("/publish a one");
    world.turns(2);
    members[0].send("/publish a two");
    while world.counters.messages_sent.read() < 1_500 {
        world.turns(1);
    }
    members[1].send("/publish a three");
    world.turns(2);
    let heard: Vec<_> = members.iter_mut().map(texts).filter(|heard| *heard != ["one"]).collect();
    assert!(!heard.is_empty(), "the next round is under way");
    heard.iter().for_each(|heard| assert_eq!(*heard, ["one", "two", "three"]));
}

#[test]
fn many_topics_take_turns() {
    let mut world = World::new();
    let crowd: Vec<_> = (0..2_000).map(|_| world.open("/")).collect();
    crowd.iter().for_each(|member| member.send("/join crowded"));
    let mut few = member(&mut world, "quiet", "");
    crowd[0].send("/publish crowded to all");
    few.send("/publish quiet to one");
    world.turns(2);
    assert_eq!(texts(&mut few), ["to one"], "it waits for no larger topic");
}

#[test]
fn a_message_is_encoded_once_for_each_window_and_everyone_can_read_it() {
    let compression = Compression { context_takeover: true, ..Compression::default() };
    let mut world = World::with(Limits { compression: Some(compression.clone()), ..Limits::default() });
    let mut members = Vec::new();
    for number in 0..9 {
        let mut client = world.connect();
        if number % 3 > 0 {
            client.offer(Offer::new(&Compression { context_takeover: number % 3 == 2, ..compression.clone() }));
        }
        client.ask("/", &[]);
        world.settle();
        assert!(client.is_accepted() && client.is_compressed() == (number % 3 > 0));
        client.send("/join a");
        world.settle();
        members.push(client);
    }
    let long = "say it again, ".repeat(100);
    for round in 0..3 {
        // Each client has messages of its own between the shared ones.
        members.iter().for_each(|member| member.send(&format!("{long} {round}")));
        members[0].send(&format!("/publish a {long}"));
        members[0].send("/publish a short");
        world.settle();
        for member in &mut members {
            assert_eq!(texts(member), [format!("{long} {round}"), long.clone(), "short".to_owned()]);
        }
    }
}

#[test]
fn every_core_hears_what_any_core_publishes() {
    let mut cluster = Cluster::new(3);
    let mut members: Vec<_> = (0..6).map(|number| cluster.member(number % 3, "a", "").0).collect();
    for (number, member) in members.iter().enumerate() {
        member.send(&format!("/publish a from {number}"));
    }
    cluster.settle();
    for member in &mut members {
        let mut heard = texts(member);
        heard.sort();
        assert_eq!(heard, (0..6).map(|number| format!("from {number}")).collect::<Vec<_>>());
    }
    assert_eq!(cluster.sum(|core| core.counters.messages_dropped.read()), 0);
}

#[test]
fn a_core_without_subscribers_is_sent_nothing() {
    let mut cluster = Cluster::new(3);
    let (mut member, _) = cluster.member(0, "a", "");
    let publisher = cluster.cores[1].open("/");
    cluster.settle();
    let before = cluster.cores[1].view().sent_to_core(2);
    publisher.send("/publish a for the first core alone");
    cluster.settle();
    assert_eq!(texts(&mut member), ["for the first core alone"]);
    assert_eq!(cluster.cores[1].view().sent_to_core(2), before);
}

#[test]
fn a_topic_or_pattern_that_only_others_want_is_forgotten_with_them() {
    let mut cluster = Cluster::new(2);
    let (client, _) = cluster.member(0, "a", "");
    client.send("/join b*");
    cluster.settle();
    let kept = |cluster: &Cluster| cluster.cores.iter().map(|core| core.view().topics()).collect::<Vec<_>>();
    assert_eq!(kept(&cluster), [2, 2]);
    drop(client);
    cluster.cores[0].end();
    cluster.settle();
    assert_eq!(kept(&cluster), [0, 0]);
}

#[test]
fn a_subscription_is_confirmed_when_every_core_knows_of_it_and_nothing_is_missed_from_then_on() {
    let mut cluster = Cluster::new(2);
    let (mut client, _) = cluster.cores[0].open_session();
    let publisher = cluster.cores[1].open("/");
    client.send("/join a");
    cluster.cores[0].settle();
    assert_eq!(cluster.cores[0].log.subscribed.borrow().len(), 0, "the other core has had no turn");
    publisher.send("/publish a too early for a promise");
    cluster.settle();
    assert_eq!(cluster.cores[0].log.subscribed.borrow().len(), 1);
    publisher.send("/publish a in time");
    cluster.settle();
    assert_eq!(texts(&mut client).last().map(String::as_str), Some("in time"));
}

#[test]
fn one_publisher_is_heard_in_order_whatever_the_core() {
    let mut cluster = Cluster::new(3);
    let mut members: Vec<_> = (0..3).map(|core| cluster.member(core, "a", "").0).collect();
    for number in 0..200 {
        for (core, member) in members.iter().enumerate() {
            member.send(&format!("/publish a {core} {number}"));
        }
        // The cores do not keep step.
        for core in 0..number % 4 {
            cluster.cores[core % 3].turn();
        }
    }
    cluster.settle();
    for member in &mut members {
        let heard = texts(member);
        assert_eq!(heard.len(), 600);
        for core in 0..3 {
            let of_one = heard.iter().filter_map(|text| text.strip_prefix(&format!("{core} ")));
            assert!(of_one.eq((0..200).map(|number| number.to_string())), "publisher {core}");
        }
    }
}

#[test]
fn messages_for_a_full_ring_are_dropped_and_each_is_counted() {
    let limits = Limits { mesh: MeshCapacity { ring_entries: 2, inbox_entries: 4 }, ..Limits::default() };
    let mut cluster = Cluster::with(2, limits);
    let topics: Vec<_> = (0..10).map(|number| format!("topic-{number}")).collect();
    let mut members: Vec<_> = topics.iter().map(|topic| cluster.member(0, topic, "").0).collect();
    let (publisher, id) = cluster.cores[1].open_session();
    for topic in &topics {
        publisher.send(&format!("/publish-many {topic} 3 10"));
    }
    // All in one turn: two batches find room.
    cluster.settle();
    let heard: usize = members.iter_mut().map(|member| member.frames().len()).sum();
    let dropped = cluster.cores[1].counters.messages_dropped.read() as usize;
    assert!(heard < 30 && dropped > 0);
    assert_eq!(heard + dropped, 30);
    assert!(!cluster.cores[1].view().session(id).unwrap().is_throttled(), "it is let go again");
}

#[test]
fn a_session_that_publishes_too_much_is_throttled_until_it_is_delivered() {
    let mut world = World::with(Limits { backlog_bytes_max: 40_000, ..Limits::default() });
    let mut members: Vec<_> = (0..2_000).map(|_| world.open("/")).collect();
    members.iter().for_each(|member| member.send("/join a"));
    let (publisher, id) = world.open_session();
    world.settle();
    for number in 0..100 {
        publisher.send(&format!("/publish a {number} {}", "x".repeat(1_000)));
    }
    world.turns(2);
    assert!(world.view().session(id).unwrap().is_throttled());
    assert!(world.view().backlog_bytes() <= 12_000);
    world.settle();
    assert!(world.counters.publishers_throttled.read() > 0);
    assert_eq!(world.counters.messages_dropped.read(), 0, "nothing had to be");
    for member in &mut members {
        let heard = texts(member);
        assert!(heard.iter().enumerate().all(|(at, text)| text.starts_with(&format!("{at} "))) && heard.len() == 100);
    }
}

#[test]
fn beyond_the_backlog_what_is_published_is_dropped_and_counted() {
    let mut world = World::with(Limits { backlog_bytes_max: 10_000, ..Limits::default() });
    let mut client = member(&mut world, "a", "");
    // One call of a handler is not interrupted.
    client.send("/publish-many a 100 1000");
    world.settle();
    let sent = world.log.sent.borrow().clone();
    let dropped = sent.iter().filter(|sent| **sent == Sent::Dropped).count();
    assert!(dropped > 80 && sent[0] == Sent::Queued && sent.contains(&Sent::Backpressure));
    assert_eq!(client.frames().len(), 100 - dropped);
    assert_eq!(world.counters.messages_dropped.read() as usize, dropped);
    client.send("/publish-many a 1 50000");
    world.settle();
    assert_eq!(client.frames(), [Frame::Binary(numbered(0, 50_000))], "one that is larger than the limit is sent");
}

#[test]
fn any_thread_publishes_and_sends_through_a_handle() {
    let mut cluster = Cluster::new(2);
    let (mut first, _) = cluster.member(0, "a", "");
    let (mut second, id) = cluster.member(1, "a*", "");
    let handle = cluster.handle.clone();
    std::thread::spawn(move || {
        assert_eq!(handle.publish("a", "from a thread"), Ok(Sent::Queued));
        assert_eq!(handle.publish("a", Message::Binary(b"bytes")), Ok(Sent::Queued));
        assert_eq!(handle.publish("a*", "x"), Err(TopicError::PatternNotPublishable));
        assert_eq!(handle.send(id, &Prepared::new("for one")), Sent::Queued);
    })
    .join()
    .unwrap();
    cluster.settle();
    assert_eq!(first.frames(), [text("from a thread"), Frame::Binary(b"bytes".to_vec())]);
    let mut heard = second.frames();
    heard.sort_by_key(|frame| *frame == text("for one"));
    assert_eq!(heard, [text("from a thread"), Frame::Binary(b"bytes".to_vec()), text("for one")]);
}

#[test]
fn a_handle_is_told_when_a_queue_is_full_and_a_stale_session_is_counted() {
    let limits = Limits { mesh: MeshCapacity { ring_entries: 4, inbox_entries: 2 }, ..Limits::default() };
    let mut cluster = Cluster::with(1, limits);
    let (client, id) = cluster.cores[0].open_session();
    let sent: Vec<_> = (0..3).map(|_| cluster.handle.send(id, &Prepared::new("x"))).collect();
    assert_eq!(sent, [Sent::Queued, Sent::Queued, Sent::Dropped]);
    cluster.settle();
    assert_eq!(cluster.cores[0].counters.messages_sent.read(), 2);
    client.peer.reset();
    cluster.settle();
    cluster.handle.send(id, &Prepared::new("x"));
    cluster.settle();
    assert_eq!(cluster.cores[0].counters.messages_dropped.read_for(&DropReason::SessionGone), 1);
}

#[test]
fn subscribers_are_counted_over_all_cores() {
    let mut cluster = Cluster::new(3);
    let _members: Vec<_> = (0..7).map(|number| cluster.member(number % 3, "a", "")).collect();
    let counting = cluster.handle.subscribers("a");
    let nobody = cluster.handle.subscribers("b");
    let waiting = std::thread::spawn(move || (counting.wait(), nobody.wait()));
    cluster.settle();
    assert_eq!(waiting.join().unwrap(), (Some(7), Some(0)));
    let limits = Limits { mesh: MeshCapacity { ring_entries: 1, inbox_entries: 1 }, ..Limits::default() };
    let mut cluster = Cluster::with(1, limits);
    let (first, second) = (cluster.handle.subscribers("a"), cluster.handle.subscribers("a"));
    cluster.settle();
    assert_eq!((first.wait(), second.wait()), (Some(0), None), "the queue had no room for the second");
}

#[test]
fn panics_in_what_a_topic_calls_cost_one_session_each() {
    let mut world = World::with(Limits { outbox_bytes_max: 1_000, ..Limits::default() });
    let mut first = world.open("/");
    first.send("/panic-in subscribed");
    first.send("/join a");
    world.settle();
    assert!(first.hears_close(1011));
    let slow = member(&mut world, "a", "newest");
    slow.send("/panic-in dropped");
    slow.peer.stop_reading();
    let mut other = member(&mut world, "a", "");
    for _ in 0..100 {
        other.send("/publish-many a 1 5000");
        world.settle();
    }
    assert_eq!(other.frames().len(), 100);
    assert_eq!(world.counters.handler_panics.read(), 2);
    slow.peer.resume_reading();
}

#[test]
fn a_message_published_on_confirmation_wakes_a_core_that_would_sleep() {
    let mut world = World::new();
    let mut member = member(&mut world, "a", "");
    let client = world.open("/");
    client.send("/publish-in subscribed");
    client.send("/join a");
    // As in production: a core with nothing to do makes no turn.
    while world.run() {}
    assert_eq!(texts(&mut member), ["from subscribed"]);
}

#[test]
fn patterns_of_more_than_sixteen_lengths_are_refused() {
    let mut world = World::new();
    let client = world.open("/");
    for bytes in 1..=17 {
        client.send(&format!("/join {}*", "x".repeat(bytes)));
    }
    client.send(&format!("/join {}*", "y".repeat(16)));
    world.settle();
    assert_eq!(*world.log.topic_errors.borrow(), [TopicError::TooManyPatternLengths { max: 16 }]);
    assert_eq!(world.counters.subscriptions.read(), 17);
}

#[test]
fn a_session_that_publishes_by_the_thousand_goes_on_in_the_next_turn() {
    let mut world = World::new();
    let mut quick = member(&mut world, "a", "");
    let publisher = world.open("/");
    let all: Vec<u8> =
        (0..5_000).flat_map(|number| masked(Opcode::Text, format!("/publish a {number}").as_bytes())).collect();
    publisher.write(&all);
    world.turns(2);
    assert!(world.counters.messages_published.read() <= 2 * 1024);
    world.settle();
    assert!(texts(&mut quick).into_iter().eq((0..5_000).map(|number| number.to_string())));
}

#[test]
fn a_publisher_told_of_backpressure_is_told_of_its_end() {
    let mut world = World::with(Limits { backlog_bytes_max: 10_000, ..Limits::default() });
    let mut client = member(&mut world, "a", "");
    client.send("/publish-many a 4 1000");
    world.settle();
    assert!(world.log.sent.borrow().contains(&Sent::Backpressure));
    assert_eq!((client.frames().len(), world.log.drained.borrow().len()), (4, 1));
}

#[test]
fn subscriptions_are_confirmed_in_their_order() {
    let mut world = World::new();
    let client = world.open("/");
    ["b", "a", "c"].iter().for_each(|topic| client.send(&format!("/join {topic}")));
    world.settle();
    let told: Vec<_> = world.log.subscribed.borrow().iter().map(|(_, topic)| topic.clone()).collect();
    assert_eq!(told, ["b", "a", "c"]);
}
