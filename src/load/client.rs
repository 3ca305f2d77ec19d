//! One connection of a run, as its worker remembers it between turns.

use std::collections::VecDeque;

use super::plan::{Mode, Plan};
use crate::protocol::http::HeadScan;
use crate::protocol::{Connection, Role};
use crate::reactor::{Socket, Token};

/// How soon a connection that failed is tried again at first, and how often that time is doubled.
const RETRY_NS: u64 = 100_000_000;
const RETRY_DOUBLINGS_MAX: u32 = 5;

/// What a connection is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// To send messages, each of which comes back.
    Echo,
    /// To publish, as that publisher, and to hear what all publish.
    Publish(usize),
    /// To hear what all publish.
    Listen,
    /// To come and go all the time.
    ComeAndGo,
    /// To be there, and to come and go when it is its turn.
    Stay,
}

impl Part {
    /// What connection `number` of all is there for.
    pub fn of(number: usize, plan: &Plan) -> Self {
        match plan.mode {
            Mode::Echo => Self::Echo,
            Mode::Connect => Self::ComeAndGo,
            Mode::Idle => Self::Stay,
            // Spread evenly, so that every thread has its share.
            Mode::Fanout => plan.publisher(number).map_or(Self::Listen, Self::Publish),
            Mode::Mixed if (number * plan.active_percent) % 100 < plan.active_percent => Self::Echo,
            Mode::Mixed => Self::Stay,
        }
    }

    /// Whether it comes again when it has ended. Who listens to others does not: it would miss what was said meanwhile, and
    /// one fault would become many. Of those that are only held each loss is to be seen.
    pub fn comes_again(self, mode: Mode) -> bool {
        match self {
            Self::Echo | Self::ComeAndGo => true,
            Self::Stay => mode == Mode::Mixed,
            Self::Publish(_) | Self::Listen => false,
        }
    }

    /// Whether it sends messages.
    pub fn speaks(self) -> bool {
        matches!(self, Self::Echo | Self::Publish(_))
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has no socket.
    Closed,
    /// The request is under way, or its answer.
    Opening,
    /// It is a WebSocket.
    Open,
    /// This end has sent a Close frame and awaits the end.
    Closing,
    /// It is over, and its socket is closed as soon as nothing of it is in flight.
    Ending,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    /// Which of all connections of the run it is.
    pub number: u32,
    pub part: Part,
    pub phase: Phase,
    pub socket: Option<Socket>,
    /// How often it was opened before.
    pub generation: u32,
    /// Whether the reactor watches the socket.
    pub watched: bool,
    /// Whether the reactor has bytes of it to send.
    pub sending: bool,
    /// When it began to open.
    pub since_ns: u64,
    /// How often it was tried since it last ended as it was meant to.
    pub tries: u32,
    pub connection: Connection,
    /// What has come of the answer to the request, and how far its end was searched for.
    pub head: Vec<u8>,
    pub scan: HeadScan,
    /// What waits until the reactor has sent what it has.
    pub waiting: Vec<u8>,
    /// The number of the message that is sent next.
    pub next: u64,
    /// How many of the server's first messages were skipped.
    pub skipped: usize,
    /// The number of the echo that comes next.
    pub heard: u64,
    /// When each message was due whose echo has not come.
    pub due_ns: VecDeque<u64>,
    /// The number of the message that comes next from each publisher.
    pub expected: Box<[u64]>,
}

impl Client {
    pub fn new(number: usize, plan: &Plan) -> Self {
        let part = Part::of(number, plan);
        let hears = matches!(part, Part::Publish(_) | Part::Listen);
        Self {
            number: number as u32,
            part,
            phase: Phase::Closed,
            socket: None,
            generation: 0,
            watched: false,
            sending: false,
            since_ns: 0,
            tries: 0,
            connection: Connection::new(Role::Client),
            head: Vec::new(),
            scan: HeadScan::default(),
            waiting: Vec::new(),
            next: 0,
            skipped: 0,
            heard: 0,
            due_ns: VecDeque::new(),
            expected: vec![0; if hears { plan.publishers } else { 0 }].into(),
        }
    }

    /// How the reactor knows it, being the worker's `index`th.
    pub fn token(&self, index: usize) -> Token {
        Token { index: index as u32, generation: self.generation }
    }

    /// How long to wait before it is tried again, so that a server that is down or full is not stormed: nothing after an end
    /// that was meant, 100 ms after the first that was not, and twice as long after each that follows, up to 3.2 s.
    pub fn backoff_ns(&self) -> u64 {
        match self.tries {
            0 => 0,
            // One that has served for a while begins from the start.
            _ if self.heard > 0 => RETRY_NS,
            tries => RETRY_NS << (tries - 1).min(RETRY_DOUBLINGS_MAX),
        }
    }

    /// Begins anew: nothing is left of the connection that was, and what the kernel may still say of that one is stale.
    pub fn reset(&mut self, socket: Socket, now_ns: u64) {
        self.generation = self.generation.wrapping_add(1);
        self.socket = Some(socket);
        self.phase = Phase::Opening;
        self.watched = true;
        self.since_ns = now_ns;
        self.connection = Connection::new(Role::Client);
        self.head.clear();
        self.scan = HeadScan::default();
        self.waiting.clear();
        (self.next, self.skipped, self.heard) = (0, 0, 0);
        self.due_ns.clear();
    }
}
