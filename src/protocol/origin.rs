//! Which web pages may open a WebSocket here (RFC 6455 section 10.2): the allow-list of origins.
//!
//! A browser sends the Origin of the page that asks (RFC 6454) and lets no script change it, so a page of somebody else
//! cannot use the cookies of a visitor here. Programs that are no browsers send what they like, and many send the URL they
//! connect to, with `ws` and `wss`. Invariants: an origin is compared whole, never by a part of its text; two spellings are
//! one origin only where RFC 3986 says that they name the same thing; what has no such form is nobody's.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::{self, FromStr};

use super::foreign_origin::ForeignOrigin;
use super::head::is_digits;
use super::refusal::Refusal;

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
            // What programs send that take the URL they connect to for their origin.
            ("ws://127.0.0.1:9700", "127.0.0.1:9700"),
            ("ws://localhost:9000", "localhost:9000"),
            ("ws://example.com", "example.com"),
            ("ws://example.com:80", "example.com"),
            ("ws://example.com", "example.com:80"),
            ("wss://example.com", "example.com"),
            ("wss://example.com", "example.com:443"),
            ("wss://example.com:443", "example.com"),
            ("wss://example.com:8443", "example.com:8443"),
            ("ws://[::1]:9000", "[::1]:9000"),
            ("WSS://Example.COM", "example.com"),
            ("HTTPS://example.com", "example.com"),
            ("Https://example.com", "EXAMPLE.COM:443"),
            // The dot of the root names the same host.
            ("https://example.com.", "example.com"),
            ("https://example.com", "example.com."),
            ("https://example.com.:443", "example.com"),
            ("wss://example.com.", "example.com.:443"),
            ("http://localhost.:9000", "localhost:9000"),
            ("http://127.0.0.1.:9000", "127.0.0.1:9000"),
            // An IPv6 address in another form.
            ("http://[0:0:0:0:0:0:0:1]:9000", "[::1]:9000"),
            ("http://[2001:DB8::1]", "[2001:db8:0::1]"),
            ("http://[::ffff:1.2.3.4]", "[::ffff:102:304]"),
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
        "https://example.com..",
        "https://example.com.:443.",
        "https://.",
        "https://..",
        "https://.example.com",
        "https://.example.com.",
        "https://example..com",
        "httpss://example.com",
        "wsss://example.com",
        "ws+https://example.com",
        "https ://example.com",
        " wss://example.com",
        "wss://example.com.evil.test",
        "wss://evil.test",
        "wss://example.com/",
        "wss://user@example.com",
        "wss://example.com:80",
        "wss:example.com",
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
        "https://[::1%25eth0]",
        "https://[::1].",
        "https://[::1]:",
        "https://[example.com].",
        "https://example.com.[::1]",
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
            ("http://[::1]", "::1"),
            ("http://example.com", "example.com.."),
            ("http://example.com.", "example.com.."),
            ("http://example.com", "."),
            ("ws://example.com", "example.com:443"),
            ("wss://example.com", "example.com:80"),
            ("wss://example.com:443", "example.com:80"),
            ("ws://example.com", "example.com:9000"),
            ("http://localhost", "127.0.0.1"),
            ("http://127.0.0.1:9000", "localhost:9000"),
            ("http://[::1]:9000", "localhost:9000"),
            ("http://[::ffff:127.0.0.1]", "127.0.0.1"),
            // Pages of applications come from no host.
            ("capacitor://localhost", "localhost"),
            ("ionic://localhost", "localhost"),
            ("tauri://localhost", "localhost"),
            ("app://localhost", "localhost"),
            ("file://", "localhost"),
            ("file://localhost", "localhost"),
            ("null", "null"),
            ("null", "localhost"),
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
    fn origins_of_applications_can_be_listed_and_are_compared_whole() {
        let listed = [
            "null",
            "file://",
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "app://.",
            "app://-",
            "app://obsidian.md",
            "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
            "moz-extension://f2d5d1c0-0b5f-4a0b-9a55-8a2d0f7c9e11",
            "safari-web-extension://8B1A9953-C461-4A3D-9C1E-1F0A1B2C3D4E",
            "vscode-webview://1a2b3c",
        ];
        for own in listed {
            let origins: Origins = own.parse().unwrap();
            for other in listed {
                assert_eq!(allows(&origins, other, "localhost"), own == other, "{other} where {own} is listed");
            }
            for other in [
                "NULL",
                "nul",
                "null.",
                "null:",
                "file:///",
                "file://.",
                "file:///etc",
                "file:",
                "app://",
                "app://..",
                "",
                "http://localhost",
            ] {
                assert!(!allows(&origins, other, "localhost"), "{other} where {own} is listed");
            }
            assert_eq!(origins.to_string(), own);
        }
        let many: Origins = "same-host, null, file://".parse().unwrap();
        assert!(["null", "file://", "http://a"].iter().all(|origin| allows(&many, origin, "a")));
        assert!(!allows(&many, "http://b", "a"));
    }

    #[test]
    fn a_listed_origin_may_be_written_as_the_url_of_the_websocket_or_with_its_port() {
        let spellings = [
            "https://a.test",
            "https://a.test:443",
            "wss://a.test",
            "wss://A.test:443",
            "HTTPS://a.test.",
            "Wss://a.test.:443",
        ];
        for listed in spellings {
            let origins: Origins = listed.parse().unwrap();
            assert_eq!(origins.to_string().to_ascii_lowercase(), "https://a.test", "{listed}");
            for sent in spellings {
                assert!(allows(&origins, sent, "elsewhere.test"), "{sent} where {listed} is listed");
            }
            for other in [
                "http://a.test",
                "ws://a.test",
                "ws://a.test:443",
                "wss://a.test:80",
                "https://a.test..",
                "wss://b.test",
            ] {
                assert!(!allows(&origins, other, "elsewhere.test"), "{other} where {listed} is listed");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_origin_and_the_host_it_was_compared_with() {
        let said = |origins: &str, origin: &[u8], host| {
            let origins: Origins = origins.parse().unwrap();
            origins.admit(Some(origin), Some(host)).unwrap_err().to_string()
        };
        let text = said("same-host,https://a", b"https://evil.test", "example.com:9000");
        assert!(text.contains("\"https://evil.test\"") && text.contains("\"example.com:9000\""), "{text}");
        // Where the Host makes no difference, it is not named.
        assert!(!said("https://a", b"null", "example.com").contains("example.com"));
        assert!(said("same-host", b"\xff<b>\r\n", "a").contains(r"\xff\x3cb\x3e\x0d\x0a"));
        assert_eq!(Origins::default().admit(Some(b"ws://a"), Some("a")), Ok(()));
        assert_eq!(Origins::default().admit(None, Some("a")), Ok(()));
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
            "NULL",
            "https://a/",
            "https://a..",
            "https://",
            "https://.",
            "file:///",
            "://a",
            "a",
            "https://*.example",
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
            core in prop_oneof![Just("https://example.com".to_owned()), "(https?|HTTPS|wss?)://example\\.com\\.?(:[0-9]{0,5}|:443)?", "\\PC{0,30}"],
            after in "(|\\.|/|[ -~]{0,3}|\\PC{0,3})",
        ) {
            let text = format!("{before}{core}{after}");
            let lower = text.to_ascii_lowercase();
            let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("wss://"));
            let same = rest.is_some_and(|rest| {
                ["example.com", "example.com.", "example.com:443", "example.com.:443"].contains(&rest)
            });
            let listed: Origins = "https://example.com".parse().unwrap();
            prop_assert_eq!(allows(&listed, &text, "example.com"), same, "{}", text);
            prop_assert!(!allows(&Origins::default(), &text, "example.com:9000") || text.ends_with(":9000"));
        }
    }
}
