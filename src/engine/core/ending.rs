//! How connections end: in order, by accident, and with the server. What falls due in time is in `deadlines`.

use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::common::Common;
use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::reasons::End;
use crate::engine::session::{Phase, Slot};
use crate::engine::values::Ended;
use crate::protocol::State;
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Sends what the session at hand has said, and ends it if that was its last word.
    #[inline]
    pub(in crate::engine) fn flush_and_settle(&mut self, token: Token) {
        let Self { reactor, sessions, common, .. } = self;
        match sessions.get_mut(token) {
            Some(slot) => {
                common.flush(slot, token, reactor);
                if slot.may_be_over() {
                    self.settle(token);
                }
            }
            None => common.reply.clear(),
        }
    }

    /// Takes the next step towards the end, if it is time for one.
    pub(in crate::engine) fn settle(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        // Whose watch or send is still awaited takes no further step.
        if slot.phase == Phase::Ended {
            return;
        }
        if slot.broken {
            let end = if slot.phase == Phase::Open { End::SocketError } else { End::LeftBeforeUpgrade };
            return self.end(token, end);
        }
        // What waits to be sent is sent first; the deadlines see to it that this does not take for ever.
        if slot.outbox.is_some() {
            return;
        }
        let closed = slot.phase == Phase::Open && slot.connection.state() == State::Closed;
        if slot.finished || (closed && !slot.parting) {
            let end = match slot.phase {
                Phase::Open if closed => End::ClosingHandshake,
                Phase::Open => End::EndOfStream,
                _ => End::LeftBeforeUpgrade,
            };
            // RFC 6455 7.1.1: the server closes first.
            self.end(token, end);
        } else if slot.parting && slot.phase != Phase::Lingering {
            self.linger(token);
        }
    }

    /// The peer will send nothing more.
    pub(in crate::engine) fn end_of_stream(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.phase == Phase::Open || slot.outbox.is_some() {
            self.common.set_deadline(slot, token, self.common.limits.close_timeout_ms);
        }
        self.settle(token);
    }

    /// Input after the last word.
    pub(in crate::engine) fn discard_input(&mut self, token: Token, bytes: usize) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        let is_too_much = bytes as u64 > u64::from(slot.discardable);
        slot.discardable = slot.discardable.saturating_sub(bytes as u32);
        self.common.counters.bytes_discarded.add(bytes as u64);
        if is_too_much {
            self.common.counters.input_overruns.add(1);
            // What it ends for was said with the last word.
            self.cut_off(token, End::CutOff);
        }
    }

    /// After something left: tells a handler that was told to hold back that it may go on.
    pub(in crate::engine) fn relieve(&mut self, token: Token) {
        self.catch_up(token);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.pressed && !slot.held && slot.opened && slot.outbox_bytes() <= self.common.limits.outbox_bytes_max / 2 {
            slot.pressed = false;
            self.call(token, |handler, session| handler.drain(session));
            self.flush_and_settle(token);
        }
    }

    /// Ends a session without another word, and drops what its peer has not read.
    pub(in crate::engine) fn cut_off(&mut self, token: Token, end: End) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.phase != Phase::Ended {
            self.reactor.discard_on_close(slot.socket);
            self.end(token, end);
        }
    }

    /// Closes the socket of an ended session once nothing is in flight.
    pub(in crate::engine) fn release(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.watched || slot.sending {
            return;
        }
        // Whatever ended it has said so; only the socket needs nobody to say anything.
        let end = slot.end.unwrap_or(End::SocketError);
        self.reactor.close(slot.socket);
        self.sessions.remove(token);
        self.common.clients.goes(token.index);
        self.common.acknowledged.forget(token.index);
        self.released(end);
    }

    /// Everything is said: ends the output, and waits for the peer's end of stream.
    fn linger(&mut self, token: Token) {
        self.tell_closed(token);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.phase = Phase::Lingering;
        slot.connection.abandon();
        slot.backlog = None;
        self.reactor.shutdown(slot.socket, Shutdown::Write);
        self.common.set_deadline(slot, token, self.common.limits.close_timeout_ms);
    }

    /// Ends a session, for this reason unless it was to end for another already. Its socket is closed as soon as nothing
    /// is in flight any more.
    fn end(&mut self, token: Token, end: End) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.end.get_or_insert(end);
        slot.connection.abandon();
        self.tell_closed(token);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.phase == Phase::Ended {
            return;
        }
        slot.phase = Phase::Ended;
        slot.backlog = None;
        self.common.leave_all(slot);
        if slot.connection.compression().is_some_and(|agreement| agreement.has_context_takeover()) {
            self.common.compression_contexts -= 1;
        }
        self.common.wheel.cancel(token.index);
        self.common.reply.clear();
        let state = slot.state.take();
        if slot.sending {
            self.reactor.shutdown(slot.socket, Shutdown::Both);
        }
        if slot.watched {
            self.reactor.unwatch(slot.socket, token);
        }
        self.let_go(state);
        self.release(token);
    }

    /// Drops what is the application's, whose own code may run then.
    pub(in crate::engine) fn let_go<T>(&self, what: T) {
        if catch_unwind(AssertUnwindSafe(|| drop(what))).is_err() {
            self.common.counters.handler_panics.add(1);
        }
    }

    /// Tells the handler, once, that a session ended without a closing handshake.
    fn tell_closed(&mut self, token: Token) {
        let Self { sessions, common, .. } = self;
        if sessions.get_mut(token).is_some_and(|slot| common.is_over(slot)) {
            let ended = Ended { code: None, reason: "", clean: false };
            self.call(token, |handler, session| handler.close(session, ended));
            // A closed session has nothing more to say.
            self.common.reply.clear();
        }
    }
}

impl Common {
    /// Notes that an open session is over; says so once.
    pub(in crate::engine) fn is_over<S>(&self, slot: &mut Slot<S>) -> bool {
        let over = std::mem::take(&mut slot.opened);
        self.counters.sessions_closed.add(u64::from(over));
        over
    }
}
