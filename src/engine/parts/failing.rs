//! Failing a session: its last Close frame, and the time for its peer to receive it.

use super::Parts;
use crate::engine::reasons::End;
use crate::engine::session::{Phase, Slot};
use crate::protocol::{Close, CloseCode, State};
use crate::reactor::Token;

impl Parts {
    /// Fails a session with this Close frame. Changes nothing once the session is closed, or each further panic would
    /// give it another close timeout.
    pub(in crate::engine) fn fail<S>(&mut self, slot: &mut Slot<S>, token: Token, end: End, close: Close<'_>) {
        if slot.phase() != Phase::Open || slot.connection().state() == State::Closed {
            return;
        }
        if slot.connection_mut().fail(&mut self.reply, close, None) {
            self.counters.closes_sent.add(&Some(close.code));
            self.log_close_sent(token, Some(close));
        }
        slot.linger_when_sent(end);
        slot.drop_unconsumed();
        self.leave_all(slot);
        self.set_deadline(slot, token, self.limits.close_timeout_ms);
    }

    /// Counts a panic of the handler in a call for a session, or in its task, and fails the session if it still exists.
    pub(in crate::engine) fn note_panic<S>(&mut self, slot: Option<&mut Slot<S>>, token: Token) {
        self.counters.handler_panics.add(1);
        let reason = "The server failed while it handled this session.";
        if let Some(slot) = slot {
            self.fail(slot, token, End::HandlerPanic, Close::new(CloseCode::INTERNAL_ERROR, reason));
        }
    }
}
