//! The rounds that deliver a topic's messages to its subscribers on this core.
//!
//! Returns which topic and which subscriber is next, and never touches a session. Invariant: a topic with something to
//! deliver is on exactly one of the lists of those that continue, in this or a later turn.

use super::Topics;
use super::flow::{Flow, Latest, QueuedBatch, Round};
use super::members::Member;
use super::topic::TopicKey;
use crate::protocol::Batch;
use crate::slab::NO_ENTRY;

/// The subscribers of a large topic: the cost of an additional turn is small compared with as many sends.
const LARGE_MEMBERS_MIN: u32 = 256;

impl Topics {
    /// Returns the undelivered messages of a topic.
    pub(in crate::engine) fn flow_mut(&mut self, topic: u32) -> Option<&mut Flow> {
        self.records.get_mut(topic)?.flow.as_deref_mut()
    }

    /// Returns the undelivered messages of a topic, as [`Topics::flow_mut`], and creates the flow if there is none.
    pub(in crate::engine) fn flow_or_new(&mut self, topic: u32) -> Option<&mut Flow> {
        Some(self.records.get_mut(topic)?.flow.get_or_insert_default())
    }

    /// Queues a batch for the subscribers of this core. It is part of the backlog already.
    pub(in crate::engine) fn await_delivery(&mut self, topic: u32, queued: QueuedBatch) {
        let Some(flow) = self.flow_or_new(topic) else { return };
        flow.waiting.push_back(queued);
        if !std::mem::replace(&mut flow.active, true) {
            self.active.push_back(topic);
        }
    }

    /// Queues a batch from another core. If the topic has no subscribers any more, the batch is dropped.
    pub(in crate::engine) fn receive(&mut self, key: TopicKey, batch: Batch) {
        if self.at(key).is_some_and(|topic| topic.members.count > 0) {
            self.backlog_bytes += batch.bytes();
            self.await_delivery(key.index, QueuedBatch { batch, senders: Vec::new(), is_shared: true });
        }
    }

    /// Returns the first subscriptions to the topics that are delivered next.
    pub(in crate::engine) fn next_members(&self, topics_max: usize) -> impl Iterator<Item = &Member> {
        let topics = self.active.iter().take(topics_max).filter_map(|topic| self.records.get(*topic));
        topics.filter_map(|topic| self.members.get(topic.members.first))
    }

    /// Takes the next topic with something to deliver.
    pub(in crate::engine) fn next_active(&mut self) -> Option<u32> {
        self.active.pop_front()
    }

    /// Ends a turn: topics set aside for the next turn become active. Returns whether anything is left to deliver or to
    /// confirm, including what handlers have published since the batches were made.
    pub(in crate::engine) fn end_turn(&mut self) -> bool {
        self.active.extend(self.next_turn.drain(..));
        std::mem::swap(&mut self.next_turn, &mut self.turn_after_next);
        !(self.active.is_empty() && self.next_turn.is_empty() && self.gathered.is_empty() && self.to_confirm.is_empty())
    }

    /// Takes the round to continue, or begins one. Its cursor is in the flow.
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

    /// Returns the subscription that this round visits next and advances the cursor, so that a subscription which ends
    /// during its visit does not break the walk.
    #[inline]
    pub(in crate::engine) fn next_member(&mut self, topic: u32) -> Option<(u32, Member)> {
        let flow = self.records.get_mut(topic)?.flow.as_deref_mut()?;
        let at = flow.cursor;
        let member = *self.members.get(at)?;
        flow.cursor = member.next_of_topic();
        Some((at, member))
    }

    /// Puts back a round that has yet to reach some subscribers, or ends one that has reached all.
    pub(in crate::engine) fn put_back(&mut self, topic: u32, round: Round) {
        let Some(flow) = self.records.get_mut(topic).and_then(|topic| topic.flow.as_deref_mut()) else { return };
        if flow.cursor == NO_ENTRY {
            self.backlog_bytes -= round.bytes;
        } else {
            flow.round = Some(round);
        }
        flow.active = flow.round.is_some() || !flow.waiting.is_empty();
        if flow.round.is_some() {
            self.active.push_back(topic);
        } else if flow.active {
            self.rest_topic(topic);
        } else {
            self.forget_if_over(topic);
        }
    }

    /// Lets a topic begin its next round in the next turn, together with what arrives by then. A large topic rests for
    /// a turn more, until its last sends have completed, so that publishers which wait for their own message are
    /// gathered too. With four messages under way to 10,000 subscribers, that saves a quarter of the sends.
    fn rest_topic(&mut self, topic: u32) {
        let is_large = self.records.get(topic).is_some_and(|topic| topic.members() >= LARGE_MEMBERS_MIN);
        if is_large { self.turn_after_next.push(topic) } else { self.next_turn.push(topic) }
    }

    /// Records the latest message and whether a subscription waits for it. Returns whether it already waited.
    pub(in crate::engine) fn note_latest(
        &mut self,
        topic: u32,
        member: u32,
        latest: Option<Latest>,
        waits: bool,
    ) -> bool {
        let changed = self.members.get_mut(member).is_some_and(|member| member.set_lagging(waits));
        if let Some(flow) = self.flow_or_new(topic) {
            match (changed, waits) {
                (true, true) => flow.lagging += 1,
                (true, false) => flow.lagging -= 1,
                _ => {}
            }
            flow.latest = latest.filter(|_| flow.lagging > 0);
        }
        changed != waits
    }

    /// Returns whether a round of the topic has reached some of its subscribers and not others.
    pub(in crate::engine) fn is_mid_round(&self, topic: u32) -> bool {
        self.get(topic).and_then(|topic| topic.flow.as_ref()).is_some_and(|flow| flow.round.is_some())
    }

    /// Ends a subscription's wait for the latest message. Returns the message, if it waited.
    pub(in crate::engine) fn catch_up(&mut self, member: u32) -> Option<Latest> {
        let its = self.members.get_mut(member)?;
        let topic = its.topic();
        if !its.set_lagging(false) {
            return None;
        }
        let flow = self.flow_mut(topic)?;
        flow.lagging -= 1;
        let latest = if flow.lagging == 0 { flow.latest.take() } else { flow.latest.clone() };
        self.forget_if_over(topic);
        latest
    }
}
