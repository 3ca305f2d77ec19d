//! Which web pages may open a WebSocket here (RFC 6455 section 10.2): the allow-list of origins.
//!
//! A browser sends the Origin of the page that asks (RFC 6454) and lets no script change it, so a page of somebody else
//! cannot use the cookies of a visitor here. Programs that are no browsers send what they like, and many send the URL they
//! connect to, with `ws` and `wss`. Invariants: an origin is compared whole, never by a part of its text; two spellings are
//! one origin only where RFC 3986 says that they name the same thing; what has no such form is nobody's.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::{self, FromStr};

use crate::protocol::http::grammar::is_digits;
use crate::protocol::http::{ForeignOrigin, Refusal};

/// Allowed origins. By default those of pages that were served by the same host and port as the WebSocket.
///
/// Read from text: a list of origins set apart by commas, with `same-host` for the default, `null` for pages that have no
/// origin of their own, and `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    same_host: bool,
    null: bool,
    listed: Vec<Origin<String>>,
}

impl Origins {
    /// Every origin, those of sandboxed pages and malformed ones included: for a service that knows its clients without
    /// cookies and addresses.
    pub fn any() -> Self {
        Self { any: true, ..Self::nobody() }
    }

    /// Whether a request with this Origin header, sent to this Host, may open a WebSocket. Without the header no browser
    /// asks, and it may.
    pub fn allow(&self, origin: Option<&[u8]>, host: Option<&str>) -> bool {
        let Some(value) = origin.filter(|_| !self.any) else { return true };
        if value == NULL.as_bytes() {
            return self.null;
        }
        let Some(origin) = str::from_utf8(value).ok().and_then(Origin::parse) else { return false };
        let same_host = self.same_host && host.is_some_and(|host| origin.is_served_by(host));
        same_host || self.listed.iter().any(|listed| listed.equals(&origin))
    }

    /// As [`allow`](Self::allow), with the refusal that says what was compared.
    pub fn admit(&self, origin: Option<&[u8]>, host: Option<&str>) -> Result<(), Refusal> {
        match origin.filter(|_| !self.allow(origin, host)) {
            None => Ok(()),
            Some(origin) => {
                let compared_with = host.filter(|_| self.same_host);
                Err(Refusal::ForbiddenOrigin(Box::new(ForeignOrigin::new(origin, compared_with))))
            }
        }
    }

    fn nobody() -> Self {
        Self { any: false, same_host: false, null: false, listed: Vec::new() }
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self { same_host: true, ..Self::nobody() }
    }
}

impl FromStr for Origins {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut origins = Self::nobody();
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

/// In the form in which it is read.
impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.any, ANY), (self.same_host, SAME_HOST), (self.null, NULL)];
        let words = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned());
        let all: Vec<String> = words.chain(self.listed.iter().map(Origin::to_string)).collect();
        f.write_str(&all.join(", "))
    }
}

/// What was to be an allowed origin and is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no origin. Give a scheme, a host and, if it is not the default, a port, such as https://chat.example or \
     http://127.0.0.1:8080, without a path or a final slash and with an international name in its ASCII form (xn--); or \
     same-host, null, file:// or *."
)]
pub struct InvalidOrigin {
    /// What was given.
    pub text: String,
}

/// Stands for the default in a list.
const SAME_HOST: &str = "same-host";

/// Stands for all in a list.
const ANY: &str = "*";

/// The Origin of pages that have none of their own: sandboxed ones, and files in most browsers (RFC 6454 section 6.1).
const NULL: &str = "null";

/// A scheme, a host and a port (RFC 6454 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<T> {
    /// That of the page, where a client wrote that of the WebSocket.
    scheme: T,
    /// Without the final dot of a name.
    host: T,
    /// That of the scheme if none was written; `None` if the scheme has none.
    port: Option<u16>,
}

impl<'a> Origin<&'a str> {
    /// Reads the serialisation of RFC 6454 section 6.2: `scheme://host` or `scheme://host:port`, nothing before, between
    /// or after. So lists, user names, paths and names that are not ASCII are no origins.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
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

    /// Whether a page of this origin came from this Host. Only the page's scheme is known, so its default port stands
    /// for the one that a Host header leaves out.
    fn is_served_by(&self, host: &str) -> bool {
        let (Some(default_port), Some((name, port))) = (default_port(self.scheme), split_port(host)) else {
            return false;
        };
        let port = match port {
            // RFC 3986 6.2.3: a colon without a port is no port.
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

/// The scheme of the pages that are served together with a WebSocket, whichever of the two a client names.
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

/// The port of pages of this scheme, and of the WebSockets beside them, where none is written (RFC 6455 section 3).
fn default_port(page_scheme: &str) -> Option<u16> {
    match page_scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Host and port of `host:port`, where a host in brackets has colons of its own.
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

/// The name without the dot of the root, which names the same host (RFC 3986 section 3.2.2).
fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns whether both are the same name, or the same IPv6 address in whatever form.
fn is_same_host(one: &str, other: &str) -> bool {
    // Most clients write the same bytes in both headers.
    one == other
        || one.eq_ignore_ascii_case(other)
        || ipv6(one).is_some_and(|address| ipv6(other).is_some_and(|other| address == other))
}

/// The address in brackets.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Not only those of pages: applications bring schemes of their own.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A name without a dot at either end, or an address.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &[u8]| !label.is_empty() && label.iter().copied().all(is_host_byte);
    host.as_bytes().split(|&byte| byte == b'.').all(is_label) || ipv6(host).is_some()
}

/// What schemes of applications have in the place of a host: nothing in `file://`, a dot in `app://.`, an id.
fn is_private_host(host: &str) -> bool {
    host.bytes().all(|byte| byte == b'.' || is_host_byte(byte)) || ipv6(host).is_some()
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

#[cfg(test)]
mod tests;
