//! Which web pages may open a WebSocket here (RFC 6455 section 10.2): the allow-list of origins.
//!
//! A browser sends the Origin of the page that asks (RFC 6454) and lets no script change it, so a page of somebody else
//! cannot use the cookies of a visitor here. Never protects from programs that are no browsers: they send what they
//! like. Invariants: an origin is compared whole, never by a part of its text; what is not an origin in the form that
//! browsers send is nobody's.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::{self, FromStr};

use super::head::is_digits;

/// Allowed origins. By default those of pages that were served by the same host and port as the WebSocket.
///
/// Read from text: a list of origins set apart by commas, with `same-host` for the default and `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    same_host: bool,
    listed: Vec<Origin<String>>,
}

impl Origins {
    /// Every origin, those of sandboxed pages and malformed ones included: for a service that knows its clients without
    /// cookies and addresses.
    pub fn any() -> Self {
        Self { any: true, same_host: false, listed: Vec::new() }
    }

    /// Whether a request with this Origin header, sent to this Host, may open a WebSocket. Without the header no browser
    /// asks, and it may.
    pub fn allow(&self, origin: Option<&[u8]>, host: Option<&str>) -> bool {
        let Some(value) = origin.filter(|_| !self.any) else { return true };
        let Some(origin) = str::from_utf8(value).ok().and_then(Origin::parse) else { return false };
        let same_host = self.same_host && host.is_some_and(|host| origin.is_served_by(host));
        same_host || self.listed.iter().any(|listed| listed.equals(&origin))
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self { any: false, same_host: true, listed: Vec::new() }
    }
}

impl FromStr for Origins {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut origins = Self { any: false, same_host: false, listed: Vec::new() };
        for element in text.split(',').map(str::trim) {
            match element {
                ANY => origins.any = true,
                SAME_HOST => origins.same_host = true,
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
        let words = [(self.any, ANY), (self.same_host, SAME_HOST)];
        let words = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned());
        let all: Vec<String> = words.chain(self.listed.iter().map(Origin::to_string)).collect();
        f.write_str(&all.join(", "))
    }
}

/// What was to be an allowed origin and is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no origin. Give a scheme, a host and, if it is not the default, a port, such as https://chat.example or \
     http://127.0.0.1:8080, without a path and with an international name in its ASCII form (xn--); or same-host, or *."
)]
pub struct InvalidOrigin {
    /// What was given.
    pub text: String,
}

/// Stands for the default in a list.
const SAME_HOST: &str = "same-host";

/// Stands for all in a list.
const ANY: &str = "*";

/// A scheme, a host and a port (RFC 6454 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<T> {
    scheme: T,
    host: T,
    /// That of the scheme if none was written; `None` if the scheme has none.
    port: Option<u16>,
}

impl<'a> Origin<&'a str> {
    /// Reads the serialisation of RFC 6454 section 6.2: `scheme://host` or `scheme://host:port`, nothing before, between
    /// or after. So `null`, lists, user names, paths and names that are not ASCII are no origins.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split_port(rest)?;
        let is_port = |digits: &str| !digits.starts_with('0') && is_digits(digits.as_bytes());
        let port = match port {
            Some(digits) => Some(digits.parse().ok().filter(|_| is_port(digits))?),
            None => default_port(scheme),
        };
        (is_scheme(scheme) && is_host_name(host)).then_some(Self { scheme, host, port })
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
        name.eq_ignore_ascii_case(self.host) && port == self.port
    }
}

impl<T: AsRef<str>> Origin<T> {
    fn equals(&self, other: &Origin<&str>) -> bool {
        let same_scheme = self.scheme.as_ref() == other.scheme;
        same_scheme && self.host.as_ref().eq_ignore_ascii_case(other.host) && self.port == other.port
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

/// The schemes of pages that are served to browsers.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Host and port of `host:port`, where a host in brackets has colons of its own.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    let name_end = match text.find(']') {
        Some(bracket) => bracket + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(name_end);
    match port.strip_prefix(':') {
        Some(port) => Some((name, Some(port))),
        None => port.is_empty().then_some((name, None)),
    }
}

/// In lower case, as browsers write it. Not only those of pages: applications bring schemes of their own.
fn is_scheme(scheme: &str) -> bool {
    let mut bytes = scheme.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}

/// A name without a dot at either end, or an address.
fn is_host_name(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let good = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    host.split('.').all(good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(origins: &Origins, origin: &str, host: &str) -> bool {
        origins.allow(Some(origin.as_bytes()), Some(host))
    }

    #[test]
    fn a_page_of_the_same_host_and_port_may_connect() {
        for (origin, host) in [
            ("http://example.com", "example.com"),
            ("http://example.com", "example.com:80"),
            ("http://example.com", "example.com:"),
            ("https://example.com", "example.com"),
            ("https://example.com", "example.com:443"),
            ("https://example.com:443", "example.com"),
            ("https://example.com:8443", "example.com:8443"),
            ("http://example.com", "EXAMPLE.com"),
            ("http://Example.COM:9000", "example.com:9000"),
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://[::1]:9000", "[::1]:9000"),
            ("http://localhost", "localhost"),
            ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("https://my_host.example", "my_host.example"),
        ] {
            assert!(allows(&Origins::default(), origin, host), "{origin} at {host}");
        }
    }

    /// Origins that are not that of a page at `https://example.com`, however much they look like it.
    const TRICKS: &[&str] = &[
        "",
        " ",
        "null",
        "NULL",
        "*",
        "same-host",
        "https://",
        "://example.com",
        "//example.com",
        "example.com",
        "https:example.com",
        "https:/example.com",
        "https:///example.com",
        "https://example.com.evil",
        "https://example.com.evil.test",
        "https://evilexample.com",
        "https://evil-example.com",
        "https://evil.example.com",
        "https://www.example.com",
        "https://example.co",
        "https://example.comm",
        "https://xample.com",
        "https://example.com.",
        "https://.example.com",
        "https://example..com",
        "HTTPS://example.com",
        "Https://example.com",
        "http://example.com:443x",
        "ftp://example.com",
        "javascript://example.com",
        "data:https://example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://example.com#x",
        "https://example.com\\",
        "https://evil.test\\example.com",
        "https://evil.test/https://example.com",
        "https://user@example.com",
        "https://user:pass@example.com",
        "https://example.com@evil.test",
        "https://example.com:443@evil.test",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:0443",
        "https://example.com:+443",
        "https://example.com:-443",
        "https://example.com:443 ",
        "https://example.com:65979",
        "https://example.com:444",
        "https://example.com:80",
        "https://example.com:443:443",
        "https://example.com, https://evil.test",
        "https://example.com https://evil.test",
        "https://evil.test https://example.com",
        "https://evil.test,https://example.com",
        "https://example%2ecom",
        "https://example.com%00.evil.test",
        "https://example.com\0",
        "https://example.com\t",
        " https://example.com",
        "https:// example.com",
        "https://example\u{3002}com",
        "https://ex\u{e4}mple.com",
        "https://\u{435}xample.com",
        "https://xn--xample-2of.com",
        "https://[example.com]",
        "https://[::1]",
        "https://[::1]example.com",
        "https://example.com[::1]",
        "https://[::ffff:1.2.3.4%25lo]",
        "https://93.184.216.34",
        "https://1572395042",
        "file://",
        "file://example.com",
        "chrome-extension://example.com",
        "https+x://example.com",
        "https://https://example.com",
    ];

    #[test]
    fn no_trick_passes_for_the_same_host_nor_for_a_listed_origin() {
        let listed: Origins = "https://example.com".parse().unwrap();
        assert!(TRICKS.len() >= 60);
        for trick in TRICKS {
            assert!(!allows(&Origins::default(), trick, "example.com"), "same host: {trick:?}");
            assert!(!allows(&listed, trick, "example.com"), "listed: {trick:?}");
            assert!(!allows(&listed, trick, "elsewhere.test"), "listed: {trick:?}");
        }
        for bytes in [&b"https://example.com\xff"[..], b"\xff", b"https://\xc0\xae.com"] {
            assert!(!Origins::default().allow(Some(bytes), Some("example.com")));
        }
    }

    #[test]
    fn the_same_name_on_another_port_is_another_host() {
        for (origin, host) in [
            ("http://example.com", "example.com:443"),
            ("https://example.com", "example.com:80"),
            ("http://example.com", "example.com:9000"),
            ("http://example.com:9000", "example.com"),
            ("http://[::1]", "[::1]:9000"),
            ("http://[::1]", "[::2]"),
            ("http://example.com", "example.com."),
            ("capacitor://localhost", "localhost"),
        ] {
            assert!(!allows(&Origins::default(), origin, host), "{origin} at {host}");
        }
        assert!(!Origins::default().allow(Some(b"http://a"), None), "HTTP/1.0 without a Host");
    }

    #[test]
    fn who_sends_no_origin_is_no_browser_and_may_connect() {
        for origins in ["same-host", "https://example.com", "*"] {
            assert!(origins.parse::<Origins>().unwrap().allow(None, Some("example.com")));
        }
    }

    #[test]
    fn a_listed_origin_may_connect_to_whatever_host() {
        let origins: Origins = "https://chat.example, http://127.0.0.1:8080,capacitor://localhost".parse().unwrap();
        for origin in [
            "https://chat.example",
            "https://chat.example:443",
            "https://CHAT.example",
            "http://127.0.0.1:8080",
            "capacitor://localhost",
        ] {
            assert!(allows(&origins, origin, "elsewhere.test"), "{origin}");
        }
        for origin in ["http://chat.example", "http://127.0.0.1", "capacitor://localhost:1", "http://elsewhere.test"] {
            assert!(!allows(&origins, origin, "elsewhere.test"), "{origin}: a list says all that is allowed");
        }
        let both: Origins = "same-host,https://chat.example".parse().unwrap();
        assert!(allows(&both, "http://elsewhere.test", "elsewhere.test"));
        assert!(allows(&both, "https://chat.example", "elsewhere.test"));
    }

    #[test]
    fn a_star_allows_everyone() {
        let origins: Origins = "*".parse().unwrap();
        assert_eq!(origins, Origins::any());
        for origin in ["null", "https://evil.test", "", "nonsense"] {
            assert!(allows(&origins, origin, "example.com"));
        }
    }

    #[test]
    fn a_list_that_no_browser_could_match_is_refused() {
        for text in [
            "",
            "https://a,",
            "null",
            "https://a/",
            "a",
            "https://*.example",
            "HTTPS://a",
            "https://b\u{fc}cher.example",
            "https://a:0",
            "https://a b",
        ] {
            let element = text.split(',').map(str::trim).find(|element| *element != "https://a").unwrap();
            assert_eq!(text.parse::<Origins>(), Err(InvalidOrigin { text: element.to_owned() }), "{text}");
        }
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in ["same-host", "*", "same-host, https://a, http://b:8080, https://c", "http://[::1]:9000"] {
            let origins: Origins = text.parse().unwrap();
            assert_eq!(origins.to_string(), text);
        }
        assert_eq!("https://a:443".parse::<Origins>().unwrap().to_string(), "https://a");
    }

    proptest! {
        #[test]
        fn what_is_allowed_is_the_listed_origin_itself(
            before in "(|a|https?:|//|[ -~]{0,3})",
            core in prop_oneof![Just("https://example.com".to_owned()), "https?://example\\.com(:[0-9]{0,5})?", "\\PC{0,30}"],
            after in "(|\\.|/|[ -~]{0,3}|\\PC{0,3})",
        ) {
            let text = format!("{before}{core}{after}");
            let spellings = ["https://example.com", "https://example.com:443"];
            let same = spellings.iter().any(|own| own.eq_ignore_ascii_case(&text)) && text.starts_with("https");
            let listed: Origins = "https://example.com".parse().unwrap();
            prop_assert_eq!(allows(&listed, &text, "example.com"), same, "{}", text);
            prop_assert!(!allows(&Origins::default(), &text, "example.com:9000") || text.ends_with(":9000"));
        }
    }
}
