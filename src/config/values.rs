//! The values that settings have beyond numbers: each parsed once, into a type that cannot be wrong.

use std::convert::Infallible;
use std::fmt;
use std::net::ToSocketAddrs;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

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

/// When cores are pinned to processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// If there are as many as processors that the process may use.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// Never.
    Never,
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
    pub(super) fn is_loopback(&self) -> bool {
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

impl ApiKey {
    /// The longest key: four times a random one of 32 bytes in hexadecimal digits, and a small part of a request's head.
    pub const BYTES_MAX: usize = 256;
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

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
