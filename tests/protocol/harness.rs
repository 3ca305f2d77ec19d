//! One byte string, read in many ways, with one outcome.

use ringsock::protocol::deflate::Agreement;
use ringsock::protocol::{
    AssemblyPool, Close, CloseCode, Connection, Event, Incoming, Message, MessageLimits, Role, State, Violation,
};

use crate::wire;

/// An event that outlives its read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Received {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(Message::Text(text)) => Received::Text(text.to_owned()),
            Event::Message(Message::Binary(bytes)) => Received::Binary(bytes.to_owned()),
            Event::Ping(payload) => Received::Ping(payload.to_owned()),
            Event::Pong(payload) => Received::Pong(payload.to_owned()),
            Event::Close(close) => Received::Close(close.map(|close| (close.code.number(), close.reason.to_owned()))),
        }
    }
}

pub fn text(text: &str) -> Received {
    Received::Text(text.to_owned())
}

pub fn binary(bytes: &[u8]) -> Received {
    Received::Binary(bytes.to_owned())
}

pub fn ping(payload: &[u8]) -> Received {
    Received::Ping(payload.to_owned())
}

pub fn pong(payload: &[u8]) -> Received {
    Received::Pong(payload.to_owned())
}

pub fn close(code: u16, reason: &str) -> Received {
    Received::Close(Some((code, reason.to_owned())))
}

/// The state of the connection after the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Between messages.
    Idle,
    /// Something is incomplete.
    Waiting,
    /// The peer's Close frame arrived.
    Closed,
    /// The peer broke a rule.
    Violated(Violation),
}

/// The outcome of a byte string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub events: Vec<Received>,
    pub end: End,
}

impl Outcome {
    /// Returns the code that the connection is failed with, if it is.
    pub fn close_code(&self) -> Option<CloseCode> {
        match &self.end {
            End::Violated(violation) => Some(violation.close_code()),
            _ => None,
        }
    }
}

pub fn idle(events: impl Into<Vec<Received>>) -> Outcome {
    Outcome { events: events.into(), end: End::Idle }
}

pub fn waiting(events: impl Into<Vec<Received>>) -> Outcome {
    Outcome { events: events.into(), end: End::Waiting }
}

pub fn closed(events: impl Into<Vec<Received>>) -> Outcome {
    Outcome { events: events.into(), end: End::Closed }
}

pub fn violated(events: impl Into<Vec<Received>>, violation: Violation) -> Outcome {
    Outcome { events: events.into(), end: End::Violated(violation) }
}

/// The state of the receiving end before anything has arrived.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub role: Role,
    pub limits: MessageLimits,
    /// It has sent its own Close frame already.
    pub close_sent: bool,
    /// The agreed compression.
    pub compression: Option<Agreement>,
}

/// Returns the outcome of a client's bytes at `Endpoint::server` with default limits.
pub fn receive(bytes: &[u8]) -> Outcome {
    Endpoint::server().receive(bytes)
}

impl Endpoint {
    pub fn server() -> Self {
        Self { role: Role::Server, limits: MessageLimits::default(), close_sent: false, compression: None }
    }

    pub fn client() -> Self {
        Self { role: Role::Client, ..Self::server() }
    }

    pub fn with_message_bytes_max(mut self, message_bytes_max: u64) -> Self {
        self.limits.message_bytes_max = message_bytes_max;
        self
    }

    pub fn with_compression(self, agreement: Agreement) -> Self {
        Self { compression: Some(agreement), ..self }
    }

    pub fn having_sent_close(self) -> Self {
        Self { close_sent: true, ..self }
    }

    /// Returns a frame as this endpoint's peer would send it.
    pub fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        match self.role {
            Role::Server => wire::masked(first, payload),
            Role::Client => wire::plain(first, payload),
        }
    }

    /// Reads `bytes` whole, split in two at every border, byte by byte and split at random: all outcomes must be the
    /// same.
    pub fn receive(&self, bytes: &[u8]) -> Outcome {
        let mut reader = self.reader();
        let whole = reader.read_in_pieces(bytes, &[]);
        for cut in borders(bytes.len()) {
            assert_eq!(reader.read_in_pieces(bytes, &[cut]), whole, "cut at {cut}");
        }
        let every_byte: Vec<_> = (1..bytes.len()).collect();
        assert_eq!(reader.read_in_pieces(bytes, &every_byte), whole, "byte by byte");
        let mut random = Random(bytes.len() as u64);
        for _ in 0..3 {
            let cuts = random.cuts(bytes.len(), 8);
            assert_eq!(reader.read_in_pieces(bytes, &cuts), whole, "cut at {cuts:?}");
        }
        whole
    }

    pub fn reader(&self) -> Reader {
        let mut reader = Reader {
            endpoint: self.clone(),
            connection: Connection::new(self.role),
            pool: AssemblyPool::default(),
            events: Vec::new(),
            violation: None,
        };
        reader.restart();
        reader
    }
}

/// Returns where to split in two: everywhere, unless that would take minutes; then at both ends and at random.
fn borders(length: usize) -> Vec<usize> {
    const ALL_BORDERS_MAX: usize = 4096;
    if length <= ALL_BORDERS_MAX {
        return (1..length).collect();
    }
    let mut random = Random(length as u64);
    (1..32).chain(length - 32..length).chain(random.cuts(length, 64)).collect()
}

/// An endpoint that reads.
#[derive(Debug)]
pub struct Reader {
    endpoint: Endpoint,
    pub connection: Connection,
    /// Shared by all readings, so that a recycled buffer which keeps data is detected.
    pool: AssemblyPool,
    pub events: Vec<Received>,
    pub violation: Option<Violation>,
}

impl Reader {
    fn restart(&mut self) {
        let Endpoint { role, compression, .. } = self.endpoint;
        self.connection = match compression {
            Some(agreement) => Connection::compressed(role, agreement),
            None => Connection::new(role),
        };
        self.events.clear();
        self.violation = None;
        if self.endpoint.close_sent {
            let close = Close::new(CloseCode::GOING_AWAY, "");
            assert!(self.connection.close(&mut Vec::new(), Some(close), None));
        }
    }

    /// Reads once.
    pub fn read(&mut self, bytes: &[u8], stamp: u32) {
        if self.violation.is_some() {
            return;
        }
        let mut bytes = bytes.to_vec();
        let mut incoming = Incoming::new(&mut bytes, stamp);
        loop {
            match incoming.next(&mut self.connection, &mut self.pool, &self.endpoint.limits) {
                Ok(Some(event)) => self.events.push(event.into()),
                Ok(None) => break,
                Err(violation) => {
                    self.violation = Some(violation);
                    return;
                }
            }
        }
        assert!(incoming.rest().is_empty(), "a read without more events is used up");
    }

    /// Reads `bytes` on a new connection, in pieces that end at `cuts`.
    pub fn read_in_pieces(&mut self, bytes: &[u8], cuts: &[usize]) -> Outcome {
        self.restart();
        let mut start = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            self.read(&bytes[start..cut], 0);
            start = cut;
        }
        self.outcome()
    }

    pub fn outcome(&self) -> Outcome {
        let end = match (&self.violation, self.connection.state()) {
            (Some(violation), _) => End::Violated(violation.clone()),
            (None, State::CloseReceived | State::Closed) => End::Closed,
            (None, _) if self.connection.assembling_since().is_some() => End::Waiting,
            (None, _) => End::Idle,
        };
        Outcome { events: self.events.clone(), end }
    }
}

/// A generator of pseudorandom numbers that are the same in every run (splitmix64).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to and without `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// Returns up to `count_max` borders within `length`, in order.
    pub fn cuts(&mut self, length: usize, count_max: usize) -> Vec<usize> {
        let mut cuts: Vec<_> = (0..self.below(count_max + 1)).map(|_| self.below(length + 1)).collect();
        cuts.sort_unstable();
        cuts
    }
}
