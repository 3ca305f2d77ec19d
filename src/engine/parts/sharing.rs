//! Sharing: frames for many sessions go into their outboxes by reference.

use bytes::Bytes;

use super::Parts;
use crate::engine::reasons::DropReason;
use crate::engine::session::outbox::SharedFrames;
use crate::engine::session::{List, Slot};
use crate::engine::topics::{Latest, Member, Round};
use crate::engine::wheel::{NEVER, ticks};
use crate::protocol::Encoding;
use crate::reactor::Token;

impl Parts {
    /// Returns whether a subscriber is late: its outbox is too full, or holds shared frames for too long.
    pub(in crate::engine) fn is_late<S>(&self, slot: &Slot<S>) -> bool {
        slot.outbox().is_some_and(|outbox| {
            let since = outbox.shared_since();
            outbox.bytes() > self.outbox_bytes_max(slot)
                || (since != NEVER && self.tick >= since.saturating_add(ticks(self.limits.outbox_age_ms_max)))
        })
    }

    /// Queues a round for a session, without its own messages if it excludes them.
    #[inline]
    pub(in crate::engine) fn share_round<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        member: Member,
        round: &mut Round,
    ) {
        let Some(topic) = self.topics.key(member.topic()) else { return };
        let (overflow, since) = (member.overflow(), self.tick);
        let own: Vec<usize> = if member.excludes_own() { round.own_messages(token).collect() } else { Vec::new() };
        let (window, compressors) = self.compression.for_shared_frames(slot.connection_mut(), &self.limits);
        let encoding = round.encoding(window, compressors);
        if own.is_empty() {
            let (frames, messages) = (encoding.frames().clone(), encoding.messages() as u32);
            return self.share(slot, token, SharedFrames { frames, messages, topic, overflow, since });
        }
        for (frames, messages) in without(encoding, &own) {
            self.share(slot, token, SharedFrames { frames, messages, topic, overflow, since });
        }
    }

    pub(in crate::engine) fn share_latest<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        member: Member,
        latest: &Latest,
    ) {
        let (window, compressors) = self.compression.for_shared_frames(slot.connection_mut(), &self.limits);
        let frames = latest.batch.encoding(window, compressors).frames().clone();
        let Some(topic) = self.topics.key(member.topic()) else { return };
        let shared = SharedFrames { frames, messages: 1, topic, overflow: member.overflow(), since: self.tick };
        self.share(slot, token, shared);
    }

    #[inline]
    fn share<S>(&mut self, slot: &mut Slot<S>, token: Token, shared: SharedFrames) {
        self.counters.messages_sent.add(u64::from(shared.messages));
        self.log_shared(token, shared.topic.index, shared.messages, shared.frames.len());
        if !slot.has_outbox() {
            self.put_in_outbox(slot, token, Box::default());
        }
        if let Some(outbox) = slot.outbox_mut() {
            outbox.share(shared);
        }
        self.mark_dirty(slot, token);
    }

    /// Queues a session for a visit in the next turn: it waits for a latest message, but no send is in flight whose
    /// completion would cause one.
    pub(in crate::engine) fn catch_up_next_turn<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        self.lists.add(List::CatchingUp, slot, token);
    }

    pub(in crate::engine) fn count_dropped(&self, reason: DropReason, messages: usize) {
        self.counters.messages_dropped.add_many(&reason, messages as u64);
    }
}

/// Returns the frames before, between and after some messages, and the numbers of their messages.
fn without(encoding: &Encoding, own: &[usize]) -> Vec<(Bytes, u32)> {
    let mut from = 0;
    let gaps = own.iter().copied().chain([encoding.messages()]).map(|to| std::mem::replace(&mut from, to + 1)..to);
    let some = gaps.filter(|gap| !gap.is_empty());
    some.map(|gap| (encoding.slice(gap.clone()), gap.len() as u32)).collect()
}
