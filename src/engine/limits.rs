//! Every limit of the engine: its default, its unit and its reason.

use crate::engine::topics::SubscriptionLimits;
use crate::mesh::Capacity;
use crate::protocol::deflate::Compression;
use crate::protocol::http::HeadLimits;

/// Limits of one server. Times are in milliseconds and kept to within a tick of 50.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Limits of a request head.
    pub head: HeadLimits,
    /// Bytes of a request's body, which is kept until it is whole; above it 413, as soon as the head announces it. Default
    /// 64 KiB, as for messages: what is published by a request is one.
    pub body_bytes_max: usize,
    /// Limits of messages.
    pub messages: crate::protocol::Limits,
    /// From the first moment of a connection, or the end of the last answer on it, to the end of a request and its
    /// answer. Default 5 s, absolute: a byte now and then buys no time (slowloris).
    pub handshake_timeout_ms: u64,
    /// From the first byte of a message to its last. Default 30 s: 64 KiB arrive in that time over the slowest link, and
    /// what is half sent cannot be kept for ever.
    pub assembly_timeout_ms: u64,
    /// Bytes waiting to be sent to one session. Above it, what the peer sends is not read, and what is sent to it is
    /// dropped. Default 256 KiB: a burst on a slow link. A single message may exceed it.
    pub outbox_bytes_max: usize,
    /// How long what was published may wait for one session before it is taken for one that does not keep up, like one
    /// with a full outbox: see [`Overflow`](super::Overflow). Default 10 s: what is older is news to nobody.
    pub outbox_age_ms_max: u64,
    /// Bytes that were published and wait to be delivered to the subscribers of one core. From a quarter of it on, sessions
    /// that publish are not read; beyond it, what is published is dropped. Default 16 MiB: some hundred milliseconds of
    /// copying to one subscriber. A single message may exceed it.
    pub backlog_bytes_max: usize,
    /// Subscriptions of one session. Default 128: a person's screen shows fewer topics, and each costs 24 bytes.
    pub subscriptions_max: u32,
    /// Topics with subscribers on one core. Default 1,000,000: some 100 MB.
    pub topics_max: usize,
    /// Entries of the rings between cores and of the queues that other threads publish into.
    pub mesh: Capacity,
    /// How long a peer may take nothing while something waits to leave for it. Default 10 s: then it is taken for dead.
    pub send_timeout_ms: u64,
    /// Silence after which a ping is sent; 0 sends none. Default 25 s: below the idle timeouts of common proxies (30 s
    /// and up).
    pub ping_interval_ms: u64,
    /// Silence after which the peer is taken for dead, if it takes nothing of what it is sent either; 0 waits for ever.
    /// Default 60 s: more than twice the time after which it is pinged.
    pub dead_peer_timeout_ms: u64,
    /// How long a closing connection may take, once its peer takes nothing more of what was sent before. Default 5 s: a round
    /// trip and a slow handler at the other end.
    pub close_timeout_ms: u64,
    /// How long a draining server still accepts and serves, so that whoever shares out its clients can notice that it is
    /// not ready any more. Default 0: nobody shares them out.
    pub drain_delay_ms: u64,
    /// The time over which sessions are told 1001, in even shares, so that clients do not all come back at once. Default 0:
    /// all are told at once, which is the shortest.
    pub drain_spread_ms: u64,
    /// How long sessions may take to end once all have been told, whatever they still take of what was sent before. Default
    /// 10 s: below the 30 s after which supervisors kill.
    pub drain_timeout_ms: u64,
    /// How messages are compressed with clients that offer it (RFC 7692). Default: not at all, because it costs more CPU
    /// than everything else a message needs.
    pub compression: Option<Compression>,
    /// Sessions of one core that may keep streams of their own, where context takeover is on; further ones are told to do
    /// without. Default 1024, which take up to 320 MiB.
    pub compression_contexts_max: usize,
    /// Connections of the whole process. Default: as many as the file descriptor limit allows.
    pub connections_max: usize,
    /// Connections of one address, or of one /64 in IPv6; 0 is no limit. Default 0: behind a proxy that is not trusted all
    /// come from one address.
    pub connections_per_address_max: u32,
    /// Requests for a WebSocket from one address, or one /64, in a second, on average; 0 is no limit. Default 0, as above.
    pub handshakes_per_address_per_second_max: u32,
    /// As many of them may come at once. Default 20: a household that comes back after a break in its line.
    pub handshake_burst_per_address_max: u32,
}

impl Limits {
    /// Returns the longest that a core may take to drain, in milliseconds.
    pub(super) fn drain_ms_max(&self) -> u64 {
        self.drain_delay_ms.saturating_add(self.drain_spread_ms).saturating_add(self.drain_timeout_ms)
    }

    /// Says what a drain does, for the log.
    pub(super) fn drain_plan(&self) -> String {
        let delay = match self.drain_delay_ms {
            0 => String::new(),
            ms => format!("not ready any more, serving for another {ms} ms; then "),
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
            messages: crate::protocol::Limits::default(),
            handshake_timeout_ms: 5_000,
            assembly_timeout_ms: 30_000,
            outbox_bytes_max: 256 * 1024,
            outbox_age_ms_max: 10_000,
            backlog_bytes_max: 16 * 1024 * 1024,
            subscriptions_max: 128,
            topics_max: 1_000_000,
            mesh: Capacity::default(),
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
        }
    }
}
