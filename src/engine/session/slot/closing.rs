//! Closing: the way of a session to its end.

use super::{Phase, Slot};
use crate::engine::reasons::End;
use crate::protocol::State;

/// Bytes of a body that are thrown away because it is not read. Many clients send all of it before they look for an answer,
/// and see nothing but a broken pipe if they cannot: 64 MiB, a thousand times the usual limit of a body. The close timeout
/// bounds it as well.
const DISCARDED_BODY_BYTES_MAX: u32 = 64 * 1024 * 1024;

impl<S> Slot<S> {
    /// Settles the reason of its end, unless there is one already.
    pub(in crate::engine) fn settle_end(&mut self, end: End) {
        self.ending.settle(end);
    }

    /// Has it linger once all is sent, for this reason unless there is another already.
    pub(in crate::engine) fn part(&mut self, end: End) {
        self.ending.part(end);
    }

    /// Has it linger once its last answer is sent, for this reason unless there is another already.
    pub(in crate::engine) fn part_with_answer(&mut self, end: End) {
        self.phase = Phase::Head;
        self.part(end);
    }

    /// Returns whether it lingers once all is sent.
    #[inline]
    pub(in crate::engine) fn is_parting(&self) -> bool {
        self.ending.is_parting()
    }

    /// Returns the reason of its end, once there is one.
    pub(in crate::engine) fn end(&self) -> Option<End> {
        self.ending.reason()
    }

    /// Returns whether it lingers as a WebSocket that was failed, which no answer to a request has as an end.
    pub(in crate::engine) fn lingers_as_websocket(&self) -> bool {
        self.phase == Phase::Lingering && matches!(self.end(), Some(End::Violation | End::HandlerPanic))
    }

    /// Returns whether it is a connection without a session on which no request has begun.
    pub(in crate::engine) fn asks_nothing(&self) -> bool {
        self.phase == Phase::Head && self.backlog.is_none() && !self.is_parting()
    }

    /// Returns whether the next step towards the end might be due: a quick test for the common case that it is not.
    #[inline]
    pub(in crate::engine) fn may_be_over(&self) -> bool {
        self.is_broken() || self.is_finished() || self.is_parting() || self.connection.state() == State::Closed
    }

    /// Awaits the peer's end of stream: everything is sent.
    pub(in crate::engine) fn linger(&mut self) {
        self.phase = Phase::Lingering;
        self.connection.abandon();
        self.backlog = None;
    }

    /// Is over. Returns the application's state.
    pub(in crate::engine) fn finish(&mut self) -> Option<S> {
        self.phase = Phase::Ended;
        self.backlog = None;
        self.state.take()
    }

    /// Allows for a body that is not read and comes all the same.
    pub(in crate::engine) fn expect_unread_body(&mut self) {
        self.discardable = DISCARDED_BODY_BYTES_MAX;
    }

    /// Throws away input after the last answer or Close frame. Returns whether that is more than may come.
    pub(in crate::engine) fn discard(&mut self, bytes: usize) -> bool {
        let is_too_much = bytes as u64 > u64::from(self.discardable);
        self.discardable = self.discardable.saturating_sub(bytes as u32);
        is_too_much
    }
}
