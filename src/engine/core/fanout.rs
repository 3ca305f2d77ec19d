//! Fan-out: the delivery of published messages to the subscribers on this core.
//!
//! All subscribers share one buffer for each topic, turn and encoding, and each is sent it with one send per turn. A
//! fan-out to many subscribers is split over several turns. Invariant: each subscriber gets the messages of a topic
//! whole and in the order they were published, and missing messages are counted under the policy of its subscription.

use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::reasons::DropReason;
use crate::engine::session::List;
use crate::engine::topics::{Member, Overflow, Round, TopicKey};
use crate::engine::wheel::ticks;
use crate::protocol::CloseCode;
use crate::reactor::{Reactor, Token};

/// Subscribers visited in a turn. Whole rounds gather most: split in two, a fan-out to a thousand costs a third more
/// CPU.
const VISITS_PER_TURN_MAX: usize = 1024;

/// Subscribers of one topic that are visited before the next topic has its turn.
const VISITS_PER_TOPIC_MAX: usize = 256;

/// Topics whose subscribers are prefetched before the first is delivered: they fit into the first-level cache.
const LOOK_AHEAD_TOPICS: usize = 64;

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Delivers published messages, as many as a turn may.
    pub(super) fn fan_out(&mut self) {
        for _ in 0..self.parts.lists.catching_up().min(VISITS_PER_TURN_MAX) {
            let Some(token) = self.parts.lists.next_catching_up() else { break };
            if let Some(slot) = self.sessions.get_mut(token) {
                slot.delist(List::CatchingUp);
                self.catch_up(token);
            }
        }
        self.parts.seal_all();
        self.look_ahead();
        let mut visits = VISITS_PER_TURN_MAX;
        // The weight of a visit, for topics too large for one turn, while there is other traffic.
        let mut finer = None;
        while visits > 0 {
            let Some(topic) = self.parts.topics.next_active() else { break };
            let members = self.parts.topics.get(topic).map_or(0, |topic| topic.members() as usize);
            let is_cut_finer = members > VISITS_PER_TURN_MAX && self.pacing.has_other_traffic(self.parts.tick());
            let weight = if is_cut_finer { *finer.get_or_insert_with(|| self.pacing.weight(self.now_ms)) } else { 1 };
            let visited = self.deliver(topic, visits.div_ceil(weight).min(VISITS_PER_TOPIC_MAX));
            // A topic without subscribers costs a visit too.
            visits = visits.saturating_sub((visited * weight).max(1));
        }
        if finer.is_none() {
            self.pacing.pause();
        }
        self.release_publishers();
        self.announce_topics();
    }

    /// Touches the memory that the delivery to the first two subscribers of each of many topics needs. These reads wait
    /// for memory together; those of the delivery wait one after another.
    fn look_ahead(&mut self) {
        let mut seen = 0;
        for member in self.parts.topics.next_members(LOOK_AHEAD_TOPICS) {
            let next = self.parts.topics.members.get(member.next_of_topic());
            for member in [Some(member), next].into_iter().flatten() {
                let Some((token, slot)) = self.sessions.at_mut(member.session()) else { continue };
                seen += token.generation as usize + slot.outbox_bytes() + usize::from(slot.is_open());
            }
        }
        std::hint::black_box(seen);
    }

    /// Delivers to at most so many subscribers of a topic, and returns how many were visited.
    fn deliver(&mut self, topic: u32, visits_max: usize) -> usize {
        let Some(mut round) = self.parts.topics.take_round(topic) else { return 0 };
        let mut visits = 0;
        while visits < visits_max {
            let Some((number, member)) = self.parts.topics.next_member(topic) else { break };
            self.deliver_to(number, member, &mut round);
            visits += 1;
        }
        self.parts.topics.put_back(topic, round);
        visits
    }

    /// Delivers to one subscriber. If it keeps up, that costs a look at its slot, a reference to the frames, and an
    /// outbox of 96 bytes.
    #[inline]
    fn deliver_to(&mut self, number: u32, member: Member, round: &mut Round) {
        let Some((token, slot)) = self.sessions.at_mut(member.session()) else { return };
        if !slot.is_open() {
            return self.parts.count_dropped(DropReason::Closing, due(member, token, round));
        }
        let is_late = slot.has_outbox() && self.parts.is_late(slot);
        let has_own = member.excludes_own() && round.has_senders();
        if is_late || has_own || member.is_lagging() {
            return self.deliver_checked(number, member, token, round);
        }
        self.parts.share_round(slot, token, member, round);
    }

    /// Delivers to a subscriber that is late, was late, or excludes its own messages.
    fn deliver_checked(&mut self, number: u32, member: Member, token: Token, round: &mut Round) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        // A subscriber that waits for the latest message goes on waiting until bytes were sent.
        let awaits_latest = member.is_lagging() && member.overflow() == Overflow::Latest && slot.has_outbox();
        let is_late = self.parts.is_late(slot) || awaits_latest;
        if is_late && !self.make_room(number, member, token, round) {
            return;
        }
        // The message that it waited for is older than this round.
        if self.parts.topics.catch_up(number).is_some() {
            let topic = self.parts.topics.key(member.topic());
            topic.into_iter().for_each(|topic| self.report_dropped(token, topic, DropReason::TopicLatest, 1));
        }
        // The handler may have closed the session or ended the subscription when it was told.
        let left = self.parts.topics.members.get(number).is_none_or(|now| !now.is_same_as(&member));
        let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.is_open() && !left) else {
            return self.parts.count_dropped(DropReason::Closing, due(member, token, round));
        };
        self.parts.share_round(slot, token, member, round);
    }

    /// Applies the policy of a subscriber that does not keep up. Returns whether there is room now.
    fn make_room(&mut self, number: u32, member: Member, token: Token, round: &mut Round) -> bool {
        let Some(topic) = self.parts.topics.key(member.topic()) else { return false };
        let messages = due(member, token, round);
        match member.overflow() {
            Overflow::Close => {
                self.report_dropped(token, topic, DropReason::TopicClose, messages);
                let reason = "Published messages waited for too long to be read.";
                self.call(token, |_, session| session.close(CloseCode::TRY_AGAIN_LATER, reason));
                self.flush_and_check_end(token);
            }
            Overflow::DropNewest => self.report_dropped(token, topic, DropReason::TopicNewest, messages),
            Overflow::DropOldest => {
                let since_max = self.parts.tick().saturating_sub(ticks(self.parts.limits().outbox_age_ms_max));
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                let bytes_max = self.parts.outbox_bytes_max(slot).saturating_sub(round.bytes);
                let dropped = slot.outbox_mut().map(|outbox| outbox.drop_oldest(bytes_max, since_max));
                slot.drop_empty_outbox();
                for (topic, messages) in dropped.unwrap_or_default() {
                    self.report_dropped(token, topic, DropReason::TopicOldest, messages as usize);
                }
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                // Frames in flight may be old and cannot be dropped: only their bytes count.
                if slot.outbox_bytes() <= self.parts.outbox_bytes_max(slot) {
                    return true;
                }
                // The remaining bytes may not be dropped.
                self.report_dropped(token, topic, DropReason::TopicOldest, messages);
            }
            Overflow::Latest => {
                let latest = round.latest();
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                let waiting = slot.outbox_mut().map_or(0, |outbox| outbox.drop_topic(topic));
                slot.drop_empty_outbox();
                slot.set_lagging(true);
                if !slot.has_outbox() {
                    // No send is in flight whose completion would show that there is room.
                    self.parts.catch_up_next_turn(slot, token);
                }
                // A subscriber that excludes its own message waits for nothing: earlier messages are not the latest.
                let is_own =
                    member.excludes_own() && latest.as_ref().is_some_and(|latest| latest.sender == Some(token));
                let was_lagging = self.parts.topics.note_latest(topic.index, number, latest, !is_own);
                let dropped = waiting as usize + messages + usize::from(was_lagging) - usize::from(!is_own);
                self.report_dropped(token, topic, DropReason::TopicLatest, dropped);
            }
        }
        false
    }

    /// Counts messages that a subscriber does not get, and tells its handler.
    fn report_dropped(&mut self, token: Token, topic: TopicKey, reason: DropReason, messages: usize) {
        if messages == 0 {
            return;
        }
        self.parts.count_dropped(reason, messages);
        let is_told = self.sessions.get_mut(token).is_some_and(|slot| slot.is_opened());
        let name = self.parts.topics.at(topic).filter(|_| is_told).map(|topic| topic.name.clone());
        let Some(name) = name else { return };
        self.call(token, |handler, session| handler.dropped(session, &name, messages as u64));
        self.flush_and_check_end(token);
    }

    /// Sends the latest messages that a session waits for, after bytes were sent.
    pub(super) fn catch_up(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if !slot.is_lagging()
            || slot.transport().is_broken()
            || !slot.is_open()
            || slot.outbox_bytes() > self.parts.outbox_bytes_max(slot) / 2
        {
            return;
        }
        slot.set_lagging(false);
        let mut at = self.parts.topics.subscriptions(slot.membership()).first;
        while let Some(member) = self.parts.topics.members.get(at).copied() {
            let is_full = slot.outbox_bytes() > self.parts.outbox_bytes_max(slot);
            if member.is_lagging() && (is_full || self.parts.topics.is_mid_round(member.topic())) {
                // The latest message may be part of a round under way, which is known once the round has ended.
                slot.set_lagging(true);
            } else if let Some(latest) = self.parts.topics.catch_up(at) {
                self.parts.share_latest(slot, token, member, &latest);
            }
            at = member.next_of_session();
        }
        // A send's completion shows that there is room, but nothing shows that a round has ended.
        if slot.is_lagging() && slot.outbox_bytes() <= self.parts.outbox_bytes_max(slot) {
            self.parts.catch_up_next_turn(slot, token);
        }
    }

    /// Resumes reading from sessions that were throttled, once there is room.
    fn release_publishers(&mut self) {
        if !self.parts.publishers.has_throttled() || self.parts.must_throttle() {
            return;
        }
        for token in self.parts.publishers.take_throttled() {
            if let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.is_throttled()) {
                slot.unthrottle();
                self.parts.resume_reading(slot, token);
                self.continue_after_send(token);
            }
        }
    }

    /// Announces topics that gained or lost their subscribers, and tells handlers of subscriptions that all cores know.
    fn announce_topics(&mut self) {
        let parts = &mut self.parts;
        if parts.topics.interest.is_pending() {
            parts.topics.announce(&mut parts.mesh);
        }
        for _ in 0..VISITS_PER_TURN_MAX {
            let Some((session, topic)) = self.parts.topics.next_confirmed() else { break };
            let Some(token) = self.sessions.token_at(session) else { continue };
            let Some(name) = self.parts.topics.get(topic).map(|topic| topic.name.clone()) else { continue };
            self.call(token, |handler, session| handler.subscribed(session, &name));
            self.flush_and_check_end(token);
        }
        self.parts.mesh.wake_others();
        self.parts.counters().topics.write(self.parts.topics.subscribed() as u64);
        self.parts.counters().subscriptions.write(self.parts.topics.members.len() as u64);
    }
}

/// Returns how many messages of a round a subscriber is to get.
fn due(member: Member, token: Token, round: &Round) -> usize {
    round.messages() - if member.excludes_own() { round.own_messages(token).count() } else { 0 }
}
