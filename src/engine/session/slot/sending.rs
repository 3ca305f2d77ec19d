//! Output: the bytes that wait in a session's outbox, and those that its peer has yet to acknowledge.

use super::Slot;
use super::output::Liveness;
use crate::engine::session::outbox::Outbox;

impl<S> Slot<S> {
    pub(in crate::engine) fn liveness(&self) -> Liveness {
        self.output.liveness()
    }

    pub(in crate::engine) fn set_liveness(&mut self, liveness: Liveness) {
        *self.output.liveness_mut() = liveness;
    }

    /// Records that bytes are passed to the socket.
    #[inline]
    pub(in crate::engine) fn note_sent(&mut self) {
        self.output.liveness_mut().note_sent();
    }

    /// Records that the peer has acknowledged everything that was sent.
    pub(in crate::engine) fn note_all_acknowledged(&mut self) {
        self.output.liveness_mut().note_all_acknowledged();
    }

    /// Records that the handler was told of backpressure.
    #[inline]
    pub(in crate::engine) fn note_backpressure(&mut self) {
        self.output.set_backpressured(true);
    }

    /// Returns whether the handler was told of backpressure and not yet of its end.
    #[inline]
    pub(in crate::engine) fn is_backpressured(&self) -> bool {
        self.output.is_backpressured()
    }

    /// Records that the handler is told now that it may send again.
    pub(in crate::engine) fn end_backpressure(&mut self) {
        self.output.set_backpressured(false);
    }

    #[inline]
    pub(in crate::engine) fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_deref()
    }

    #[inline]
    pub(in crate::engine) fn outbox_mut(&mut self) -> Option<&mut Outbox> {
        self.outbox.as_deref_mut()
    }

    #[inline]
    pub(in crate::engine) fn has_outbox(&self) -> bool {
        self.outbox.is_some()
    }

    pub(in crate::engine) fn set_outbox(&mut self, outbox: Box<Outbox>) {
        self.outbox = Some(outbox);
    }

    /// Returns how many bytes wait to be sent, without those in the reply buffer.
    #[inline]
    pub(in crate::engine) fn outbox_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.bytes())
    }

    /// Drops the outbox if everything was sent. Returns whether there is no outbox any more.
    pub(in crate::engine) fn drop_sent_outbox(&mut self) -> bool {
        let is_empty = self.outbox.as_ref().is_none_or(|outbox| outbox.is_empty());
        if is_empty {
            self.outbox = None;
        }
        is_empty
    }

    /// Drops the outbox if nothing waits in it, because it was dropped.
    pub(in crate::engine) fn drop_empty_outbox(&mut self) {
        if !self.transport.is_sending() && self.outbox.as_ref().is_some_and(|outbox| outbox.is_empty()) {
            self.outbox = None;
        }
    }
}
