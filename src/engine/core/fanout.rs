//! Fan-out: bringing what was published to every subscriber of this core.
//!
//! One buffer for each topic, turn and way of encoding is shared by all; one send for each subscriber and turn carries it.
//! A fan-out to very many is cut over several turns. Invariant: each subscriber gets what was published to a topic in the
//! order published, whole, or what is missing is counted under the policy it subscribed with.

use bytes::Bytes;

use crate::engine::common::Common;
use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::reasons::DropReason;
use crate::engine::session::Slot;
use crate::engine::session::outbox::SharedFrames;
use crate::engine::topics::{Latest, Member, Overflow, Round, TopicKey};
use crate::engine::wheel::{NEVER, ticks};
use crate::protocol::deflate::WindowBits;
use crate::protocol::{CloseCode, Encoding};
use crate::reactor::{Reactor, Token};

/// Subscribers visited in a turn. Whole rounds gather most: cut in two, one to a thousand costs a third more CPU.
const VISITS_PER_TURN_MAX: usize = 1024;

/// Others speak for so many ticks after they were last heard.
const OTHERS_SPEAK_TICKS: u32 = 2;

/// Subscribers of one topic visited before the next topic has its turn.
const VISITS_PER_TOPIC_MAX: usize = 256;

/// Topics whose subscribers are looked at before the first is delivered: what that brings stays in the first-level cache.
const LOOK_AHEAD_TOPICS: usize = 64;

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Delivers what was published, as much as a turn may.
    pub(in crate::engine) fn fan_out(&mut self) {
        for _ in 0..self.common.catching_up.len().min(VISITS_PER_TURN_MAX) {
            let Some(token) = self.common.catching_up.pop_front() else { break };
            if let Some(slot) = self.sessions.get_mut(token) {
                slot.catching_up = false;
                self.catch_up(token);
            }
        }
        self.common.seal_all();
        self.look_ahead();
        let mut visits = VISITS_PER_TURN_MAX;
        // For how many visits one of a topic counts that needs more than a turn anyway, while others speak.
        let mut finer = None;
        while visits > 0 {
            let Some(topic) = self.common.topics.next_active() else { break };
            let members = self.common.topics.get(topic).map_or(0, |topic| topic.members() as usize);
            let is_cut_finer = members > VISITS_PER_TURN_MAX && self.common.others_speak();
            let weight =
                if is_cut_finer { *finer.get_or_insert_with(|| self.common.cut.weight(self.now_ms)) } else { 1 };
            let visited = self.deliver(topic, visits.div_ceil(weight).min(VISITS_PER_TOPIC_MAX));
            // A topic with nobody left costs a visit too.
            visits = visits.saturating_sub((visited * weight).max(1));
        }
        if finer.is_none() {
            self.common.cut.pause();
        }
        self.release_publishers();
        self.tell_of_topics();
    }

    /// Reads what delivering to the first two subscribers of each of many topics will touch. These reads wait for memory
    /// together, those of delivering one after another.
    fn look_ahead(&mut self) {
        let mut seen = 0;
        for member in self.common.topics.next_members(LOOK_AHEAD_TOPICS) {
            let next = self.common.topics.members.get(member.next_of_topic());
            for member in [Some(member), next].into_iter().flatten() {
                let Some((token, slot)) = self.sessions.at_mut(member.session()) else { continue };
                seen += token.generation as usize + slot.outbox_bytes() + usize::from(slot.is_open());
            }
        }
        std::hint::black_box(seen);
    }

    /// Delivers to so many subscribers of a topic at most, and says to how many.
    fn deliver(&mut self, topic: u32, visits_max: usize) -> usize {
        let Some(mut round) = self.common.topics.take_round(topic) else { return 0 };
        let mut visits = 0;
        while visits < visits_max {
            let Some((number, member)) = self.common.topics.next_member(topic) else { break };
            self.deliver_to(number, member, &mut round);
            visits += 1;
        }
        self.common.topics.put_back(topic, round);
        visits
    }

    /// Costs, for a subscriber that keeps up: a look at its slot, a reference to the frames, an outbox of 96 bytes.
    #[inline]
    fn deliver_to(&mut self, number: u32, member: Member, round: &mut Round) {
        let Some((token, slot)) = self.sessions.at_mut(member.session()) else { return };
        if !slot.is_open() {
            return self.common.count_dropped(DropReason::Closing, due(member, token, round));
        }
        let is_late = slot.outbox.is_some() && self.common.is_late(slot);
        let has_own = member.is_echoless() && round.has_senders();
        if is_late || has_own || member.is_behind() {
            return self.deliver_with_care(number, member, token, round);
        }
        self.common.share_round(slot, token, member, round);
    }

    /// The rest: for who is late, was late, or is not to be sent its own.
    fn deliver_with_care(&mut self, number: u32, member: Member, token: Token, round: &mut Round) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        // Who waits for the latest message goes on waiting until something has left.
        let awaits_latest = member.is_behind() && member.overflow() == Overflow::Latest && slot.outbox.is_some();
        let is_late = self.common.is_late(slot) || awaits_latest;
        if is_late && !self.make_room(number, member, token, round) {
            return;
        }
        // What it waited for is older than this.
        if self.common.topics.catch_up(number).is_some() {
            let topic = self.common.topics.key(member.topic());
            topic.into_iter().for_each(|topic| self.drop_for(token, topic, DropReason::TopicLatest, 1));
        }
        // Its handler may have closed it, or left, when it was told.
        let left = self.common.topics.members.get(number).is_none_or(|now| !now.is_same_as(&member));
        let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.is_open() && !left) else {
            return self.common.count_dropped(DropReason::Closing, due(member, token, round));
        };
        self.common.share_round(slot, token, member, round);
    }

    /// Follows the policy of a subscriber that does not keep up, and says whether there is room now.
    fn make_room(&mut self, number: u32, member: Member, token: Token, round: &mut Round) -> bool {
        let Some(topic) = self.common.topics.key(member.topic()) else { return false };
        let messages = due(member, token, round);
        match member.overflow() {
            Overflow::Close => {
                self.drop_for(token, topic, DropReason::TopicClose, messages);
                let reason = "What was published waited for too long to be read.";
                self.call(token, |_, session| session.close(CloseCode::TRY_AGAIN_LATER, reason));
                self.flush_and_settle(token);
            }
            Overflow::DropNewest => self.drop_for(token, topic, DropReason::TopicNewest, messages),
            Overflow::DropOldest => {
                let bytes_max = self.common.limits.outbox_bytes_max.saturating_sub(round.bytes);
                let since_max = self.common.tick.saturating_sub(ticks(self.common.limits.outbox_age_ms_max));
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                let dropped = slot.outbox.as_mut().map(|outbox| outbox.drop_oldest(bytes_max, since_max));
                slot.forget_empty_outbox();
                for (topic, messages) in dropped.unwrap_or_default() {
                    self.drop_for(token, topic, DropReason::TopicOldest, messages as usize);
                }
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                // What is in flight may be old, and is nobody's to drop: only its bytes count.
                if slot.outbox_bytes() <= self.common.limits.outbox_bytes_max {
                    return true;
                }
                // The rest waits for good reason.
                self.drop_for(token, topic, DropReason::TopicOldest, messages);
            }
            Overflow::Latest => {
                let latest = round.latest();
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                let waiting = slot.outbox.as_mut().map_or(0, |outbox| outbox.drop_topic(topic));
                slot.forget_empty_outbox();
                slot.behind = true;
                if slot.outbox.is_none() {
                    // Nothing is under way whose end would tell that there is room.
                    self.common.catch_up_next_turn(slot, token);
                }
                // Its own it is not sent, and what came before that is not the latest.
                let is_own = member.is_echoless() && latest.as_ref().is_some_and(|latest| latest.sender == Some(token));
                let was_behind = self.common.topics.fall_behind(topic.index, number, latest, !is_own);
                let dropped = waiting as usize + messages + usize::from(was_behind) - usize::from(!is_own);
                self.drop_for(token, topic, DropReason::TopicLatest, dropped);
            }
        }
        false
    }

    /// Counts messages that a subscriber does not get, and tells its handler.
    fn drop_for(&mut self, token: Token, topic: TopicKey, reason: DropReason, messages: usize) {
        if messages == 0 {
            return;
        }
        self.common.count_dropped(reason, messages);
        let is_told = self.sessions.get_mut(token).is_some_and(|slot| slot.opened);
        let name = self.common.topics.at(topic).filter(|_| is_told).map(|topic| topic.name.clone());
        let Some(name) = name else { return };
        self.call(token, |handler, session| handler.dropped(session, &name, messages as u64));
        self.flush_and_settle(token);
    }

    /// After something left: sends the latest messages that a session waits for.
    pub(in crate::engine) fn catch_up(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if !slot.behind
            || slot.broken
            || !slot.is_open()
            || slot.outbox_bytes() > self.common.limits.outbox_bytes_max / 2
        {
            return;
        }
        slot.behind = false;
        let mut at = self.common.topics.subscriptions(slot.membership).first;
        while let Some(member) = self.common.topics.members.get(at).copied() {
            let is_full = slot.outbox_bytes() > self.common.limits.outbox_bytes_max;
            if member.is_behind() && (is_full || self.common.topics.is_mid_round(member.topic())) {
                // The latest may be on its way to it: that is known once it has come to everyone.
                slot.behind = true;
            } else if let Some(latest) = self.common.topics.catch_up(at) {
                self.common.share_latest(slot, token, member, &latest);
            }
            at = member.next_of_session();
        }
        // When there is room again something leaves; when a round is over nothing does.
        if slot.behind && slot.outbox_bytes() <= self.common.limits.outbox_bytes_max {
            self.common.catch_up_next_turn(slot, token);
        }
    }

    /// Lets sessions that published be read again once there is room.
    fn release_publishers(&mut self) {
        if self.common.held.is_empty() || self.common.holds_publishers() {
            return;
        }
        for token in std::mem::take(&mut self.common.held) {
            if let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.held) {
                slot.held = false;
                self.common.read_again(slot, token);
                self.relieve(token);
            }
        }
    }

    /// Tells the other cores of topics that came and went, and handlers of subscriptions that hold everywhere.
    fn tell_of_topics(&mut self) {
        let common = &mut self.common;
        if common.topics.interest.is_pending() {
            common.topics.tell(&mut common.mesh);
        }
        for _ in 0..VISITS_PER_TURN_MAX {
            let Some((session, topic)) = self.common.topics.next_confirmed() else { break };
            let Some(token) = self.sessions.token_at(session) else { continue };
            let Some(name) = self.common.topics.get(topic).map(|topic| topic.name.clone()) else { continue };
            self.call(token, |handler, session| handler.subscribed(session, &name));
            self.flush_and_settle(token);
        }
        self.common.mesh.wake_others();
        self.common.counters.topics.write(self.common.topics.subscribed() as u64);
        self.common.counters.subscriptions.write(self.common.topics.members.len() as u64);
    }
}

impl Common {
    /// Whether somebody of late said anything but what was published.
    fn others_speak(&self) -> bool {
        self.others_spoke.is_some_and(|tick| self.tick - tick <= OTHERS_SPEAK_TICKS)
    }

    /// Whether a subscriber does not keep up: too much waits for it, or what was published has waited for too long.
    fn is_late<S>(&self, slot: &Slot<S>) -> bool {
        slot.outbox.as_ref().is_some_and(|outbox| {
            let since = outbox.shared_since();
            outbox.bytes() > self.limits.outbox_bytes_max
                || (since != NEVER && self.tick >= since.saturating_add(ticks(self.limits.outbox_age_ms_max)))
        })
    }

    /// Queues a round for a session, without what it published itself if it does not want that back.
    #[inline]
    fn share_round<S>(&mut self, slot: &mut Slot<S>, token: Token, member: Member, round: &mut Round) {
        let Some(topic) = self.topics.key(member.topic()) else { return };
        let (overflow, since) = (member.overflow(), self.tick);
        let window = self.window_for_shared(slot);
        let own: Vec<usize> = if member.is_echoless() { round.own_messages(token).collect() } else { Vec::new() };
        let encoding = round.encoding(window, self.compressors.as_deref_mut());
        if own.is_empty() {
            let (frames, messages) = (encoding.frames().clone(), encoding.messages() as u32);
            return self.share(slot, token, SharedFrames { frames, messages, topic, overflow, since });
        }
        for (frames, messages) in without(encoding, &own) {
            self.share(slot, token, SharedFrames { frames, messages, topic, overflow, since });
        }
    }

    fn share_latest<S>(&mut self, slot: &mut Slot<S>, token: Token, member: Member, latest: &Latest) {
        let window = self.window_for_shared(slot);
        let frames = latest.batch.encoding(window, self.compressors.as_deref_mut()).frames().clone();
        let Some(topic) = self.topics.key(member.topic()) else { return };
        let shared = SharedFrames { frames, messages: 1, topic, overflow: member.overflow(), since: self.tick };
        self.share(slot, token, shared);
    }

    /// The window that a session is sent shared frames with, if any. Its own stream begins anew after them.
    #[inline]
    fn window_for_shared<S>(&mut self, slot: &mut Slot<S>) -> Option<WindowBits> {
        let window = self.window_of(slot);
        if window.is_some() {
            slot.connection.forget_sent();
        }
        window
    }

    #[inline]
    fn share<S>(&mut self, slot: &mut Slot<S>, token: Token, shared: SharedFrames) {
        self.counters.messages_sent.add(u64::from(shared.messages));
        if slot.outbox.is_none() {
            self.hold_back(slot, token, Box::default());
        }
        if let Some(outbox) = &mut slot.outbox {
            outbox.share(shared);
        }
        self.mark_dirty(slot, token);
    }

    /// Has a session looked at again that waits for a latest message and for nothing whose end would tell.
    fn catch_up_next_turn<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if !std::mem::replace(&mut slot.catching_up, true) {
            self.catching_up.push_back(token);
        }
    }

    pub(in crate::engine) fn count_dropped(&self, reason: DropReason, messages: usize) {
        self.counters.messages_dropped.add_many(&reason, messages as u64);
    }
}

/// How many messages of a round are for a subscriber.
fn due(member: Member, token: Token, round: &Round) -> usize {
    round.messages() - if member.is_echoless() { round.own_messages(token).count() } else { 0 }
}

/// The frames before, between and after some messages, and how many messages they are.
fn without(encoding: &Encoding, own: &[usize]) -> Vec<(Bytes, u32)> {
    let mut from = 0;
    let gaps = own.iter().copied().chain([encoding.messages()]).map(|to| std::mem::replace(&mut from, to + 1)..to);
    let some = gaps.filter(|gap| !gap.is_empty());
    some.map(|gap| (encoding.slice(gap.clone()), gap.len() as u32)).collect()
}
