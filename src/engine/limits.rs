//! The limits of the engine: their defaults, units and reasons.

use crate::engine::topics::SubscriptionLimits;
use crate::mesh::MeshCapacity;
use crate::protocol::deflate::Compression;
use crate::protocol::http::HeadLimits;

/// The limits of one server: change those that should differ in a copy of the defaults, for
/// [`Builder::limits`](crate::Builder::limits). Times are in milliseconds and accurate to a tick of 50.
///
/// ```
/// let mut limits = ringsock::Limits::default();
/// limits.messages.message_bytes_max = 1 << 20;
/// limits.connections_max = 100_000;
/// let server = ringsock::Server::builder().limits(limits);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The limits of a request's head.
    pub head: HeadLimits,
    /// Bytes of a request's body, which is kept until it is complete. A larger one gets 413, as soon as the head
    /// announces it. Default: 64 KiB, as for messages, because a request publishes one.
    pub body_bytes_max: usize,
    /// The limits of messages.
    pub messages: crate::protocol::MessageLimits,
    /// The time from the beginning of a connection, or from the end of the last answer on it, to the end of a request
    /// and its answer. Default: 5 s in all, however slowly bytes arrive (slowloris).
    pub handshake_timeout_ms: u64,
    /// The time from the first byte of a message to its last. Default: 30 s. 64 KiB arrive in that time over the
    /// slowest link, and half a message cannot be kept for ever.
    pub assembly_timeout_ms: u64,
    /// Bytes that wait to be sent to one session. Above it, the peer's input is not read, and messages to it are
    /// dropped. Default: 256 KiB, a burst on a slow link. A single message may exceed it.
    pub outbox_bytes_max: usize,
    /// The time that published messages may wait for one session before its overflow policy applies, as for a full
    /// outbox: see [`Overflow`](super::Overflow). Default: 10 s. Older messages are no news to anyone.
    pub outbox_age_ms_max: u64,
    /// Bytes that were published and wait to be delivered to the subscribers of one core. From a quarter of it on,
    /// sessions that publish are throttled; beyond it, published messages are dropped. Default: 16 MiB, some hundred
    /// milliseconds of copying to one subscriber. A single message may exceed it.
    pub backlog_bytes_max: usize,
    /// Subscriptions of one session. Default: 128. A person's screen shows fewer topics, and each costs 24 bytes.
    pub subscriptions_max: u32,
    /// Topics with subscribers on one core. Default: 1,000,000, some 100 MB.
    pub topics_max: usize,
    /// The entries of the rings between cores, and of the inboxes for other threads.
    pub mesh: MeshCapacity,
    /// The time that a peer may acknowledge nothing while bytes wait to be sent to it. Default: 10 s, after which it
    /// counts as dead.
    pub send_timeout_ms: u64,
    /// The silence after which a ping is sent; 0: never. Default: 25 s, below the idle timeouts of common proxies (30 s
    /// and more).
    pub ping_interval_ms: u64,
    /// The silence after which a peer counts as dead, if it acknowledges no sent bytes either; 0: never. Default: 60 s,
    /// more than twice the ping interval.
    pub dead_peer_timeout_ms: u64,
    /// The time that a closing connection may take once its peer acknowledges nothing more. Default: 5 s, for a round
    /// trip and a slow handler at the other end.
    pub close_timeout_ms: u64,
    /// The time that a draining server still accepts and serves, so that a load balancer can notice that it is not
    /// ready. Default: 0, without a load balancer.
    pub drain_delay_ms: u64,
    /// The time over which sessions are closed with 1001, in even shares, so that clients do not all reconnect at once.
    /// Default: 0, all at once, which is the fastest.
    pub drain_spread_ms: u64,
    /// The time that sessions may take to end once all have been told to close, even if they still acknowledge bytes.
    /// Default: 10 s, below the 30 s after which supervisors kill a process.
    pub drain_timeout_ms: u64,
    /// The compression of messages with clients that offer it (RFC 7692). Default: none, because it costs more CPU time
    /// than everything else that a message needs.
    pub compression: Option<Compression>,
    /// Sessions of one core with compression streams of their own, if context takeover is on; further sessions do
    /// without. Default: 1024, which take up to 320 MiB.
    pub compression_contexts_max: usize,
    /// Connections of the whole process. Default: as many as the limit of file descriptors allows.
    pub connections_max: usize,
    /// Connections of one address, or of one /64 in IPv6; 0: no limit. Default: 0, since behind a proxy that is not
    /// trusted all clients share one address.
    pub connections_per_address_max: u32,
    /// Handshakes of one address, or one /64, in a second, on average; 0: no limit. Default: 0, for the same reason.
    pub handshakes_per_address_per_second_max: u32,
    /// Handshakes that may come at once. Default: 20, for a household that reconnects after an outage.
    pub handshake_burst_per_address_max: u32,
    /// The time that a core spends on handshakes of TLS in a turn, in microseconds, and one handshake beyond it.
    /// Default: 2,000, some 15 handshakes, after which live sessions have their turn.
    pub tls_handshake_budget_us: u64,
    /// Clients of one core that wait for their handshake of TLS. Further ones are reset. Default: 4,096, which a core
    /// serves in half a second.
    pub tls_handshakes_waiting_max: usize,
    /// The rates of one session. Default: none, as for the other two, since a measurement and a chat differ by a factor
    /// of a million.
    pub session_rates: SenderRates,
    /// The rates of all sessions of one subject together: see [`Accept::subject`](crate::Accept::subject).
    pub subject_rates: SenderRates,
    /// The rates of all sessions of one address, or one /64 in IPv6, together.
    pub address_rates: SenderRates,
    /// The burst of each rate, as the time in which the rate allows it. Default: 10 s, for a client that sends what it
    /// kept while it had no network. With less than 100 ms, which is twice the accuracy of timers, a session that is
    /// slowed down does not reach its rate.
    pub rate_burst_ms: u64,
    /// The time for which a session is slowed down again and again before it is closed with 1008. Default: 30 s.
    pub rate_patience_ms: u64,
}

/// Rates in units per second, on average; 0: no limit. See [`Limits::session_rates`].
///
/// A session that publishes more is read more slowly: nothing is lost, and its client notices that through TCP. A
/// subscription above its rate is refused ([`TopicError::SubscribesTooOften`](crate::TopicError::SubscribesTooOften)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SenderRates {
    /// Messages that are published to topics.
    pub messages_per_second: u32,
    /// Bytes of these messages.
    pub bytes_per_second: u32,
    /// Subscriptions to topics.
    pub subscriptions_per_second: u32,
}

impl Limits {
    /// Returns the longest that a core may take to drain, in milliseconds.
    pub(super) fn drain_ms_max(&self) -> u64 {
        self.drain_delay_ms.saturating_add(self.drain_spread_ms).saturating_add(self.drain_timeout_ms)
    }

    /// Returns a description of a drain, for the log.
    pub(super) fn drain_plan(&self) -> String {
        let delay = match self.drain_delay_ms {
            0 => String::new(),
            ms => format!("serving for another {ms} ms, but not ready; then "),
        };
        let spread = match self.drain_spread_ms {
            0 => String::new(),
            ms => format!(" within {ms} ms"),
        };
        format!("{delay}no new connections, 1001 to every session{spread}.")
    }

    pub(super) fn subscriptions(&self) -> SubscriptionLimits {
        SubscriptionLimits { subscriptions_max: self.subscriptions_max, topics_max: self.topics_max }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            body_bytes_max: 64 * 1024,
            messages: crate::protocol::MessageLimits::default(),
            handshake_timeout_ms: 5_000,
            assembly_timeout_ms: 30_000,
            outbox_bytes_max: 256 * 1024,
            outbox_age_ms_max: 10_000,
            backlog_bytes_max: 16 * 1024 * 1024,
            subscriptions_max: 128,
            topics_max: 1_000_000,
            mesh: MeshCapacity::default(),
            send_timeout_ms: 10_000,
            ping_interval_ms: 25_000,
            dead_peer_timeout_ms: 60_000,
            close_timeout_ms: 5_000,
            drain_delay_ms: 0,
            drain_spread_ms: 0,
            drain_timeout_ms: 10_000,
            compression: None,
            compression_contexts_max: 1024,
            connections_max: usize::MAX,
            connections_per_address_max: 0,
            handshakes_per_address_per_second_max: 0,
            handshake_burst_per_address_max: 20,
            session_rates: SenderRates::default(),
            subject_rates: SenderRates::default(),
            address_rates: SenderRates::default(),
            rate_burst_ms: 10_000,
            rate_patience_ms: 30_000,
            tls_handshake_budget_us: 2_000,
            tls_handshakes_waiting_max: 4_096,
        }
    }
}
