//! The rounds in which what was published to a topic is brought to its subscribers here.
//!
//! Says which topic and which subscriber is next, and never touches a session. Invariant: a topic with something to deliver
//! is on exactly one of the lists of those that go on, now or in a later turn.

use super::flow::{Flow, Latest, Portion, Round};
use super::members::Member;
use super::topic::TopicKey;
use super::{NOBODY, Topics};
use crate::protocol::Batch;

/// Subscribers of a topic from which on a turn that does nothing is little beside a round: that is as many sends.
const LARGE_MEMBERS_MIN: u32 = 256;

impl Topics {
    /// What is on its way to a topic's subscribers.
    pub(in crate::engine) fn flow_mut(&mut self, topic: u32) -> Option<&mut Flow> {
        self.records.get_mut(topic)?.flow.as_deref_mut()
    }

    /// As [`Topics::flow_mut`], and makes it.
    pub(in crate::engine) fn flow_or_new(&mut self, topic: u32) -> Option<&mut Flow> {
        Some(self.records.get_mut(topic)?.flow.get_or_insert_default())
    }

    /// Has a batch delivered to the subscribers of this core. It counts for the backlog already.
    pub(in crate::engine) fn await_delivery(&mut self, topic: u32, portion: Portion) {
        let Some(flow) = self.flow_or_new(topic) else { return };
        flow.waiting.push_back(portion);
        if !std::mem::replace(&mut flow.active, true) {
            self.active.push_back(topic);
        }
    }

    /// Has a batch from another core delivered. One for a topic that has no subscribers any more is dropped.
    pub(in crate::engine) fn arrived(&mut self, key: TopicKey, batch: Batch) {
        if self.at(key).is_some_and(|topic| topic.members.count > 0) {
            self.backlog_bytes += batch.bytes();
            self.await_delivery(key.index, Portion { batch, senders: Vec::new(), is_shared: true });
        }
    }

    /// The first members of topics that are next to be delivered.
    pub(in crate::engine) fn next_members(&self, topics_max: usize) -> impl Iterator<Item = &Member> {
        let topics = self.active.iter().take(topics_max).filter_map(|topic| self.records.get(*topic));
        topics.filter_map(|topic| self.members.get(topic.members.first))
    }

    /// The next topic with something to deliver.
    pub(in crate::engine) fn next_active(&mut self) -> Option<u32> {
        self.active.pop_front()
    }

    /// At the end of a turn: what rested goes on in the next. Says whether there is anything to deliver or to tell, what
    /// handlers have published since batches were made included.
    pub(in crate::engine) fn go_on(&mut self) -> bool {
        self.active.extend(self.rested.drain(..));
        std::mem::swap(&mut self.rested, &mut self.resting);
        !(self.active.is_empty() && self.rested.is_empty() && self.gathered.is_empty() && self.to_confirm.is_empty())
    }

    /// The round to go on with, a new one if there is none; its cursor is in the flow.
    pub(in crate::engine) fn take_round(&mut self, topic: u32) -> Option<Round> {
        let first = self.records.get(topic)?.members.first;
        let round_bytes_max = self.round_bytes_max;
        let flow = self.flow_mut(topic)?;
        if let Some(round) = flow.round.take() {
            return Some(round);
        }
        flow.cursor = first;
        let round = flow.begin_round(round_bytes_max);
        if round.is_none() {
            flow.active = false;
            self.forget_if_over(topic);
        }
        round
    }

    /// Whom the round under way reaches next; the one after is next then, whoever leaves meanwhile.
    #[inline]
    pub(in crate::engine) fn next_member(&mut self, topic: u32) -> Option<(u32, Member)> {
        let flow = self.records.get_mut(topic)?.flow.as_deref_mut()?;
        let at = flow.cursor;
        let member = *self.members.get(at)?;
        flow.cursor = member.next_of_topic();
        Some((at, member))
    }

    /// Puts a round aside that has yet to reach some, or ends one that has reached all.
    pub(in crate::engine) fn put_back(&mut self, topic: u32, round: Round) {
        let Some(flow) = self.records.get_mut(topic).and_then(|topic| topic.flow.as_deref_mut()) else { return };
        if flow.cursor == NOBODY {
            self.backlog_bytes -= round.bytes;
        } else {
            flow.round = Some(round);
        }
        flow.active = flow.round.is_some() || !flow.waiting.is_empty();
        if flow.round.is_some() {
            self.active.push_back(topic);
        } else if flow.active {
            self.rest(topic);
        } else {
            self.forget_if_over(topic);
        }
    }

    /// Lets a topic begin its next round in the next turn, together with what comes by then. A large one rests for a turn
    /// more, by which its last sends have left: who publishes again once everything has come is gathered too. With four
    /// messages under way to 10,000 subscribers, that is a quarter fewer sends.
    fn rest(&mut self, topic: u32) {
        let is_large = self.records.get(topic).is_some_and(|topic| topic.members() >= LARGE_MEMBERS_MIN);
        if is_large { self.resting.push(topic) } else { self.rested.push(topic) }
    }

    /// Notes which message is the latest, and that a member waits for it, unless it is not to have it; says whether it
    /// waited for one before.
    pub(in crate::engine) fn fall_behind(
        &mut self,
        topic: u32,
        member: u32,
        latest: Option<Latest>,
        waits: bool,
    ) -> bool {
        let changed = self.members.get_mut(member).is_some_and(|member| member.set_behind(waits));
        if let Some(flow) = self.flow_or_new(topic) {
            match (changed, waits) {
                (true, true) => flow.behind += 1,
                (true, false) => flow.behind -= 1,
                _ => {}
            }
            flow.latest = latest.filter(|_| flow.behind > 0);
        }
        changed != waits
    }

    /// Whether a round of the topic has reached some of its subscribers and not others.
    pub(in crate::engine) fn is_mid_round(&self, topic: u32) -> bool {
        self.get(topic).and_then(|topic| topic.flow.as_ref()).is_some_and(|flow| flow.round.is_some())
    }

    /// Notes that a member does not wait for the latest message any more, and gives it if it did.
    pub(in crate::engine) fn catch_up(&mut self, member: u32) -> Option<Latest> {
        let its = self.members.get_mut(member)?;
        let topic = its.topic();
        if !its.set_behind(false) {
            return None;
        }
        let flow = self.flow_mut(topic)?;
        flow.behind -= 1;
        let latest = if flow.behind == 0 { flow.latest.take() } else { flow.latest.clone() };
        self.forget_if_over(topic);
        latest
    }
}
