//! A core as the tests see it between its turns, and the way by which they make a handler's calls.
//!
//! The only place where tests look at the state of a core. Looking changes nothing.

use super::Core;
use super::drain::Drain;
use crate::engine::handler::{Handler, Session};
use crate::engine::limits::Limits;
use crate::engine::session::{Phase, Slot};
use crate::engine::values::SessionId;
use crate::protocol::State;
use crate::reactor::{Reactor, Socket, Token};

/// See the module.
pub(in crate::engine) struct View<'a, H: Handler, R: Reactor>(&'a Core<H, R>);

/// A session as the tests see it.
pub(in crate::engine) struct SessionView<'a, S> {
    token: Token,
    slot: &'a Slot<S>,
}

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Returns what tests see of the core.
    pub(in crate::engine) fn view(&self) -> View<'_, H, R> {
        View(self)
    }

    /// Calls with a session, as a call of its handler could, and sends what was written.
    pub(in crate::engine) fn call_for_test(&mut self, id: SessionId, call: impl FnOnce(&mut Session<'_, H>)) {
        self.call(id.token, |_, session| call(session));
        self.flush_and_check_end(id.token);
    }
}

impl<'a, H: Handler, R: Reactor> View<'a, H, R> {
    /// Returns the number of the core.
    pub(in crate::engine) fn number(&self) -> u16 {
        self.0.parts.core()
    }

    /// Returns the tick of the last turn.
    pub(in crate::engine) fn tick(&self) -> u32 {
        self.0.parts.tick()
    }

    pub(in crate::engine) fn limits(&self) -> &'a Limits {
        self.0.parts.limits()
    }

    /// Returns a session, unless it has ended.
    pub(in crate::engine) fn session(&self, id: SessionId) -> Option<SessionView<'a, H::State>> {
        self.session_at(id.token.index).filter(|session| session.token == id.token)
    }

    /// Returns the session in a slot.
    pub(in crate::engine) fn session_at(&self, index: u32) -> Option<SessionView<'a, H::State>> {
        self.0.sessions.at(index).map(|(token, slot)| SessionView { token, slot })
    }

    /// Returns all sessions, in the order of their slots.
    pub(in crate::engine) fn sessions(&self) -> impl Iterator<Item = SessionView<'a, H::State>> {
        (0..self.0.sessions.end()).filter_map(|index| self.session_at(index))
    }

    /// Returns whether every slot is either in use or free.
    pub(in crate::engine) fn has_sound_slots(&self) -> bool {
        self.0.sessions.is_sound()
    }

    /// Returns the listeners that are not closed.
    pub(in crate::engine) fn listeners(&self) -> Vec<Socket> {
        self.0.listeners.iter().map(|accepting| accepting.listener.socket).collect()
    }

    /// Returns the number of clients whose own address is known.
    pub(in crate::engine) fn known_clients(&self) -> usize {
        self.0.parts.clients.counted()
    }

    /// Returns for how many clients' addresses there is room without growth.
    pub(in crate::engine) fn room_for_clients(&self) -> usize {
        self.0.parts.clients.room()
    }

    /// Returns the bytes that a session has written and that were not sent.
    pub(in crate::engine) fn reply_bytes(&self) -> usize {
        self.0.parts.reply.len()
    }

    /// Returns the bytes that were published and wait to be delivered.
    pub(in crate::engine) fn backlog_bytes(&self) -> usize {
        self.0.parts.topics.backlog_bytes
    }

    /// Returns the number of topics, including those that only other cores have subscribers of.
    pub(in crate::engine) fn topics(&self) -> usize {
        self.0.parts.topics.kept()
    }

    /// Returns the number of entries that were sent to another core.
    pub(in crate::engine) fn sent_to_core(&self, core: u16) -> u64 {
        self.0.parts.mesh.sent(core)
    }

    /// Returns whether something waits for another core to pop an entry.
    pub(in crate::engine) fn awaits_others(&self) -> bool {
        self.0.awaits_others()
    }

    pub(in crate::engine) fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    /// Returns whether the last turn must have told every session to close, if there are no more than a turn can tell.
    pub(in crate::engine) fn has_told_all(&self) -> bool {
        matches!(&self.0.draining, Some(Drain::Closing(closing)) if self.0.now_ms >= closing.told_by_ms)
    }
}

impl<'a, S> SessionView<'a, S> {
    pub(in crate::engine) fn token(&self) -> Token {
        self.token
    }

    pub(in crate::engine) fn socket(&self) -> Socket {
        self.slot.transport().socket()
    }

    pub(in crate::engine) fn phase(&self) -> Phase {
        self.slot.phase()
    }

    /// Returns the state of the WebSocket connection.
    pub(in crate::engine) fn connection(&self) -> State {
        self.slot.connection().state()
    }

    /// Returns whether the session is a WebSocket on which no Close frame was sent or received.
    pub(in crate::engine) fn is_open(&self) -> bool {
        self.slot.is_open()
    }

    /// Returns whether the session lingers once everything is sent.
    pub(in crate::engine) fn is_parting(&self) -> bool {
        self.slot.lingers_when_sent()
    }

    /// Returns whether the peer has ended its stream.
    pub(in crate::engine) fn is_finished(&self) -> bool {
        self.slot.transport().is_finished()
    }

    pub(in crate::engine) fn is_paused(&self) -> bool {
        self.slot.is_paused()
    }

    pub(in crate::engine) fn is_slowed(&self) -> bool {
        self.slot.is_slowed()
    }

    pub(in crate::engine) fn is_throttled(&self) -> bool {
        self.slot.is_throttled()
    }

    /// Returns the tick by which the phase, or the closing handshake, must be over.
    pub(in crate::engine) fn deadline(&self) -> u32 {
        self.slot.deadline()
    }

    /// Returns the application's state, if there is one yet.
    pub(in crate::engine) fn state(&self) -> Option<&'a S> {
        self.slot.state()
    }

    /// Returns the bytes that wait to be sent.
    pub(in crate::engine) fn outbox_bytes(&self) -> usize {
        self.slot.outbox_bytes()
    }

    /// Returns the bytes that were received and not consumed.
    pub(in crate::engine) fn unconsumed_bytes(&self) -> usize {
        self.slot.unconsumed().map_or(0, |unconsumed| unconsumed.bytes.len())
    }

    /// Returns the room for bytes that are not consumed.
    pub(in crate::engine) fn unconsumed_room(&self) -> usize {
        self.slot.unconsumed().map_or(0, |unconsumed| unconsumed.bytes.capacity())
    }

    /// Returns the place in memory of the bytes that were not consumed, if there are any.
    pub(in crate::engine) fn unconsumed_place(&self) -> Option<*const u8> {
        self.slot.unconsumed().map(|unconsumed| unconsumed.bytes.as_ptr())
    }

    /// Returns the bytes of the incomplete message.
    pub(in crate::engine) fn assembled_bytes(&self) -> usize {
        self.slot.connection().assembled_bytes()
    }
}
