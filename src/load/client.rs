//! One connection of a run: the state that its worker keeps between turns.

use std::collections::VecDeque;

use super::plan::{Mode, Plan};
use crate::protocol::http::HeadScan;
use crate::protocol::{Connection, Role};
use crate::reactor::Token;
use crate::transport::Transport;

/// The wait before a failed connection is retried, and how often it is doubled.
const RETRY_NS: u64 = 100_000_000;
const RETRY_DOUBLINGS_MAX: u32 = 5;

/// The job of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Sends messages and receives their echoes.
    Echo,
    /// Publishes, as the publisher of this index, and receives what all publish.
    Publish(usize),
    /// Receives what all publish.
    Subscribe,
    /// Opens and closes repeatedly.
    Reconnect,
    /// Stays open, and closes and reconnects when its turn in the churn comes.
    Hold,
}

impl Job {
    /// Returns the job of connection `number`.
    pub fn of(number: usize, plan: &Plan) -> Self {
        match plan.mode {
            Mode::Echo => Self::Echo,
            Mode::Connect => Self::Reconnect,
            Mode::Idle => Self::Hold,
            // Spread evenly, so that every thread has its share.
            Mode::Fanout => plan.publisher(number).map_or(Self::Subscribe, Self::Publish),
            Mode::Mixed if (number * plan.active_percent) % 100 < plan.active_percent => Self::Echo,
            Mode::Mixed => Self::Hold,
        }
    }

    /// Returns whether the connection is reopened after it ended. Receivers of a fan-out are not: they would miss
    /// messages, and one fault would become many. Idle connections are not, so that each loss shows.
    pub fn reopens(self, mode: Mode) -> bool {
        match self {
            Self::Echo | Self::Reconnect => true,
            Self::Hold => mode == Mode::Mixed,
            Self::Publish(_) | Self::Subscribe => false,
        }
    }

    /// Returns whether the connection sends messages.
    pub fn sends(self) -> bool {
        matches!(self, Self::Echo | Self::Publish(_))
    }
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No socket.
    Closed,
    /// The handshake is in progress.
    Opening,
    /// The WebSocket is open.
    Open,
    /// This end has sent a Close frame and waits for the peer's.
    Closing,
    /// The connection has ended; its socket is closed once neither a watch nor a send is in flight.
    Ending,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The number of the connection within the run.
    pub number: u32,
    pub job: Job,
    pub phase: Phase,
    pub transport: Option<Transport>,
    /// How often the connection was opened before.
    pub generation: u32,
    /// The time when opening began.
    pub since_ns: u64,
    /// Attempts since the connection last ended as intended.
    pub tries: u32,
    pub connection: Connection,
    /// The job of the handshake answer received so far, and how far it was searched for its end.
    pub head: Vec<u8>,
    pub scan: HeadScan,
    /// Bytes that wait for the send in flight.
    pub waiting: Vec<u8>,
    /// Bytes of TLS that wait for the send in flight, and go before all others.
    pub waiting_sealed: Vec<u8>,
    /// The request for a WebSocket was sent over TLS.
    pub requested: bool,
    /// The number of the next message to send.
    pub next: u64,
    /// How many of the server's greetings were skipped.
    pub skipped: usize,
    /// The number of the next expected echo.
    pub received: u64,
    /// The due times of messages whose echo has not arrived.
    pub due_ns: VecDeque<u64>,
    /// The number of the next expected message of each publisher.
    pub expected: Box<[u64]>,
}

impl Client {
    pub fn new(number: usize, plan: &Plan) -> Self {
        let job = Job::of(number, plan);
        let receives = matches!(job, Job::Publish(_) | Job::Subscribe);
        Self {
            number: number as u32,
            job,
            phase: Phase::Closed,
            transport: None,
            generation: 0,
            since_ns: 0,
            tries: 0,
            connection: Connection::new(Role::Client),
            head: Vec::new(),
            scan: HeadScan::default(),
            waiting: Vec::new(),
            waiting_sealed: Vec::new(),
            requested: false,
            next: 0,
            skipped: 0,
            received: 0,
            due_ns: VecDeque::new(),
            expected: vec![0; if receives { plan.publishers } else { 0 }].into(),
        }
    }

    /// Returns the reactor token of this connection, the worker's `index`th.
    pub fn token(&self, index: usize) -> Token {
        Token { index: index as u32, generation: self.generation }
    }

    /// Returns the transport, unless the connection has ended.
    pub fn transport_in_use(&mut self) -> Option<&mut Transport> {
        self.transport.as_mut().filter(|_| self.phase != Phase::Ending)
    }

    /// Returns the wait before the next attempt, so that a server that is down or full is not flooded: none after an
    /// intended end, 100 ms after the first failure, and twice as long after each further one, up to 3.2 s.
    pub fn backoff_ns(&self) -> u64 {
        match self.tries {
            0 => 0,
            // A connection that has received messages starts again at the shortest wait.
            _ if self.received > 0 => RETRY_NS,
            tries => RETRY_NS << (tries - 1).min(RETRY_DOUBLINGS_MAX),
        }
    }

    /// Resets the state for a new socket; a new generation makes the kernel's late completions for the old one stale.
    pub fn reset(&mut self, transport: Transport, now_ns: u64) {
        self.generation = self.generation.wrapping_add(1);
        self.transport = Some(transport);
        self.phase = Phase::Opening;
        self.since_ns = now_ns;
        self.connection = Connection::new(Role::Client);
        self.head.clear();
        self.scan = HeadScan::default();
        self.waiting.clear();
        self.waiting_sealed.clear();
        self.requested = false;
        (self.next, self.skipped, self.received) = (0, 0, 0);
        self.due_ns.clear();
    }
}
