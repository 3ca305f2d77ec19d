//! What falls due for a session: pings, silence, slow messages, stalled sends, and the end of each phase.

use super::common::Common;
use super::core::Core;
use super::handler::Handler;
use super::reasons::End;
use super::session::{NEVER, Phase, Slot, ticks};
use crate::protocol::http::Refusal;
use crate::protocol::{State, Violation};
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Does what has fallen due for a session, and has it looked at again when the next thing may.
    pub(super) fn look_at_deadlines(&mut self, token: Token) {
        if self.is_about_to_give_up(token) {
            // What has come in time counts, though nobody has read it yet: a core that has much to do, or was kept from
            // running, may know that the time is over before it is told of that.
            self.read(token);
        }
        let parting = self.is_parting();
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if self.common.tick >= slot.deadline {
            return self.deadline_passed(token);
        }
        if !self.common.may_read(slot) {
            // Whose input is not read cannot be heard, nor complete a message.
            self.common.excuse_silence(slot);
        }
        let due = match slot.phase {
            Phase::Ended => return,
            Phase::Open => self.common.due(slot),
            Phase::Head if parting && slot.asks_nothing() => {
                let next = self.common.silent_until(slot);
                if self.common.tick >= next {
                    return self.let_go_of(token);
                }
                Due { action: None, next }
            }
            _ => Due { action: None, next: slot.deadline },
        };
        match due.action {
            None => self.common.wheel.schedule(token.index, due.next.min(slot.deadline)),
            Some(action) => self.act(token, action),
        }
    }

    /// Whether the time of a session is over within which something was to come from it.
    fn is_about_to_give_up(&mut self, token: Token) -> bool {
        let Self { sessions, common, .. } = self;
        sessions.get_mut(token).is_some_and(|slot| {
            let overdue = match slot.phase {
                Phase::Open => matches!(common.due(slot).action, Some(Action::DeadPeer | Action::FailAssembly)),
                _ => false,
            };
            (overdue || common.tick >= slot.deadline) && common.may_read(slot)
        })
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

    fn act(&mut self, token: Token, action: Action) {
        match action {
            Action::Ping => {
                if let Some(slot) = self.sessions.get_mut(token) {
                    slot.pinged = true;
                }
                self.common.write_ping(&[]);
                self.flush_and_settle(token);
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
    pub(super) fn excuse_silence<S>(&self, slot: &mut Slot<S>) {
        slot.heard = self.tick;
        slot.connection.restamp(self.tick);
    }

    /// Gives the session's phase, or its closing handshake, this long.
    pub(super) fn set_deadline<S>(&mut self, slot: &mut Slot<S>, token: Token, milliseconds: u64) {
        slot.deadline = self.tick.saturating_add(ticks(milliseconds)).min(NEVER - 1);
        self.wheel.schedule(token.index, slot.deadline);
    }

    fn due<S>(&self, slot: &Slot<S>) -> Due {
        let limits = &self.limits;
        let mut due = Due { action: None, next: NEVER - 1 };
        let mut consider = |since: u32, milliseconds: u64, action: Action| {
            let at = since.saturating_add(ticks(milliseconds));
            if at > self.tick {
                due.next = due.next.min(at);
            } else if due.action.is_none() {
                due.action = Some(action);
            }
        };
        if let Some(outbox) = &slot.outbox {
            consider(outbox.progress, limits.send_timeout_ms, Action::SendStalled);
        }
        if let Some(since) = slot.connection.assembling_since() {
            consider(since, limits.assembly_timeout_ms, Action::FailAssembly);
        }
        if limits.dead_peer_timeout_ms > 0 {
            consider(slot.heard, limits.dead_peer_timeout_ms, Action::DeadPeer);
        }
        if limits.ping_interval_ms > 0 && slot.connection.state() == State::Open {
            if !slot.pinged {
                consider(slot.heard, limits.ping_interval_ms, Action::Ping);
            } else {
                // Once the peer has answered, another interval begins, and nothing else looks at its end.
                due.next = due.next.min(self.tick.saturating_add(ticks(limits.ping_interval_ms)));
            }
        }
        due
    }
}

/// What has fallen due for an open session.
enum Action {
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
