//! The state of one client connection: all that a core remembers of it while it is idle.
//!
//! Performs no I/O and calls no handler; the steps of a core do, and report here what happened. What a session has received lies in
//! `receiving`, what it is to be sent in `sending`, and its way to the end in `closing`. Invariant: an idle session is this and nothing
//! else in memory, at most [`SESSION_BYTES_MAX`] bytes.

mod closing;
mod ending;
mod input;
mod listed;
mod output;
mod receiving;
mod sending;

use ending::Ending;
use input::Input;
pub(in crate::engine) use listed::List;
use listed::Listed;
use output::Output;

use crate::engine::session::backlog::Backlog;
use crate::engine::session::outbox::Outbox;
use crate::engine::session::slab::Slab;
use crate::engine::topics::NOBODY;
use crate::engine::wheel::NEVER;
use crate::protocol::deflate::Agreement;
use crate::protocol::{Connection, Role, State};
use crate::reactor::Socket;

/// The phase of a connection.
///
/// ```text
///   Head ──────────────► Open ──────► Lingering ──► Ended
///    │ ▲                  ▲              ▲            ▲
///    ▼ │ refused          │ accepted     │ last       │ from every phase,
///  Upgrading ─────────────┘              │ answer     │ when the socket fails
///    Head ───────────────────────────────┘            │ or a timeout ends it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// A request is awaited, or its last answer leaves.
    Head,
    /// The handler's decision on an upgrade is awaited.
    Upgrading,
    /// A WebSocket, until its closing handshake is over.
    Open,
    /// Everything is sent; the peer's end of stream is awaited, so that a reset does not overtake what was sent.
    Lingering,
    /// Over; what is in flight is awaited before the socket is closed.
    Ended,
}

/// Bytes that are read and thrown away after the last answer or Close frame, so that a reset does not overtake it. A peer that
/// sends more is cut off.
const DISCARDED_BYTES_MAX: u32 = 256 * 1024;

/// An idle session costs at most this in user memory, a small state of the application included.
const SESSION_BYTES_MAX: usize = 128;
const _: () = assert!(Slab::<Slot<[u64; 4]>>::ENTRY_BYTES <= SESSION_BYTES_MAX);

/// See the module.
pub(in crate::engine) struct Slot<S> {
    socket: Socket,
    phase: Phase,
    ending: Ending,
    input: Input,
    output: Output,
    subscribed: Subscribed,
    /// The lists of its core that it is on.
    listed: Listed,
    /// The reactor watches the socket.
    watched: bool,
    /// The handler was told that the session is open, and not yet that it is closed.
    opened: bool,
    /// Tick at which bytes last came.
    heard: u32,
    /// Tick by which the phase, or the closing handshake, must be over; [`NEVER`] if it may last.
    deadline: u32,
    /// Bytes that may still come after the last answer or Close frame.
    discardable: u32,
    /// Place of its subscriptions among those of the core; [`NOBODY`] if it has none.
    membership: u32,
    connection: Connection,
    outbox: Option<Box<Outbox>>,
    /// Bytes that were received and not consumed.
    backlog: Option<Box<Backlog>>,
    /// The application's state, once it has given or asked for one. Neither making nor dropping one is safe from panics.
    state: Option<S>,
}

/// The properties of a session's subscriptions that fan-out looks at.
#[derive(Clone, Copy, Debug, Default)]
struct Subscribed {
    /// A subscription is not to bring what the session publishes itself.
    no_echo: bool,
    /// The session waits for the latest message of a topic.
    lagging: bool,
}

impl<S> Slot<S> {
    pub(in crate::engine) fn new(socket: Socket, tick: u32, deadline: u32) -> Self {
        Self {
            socket,
            phase: Phase::Head,
            ending: Ending::default(),
            input: Input::default(),
            output: Output::default(),
            subscribed: Subscribed::default(),
            listed: Listed::default(),
            watched: false,
            opened: false,
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

    #[inline]
    pub(in crate::engine) fn socket(&self) -> Socket {
        self.socket
    }

    #[inline]
    pub(in crate::engine) fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns whether it is a WebSocket, and no Close frame was sent or received.
    #[inline]
    pub(in crate::engine) fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.connection.state() == State::Open
    }

    #[inline]
    pub(in crate::engine) fn connection(&self) -> &Connection {
        &self.connection
    }

    #[inline]
    pub(in crate::engine) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Returns the application's state, made now if there is none.
    pub(in crate::engine) fn state_mut(&mut self) -> &mut S
    where
        S: Default,
    {
        self.state.get_or_insert_default()
    }

    #[cfg(test)]
    pub(in crate::engine) fn state(&self) -> Option<&S> {
        self.state.as_ref()
    }

    /// Returns the tick by which the phase, or the closing handshake, must be over.
    pub(in crate::engine) fn deadline(&self) -> u32 {
        self.deadline
    }

    pub(in crate::engine) fn set_deadline(&mut self, tick: u32) {
        self.deadline = tick;
    }

    /// Returns the tick at which bytes last came.
    pub(in crate::engine) fn heard(&self) -> u32 {
        self.heard
    }

    /// Begins the wait for a handler's decision on an upgrade.
    pub(in crate::engine) fn await_decision(&mut self) {
        self.phase = Phase::Upgrading;
    }

    /// Becomes a WebSocket.
    pub(in crate::engine) fn open(&mut self, agreement: Option<Agreement>, state: S, tick: u32) {
        if let Some(agreement) = agreement {
            self.connection = Connection::compressed(Role::Server, agreement);
        }
        self.phase = Phase::Open;
        self.deadline = NEVER;
        self.heard = tick;
        self.opened = true;
        self.state = Some(state);
    }

    /// Returns whether the handler was told that the session is open, and not yet that it is closed.
    pub(in crate::engine) fn is_opened(&self) -> bool {
        self.opened
    }

    /// Notes that the handler is told now that the session is closed. Returns whether it was to be told.
    pub(in crate::engine) fn take_opened(&mut self) -> bool {
        std::mem::take(&mut self.opened)
    }

    /// Notes that the reactor watches the socket, or has ended to.
    pub(in crate::engine) fn set_watched(&mut self, watched: bool) {
        self.watched = watched;
    }

    pub(in crate::engine) fn is_watched(&self) -> bool {
        self.watched
    }

    /// Puts it on a list of its core. Returns whether it is new there.
    #[inline]
    pub(in crate::engine) fn enlist(&mut self, list: List) -> bool {
        self.listed.insert(list)
    }

    /// Notes that its core has taken it off a list.
    #[inline]
    pub(in crate::engine) fn delist(&mut self, list: List) {
        self.listed.remove(list);
    }

    #[inline]
    pub(in crate::engine) fn membership(&self) -> u32 {
        self.membership
    }

    pub(in crate::engine) fn membership_mut(&mut self) -> &mut u32 {
        &mut self.membership
    }

    /// Notes that a subscription is not to bring what the session publishes itself.
    pub(in crate::engine) fn want_no_echo(&mut self) {
        self.subscribed.no_echo = true;
    }

    /// Returns whether what the session publishes has to carry its sender.
    pub(in crate::engine) fn wants_no_echo(&self) -> bool {
        self.subscribed.no_echo
    }

    /// Returns whether the session waits for the latest message of a topic.
    #[inline]
    pub(in crate::engine) fn is_lagging(&self) -> bool {
        self.subscribed.lagging
    }

    pub(in crate::engine) fn set_lagging(&mut self, lagging: bool) {
        self.subscribed.lagging = lagging;
    }
}
