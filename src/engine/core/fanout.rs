//! Fan-out: bringing what was published to every subscriber of this core.
//!
//! One buffer for each topic, turn and way of encoding is shared by all; one send for each subscriber and turn carries it.
//! A fan-out to very many is cut over several turns. Invariant: each subscriber gets what was published to a topic in the
//! order published, whole, or what is missing is counted under the policy it subscribed with.

use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::reasons::DropReason;
use crate::engine::session::List;
use crate::engine::topics::{Member, Overflow, Round, TopicKey};
use crate::engine::wheel::ticks;
use crate::protocol::CloseCode;
use crate::reactor::{Reactor, Token};

/// Subscribers visited in a turn. Whole rounds gather most: cut in two, one to a thousand costs a third more CPU.
const VISITS_PER_TURN_MAX: usize = 1024;

/// Subscribers of one topic visited before the next topic has its turn.
const VISITS_PER_TOPIC_MAX: usize = 256;

/// Topics whose subscribers are looked at before the first is delivered: what that brings stays in the first-level cache.
const LOOK_AHEAD_TOPICS: usize = 64;

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Delivers what was published, as much as a turn may.
    pub(in crate::engine) fn fan_out(&mut self) {
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
        // For how many visits one of a topic counts that needs more than a turn anyway, while others speak.
        let mut finer = None;
        while visits > 0 {
            let Some(topic) = self.parts.topics.next_active() else { break };
            let members = self.parts.topics.get(topic).map_or(0, |topic| topic.members() as usize);
            let is_cut_finer = members > VISITS_PER_TURN_MAX && self.parts.pacing.has_other_traffic(self.parts.tick);
            let weight =
                if is_cut_finer { *finer.get_or_insert_with(|| self.parts.pacing.weight(self.now_ms)) } else { 1 };
            let visited = self.deliver(topic, visits.div_ceil(weight).min(VISITS_PER_TOPIC_MAX));
            // A topic with nobody left costs a visit too.
            visits = visits.saturating_sub((visited * weight).max(1));
        }
        if finer.is_none() {
            self.parts.pacing.pause();
        }
        self.release_publishers();
        self.tell_of_topics();
    }

    /// Reads what delivering to the first two subscribers of each of many topics will touch. These reads wait for memory
    /// together, those of delivering one after another.
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

    /// Delivers to so many subscribers of a topic at most, and says to how many.
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

    /// Costs, for a subscriber that keeps up: a look at its slot, a reference to the frames, an outbox of 96 bytes.
    #[inline]
    fn deliver_to(&mut self, number: u32, member: Member, round: &mut Round) {
        let Some((token, slot)) = self.sessions.at_mut(member.session()) else { return };
        if !slot.is_open() {
            return self.parts.count_dropped(DropReason::Closing, due(member, token, round));
        }
        let is_late = slot.has_outbox() && self.parts.is_late(slot);
        let has_own = member.is_echoless() && round.has_senders();
        if is_late || has_own || member.is_behind() {
            return self.deliver_with_care(number, member, token, round);
        }
        self.parts.share_round(slot, token, member, round);
    }

    /// The rest: for who is late, was late, or is not to be sent its own.
    fn deliver_with_care(&mut self, number: u32, member: Member, token: Token, round: &mut Round) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        // Who waits for the latest message goes on waiting until something has left.
        let awaits_latest = member.is_behind() && member.overflow() == Overflow::Latest && slot.has_outbox();
        let is_late = self.parts.is_late(slot) || awaits_latest;
        if is_late && !self.make_room(number, member, token, round) {
            return;
        }
        // What it waited for is older than this.
        if self.parts.topics.catch_up(number).is_some() {
            let topic = self.parts.topics.key(member.topic());
            topic.into_iter().for_each(|topic| self.drop_for(token, topic, DropReason::TopicLatest, 1));
        }
        // Its handler may have closed it, or left, when it was told.
        let left = self.parts.topics.members.get(number).is_none_or(|now| !now.is_same_as(&member));
        let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.is_open() && !left) else {
            return self.parts.count_dropped(DropReason::Closing, due(member, token, round));
        };
        self.parts.share_round(slot, token, member, round);
    }

    /// Follows the policy of a subscriber that does not keep up, and says whether there is room now.
    fn make_room(&mut self, number: u32, member: Member, token: Token, round: &mut Round) -> bool {
        let Some(topic) = self.parts.topics.key(member.topic()) else { return false };
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
                let bytes_max = self.parts.limits.outbox_bytes_max.saturating_sub(round.bytes);
                let since_max = self.parts.tick.saturating_sub(ticks(self.parts.limits.outbox_age_ms_max));
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                let dropped = slot.outbox_mut().map(|outbox| outbox.drop_oldest(bytes_max, since_max));
                slot.drop_empty_outbox();
                for (topic, messages) in dropped.unwrap_or_default() {
                    self.drop_for(token, topic, DropReason::TopicOldest, messages as usize);
                }
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                // What is in flight may be old, and is nobody's to drop: only its bytes count.
                if slot.outbox_bytes() <= self.parts.limits.outbox_bytes_max {
                    return true;
                }
                // The rest waits for good reason.
                self.drop_for(token, topic, DropReason::TopicOldest, messages);
            }
            Overflow::Latest => {
                let latest = round.latest();
                let Some(slot) = self.sessions.get_mut(token) else { return false };
                let waiting = slot.outbox_mut().map_or(0, |outbox| outbox.drop_topic(topic));
                slot.drop_empty_outbox();
                slot.set_lagging(true);
                if !slot.has_outbox() {
                    // Nothing is under way whose end would tell that there is room.
                    self.parts.catch_up_next_turn(slot, token);
                }
                // Its own it is not sent, and what came before that is not the latest.
                let is_own = member.is_echoless() && latest.as_ref().is_some_and(|latest| latest.sender == Some(token));
                let was_behind = self.parts.topics.fall_behind(topic.index, number, latest, !is_own);
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
        self.parts.count_dropped(reason, messages);
        let is_told = self.sessions.get_mut(token).is_some_and(|slot| slot.is_opened());
        let name = self.parts.topics.at(topic).filter(|_| is_told).map(|topic| topic.name.clone());
        let Some(name) = name else { return };
        self.call(token, |handler, session| handler.dropped(session, &name, messages as u64));
        self.flush_and_settle(token);
    }

    /// After something left: sends the latest messages that a session waits for.
    pub(in crate::engine) fn catch_up(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if !slot.is_lagging()
            || slot.is_broken()
            || !slot.is_open()
            || slot.outbox_bytes() > self.parts.limits.outbox_bytes_max / 2
        {
            return;
        }
        slot.set_lagging(false);
        let mut at = self.parts.topics.subscriptions(slot.membership()).first;
        while let Some(member) = self.parts.topics.members.get(at).copied() {
            let is_full = slot.outbox_bytes() > self.parts.limits.outbox_bytes_max;
            if member.is_behind() && (is_full || self.parts.topics.is_mid_round(member.topic())) {
                // The latest may be on its way to it: that is known once it has come to everyone.
                slot.set_lagging(true);
            } else if let Some(latest) = self.parts.topics.catch_up(at) {
                self.parts.share_latest(slot, token, member, &latest);
            }
            at = member.next_of_session();
        }
        // When there is room again something leaves; when a round is over nothing does.
        if slot.is_lagging() && slot.outbox_bytes() <= self.parts.limits.outbox_bytes_max {
            self.parts.catch_up_next_turn(slot, token);
        }
    }

    /// Lets sessions that published be read again once there is room.
    fn release_publishers(&mut self) {
        if !self.parts.publishers.has_throttled() || self.parts.holds_publishers() {
            return;
        }
        for token in self.parts.publishers.take_throttled() {
            if let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.is_throttled()) {
                slot.unthrottle();
                self.parts.read_again(slot, token);
                self.relieve(token);
            }
        }
    }

    /// Tells the other cores of topics that came and went, and handlers of subscriptions that hold everywhere.
    fn tell_of_topics(&mut self) {
        let parts = &mut self.parts;
        if parts.topics.interest.is_pending() {
            parts.topics.tell(&mut parts.mesh);
        }
        for _ in 0..VISITS_PER_TURN_MAX {
            let Some((session, topic)) = self.parts.topics.next_confirmed() else { break };
            let Some(token) = self.sessions.token_at(session) else { continue };
            let Some(name) = self.parts.topics.get(topic).map(|topic| topic.name.clone()) else { continue };
            self.call(token, |handler, session| handler.subscribed(session, &name));
            self.flush_and_settle(token);
        }
        self.parts.mesh.wake_others();
        self.parts.counters.topics.write(self.parts.topics.subscribed() as u64);
        self.parts.counters.subscriptions.write(self.parts.topics.members.len() as u64);
    }
}

/// How many messages of a round are for a subscriber.
fn due(member: Member, token: Token, round: &Round) -> usize {
    round.messages() - if member.is_echoless() { round.own_messages(token).count() } else { 0 }
}
