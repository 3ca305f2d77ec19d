//! Input: when a session's socket may be read, and the bytes that were received and not consumed.

use super::{Phase, Slot};
use crate::engine::session::unconsumed::{Awaits, Unconsumed};

impl<S> Slot<S> {
    /// Records that bytes have arrived.
    #[inline]
    pub(in crate::engine) fn note_heard(&mut self, tick: u32) {
        self.heard = tick;
        self.output.liveness_mut().note_heard();
    }

    /// Returns whether the socket may be read. Asks for the limit of the outbox only if something waits in it.
    #[inline]
    pub(in crate::engine) fn may_read(&self, outbox_bytes_max: impl FnOnce() -> usize) -> bool {
        !self.transport.is_finished()
            && !self.transport.is_broken()
            && match self.phase {
                Phase::Open => self.takes_input(outbox_bytes_max),
                Phase::Head => self.outbox.is_none() || self.outbox_bytes() <= outbox_bytes_max(),
                Phase::Upgrading | Phase::Lingering => true,
                Phase::Answering | Phase::Ended => false,
            }
    }

    /// Returns whether frames may be consumed now: neither the handler nor backpressure prevents it.
    fn takes_input(&self, outbox_bytes_max: impl FnOnce() -> usize) -> bool {
        !self.is_input_stopped() && (self.outbox.is_none() || self.outbox_bytes() <= outbox_bytes_max())
    }

    /// Returns whether the session is paused by its handler, or throttled or slowed down because of what it published.
    #[inline]
    pub(in crate::engine) fn is_input_stopped(&self) -> bool {
        self.input.is_input_stopped()
    }

    /// Returns whether input is left that may be read or consumed now.
    pub(in crate::engine) fn has_unread(&self) -> bool {
        self.transport.is_readable() || self.has_consumable()
    }

    /// Returns whether nothing needs to be done for the session once everything is sent.
    #[inline]
    pub(in crate::engine) fn is_done_once_sent(&self) -> bool {
        let has_input = self.transport.is_readable() || self.unconsumed.is_some();
        self.is_open() && !self.is_backpressured() && !self.is_lagging() && !has_input && !self.may_be_over()
    }

    /// Stops input until [`Slot::unpause`], because the handler asked for it.
    pub(in crate::engine) fn pause(&mut self) {
        self.input.set_paused(true);
    }

    /// Allows input again. Returns whether it was paused.
    pub(in crate::engine) fn unpause(&mut self) -> bool {
        self.input.set_paused(false)
    }

    #[cfg(test)]
    pub(in crate::engine) fn is_paused(&self) -> bool {
        self.input.is_paused()
    }

    /// Stops input until what the session published can be delivered. Returns whether it was not throttled before.
    pub(in crate::engine) fn throttle(&mut self) -> bool {
        !self.input.set_throttled(true)
    }

    /// Allows input again after a throttle. Returns whether the session was throttled.
    pub(in crate::engine) fn unthrottle(&mut self) -> bool {
        self.input.set_throttled(false)
    }

    /// Stops input until the session keeps its rates again. Returns whether it was not slowed down before.
    pub(in crate::engine) fn slow(&mut self) -> bool {
        !self.input.set_slowed(true)
    }

    /// Allows input again after the session was slowed down. Returns whether it was.
    pub(in crate::engine) fn unslow(&mut self) -> bool {
        self.input.set_slowed(false)
    }

    #[inline]
    pub(in crate::engine) fn is_slowed(&self) -> bool {
        self.input.is_slowed()
    }

    pub(in crate::engine) fn is_throttled(&self) -> bool {
        self.input.is_throttled()
    }

    /// Restarts the silence timer and the assembly timer, because the session was not read until now.
    pub(in crate::engine) fn restart_silence(&mut self, tick: u32) {
        self.heard = tick;
        self.connection.restamp(tick);
    }

    /// Keeps input that was not consumed.
    pub(in crate::engine) fn keep(&mut self, unconsumed: Box<Unconsumed>) {
        self.unconsumed = Some(unconsumed);
    }

    pub(in crate::engine) fn has_unconsumed(&self) -> bool {
        self.unconsumed.is_some()
    }

    #[cfg(test)]
    pub(in crate::engine) fn unconsumed(&self) -> Option<&Unconsumed> {
        self.unconsumed.as_deref()
    }

    pub(in crate::engine) fn take_unconsumed(&mut self) -> Option<Box<Unconsumed>> {
        self.unconsumed.take()
    }

    /// Discards input that was not consumed.
    pub(in crate::engine) fn drop_unconsumed(&mut self) {
        self.unconsumed = None;
    }

    /// Takes the unconsumed input, if it can be consumed now.
    pub(in crate::engine) fn take_consumable(&mut self) -> Option<Box<Unconsumed>> {
        if self.has_consumable() { self.unconsumed.take() } else { None }
    }

    /// Returns whether there is unconsumed input that can be consumed now, without waiting for more.
    fn has_consumable(&self) -> bool {
        self.unconsumed.as_ref().is_some_and(|unconsumed| match self.phase {
            Phase::Open => true,
            Phase::Head => matches!(unconsumed.awaits, Awaits::Nothing),
            _ => false,
        })
    }

    /// Returns how many bytes of an incomplete message or request are kept.
    pub(in crate::engine) fn incomplete_bytes(&self) -> usize {
        match (self.phase, &self.unconsumed) {
            (Phase::Head, Some(unconsumed)) => unconsumed.bytes.len(),
            _ => self.connection.assembled_bytes(),
        }
    }

    /// Returns how many bytes may be read towards a request. Of a head, no byte beyond its limit is ever read. Of a
    /// body whose head was read before, no byte beyond its end is read, and its length was checked against the limit.
    /// Beyond the current chunk, no more is read than a head may have.
    pub(in crate::engine) fn request_bytes_wanted(&self, head_bytes_max: usize, scratch: usize) -> usize {
        let (kept, awaits) = self
            .unconsumed
            .as_ref()
            .map_or((0, Awaits::Nothing), |unconsumed| (unconsumed.bytes.len(), unconsumed.awaits));
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
