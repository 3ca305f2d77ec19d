//! The timeouts of a session, and the action that is due: computed here, taken by the core.

use super::Parts;
use crate::engine::session::acknowledged::{Timeout, TimeoutState};
use crate::engine::session::outbox::Outbox;
use crate::engine::session::{Phase, Slot};
use crate::engine::wheel::{NEVER, ticks};
use crate::protocol::State;
use crate::reactor::{SendProgress, Token};

/// The silence after which a draining core closes a connection without a session, or half of the drain timeout if that
/// is less. A client sends its request a round trip after it connects, or after the previous answer; closing earlier
/// would leave that request without an answer.
const SILENCE_MS: u64 = 1_000;

impl Parts {
    /// Returns when a draining core closes a connection on which no request has begun.
    pub(in crate::engine) fn silent_until<S>(&self, slot: &Slot<S>) -> u32 {
        slot.heard().saturating_add(ticks(SILENCE_MS.min(self.limits.drain_timeout_ms / 2)))
    }

    /// Limits the session's phase, or its closing handshake, to this time.
    pub(in crate::engine) fn set_deadline<S>(&mut self, slot: &mut Slot<S>, token: Token, milliseconds: u64) {
        let length = ticks(milliseconds);
        slot.set_deadline(self.tick.saturating_add(length).min(NEVER - 1));
        self.wheel.schedule(token.index, Timeout::new(self.tick, length).first_look());
    }

    /// Checks a session's timeouts at this tick, or earlier.
    #[inline]
    pub(in crate::engine) fn schedule(&mut self, token: Token, tick: u32) {
        self.wheel.schedule(token.index, tick);
    }

    /// Returns the tick at which the next session may have to be checked.
    #[inline]
    pub(in crate::engine) fn next_timer(&self) -> Option<u32> {
        self.wheel.next()
    }

    /// Appends the slots of the sessions that are to be checked by now.
    #[inline]
    pub(in crate::engine) fn take_fired(&mut self, fired: &mut Vec<u32>) {
        self.wheel.advance(self.tick, fired);
    }

    /// Stops the timer that the handler has set for a session.
    pub(in crate::engine) fn cancel_wake(&mut self, token: Token) {
        self.wakes.forget(token.index);
    }

    /// Has a session's handler woken after so long.
    pub(in crate::engine) fn wake_after(&mut self, token: Token, milliseconds: u64) {
        let at = self.tick.saturating_add(ticks(milliseconds)).min(NEVER - 1);
        self.wakes.set(token.index, at);
        self.wheel.schedule(token.index, at);
    }

    /// Starts the send timeout of a session's outbox.
    pub(super) fn begin_waiting(&mut self, outbox: &mut Outbox, token: Token) {
        outbox.progress = self.tick;
        self.wheel.schedule(token.index, Timeout::new(self.tick, ticks(self.limits.send_timeout_ms)).first_look());
    }

    /// Extends the timeouts of a session if its peer has acknowledged more than at the previous look.
    pub(in crate::engine) fn note_send_progress<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        progress: SendProgress,
    ) {
        let timeouts = self.timeouts(slot, token);
        let looked = self.acknowledged.looked(token.index);
        let taken = self.acknowledged.note(token.index, self.tick, progress.acknowledged);
        if progress.waiting == 0 && !slot.has_outbox() {
            slot.note_all_acknowledged();
        }
        // A timeout is extended only if the previous look was made while it ran.
        let is_extended = |timeout: &Timeout| taken && looked.is_some_and(|at| timeout.covers(at));
        if timeouts.closing.as_ref().is_some_and(is_extended) {
            self.set_deadline(slot, token, self.limits.close_timeout_ms);
        }
        if let Some(outbox) = slot.outbox_mut().filter(|_| timeouts.sending.as_ref().is_some_and(is_extended)) {
            outbox.progress = self.tick;
        }
        let Some(silence) = timeouts.silence else { return };
        if is_extended(&silence) {
            self.acknowledged.note_acknowledged(token.index, self.tick);
        } else if !looked.is_some_and(|at| silence.covers(at)) && silence.end() <= self.tick {
            // Until a quarter before the end there was nothing to acknowledge, so the bytes sent since get their
            // chance.
            let since = if progress.waiting == 0 { self.tick } else { silence.until_next_look(self.tick) };
            self.acknowledged.note_acknowledged(token.index, since);
        }
    }

    pub(in crate::engine) fn due<S>(&mut self, slot: &Slot<S>, token: Token) -> Due {
        let looked = self.acknowledged.looked(token.index);
        let timeouts = self.timeouts(slot, token);
        let mut due = Due { action: None, next: NEVER - 1 };
        if timeouts.closing.is_none() {
            due.consider(self.tick, slot.deadline(), Action::EndPhase);
        }
        let mut looks_now =
            |timeout: Option<Timeout>, action| due.consider_extended(timeout, action, self.tick, looked);
        if looks_now(timeouts.closing, Action::EndPhase)
            || looks_now(timeouts.sending, Action::SendStalled)
            || looks_now(timeouts.silence, Action::DeadPeer)
        {
            // The look may change everything else.
            return Due { action: Some(Action::CheckAcknowledged), ..due };
        }
        if slot.phase() == Phase::Open {
            self.consider_open(slot, token, &mut due);
        }
        if looked.is_some_and(|at| !timeouts.cover(at)) {
            self.acknowledged.forget(token.index);
        }
        due
    }

    /// Considers the deadlines of an open session that acknowledgements do not extend.
    fn consider_open<S>(&self, slot: &Slot<S>, token: Token, due: &mut Due) {
        let limits = &self.limits;
        if let Some(since) = slot.connection().assembling_since() {
            due.consider(self.tick, since.saturating_add(ticks(limits.assembly_timeout_ms)), Action::FailAssembly);
        }
        if slot.is_open() {
            due.consider(self.tick, self.wakes.at(token.index), Action::Wake);
        }
        if slot.is_slowed() {
            due.consider(self.tick, self.keeps_rates_at(token), Action::ReadAgain);
        }
        let ping_interval_ms = self.profiles.at(slot.profile()).limits().ping_interval_ms;
        if ping_interval_ms > 0 && slot.connection().state() == State::Open {
            let interval = ticks(ping_interval_ms);
            if !slot.liveness().is_pinged() {
                due.consider(self.tick, slot.heard().saturating_add(interval), Action::Ping);
            } else {
                // Once the peer has answered, another interval begins, and no other timeout checks its end.
                due.next = due.next.min(self.tick.saturating_add(interval));
            }
        }
    }

    /// Returns the timeouts that acknowledgements extend.
    #[inline]
    pub(in crate::engine) fn timeouts<S>(&self, slot: &Slot<S>, token: Token) -> Timeouts {
        let limits = &self.limits;
        let closing = || {
            // It begins a tick later: the acknowledgement of the Close frame itself is no sign that more will be
            // acknowledged.
            let length = ticks(limits.close_timeout_ms) - 1;
            Timeout::new(slot.deadline().saturating_sub(length), length)
        };
        let dead_peer_timeout_ms = self.profiles.at(slot.profile()).limits().dead_peer_timeout_ms;
        let silence = || {
            let since = slot.heard().max(self.acknowledged.last_acknowledged(token.index));
            let looks = slot.liveness().has_unacknowledged() || slot.has_outbox();
            Timeout { looks, ..Timeout::new(since, ticks(dead_peer_timeout_ms)) }
        };
        let sending = slot.outbox().map(|outbox| Timeout::new(outbox.progress, ticks(limits.send_timeout_ms)));
        if slot.phase() == Phase::Answering {
            return Timeouts { sending, ..Timeouts::default() };
        }
        if slot.phase() != Phase::Open {
            return Timeouts { closing: slot.lingers_as_websocket().then(closing), ..Timeouts::default() };
        }
        Timeouts {
            closing: (slot.deadline() != NEVER).then(closing),
            sending,
            silence: (dead_peer_timeout_ms > 0).then(silence),
        }
    }
}

/// The timeouts that a session has at present.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Timeouts {
    pub(in crate::engine) closing: Option<Timeout>,
    pub(in crate::engine) sending: Option<Timeout>,
    pub(in crate::engine) silence: Option<Timeout>,
}

impl Timeouts {
    /// Returns whether a timeout ran at this tick.
    fn cover(self, tick: u32) -> bool {
        [self.closing, self.sending, self.silence].into_iter().flatten().any(|timeout| timeout.covers(tick))
    }
}

/// The action that is due for a session.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Action {
    /// Ask the kernel whether the peer acknowledges bytes.
    CheckAcknowledged,
    /// End the phase, or the closing handshake, since it took too long.
    EndPhase,
    /// Send a ping, since the peer was silent for the ping interval.
    Ping,
    /// Its handler wanted to be woken by now.
    Wake,
    /// Read it again, since it keeps its rates.
    ReadAgain,
    /// Fail the session, since a message began too long ago.
    FailAssembly,
    /// Cut off the session, since its peer was silent for too long.
    DeadPeer,
    /// Cut off the session, since nothing was sent for too long.
    SendStalled,
}

/// The action that is due now, or else the tick at which one may be.
pub(in crate::engine) struct Due {
    pub(in crate::engine) action: Option<Action>,
    pub(in crate::engine) next: u32,
}

impl Due {
    /// Returns whether the action ends something because input is missing, which may wait in the socket.
    pub(in crate::engine) fn is_over_for_want_of_input(&self) -> bool {
        !matches!(self.action, None | Some(Action::Ping | Action::Wake | Action::ReadAgain | Action::SendStalled))
    }

    /// Considers a timeout that acknowledgements extend. Returns whether the socket must be looked at now.
    #[inline]
    fn consider_extended(&mut self, timeout: Option<Timeout>, action: Action, tick: u32, looked: Option<u32>) -> bool {
        match timeout.map(|timeout| timeout.state(tick, looked)) {
            None => {}
            Some(TimeoutState::Expired) => self.action = self.action.or(Some(action)),
            Some(TimeoutState::LookNow) => return true,
            Some(TimeoutState::Until(next)) => self.next = self.next.min(next),
        }
        false
    }

    fn consider(&mut self, tick: u32, at: u32, action: Action) {
        if at > tick {
            self.next = self.next.min(at);
        } else {
            self.action = self.action.or(Some(action));
        }
    }
}
