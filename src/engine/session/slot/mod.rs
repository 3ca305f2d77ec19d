//! The state of one client connection: everything that a core keeps of it while it is idle.
//!
//! Performs no I/O and calls no handler; the steps of a core do, through the session's transport. Input that was
//! received and not consumed is in `receiving`, output in `sending`, and the steps towards the end in `closing`.
//! Invariant: an idle session takes no other memory.

mod closing;
mod ending;
mod input;
mod list_set;
mod output;
mod receiving;
mod sending;

use ending::Ending;
use input::Input;
pub(in crate::engine) use list_set::List;
use list_set::ListSet;
use output::Output;

use crate::engine::session::outbox::Outbox;
use crate::engine::session::unconsumed::Unconsumed;
use crate::engine::wheel::NEVER;
use crate::protocol::deflate::Agreement;
use crate::protocol::{Connection, Role, State};
use crate::reactor::Socket;
use crate::slab::NO_ENTRY;
use crate::transport::Transport;

/// The phase of a connection.
///
/// ```text
///  Answering
///    ▲ │ answered
///    │ ▼
///   Head ──────────────► Open ──────► Lingering ──► Ended
///    │ ▲                  ▲              ▲            ▲
///    ▼ │ refused          │ accepted     │ last       │ from every phase,
///  Upgrading ─────────────┘              │ answer     │ when the socket fails
///    Head ───────────────────────────────┘            │ or a timeout ends it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// The connection waits for a request, or its last answer is being sent.
    Head,
    /// The connection waits for an answer that takes time, or for the rest of its body.
    Answering,
    /// The connection waits for the handler's decision on an upgrade.
    Upgrading,
    /// The connection is a WebSocket, until its closing handshake is over.
    Open,
    /// Everything is sent. The connection waits for the peer's end of stream, so that a reset does not overtake the
    /// bytes.
    Lingering,
    /// The connection has ended. Its operations in flight must complete before the socket is closed.
    Ended,
}

/// Bytes that are discarded after the last answer or Close frame, so that a reset does not overtake it. A peer that
/// sends more is cut off.
const DISCARDED_BYTES_MAX: u32 = 256 * 1024;

/// See the module.
pub(in crate::engine) struct Slot<S> {
    transport: Transport,
    phase: Phase,
    ending: Ending,
    input: Input,
    output: Output,
    subscribed: Subscribed,
    /// The lists of its core that the session is on.
    lists: ListSet,
    /// The handler's `open` was called, and its `close` was not.
    opened: bool,
    /// The tick at which bytes last arrived.
    heard: u32,
    /// The tick by which the phase, or the closing handshake, must be over; [`NEVER`] if it may last.
    deadline: u32,
    /// Bytes that may still arrive after the last answer or Close frame.
    discardable: u32,
    /// The index of its subscriptions among those of the core; [`NO_ENTRY`] if it has none.
    membership: u32,
    /// The number of its limits among the profiles of its core.
    profile: u32,
    connection: Connection,
    outbox: Option<Box<Outbox>>,
    /// Bytes that were received and not consumed.
    unconsumed: Option<Box<Unconsumed>>,
    /// The application's state, once the application has provided or requested it. Creating and dropping it may panic.
    state: Option<S>,
}

/// The properties of a session's subscriptions that fan-out needs.
#[derive(Clone, Copy, Debug, Default)]
struct Subscribed {
    /// A subscription excludes the messages that the session publishes itself.
    no_echo: bool,
    /// The session waits for a topic's latest message.
    lagging: bool,
}

impl<S> Slot<S> {
    pub(in crate::engine) fn new(socket: Socket, tick: u32, deadline: u32) -> Self {
        Self {
            transport: Transport::new(socket),
            phase: Phase::Head,
            ending: Ending::default(),
            input: Input::default(),
            output: Output::default(),
            subscribed: Subscribed::default(),
            lists: ListSet::default(),
            opened: false,
            heard: tick,
            deadline,
            discardable: DISCARDED_BYTES_MAX,
            membership: NO_ENTRY,
            profile: 0,
            connection: Connection::new(Role::Server),
            outbox: None,
            unconsumed: None,
            state: None,
        }
    }

    #[inline]
    pub(in crate::engine) fn transport(&self) -> &Transport {
        &self.transport
    }

    #[inline]
    pub(in crate::engine) fn transport_mut(&mut self) -> &mut Transport {
        &mut self.transport
    }

    #[inline]
    pub(in crate::engine) fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns whether the connection is a WebSocket on which no Close frame was sent or received.
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

    /// Returns the application's state, and creates it if there is none.
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

    /// Returns the tick at which bytes last arrived.
    pub(in crate::engine) fn heard(&self) -> u32 {
        self.heard
    }

    /// Returns the number of its limits among the profiles of its core.
    #[inline]
    pub(in crate::engine) fn profile(&self) -> u32 {
        self.profile
    }

    /// Sets the number of its limits. Returns the number before.
    pub(in crate::engine) fn set_profile(&mut self, profile: u32) -> u32 {
        std::mem::replace(&mut self.profile, profile)
    }

    /// Begins to wait for an answer that takes time.
    pub(in crate::engine) fn await_answer(&mut self) {
        self.phase = Phase::Answering;
    }

    /// Continues with the next request.
    pub(in crate::engine) fn end_answer(&mut self) {
        self.phase = Phase::Head;
    }

    /// Begins to wait for the handler's decision on an upgrade.
    pub(in crate::engine) fn await_decision(&mut self) {
        self.phase = Phase::Upgrading;
    }

    /// Turns the connection into a WebSocket.
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

    /// Returns whether the handler's `open` was called and its `close` was not.
    pub(in crate::engine) fn is_opened(&self) -> bool {
        self.opened
    }

    /// Records that the handler's `close` is called now. Returns whether it is due.
    pub(in crate::engine) fn take_opened(&mut self) -> bool {
        std::mem::take(&mut self.opened)
    }

    /// Puts the session on a list of its core. Returns whether it was not on it.
    #[inline]
    pub(in crate::engine) fn enlist(&mut self, list: List) -> bool {
        self.lists.insert(list)
    }

    /// Records that its core has taken the session off a list.
    #[inline]
    pub(in crate::engine) fn delist(&mut self, list: List) {
        self.lists.remove(list);
    }

    #[inline]
    pub(in crate::engine) fn membership(&self) -> u32 {
        self.membership
    }

    pub(in crate::engine) fn membership_mut(&mut self) -> &mut u32 {
        &mut self.membership
    }

    /// Records that a subscription excludes the messages that the session publishes itself.
    pub(in crate::engine) fn want_no_echo(&mut self) {
        self.subscribed.no_echo = true;
    }

    /// Returns whether the messages that the session publishes must carry their sender.
    pub(in crate::engine) fn wants_no_echo(&self) -> bool {
        self.subscribed.no_echo
    }

    /// Returns whether the session waits for a topic's latest message.
    #[inline]
    pub(in crate::engine) fn is_lagging(&self) -> bool {
        self.subscribed.lagging
    }

    pub(in crate::engine) fn set_lagging(&mut self, lagging: bool) {
        self.subscribed.lagging = lagging;
    }
}
