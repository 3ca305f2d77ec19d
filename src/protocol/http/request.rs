//! An HTTP/1.1 request, parsed from its head.
//!
//! Owns the rules for every request, upgrade or not; httparse parses the lines. Determines the length of a body and
//! leaves reading it to the caller; never allocates, never answers. Invariant: a [`Request`] can be read in one way
//! only (RFC 9112), so no proxy in front of the server read another one.

use std::str;

use httparse::{Error, Header, Status};

use super::grammar::{is_digits, is_host, is_target, is_token, list, split_at_byte, values};
use super::head::{Headers, explain_headers, strict_head};
use super::refusal::Refusal;

/// An HTTP/1.0 or HTTP/1.1 request, with its whole body. It borrows the received bytes.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    minor_version: u8,
    headers: &'a [Header<'a>],
    host: Option<&'a str>,
    body_length: BodyLength,
    transfer_coding_known: bool,
    expects_continue: bool,
    connection: Connection,
    asks: WebSocketHeaders,
    body: &'a [u8],
}

/// Parses a request from `head`, which must be exactly what [`HeadScan::find_end`](super::HeadScan::find_end)
/// delimited. Its headers are kept in `headers`, which the caller creates with [`Headers::default`].
///
/// Refuses, whatever the request is for: any version but HTTP/1.0 and 1.1; a target other than a path,
/// `http://host/path` (also `https`, `ws` and `wss`), or the `*` of OPTIONS; no Host in HTTP/1.1, or more than one, or
/// an invalid one; obsolete line folding, white space before a colon, control bytes; more than one Content-Length, or
/// one that is not a number; Transfer-Encoding beside it, or repeated, or in HTTP/1.0, or other than `chunked` alone; a
/// body with GET, HEAD or an upgrade; and in HTTP/1.1 an expectation other than `100-continue`.
pub fn parse_request<'a>(head: &'a [u8], headers: &'a mut Headers<'a>) -> Result<Request<'a>, Refusal> {
    Request::parse(head, headers)
}

impl<'a> Request<'a> {
    fn parse(head: &'a [u8], headers: &'a mut Headers<'a>) -> Result<Self, Refusal> {
        let head = strict_head(head)?;
        let mut parsed = httparse::Request::new(&mut []);
        let outcome = parsed.parse_with_uninit_headers(head, &mut headers.0);
        // Bytes after a blank line would stay unread.
        let is_whole = outcome == Ok(Status::Complete(head.len()));
        let (true, Some(method), Some(target), Some(minor_version)) =
            (is_whole, parsed.method, parsed.path, parsed.version)
        else {
            return Err(explain(outcome, parsed.method.is_some(), head));
        };
        let Target { authority, path, query } = Target::parse(method, target)?;
        let mut request = Self {
            method,
            target,
            path,
            query,
            minor_version,
            headers: parsed.headers,
            host: None,
            body_length: BodyLength::Unannounced,
            transfer_coding_known: true,
            expects_continue: false,
            connection: Connection::default(),
            asks: WebSocketHeaders::default(),
            body: &[],
        };
        for header in request.headers {
            request.note(header)?;
        }
        request.check_host(authority)?;
        request.check_body()?;
        Ok(request)
    }

    /// Attaches the body, which follows the head at once and ends as [`BodyLength::of`] determines.
    pub(crate) fn with_body(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }

    /// Returns the method, which is case-sensitive.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Returns the target as it was sent.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// Returns the path of the target, which begins with `/`, still percent-encoded; `*` for OPTIONS on the whole
    /// server.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the text behind the first `?` of the target, still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// Returns 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub fn minor_version(&self) -> u8 {
        self.minor_version
    }

    /// Returns the host and, if sent, the port: those of the target if it has them, else those of the Host header. Only
    /// a request in HTTP/1.0 may have none.
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }

    /// Returns the value of the first header of this name, compared without case. A value need not be UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        values(self.headers, name).next()
    }

    /// Returns a value as text, as [`header`](Self::header) does for bytes. A value that is not UTF-8 gives `None`:
    /// where absence means permission, use `header`.
    pub fn header_text(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// Returns all headers, in the order they were sent.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// Returns the elements of the comma-separated lists in all headers of this name; empty ones are skipped. A quoted
    /// string is not treated as one element.
    pub fn header_tokens<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        values(self.headers, name).flat_map(list)
    }

    /// Returns whether the connection may serve another request after this one. The next request begins where the body
    /// ends, so a caller that does not read the body must close the connection.
    pub fn keep_alive(&self) -> bool {
        !self.connection.close && (self.minor_version == 1 || self.connection.keep_alive)
    }

    /// Returns whether the client attempts to open a WebSocket: it sent `Upgrade: websocket` or a Sec-WebSocket-Key.
    /// The handshake checks whether the attempt is valid.
    pub fn is_upgrade(&self) -> bool {
        self.asks.upgrade || self.asks.key
    }

    /// Returns the length of the body that Content-Length announces, if there is one.
    pub fn content_length(&self) -> Option<u64> {
        match self.body_length {
            BodyLength::Known(bytes) => Some(bytes),
            BodyLength::Unannounced | BodyLength::Chunked => None,
        }
    }

    /// Returns whether the client may hold the body back until the server sends 100 (RFC 9110 10.1.1). It is false if
    /// there is no body, or an empty one.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue && self.has_body()
    }

    /// Returns the body as it was sent; empty if there is none, or if the server has not read it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Returns whether both halves of the upgrade were sent (RFC 6455 4.2.1, 3 and 4).
    pub(in crate::protocol) fn upgrades_to_websocket(&self) -> bool {
        self.asks.upgrade && self.connection.upgrade
    }

    pub(in crate::protocol) fn parsed_headers(&self) -> &'a [Header<'a>] {
        self.headers
    }

    /// Records a header that affects every request.
    fn note(&mut self, &Header { name, value }: &Header<'a>) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case("Host") {
            if self.host.is_some() {
                return Err(Refusal::HeaderDuplicate { name: "Host" });
            }
            self.host = Some(parse_host(value)?);
        } else if name.eq_ignore_ascii_case("Connection") {
            self.connection.note(value);
        } else if name.eq_ignore_ascii_case("Upgrade") {
            self.asks.upgrade |= names_websocket(value);
        } else if name.eq_ignore_ascii_case("Sec-WebSocket-Key") {
            self.asks.key = true;
        } else if name.eq_ignore_ascii_case("Content-Length") {
            self.body_length = match self.body_length {
                BodyLength::Unannounced => BodyLength::Known(parse_content_length(value)?),
                BodyLength::Known(_) => return Err(Refusal::HeaderDuplicate { name: "Content-Length" }),
                BodyLength::Chunked => return Err(Refusal::TransferEncoding),
            };
        } else if name.eq_ignore_ascii_case("Transfer-Encoding") {
            // RFC 9112 6.1 and 6.3: an ambiguous body is refused.
            if self.minor_version == 0 || self.body_length != BodyLength::Unannounced {
                return Err(Refusal::TransferEncoding);
            }
            self.transfer_coding_known = is_chunked(value)?;
            self.body_length = BodyLength::Chunked;
        } else if name.eq_ignore_ascii_case("Expect") && self.minor_version == 1 {
            for expectation in list(value) {
                if !expectation.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::ExpectationFailed);
                }
                self.expects_continue = true;
            }
        }
        Ok(())
    }

    /// Checks the Host. RFC 9112 3.2: HTTP/1.1 needs one even where the target's authority replaces it (3.2.2).
    fn check_host(&mut self, authority: Option<&'a str>) -> Result<(), Refusal> {
        if self.host.is_none() && self.minor_version == 1 {
            return Err(Refusal::HeaderMissing { name: "Host" });
        }
        self.host = authority.or(self.host);
        Ok(())
    }

    fn check_body(&self) -> Result<(), Refusal> {
        let takes_none = matches!(self.method, "GET" | "HEAD") || self.is_upgrade();
        if takes_none && self.has_body() {
            return Err(Refusal::BodyUnexpected);
        }
        if self.transfer_coding_known { Ok(()) } else { Err(Refusal::TransferCodingUnknown) }
    }

    fn has_body(&self) -> bool {
        !matches!(self.body_length, BodyLength::Unannounced | BodyLength::Known(0))
    }
}

/// The rule by which a request's body ends (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    Unannounced,
    /// The body has this number of bytes.
    Known(u64),
    /// The body ends with the last of its [`Chunks`](super::Chunks).
    Chunked,
}

impl BodyLength {
    /// Returns how the end of a request's body is found. With GET, HEAD and an upgrade there is no body, or an empty
    /// one.
    pub fn of(request: &Request<'_>) -> Self {
        request.body_length
    }
}

/// The headers that only a request for a WebSocket has.
#[derive(Clone, Copy, Debug, Default)]
struct WebSocketHeaders {
    /// Upgrade names the WebSocket protocol.
    upgrade: bool,
    /// There is a Sec-WebSocket-Key.
    key: bool,
}

/// The options in the Connection headers.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::protocol) struct Connection {
    close: bool,
    keep_alive: bool,
    pub(in crate::protocol) upgrade: bool,
}

impl Connection {
    pub(in crate::protocol) fn note(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

/// Returns whether an Upgrade header names the WebSocket protocol.
pub(in crate::protocol) fn names_websocket(value: &[u8]) -> bool {
    list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Returns the reason why httparse did not read `head` to its end. httparse's errors do not distinguish an invalid
/// target from a missing one, nor another version of HTTP from garbage.
#[cold]
fn explain(outcome: httparse::Result<usize>, method_is_valid: bool, head: &[u8]) -> Refusal {
    let line = head.split(|&byte| byte == b'\n').next().and_then(|line| line.strip_suffix(b"\r")).unwrap_or_default();
    match (line.splitn(3, |&byte| byte == b' ').nth(2), outcome) {
        (Some(b"HTTP/1.1" | b"HTTP/1.0"), Err(Error::Token)) if !method_is_valid => Refusal::MethodInvalid,
        (Some(b"HTTP/1.1" | b"HTTP/1.0"), Err(Error::Token)) => Refusal::TargetInvalid,
        (Some(b"HTTP/1.1" | b"HTTP/1.0"), outcome) => explain_headers(outcome, head),
        (Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']), _) => Refusal::HttpVersionUnsupported,
        _ => Refusal::RequestLineInvalid,
    }
}

/// The parts of a request target (RFC 9112 3.2).
struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Parses the origin form, `/path?query`; the absolute form, `scheme://authority/path?query`; and the asterisk
    /// form.
    fn parse(method: &str, target: &'a str) -> Result<Self, Refusal> {
        if !is_target(target) {
            return Err(Refusal::TargetInvalid);
        }
        if target.starts_with('/') {
            return Ok(Self::new(None, target));
        }
        match target.split_once("://") {
            Some((scheme, rest)) if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
                let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                // RFC 9110 4.2.4: a user name is refused as well, because its only use is to deceive.
                if is_host(authority) { Ok(Self::new(Some(authority), rest)) } else { Err(Refusal::TargetInvalid) }
            }
            None if target == "*" && method == "OPTIONS" => Ok(Self { authority: None, path: target, query: None }),
            _ => Err(Refusal::TargetInvalid),
        }
    }

    fn new(authority: Option<&'a str>, path_and_query: &'a str) -> Self {
        let (path, query) = match split_at_byte(path_and_query, b'?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        Self { authority, path: if path.is_empty() { "/" } else { path }, query }
    }
}

/// Schemes of the absolute form. A client sends the one that its user gave (RFC 6455 3 has `ws` and `wss` for
/// WebSockets), and behind a proxy that terminates TLS the secure ones arrive here too.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

fn parse_host(value: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(value).ok().filter(|host| is_host(host)).ok_or(Refusal::HostInvalid)
}

/// Parses digits only: a sign, a list (RFC 9110 8.6 would allow equal values) or an overflow is refused.
fn parse_content_length(value: &[u8]) -> Result<u64, Refusal> {
    str::from_utf8(value)
        .ok()
        .filter(|digits| is_digits(digits.as_bytes()))
        .and_then(|digits| digits.parse().ok())
        .ok_or(Refusal::ContentLengthInvalid)
}

/// Returns whether this Transfer-Encoding is `chunked` alone. A list that goes on after `chunked`, or applies it twice,
/// is refused (RFC 9112 6.1 and 6.3): programs disagree on the end of such a body.
fn is_chunked(value: &[u8]) -> Result<bool, Refusal> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if is_chunked(value) {
        return Ok(true);
    }
    let before_last = list(value).count().saturating_sub(1);
    let is_ambiguous = list(value).take(before_last).any(is_chunked) || list(value).all(is_chunked);
    if is_ambiguous || !list(value).all(is_token) { Err(Refusal::TransferEncoding) } else { Ok(false) }
}

#[cfg(test)]
mod tests;
