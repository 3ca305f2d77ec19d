//! How connections end: in order, by accident, and with the server. What falls due in time is in `deadlines`.

use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::common::{Common, POSTPONED_BYTES_MAX};
use super::core::Core;
use super::handler::{Ended, Handler, Sent};
use super::reasons::{DropReason, End};
use super::session::{Awaits, Backlog, Phase, Slot};
use super::tasks::Command;
use crate::protocol::State;
use crate::reactor::{Reactor, Token};

/// Bytes of a body that are thrown away because it is not read. Many clients send all of it before they look for an answer,
/// and hear of nothing but a broken pipe if they cannot: 64 MiB, a thousand times the usual limit of a body. The close timeout
/// bounds it as well.
const DISCARDED_BODY_BYTES_MAX: u32 = 64 * 1024 * 1024;

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Sends what the session at hand has said, and ends it if that was its last word.
    #[inline]
    pub(super) fn flush_and_settle(&mut self, token: Token) {
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
    pub(super) fn settle(&mut self, token: Token) {
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
    pub(super) fn end_of_stream(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.phase == Phase::Open || slot.outbox.is_some() {
            self.common.set_deadline(slot, token, self.common.limits.close_timeout_ms);
        }
        self.settle(token);
    }

    /// Input after the last word.
    pub(super) fn discard_input(&mut self, token: Token, bytes: usize) {
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
    pub(super) fn relieve(&mut self, token: Token) {
        self.catch_up(token);
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.pressed && !slot.held && slot.opened && slot.outbox_bytes() <= self.common.limits.outbox_bytes_max / 2 {
            slot.pressed = false;
            self.call(token, |handler, session| handler.drain(session));
            self.flush_and_settle(token);
        }
    }

    /// Ends a session without another word, and drops what its peer has not read.
    pub(super) fn cut_off(&mut self, token: Token, end: End) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if slot.phase != Phase::Ended {
            self.reactor.discard_on_close(slot.socket);
            self.end(token, end);
        }
    }

    /// Closes the socket of an ended session once nothing is in flight.
    pub(super) fn release(&mut self, token: Token) {
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

    /// Carries out what tasks asked for.
    pub(super) fn carry_out_commands(&mut self) {
        if !self.common.tasks.has_commands() {
            return;
        }
        for command in self.common.tasks.take() {
            match command {
                Command::Send { token, message, outcome } => {
                    let mut sent = None;
                    self.call(token, |_, session| sent = Some(session.send(message.borrow())));
                    self.flush_and_settle(token);
                    outcome.set(sent.unwrap_or_else(|| {
                        self.common.counters.messages_dropped.add(&DropReason::SessionGone);
                        Sent::Dropped
                    }));
                }
                Command::Close { token, code, reason } => {
                    self.call(token, |_, session| session.close(code, &reason));
                    self.flush_and_settle(token);
                }
                Command::Resume { token } => self.call(token, |_, session| session.resume()),
                Command::Panicked { token } => {
                    self.panicked(token);
                    self.flush_and_settle(token);
                }
                Command::Look => self.carry_out_upgrades(),
            }
        }
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
    pub(super) fn let_go<T>(&self, what: T) {
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
    pub(super) fn is_over<S>(&self, slot: &mut Slot<S>) -> bool {
        let over = std::mem::take(&mut slot.opened);
        self.counters.sessions_closed.add(u64::from(over));
        over
    }

    /// Whether the session's socket may be read.
    pub(super) fn may_read<S>(&self, slot: &Slot<S>) -> bool {
        !slot.finished
            && !slot.broken
            && match slot.phase {
                Phase::Open => slot.takes_input(self.limits.outbox_bytes_max),
                Phase::Head => slot.outbox_bytes() <= self.limits.outbox_bytes_max,
                Phase::Upgrading | Phase::Lingering => true,
                Phase::Ended => false,
            }
    }

    /// How much of the scratch buffer a read may fill. Of a request head, no byte beyond its limit is ever read; of a body
    /// whose head was read before, none beyond its end, and its length has been held against its limit. Behind the chunk at
    /// hand, no more than a head may have.
    pub(super) fn read_size<S>(&self, slot: &Slot<S>, scratch: usize) -> usize {
        if slot.phase != Phase::Head {
            let may_wait = self.inflation_left == 0 && slot.connection.compression().is_some();
            return if may_wait { scratch.min(POSTPONED_BYTES_MAX) } else { scratch };
        }
        let (kept, awaits) =
            slot.backlog.as_ref().map_or((0, Awaits::Nothing), |backlog| (backlog.bytes.len(), backlog.awaits));
        let head_bytes_max = self.limits.head.head_bytes_max;
        let room = match awaits {
            Awaits::BodyEnd(end) => end.saturating_sub(kept),
            Awaits::LastChunk(_, chunks) => {
                usize::try_from(chunks.data_bytes_left()).map_or(scratch, |left| left.saturating_add(head_bytes_max))
            }
            Awaits::Nothing | Awaits::HeadEnd(_) => head_bytes_max.saturating_sub(kept),
        };
        room.clamp(1, scratch)
    }
}

impl<S> Slot<S> {
    /// Has it linger once all is sent, because of this, unless it was to end for another reason already.
    pub(super) fn parts(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.parting = true;
    }

    /// Whether it lingers as what was a WebSocket until its last word, which no answer to a request has as an end.
    pub(super) fn parts_from_websocket(&self) -> bool {
        self.phase == Phase::Lingering && matches!(self.end, Some(End::Violation | End::HandlerPanic))
    }

    /// Has it linger for a body that is not read and comes all the same.
    pub(super) fn expects_unread_body(&mut self) {
        self.discardable = DISCARDED_BODY_BYTES_MAX;
    }

    /// Whether [`Core::settle`] might have something to do: a quick test for the common case that it has not.
    #[inline]
    pub(super) fn may_be_over(&self) -> bool {
        self.broken || self.finished || self.parting || self.connection.state() == State::Closed
    }

    /// Whether something was set aside that can be consumed now, and not only once more has come.
    pub(super) fn has_consumable_backlog(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| match self.phase {
            Phase::Open => true,
            Phase::Head => matches!(backlog.awaits, Awaits::Nothing),
            _ => false,
        })
    }

    /// Bytes that are kept of a message or a request that is not complete.
    pub(super) fn incomplete_bytes(&self) -> usize {
        match (self.phase, &self.backlog) {
            (Phase::Head, Some(backlog)) => backlog.bytes.len(),
            _ => self.connection.assembled_bytes(),
        }
    }

    /// Takes what was set aside, if it can be consumed now.
    pub(super) fn take_consumable_backlog(&mut self) -> Option<Box<Backlog>> {
        if self.has_consumable_backlog() { self.backlog.take() } else { None }
    }
}
