//! Ending: how connections end, in order, by accident, and with the server. `deadlines` decides when time is up.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::reasons::End;
use crate::engine::session::Phase;
use crate::engine::values::Ended;
use crate::protocol::State;
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Sends the reply of the session in hand, and ends the session if that was its last.
    #[inline]
    pub(super) fn flush_and_check_end(&mut self, token: Token) {
        let Self { reactor, sessions, parts, .. } = self;
        match sessions.get_mut(token) {
            Some(slot) => {
                parts.flush(slot, token, reactor);
                if slot.may_be_over() {
                    self.check_end(token);
                }
            }
            None => parts.reply.clear(),
        }
    }

    /// Takes the next step towards the session's end, if it is due.
    pub(super) fn check_end(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        // Already ended; only its watch or send is outstanding.
        if slot.phase() == Phase::Ended {
            return;
        }
        if slot.transport().is_broken() {
            let end = if slot.phase() == Phase::Open { End::SocketError } else { End::LeftBeforeUpgrade };
            return self.end(token, end);
        }
        // Waiting bytes are sent first; the deadlines limit how long that takes.
        if slot.has_outbox() {
            return;
        }
        let closed = slot.phase() == Phase::Open && slot.connection().state() == State::Closed;
        if slot.transport().is_finished() || (closed && !slot.lingers_when_sent()) {
            let end = match slot.phase() {
                Phase::Open if closed => End::ClosingHandshake,
                Phase::Open => End::EndOfStream,
                _ => End::LeftBeforeUpgrade,
            };
            // A lingering session has said so already.
            if slot.transport().is_secure() && slot.phase() != Phase::Lingering {
                slot.transport_mut().finish(&mut self.reactor, &mut self.parts.tls, token);
            }
            // RFC 6455 7.1.1: the server closes first.
            self.end(token, end);
        } else if slot.lingers_when_sent() && slot.phase() != Phase::Lingering {
            self.linger(token);
        }
    }

    /// Handles the end of the peer's stream.
    pub(super) fn end_of_stream(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.transport().is_secure() {
            self.parts.counters().tls_truncated.write(self.parts.tls.truncated());
        }
        if slot.phase() == Phase::Open || slot.has_outbox() {
            self.parts.set_deadline(slot, token, self.parts.limits().close_timeout_ms);
        }
        self.check_end(token);
    }

    /// Discards input after the last answer or Close frame.
    pub(super) fn discard_input(&mut self, token: Token, bytes: usize) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        let is_too_much = slot.discard(bytes);
        self.parts.counters().bytes_discarded.add(bytes as u64);
        if is_too_much {
            self.parts.counters().input_overruns.add(1);
            // The reason of the end was recorded with the last answer or Close frame.
            self.cut_off(token, End::CutOff);
        }
    }

    /// Continues after bytes were sent: tells the handler that backpressure has ended, if it was told of it.
    pub(super) fn continue_after_send(&mut self, token: Token) {
        self.catch_up(token);
        self.resume_answering(token);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.is_backpressured()
            && !slot.is_throttled()
            && slot.is_opened()
            && slot.outbox_bytes() <= self.parts.outbox_bytes_max(slot) / 2
        {
            slot.end_backpressure();
            self.call(token, |handler, session| handler.drain(session));
            self.flush_and_check_end(token);
        }
    }

    /// Ends a session without a Close frame, and drops the bytes that its peer has not read.
    pub(super) fn cut_off(&mut self, token: Token, end: End) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.phase() != Phase::Ended {
            slot.transport_mut().discard_on_close(&mut self.reactor);
            self.end(token, end);
        }
    }

    /// Closes the socket of an ended session once nothing is in flight.
    pub(super) fn release(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if !slot.transport_mut().close(&mut self.reactor) {
            return;
        }
        // Every end but a failed socket has recorded its reason.
        let end = slot.end().unwrap_or(End::SocketError);
        self.sessions.remove(token);
        self.parts.forget_connection(token);
        self.note_closed(end);
    }

    /// Ends the output, since everything is sent, and waits for the peer's end of stream.
    fn linger(&mut self, token: Token) {
        self.tell_closed(token);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.linger();
        if slot.transport().is_secure() && self.parts.tls.is_handshaking(token.index) {
            slot.transport_mut().note_tls_failed();
            self.parts.tls.remove(token.index);
        }
        slot.transport_mut().finish(&mut self.reactor, &mut self.parts.tls, token);
        self.parts.set_deadline(slot, token, self.parts.limits().close_timeout_ms);
    }

    /// Ends a session, for this reason unless another was recorded already. Its socket is closed as soon as nothing is
    /// in flight any more.
    fn end(&mut self, token: Token, end: End) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.decide_end(end);
        slot.connection_mut().abandon();
        self.tell_closed(token);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.phase() == Phase::Ended {
            return;
        }
        let (state, end) = (slot.finish(), slot.end().unwrap_or(end));
        if state.is_some() {
            self.parts.log_closed(token, end);
        }
        self.parts.note_ended(slot, token);
        self.answers.forget(token.index);
        slot.transport_mut().cancel(&mut self.reactor, token);
        self.drop_guarded(state);
        self.release(token);
    }

    /// Drops a value of the application, whose own code may run then.
    pub(super) fn drop_guarded<T>(&self, what: T) {
        if catch_unwind(AssertUnwindSafe(|| drop(what))).is_err() {
            self.parts.counters().handler_panics.add(1);
        }
    }

    /// Tells the handler, once, that a session ended without a closing handshake.
    fn tell_closed(&mut self, token: Token) {
        let Self { sessions, parts, .. } = self;
        if sessions.get_mut(token).is_some_and(|slot| parts.is_over(slot)) {
            let ended = Ended { code: None, reason: "", clean: false };
            self.call(token, |handler, session| handler.close(session, ended));
            // A closed session sends nothing more.
            self.parts.reply.clear();
        }
    }
}
