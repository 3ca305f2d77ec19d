//! The input of an open session: frames, and the handler calls that they cause.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::handler::Session;
use crate::engine::parts::Parts;
use crate::engine::reasons::End;
use crate::engine::session::{Phase, Slot, Unconsumed};
use crate::engine::values::Ended;
use crate::engine::wheel::ticks;
use crate::protocol::{Close, Event, Incoming, Opcode, Violation};
use crate::reactor::{Reactor, Sockets, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Consumes as many frames as the session takes. Returns how many bytes of input are left.
    pub(super) fn consume_frames(&mut self, token: Token, input: &mut [u8]) -> usize {
        let Self { handler, reactor, sessions, parts, .. } = self;
        let Some(slot) = sessions.get_mut(token) else { return 0 };
        let (received, published) =
            (parts.counters().messages_received.read(), parts.counters().messages_published.read());
        // One guard for the whole read: replies from before a panic are still sent.
        let consumed = catch_unwind(AssertUnwindSafe(|| read_frames(handler, slot, token, parts, reactor, input)));
        let rest = match consumed {
            Ok(Ok(rest)) => rest,
            Ok(Err(violation)) => {
                self.fail(token, &violation);
                0
            }
            Err(_) => {
                self.panicked(token);
                0
            }
        };
        let counters = self.parts.counters();
        if counters.messages_received.read() - received > counters.messages_published.read() - published {
            self.pacing.note_other_traffic(self.parts.tick());
        }
        self.parts.spend_inflated();
        self.flush_and_check_end(token);
        rest
    }

    /// Consumes input that was kept, and returns how many bytes that were. The rest stays where it is, so that keeping
    /// it again and again costs nothing.
    pub(super) fn consume_kept(&mut self, token: Token, mut unconsumed: Box<Unconsumed>) -> usize {
        let start = unconsumed.start;
        if self.sessions.get_mut(token).is_some_and(|slot| slot.phase() != Phase::Open) {
            self.consume(token, &mut unconsumed.bytes);
            return unconsumed.bytes.len();
        }
        let rest = self.consume_frames(token, &mut unconsumed.bytes[start..]);
        unconsumed.start = unconsumed.bytes.len() - rest;
        let consumed = unconsumed.start - start;
        if let Some(slot) = self.sessions.get_mut(token).filter(|slot| rest > 0 && slot.phase() == Phase::Open) {
            slot.keep(unconsumed);
        }
        consumed
    }

    /// Calls the handler for a session. A panic ends this session alone.
    pub(super) fn call(&mut self, token: Token, call: impl FnOnce(&mut H, &mut Session<'_, H>)) {
        let Self { handler, reactor, sessions, parts, .. } = self;
        let Some(slot) = sessions.get_mut(token) else { return };
        let mut session = Session { slot, token, parts, sockets: reactor };
        if catch_unwind(AssertUnwindSafe(|| call(handler, &mut session))).is_err() {
            self.panicked(token);
        }
    }

    /// Ends the session for which a call or a task of the handler panicked.
    pub(super) fn panicked(&mut self, token: Token) {
        self.parts.note_panic(self.sessions.get_mut(token), token);
    }

    /// Fails a connection whose peer violated the protocol.
    pub(super) fn fail(&mut self, token: Token, violation: &Violation) {
        self.parts.counters().violations.add(violation);
        self.parts.log_violation(token, violation);
        if let Some(slot) = self.sessions.get_mut(token) {
            let reason = violation.to_string();
            self.parts.fail(slot, token, End::Violation, Close::new(violation.close_code(), &reason));
        }
    }
}

/// Passes the events that `input` completes to the handler, in order. Returns how many bytes the session does not take
/// now. Replies from before a violation are still sent.
fn read_frames<H: Handler>(
    handler: &mut H,
    slot: &mut Slot<H::State>,
    token: Token,
    parts: &mut Parts,
    sockets: &mut dyn Sockets,
    input: &mut [u8],
) -> Result<usize, Violation> {
    let mut incoming = Incoming::new(input, parts.tick());
    let mut rest = 0;
    let limits = parts.message_limits(slot).clone();
    while let Some(event) = incoming.next(slot.connection_mut(), &mut parts.pool, &limits)? {
        match event {
            Event::Message(message) => {
                parts.counters().messages_received.add(1);
                parts.log_received(token, message.kind().opcode(), message.len());
                handler.message(&mut Session { slot, token, parts, sockets }, message);
            }
            Event::Ping(payload) => {
                parts.log_received(token, Opcode::Ping, payload.len());
                parts.write_pong(slot, token, sockets, payload);
                handler.ping(&mut Session { slot, token, parts, sockets }, payload);
            }
            Event::Pong(payload) => {
                parts.log_received(token, Opcode::Pong, payload.len());
                handler.pong(&mut Session { slot, token, parts, sockets }, payload);
            }
            Event::Close(close) => {
                let code = close.map(|close| close.code);
                parts.counters().closes_received.add(&code);
                parts.log_close_received(token, close);
                if parts.is_over(slot) {
                    let ended = Ended { code, reason: close.map_or("", |close| close.reason), clean: true };
                    handler.close(&mut Session { slot, token, parts, sockets }, ended);
                }
                // The code is echoed (RFC 6455 5.5.1). Nothing happens if this end sent its Close frame first.
                if slot.connection_mut().close(&mut parts.reply, close, None) {
                    parts.counters().closes_sent.add(&code);
                    parts.log_close_sent(token, close);
                }
                parts.leave_all(slot);
                parts.set_deadline(slot, token, parts.limits().close_timeout_ms);
            }
        }
        // This is checked before the next message: its answer would be dropped if the replies so far do not fit.
        if slot.is_input_stopped() || parts.is_full(slot, token, sockets) {
            rest = incoming.rest().len();
            break;
        }
    }
    if let Some(since) = slot.connection().assembling_since() {
        parts.schedule(token, since.saturating_add(ticks(parts.limits().assembly_timeout_ms)));
    }
    Ok(rest)
}
