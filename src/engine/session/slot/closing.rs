//! The steps of a session towards its end.

use super::{Phase, Slot};
use crate::engine::reasons::End;
use crate::protocol::State;

/// Bytes of an unread body that are discarded: 64 MiB, a thousand times the usual limit of a body. Many clients send
/// all of a body before they read the answer, and report only a broken pipe if they cannot. The close timeout bounds it
/// too.
const DISCARDED_BODY_BYTES_MAX: u32 = 64 * 1024 * 1024;

impl<S> Slot<S> {
    /// Records the reason of the end, unless one is recorded already.
    pub(in crate::engine) fn decide_end(&mut self, end: End) {
        self.ending.decide(end);
    }

    /// Makes the session linger once everything is sent. Records the reason, unless one is recorded already.
    pub(in crate::engine) fn linger_when_sent(&mut self, end: End) {
        self.ending.linger_when_sent(end);
    }

    /// Makes the session linger once its last answer is sent. Records the reason, unless one is recorded already.
    pub(in crate::engine) fn linger_after_answer(&mut self, end: End) {
        self.phase = Phase::Head;
        self.linger_when_sent(end);
    }

    /// Returns whether the session lingers once everything is sent.
    #[inline]
    pub(in crate::engine) fn lingers_when_sent(&self) -> bool {
        self.ending.lingers_when_sent()
    }

    /// Returns the reason of the end, if one is recorded.
    pub(in crate::engine) fn end(&self) -> Option<End> {
        self.ending.reason()
    }

    /// Returns whether the session lingers as a WebSocket that was failed. No answered request ends for these reasons.
    pub(in crate::engine) fn lingers_as_websocket(&self) -> bool {
        self.phase == Phase::Lingering && matches!(self.end(), Some(End::Violation | End::HandlerPanic))
    }

    /// Returns whether no request has begun on the connection, and it has no session.
    pub(in crate::engine) fn awaits_request(&self) -> bool {
        self.phase == Phase::Head && self.unconsumed.is_none() && !self.lingers_when_sent()
    }

    /// Returns whether the next step towards the end may be due: a quick test for the common case that it is not.
    #[inline]
    pub(in crate::engine) fn may_be_over(&self) -> bool {
        self.transport.is_broken()
            || self.transport.is_finished()
            || self.lingers_when_sent()
            || self.connection.state() == State::Closed
    }

    /// Begins to wait for the peer's end of stream, since everything is sent.
    pub(in crate::engine) fn linger(&mut self) {
        self.phase = Phase::Lingering;
        self.connection.abandon();
        self.unconsumed = None;
    }

    /// Ends the session and returns the application's state.
    pub(in crate::engine) fn finish(&mut self) -> Option<S> {
        self.phase = Phase::Ended;
        self.unconsumed = None;
        self.state.take()
    }

    /// Allows for a body that arrives although nobody reads it.
    pub(in crate::engine) fn expect_unread_body(&mut self) {
        self.discardable = DISCARDED_BODY_BYTES_MAX;
    }

    /// Discards input after the last answer or Close frame. Returns whether that is more than is allowed.
    pub(in crate::engine) fn discard(&mut self, bytes: usize) -> bool {
        let is_too_much = bytes as u64 > u64::from(self.discardable);
        self.discardable = self.discardable.saturating_sub(bytes as u32);
        is_too_much
    }
}
