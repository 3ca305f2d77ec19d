//! Deadlines: pings, silence, slow messages, stalled sends, and the end of each phase.

use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::parts::{Action, Due};
use crate::engine::reasons::End;
use crate::engine::session::Phase;
use crate::protocol::Violation;
use crate::protocol::http::Refusal;
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Takes the action that is due for a session, and schedules the next check.
    pub(super) fn check_deadlines(&mut self, token: Token) {
        let Some(mut due) = self.due(token) else { return };
        if due.is_over_for_want_of_input() {
            // Input that has arrived in time counts, although it was not read yet: a busy core, or one that did not
            // run, may notice the deadline before the input is reported.
            self.read(token);
            let Some(anew) = self.due(token) else { return };
            due = anew;
        }
        let parting = self.has_stopped_accepting();
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if parting && slot.awaits_request() && due.action.is_none() {
            let silent_until = self.parts.silent_until(slot);
            if self.parts.tick() >= silent_until {
                return self.close_unused(token);
            }
            due.next = due.next.min(silent_until);
        }
        match due.action {
            None => self.parts.schedule(token, due.next),
            Some(action) => self.act(token, action),
        }
    }

    /// Checks the deadlines of every session soon, because the times were replaced: a session that was to be checked
    /// in an hour may be due now.
    pub(super) fn check_all_deadlines(&mut self) {
        self.fired.clear();
        self.fired.extend(0..self.sessions.end());
    }

    /// Returns the action that is due for a session; `None` if it has ended. While the server does not read the
    /// session, neither its silence nor its incomplete message counts.
    fn due(&mut self, token: Token) -> Option<Due> {
        let Self { sessions, parts, .. } = self;
        let slot = sessions.get_mut(token).filter(|slot| slot.phase() != Phase::Ended)?;
        if !slot.may_read(|| parts.outbox_bytes_max(slot)) {
            slot.restart_silence(parts.tick());
        }
        Some(parts.due(slot, token))
    }

    fn deadline_passed(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        match slot.phase() {
            Phase::Head if !slot.lingers_when_sent() => {
                self.parts.counters().handshake_timeouts.add(1);
                slot.decide_end(End::HandshakeTimeout);
                // An answer that the client does not read must not keep the connection for ever.
                self.parts.set_deadline(slot, token, self.parts.limits().close_timeout_ms);
                // A client that has sent nothing gets no answer.
                if slot.has_unconsumed() {
                    self.refuse(token, &Refusal::HandshakeTimeout);
                } else {
                    slot.linger_when_sent(End::HandshakeTimeout);
                    self.check_end(token);
                }
            }
            Phase::Upgrading | Phase::Answering => {
                self.answers.forget(token.index);
                self.parts.counters().handshake_timeouts.add(1);
                slot.decide_end(End::HandshakeTimeout);
                self.parts.set_deadline(slot, token, self.parts.limits().close_timeout_ms);
                self.refuse(token, &Refusal::HandlerFailed);
            }
            Phase::Ended => {}
            _ => {
                self.parts.counters().close_timeouts.add(1);
                self.cut_off(token, End::CloseTimeout);
            }
        }
    }

    /// Reads from the kernel what the peer has acknowledged, and extends its timeouts if that is more than before.
    fn check_acknowledged(&mut self, token: Token) {
        let Self { reactor, sessions, parts, .. } = self;
        let Some(slot) = sessions.get_mut(token) else { return };
        let progress = slot.transport().send_progress(reactor);
        parts.note_send_progress(slot, token, progress);
    }

    fn ping(&mut self, token: Token) {
        let liveness = self.sessions.get_mut(token).map(|slot| slot.liveness());
        self.parts.write_ping(token, &[]);
        self.flush_and_check_end(token);
        if let Some((slot, mut liveness)) = self.sessions.get_mut(token).zip(liveness) {
            // A ping is nothing that the peer must acknowledge.
            liveness.note_ping();
            slot.set_liveness(liveness);
        }
    }

    fn act(&mut self, token: Token, action: Action) {
        match action {
            Action::CheckAcknowledged => {
                self.check_acknowledged(token);
                self.check_deadlines(token);
            }
            Action::EndPhase => self.deadline_passed(token),
            Action::Ping => {
                self.ping(token);
                self.check_deadlines(token);
            }
            Action::Wake => {
                self.parts.cancel_wake(token);
                self.call(token, |handler, session| handler.wake(session));
                self.flush_and_check_end(token);
                self.check_deadlines(token);
            }
            Action::ReadAgain => {
                let Self { sessions, parts, .. } = self;
                if let Some(slot) = sessions.get_mut(token) {
                    parts.release_slowed(slot, token);
                }
                self.continue_after_send(token);
                self.check_deadlines(token);
            }
            Action::FailAssembly => {
                let timeout_ms = self.parts.limits().assembly_timeout_ms;
                self.fail(token, &Violation::MessageTimeout { timeout_ms });
                self.flush_and_check_end(token);
            }
            Action::DeadPeer => {
                self.parts.counters().dead_peers.add(1);
                self.cut_off(token, End::DeadPeer);
            }
            Action::SendStalled => {
                self.parts.counters().send_timeouts.add(1);
                self.cut_off(token, End::SendTimeout);
            }
        }
    }
}
