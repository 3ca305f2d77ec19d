//! The table of all settings.
//!
//! Every setting is one row, so a flag, its environment variable, its key in a file, its default and its help cannot
//! disagree.

use std::net::Ipv4Addr;

use serde::Deserialize;

use super::subprotocols::Subprotocols;
use super::values::{AdminAddress, ApiKey, Compression, Pin, Reactor};
use crate::address::Address;

// What follows the variable are further attributes of the flag: `hide_env_values` keeps the help from showing what the
// variable is set to, `value_delimiter` makes a list. Behind `=>` stands what reads the key of a file.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $value:literal, $env:literal
        $(, $key:ident = $set:literal)* $(=> $read:literal)?;)+) => {
        /// What one source says.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields)]
        #[allow(rustdoc::broken_intra_doc_links, reason = "the texts are those of --help, and an IPv6 address is no link")]
        pub struct Options {
            $(
                $(#[doc = $doc])+
                #[arg(long, value_name = $value, env = $env $(, $key = $set)*)]
                $(#[serde(default, deserialize_with = $read)])?
                pub $name: Option<$type>,
            )+
        }

        impl Options {
            /// What this source says, or else the other.
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }
        }

        /// What holds.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(rustdoc::broken_intra_doc_links, reason = "the texts are those of --help, and an IPv6 address is no link")]
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
    /// Where to listen, set apart by commas: 127.0.0.1:9000, [::1]:9000, localhost:9000, or :9000 for all addresses of this
    /// host [default: 127.0.0.1:9000]
    listen: Vec<Address> = vec![loopback(9000)], "ADDRESSES", "RINGSOCK_LISTEN",
        value_delimiter = ',' => "super::values::one_or_more_addresses";
    /// Where to give metrics, on a listener of its own; none for nowhere [default: 127.0.0.1:9001]
    admin_listen: AdminAddress = AdminAddress(Some(loopback(9001))), "ADDRESS", "RINGSOCK_ADMIN_LISTEN";
    /// Cores, each a thread with its own listener and ring; 0 for one on each processor [default: 0]
    cores: usize = 0, "COUNT", "RINGSOCK_CORES";
    /// Whether each core is pinned to a processor: auto, if there are as many cores as processors that this process may use;
    /// always, or never [default: auto]
    pin: Pin = Pin::Auto, "WHEN", "RINGSOCK_PIN";
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
    /// Subprotocols that are spoken, set apart by commas; the first one that a client offers and that is among them is
    /// chosen; none for none [default: none]
    subprotocols: Subprotocols = Subprotocols::default(), "NAMES", "RINGSOCK_SUBPROTOCOLS";
    /// Addresses and networks of proxies whose X-Forwarded-For and PROXY headers are believed, set apart by commas:
    /// 127.0.0.1, 10.0.0.0/8, unix for whoever comes through a Unix socket, or none [default: none]
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
    api_key: ApiKey = ApiKey(None), "KEY", "RINGSOCK_API_KEY", hide_env_values = true;
    /// Let programs publish without a key, which needs an address to listen on that only this host reaches
    /// [default: false]
    api_insecure: bool = false, "BOOL", "RINGSOCK_API_INSECURE";
    /// Origins of web pages that may use /api, set apart by commas as in allow-origin; * for all; none for no page from
    /// elsewhere [default: none]
    api_allow_origin: String = "none".to_owned(), "ORIGINS", "RINGSOCK_API_ALLOW_ORIGIN";
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
    /// Time in which a peer takes nothing of what it is sent, after which it is cut off [default: 10000]
    send_timeout_ms: u64 = 10_000, "MS", "RINGSOCK_SEND_TIMEOUT_MS";
    /// Silence after which a ping is sent; 0 for none [default: 25000]
    ping_interval_ms: u64 = 25_000, "MS", "RINGSOCK_PING_INTERVAL_MS";
    /// Silence, in which the peer takes nothing of what it is sent either, after which it is cut off; 0 for never
    /// [default: 60000]
    dead_peer_timeout_ms: u64 = 60_000, "MS", "RINGSOCK_DEAD_PEER_TIMEOUT_MS";
    /// Time for a closing handshake, once the peer takes nothing more of what was sent before [default: 5000]
    close_timeout_ms: u64 = 5_000, "MS", "RINGSOCK_CLOSE_TIMEOUT_MS";
    /// Time for which the server still accepts and serves after a signal to end, with /readyz at 503 [default: 0]
    drain_delay_ms: u64 = 0, "MS", "RINGSOCK_DRAIN_DELAY_MS";
    /// Time over which sessions are then told 1001, in even shares; 0 for all at once [default: 0]
    drain_spread_ms: u64 = 0, "MS", "RINGSOCK_DRAIN_SPREAD_MS";
    /// Time for all sessions to end once they have been told; after it they are cut off [default: 10000]
    drain_timeout_ms: u64 = 10_000, "MS", "RINGSOCK_DRAIN_TIMEOUT_MS";
    /// Time a core may hang before the server gives up; 0 for ever [default: 10000]
    stall_timeout_ms: u64 = 10_000, "MS", "RINGSOCK_STALL_TIMEOUT_MS";
}

/// A port that only this host reaches.
fn loopback(port: u16) -> Address {
    Address::Ip((Ipv4Addr::LOCALHOST, port).into())
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
                "listen" => format!("{{ listen: [Ip({default})]"),
                "admin_listen" => format!("admin_listen: AdminAddress(Some(Ip({default})))"),
                "reactor" => "reactor: Auto".to_owned(),
                "pin" => "pin: Auto".to_owned(),
                "compression" => "compression: Off".to_owned(),
                "subprotocols" => "subprotocols: Subprotocols([])".to_owned(),
                "allow_origin" | "api_allow_origin" | "trusted_proxies" | "overflow" => {
                    format!("{name}: \"{default}\"")
                }
                name => format!("{name}: {default}"),
            };
            assert!(defaults.contains(&debug), "{name} says {default}, but {defaults}");
            let env = flag.get_env().and_then(|env| env.to_str()).unwrap();
            assert_eq!(env, format!("RINGSOCK_{}", name.to_uppercase()));
        }
    }
}
