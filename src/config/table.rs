//! The table of all keys.
//!
//! Each key is one row: where its value is kept (and so its default), how it is read, its flag and its meaning. The
//! file of defaults, `--help`, docs/configuration.md and the names of variables all follow from here.

use super::access::{Grants, Of, Optional, OptionalAlgorithm, OptionalFile, OptionalSecret, OptionalUrl, Text, Texts};
use super::key::{Flag, Key, Section};
use super::kind::{
    Bytes, Checked, Choice, Count, CountOrUnlimited, Kind, List, Millis, OptionalAddress, Switch, Unit, Window,
};
use super::listen::{Addresses, Each, Group, Mode, Tls};
use super::tls::AskClients;
use super::values::{CompressionMode, LogFormat};
use crate::engine::{Pinning, ReactorKind};
use crate::protocol::http::HEADERS_CAPACITY;
use crate::service::auth::{ApiKeySettings, CertificateName, IssuerSettings, Refuse, RoleSettings};
use crate::service::hooks::FallbackChoice;
use crate::tls::{RecordLayer, Versions};

/// The largest message that may be configured: a handler gets it in one piece.
const MESSAGE_BYTES_MAX: u64 = 1 << 30;

/// The largest head of a request that may be configured: it is kept until it is whole.
const HEAD_BYTES_MAX: u64 = 256 * 1024;

/// The smallest head of a request that may be configured: the shortest handshake of a browser has room in it.
const HEAD_BYTES_MIN: u64 = 256;

/// The shortest request line that may be configured: that of `/topics/` and a short name.
const REQUEST_LINE_BYTES_MIN: u64 = 64;

/// The smallest outbox and the smallest backlog that may be configured: some short messages.
const QUEUE_BYTES_MIN: u64 = 1024;

/// The most handshakes of one address that may be configured: their times are kept in microseconds.
const HANDSHAKES_PER_SECOND_MAX: u64 = 1_000_000;

/// The shortest burst of a rate that may be configured: twice the accuracy of timers, or a session that is slowed down
/// would not reach its rate.
const RATE_BURST_MS_MIN: u64 = 100;

/// The longest burst of a rate that may be configured: a day.
const RATE_BURST_MS_MAX: u64 = 86_400_000;

/// The most topics that may be configured: their numbers have 31 bits.
const TOPICS_MAX: u64 = (1 << 31) - 1;

/// The most entries of a ring that may be configured: 40 MiB for each pair of cores.
const RING_ENTRIES_MAX: u64 = 1 << 20;

/// The most cores that may be configured: far above any host; each takes descriptors and memory.
const CORES_MAX: u64 = 1024;

/// The most leeway that may be configured: beyond it a clock is wrong, and its host is what needs care.
const LEEWAY_MS_MAX: u64 = 5 * 60 * 1000;

/// The longest grace that may be configured: a session without rights for longer needs a longer token.
const GRACE_MS_MAX: u64 = 60 * 60 * 1000;

/// The longest time for a call of a hook that may be configured: a client waits for its answer.
const HOOK_TIMEOUT_MS_MAX: u64 = 60_000;

/// The most calls of a hook at once, and calls before its breaker may open, that may be configured.
const HOOK_CALLS_MAX: u64 = 10_000;

/// The longest time for which a last verdict may hold: a day.
const LAST_VERDICT_MS_MAX: u64 = 86_400_000;

/// The most facts that may wait: some 300 MB.
const FACTS_MAX: u64 = 1_000_000;

/// The largest number that a limit of 32 bits takes.
const U32_MAX: u64 = u32::MAX as u64;

macro_rules! keys {
    ($($section:literal, $about:literal { $(
        #[doc = $short:literal] $(#[doc = $more:literal])*
        $name:literal $(flag $flag:literal $value:literal)? $(secret $secret:literal)? $(restart $restart:literal)? =>
            $first:ident $(. $field:ident)* as $kind:expr;
    )+ })+) => {
        /// All sections, in the order in which a file of defaults has them.
        pub static SECTIONS: &[Section] = &[$(Section { name: $section, about: $about }),+];

        /// All keys, section by section. The addresses to listen on come first, because other keys change them.
        pub static KEYS: &[Key] = &[$($(Key {
            section: $section,
            name: $name,
            flag: keys!(@flag $($flag $value)?),
            short: $short,
            more: concat!($($more),*),
            field: stringify!($first $(. $field)*),
            is_secret: keys!(@flagged $($secret)?),
            needs_restart: keys!(@flagged $($restart)?),
            unit: || Unit::unit(&$kind),
            read: |raw, config| Kind::read(&$kind, raw, &mut config.$first $(. $field)*),
            write: |config| Kind::write(&$kind, &config.$first $(. $field)*),
            readable: |config| Kind::readable(&$kind, &config.$first $(. $field)*),
            is_same: |one, other| one.$first $(. $field)* == other.$first $(. $field)*,
            copy: |from, to| to.$first $(. $field)* = from.$first $(. $field)*.clone(),
        }),+),+];
    };
    (@flag) => { None };
    (@flag $flag:literal $value:literal) => { Some(Flag { name: $flag, value: $value }) };
    (@flagged) => { false };
    (@flagged $flagged:literal) => { $flagged };
}

keys! {
    "listen", "Addresses to listen on. A file may have several of these sections, one for each address." {
        /// Addresses to listen on
        /// Forms: 127.0.0.1:9000, [::1]:9000, localhost:9000, :9000 for all addresses of this host,
        /// unix:/run/ringsock.sock, unix:@ringsock. The default is reached from this host alone. A flag or a
        /// variable with one address or several replaces all sections of the file.
        "address" flag "listen" "ADDRESSES" restart true => listen as Addresses;
        /// Permissions of a Unix socket's file
        /// Any user who may write to it may connect.
        "mode" restart true => listen as Mode;
        /// Group of a Unix socket's file; empty: the server's own
        "group" restart true => listen as Group;
        /// Expect a PROXY header (version 1 or 2) at the start of each connection from a trusted proxy
        /// Needs proxies.trusted. A connection from a trusted proxy without the header is refused.
        "proxy-protocol" restart true => listen as Each(|listen| &mut listen.proxy_protocol);
        /// Let other processes of the same user listen on the same port and take a share of the connections
        "share-port" restart true => listen as Each(|listen| &mut listen.share_port);
        /// Speak TLS with clients: auto, on or off
        /// auto: if tls.certificates names one, or tls.self-signed is true.
        "tls" restart true => listen as Tls;
    }
    "tls", "TLS on the addresses to listen on. Its files are read again by a reload." {
        /// Certificates, each with its chain, in PEM; none: no TLS
        /// Clients get the one for the name that they ask for, and the first one otherwise.
        "certificates" flag "tls-certificate" "FILES" => tls.certificates as List("files");
        /// Private keys of the certificates, in the same order
        "keys" flag "tls-key" "FILES" => tls.keys as List("files");
        /// Make a certificate for localhost, for trials
        /// Its fingerprint is printed at the start. Clients must be told to trust it.
        "self-signed" flag "tls-self-signed" "true|false" restart true => tls.self_signed as Switch;
        /// Oldest version of TLS that is spoken: 1.2 or 1.3
        "min-version" => tls.versions as Choice(&[("1.2", Versions::From12), ("1.3", Versions::Only13)]);
        /// Certificates of clients: off, wanted or required
        /// wanted: a client without one gets in. One that is not valid never gets in. Such clients get no tickets.
        "client-certificates" => tls.ask_clients as Choice(&[
            ("off", AskClients::Off), ("wanted", AskClients::Wanted), ("required", AskClients::Required),
        ]);
        /// Authorities of clients' certificates, in PEM
        "client-authorities" => tls.client_authorities as List("files");
        /// Lists of revoked certificates of clients, in PEM
        /// With a list, a certificate is accepted only if the list of its authority is there.
        "client-revocations" => tls.client_revocations as List("files");
        /// Give clients no tickets, by which they resume sessions
        "no-tickets" => tls.no_tickets as Switch;
        /// Keys of tickets, the newest first: files of 32 random bytes or more; none: keys of this process
        /// With the same files, clients resume sessions with other processes and hosts, and after a restart.
        "ticket-keys" => tls.ticket_keys as List("files");
        /// Layer of open sessions: own or rustls
        /// own: 224 bytes for a session of TLS 1.3. rustls: its own connection, 3,500 bytes.
        "records" => tls.records as Choice(&[("own", RecordLayer::Own), ("rustls", RecordLayer::Rustls)]);
        /// Time in microseconds that a core spends on handshakes in a turn, before open sessions have theirs
        "handshake-budget-us" => limits.tls_handshake_budget_us as Count("microseconds", 1..=1_000_000);
        /// Clients of one core that may wait for their handshake; further ones are reset
        "max-waiting-handshakes" => limits.tls_handshakes_waiting_max as Count("clients", 1..=1_000_000);
    }
    "admin", "The administrator's listener: /metrics, /health and /readyz. It has no password." {
        /// Address for metrics; none: nowhere
        /// Any form of listen.address. Keep it private. If the default is in use, the server warns and runs
        /// without.
        "listen" flag "admin-listen" "ADDRESS" restart true => admin_listen as OptionalAddress;
    }
    "cores", "Threads that serve, each with a listener, a ring and sessions of its own." {
        /// Number of cores; 0: one on each processor
        /// Leave processors to others if the host is shared.
        "count" flag "cores" "COUNT" restart true => cores as Count("cores", 0..=CORES_MAX);
        /// How cores talk to the kernel: auto, uring or epoll
        /// auto: io_uring if the host allows it, epoll with a warning otherwise.
        "reactor" flag "reactor" "REACTOR" restart true => reactor as Choice(&[
            ("auto", ReactorKind::Auto), ("uring", ReactorKind::Uring), ("epoll", ReactorKind::Epoll),
        ]);
        /// When to pin each core to a processor
        /// auto: if there are as many cores as processors that the process may use. With fewer cores, two servers
        /// on a host would share one processor while others idle.
        "pin" restart true => pin as Choice(&[
            ("auto", Pinning::Auto), ("always", Pinning::Always), ("never", Pinning::Never),
        ]);
        /// How long a core may be blocked by a handler before the server ends; 0: for ever
        /// At least 1000: an idle core shows every 500 ms that it is alive.
        "stall-timeout-ms" => stall_timeout_ms as Millis(0..=u64::MAX);
    }
    "limits", "Limits of what clients can make the server hold." {
        /// Connections in total; 0: as many as open files allow
        /// Above it 503.
        "max-connections" flag "max-connections" "COUNT" => limits.connections_max as CountOrUnlimited("connections");
        /// Connections per client address (per /64 in IPv6); above it 429; 0: no limit
        /// No limit by default, because all clients of a proxy that is not trusted have its address.
        "max-connections-per-address" => limits.connections_per_address_max as Count("connections", 0..=U32_MAX);
        /// Handshakes per second and client address (per /64 in IPv6), on average; above it 429; 0: no limit
        "max-handshakes-per-address-per-second" => limits.handshakes_per_address_per_second_max as
            Count("handshakes/s", 0..=HANDSHAKES_PER_SECOND_MAX);
        /// Handshakes that one address may make at once before that rate applies
        /// The default covers a household that reconnects after an outage.
        "max-handshake-burst-per-address" => limits.handshake_burst_per_address_max as
            Count("handshakes", 1..=HANDSHAKES_PER_SECOND_MAX);
        /// Bytes of a message or request body; above it 1009
        /// For a body 413. A message counts over all its fragments, and after it was inflated.
        "max-message-bytes" flag "max-message-bytes" "BYTES" => limits.messages.message_bytes_max as
            Bytes(1..=MESSAGE_BYTES_MAX);
        /// Empty fragments of a message in a row; above it 1008
        /// They cost work and carry nothing.
        "max-empty-fragments" => limits.messages.empty_fragments_max as Count("fragments", 0..=U32_MAX);
        /// Bytes of a request line; above it 414
        /// Room for a token in the query.
        "max-request-line-bytes" => limits.head.request_line_bytes_max as
            Bytes(REQUEST_LINE_BYTES_MIN..=HEAD_BYTES_MAX);
        /// Bytes of a request head; above it 431
        /// Bounds what a client can make the server hold before it is known.
        "max-head-bytes" => limits.head.head_bytes_max as Bytes(HEAD_BYTES_MIN..=HEAD_BYTES_MAX);
        /// Headers of a request; above it 431
        /// Twice what a browser behind proxies sends.
        "max-headers" => limits.head.headers_max as Count("headers", 1..=HEADERS_CAPACITY as u64);
        /// Bytes that may wait to be sent to one session
        /// Above it the session is not read, and topics.overflow applies. One message may exceed it.
        "max-outbox-bytes" => limits.outbox_bytes_max as Bytes(QUEUE_BYTES_MIN..=u64::MAX);
    }
    "timeouts", "How long clients may take." {
        /// Time for a whole request, from the start of the connection
        /// It does not start anew with each byte, so sending slowly gains nothing.
        "handshake-timeout-ms" => limits.handshake_timeout_ms as Millis(1..=u64::MAX);
        /// Time for a message, from its first byte to its last; after it 1008
        "assembly-timeout-ms" => limits.assembly_timeout_ms as Millis(0..=u64::MAX);
        /// How long a client may take nothing of what it is sent; after it the connection is cut
        "send-timeout-ms" => limits.send_timeout_ms as Millis(1..=u64::MAX);
        /// Silence after which a ping is sent; 0: no pings
        /// Below the idle timeout of common proxies.
        "ping-interval-ms" flag "ping-interval-ms" "MS" => limits.ping_interval_ms as Millis(0..=u64::MAX);
        /// Silence after which a client is cut; 0: never
        /// A client that takes what it is sent is not silent. Must be above the interval of pings.
        "dead-peer-timeout-ms" flag "dead-peer-timeout-ms" "MS" => limits.dead_peer_timeout_ms as Millis(0..=u64::MAX);
        /// Time for a closing handshake; after it the connection is cut
        /// It starts once the client takes nothing more of what was sent before.
        "close-timeout-ms" => limits.close_timeout_ms as Millis(1..=u64::MAX);
    }
    "drain", "How the server ends after a signal. Supervisors must wait for longer than the three together." {
        /// How long the server still accepts and serves, while /readyz answers 503
        /// Time for a load balancer to send clients elsewhere.
        "delay-ms" => limits.drain_delay_ms as Millis(0..=u64::MAX);
        /// Time over which sessions are then closed with 1001, in even shares; 0: all at once
        /// Keeps clients from reconnecting all at once.
        "spread-ms" => limits.drain_spread_ms as Millis(0..=u64::MAX);
        /// Time for all sessions to end once they were closed; after it they are cut off
        "timeout-ms" => limits.drain_timeout_ms as Millis(0..=u64::MAX);
    }
    "topics", "Messages that are published to topics." {
        /// Policy for messages that a subscriber cannot take: close, drop-newest, drop-oldest or latest
        /// One policy for all topics, and others for some: ["close", "prices/*=latest"]. The first rule that
        /// matches applies. close ends the session with 1013.
        "overflow" => overflow as List("policies");
        /// How long a published message may wait for a subscriber before its outbox counts as full
        /// Older messages are news to nobody.
        "outbox-age-ms" => limits.outbox_age_ms_max as Millis(1..=u64::MAX);
        /// Bytes that were published and wait to be delivered on one core
        /// From a quarter of it on, sessions that publish are not read; above it, what they publish is dropped.
        "max-backlog-bytes" => limits.backlog_bytes_max as Bytes(QUEUE_BYTES_MIN..=u64::MAX);
        /// Topics with subscribers on one core; above it subscriptions are refused
        /// Each takes some 80 bytes and its name.
        "max-topics" => limits.topics_max as Count("topics", 1..=TOPICS_MAX);
        /// Entries of the ring from one core to another
        /// A message that finds it full is dropped and counted.
        "ring-entries" restart true => limits.mesh.ring_entries as Count("entries", 1..=RING_ENTRIES_MAX);
    }
    "rates", "Rates of publishing to topics and of subscribing. A session above its rate is read more slowly." {
        /// Messages per second that a session may publish, on average; 0: no limit
        /// Above it the session is read more slowly. The subject of a token is an identity.
        "session-messages-per-second" => limits.session_rates.messages_per_second as
            Count("messages/s", 0..=U32_MAX);
        /// Bytes per second that a session may publish, on average; 0: no limit
        "session-bytes-per-second" => limits.session_rates.bytes_per_second as Count("bytes/s", 0..=U32_MAX);
        /// Subscriptions per second that a session may make, on average; 0: no limit
        /// Above it they are refused.
        "session-subscriptions-per-second" => limits.session_rates.subscriptions_per_second as
            Count("subscriptions/s", 0..=U32_MAX);
        /// Messages per second that all sessions of one identity may publish together; 0: no limit
        "subject-messages-per-second" => limits.subject_rates.messages_per_second as
            Count("messages/s", 0..=U32_MAX);
        /// Bytes per second that all sessions of one identity may publish together; 0: no limit
        "subject-bytes-per-second" => limits.subject_rates.bytes_per_second as Count("bytes/s", 0..=U32_MAX);
        /// Subscriptions per second that all sessions of one identity may make together; 0: no limit
        "subject-subscriptions-per-second" => limits.subject_rates.subscriptions_per_second as
            Count("subscriptions/s", 0..=U32_MAX);
        /// Messages per second that all sessions of one address (a /64 in IPv6) may publish together; 0: no limit
        "address-messages-per-second" => limits.address_rates.messages_per_second as
            Count("messages/s", 0..=U32_MAX);
        /// Bytes per second that all sessions of one address (a /64 in IPv6) may publish together; 0: no limit
        "address-bytes-per-second" => limits.address_rates.bytes_per_second as Count("bytes/s", 0..=U32_MAX);
        /// Subscriptions per second that all sessions of one address (a /64 in IPv6) may make together; 0: no limit
        "address-subscriptions-per-second" => limits.address_rates.subscriptions_per_second as
            Count("subscriptions/s", 0..=U32_MAX);
        /// Burst of each rate, as the time in which the rate allows it
        /// For a client that sends what it kept while it had no network.
        "burst-ms" => limits.rate_burst_ms as Millis(RATE_BURST_MS_MIN..=RATE_BURST_MS_MAX);
        /// How long a session may go on above its rate before it is closed with 1008
        /// It counts only while more of its messages wait all the time.
        "patience-ms" => limits.rate_patience_ms as Millis(0..=u64::MAX);
    }
    "compression", "permessage-deflate (RFC 7692). It costs CPU and saves bytes." {
        /// Compression of messages: off, shared or dedicated
        /// shared: each message by itself, with no memory per session. dedicated: messages refer to earlier ones,
        /// with up to 320 KiB per session.
        "mode" flag "compression" "MODE" => compression_mode as Choice(&[
            ("off", CompressionMode::Off),
            ("shared", CompressionMode::Shared),
            ("dedicated", CompressionMode::Dedicated),
        ]);
        /// Effort, from 1, the fastest, to 9, the smallest messages
        "level" => compression.level as Count("1 to 9", 1..=9);
        /// Smallest message that is compressed
        /// Smaller ones would save less than the headers of a packet.
        "min-bytes" => compression.message_bytes_min as Bytes(0..=u64::MAX);
        /// Largest window that the server compresses with, as a power of two, from 9 to 15
        /// A smaller one needs less memory at both ends.
        "server-window-bits" => compression.server_window_bits as Window;
        /// Largest window that clients are asked to compress with, from 9 to 15
        /// It matters for dedicated compression alone.
        "client-window-bits" => compression.client_window_bits as Window;
        /// Sessions of one core that may have dedicated compression; further ones share
        "max-contexts" => limits.compression_contexts_max as Count("sessions", 0..=u64::MAX);
        /// How many times as large a compressed message may become; above it 1009; 0: any size
        /// Text becomes 3 to 20 times as large, a bomb 1000 times. The first 64 KiB do not count.
        "max-inflation-ratio" => limits.messages.inflation_ratio_max as Count("times", 0..=U32_MAX);
    }
    "handshake", "Agreements of the opening handshake." {
        /// Subprotocols that the server speaks; none: none
        /// The first one that a client offers and that is listed here is chosen.
        "subprotocols" => subprotocols as List("names");
    }
    "origin", "Web pages that may open a WebSocket." {
        /// Origins of pages that may connect; *: all
        /// Others get 403. Each is scheme://host or scheme://host:port; same-host stands for pages of the server's
        /// own host and port, null for pages without an origin.
        "allow" flag "allow-origin" "ORIGINS" => origins as List("origins");
    }
    "proxies", "Proxies in front of the server." {
        /// Proxies whose X-Forwarded-For is believed
        /// PROXY headers are believed, too, where listen.proxy-protocol is true. Addresses and networks, such as
        /// 127.0.0.1 or 10.0.0.0/8; unix for clients of a Unix socket; none for none.
        "trusted" flag "trusted-proxies" "NETWORKS" => trusted_proxies as List("networks");
    }
    "api", "Publishing over HTTP: POST /api/publish." {
        /// Key to publish over HTTP with; none: no API
        /// Better in a variable or a file: all users of the host see flags.
        "key" flag "api-key" "KEY" secret true => api_key as Checked("key");
        /// Let programs publish without a key
        /// Only where all addresses to listen on are reached from this host alone.
        "insecure" => api_insecure as Switch;
        /// Origins of web pages that may use the API; *: all; none: no page of another origin
        "allow-origin" => api_allow_origin as List("origins");
    }
    "tokens", "Tokens of clients. They matter once there is an issuer, an api-key or a role." {
        /// Places where a token is looked for, in this order
        /// header: Authorization: Bearer TOKEN. cookie, query and subprotocol: for web pages. first-message: the
        /// client connects without one and sends Bearer TOKEN first. certificate: that of the client, in its TLS
        /// handshake. docs/tokens.md has the price of each.
        "from" => access.tokens.from as List("places");
        /// Name of the cookie with the token
        "cookie" => access.tokens.cookie as Text("name");
        /// Name of the parameter with the token, as in /topics/news?token=TOKEN
        "query" => access.tokens.query as Text("name");
        /// Text before the token in the offered subprotocol, as in bearer.TOKEN
        /// It is never chosen, so the client offers a real one beside it.
        "subprotocol" => access.tokens.subprotocol as Text("text");
        /// Claim with the names of roles: a list, or words in one text
        /// A claim inside others is named with dots, such as realm_access.roles.
        "roles-claim" => access.tokens.roles_claim as Text("claim");
        /// Claim with a list of grants, such as subscribe:rooms/*
        "grants-claim" => access.tokens.grants_claim as Text("claim");
        /// Difference between the clocks of issuer and server that is tolerated
        "leeway-ms" => access.tokens.leeway_ms as Millis(0..=LEEWAY_MS_MAX);
        /// Longest life of a token, from its iat to its exp
        "max-life-ms" => access.tokens.life_ms_max as Millis(1_000..=u64::MAX);
        /// A token opens one session; it needs a jti
        "single-use" => access.tokens.single_use as Switch;
        /// Name in a client's certificate that becomes its subject: common-name, dns or uri
        /// For tokens.from = "certificate". A certificate without such a name is refused.
        "certificate-name" => access.tokens.certificate_name as Choice(&[
            ("common-name", CertificateName::Common), ("dns", CertificateName::Dns), ("uri", CertificateName::Uri),
        ]);
        /// Roles of clients that have shown a certificate
        "certificate-roles" => access.tokens.certificate_roles as Texts("roles");
        /// Do not warn where other hosts reach the server and need no token, or no TLS
        /// A proxy in front may see to both. It changes nothing about who gets in.
        "open" => access.tokens.open as Switch;
        /// How a client without a valid token is refused: status or close
        /// status: 401 or 403 instead of the handshake, which web pages see as 1006. close: 3000 or 3003 after it.
        "refuse" => access.tokens.refuse as Choice(&[("status", Refuse::Status), ("close", Refuse::Close)]);
        /// Time after a token's end in which its sessions end, spread evenly
        /// Keeps the sessions of tokens that were issued together from ending at once.
        "grace-ms" => access.tokens.grace_ms as Millis(0..=GRACE_MS_MAX);
        /// Time for the token in the first message; after it 3008
        "first-message-timeout-ms" => access.tokens.first_message_timeout_ms as Millis(1..=u64::MAX);
    }
    "issuer", "Issuers of tokens. A file may have several of these sections, one for each issuer." {
        /// Name of the issuer in messages and in this file
        "name" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.name, Text("name"));
        /// The iss of its tokens; empty for the one issuer whose tokens need none
        "iss" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.iss, Text("text"));
        /// Audiences of which a token's aud must have one; none: the token must have no aud
        "audiences" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.audiences, Texts("audiences"));
        /// Algorithm of its key: HS256, RS256, PS256, ES256, EdDSA and their kin; none: HS256 with key
        /// For key-set-file: the only algorithm of which keys are taken; none: each key says its own.
        "algorithm" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.algorithm, OptionalAlgorithm);
        /// Secret that issuer and server share, of 32 bytes or more
        "key" secret true => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.key, OptionalSecret);
        /// Secret before, which verifies as well while issuers change to the new one
        "previous-key" secret true => access.issuers as
            Of(|issuer: &mut IssuerSettings| &mut issuer.previous_key, OptionalSecret);
        /// File with the secret, or with a public key in PEM
        "key-file" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.key_file, OptionalFile);
        /// File with a set of public keys (JWKS)
        "key-set-file" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.key_set_file, OptionalFile);
        /// URL of a set of public keys (JWKS), https or of this host
        /// It is fetched at the start, every 15 minutes, and for a key that is new, at most once in 10 s.
        "key-set-url" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.key_set_url, OptionalUrl);
        /// Find the key set by the discovery document of iss (OpenID Connect)
        "discovery" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.discovery, Switch);
        /// URL at which the issuer is asked about opaque tokens (RFC 7662), https or of this host
        /// One issuer of a server may have it. It needs client-id and a secret.
        "introspection-url" => access.issuers as
            Of(|issuer: &mut IssuerSettings| &mut issuer.introspection_url, OptionalUrl);
        /// Name of this server at introspection-url
        "client-id" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.client_id, Text("name"));
        /// Secret of this server at introspection-url
        "client-secret" secret true => access.issuers as
            Of(|issuer: &mut IssuerSettings| &mut issuer.client_secret, OptionalSecret);
        /// File with the secret of this server at introspection-url
        "client-secret-file" => access.issuers as
            Of(|issuer: &mut IssuerSettings| &mut issuer.client_secret_file, OptionalFile);
        /// Most questions to introspection-url in a second
        /// A client whose token cannot be asked about gets 503. Answers are kept, so most tokens need no question.
        "introspection-rate" => access.issuers as
            Of(|issuer: &mut IssuerSettings| &mut issuer.introspection_rate, Count("questions a second", 1..=U32_MAX));
        /// Roles that each of its tokens has
        "roles" => access.issuers as Of(|issuer: &mut IssuerSettings| &mut issuer.roles, Texts("roles"));
    }
    "role", "Roles: named lists of grants. A file may have several of these sections, one for each role." {
        /// Name of the role; anonymous: that of clients without a token
        "name" => access.roles as Of(|role: &mut RoleSettings| &mut role.name, Text("name"));
        /// Grants, such as ["subscribe:news", "subscribe,publish:users/{sub}/*"]
        /// Each is verbs (subscribe, publish, presence, history), a colon, and a topic or a pattern. {sub} and
        /// {claim.NAME} stand for values of the token; one that is empty or has a / or * in it gives no grant.
        "grants" => access.roles as Of(|role: &mut RoleSettings| &mut role.grants, Grants);
    }
    "api-key", "Keys of programs, each with roles. A file may have several of these sections, one for each key." {
        /// Name of the program
        "name" => access.api_keys as Of(|key: &mut ApiKeySettings| &mut key.name, Text("name"));
        /// Key, of 32 bytes or more
        "key" secret true => access.api_keys as Of(|key: &mut ApiKeySettings| &mut key.key, OptionalSecret);
        /// Roles of the program
        "roles" => access.api_keys as Of(|key: &mut ApiKeySettings| &mut key.roles, Texts("roles"));
    }
    "hooks", "A backend that decides over HTTP, and that is told what happens. docs/hooks.md has its part." {
        /// URL that is asked before a session opens; none: nobody is asked
        /// https://, or http:// to an address of this host. Its answer may bring a subject, roles and grants.
        "connect" => hooks.connect.url as OptionalUrl;
        /// URL that is asked before a session subscribes
        "subscribe" => hooks.subscribe.url as OptionalUrl;
        /// URL that is asked before a message of a client is published
        /// Messages of a session wait for the answers, in their order. Messages by api.key are published without a
        /// question.
        "publish" => hooks.publish.url as OptionalUrl;
        /// URL that is told what happens: facts, at least once and in order
        "facts" restart true => hooks.facts as OptionalUrl;
        /// Kinds of facts: connected, disconnected, subscribed, unsubscribed, occupied, vacated
        /// occupied and vacated: a topic has its first subscriber on this server, or has lost its last one.
        "fact-kinds" restart true => hooks.fact_kinds as List("kinds");
        /// Facts that may wait for the backend; further ones are dropped and counted
        "fact-queue" restart true => hooks.facts_max as Count("facts", 1..=FACTS_MAX);
        /// Secret that signs calls (Standard Webhooks): whsec_ and 24 to 64 bytes in base64
        "secret" secret true => hooks.secret as Optional("secret");
        /// Secret before, which signs as well while the backend changes to the new one
        "previous-secret" secret true => hooks.previous_secret as Optional("secret");
        /// File with the secret, or with several, one in a line
        "secret-file" => hooks.secret_file as OptionalFile;
        /// Headers of the handshake that connect and subscribe are told, such as cookie
        "forward-headers" => hooks.forward_headers as List("headers");
        /// Time for a call; after it the fallback decides
        "timeout-ms" => hooks.timeout_ms as Millis(1..=HOOK_TIMEOUT_MS_MAX);
        /// Calls of each hook at once; for further ones the fallback decides
        "calls-at-once" => hooks.breaker.calls_at_once_max as Count("calls", 1..=HOOK_CALLS_MAX);
        /// Calls within 10 s from which on failures can open the breaker of a hook
        /// While it is open, nobody is asked, and the fallback decides.
        "breaker-calls" => hooks.breaker.calls_min as Count("calls", 1..=HOOK_CALLS_MAX);
        /// Share of them that must fail, in percent
        "breaker-percent" => hooks.breaker.failures_percent as Count("percent", 1..=100);
        /// Time after which an open breaker lets one call through, which may close it
        "breaker-pause-ms" => hooks.breaker.pause_ms as Millis(100..=3_600_000);
        /// Decision where connect does not answer: deny, allow or last-verdict
        /// deny: 503, or 1013 with tokens.refuse = "close". last-verdict: as the same question was answered last.
        "fallback-connect" => hooks.connect.fallback as Choice(FallbackChoice::NAMES);
        /// Decision where subscribe does not answer
        "fallback-subscribe" => hooks.subscribe.fallback as Choice(FallbackChoice::NAMES);
        /// Decision where publish does not answer
        /// deny: the session is closed with 1013.
        "fallback-publish" => hooks.publish.fallback as Choice(FallbackChoice::NAMES);
        /// How long a last verdict holds
        "last-verdict-ms" => hooks.last_verdict_ms as Millis(1..=LAST_VERDICT_MS_MAX);
    }
    "log", "The log on standard error." {
        /// Events to log: info, debug or ringsock=trace
        "filter" flag "log" "FILTER" => log_filter as Checked("filter");
        /// Form of a line
        /// json: one object for each line, for programs that collect logs.
        "format" restart true => log_format as Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Config;
    use super::*;

    #[test]
    fn names_tell_units_and_no_two_keys_share_one() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..at].iter().all(|other| other.to_string() != key.to_string()), "{key}");
            assert!(KEYS[..at].iter().all(|other| other.variable() != key.variable()), "{key}");
            assert_eq!(key.name.ends_with("-ms"), key.unit() == "ms", "{key}");
            assert_eq!(key.name.ends_with("-bytes"), key.unit() == "bytes", "{key}");
            assert!(!key.short.trim().ends_with('.') && (key.more.is_empty() || key.more.ends_with('.')), "{key}");
            assert!(SECTIONS.iter().any(|section| section.name == key.section), "{key}");
        }
    }

    #[test]
    fn every_default_is_read_as_what_it_is() {
        for key in KEYS {
            let default = key.default_value();
            let document = format!("value = {default}");
            let table = toml::de::DeTable::parse(&document).unwrap();
            let raw = super::super::raw_value::RawValue::from_toml(table.get_ref()["value"].get_ref());
            let mut config = Config::default();
            assert_eq!((key.read)(&raw, &mut config), Ok(()), "{key} = {default}");
            assert_eq!((key.write)(&config), default, "{key}");
        }
    }
}
