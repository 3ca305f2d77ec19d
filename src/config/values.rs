//! The values that settings have beyond numbers: each parsed once, into a type that cannot be wrong.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer, Error as _, SeqAccess, Visitor};

use crate::address::{Address, AddressError};

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

/// Reads one address, a list of them, or one text with several set apart by commas.
pub(super) fn one_or_more_addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Address>>, D::Error> {
    deserializer.deserialize_any(OneOrMore).map(Some)
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Vec<Address>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"127.0.0.1:9000\", or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Address::list(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<Self::Value, E> {
        Address::list(&port.to_string()).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut addresses = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            addresses.push(text.parse().map_err(de::Error::custom)?);
        }
        if addresses.is_empty() { Err(de::Error::custom("listen is an empty list")) } else { Ok(addresses) }
    }
}

/// Where to tell of the server, as it was written: an address, or `none`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AdminAddress(pub Option<Address>);

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = (text.trim() != "none").then(|| text.parse()).transpose();
        address.map(Self).map_err(|error: AddressError| format!("{error} For no metrics, give none."))
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

    fn read(text: &str) -> Result<Options, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_file_names_one_address_or_several() {
        let addresses = |list: &str| Address::list(list).ok();
        for (text, expected) in [
            ("\"127.0.0.1:9000\"", "127.0.0.1:9000"),
            ("\"127.0.0.1:9000, [::1]:9000\"", "127.0.0.1:9000,[::1]:9000"),
            ("[\"127.0.0.1:9000\", \"[::1]:9000\"]", "127.0.0.1:9000,[::1]:9000"),
            ("9000", ":9000"),
        ] {
            assert_eq!(read(&format!("listen = {text}")).unwrap().listen, addresses(expected), "{text}");
        }
        for (text, reason) in [
            ("[]", "listen is an empty list"),
            ("\"\"", "An address is empty."),
            ("[\"127.0.0.1\"]", "\"127.0.0.1\" has no port."),
            ("65536", "\"65536\", which is none."),
            ("true", "an address such as"),
        ] {
            let error = read(&format!("listen = {text}")).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let path = read("listen = [\"unix:/run/a,b.sock\"]").unwrap().listen.unwrap();
        assert_eq!(path[0].to_string(), "unix:/run/a,b.sock");
    }

    #[test]
    fn metrics_are_given_at_one_address_or_nowhere() {
        let metrics = |text: &str| read(&format!("admin_listen = \"{text}\"")).map(|options| options.admin_listen);
        assert_eq!(metrics("none").unwrap(), Some(AdminAddress(None)));
        assert_eq!(metrics("[::1]:1").unwrap(), "[::1]:1".parse().ok());
        assert!(metrics("nowhere").unwrap_err().contains("\"nowhere\" has no port. Write nowhere:9000."));
    }
}
