//! An HTTP/1.1 request, read out of its head.
//!
//! Owns the rules that hold for every request, upgrade or not. Never reads a body, never allocates, never answers.
//! Invariant: a [`Request`] can be read in one way only (RFC 9112), so no proxy in front of it read another one.

use std::str;

use super::head::{Fields, is_digits, is_host, is_target, is_token, list, split_head};
pub use super::head::{HEADERS_CAPACITY, HeadLimits, HeadScan};
pub use super::response::{InvalidHeader, Refusal, Response};

/// A parsed request head; borrows the received bytes.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    minor_version: u8,
    fields: Fields<'a>,
    host: Option<&'a str>,
    content_length: Option<u64>,
    connection: Connection,
    upgrade_websocket: bool,
    websocket_key: bool,
}

impl<'a> Request<'a> {
    /// Reads a request out of `head`, which is exactly what [`HeadScan::find_end`] delimited.
    ///
    /// Refused, whatever the request is for: any version but HTTP/1.0 and 1.1; a target that is neither a path nor
    /// `http://host/path`; no Host in HTTP/1.1, or more than one, or one that is no host; obsolete line folding,
    /// white space before a colon, control bytes; Transfer-Encoding; more than one Content-Length, or one that is no
    /// number; a body with GET, HEAD or an upgrade; and Expect, since no answer 100 is ever sent.
    pub fn parse(head: &'a [u8]) -> Result<Self, Refusal> {
        let (request_line, fields) = split_head(head)?;
        let (method, target, minor_version) = split_request_line(request_line)?;
        let (authority, path, query) = split_target(target)?;
        let mut request = Self {
            method,
            target,
            path,
            query,
            minor_version,
            fields,
            host: None,
            content_length: None,
            connection: Connection::default(),
            upgrade_websocket: false,
            websocket_key: false,
        };
        let mut unread = fields;
        while let Some((name, value)) = unread.validate_next()? {
            request.note(name, value)?;
        }
        request.check_host(authority)?;
        request.check_body()?;
        Ok(request)
    }

    /// The method; case matters.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The target as it was sent.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path of the target, which begins with `/`; still percent-encoded.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// What follows the first `?` of the target; still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub fn minor_version(&self) -> u8 {
        self.minor_version
    }

    /// Host and, if sent, port. Only a request in HTTP/1.0 may have none.
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }

    /// The value of the first header of that name, in any case. A value need not be UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.values(name).next()
    }

    /// As [`header`](Self::header), for values that are text. A value that is not UTF-8 is `None` here: where absence
    /// means permission, ask `header`.
    pub fn header_text(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// All headers, in the order they were sent.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        // A name is a token and thus ASCII, so none is left out.
        self.fields.filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, value)))
    }

    /// The elements of the comma-separated lists in all headers of that name; empty ones are skipped.
    /// A quoted string is not treated as one element.
    pub fn header_tokens<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields.values(name).flat_map(list)
    }

    /// Whether the connection may serve another request after this one. Never after one with a body: none is read,
    /// so what follows the head is not the next request.
    pub fn keep_alive(&self) -> bool {
        let wanted = !self.connection.close && (self.minor_version == 1 || self.connection.keep_alive);
        wanted && self.content_length.unwrap_or(0) == 0
    }

    /// Whether the client attempts to open a WebSocket: it sent `Upgrade: websocket` or a Sec-WebSocket-Key.
    /// Whether the attempt is a good one is for [`handshake::check`](super::handshake::check).
    pub fn is_upgrade(&self) -> bool {
        self.upgrade_websocket || self.websocket_key
    }

    /// The length of the body, if one was announced. Not zero only for methods other than GET and HEAD.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether both halves of the upgrade were sent (RFC 6455 4.2.1, 3 and 4).
    pub(super) fn upgrades_to_websocket(&self) -> bool {
        self.upgrade_websocket && self.connection.upgrade
    }

    pub(super) fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// Takes from one header what every request is judged by.
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case(b"Host") {
            if self.host.is_some() {
                return Err(Refusal::HeaderDuplicate { name: "Host" });
            }
            self.host = Some(parse_host(value)?);
        } else if name.eq_ignore_ascii_case(b"Connection") {
            self.connection.note(value);
        } else if name.eq_ignore_ascii_case(b"Upgrade") {
            self.upgrade_websocket |= names_websocket(value);
        } else if name.eq_ignore_ascii_case(b"Sec-WebSocket-Key") {
            self.websocket_key = true;
        } else if name.eq_ignore_ascii_case(b"Content-Length") {
            if self.content_length.is_some() {
                return Err(Refusal::HeaderDuplicate { name: "Content-Length" });
            }
            self.content_length = Some(parse_content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"Transfer-Encoding") {
            return Err(Refusal::TransferEncoding);
        } else if name.eq_ignore_ascii_case(b"Expect") {
            return Err(Refusal::ExpectationFailed);
        }
        Ok(())
    }

    /// RFC 9112 3.2 and 3.2.2; a Host that contradicts an absolute target is refused, so that there is only one host.
    fn check_host(&mut self, authority: Option<&'a str>) -> Result<(), Refusal> {
        match (self.host, authority) {
            (None, _) if self.minor_version == 1 => Err(Refusal::HeaderMissing { name: "Host" }),
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => Err(Refusal::HostInvalid),
            (host, authority) => {
                self.host = host.or(authority);
                Ok(())
            }
        }
    }

    fn check_body(&self) -> Result<(), Refusal> {
        match self.content_length {
            Some(bytes) if bytes > 0 && (matches!(self.method, "GET" | "HEAD") || self.is_upgrade()) => {
                Err(Refusal::BodyUnexpected { bytes })
            }
            _ => Ok(()),
        }
    }
}

/// What the Connection headers say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    close: bool,
    keep_alive: bool,
    pub(super) upgrade: bool,
}

impl Connection {
    pub(super) fn note(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

/// Whether an Upgrade header names the WebSocket protocol.
pub(super) fn names_websocket(value: &[u8]) -> bool {
    list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Method, target and minor version (RFC 9112 3).
fn split_request_line(line: &[u8]) -> Result<(&str, &str, u8), Refusal> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::RequestLineInvalid);
    };
    let minor_version = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Refusal::HttpVersionUnsupported);
        }
        _ => return Err(Refusal::RequestLineInvalid),
    };
    if !is_token(method) {
        return Err(Refusal::MethodInvalid);
    }
    if !is_target(target) {
        return Err(Refusal::TargetInvalid);
    }
    let method = str::from_utf8(method).map_err(|_| Refusal::MethodInvalid)?;
    let target = str::from_utf8(target).map_err(|_| Refusal::TargetInvalid)?;
    Ok((method, target, minor_version))
}

/// Authority, path and query of `/path?query` or `http://authority/path?query` (RFC 9112 3.2.1 and 3.2.2).
fn split_target(target: &str) -> Result<(Option<&str>, &str, Option<&str>), Refusal> {
    const SCHEME: &str = "http://";
    let (authority, path_and_query) = match target.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if !is_host(authority) {
                return Err(Refusal::TargetInvalid);
            }
            (Some(authority), rest)
        }
        _ if target.starts_with('/') => (None, target),
        _ => return Err(Refusal::TargetInvalid),
    };
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    Ok((authority, if path.is_empty() { "/" } else { path }, query))
}

fn parse_host(value: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(value).ok().filter(|host| is_host(host)).ok_or(Refusal::HostInvalid)
}

/// Digits only: a sign, a list (RFC 9110 8.6 would allow equal ones) or an overflow is refused.
fn parse_content_length(value: &[u8]) -> Result<u64, Refusal> {
    str::from_utf8(value)
        .ok()
        .filter(|digits| is_digits(digits.as_bytes()))
        .and_then(|digits| digits.parse().ok())
        .ok_or(Refusal::ContentLengthInvalid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::head::tests::{head_like, scan};

    /// The verdict on a request with these lines after its Host.
    fn parse_with(lines: &str) -> Result<u64, Refusal> {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        Request::parse(head.as_bytes()).map(|request| request.content_length().unwrap_or(0))
    }

    fn parse_line(request_line: &str) -> Result<(String, Option<String>), Refusal> {
        let head = format!("{request_line}\r\nHost: a\r\n\r\n");
        Request::parse(head.as_bytes()).map(|request| (request.path().into(), request.query().map(Into::into)))
    }

    #[test]
    fn exposes_every_part_of_a_request() {
        let head = b"GET /chat/room?a=1?b HTTP/1.1\r\nHost: example.com:80\r\nCookie: a\r\ncookie:\t b \r\n\
            X-List: a, ,b\r\nx-list: c\r\nX-Latin: caf\xE9\r\nX-Empty:\r\n\r\n";
        let request = Request::parse(head).unwrap();
        assert_eq!((request.method(), request.minor_version()), ("GET", 1));
        assert_eq!(request.target(), "/chat/room?a=1?b");
        assert_eq!((request.path(), request.query()), ("/chat/room", Some("a=1?b")));
        assert_eq!(request.host(), Some("example.com:80"));
        assert_eq!(request.header("COOKIE"), Some(&b"a"[..]));
        assert_eq!(request.header_text("cookie"), Some("a"));
        assert_eq!(request.header("X-Latin"), Some(&b"caf\xE9"[..]));
        assert_eq!(request.header_text("X-Latin"), None);
        assert_eq!(request.header("X-Empty"), Some(&b""[..]));
        assert_eq!(request.header("X-Missing"), None);
        assert_eq!(request.header_tokens("X-List").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert_eq!(request.headers().count(), 7);
        assert_eq!(request.headers().nth(2), Some(("cookie", &b"b"[..])));
        assert_eq!((request.is_upgrade(), request.content_length()), (false, None));
    }

    #[test]
    fn accepts_a_path_or_a_url_as_the_target_and_nothing_else() {
        let path = |path: &str, query: Option<&str>| Ok((path.to_owned(), query.map(str::to_owned)));
        assert_eq!(parse_line("GET / HTTP/1.1"), path("/", None));
        assert_eq!(parse_line("GET /? HTTP/1.1"), path("/", Some("")));
        assert_eq!(parse_line("GET http://a HTTP/1.1"), path("/", None));
        assert_eq!(parse_line("GET HTTP://A?b HTTP/1.1"), path("/", Some("b")));
        assert_eq!(parse_line("GET http://a/b?c HTTP/1.1"), path("/b", Some("c")));
        for target in ["*", "a:80", "a", "?a", "/#", "/\u{7f}", "/é", "https://a/", "http://", "http://u@a/", "ws://a/"]
        {
            assert_eq!(parse_line(&format!("GET {target} HTTP/1.1")), Err(Refusal::TargetInvalid), "{target}");
        }
        assert_eq!(parse_line("GET http://b/ HTTP/1.1"), Err(Refusal::HostInvalid));
    }

    #[test]
    fn takes_the_host_of_a_url_when_http_1_0_sends_none() {
        let request = Request::parse(b"GET http://a:80/ HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(request.host(), Some("a:80"));
        assert_eq!(Request::parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().host(), None);
    }

    #[test]
    fn refuses_other_versions_with_505_and_malformed_ones_with_400() {
        for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9"] {
            assert_eq!(parse_line(&format!("GET / {version}")), Err(Refusal::HttpVersionUnsupported));
        }
        for line in
            ["GET /", "GET / HTTP/2", "GET / http/1.1", "GET / HTTP/1.1 ", "GET  / HTTP/1.1", "GET / x HTTP/1.1"]
        {
            assert_eq!(parse_line(line), Err(Refusal::RequestLineInvalid), "{line}");
        }
        assert_eq!(parse_line("G(T / HTTP/1.1"), Err(Refusal::MethodInvalid));
        assert_eq!(parse_line("get / HTTP/1.1"), Err(Refusal::MethodInvalid));
    }

    #[test]
    fn refuses_a_missing_duplicate_or_invalid_host_with_400() {
        assert_eq!(Request::parse(b"GET / HTTP/1.1\r\n\r\n").unwrap_err(), Refusal::HeaderMissing { name: "Host" });
        assert_eq!(parse_with("host: a\r\n"), Err(Refusal::HeaderDuplicate { name: "Host" }));
        assert_eq!(
            Request::parse(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n").unwrap_err(),
            Refusal::HostInvalid,
            "in HTTP/1.0 as well"
        );
    }

    #[test]
    fn refuses_malformed_header_lines_with_400() {
        for line in [" a: b", "\ta: b", "a: b\r\n c"] {
            assert_eq!(parse_with(&format!("{line}\r\n")), Err(Refusal::ObsoleteFold));
        }
        for line in ["a", "a : b", ": b", "a\0: b", "é: b", "\r\nGET / HTTP/1.1", "\r"] {
            assert_eq!(parse_with(&format!("{line}\r\n")), Err(Refusal::FieldNameInvalid), "{line:?}");
        }
        for line in ["a: \0", "a: b\rc", "a: b\r", "a: \u{1b}", "a: \u{7f}"] {
            assert_eq!(parse_with(&format!("{line}\r\n")), Err(Refusal::FieldValueInvalid), "{line:?}");
        }
        assert_eq!(parse_with("a: b\n"), Err(Refusal::BareLineFeed));
    }

    #[test]
    fn refuses_bodies_of_unknown_or_doubtful_length() {
        assert_eq!(parse_with("Content-Length: 5\r\n"), Ok(5));
        assert_eq!(parse_with("Transfer-Encoding: identity\r\n"), Err(Refusal::TransferEncoding));
        let twice = "Content-Length: 5\r\ncontent-length: 5\r\n";
        assert_eq!(parse_with(twice), Err(Refusal::HeaderDuplicate { name: "Content-Length" }));
        for value in ["", "+5", "-5", "5, 5", "0x5", "5 5", "18446744073709551616", "é"] {
            let line = format!("Content-Length: {value}\r\n");
            assert_eq!(parse_with(&line), Err(Refusal::ContentLengthInvalid), "{value}");
        }
        assert_eq!(parse_with("Expect: 100-continue\r\n"), Err(Refusal::ExpectationFailed));
    }

    #[test]
    fn refuses_a_body_with_get_head_and_every_upgrade() {
        let refusal = Refusal::BodyUnexpected { bytes: 5 };
        for begin in [
            "GET / HTTP/1.1",
            "HEAD / HTTP/1.1",
            "POST / HTTP/1.1\r\nUpgrade: WebSocket",
            "PUT / HTTP/1.1\r\nSec-WebSocket-Key: a",
        ] {
            let head = format!("{begin}\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(Request::parse(head.as_bytes()).unwrap_err(), refusal);
        }
    }

    #[test]
    fn keeps_a_connection_alive_as_the_version_and_connection_say() {
        let keeps = |version: &str, lines: &str| {
            let head = format!("POST / {version}\r\nHost: a\r\n{lines}\r\n");
            Request::parse(head.as_bytes()).unwrap().keep_alive()
        };
        assert!(keeps("HTTP/1.1", ""));
        assert!(!keeps("HTTP/1.0", ""));
        assert!(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
        assert!(!keeps("HTTP/1.1", "Connection: CLOSE\r\n"));
        assert!(!keeps("HTTP/1.1", "Connection: keep-alive\r\nConnection: x, close\r\n"));
        assert!(keeps("HTTP/1.1", "Content-Length: 0\r\n"));
        assert!(!keeps("HTTP/1.1", "Content-Length: 5\r\n"), "a body is never read");
    }

    #[test]
    fn recognises_an_attempt_to_upgrade_by_its_protocol_or_key() {
        let upgrades = |lines: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
            Request::parse(head.as_bytes()).unwrap().is_upgrade()
        };
        assert!(upgrades("Upgrade: h2c, WebSocket"));
        assert!(upgrades("sec-websocket-key:"));
        assert!(!upgrades("Connection: Upgrade"));
        assert!(!upgrades("Upgrade: h2c"));
    }

    proptest! {
        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes);
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn reads_what_it_accepts_as_another_parser_does(bytes in head_like()) {
            let Ok(Some(end)) = scan(&bytes) else { return Ok(()) };
            let Ok(request) = Request::parse(&bytes[..end]) else { return Ok(()) };
            let mut storage = [httparse::EMPTY_HEADER; 64];
            let mut other = httparse::Request::new(&mut storage);
            prop_assert_eq!(other.parse(&bytes), Ok(httparse::Status::Complete(end)));
            prop_assert_eq!(other.method, Some(request.method()));
            prop_assert_eq!(other.path, Some(request.target()));
            prop_assert_eq!(other.version, Some(request.minor_version()));
            let theirs: Vec<_> = other.headers.iter().map(|header| (header.name, header.value)).collect();
            prop_assert_eq!(request.headers().collect::<Vec<_>>(), theirs);
        }

        #[test]
        fn reads_back_every_valid_request(
            path in "/[a-z/%.]{0,12}",
            query in prop::option::of("[a-z=&?]{0,12}"),
            headers in prop::collection::vec(("X-[A-Za-z]{1,8}", "([!-~]([ -~]{0,12}[!-~])?)?"), 0..20),
        ) {
            let target = query.iter().fold(path.clone(), |target, query| target + "?" + query);
            let mut head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n");
            for (name, value) in &headers {
                head += &format!("{name}: {value}\r\n");
            }
            head += "\r\n";
            prop_assert_eq!(scan(head.as_bytes()), Ok(Some(head.len())));
            let request = Request::parse(head.as_bytes()).unwrap();
            prop_assert_eq!((request.path(), request.query()), (&path[..], query.as_deref()));
            let read = request.headers().skip(1);
            let sent = headers.iter().map(|(name, value)| (&name[..], value.as_bytes()));
            prop_assert!(read.eq(sent));
        }
    }
}
