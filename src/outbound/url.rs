//! Addresses of key servers and backends, as an operator configures them.
//!
//! Invariant: a URL is https, or http to this host alone, since answers decide who may do what.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// The longest URL in bytes: every server takes one of this length.
const URL_BYTES_MAX: usize = 2048;

/// The URL of a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(reqwest::Url);

/// A text that is no URL to call: the operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// Not a URL.
    #[error("must be a URL, such as https://login.example.com/keys")]
    Malformed,
    /// Longer than the limit.
    #[error("must be a URL of at most {URL_BYTES_MAX} bytes, and has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not encrypted.
    #[error("must begin with https://, or with http:// and an address of this host, such as http://127.0.0.1:8080/")]
    NotEncrypted,
    /// With a user or a password in it.
    #[error("must not have a user or a password in it, since URLs are shown in logs")]
    UserInfo,
    /// With a fragment.
    #[error("must have no fragment (#)")]
    Fragment,
}

impl Url {
    pub(super) fn inner(&self) -> &reqwest::Url {
        &self.0
    }

    /// Returns the URL as a text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns whether another URL has the same scheme, host and port.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }
}

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(InvalidUrl::TooLong { bytes: text.len() });
        }
        let url = reqwest::Url::parse(text).map_err(|_| InvalidUrl::Malformed)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidUrl::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if is_this_host(host) => {}
            _ => return Err(InvalidUrl::NotEncrypted),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidUrl::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        Ok(Self(url))
    }
}

/// Returns whether a host of a URL is a loopback address, or `localhost` (RFC 6761 6.3).
fn is_this_host(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_and_this_host_are_called_and_nothing_else_is() {
        for text in [
            "https://login.example.com/keys",
            "https://192.0.2.1:8443/",
            "http://127.0.0.1:8080/hooks?a=b",
            "http://127.9.9.9/",
            "http://localhost:1/",
            "http://[::1]:8080/",
        ] {
            assert!(text.parse::<Url>().is_ok(), "{text}");
        }
        for (text, fault) in [
            ("", InvalidUrl::Malformed),
            ("/keys", InvalidUrl::Malformed),
            ("https://", InvalidUrl::Malformed),
            ("http://example.com/", InvalidUrl::NotEncrypted),
            ("http://localhost.example.com/", InvalidUrl::NotEncrypted),
            ("http://128.0.0.1/", InvalidUrl::NotEncrypted),
            ("http://[2001:db8::1]/", InvalidUrl::NotEncrypted),
            ("ftp://127.0.0.1/", InvalidUrl::NotEncrypted),
            ("https://user@example.com/", InvalidUrl::UserInfo),
            ("https://:secret@example.com/", InvalidUrl::UserInfo),
            ("https://example.com/#a", InvalidUrl::Fragment),
        ] {
            assert_eq!(text.parse::<Url>(), Err(fault), "{text}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(long.parse::<Url>(), Err(InvalidUrl::TooLong { bytes: long.len() }));
    }
}
