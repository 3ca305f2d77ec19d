//! The topics of one core: their names, their subscribers here, the interest of other cores, and undelivered messages.
//!
//! Knows neither sockets nor frames: the messages are opaque. Invariant: a topic exists exactly while it has a
//! subscriber on some core, something is undelivered, or other cores have yet to be told of a change.

mod announcing;
mod flow;
mod interest;
mod members;
mod pacing;
mod policy;
mod publishers;
mod rounds;
mod topic;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

pub(super) use flow::{Flow, Latest, QueuedBatch, Round, round_bytes_max};
pub(super) use interest::{Interest, Notice};
pub(super) use members::{Member, Members, Membership};
pub(super) use pacing::Pacing;
pub use policy::{Overflow, Subscribe, TOPIC_BYTES_MAX, TopicError, check_topic};
pub(super) use policy::{SubscriptionLimits, check_publishable};
pub(super) use publishers::Publishers;
pub(super) use topic::{Remote, Topic, TopicKey};

use crate::reactor::Token;
use crate::slab::{NO_ENTRY, Slab};

/// Different lengths that patterns may have, over all cores, except for patterns that two cores add at the same time.
/// Each costs a publisher a lookup of some 60 ns.
const PATTERN_LENGTHS_MAX: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Topics {
    records: Slab<Topic>,
    /// The numbers of the records, by name.
    names: HashTable<u32>,
    hasher: RandomState,
    generation: u32,
    pub(super) round_bytes_max: usize,
    pub(super) members: Members,
    /// The subscriptions of each session that has any.
    sessions: Slab<Membership>,
    /// The number of topics with subscribers here.
    subscribed: usize,
    /// The number of patterns, by the bytes of their stems.
    pattern_bytes: BTreeMap<usize, usize>,
    /// Topics with messages gathered in this turn.
    pub(super) gathered: Vec<u32>,
    /// Topics with something to deliver, in order.
    active: VecDeque<u32>,
    /// Topics that continue in the next turn.
    next_turn: Vec<u32>,
    /// Topics that continue in the turn after the next.
    turn_after_next: Vec<u32>,
    /// Bytes that were published and not yet delivered to all subscribers here.
    pub(super) backlog_bytes: usize,
    pub(super) interest: Interest,
    /// Subscriptions that the handler is to be told of.
    to_confirm: VecDeque<u32>,
}

impl Topics {
    /// Returns no topics, for a core without other cores or one of several, with this limit of a round.
    pub(super) fn new(is_alone: bool, round_bytes_max: usize) -> Self {
        Self { interest: Interest::new(is_alone), round_bytes_max, ..Self::default() }
    }

    /// Returns the number of topics, including those without subscribers here.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.records.len()
    }

    /// Returns the number of topics with subscribers on this core.
    pub(super) fn subscribed(&self) -> usize {
        self.subscribed
    }

    pub(super) fn get(&self, index: u32) -> Option<&Topic> {
        self.records.get(index)
    }

    pub(super) fn at(&self, key: TopicKey) -> Option<&Topic> {
        self.records.get(key.index).filter(|topic| topic.generation == key.generation)
    }

    pub(super) fn key(&self, index: u32) -> Option<TopicKey> {
        self.records.get(index).map(|topic| TopicKey { index, generation: topic.generation })
    }

    /// Returns the other cores with subscribers of a topic.
    pub(super) fn remotes(&self, topic: u32) -> &[Remote] {
        self.get(topic).map_or(&[], Topic::remotes)
    }

    /// Returns how many sessions of this core are subscribed to a topic or pattern.
    pub(super) fn count(&self, name: &str) -> usize {
        self.find(name.as_bytes()).and_then(|topic| self.get(topic)).map_or(0, |topic| topic.members.count as usize)
    }

    /// Returns the number of a topic, if it exists.
    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        let hash = self.hash(name);
        let is_it = |index: &u32| self.records.get(*index).is_some_and(|topic| topic.name.as_bytes() == name);
        self.names.find(spread(hash), is_it).copied()
    }

    /// Calls `each` with the number of every topic that receives a message for `name`: the topic itself and every
    /// pattern that matches it. Costs a lookup, and another for each length of a pattern.
    pub(super) fn for_each_target(&self, name: &str, mut each: impl FnMut(u32)) {
        self.find(name.as_bytes()).into_iter().for_each(&mut each);
        if self.pattern_bytes.is_empty() {
            return;
        }
        let mut pattern = [0; TOPIC_BYTES_MAX + 1];
        for bytes in self.pattern_bytes.range(..=name.len().min(TOPIC_BYTES_MAX)).map(|(bytes, _)| *bytes) {
            pattern[..bytes].copy_from_slice(&name.as_bytes()[..bytes]);
            pattern[bytes] = b'*';
            self.find(&pattern[..=bytes]).into_iter().for_each(&mut each);
        }
    }

    /// Subscribes a session. Returns whether the subscription is new; if it exists, its options change.
    pub(super) fn subscribe(
        &mut self,
        name: &str,
        session: (Token, &mut u32),
        subscribe: Subscribe,
        limits: SubscriptionLimits,
    ) -> Result<bool, TopicError> {
        policy::check(name)?;
        let (token, place) = session;
        let membership = self.subscriptions(*place);
        let known = self.find(name.as_bytes());
        let member = known.and_then(|topic| self.member(topic, (token.index, *place)));
        if let Some(member) = member.and_then(|member| self.members.get_mut(member)) {
            member.subscribe_as(subscribe);
            return Ok(false);
        }
        if membership.count >= limits.subscriptions_max {
            return Err(TopicError::TooManySubscriptions { max: limits.subscriptions_max });
        }
        let is_first = known.and_then(|topic| self.records.get(topic)).is_none_or(|topic| topic.members.count == 0);
        if is_first && self.subscribed >= limits.topics_max {
            return Err(TopicError::TooManyTopics { max: limits.topics_max });
        }
        if known.is_none() && !self.has_room_for_pattern(name) {
            return Err(TopicError::TooManyPatternLengths { max: PATTERN_LENGTHS_MAX });
        }
        let topic = known.unwrap_or_else(|| self.insert(name));
        if *place == NO_ENTRY {
            *place = self.sessions.insert(Membership::default());
        }
        let (Some(record), Some(membership)) = (self.records.get_mut(topic), self.sessions.get_mut(*place)) else {
            return Ok(false);
        };
        let Some(member) = self.members.add((topic, &mut record.members), (token.index, membership), subscribe) else {
            return Ok(false);
        };
        if is_first {
            self.subscribed += 1;
            self.queue_announcement(topic);
        }
        if self.is_known_everywhere(topic) {
            self.to_confirm.push_back(member);
        }
        Ok(true)
    }

    /// Ends a session's subscription and returns it, if there is one.
    pub(super) fn unsubscribe(&mut self, name: &str, session: (u32, &mut u32)) -> Option<Member> {
        let topic = self.find(name.as_bytes())?;
        let member = self.member(topic, (session.0, *session.1))?;
        self.leave(member, session.1)
    }

    /// Returns whether a session is subscribed.
    pub(super) fn is_subscribed(&self, name: &str, session: (u32, u32)) -> bool {
        self.find(name.as_bytes()).and_then(|topic| self.member(topic, session)).is_some()
    }

    /// Returns the subscription of a session to a topic.
    fn member(&self, topic: u32, session: (u32, u32)) -> Option<u32> {
        let its = (topic, self.records.get(topic)?.members);
        self.members.find(its, (session.0, self.subscriptions(session.1)))
    }

    /// Returns the subscriptions of a session.
    pub(super) fn subscriptions(&self, place: u32) -> Membership {
        self.sessions.get(place).copied().unwrap_or_default()
    }

    /// Returns the names of the topics and patterns that a session is subscribed to.
    pub(super) fn of_session(&self, place: u32) -> impl Iterator<Item = &str> {
        let mut at = self.subscriptions(place).first;
        std::iter::from_fn(move || {
            let member = self.members.get(at)?;
            at = member.next_of_session();
            self.records.get(member.topic()).map(|topic| &*topic.name)
        })
    }

    /// Ends one of a session's subscriptions and returns it, if there is any.
    pub(super) fn leave_one(&mut self, place: &mut u32) -> Option<Member> {
        self.leave(self.subscriptions(*place).first, place)
    }

    fn leave(&mut self, member: u32, place: &mut u32) -> Option<Member> {
        let topic = self.members.get(member)?.topic();
        let (record, membership) = (self.records.get_mut(topic)?, self.sessions.get_mut(*place)?);
        let removed = self.members.remove(member, &mut record.members, membership)?;
        if membership.count == 0 {
            self.sessions.remove(std::mem::replace(place, NO_ENTRY));
        }
        if let Some(flow) = &mut record.flow {
            if flow.cursor == member {
                flow.cursor = removed.next_of_topic();
            }
            if removed.is_lagging() {
                flow.lagging -= 1;
            }
        }
        if record.members.count == 0 {
            self.subscribed -= 1;
            self.queue_announcement(topic);
        }
        self.forget_if_over(topic);
        Some(removed)
    }

    /// Returns the next session whose handler is to be told of a subscription, and the topic.
    pub(super) fn next_confirmed(&mut self) -> Option<(u32, u32)> {
        while let Some(member) = self.to_confirm.pop_front() {
            let topic = self.members.get(member).map(Member::topic);
            // The subscription may have ended, and another may use its entry, which is confirmed later.
            if !topic.is_some_and(|topic| self.is_known_everywhere(topic)) {
                continue;
            }
            if let Some(member) = self.members.get_mut(member).filter(|member| !member.is_confirmed()) {
                member.confirm();
                return Some((member.session(), member.topic()));
            }
        }
        None
    }

    /// Frees the memory that a topic does not need any more: all of it if no core is interested.
    pub(super) fn forget_if_over(&mut self, topic: u32) {
        let Some(record) = self.records.get_mut(topic) else { return };
        if record.flow.as_ref().is_some_and(|flow| flow.is_over()) {
            record.flow = None;
        }
        let is_kept = record.members.count > 0
            || record.remotes.is_some()
            || record.flow.is_some()
            || record.announced
            || record.queued
            || record.in_transit > 0;
        if !is_kept {
            self.remove(topic);
        }
    }

    fn has_room_for_pattern(&self, name: &str) -> bool {
        let Some(stem) = name.strip_suffix('*') else { return true };
        self.pattern_bytes.contains_key(&stem.len()) || self.pattern_bytes.len() < PATTERN_LENGTHS_MAX
    }

    fn insert(&mut self, name: &str) -> u32 {
        let hash = self.hash(name.as_bytes());
        self.generation = self.generation.wrapping_add(1);
        let index = self.records.insert(Topic {
            name: name.into(),
            remotes: None,
            flow: None,
            members: Membership::default(),
            hash,
            generation: self.generation,
            announced: false,
            queued: false,
            in_transit: 0,
        });
        let records = &self.records;
        let rehash = |index: &u32| records.get(*index).map_or(0, |topic| spread(topic.hash));
        self.names.insert_unique(spread(hash), index, rehash);
        if let Some(stem) = name.strip_suffix('*') {
            *self.pattern_bytes.entry(stem.len()).or_default() += 1;
        }
        index
    }

    fn remove(&mut self, topic: u32) {
        let Some(record) = self.records.remove(topic) else { return };
        if let Ok(entry) = self.names.find_entry(spread(record.hash), |index| *index == topic) {
            entry.remove();
        }
        if self.names.len() < self.names.capacity() / 8 {
            let records = &self.records;
            self.names
                .shrink_to(2 * self.names.len(), |index| records.get(*index).map_or(0, |topic| spread(topic.hash)));
        }
        let Some(stem) = record.name.strip_suffix('*') else { return };
        if let Entry::Occupied(mut patterns) = self.pattern_bytes.entry(stem.len()) {
            *patterns.get_mut() -= 1;
            if *patterns.get() == 0 {
                patterns.remove();
            }
        }
    }

    /// Returns a keyed hash, so that no client can choose names that collide.
    fn hash(&self, name: &[u8]) -> u32 {
        self.hasher.hash_one(name) as u32
    }
}

/// Returns the 64 bits that the table expects, of which it uses the highest and the lowest, from the 32 that are kept.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests;
