//! Handshakes of TLS: the step of a turn that takes them, within its budget.
//!
//! A client whose bytes allow a step waits for its turn, and is not read meanwhile. Clients that have left are skipped,
//! so that a storm of clients that give up costs little. Invariant: live sessions wait for the budget and one step at
//! most, however many strangers want to shake hands.

use super::Core;
use crate::engine::handler::Handler;
use crate::engine::reasons::End;
use crate::engine::session::Phase;
use crate::protocol::http::Refusal;
use crate::reactor::{Reactor, Token};
use crate::tls::{Fault, Progress};

/// The answer to a client that gets no session on a TLS port: a plain alert, internal_error. A client that has sent
/// nothing yet understands it as well as one that waits for an answer.
pub(super) const TURNED_AWAY_ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 80];

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Begins the TLS session of a connection, whose first bytes may have come behind a PROXY header.
    pub(super) fn begin_tls(&mut self, token: Token, received: &[u8]) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        let session = self.acceptor.as_ref().map(|acceptor| acceptor.accept());
        let Some(Ok(mut session)) = session else {
            // A listener speaks TLS only if there is an acceptor; rustls refuses only what it cannot allocate.
            return self.cut_off(token, End::TlsFailure);
        };
        session.feed(received);
        self.parts.tls.insert(token.index, session);
        slot.transport_mut().secure();
        self.await_handshake(token);
    }

    /// Queues a client for its turn, if a step of its handshake can be taken. Beyond the bound it is cut off: the
    /// newest, since those that wait longer were promised more.
    pub(super) fn await_handshake(&mut self, token: Token) {
        let Some(session) = self.parts.tls.get_mut(token.index).filter(|session| session.is_step_due()) else { return };
        if session.has_http() {
            return self.refuse_plain_http(token);
        }
        // The dearest step of these was taken: the rest is cheap, and they must not be lost to those who come now.
        if session.has_begun() {
            return self.parts.handshakes.push_first(token);
        }
        let waiting_max = self.parts.limits().tls_handshakes_waiting_max;
        if !self.parts.handshakes.push(token, waiting_max) {
            self.parts.counters().tls_handshakes_cut_off.add(1);
            self.cut_off(token, End::TurnedAway);
        }
    }

    /// Takes steps of handshakes until the budget of the turn is spent; at least one.
    pub(super) fn shake_hands(&mut self) {
        if !self.parts.handshakes.has_waiting() {
            return;
        }
        let until_us = (self.monotonic_us)().saturating_add(self.parts.limits().tls_handshake_budget_us);
        while let Some(token) = self.parts.handshakes.pop() {
            if self.take_step(token) && (self.monotonic_us)() >= until_us {
                break;
            }
        }
        self.parts.counters().tls_handshakes_waiting.write(self.parts.handshakes.waiting() as u64);
    }

    /// Takes a step of a handshake, unless its client has left. Returns whether it was taken.
    fn take_step(&mut self, token: Token) -> bool {
        let Some(slot) = self.sessions.get_mut(token) else { return false };
        if slot.phase() != Phase::Head || slot.lingers_when_sent() {
            return false;
        }
        let has_begun = self.parts.tls.get_mut(token.index).is_some_and(|session| session.has_begun());
        if slot.transport().has_reported_end() && !has_begun {
            self.parts.counters().tls_handshakes_skipped.add(1);
            slot.transport_mut().note_broken();
            self.check_end(token);
            return false;
        }
        let result = self.parts.tls.step(token.index);
        self.parts.send_answer(slot, token, &mut self.reactor);
        match result {
            Ok(_) if slot.transport().is_broken() => self.check_end(token),
            Ok(progress) => {
                let has_more = self.parts.tls.get_mut(token.index).is_some_and(|session| session.has_unopened());
                if let Progress::Established(_) = progress {
                    self.parts.counters().tls_handshakes.add(1);
                }
                if has_more || slot.has_unread() {
                    self.read(token);
                }
            }
            Err(fault) => self.fail_handshake(token, &fault),
        }
        true
    }

    /// Ends a connection whose handshake has failed, once the alert is sent.
    fn fail_handshake(&mut self, token: Token, fault: &Fault) {
        self.note_tls_failure(token, fault);
        self.parts.tls.remove(token.index);
        if let Some(slot) = self.sessions.get_mut(token) {
            slot.transport_mut().note_tls_failed();
            slot.linger_when_sent(End::TlsFailure);
            self.check_end(token);
        }
    }

    /// Ends an open session that has failed.
    pub(super) fn fail_tls(&mut self, token: Token, fault: &Fault) {
        self.note_tls_failure(token, fault);
        if let Some(slot) = self.sessions.get_mut(token) {
            slot.transport_mut().note_broken();
            slot.decide_end(End::TlsFailure);
            self.check_end(token);
        }
    }

    fn note_tls_failure(&self, token: Token, fault: &Fault) {
        self.parts.counters().tls_failures.add(&fault.kind());
        self.parts.log_tls_failure(token, fault);
    }

    /// Answers a client that speaks plain HTTP on a TLS port, in plain HTTP.
    fn refuse_plain_http(&mut self, token: Token) {
        self.parts.tls.remove(token.index);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.transport_mut().unsecure();
        self.write_refusal(token, &Refusal::PlainHttp);
        self.flush_and_check_end(token);
    }
}
