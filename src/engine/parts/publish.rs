//! Publishing: from a message to the batches for subscribers here and for other cores.
//!
//! The messages published to a topic in one turn are encoded once, into one batch. Invariant: the backlog of this core
//! is bounded by [`Limits::backlog_bytes_max`](super::Limits): long before that, sessions that publish are throttled,
//! and beyond it messages are dropped and counted.

use super::Parts;
use crate::engine::mail::{EntryKind, MeshEntry};
use crate::engine::reasons::DropReason;
use crate::engine::session::Slot;
use crate::engine::topics::{self, Flow, Member, QueuedBatch, TopicError};
use crate::engine::values::Sent;
use crate::protocol::deflate::Compress;
use crate::protocol::{Batch, HEADER_BYTES_MAX, Message};
use crate::reactor::Token;

/// The part of the backlog's limit from which on sessions that publish are throttled.
const CONGESTED_AT: usize = 4;

impl Parts {
    /// Publishes a message, for a sender that may exclude its own messages.
    pub(in crate::engine) fn publish(
        &mut self,
        sender: Option<Token>,
        topic: &str,
        message: Message<'_>,
        compress: Compress,
    ) -> Result<Sent, TopicError> {
        topics::check_publishable(topic)?;
        self.counters.messages_published.add(1);
        Ok(self.publish_by(topic, |parts, target| parts.gather(target, sender, message, compress)))
    }

    /// Publishes an encoded batch.
    pub(in crate::engine) fn publish_batch(&mut self, topic: &str, batch: &Batch) -> Sent {
        self.counters.messages_published.add(batch.messages() as u64);
        self.publish_by(topic, |parts, target| parts.gather_batch(target, batch))
    }

    /// Gathers something for each topic and pattern that a message to this topic reaches. Returns the worst outcome.
    fn publish_by(&mut self, topic: &str, gather: impl Fn(&mut Self, u32) -> Sent) -> Sent {
        let mut targets = std::mem::take(&mut self.targets);
        self.topics.for_each_target(topic, |target| targets.push(target));
        let sent = targets.drain(..).fold(Sent::Queued, |sent, target| worse(sent, gather(self, target)));
        self.targets = targets;
        sent
    }

    /// Returns whether the backlog of this core is larger than it should be.
    pub(in crate::engine) fn is_congested(&self) -> bool {
        self.topics.backlog_bytes > self.limits.backlog_bytes_max / CONGESTED_AT
    }

    /// Returns whether sessions that publish must wait: the backlog here, or a ring to another core, is too full.
    pub(in crate::engine) fn must_throttle(&self) -> bool {
        self.is_congested() || self.mesh.others().any(|core| self.mesh.is_crowded(core))
    }

    /// Ends a session's subscriptions, because it is closing and receives nothing more.
    pub(in crate::engine) fn leave_all<S>(&mut self, slot: &mut Slot<S>) {
        while let Some(member) = self.topics.leave_one(slot.membership_mut()) {
            self.note_left(member);
        }
        slot.set_lagging(false);
    }

    /// Counts the message that an ended subscription waited for.
    pub(in crate::engine) fn note_left(&self, member: Member) {
        // The session does not get the latest message that it waited for.
        self.count_dropped(DropReason::TopicLatest, usize::from(member.is_lagging()));
    }

    /// Throttles a session that published, until there is room again.
    pub(in crate::engine) fn throttle<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if slot.throttle() {
            self.counters.publishers_throttled.add(1);
            self.publishers.note_throttled(token);
        }
    }

    /// Makes batches of the gathered messages at the end of a turn, for subscribers here and for other cores.
    pub(in crate::engine) fn seal_all(&mut self) {
        let mut gathered = std::mem::take(&mut self.topics.gathered);
        for topic in gathered.drain(..) {
            self.seal(topic);
        }
        self.topics.gathered = gathered;
    }

    fn gather(&mut self, topic: u32, sender: Option<Token>, message: Message<'_>, compress: Compress) -> Sent {
        if !self.has_room_for(message.len()) {
            self.counters.messages_dropped.add(&DropReason::BacklogFull);
            return Sent::Dropped;
        }
        self.gather_by(topic, |flow| {
            let number = flow.gathering.messages();
            flow.gathering.push(message, compress);
            flow.senders.extend(sender.map(|sender| (number, sender)));
        })
    }

    fn gather_batch(&mut self, topic: u32, batch: &Batch) -> Sent {
        if !self.has_room_for(batch.bytes()) {
            self.counters.messages_dropped.add_many(&DropReason::BacklogFull, batch.messages() as u64);
            return Sent::Dropped;
        }
        if self.limits.compression.is_some() {
            // The batch is not merged, so that all topics and cores share its encodings; gathered messages go first.
            self.seal(topic);
            self.topics.backlog_bytes += batch.bytes();
            self.dispatch(topic, QueuedBatch { batch: batch.clone(), senders: Vec::new(), is_shared: true });
            return self.queued();
        }
        self.gather_by(topic, |flow| flow.gathering.append(batch))
    }

    fn has_room_for(&self, payload_bytes: usize) -> bool {
        // Even the largest message is accepted if nothing else waits.
        let backlog_bytes = self.topics.backlog_bytes;
        backlog_bytes == 0 || backlog_bytes + payload_bytes + HEADER_BYTES_MAX <= self.limits.backlog_bytes_max
    }

    fn gather_by(&mut self, topic: u32, add: impl FnOnce(&mut Flow)) -> Sent {
        let Some(flow) = self.topics.flow_or_new(topic) else { return Sent::Dropped };
        let before = flow.gathering.bytes();
        add(flow);
        let after = flow.gathering.bytes();
        self.topics.backlog_bytes += after - before;
        if before == 0 {
            self.topics.gathered.push(topic);
        }
        if after >= self.topics.round_bytes_max {
            self.seal(topic);
        }
        self.queued()
    }

    fn queued(&self) -> Sent {
        if self.must_throttle() { Sent::Backpressure } else { Sent::Queued }
    }

    /// Makes a batch of the messages gathered for a topic.
    fn seal(&mut self, topic: u32) {
        let Some(flow) = self.topics.flow_mut(topic) else { return };
        if flow.gathering.messages() > 0 {
            let batch = std::mem::take(&mut flow.gathering).finish();
            let senders = std::mem::take(&mut flow.senders);
            let is_shared = !self.topics.remotes(topic).is_empty();
            self.dispatch(topic, QueuedBatch { batch, senders, is_shared });
        }
    }

    /// Sends a batch to the other cores with subscribers, and queues it for those here.
    fn dispatch(&mut self, topic: u32, queued: QueuedBatch) {
        for remote in self.topics.remotes(topic) {
            let kind = EntryKind::Batch { key: remote.key, batch: queued.batch.clone() };
            if self.mesh.push(remote.core, MeshEntry(kind)).is_err() {
                self.counters.messages_dropped.add_many(&DropReason::RingFull, queued.batch.messages() as u64);
            }
        }
        if self.topics.get(topic).is_some_and(|topic| topic.members() > 0) {
            self.topics.await_delivery(topic, queued);
        } else {
            self.topics.backlog_bytes -= queued.batch.bytes();
            self.topics.forget_if_over(topic);
        }
    }
}

/// Returns the worse of two outcomes.
fn worse(one: Sent, other: Sent) -> Sent {
    match (one, other) {
        (Sent::Dropped, _) | (_, Sent::Dropped) => Sent::Dropped,
        (Sent::Backpressure, _) | (_, Sent::Backpressure) => Sent::Backpressure,
        _ => Sent::Queued,
    }
}
