//! The state of one client connection: all that a core remembers of it.
//!
//! Decides nothing and sends nothing. Invariant: an idle session is this and nothing else in memory, at most
//! [`SESSION_BYTES_MAX`] bytes.

use crate::engine::reasons::End;
use crate::engine::session::backlog::{Awaits, Backlog};
use crate::engine::session::outbox::Outbox;
use crate::engine::session::slab::Slab;
use crate::engine::topics::NOBODY;
use crate::protocol::{Connection, Role, State};
use crate::reactor::Socket;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// Awaiting a request.
    Head,
    /// Awaiting the handler's decision on an upgrade.
    Upgrading,
    /// A WebSocket, until its closing handshake is over.
    Open,
    /// Everything was said; the peer's end of stream is awaited, so that nothing said is lost to a reset.
    Lingering,
    /// Over; what is in flight is awaited before the socket is closed.
    Ended,
}

/// Bytes that are read and thrown away after the last word to a peer, so that a reset does not overtake it. A peer that
/// sends more is cut off.
const DISCARDED_BYTES_MAX: u32 = 256 * 1024;

/// Bytes of a body that are thrown away because it is not read. Many clients send all of it before they look for an answer,
/// and hear of nothing but a broken pipe if they cannot: 64 MiB, a thousand times the usual limit of a body. The close timeout
/// bounds it as well.
const DISCARDED_BODY_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// What a core remembers of a connection: all there is of it while it is idle.
pub(in crate::engine) struct Slot<S> {
    pub(in crate::engine) socket: Socket,
    pub(in crate::engine) phase: Phase,
    /// The reactor watches the socket.
    pub(in crate::engine) watched: bool,
    /// A send is in flight.
    pub(in crate::engine) sending: bool,
    /// It is on the list of those that have something to send this turn.
    pub(in crate::engine) dirty: bool,
    /// It is on the list of those that go on reading next turn.
    pub(in crate::engine) resuming: bool,
    /// An arrival was reported that has not been read to its end.
    pub(in crate::engine) readable: bool,
    /// The end of the stream or an error waits in the socket, perhaps behind bytes.
    pub(in crate::engine) ended: bool,
    /// The handler wants no more input.
    pub(in crate::engine) paused: bool,
    /// It published more than can be delivered now: no more input until that is over.
    pub(in crate::engine) held: bool,
    /// It waits for the latest message of a topic.
    pub(in crate::engine) behind: bool,
    /// It is on the list of those that are looked at for that next turn.
    pub(in crate::engine) catching_up: bool,
    /// It has a subscription that is not to bring what it publishes itself.
    pub(in crate::engine) echoless: bool,
    /// The handler was told of backpressure and not yet of its end.
    pub(in crate::engine) pressed: bool,
    /// What was sent to it.
    pub(in crate::engine) told: Told,
    /// The handler was told that the session is open, and not yet that it is closed.
    pub(in crate::engine) opened: bool,
    /// The connection failed or was answered for the last time: linger once all is sent.
    pub(in crate::engine) parting: bool,
    /// The peer sent its end of stream.
    pub(in crate::engine) finished: bool,
    /// The socket does not work any more.
    pub(in crate::engine) broken: bool,
    /// Why it ends, once that is certain. What comes after it on the way to the end changes nothing.
    pub(in crate::engine) end: Option<End>,
    /// Tick at which bytes last came.
    pub(in crate::engine) heard: u32,
    /// Tick by which the phase, or the closing handshake, must be over.
    pub(in crate::engine) deadline: u32,
    /// Bytes that may still come after the last word.
    pub(in crate::engine) discardable: u32,
    /// What it is subscribed to; [`NOBODY`] if nothing.
    pub(in crate::engine) membership: u32,
    pub(in crate::engine) connection: Connection,
    pub(in crate::engine) outbox: Option<Box<Outbox>>,
    /// Bytes that were received and not consumed.
    pub(in crate::engine) backlog: Option<Box<Backlog>>,
    /// The application's, once it has given or asked for one. Neither making nor dropping one is safe from panics.
    pub(in crate::engine) state: Option<S>,
}

/// What was sent to a session, as far as signs of life depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Told(u8);

impl Told {
    const PINGED: u8 = 1;
    const UNTAKEN: u8 = 2;

    /// Returns whether a ping was sent since the last byte came.
    pub(in crate::engine) fn is_pinged(self) -> bool {
        self.0 & Self::PINGED != 0
    }

    pub(in crate::engine) fn note_ping(&mut self) {
        self.0 |= Self::PINGED;
    }

    #[inline]
    pub(in crate::engine) fn note_heard(&mut self) {
        self.0 &= !Self::PINGED;
    }

    /// Whether its peer may still have to take something: more than a ping was sent since the last look at its socket found
    /// nothing there.
    pub(in crate::engine) fn is_untaken(self) -> bool {
        self.0 & Self::UNTAKEN != 0
    }

    #[inline]
    pub(in crate::engine) fn note_sent(&mut self) {
        self.0 |= Self::UNTAKEN;
    }

    pub(in crate::engine) fn note_all_taken(&mut self) {
        self.0 &= !Self::UNTAKEN;
    }
}

/// An idle session costs at most this in user memory, a small state of the application included.
const SESSION_BYTES_MAX: usize = 128;
const _: () = assert!(Slab::<Slot<[u64; 4]>>::ENTRY_BYTES <= SESSION_BYTES_MAX);

impl<S> Slot<S> {
    pub(in crate::engine) fn new(socket: Socket, tick: u32, deadline: u32) -> Self {
        Self {
            socket,
            phase: Phase::Head,
            watched: false,
            sending: false,
            dirty: false,
            resuming: false,
            readable: false,
            ended: false,
            paused: false,
            held: false,
            behind: false,
            catching_up: false,
            echoless: false,
            pressed: false,
            told: Told::default(),
            opened: false,
            parting: false,
            finished: false,
            broken: false,
            end: None,
            heard: tick,
            deadline,
            discardable: DISCARDED_BYTES_MAX,
            membership: NOBODY,
            connection: Connection::new(Role::Server),
            outbox: None,
            backlog: None,
            state: None,
        }
    }
}

impl<S> Slot<S> {
    /// Whether it is a WebSocket, and no Close frame was sent or received.
    #[inline]
    pub(in crate::engine) fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.connection.state() == State::Open
    }

    /// Whether it makes no difference to the session that everything has left.
    #[inline]
    pub(in crate::engine) fn awaits_nothing(&self) -> bool {
        let has_input = self.readable || self.backlog.is_some();
        self.is_open() && !self.pressed && !self.behind && !has_input && !self.may_be_over()
    }

    /// Gives up an outbox that nothing waits in any more, because it was dropped.
    pub(in crate::engine) fn forget_empty_outbox(&mut self) {
        if !self.sending && self.outbox.as_ref().is_some_and(|outbox| outbox.is_empty()) {
            self.outbox = None;
        }
    }

    /// Bytes that wait to leave, without those in the reply buffer.
    pub(in crate::engine) fn outbox_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.bytes())
    }

    /// Whether frames may be consumed now: neither the handler nor backpressure forbids it.
    pub(in crate::engine) fn takes_input(&self, outbox_bytes_max: usize) -> bool {
        !self.paused && !self.held && (self.outbox.is_none() || self.outbox_bytes() <= outbox_bytes_max)
    }
}

impl<S> Slot<S> {
    /// Has it linger once all is sent, because of this, unless it was to end for another reason already.
    pub(in crate::engine) fn parts(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.parting = true;
    }

    /// Whether it lingers as what was a WebSocket until its last word, which no answer to a request has as an end.
    pub(in crate::engine) fn parts_from_websocket(&self) -> bool {
        self.phase == Phase::Lingering && matches!(self.end, Some(End::Violation | End::HandlerPanic))
    }

    /// Has it linger for a body that is not read and comes all the same.
    pub(in crate::engine) fn expects_unread_body(&mut self) {
        self.discardable = DISCARDED_BODY_BYTES_MAX;
    }

    /// Whether [`settle`] might have something to do: a quick test for the common case that it has not.
    #[inline]
    pub(in crate::engine) fn may_be_over(&self) -> bool {
        self.broken || self.finished || self.parting || self.connection.state() == State::Closed
    }

    /// Whether something was set aside that can be consumed now, and not only once more has come.
    pub(in crate::engine) fn has_consumable_backlog(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| match self.phase {
            Phase::Open => true,
            Phase::Head => matches!(backlog.awaits, Awaits::Nothing),
            _ => false,
        })
    }

    /// Bytes that are kept of a message or a request that is not complete.
    pub(in crate::engine) fn incomplete_bytes(&self) -> usize {
        match (self.phase, &self.backlog) {
            (Phase::Head, Some(backlog)) => backlog.bytes.len(),
            _ => self.connection.assembled_bytes(),
        }
    }

    /// Takes what was set aside, if it can be consumed now.
    pub(in crate::engine) fn take_consumable_backlog(&mut self) -> Option<Box<Backlog>> {
        if self.has_consumable_backlog() { self.backlog.take() } else { None }
    }
}
