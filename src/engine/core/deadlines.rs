//! What falls due for a session: pings, silence, slow messages, stalled sends, and the end of each phase.

use crate::engine::common::Common;
use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::reasons::End;
use crate::engine::session::acknowledged::{Clock, Reading};
use crate::engine::session::outbox::Outbox;
use crate::engine::session::{Phase, Slot};
use crate::engine::wheel::{NEVER, ticks};
use crate::protocol::http::Refusal;
use crate::protocol::{State, Violation};
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Does what has fallen due for a session, and has it looked at again when the next thing may.
    pub(in crate::engine) fn look_at_deadlines(&mut self, token: Token) {
        let Some(mut due) = self.due(token) else { return };
        if due.is_over_for_want_of_input() {
            // What has come in time counts, though nobody has read it yet: a core that has much to do, or was kept from
            // running, may know that the time is over before it is told of that.
            self.read(token);
            let Some(anew) = self.due(token) else { return };
            due = anew;
        }
        let parting = self.is_parting();
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if parting && slot.asks_nothing() && due.action.is_none() {
            let silent_until = self.common.silent_until(slot);
            if self.common.tick >= silent_until {
                return self.let_go_of(token);
            }
            due.next = due.next.min(silent_until);
        }
        match due.action {
            None => self.common.wheel.schedule(token.index, due.next),
            Some(action) => self.act(token, action),
        }
    }

    /// What is due for a session; `None` when it is over. Input that the server itself does not read is not missed: until it is
    /// read again, the session cannot be heard, nor complete a message.
    fn due(&mut self, token: Token) -> Option<Due> {
        let Self { sessions, common, .. } = self;
        let slot = sessions.get_mut(token).filter(|slot| slot.phase != Phase::Ended)?;
        if !common.may_read(slot) {
            common.excuse_silence(slot);
        }
        Some(common.due(slot, token))
    }

    fn deadline_passed(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        match slot.phase {
            Phase::Head if !slot.parting => {
                self.common.counters.handshake_timeouts.add(1);
                slot.end.get_or_insert(End::HandshakeTimeout);
                // An answer that the client does not read must not keep the connection for ever.
                self.common.set_deadline(slot, token, self.common.limits.close_timeout_ms);
                // Who has sent nothing is told nothing.
                if slot.backlog.is_some() {
                    self.refuse(token, &Refusal::HandshakeTimeout);
                } else {
                    slot.parts(End::HandshakeTimeout);
                    self.settle(token);
                }
            }
            Phase::Upgrading => {
                self.common.counters.handshake_timeouts.add(1);
                slot.end.get_or_insert(End::HandshakeTimeout);
                self.common.set_deadline(slot, token, self.common.limits.close_timeout_ms);
                self.refuse(token, &Refusal::HandlerFailed);
            }
            Phase::Ended => {}
            _ => {
                self.common.counters.close_timeouts.add(1);
                self.cut_off(token, End::CloseTimeout);
            }
        }
    }

    /// Asks the kernel what the peer has acknowledged, and puts back the clocks of one that took something.
    fn look_at_socket(&mut self, token: Token) {
        let Self { reactor, sessions, common, .. } = self;
        let Some(slot) = sessions.get_mut(token) else { return };
        let clocks = common.clocks(slot, token);
        let looked = common.acknowledged.looked(token.index);
        let intake = reactor.intake(slot.socket);
        let taken = common.acknowledged.note(token.index, common.tick, intake.acknowledged);
        if intake.waiting == 0 && slot.outbox.is_none() {
            slot.told.note_all_taken();
        }
        // A clock is put back if the look before this one was made while it ran.
        let put_back = |clock: &Clock| taken && looked.is_some_and(|at| clock.covers(at));
        if clocks.closing.as_ref().is_some_and(put_back) {
            common.set_deadline(slot, token, common.limits.close_timeout_ms);
        }
        if let Some(outbox) = slot.outbox.as_mut().filter(|_| clocks.sending.as_ref().is_some_and(put_back)) {
            outbox.progress = common.tick;
        }
        let Some(silence) = clocks.silence else { return };
        if put_back(&silence) {
            common.acknowledged.note_taken(token.index, common.tick);
        } else if !looked.is_some_and(|at| silence.covers(at)) && silence.end() <= common.tick {
            // Until a quarter before the end there was nothing to take, so what was sent since has its chance.
            let since = if intake.waiting == 0 { common.tick } else { silence.until_next_look(common.tick) };
            common.acknowledged.note_taken(token.index, since);
        }
    }

    fn ping(&mut self, token: Token) {
        let told = self.sessions.get_mut(token).map(|slot| slot.told);
        self.common.write_ping(token, &[]);
        self.flush_and_settle(token);
        if let Some((slot, mut told)) = self.sessions.get_mut(token).zip(told) {
            // It is nothing that the peer has to take.
            told.note_ping();
            slot.told = told;
        }
    }

    fn act(&mut self, token: Token, action: Action) {
        match action {
            Action::LookAtSocket => {
                self.look_at_socket(token);
                self.look_at_deadlines(token);
            }
            Action::EndPhase => self.deadline_passed(token),
            Action::Ping => {
                self.ping(token);
                self.look_at_deadlines(token);
            }
            Action::FailAssembly => {
                let timeout_ms = self.common.limits.assembly_timeout_ms;
                self.fail(token, &Violation::MessageTimeout { timeout_ms });
                self.flush_and_settle(token);
            }
            Action::DeadPeer => {
                self.common.counters.dead_peers.add(1);
                self.cut_off(token, End::DeadPeer);
            }
            Action::SendStalled => {
                self.common.counters.send_timeouts.add(1);
                self.cut_off(token, End::SendTimeout);
            }
        }
    }
}

impl Common {
    /// Counts a session's silence from now on, because until now it was not read.
    pub(in crate::engine) fn excuse_silence<S>(&self, slot: &mut Slot<S>) {
        slot.heard = self.tick;
        slot.connection.restamp(self.tick);
    }

    /// Gives the session's phase, or its closing handshake, this long.
    pub(in crate::engine) fn set_deadline<S>(&mut self, slot: &mut Slot<S>, token: Token, milliseconds: u64) {
        let length = ticks(milliseconds);
        slot.deadline = self.tick.saturating_add(length).min(NEVER - 1);
        self.wheel.schedule(token.index, Clock::new(self.tick, length).first_look());
    }

    /// Counts from now on how long nothing leaves the session's outbox.
    pub(in crate::engine) fn begin_waiting(&mut self, outbox: &mut Outbox, token: Token) {
        outbox.progress = self.tick;
        self.wheel.schedule(token.index, Clock::new(self.tick, ticks(self.limits.send_timeout_ms)).first_look());
    }

    fn due<S>(&mut self, slot: &Slot<S>, token: Token) -> Due {
        let looked = self.acknowledged.looked(token.index);
        let clocks = self.clocks(slot, token);
        let mut due = Due { action: None, next: NEVER - 1 };
        if clocks.closing.is_none() {
            due.consider(self.tick, slot.deadline, Action::EndPhase);
        }
        for (clock, action) in clocks.each() {
            match clock.read(self.tick, looked) {
                Reading::RunOut => due.action = due.action.or(Some(action)),
                // What is seen may change everything else.
                Reading::LookNow => return Due { action: Some(Action::LookAtSocket), ..due },
                Reading::Until(next) => due.next = due.next.min(next),
            }
        }
        if slot.phase == Phase::Open {
            self.consider_the_open(slot, &mut due);
        }
        if looked.is_some_and(|at| clocks.each().all(|(clock, _)| !clock.covers(at))) {
            self.acknowledged.forget(token.index);
        }
        due
    }

    /// What is due for an open session whatever its peer acknowledges.
    fn consider_the_open<S>(&self, slot: &Slot<S>, due: &mut Due) {
        let limits = &self.limits;
        if let Some(since) = slot.connection.assembling_since() {
            due.consider(self.tick, since.saturating_add(ticks(limits.assembly_timeout_ms)), Action::FailAssembly);
        }
        if limits.ping_interval_ms > 0 && slot.connection.state() == State::Open {
            let interval = ticks(limits.ping_interval_ms);
            if !slot.told.is_pinged() {
                due.consider(self.tick, slot.heard.saturating_add(interval), Action::Ping);
            } else {
                // Once the peer has answered, another interval begins, and nothing else looks at its end.
                due.next = due.next.min(self.tick.saturating_add(interval));
            }
        }
    }

    /// The clocks that what the peer acknowledges puts back.
    fn clocks<S>(&self, slot: &Slot<S>, token: Token) -> Clocks {
        let limits = &self.limits;
        let closing = || {
            // From the tick after it began: the last word itself is no evidence that more of it is taken.
            let length = ticks(limits.close_timeout_ms) - 1;
            Clock::new(slot.deadline.saturating_sub(length), length)
        };
        let silence = || {
            let since = slot.heard.max(self.acknowledged.taken(token.index));
            let looks = slot.told.is_untaken() || slot.outbox.is_some();
            Clock { looks, ..Clock::new(since, ticks(limits.dead_peer_timeout_ms)) }
        };
        if slot.phase != Phase::Open {
            return Clocks { closing: slot.parts_from_websocket().then(closing), ..Clocks::default() };
        }
        Clocks {
            closing: (slot.deadline != NEVER).then(closing),
            sending: slot.outbox.as_ref().map(|outbox| Clock::new(outbox.progress, ticks(limits.send_timeout_ms))),
            silence: (limits.dead_peer_timeout_ms > 0).then(silence),
        }
    }
}

/// The clocks that a session has now.
#[derive(Clone, Copy, Default)]
struct Clocks {
    closing: Option<Clock>,
    sending: Option<Clock>,
    silence: Option<Clock>,
}

impl Clocks {
    /// Each, and what is to be done when it runs out.
    fn each(self) -> impl Iterator<Item = (Clock, Action)> {
        let actions =
            [(self.closing, Action::EndPhase), (self.sending, Action::SendStalled), (self.silence, Action::DeadPeer)];
        actions.into_iter().filter_map(|(clock, action)| clock.map(|clock| (clock, action)))
    }
}

/// What has fallen due for a session.
#[derive(Clone, Copy)]
enum Action {
    /// Whether its peer takes what it is sent has to be known.
    LookAtSocket,
    /// Its phase, or the closing handshake, took too long.
    EndPhase,
    /// It was silent long enough to be asked whether it is still there.
    Ping,
    /// A message began too long ago.
    FailAssembly,
    /// It was silent for too long.
    DeadPeer,
    /// Nothing left for too long.
    SendStalled,
}

/// What is due now, or else the tick at which something may be.
struct Due {
    action: Option<Action>,
    next: u32,
}

impl Due {
    /// Returns whether something was to come from the peer by now, or else shows at its socket.
    fn is_over_for_want_of_input(&self) -> bool {
        !matches!(self.action, None | Some(Action::Ping | Action::SendStalled))
    }

    fn consider(&mut self, tick: u32, at: u32, action: Action) {
        if at > tick {
            self.next = self.next.min(at);
        } else {
            self.action = self.action.or(Some(action));
        }
    }
}
