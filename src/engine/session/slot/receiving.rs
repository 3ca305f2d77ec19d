//! Receiving: whether a session's socket may be read, and what was received and not consumed.

use super::{Phase, Slot};
use crate::engine::session::backlog::{Awaits, Backlog};

impl<S> Slot<S> {
    /// Notes that the reactor reported an arrival, and whether the stream's end is among it.
    pub(in crate::engine) fn note_arrival(&mut self, ended: bool) {
        if ended {
            self.input.note_waiting_end();
        }
    }

    /// Notes a read that filled a part of the room given, or all of it. Returns whether nothing more can be there: what comes
    /// later is reported anew, unless the stream's end waits behind these bytes.
    #[inline]
    pub(in crate::engine) fn note_read(&mut self, bytes: usize, room: usize, tick: u32) -> bool {
        self.heard = tick;
        self.note_heard();
        self.input.note_read(bytes, room)
    }

    /// Notes whether something that was reported is left in the socket.
    pub(in crate::engine) fn set_readable(&mut self, readable: bool) {
        self.input.set_readable(readable);
    }

    /// Notes that the peer has ended the stream.
    pub(in crate::engine) fn note_end_of_stream(&mut self) {
        self.input.note_end();
    }

    /// Returns whether the peer has ended the stream, and the socket still works.
    #[inline]
    pub(in crate::engine) fn is_finished(&self) -> bool {
        self.input.is_finished()
    }

    /// Notes that the socket does not work any more.
    pub(in crate::engine) fn note_broken(&mut self) {
        self.input.note_broken();
    }

    #[inline]
    pub(in crate::engine) fn is_broken(&self) -> bool {
        self.input.is_broken()
    }

    /// Returns whether the socket may be read.
    #[inline]
    pub(in crate::engine) fn may_read(&self, outbox_bytes_max: usize) -> bool {
        !self.is_finished()
            && !self.is_broken()
            && match self.phase {
                Phase::Open => self.takes_input(outbox_bytes_max),
                Phase::Head => self.outbox_bytes() <= outbox_bytes_max,
                Phase::Upgrading | Phase::Lingering => true,
                Phase::Ended => false,
            }
    }

    /// Returns whether frames may be consumed now: neither the handler nor backpressure forbids it.
    fn takes_input(&self, outbox_bytes_max: usize) -> bool {
        !self.is_held_up() && (self.outbox.is_none() || self.outbox_bytes() <= outbox_bytes_max)
    }

    /// Returns whether the handler, or what the session published, forbids to consume more.
    #[inline]
    pub(in crate::engine) fn is_held_up(&self) -> bool {
        self.input.is_held_up()
    }

    /// Returns whether something waits that may be read or consumed at once.
    pub(in crate::engine) fn has_unread(&self) -> bool {
        self.input.is_readable() || self.has_consumable_backlog()
    }

    /// Returns whether it makes no difference to the session that everything has left.
    #[inline]
    pub(in crate::engine) fn awaits_nothing(&self) -> bool {
        let has_input = self.input.is_readable() || self.backlog.is_some();
        self.is_open() && !self.is_backpressured() && !self.is_lagging() && !has_input && !self.may_be_over()
    }

    /// Takes no more input until [`Slot::unpause`]: the handler wants none.
    pub(in crate::engine) fn pause(&mut self) {
        self.input.set_paused(true);
    }

    /// Takes input again. Returns whether it was paused.
    pub(in crate::engine) fn unpause(&mut self) -> bool {
        self.input.set_paused(false)
    }

    #[cfg(test)]
    pub(in crate::engine) fn is_paused(&self) -> bool {
        self.input.is_paused()
    }

    /// Takes no more input until what was published can be delivered. Returns whether that is new.
    pub(in crate::engine) fn throttle(&mut self) -> bool {
        !self.input.set_throttled(true)
    }

    /// Takes input again, after it was throttled. Returns whether it was.
    pub(in crate::engine) fn unthrottle(&mut self) -> bool {
        self.input.set_throttled(false)
    }

    pub(in crate::engine) fn is_throttled(&self) -> bool {
        self.input.is_throttled()
    }

    /// Counts the session's silence from now on, because until now it was not read.
    pub(in crate::engine) fn excuse_silence(&mut self, tick: u32) {
        self.heard = tick;
        self.connection.restamp(tick);
    }

    /// Keeps what was received and not consumed.
    pub(in crate::engine) fn keep(&mut self, backlog: Box<Backlog>) {
        self.backlog = Some(backlog);
    }

    pub(in crate::engine) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    #[cfg(test)]
    pub(in crate::engine) fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_deref()
    }

    pub(in crate::engine) fn take_backlog(&mut self) -> Option<Box<Backlog>> {
        self.backlog.take()
    }

    /// Forgets what was received and not consumed.
    pub(in crate::engine) fn drop_backlog(&mut self) {
        self.backlog = None;
    }

    /// Takes what was set aside, if it can be consumed now.
    pub(in crate::engine) fn take_consumable_backlog(&mut self) -> Option<Box<Backlog>> {
        if self.has_consumable_backlog() { self.backlog.take() } else { None }
    }

    /// Returns whether something was set aside that can be consumed now, and not only once more has come.
    fn has_consumable_backlog(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| match self.phase {
            Phase::Open => true,
            Phase::Head => matches!(backlog.awaits, Awaits::Nothing),
            _ => false,
        })
    }

    /// Returns how many bytes of a message or a request that is not complete are kept.
    pub(in crate::engine) fn incomplete_bytes(&self) -> usize {
        match (self.phase, &self.backlog) {
            (Phase::Head, Some(backlog)) => backlog.bytes.len(),
            _ => self.connection.assembled_bytes(),
        }
    }

    /// Returns how many bytes may be read towards a request. Of its head, no byte beyond its limit is ever read; of a body whose
    /// head was read before, none beyond its end, and its length has been checked against its limit. Behind the chunk at hand,
    /// no more than a head may have.
    pub(in crate::engine) fn request_bytes_wanted(&self, head_bytes_max: usize, scratch: usize) -> usize {
        let (kept, awaits) =
            self.backlog.as_ref().map_or((0, Awaits::Nothing), |backlog| (backlog.bytes.len(), backlog.awaits));
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
