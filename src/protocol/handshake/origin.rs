//! The allow-list of origins: the web pages that may open a WebSocket (RFC 6455 section 10.2).
//!
//! A browser sends the Origin of the requesting page (RFC 6454) and lets no script change it, so a foreign page cannot
//! use a visitor's cookies. Programs other than browsers send any Origin, and many send the URL they connect to, with
//! `ws` and `wss`. Owns the comparison of origins; never reads other headers. Invariants: an origin is compared as a
//! whole, never by a part of its text; two spellings are one origin only where RFC 3986 makes them equivalent; a value
//! that is not an origin matches none.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::{self, FromStr};

use crate::protocol::http::grammar::is_digits;
use crate::protocol::http::{ForeignOrigin, Refusal};

/// The origins whose web pages may open a WebSocket: `"https://chat.example, same-host".parse::<Origins>()`. The
/// default allows pages served by the same host and port as the WebSocket.
///
/// Parsed from a comma-separated list of origins, with `same-host` for the default, `null` for pages without an origin
/// of their own, and `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    same_host: bool,
    null: bool,
    listed: Vec<Origin<String>>,
}

impl Origins {
    /// Allows every origin, including sandboxed pages and malformed values: for a service that identifies its clients
    /// without cookies and addresses.
    pub fn any() -> Self {
        Self { any: true, ..Self::none() }
    }

    /// Returns whether a request with this Origin header, sent to this Host, may open a WebSocket. A request without
    /// the header may, because it does not come from a browser.
    pub fn allow(&self, origin: Option<&[u8]>, host: Option<&str>) -> bool {
        let Some(value) = origin.filter(|_| !self.any) else { return true };
        if value == NULL.as_bytes() {
            return self.null;
        }
        let Some(origin) = str::from_utf8(value).ok().and_then(Origin::parse) else { return false };
        let same_host = self.same_host && host.is_some_and(|host| origin.is_served_by(host));
        same_host || self.listed.iter().any(|listed| listed.equals(&origin))
    }

    /// Checks as [`allow`](Self::allow) does, and returns a refusal that names the compared values.
    pub(crate) fn admit(&self, origin: Option<&[u8]>, host: Option<&str>) -> Result<(), Refusal> {
        match origin.filter(|_| !self.allow(origin, host)) {
            None => Ok(()),
            Some(origin) => {
                let compared_with = host.filter(|_| self.same_host);
                Err(Refusal::ForbiddenOrigin(Box::new(ForeignOrigin::new(origin, compared_with))))
            }
        }
    }

    fn none() -> Self {
        Self { any: false, same_host: false, null: false, listed: Vec::new() }
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self { same_host: true, ..Self::none() }
    }
}

impl FromStr for Origins {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut origins = Self::none();
        for element in text.split(',').map(str::trim) {
            match element {
                ANY => origins.any = true,
                SAME_HOST => origins.same_host = true,
                NULL => origins.null = true,
                text => match Origin::parse(text) {
                    Some(Origin { scheme, host, port }) => {
                        origins.listed.push(Origin { scheme: scheme.to_owned(), host: host.to_owned(), port });
                    }
                    None => return Err(InvalidOrigin { text: text.to_owned() }),
                },
            }
        }
        Ok(origins)
    }
}

/// Writes the form that `FromStr` parses.
impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.any, ANY), (self.same_host, SAME_HOST), (self.null, NULL)];
        let words = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned());
        let all: Vec<String> = words.chain(self.listed.iter().map(Origin::to_string)).collect();
        f.write_str(&all.join(", "))
    }
}

/// The error for text that is not an allowed origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a valid origin. Give a scheme, a host and, if it is not the default, a port, such as \
     https://chat.example or http://127.0.0.1:8080, without a path or a final slash and with an international name in \
     its ASCII form (xn--); or same-host, null, file:// or *."
)]
#[non_exhaustive]
pub struct InvalidOrigin {
    /// The text as it was given.
    pub text: String,
}

/// The word for the default in a list.
const SAME_HOST: &str = "same-host";

/// The word for all origins in a list.
const ANY: &str = "*";

/// The Origin of pages without one of their own: sandboxed pages, and files in most browsers (RFC 6454 section 6.1).
const NULL: &str = "null";

/// A scheme, a host and a port (RFC 6454 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<T> {
    /// The scheme of the page, `http` or `https`, even if the client wrote `ws` or `wss`; or that of an application.
    scheme: T,
    /// The host, without the final dot of a name.
    host: T,
    /// The port, by default that of the scheme; `None` if the scheme has none.
    port: Option<u16>,
}

impl<'a> Origin<&'a str> {
    /// Parses the serialisation of RFC 6454 section 6.2: `scheme://host` or `scheme://host:port`, with nothing before,
    /// between or after. Lists, user names, paths and names outside ASCII are therefore not origins.
    fn parse(text: &'a str) -> Option<Self> {
        // No scheme contains a colon. A search for all of "://" takes 190 instructions more for each WebSocket.
        let (scheme, rest) = text.split_once(':')?;
        let rest = rest.strip_prefix("//")?;
        let (host, port) = split_port(rest)?;
        let is_port = |digits: &str| !digits.starts_with('0') && is_digits(digits.as_bytes());
        let port = port.map(|digits| digits.parse().ok().filter(|_| is_port(digits)));
        match (page_scheme(scheme), port) {
            (_, Some(None)) => None,
            (Some(scheme), port) => {
                let (host, port) = (without_final_dot(host), port.flatten().or(default_port(scheme)));
                is_host_name(host).then_some(Self { scheme, host, port })
            }
            (None, port) => {
                (is_scheme(scheme) && is_private_host(host)).then_some(Self { scheme, host, port: port.flatten() })
            }
        }
    }

    /// Returns whether a page of this origin was served by this Host. Only the page's scheme is known, so its default
    /// port stands for a port that the Host header omits.
    fn is_served_by(&self, host: &str) -> bool {
        let (Some(default_port), Some((name, port))) = (default_port(self.scheme), split_port(host)) else {
            return false;
        };
        let port = match port {
            // RFC 3986 6.2.3: a colon without a port means no port.
            None | Some("") => Some(default_port),
            Some(digits) => digits.parse().ok(),
        };
        is_same_host(without_final_dot(name), self.host) && port == self.port
    }
}

impl<T: AsRef<str>> Origin<T> {
    fn equals(&self, other: &Origin<&str>) -> bool {
        let same_scheme = self.scheme.as_ref().eq_ignore_ascii_case(other.scheme);
        same_scheme && is_same_host(self.host.as_ref(), other.host) && self.port == other.port
    }
}

impl<T: AsRef<str>> fmt::Display for Origin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.scheme.as_ref(), self.host.as_ref());
        match self.port.filter(|_| self.port != default_port(scheme)) {
            Some(port) => write!(f, "{scheme}://{host}:{port}"),
            None => write!(f, "{scheme}://{host}"),
        }
    }
}

/// Returns the scheme of the pages that are served together with a WebSocket, for either of their schemes.
fn page_scheme(scheme: &str) -> Option<&'static str> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("https") || is("wss") {
        Some("https")
    } else if is("http") || is("ws") {
        Some("http")
    } else {
        None
    }
}

/// Returns the default port of pages with this scheme, and of the WebSockets beside them (RFC 6455 section 3).
fn default_port(page_scheme: &str) -> Option<u16> {
    match page_scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Splits `host:port` into host and port; a host in brackets has colons of its own.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    let bytes = text.as_bytes();
    let name_end = match memchr::memchr(b']', bytes) {
        Some(bracket) => bracket + 1,
        None => memchr::memchr(b':', bytes).unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(name_end);
    match port.strip_prefix(':') {
        Some(port) => Some((name, Some(port))),
        None => port.is_empty().then_some((name, None)),
    }
}

/// Returns the name without the dot of the root, which names the same host (RFC 3986 section 3.2.2).
fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns whether both are the same name, or the same IPv6 address in any form.
fn is_same_host(one: &str, other: &str) -> bool {
    // Most clients write the same bytes in both headers.
    one == other
        || one.eq_ignore_ascii_case(other)
        || ipv6(one).is_some_and(|address| ipv6(other).is_some_and(|other| address == other))
}

/// Parses an IPv6 address in brackets.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Returns whether this is a scheme, of web pages or of an application.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Returns whether this is a name without a dot at either end, or an address.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &[u8]| !label.is_empty() && label.iter().copied().all(is_host_byte);
    host.as_bytes().split(|&byte| byte == b'.').all(is_label) || ipv6(host).is_some()
}

/// Returns whether an application's scheme may have this host: nothing in `file://`, a dot in `app://.`, an id.
fn is_private_host(host: &str) -> bool {
    host.bytes().all(|byte| byte == b'.' || is_host_byte(byte)) || ipv6(host).is_some()
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

#[cfg(test)]
mod tests;
