//! The plan of a run: targets, source addresses, number of connections, and their messages.
//!
//! Owns the checks for plans that cannot work. Never opens a socket. Invariant: a checked plan can be carried out by
//! any number of threads and processes, each with its share of the connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sources::Sources;
use super::stamp::Stamp;
use super::trust::ServerTrust;

/// The workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each connection sends messages and receives their echoes.
    Echo,
    /// A few connections publish, and all receive.
    Fanout,
    /// Connections open and close repeatedly: measures handshakes per second.
    Connect,
    /// Connections are opened and held: measures memory per connection.
    Idle,
    /// Some connections echo, some close and reconnect, most are idle.
    Mixed,
}

/// The rule for when messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: this many messages are in flight on each connection, or for each publisher, and each answer is
    /// followed by the next message. The server sets the rate.
    InFlight(usize),
    /// Open loop: this many messages a second in all, whatever the server does. Latency counts from when a message was
    /// due, so a server that stalls is charged for the messages that had to wait (no coordinated omission).
    PerSecond(f64),
}

/// The settings of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The workload.
    pub mode: Mode,
    /// The server's addresses; connections take turns over them.
    pub targets: Vec<SocketAddr>,
    /// The Host header.
    pub host: String,
    /// The request target, with its query.
    pub path: String,
    /// Further handshake headers.
    pub headers: Vec<(String, String)>,
    /// TLS, if the connections speak it.
    pub tls: Option<PlanTls>,
    /// Subprotocols to offer.
    pub protocols: Vec<String>,
    /// Source addresses; if empty, the kernel chooses.
    pub sources: Sources,
    /// Total connections.
    pub connections: usize,
    /// Threads that share the connections.
    pub threads: usize,
    /// The limit of connections that are opening at once, over all threads.
    pub opening_max: usize,
    /// The measured time.
    pub duration: Duration,
    /// The time before it that is not measured.
    pub warm_up: Duration,
    /// The longest wait at the end for messages in flight.
    pub settle: Duration,
    /// Bytes per message.
    pub size: usize,
    /// True if messages are text; otherwise they are binary.
    pub text: bool,
    /// The rule for when messages are sent.
    pub pace: Pace,
    /// Fan-out: the number of connections that publish.
    pub publishers: usize,
    /// Fan-out: whether publishers receive their own messages.
    pub receives_own: bool,
    /// The first message of each connection, for servers with commands: a subscribe command, for example.
    pub greeting: Option<String>,
    /// Messages that the server sends unasked at the start of each connection; they are skipped unchecked.
    pub skipped_greetings: usize,
    /// The text before and after each message, for servers with commands.
    pub envelope: (String, String),
    /// Mixed: the percentage of connections that echo.
    pub active_percent: usize,
    /// Mixed: connections per second that are closed and reopened.
    pub churn_per_second: f64,
    /// True to use epoll instead of io_uring.
    pub epoll: bool,
}

/// The settings of TLS of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTls {
    /// The servers to trust.
    pub trust: ServerTrust,
    /// True if sessions are resumed, as browsers do.
    pub resumes: bool,
}

/// A plan that cannot work: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A count or rate of 0.
    #[error("{name} is 0, so there is nothing to do. Give at least 1.")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// Messages too small to hold their identity.
    #[error("A message of {size} bytes is too small to be identified in this mode. Give a size of at least {min}.")]
    SizeTooSmall {
        /// The requested value.
        size: usize,
        /// The smallest size that works.
        min: usize,
    },
    /// More publishers than connections.
    #[error(
        "{publishers} publishers were requested, but only {connections} connections, which include them. Give fewer."
    )]
    TooManyPublishers {
        /// The requested value.
        publishers: usize,
        /// The total number of connections.
        connections: usize,
    },
    /// Sweep steps that do not increase.
    #[error("The steps {steps:?} do not increase from at least 1. Give numbers of connections such as 100,500,1000.")]
    Steps {
        /// The requested value.
        steps: Vec<usize>,
    },
    /// No target address.
    #[error("There is no address to connect to. Give a URL such as ws://127.0.0.1:9000/echo.")]
    NoTarget,
    /// Source and target of different IP versions.
    #[error(
        "The server cannot be reached from {address}: one address is IPv4 and the other IPv6. Give both of one kind."
    )]
    Family {
        /// The source address.
        address: IpAddr,
    },
}

impl Plan {
    /// Returns the URL of the server.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.host, self.path)
    }

    /// Returns the plan if it can work.
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

    /// Returns the distance between publishers among the connections, so that every thread has its share of them.
    pub(super) fn publisher_stride(&self) -> usize {
        (self.connections / self.publishers.max(1)).max(1)
    }

    /// Returns the publisher index of connection `number`, if it is a publisher.
    pub(super) fn publisher(&self, number: usize) -> Option<usize> {
        let publisher = number / self.publisher_stride();
        (number.is_multiple_of(self.publisher_stride()) && publisher < self.publishers).then_some(publisher)
    }

    /// Returns the target and the source address of connection `number`.
    ///
    /// Sources vary faster than targets, so that each target is reached from all sources, each with its own ports.
    pub fn route(&self, number: usize) -> (SocketAddr, Option<IpAddr>) {
        let round = number / self.sources.len().max(1);
        (self.targets[round % self.targets.len()], self.sources.at(number))
    }
}
