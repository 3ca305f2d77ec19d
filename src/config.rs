//! The program's settings: from flags, environment, file and defaults, in this order.
//!
//! [`Options`] is what one source says, everything optional; [`Config`] is what holds, complete and checked. Every
//! setting is one row of the table below, so a flag, its environment variable, its key in a file, its default and its
//! help cannot disagree.

use std::convert::Infallible;
use std::fmt;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use thiserror::Error;

/// Which reactor is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reactor {
    /// io_uring, or epoll with a warning where io_uring is not to be had.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll.
    Epoll,
}

/// How messages are compressed with clients that offer it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    Off,
    /// Each message by itself; no memory for any session.
    Shared,
    /// Messages refer to earlier ones; up to 320 KiB for each session.
    Dedicated,
}

/// An address to listen on, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Address(pub String);

impl Address {
    /// Whether only programs of this host can connect to it.
    fn is_loopback(&self) -> bool {
        let addresses = self.0.to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
        !addresses.is_empty() && addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = text.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
        match port.map(str::parse::<u16>) {
            Some(Ok(_)) => Ok(Self(text.to_owned())),
            _ => Err("give an IP address or host name and a port, such as 127.0.0.1:9000".to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where to tell of the server, as it was written: an address, or `none`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AdminAddress(pub Option<Address>);

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = (text != "none").then(|| text.parse()).transpose();
        address.map(Self).map_err(|reason: String| format!("{reason}, or none"))
    }
}

impl TryFrom<String> for AdminAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The key of those who may publish by HTTP, or `none`. It is taken as it is and checked later, since whoever refuses it here
/// shows it; nothing else shows it either.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub Option<String>);

impl FromStr for ApiKey {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self((text != "none").then(|| text.to_owned())))
    }
}

impl<'de> Deserialize<'de> for ApiKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The usual error of a number shows the number.
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom("a key has to be a string"))?;
        text.parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "hidden" } else { "none" })
    }
}

// A last word `hide_env_values` keeps the help from showing what the variable is set to.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $value:literal, $env:literal $(, $hide:ident)?;)+) => {
        /// What one source says.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields)]
        pub struct Options {
            $($(#[doc = $doc])+ #[arg(long, value_name = $value, env = $env $(, $hide = true)?)] pub $name: Option<$type>,)+
        }

        impl Options {
            /// What this source says, or else the other.
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }
        }

        /// What holds.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl From<Options> for Config {
            fn from(options: Options) -> Self {
                Self { $($name: options.$name.unwrap_or_else(|| $default),)+ }
            }
        }
    };
}

options! {
    /// Where to listen [default: 127.0.0.1:9000]
    listen: Address = Address("127.0.0.1:9000".to_owned()), "ADDRESS:PORT", "RINGSOCK_LISTEN";
    /// Where to give metrics, on a listener of its own; none for nowhere [default: 127.0.0.1:9001]
    admin_listen: AdminAddress = AdminAddress(Some(Address("127.0.0.1:9001".to_owned()))),
        "ADDRESS:PORT", "RINGSOCK_ADMIN_LISTEN";
    /// Cores, each a thread with its own listener and ring; 0 for one on each processor [default: 0]
    cores: usize = 0, "COUNT", "RINGSOCK_CORES";
    /// How cores talk to the kernel [default: auto]
    reactor: Reactor = Reactor::Auto, "REACTOR", "RINGSOCK_REACTOR";
    /// Let other processes of this user listen on the same address [default: false]
    share_port: bool = false, "BOOL", "RINGSOCK_SHARE_PORT";
    /// Connections in all; 0 for as many as the file descriptor limit allows [default: 0]
    max_connections: usize = 0, "COUNT", "RINGSOCK_MAX_CONNECTIONS";
    /// Connections of one address, or one /64 in IPv6; above it 429; 0 for no limit [default: 0]
    max_connections_per_address: u32 = 0, "COUNT", "RINGSOCK_MAX_CONNECTIONS_PER_ADDRESS";
    /// Handshakes of one address, or one /64, on average; above it 429; 0 for no limit [default: 0]
    max_handshakes_per_address_per_second: u32 = 0, "COUNT", "RINGSOCK_MAX_HANDSHAKES_PER_ADDRESS_PER_SECOND";
    /// As many of them may come at once, before the average counts [default: 20]
    max_handshake_burst_per_address: u32 = 20, "COUNT", "RINGSOCK_MAX_HANDSHAKE_BURST_PER_ADDRESS";
    /// Origins of web pages that may connect, set apart by commas, each as scheme://host or scheme://host:port; same-host
    /// for pages of this server's own host and port; * for all. Others get 403 [default: same-host]
    allow_origin: String = "same-host".to_owned(), "ORIGINS", "RINGSOCK_ALLOW_ORIGIN";
    /// Addresses and networks of proxies whose X-Forwarded-For and PROXY headers are believed, set apart by commas:
    /// 127.0.0.1, 10.0.0.0/8, or none [default: none]
    trusted_proxies: String = "none".to_owned(), "NETWORKS", "RINGSOCK_TRUSTED_PROXIES";
    /// Every connection from a trusted proxy begins with a PROXY header, version 1 or 2 [default: false]
    proxy_protocol: bool = false, "BOOL", "RINGSOCK_PROXY_PROTOCOL";
    /// Bytes of one message, over all its fragments; above it 1009 [default: 65536]
    max_message_bytes: u64 = 64 * 1024, "BYTES", "RINGSOCK_MAX_MESSAGE_BYTES";
    /// Empty fragments in a row; above it 1008 [default: 64]
    max_empty_fragments: u32 = 64, "COUNT", "RINGSOCK_MAX_EMPTY_FRAGMENTS";
    /// Bytes of a request line; above it 414 [default: 8192]
    max_request_line_bytes: usize = 8 * 1024, "BYTES", "RINGSOCK_MAX_REQUEST_LINE_BYTES";
    /// Bytes of a request head; above it 431 [default: 16384]
    max_head_bytes: usize = 16 * 1024, "BYTES", "RINGSOCK_MAX_HEAD_BYTES";
    /// Headers of a request; above it 431 [default: 64]
    max_headers: usize = 64, "COUNT", "RINGSOCK_MAX_HEADERS";
    /// Bytes waiting to be sent to one session; above it, its input is not read [default: 262144]
    max_outbox_bytes: usize = 256 * 1024, "BYTES", "RINGSOCK_MAX_OUTBOX_BYTES";
    /// What becomes of a topic's messages for a subscriber whose outbox is full: close, drop-newest, drop-oldest or latest;
    /// for some topics otherwise, as in close,prices/*=latest [default: close]
    overflow: String = "close".to_owned(), "POLICIES", "RINGSOCK_OVERFLOW";
    /// How long what was published may wait for a subscriber before its outbox counts as full [default: 10000]
    outbox_age_ms: u64 = 10_000, "MS", "RINGSOCK_OUTBOX_AGE_MS";
    /// Bytes that were published and wait to be delivered on one core; from a quarter on, publishers are not read, and
    /// above it what they publish is dropped [default: 16777216]
    max_backlog_bytes: usize = 16 * 1024 * 1024, "BYTES", "RINGSOCK_MAX_BACKLOG_BYTES";
    /// Topics with subscribers on one core; above it a subscription is refused [default: 1000000]
    max_topics: usize = 1_000_000, "COUNT", "RINGSOCK_MAX_TOPICS";
    /// Entries of the ring from one core to another; what does not fit is dropped and counted [default: 1024]
    ring_entries: usize = 1024, "COUNT", "RINGSOCK_RING_ENTRIES";
    /// Key with which programs may publish by POST /api/publish, better given in the variable or the file, since others see
    /// flags; none for nobody [default: none]
    api_key: ApiKey = ApiKey(None), "KEY", "RINGSOCK_API_KEY", hide_env_values;
    /// Let programs publish without a key, which needs an address to listen on that only this host reaches
    /// [default: false]
    api_insecure: bool = false, "BOOL", "RINGSOCK_API_INSECURE";
    /// How messages are compressed with clients that offer it [default: off]
    compression: Compression = Compression::Off, "MODE", "RINGSOCK_COMPRESSION";
    /// From 1, the fastest, to 9, the smallest [default: 1]
    compression_level: u8 = 1, "LEVEL", "RINGSOCK_COMPRESSION_LEVEL";
    /// Bytes of a message from which on it is compressed [default: 256]
    compression_min_bytes: usize = 256, "BYTES", "RINGSOCK_COMPRESSION_MIN_BYTES";
    /// The largest window to compress with, as a power of two, 9 to 15 [default: 15]
    server_window_bits: u8 = 15, "BITS", "RINGSOCK_SERVER_WINDOW_BITS";
    /// The largest window clients are asked to compress with, 9 to 15 [default: 15]
    client_window_bits: u8 = 15, "BITS", "RINGSOCK_CLIENT_WINDOW_BITS";
    /// Sessions of one core with dedicated compression; further ones share [default: 1024]
    max_compression_contexts: usize = 1024, "COUNT", "RINGSOCK_MAX_COMPRESSION_CONTEXTS";
    /// How many times as large a compressed message may become; above it 1009; 0 for any [default: 100]
    max_inflation_ratio: u32 = 100, "RATIO", "RINGSOCK_MAX_INFLATION_RATIO";
    /// Time for a request, from the first moment of the connection [default: 5000]
    handshake_timeout_ms: u64 = 5_000, "MS", "RINGSOCK_HANDSHAKE_TIMEOUT_MS";
    /// Time for a message, from its first byte to its last; after it 1008 [default: 30000]
    assembly_timeout_ms: u64 = 30_000, "MS", "RINGSOCK_ASSEMBLY_TIMEOUT_MS";
    /// Time without any progress in sending, after which the peer is cut off [default: 10000]
    send_timeout_ms: u64 = 10_000, "MS", "RINGSOCK_SEND_TIMEOUT_MS";
    /// Silence after which a ping is sent; 0 for none [default: 25000]
    ping_interval_ms: u64 = 25_000, "MS", "RINGSOCK_PING_INTERVAL_MS";
    /// Silence after which the peer is cut off; 0 for never [default: 60000]
    dead_peer_timeout_ms: u64 = 60_000, "MS", "RINGSOCK_DEAD_PEER_TIMEOUT_MS";
    /// Time for a closing handshake [default: 5000]
    close_timeout_ms: u64 = 5_000, "MS", "RINGSOCK_CLOSE_TIMEOUT_MS";
    /// Time for saying goodbye to everyone after SIGTERM or SIGINT [default: 10000]
    drain_timeout_ms: u64 = 10_000, "MS", "RINGSOCK_DRAIN_TIMEOUT_MS";
    /// Time a core may hang before the server gives up; 0 for ever [default: 10000]
    stall_timeout_ms: u64 = 10_000, "MS", "RINGSOCK_STALL_TIMEOUT_MS";
}

/// What is wrong with the settings: the operator's to mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("The configuration file {path} cannot be read: {source}.")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("The configuration file {path} is not valid, {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A value that cannot work.
    #[error("{name} is {value}, but must be {rule}.")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// A key that cannot be sent in a header.
    #[error(
        "api-key has to be 1 to {} visible ASCII characters. Give a random one, such as openssl rand -hex 32 prints, or none.",
        Config::API_KEY_BYTES_MAX
    )]
    ApiKey,
    /// A key is needed, and none is.
    #[error("api-key asks for a key and api-insecure for none. Give one of them.")]
    ApiKeyAndInsecure,
    /// Strangers could publish.
    #[error(
        "api-insecure lets everyone publish who can connect, so it needs an address that only this host reaches, such as \
         127.0.0.1:9000, but listen is {listen}. Listen there, or give an api-key instead."
    )]
    ApiInsecure {
        /// Where to listen.
        listen: Address,
    },
}

impl Options {
    /// What a TOML file says; its keys are the flags' names with underscores.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::from_text(&text).map_err(|reason| ConfigError::Invalid { path: path.to_owned(), reason })
    }

    /// The reason of a failure is one line, as all of ours are: toml's own is a drawing.
    fn from_text(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            format!("line {line}: {}", error.message().trim().replace('\n', ", "))
        })
    }
}

impl Config {
    /// The most a message may be configured to have: what a handler can still take in one piece.
    pub const MESSAGE_BYTES_MAX: u64 = 1 << 30;
    /// The most headers a request may be configured to have.
    pub const HEADERS_MAX: usize = 256;
    /// The most handshakes that one address may be configured to have: their times are kept in microseconds.
    pub const HANDSHAKES_PER_SECOND_MAX: u32 = 1_000_000;

    /// The longest key: four times a random one of 32 bytes in hexadecimal digits, and a small part of a request's head.
    pub const API_KEY_BYTES_MAX: usize = 256;

    /// Refuses values that cannot work.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let window = "from 9 to 15";
        let rules: [(&'static str, u64, bool, &'static str); 18] = [
            (
                "max-message-bytes",
                self.max_message_bytes,
                (1..=Self::MESSAGE_BYTES_MAX).contains(&self.max_message_bytes),
                "from 1 to 1073741824 (1 GiB)",
            ),
            (
                "max-headers",
                self.max_headers as u64,
                (1..=Self::HEADERS_MAX).contains(&self.max_headers),
                "from 1 to 256",
            ),
            (
                "max-head-bytes",
                self.max_head_bytes as u64,
                (256..=256 * 1024).contains(&self.max_head_bytes),
                "from 256 to 262144 (256 KiB)",
            ),
            (
                "max-request-line-bytes",
                self.max_request_line_bytes as u64,
                (64..=self.max_head_bytes).contains(&self.max_request_line_bytes),
                "from 64 to max-head-bytes",
            ),
            ("max-outbox-bytes", self.max_outbox_bytes as u64, self.max_outbox_bytes >= 1024, "at least 1024"),
            (
                "compression-level",
                self.compression_level.into(),
                (1..=9).contains(&self.compression_level),
                "from 1 to 9",
            ),
            ("server-window-bits", self.server_window_bits.into(), (9..=15).contains(&self.server_window_bits), window),
            ("client-window-bits", self.client_window_bits.into(), (9..=15).contains(&self.client_window_bits), window),
            ("outbox-age-ms", self.outbox_age_ms, self.outbox_age_ms > 0, "above 0"),
            ("max-backlog-bytes", self.max_backlog_bytes as u64, self.max_backlog_bytes >= 1024, "at least 1024"),
            ("max-topics", self.max_topics as u64, (1..1 << 31).contains(&self.max_topics), "from 1 to 2147483647"),
            ("ring-entries", self.ring_entries as u64, (1..=1 << 20).contains(&self.ring_entries), "from 1 to 1048576"),
            ("handshake-timeout-ms", self.handshake_timeout_ms, self.handshake_timeout_ms > 0, "above 0"),
            ("close-timeout-ms", self.close_timeout_ms, self.close_timeout_ms > 0, "above 0"),
            ("send-timeout-ms", self.send_timeout_ms, self.send_timeout_ms > 0, "above 0"),
            ("cores", self.cores as u64, self.cores <= 1024, "at most 1024"),
            (
                "max-handshakes-per-address-per-second",
                self.max_handshakes_per_address_per_second.into(),
                self.max_handshakes_per_address_per_second <= Self::HANDSHAKES_PER_SECOND_MAX,
                "at most 1000000",
            ),
            (
                "max-handshake-burst-per-address",
                self.max_handshake_burst_per_address.into(),
                (1..=Self::HANDSHAKES_PER_SECOND_MAX).contains(&self.max_handshake_burst_per_address),
                "from 1 to 1000000",
            ),
        ];
        match rules.into_iter().find(|(.., holds, _)| !holds) {
            Some((name, value, _, rule)) => Err(ConfigError::Range { name, value, rule }),
            None => self.with_checked_api(),
        }
    }

    fn with_checked_api(self) -> Result<Self, ConfigError> {
        let can_be_sent = |key: &String| {
            (1..=Self::API_KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        };
        match &self.api_key.0 {
            Some(key) if !can_be_sent(key) => Err(ConfigError::ApiKey),
            Some(_) if self.api_insecure => Err(ConfigError::ApiKeyAndInsecure),
            None if self.api_insecure && !self.listen.is_loopback() => {
                Err(ConfigError::ApiInsecure { listen: self.listen })
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn an_earlier_source_wins_setting_by_setting() {
        let flags = Options { cores: Some(2), ..Options::default() };
        let file: Options = toml::from_str("cores = 4\nping_interval_ms = 0\nreactor = \"epoll\"").unwrap();
        let config = Config::from(flags.or(file));
        assert_eq!((config.cores, config.ping_interval_ms, config.reactor), (2, 0, Reactor::Epoll));
        assert_eq!(config.max_message_bytes, Config::default().max_message_bytes);
    }

    #[test]
    fn every_flag_states_its_unit_its_variable_and_its_real_default() {
        let defaults = format!("{:?}", Config::default());
        for flag in Flags::command().get_arguments() {
            let name = flag.get_id().as_str();
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            let default = help.rsplit_once("[default: ").and_then(|(_, text)| text.strip_suffix(']')).unwrap();
            let debug = match name {
                "listen" => format!("{{ listen: Address(\"{default}\")"),
                "admin_listen" => format!("admin_listen: AdminAddress(Some(Address(\"{default}\")))"),
                "reactor" => "reactor: Auto".to_owned(),
                "compression" => "compression: Off".to_owned(),
                "allow_origin" | "trusted_proxies" | "overflow" => format!("{name}: \"{default}\""),
                name => format!("{name}: {default}"),
            };
            assert!(defaults.contains(&debug), "{name} says {default}, but {defaults}");
            let env = flag.get_env().and_then(|env| env.to_str()).unwrap();
            assert_eq!(env, format!("RINGSOCK_{}", name.to_uppercase()));
        }
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let config = Config { max_headers: 1000, ..Config::default() };
        let error = config.checked().unwrap_err().to_string();
        assert_eq!(error, "max-headers is 1000, but must be from 1 to 256.");
        assert!(Config::default().checked().is_ok());
    }

    #[test]
    fn unknown_keys_of_a_file_are_refused_in_one_line() {
        let reason = Options::from_text("cores = 1\nmax_mesage_bytes = 1\n").unwrap_err();
        assert!(reason.starts_with("line 2: unknown field `max_mesage_bytes`"), "{reason}");
        assert!(!Options::from_text("cores = = 1").unwrap_err().contains('\n'));
    }

    #[test]
    fn a_key_is_shown_by_nothing() {
        let config = Config { api_key: "s3cret".parse().unwrap(), ..Config::default() };
        assert_eq!(config.api_key.0.as_deref(), Some("s3cret"));
        let long = Config { api_key: ApiKey(Some("s3cret".repeat(100))), ..Config::default() };
        let shown = [
            format!("{config:?}"),
            format!("{:?}", Options { api_key: Some(config.api_key.clone()), ..Options::default() }),
            format!("{:?}", long.checked().unwrap_err()),
            Options::from_text("api_key = s3cret").unwrap_err(),
            Options::from_text("api_key = [\"s3cret\"]").unwrap_err(),
            Options::from_text("api_key = \"s3cret\" s3cret").unwrap_err(),
            Options::from_text("api_key = \"s3cret\"\napi_key = \"s3cret\"").unwrap_err(),
        ];
        for shown in shown {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(Options::from_text("cores = 1\napi_key = 12345").unwrap_err(), "line 2: a key has to be a string");
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_refused() {
        let checked = |key: &str| Config { api_key: key.parse().unwrap(), ..Config::default() }.checked();
        for key in ["", " ", "a b", "ä", "a\n", &"x".repeat(257)] {
            assert!(matches!(checked(key), Err(ConfigError::ApiKey)), "{key:?}");
        }
        assert_eq!(checked(&"x".repeat(256)).unwrap().api_key.0.map(|key| key.len()), Some(256));
        assert_eq!(checked("none").unwrap(), Config::default());
    }

    #[test]
    fn publishing_without_a_key_is_for_this_host_alone() {
        let checked = |listen: &str| {
            Config { listen: listen.parse().unwrap(), api_insecure: true, ..Config::default() }.checked().map(drop)
        };
        for listen in ["127.0.0.1:0", "127.8.8.8:1", "[::1]:9000", "[::ffff:127.0.0.1]:1"] {
            assert!(checked(listen).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:9000", "[::]:9000", "192.0.2.1:9000", "[::ffff:192.0.2.1]:1", "no-such-host.invalid:1"]
        {
            let refused = checked(listen).unwrap_err().to_string();
            assert!(refused.contains(listen) && refused.contains("api-key"), "{refused}");
        }
        let both = Config { api_key: "k".parse().unwrap(), api_insecure: true, ..Config::default() };
        assert!(matches!(both.checked(), Err(ConfigError::ApiKeyAndInsecure)));
    }

    #[test]
    fn an_address_needs_a_port() {
        assert!("127.0.0.1".parse::<Address>().is_err());
        assert!(":9000".parse::<Address>().is_err());
        assert!("[::1]:9000".parse::<Address>().is_ok());
        assert!("localhost:9000".parse::<Address>().is_ok());
        let metrics = |text: &str| toml::from_str::<Options>(&format!("admin_listen = \"{text}\"")).map_err(drop);
        assert_eq!(metrics("none").unwrap().admin_listen, Some(AdminAddress(None)));
        assert_eq!(metrics("[::1]:1").unwrap().admin_listen, "[::1]:1".parse().ok());
        assert!(metrics("nowhere").is_err());
    }
}
