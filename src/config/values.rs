//! The configuration of a server: the parsed value and the default of every setting.
//!
//! Converts the settings into the limits of the engine and the access to the API. Never parses: that is for
//! [`Kind`](super::kind::Kind). Invariant: [`Layers::resolve`](super::Layers::resolve) fills in only values that are
//! valid by themselves, and returns none that contradict each other ([`Config::contradictions`](super::checks)).

use std::net::Ipv4Addr;

use super::checked::{LogFilter, OptionalKey};
use super::subprotocols::Subprotocols;
use super::tls::TlsConfig;
use crate::address::{Address, Listen};
use crate::engine::{Limits, Pinning, ReactorKind, STALL_TIMEOUT_MS};
use crate::protocol::deflate::Compression;
use crate::protocol::{Origins, TrustedProxies};
use crate::service::auth::AccessSettings;
use crate::service::hooks::HookSettings;
use crate::service::{ApiAccess, CrossOrigin, OverflowRules};

/// The port of the administrator's listener, the one after that of clients.
const ADMIN_PORT: u16 = 9001;

/// The compression of messages for clients that offer it (RFC 7692).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionMode {
    /// Not at all.
    #[default]
    Off,
    /// Each message by itself, without context takeover: a session keeps no streams.
    Shared,
    /// With context takeover: messages refer to earlier ones, for which a session keeps up to 320 KiB of streams
    /// ([`Compression::context_takeover`]).
    Dedicated,
}

/// The form of a line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// A JSON object, for programs.
    Json,
}

/// Every setting of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses to listen on.
    pub listen: Vec<Listen>,
    /// The address of the administrator's listener, if there is one.
    pub admin_listen: Option<Address>,
    /// The number of cores; 0 for one on each processor.
    pub cores: usize,
    /// How cores talk to the kernel.
    pub reactor: ReactorKind,
    /// The rule by which cores are pinned to processors.
    pub pin: Pinning,
    /// The time without a turn after which a core counts as stalled for good and the server ends; 0 for ever.
    pub stall_timeout_ms: u64,
    /// The limits of sessions and cores, without those of compression and of bodies: [`Config::limits`] adds them.
    pub limits: Limits,
    /// The compression of messages.
    pub compression_mode: CompressionMode,
    /// The parameters of compression, without `context_takeover`: [`Config::limits`] sets it by the mode.
    pub compression: Compression,
    /// TLS: its files and settings.
    pub tls: TlsConfig,
    /// Web pages that may open a WebSocket.
    pub origins: Origins,
    /// Proxies that are believed when they name their clients.
    pub trusted_proxies: TrustedProxies,
    /// Subprotocols that are spoken.
    pub subprotocols: Subprotocols,
    /// Policies for messages that a subscriber cannot take.
    pub overflow: OverflowRules,
    /// The key of the API.
    pub api_key: OptionalKey,
    /// True if the API needs no key.
    pub api_insecure: bool,
    /// Web pages that may use the API.
    pub api_allow_origin: CrossOrigin,
    /// Where tokens come from, issuers, roles, and keys of programs.
    pub access: AccessSettings,
    /// The backend that decides and is told.
    pub hooks: HookSettings,
    /// Events that the log shows.
    pub log_filter: LogFilter,
    /// The form of a line of the log.
    pub log_format: LogFormat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Listen::default()],
            admin_listen: Some(Address::Ip((Ipv4Addr::LOCALHOST, ADMIN_PORT).into())),
            cores: 0,
            reactor: ReactorKind::default(),
            pin: Pinning::default(),
            stall_timeout_ms: STALL_TIMEOUT_MS,
            limits: Limits::default(),
            compression_mode: CompressionMode::default(),
            compression: Compression::default(),
            tls: TlsConfig::default(),
            origins: Origins::default(),
            trusted_proxies: TrustedProxies::default(),
            subprotocols: Subprotocols::default(),
            overflow: OverflowRules::default(),
            api_key: OptionalKey::default(),
            api_insecure: false,
            api_allow_origin: CrossOrigin::default(),
            access: AccessSettings::default(),
            hooks: HookSettings::default(),
            log_filter: LogFilter::default(),
            log_format: LogFormat::default(),
        }
    }
}

impl Config {
    /// Returns the limits of the engine, with compression by its mode, and with bodies as large as messages.
    pub fn limits(&self) -> Limits {
        let context_takeover = self.compression_mode == CompressionMode::Dedicated;
        let compression = Compression { context_takeover, ..self.compression.clone() };
        Limits {
            compression: (self.compression_mode != CompressionMode::Off).then_some(compression),
            // The body of a request is the message that it publishes.
            body_bytes_max: self.limits.messages.message_bytes_max as usize,
            ..self.limits.clone()
        }
    }

    /// Returns the programs that may publish over HTTP.
    pub fn api_access(&self) -> ApiAccess {
        match &self.api_key.0 {
            Some(key) => ApiAccess::Key(key.text().into()),
            None if self.api_insecure => ApiAccess::Open,
            None => ApiAccess::Off,
        }
    }
}
