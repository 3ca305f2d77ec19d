//! What a run is to do: whom to connect to, from where, with how many, and what they say.
//!
//! Owns the checks of what cannot work. Never opens a socket. Invariant: a plan that was checked can be carried out by
//! any number of threads and processes, each taking its share of the connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sources::Sources;
use super::stamp::Stamp;

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each connection sends messages, and each comes back.
    Echo,
    /// A few publish, and everyone hears it.
    Fanout,
    /// Connections open and close, again and again: handshakes per second.
    Connect,
    /// Connections are opened and held: memory of each.
    Idle,
    /// Some echo, some come and go, most are idle.
    Mixed,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: so many messages are under way on each connection (or of each publisher), and an answer is followed by
    /// the next message. The server sets the rate.
    InFlight(usize),
    /// Open loop: so many messages a second in all, whatever the server does. Each counts from when it was due, so that a
    /// server that stalls is charged for those that had to wait (no coordinated omission).
    PerSecond(f64),
}

/// The whole of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What the connections do.
    pub mode: Mode,
    /// Where the server listens. Connections take turns over several.
    pub targets: Vec<SocketAddr>,
    /// The Host header.
    pub host: String,
    /// The request target, with its query.
    pub path: String,
    /// Further headers of the handshake.
    pub headers: Vec<(String, String)>,
    /// Subprotocols to offer.
    pub protocols: Vec<String>,
    /// Addresses to connect from; empty for the kernel's choice.
    pub sources: Sources,
    /// Connections in all.
    pub connections: usize,
    /// Threads that share them.
    pub threads: usize,
    /// Connections that may be opening at once, over all threads.
    pub opening_max: usize,
    /// For how long is measured.
    pub duration: Duration,
    /// What happens before, unmeasured.
    pub warm_up: Duration,
    /// For how long what is under way is waited for in the end, at most.
    pub settle: Duration,
    /// Bytes of a message.
    pub size: usize,
    /// Whether messages are text; binary otherwise.
    pub text: bool,
    /// When messages are sent.
    pub pace: Pace,
    /// Fan-out: how many of the connections publish.
    pub publishers: usize,
    /// Fan-out: whether a publisher hears what it said.
    pub hears_itself: bool,
    /// Sent by each connection once it is open, for servers with commands: to subscribe.
    pub greeting: Option<String>,
    /// Messages that the server sends first on each connection, before it answers any; they are not looked at.
    pub skipped_greetings: usize,
    /// What a message is wrapped in, for servers with commands: what stands before it and after it.
    pub envelope: (String, String),
    /// Mixed: of a hundred connections, how many echo.
    pub active_percent: usize,
    /// Mixed: how many connections a second are closed and opened again.
    pub churn_per_second: f64,
    /// Epoll instead of io_uring.
    pub epoll: bool,
}

/// Why a plan cannot work: whoever asked for it is to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Nothing to do.
    #[error("{name} is 0, so there would be nothing to do. Give at least 1.")]
    Zero {
        /// What is missing.
        name: &'static str,
    },
    /// A message cannot hold what makes it known again.
    #[error("A message of {size} bytes cannot be told from others in this mode. Give a size of {min} at least.")]
    SizeTooSmall {
        /// What was asked for.
        size: usize,
        /// What is needed.
        min: usize,
    },
    /// More publishers than connections.
    #[error(
        "{publishers} publishers were asked for, of {connections} connections. Each of them is one of the connections."
    )]
    TooManyPublishers {
        /// What was asked for.
        publishers: usize,
        /// All there are.
        connections: usize,
    },
    /// A sweep whose steps do not rise.
    #[error("The steps {steps:?} do not rise from at least 1. Give numbers of connections such as 100,500,1000.")]
    Steps {
        /// What was asked for.
        steps: Vec<usize>,
    },
    /// No address to connect to.
    #[error("There is no address to connect to. Give a URL such as ws://127.0.0.1:9000/echo.")]
    NoTarget,
    /// IPv4 and IPv6 do not reach each other.
    #[error(
        "From {address} the server cannot be reached, since one is IPv4 and the other IPv6. Give both of one kind."
    )]
    Family {
        /// The source.
        address: IpAddr,
    },
}

impl Plan {
    /// Refuses what cannot work.
    pub fn checked(self) -> Result<Self, PlanError> {
        let zero = [
            ("connections", self.connections),
            ("threads", self.threads),
            ("publishers", self.publishers),
            ("opening at once", self.opening_max),
            ("in flight", if let Pace::InFlight(count) = self.pace { count } else { 1 }),
        ];
        if let Some((name, _)) = zero.into_iter().find(|(_, count)| *count == 0) {
            return Err(PlanError::Zero { name });
        }
        if matches!(self.pace, Pace::PerSecond(rate) if rate <= 0.0) {
            return Err(PlanError::Zero { name: "rate" });
        }
        let first = self.targets.first().ok_or(PlanError::NoTarget)?;
        if let Some(address) = self.sources.at(0).filter(|source| source.is_ipv4() != first.is_ipv4()) {
            return Err(PlanError::Family { address });
        }
        let min = if self.mode == Mode::Fanout { Stamp::BYTES } else { 1 };
        if self.size < min {
            return Err(PlanError::SizeTooSmall { size: self.size, min });
        }
        if self.mode == Mode::Fanout && self.publishers > self.connections {
            return Err(PlanError::TooManyPublishers { publishers: self.publishers, connections: self.connections });
        }
        Ok(self)
    }

    /// Every so-manieth connection publishes, so that every thread has its share of the publishers.
    pub(super) fn publisher_stride(&self) -> usize {
        (self.connections / self.publishers.max(1)).max(1)
    }

    /// Which publisher connection `number` is.
    pub(super) fn publisher(&self, number: usize) -> Option<usize> {
        let publisher = number / self.publisher_stride();
        (number.is_multiple_of(self.publisher_stride()) && publisher < self.publishers).then_some(publisher)
    }

    /// Where connection `number` of all goes, and from where.
    ///
    /// Sources change first, so that few targets have as many ports to be reached from as there are sources.
    pub fn route(&self, number: usize) -> (SocketAddr, Option<IpAddr>) {
        let round = number / self.sources.len().max(1);
        (self.targets[round % self.targets.len()], self.sources.at(number))
    }
}
