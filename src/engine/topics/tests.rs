//! Tests of the table of topics, without cores and sockets.

use super::*;
use crate::engine::mail::MeshEntry;
use crate::mesh::{Mesh, MeshCapacity};
use crate::protocol::Batch;
use crate::protocol::Message;
use crate::protocol::deflate::Compress;

const LIMITS: SubscriptionLimits = SubscriptionLimits { subscriptions_max: 5, topics_max: 3 };

fn token(index: u32) -> Token {
    Token { index, generation: 0 }
}

fn batch(text: &str) -> Batch {
    let mut builder = crate::protocol::BatchBuilder::default();
    builder.push(Message::Text(text), Compress::Never);
    builder.finish()
}

/// The sessions of one core, and its topics.
struct Core {
    topics: Topics,
    sessions: [u32; 8],
}

impl Core {
    fn new(is_alone: bool) -> Self {
        Self { topics: Topics::new(is_alone, 64 * 1024), sessions: [NO_ENTRY; 8] }
    }

    fn join(&mut self, session: usize, name: &str) -> Result<bool, TopicError> {
        let place = &mut self.sessions[session];
        self.topics.subscribe(name, (token(session as u32), place), Subscribe::default(), LIMITS)
    }

    fn leave(&mut self, session: usize, name: &str) -> bool {
        self.topics.unsubscribe(name, (session as u32, &mut self.sessions[session])).is_some()
    }

    fn targets(&self, name: &str) -> Vec<&str> {
        let mut found = Vec::new();
        self.topics.for_each_target(name, |topic| found.push(topic));
        let mut names: Vec<_> = found.into_iter().map(|topic| &*self.topics.get(topic).unwrap().name).collect();
        names.sort_unstable();
        names
    }

    fn confirmed(&mut self) -> Vec<(u32, String)> {
        let mut all = Vec::new();
        while let Some((session, topic)) = self.topics.next_confirmed() {
            all.push((session, self.topics.get(topic).unwrap().name.to_string()));
        }
        all.sort_unstable();
        all
    }

    fn is_empty(&self) -> bool {
        self.topics.records.len() == 0 && self.topics.names.is_empty() && self.topics.sessions.len() == 0
    }
}

#[test]
fn subscribing_twice_counts_once_and_unwanted_topics_cost_nothing() {
    let mut core = Core::new(true);
    assert_eq!((core.join(1, "a"), core.join(1, "a"), core.join(2, "a")), (Ok(true), Ok(false), Ok(true)));
    assert_eq!((core.topics.count("a"), core.topics.subscribed(), core.topics.count("b")), (2, 1, 0));
    assert!(core.topics.is_subscribed("a", (1, core.sessions[1])));
    assert!(!core.topics.is_subscribed("a", (3, core.sessions[3])));
    assert_eq!((core.leave(1, "a"), core.leave(1, "a"), core.leave(2, "b")), (true, false, false));
    assert!(core.leave(2, "a") && core.is_empty());
}

#[test]
fn a_session_and_a_core_have_as_many_topics_as_they_may() {
    let mut core = Core::new(true);
    for name in ["a", "b", "c"] {
        core.join(0, name).unwrap();
    }
    assert_eq!(core.join(1, "d"), Err(TopicError::TooManyTopics { max: 3 }));
    assert_eq!(core.join(1, "c"), Ok(true), "it is there already");
    core.leave(0, "a");
    assert_eq!(core.join(1, "d"), Ok(true));
    let mut core = Core::new(true);
    let roomy = SubscriptionLimits { topics_max: 100, ..LIMITS };
    for number in 0..5 {
        let place = (token(0), &mut core.sessions[0]);
        core.topics.subscribe(&number.to_string(), place, Subscribe::default(), roomy).unwrap();
    }
    let place = (token(0), &mut core.sessions[0]);
    let refused = core.topics.subscribe("one more", place, Subscribe::default(), roomy);
    assert_eq!(refused, Err(TopicError::TooManySubscriptions { max: 5 }));
    assert_eq!(core.topics.count("one more"), 0);
}

#[test]
fn a_message_goes_to_its_topic_and_to_every_pattern_that_it_matches() {
    let mut core = Core::new(true);
    let limits = SubscriptionLimits { subscriptions_max: 100, topics_max: 100 };
    for pattern in ["*", "n*", "news*", "news/*", "news/a", "newsä*", "other*"] {
        let place = (token(0), &mut core.sessions[0]);
        core.topics.subscribe(pattern, place, Subscribe::default(), limits).unwrap();
    }
    assert_eq!(core.targets("news/a"), ["*", "n*", "news*", "news/*", "news/a"]);
    assert_eq!(core.targets("news"), ["*", "n*", "news*"]);
    assert_eq!(core.targets("newsä"), ["*", "n*", "news*", "newsä*"]);
    assert_eq!(core.targets("x"), ["*"]);
    let long = "n".repeat(TOPIC_BYTES_MAX);
    let whole = format!("{long}*");
    let place = (token(0), &mut core.sessions[0]);
    core.topics.subscribe(&whole, place, Subscribe::default(), limits).unwrap();
    assert_eq!(core.targets(&long), ["*", "n*", &whole]);
    while core.topics.leave_one(&mut core.sessions[0]).is_some() {}
    assert!(core.is_empty() && core.topics.pattern_bytes.is_empty());
}

#[test]
fn alone_a_subscription_is_confirmed_at_once_and_once() {
    let mut core = Core::new(true);
    core.join(1, "a").unwrap();
    core.join(2, "b").unwrap();
    core.join(3, "c").unwrap();
    core.leave(3, "c");
    assert_eq!(core.confirmed(), [(1, "a".to_owned()), (2, "b".to_owned())]);
    assert_eq!(core.confirmed(), []);
}

/// Returns the first of three cores, and the ends of the mesh of all three.
fn three(ring_entries: usize) -> (Core, Vec<Mesh<MeshEntry>>) {
    (Core::new(false), Mesh::build(3, MeshCapacity { ring_entries, inbox_entries: 1 }))
}

/// Returns the announcements that a core receives from the first.
fn heard(mesh: &mut Mesh<MeshEntry>) -> Vec<String> {
    use crate::engine::mail::EntryKind;
    let entries = std::iter::from_fn(|| mesh.pop()).map(|(_, MeshEntry(content))| match content {
        EntryKind::Notice(Notice::Interest { name, .. }) => format!("+{name}"),
        EntryKind::Notice(Notice::Disinterest { name }) => format!("-{name}"),
        other => format!("{other:?}"),
    });
    entries.collect()
}

#[test]
fn a_subscription_is_confirmed_once_every_core_has_heard_of_the_topic() {
    let (mut core, mut mesh) = three(8);
    core.join(1, "a").unwrap();
    core.topics.announce(&mut mesh[0]);
    assert_eq!(core.confirmed(), []);
    assert_eq!(heard(&mut mesh[1]), ["+a"]);
    core.join(2, "a").unwrap();
    core.topics.announce(&mut mesh[0]);
    assert_eq!(core.confirmed(), [], "one has not heard of it");
    assert_eq!(heard(&mut mesh[2]), ["+a"]);
    core.topics.announce(&mut mesh[0]);
    assert_eq!(core.confirmed(), [(1, "a".to_owned()), (2, "a".to_owned())]);
    core.join(3, "a").unwrap();
    assert_eq!(core.confirmed(), [(3, "a".to_owned())], "it is known already");
    assert!(heard(&mut mesh[1]).is_empty() && !core.topics.interest.is_pending());
    (1..=3).for_each(|session| assert!(core.leave(session, "a")));
    core.topics.announce(&mut mesh[0]);
    assert_eq!((heard(&mut mesh[1]), heard(&mut mesh[2])), (vec!["-a".to_owned()], vec!["-a".to_owned()]));
    assert!(core.is_empty());
}

#[test]
fn repeated_changes_of_interest_are_announced_in_order_and_not_confirmed_too_soon() {
    let (mut core, mut mesh) = three(8);
    core.join(1, "a").unwrap();
    core.leave(1, "a");
    core.topics.announce(&mut mesh[0]);
    assert!(heard(&mut mesh[1]).is_empty() && core.is_empty(), "nothing has changed for anyone");
    core.join(1, "a").unwrap();
    core.topics.announce(&mut mesh[0]);
    core.leave(1, "a");
    core.topics.announce(&mut mesh[0]);
    core.join(2, "a").unwrap();
    core.topics.announce(&mut mesh[0]);
    assert_eq!(core.confirmed(), []);
    // The first announcement has been received, the second has not.
    let first = |mesh: &mut Mesh<MeshEntry>| assert!(mesh.pop().is_some());
    first(&mut mesh[1]);
    first(&mut mesh[2]);
    core.topics.announce(&mut mesh[0]);
    assert_eq!(core.confirmed(), []);
    assert_eq!(
        (heard(&mut mesh[1]), heard(&mut mesh[2])),
        (vec!["-a".to_owned(), "+a".to_owned()], vec!["-a".to_owned(), "+a".to_owned()])
    );
    core.topics.announce(&mut mesh[0]);
    assert_eq!(core.confirmed(), [(2, "a".to_owned())]);
}

#[test]
fn an_announcement_waits_while_a_ring_is_full() {
    let (mut core, mut mesh) = three(1);
    core.join(1, "a").unwrap();
    core.join(1, "b").unwrap();
    core.topics.announce(&mut mesh[0]);
    assert!(core.topics.interest.is_pending());
    assert_eq!(heard(&mut mesh[1]), ["+a"]);
    core.topics.announce(&mut mesh[0]);
    assert!(heard(&mut mesh[1]).is_empty(), "not everyone has room");
    assert_eq!(heard(&mut mesh[2]), ["+a"]);
    core.topics.announce(&mut mesh[0]);
    assert_eq!((heard(&mut mesh[1]), heard(&mut mesh[2])), (vec!["+b".to_owned()], vec!["+b".to_owned()]));
    core.topics.announce(&mut mesh[0]);
    assert_eq!(core.confirmed(), [(1, "a".to_owned()), (1, "b".to_owned())]);
}

#[test]
fn other_cores_are_remembered_for_as_long_as_they_are_interested() {
    let mut core = Core::new(false);
    let key = TopicKey { index: 7, generation: 8 };
    core.topics.add_remote(2, key, "a");
    core.topics.add_remote(1, key, "a");
    let topic = core.topics.find(b"a").unwrap();
    assert_eq!(core.topics.remotes(topic).iter().map(|remote| remote.core).collect::<Vec<_>>(), [2, 1]);
    core.topics.remove_remote(2, "a");
    core.topics.remove_remote(1, "a");
    core.topics.remove_remote(1, "never heard of");
    assert!(core.is_empty());
}

#[test]
fn a_round_reaches_everyone_who_was_there_and_stays() {
    let mut core = Core::new(true);
    (0..5).for_each(|session| assert!(core.join(session, "a").unwrap()));
    let topic = core.topics.find(b"a").unwrap();
    let key = core.topics.key(topic).unwrap();
    core.topics.receive(key, batch("one"));
    assert_eq!(core.topics.next_active(), Some(topic));
    let round = core.topics.take_round(topic).unwrap();
    let next = |core: &mut Core| core.topics.next_member(topic).map(|(_, member)| member.session());
    assert_eq!(next(&mut core), Some(4));
    // The next two leave, and a new subscriber joins that the round must not reach.
    core.leave(3, "a");
    core.leave(2, "a");
    core.join(7, "a").unwrap();
    core.topics.put_back(topic, round);
    assert!(core.topics.is_mid_round(topic));
    assert!(core.topics.end_turn());
    let round = core.topics.take_round(topic).unwrap();
    assert_eq!((next(&mut core), next(&mut core), next(&mut core)), (Some(1), Some(0), None));
    assert!(core.topics.backlog_bytes > 0);
    core.topics.put_back(topic, round);
    assert_eq!(core.topics.backlog_bytes, 0);
}

#[test]
fn a_batch_for_a_topic_without_subscribers_is_dropped() {
    let mut core = Core::new(true);
    core.join(0, "a").unwrap();
    let key = core.topics.key(core.topics.find(b"a").unwrap()).unwrap();
    core.leave(0, "a");
    core.join(0, "b").unwrap();
    core.confirmed();
    core.topics.receive(key, batch("for a"));
    assert!(!core.topics.end_turn() && core.topics.backlog_bytes == 0, "b has the place that a had");
}

#[test]
fn everyone_leaves_while_a_round_is_under_way_and_nothing_is_left() {
    let mut core = Core::new(true);
    (0..3).for_each(|session| assert!(core.join(session, "a").unwrap()));
    let topic = core.topics.find(b"a").unwrap();
    let key = core.topics.key(topic).unwrap();
    core.topics.receive(key, batch("one"));
    core.topics.receive(key, batch("two"));
    let round = core.topics.take_round(topic).unwrap();
    core.topics.next_member(topic);
    (0..3).for_each(|session| assert!(core.leave(session, "a")));
    core.topics.put_back(topic, round);
    while let Some(topic) = core.topics.next_active() {
        if let Some(round) = core.topics.take_round(topic) {
            core.topics.put_back(topic, round);
        }
        core.topics.end_turn();
    }
    assert!(core.is_empty() && core.topics.backlog_bytes == 0);
}

#[test]
fn the_latest_is_kept_for_those_who_wait_and_forgotten_with_them() {
    let mut core = Core::new(true);
    (0..2).for_each(|session| assert!(core.join(session, "a").unwrap()));
    let topic = core.topics.find(b"a").unwrap();
    let members: Vec<_> = (0..2).map(|session| core.topics.subscriptions(core.sessions[session]).first).collect();
    let latest = |text: &str| Some(Latest { batch: batch(text), sender: None });
    assert!(!core.topics.note_latest(topic, members[0], latest("one"), true));
    assert!(!core.topics.note_latest(topic, members[1], latest("two"), true));
    assert!(core.topics.note_latest(topic, members[0], latest("three"), true), "it waited already");
    assert!(core.topics.note_latest(topic, members[1], latest("three"), false), "and is not to have this one");
    assert!(!core.topics.note_latest(topic, members[1], latest("three"), true));
    let caught_up = core.topics.catch_up(members[0]).unwrap();
    assert_eq!(&caught_up.batch.plain().frames()[2..], b"three");
    assert!(core.topics.catch_up(members[0]).is_none());
    assert!(core.leave(1, "a") && core.topics.flow_mut(topic).is_none(), "nobody waits any more");
    assert!(core.leave(0, "a") && core.is_empty());
}
