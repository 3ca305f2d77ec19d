//! The head of an HTTP/1.1 message: finding where it ends, and reading a request out of it.
//!
//! Owns the limits of a head and the rules that hold for every request, upgrade or not. Never reads a body, never
//! allocates, never answers. Invariants: the verdict depends on the bytes alone, not on the pieces they came in; the
//! work is linear in the bytes; a [`Request`] can be read in one way only (RFC 9112), so no proxy in front disagrees.

use std::net::Ipv6Addr;
use std::str;

use memchr::{memchr, memchr_iter};

pub use super::response::{InvalidHeader, Refusal, Response};

/// The most headers that a configuration may allow. A header is looked up by walking all of them, so their number
/// bounds the cost of a look-up.
pub const HEADERS_CAPACITY: usize = 256;

/// Limits of a request head.
#[derive(Clone, Debug)]
pub struct HeadLimits {
    /// Length of the request line, CRLF included, in bytes: 8 KiB, as in nginx; enough for a token in the query.
    /// A longer one is refused with 414.
    pub request_line_bytes_max: usize,
    /// Length of the whole head, in bytes: 16 KiB, which bounds what one connection can hold before it is known.
    /// No byte beyond it is looked at; a longer head is refused with 431.
    pub head_bytes_max: usize,
    /// Number of header lines: 64, twice what a browser behind proxies sends. More are refused with 431.
    /// At most [`HEADERS_CAPACITY`] should be asked for.
    pub headers_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { request_line_bytes_max: 8 << 10, head_bytes_max: 16 << 10, headers_max: 64 }
    }
}

/// Finds the end of a head that arrives in pieces, and refuses early what can no longer become a good one.
///
/// It remembers how far earlier calls got, so each byte is looked at once, whatever the pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Bytes searched for line ends so far.
    scanned: u32,
    /// Lines found so far, the first line included.
    lines: u32,
}

impl HeadScan {
    /// The length of the head, its blank line included, or `None` while more bytes are needed.
    ///
    /// `received` is everything received of this head so far, from its first byte. When the end is found, the scan
    /// is ready for the next head.
    pub fn find_end(
        &mut self,
        received: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, Refusal> {
        let Some(start) = first_line_start(received)? else { return Ok(None) };
        let seen = &received[..received.len().min(limits.head_bytes_max).min(u32::MAX as usize)];
        let scanned = self.scanned as usize;
        let unscanned = seen.get(scanned..).unwrap_or_default();
        for line_feed in memchr_iter(b'\n', unscanned).map(|offset| scanned + offset) {
            if line_feed < start {
                continue;
            }
            // Too long comes first: with the bytes one by one it would have been noticed before this line feed.
            if self.lines == 0 && line_feed - start >= limits.request_line_bytes_max {
                break;
            }
            if !seen[..line_feed].ends_with(b"\r") {
                return Err(Refusal::BareLineFeed);
            }
            if seen[..line_feed].ends_with(b"\n\r") {
                *self = Self::default();
                return Ok(Some(line_feed + 1));
            }
            self.lines += 1;
            if self.lines as usize > 1 + limits.headers_max {
                return Err(Refusal::TooManyHeaders { limit: limits.headers_max });
            }
        }
        self.scanned = seen.len() as u32;
        if self.lines == 0 && seen.len().saturating_sub(start) >= limits.request_line_bytes_max {
            return Err(Refusal::RequestLineTooLong { limit: limits.request_line_bytes_max });
        }
        if seen.len() >= limits.head_bytes_max {
            return Err(Refusal::HeadTooLarge { limit: limits.head_bytes_max });
        }
        Ok(None)
    }
}

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
        let mut unread = fields.lines;
        while !unread.is_empty() {
            let (name, value) = split_field(next_line(&mut unread)?)?;
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
        let wanted =
            !self.connection.close && (self.minor_version == 1 || self.connection.keep_alive);
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
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                Err(Refusal::HostInvalid)
            }
            (host, authority) => {
                self.host = host.or(authority);
                Ok(())
            }
        }
    }

    fn check_body(&self) -> Result<(), Refusal> {
        match self.content_length {
            Some(bytes)
                if bytes > 0 && (matches!(self.method, "GET" | "HEAD") || self.is_upgrade()) =>
            {
                Err(Refusal::BodyUnexpected { bytes })
            }
            _ => Ok(()),
        }
    }
}

/// Header lines that were found to be valid, each with its CRLF; iterates over names and values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    lines: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Validates what [`Request::parse`] validates while it goes.
    pub(super) fn validated(self) -> Result<Self, Refusal> {
        let mut unread = self.lines;
        while !unread.is_empty() {
            split_field(next_line(&mut unread)?)?;
        }
        Ok(self)
    }

    pub(super) fn values<'n>(self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.filter(move |(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let line = next_line(&mut self.lines).ok()?;
        let colon = memchr(b':', line)?;
        Some((&line[..colon], trim(&line[colon + 1..])))
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

/// The first line of a head, and its header lines, which are not validated yet.
pub(super) fn split_head(head: &[u8]) -> Result<(&[u8], Fields<'_>), Refusal> {
    let start = first_line_start(head)?.ok_or(Refusal::RequestLineInvalid)?;
    // The blank line is cut off here; another one is a header line without a colon.
    let mut lines = head[start..].strip_suffix(b"\r\n").ok_or(Refusal::RequestLineInvalid)?;
    let first_line = next_line(&mut lines)?;
    Ok((first_line, Fields { lines }))
}

/// The elements of a comma-separated list (RFC 9110 5.6.1); empty ones are skipped.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether this is a token (RFC 9110 5.6.2): a method, a header name, a subprotocol.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| TOKEN[byte as usize])
}

/// Whether this can stand in a header value: no control byte but the tab (RFC 9110 5.5).
pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early exit, so that the compiler can look at many bytes at a time.
    bytes.iter().fold(true, |good, &byte| good & ((byte >= b' ' && byte != 0x7f) | (byte == b'\t')))
}

/// Whether this is a host with an optional port, as in the Host header: `name`, `1.2.3.4:80`, `[::1]:80`.
///
/// Narrower than the `reg-name` of RFC 3986, which allows punctuation that no host name has.
pub(super) fn is_host(host: &str) -> bool {
    let name_end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(name_end);
    let name_is_valid = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
        }
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(number) => {
            number.is_empty() || is_digits(number.as_bytes()) && number.parse::<u16>().is_ok()
        }
        None => port.is_empty(),
    };
    name_is_valid && port_is_valid
}

/// Whether these bytes can be a target: visible ASCII and no fragment.
pub(super) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#')
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// Where the first line begins: after at most one empty line (RFC 9112 2.2). `None` while that cannot be told.
///
/// A method begins with an upper-case letter, as all registered ones do, so that another protocol is noticed at its
/// first byte.
fn first_line_start(received: &[u8]) -> Result<Option<usize>, Refusal> {
    const TLS_HANDSHAKE_RECORD: u8 = 0x16;
    let start = match received {
        [] | [b'\r'] => return Ok(None),
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    match received.get(start) {
        None => Ok(None),
        Some(b'A'..=b'Z') => Ok(Some(start)),
        Some(&TLS_HANDSHAKE_RECORD) => Err(Refusal::TlsOnPlainPort),
        Some(_) => Err(Refusal::MethodInvalid),
    }
}

/// Takes the next line off `lines` and returns it without its CRLF.
fn next_line<'a>(lines: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let line_feed = memchr(b'\n', lines).ok_or(Refusal::RequestLineInvalid)?;
    let (line, rest) = lines.split_at(line_feed + 1);
    *lines = rest;
    line.strip_suffix(b"\r\n").ok_or(Refusal::BareLineFeed)
}

/// Method, target and minor version (RFC 9112 3).
fn split_request_line(line: &[u8]) -> Result<(&str, &str, u8), Refusal> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next())
    else {
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

/// Name and value of one header line (RFC 9112 5).
fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(Refusal::ObsoleteFold);
    }
    let colon = memchr(b':', line).ok_or(Refusal::FieldNameInvalid)?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    if !is_token(name) {
        return Err(Refusal::FieldNameInvalid);
    }
    if !is_field_value(value) {
        return Err(Refusal::FieldValueInvalid);
    }
    Ok((name, value))
}

/// Without the optional white space (RFC 9110 5.6.3) at both ends.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
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

/// Rust's own number parser also takes a leading plus sign.
fn is_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        HeadScan::default().find_end(bytes, &HeadLimits::default())
    }

    /// The verdict on a request with these lines after its Host.
    fn parse_with(lines: &str) -> Result<u64, Refusal> {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        Request::parse(head.as_bytes()).map(|request| request.content_length().unwrap_or(0))
    }

    fn parse_line(request_line: &str) -> Result<(String, Option<String>), Refusal> {
        let head = format!("{request_line}\r\nHost: a\r\n\r\n");
        Request::parse(head.as_bytes())
            .map(|request| (request.path().into(), request.query().map(Into::into)))
    }

    #[test]
    fn finds_the_end_wherever_the_bytes_are_split() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
        let end = bytes.len() - 4;
        for first in 0..=bytes.len() {
            let mut scan = HeadScan::default();
            let early = scan.find_end(&bytes[..first], &HeadLimits::default());
            assert_eq!(early, Ok((first >= end).then_some(end)));
            if first < end {
                assert_eq!(scan.find_end(bytes, &HeadLimits::default()), Ok(Some(end)));
            }
            assert_eq!(scan, HeadScan::default(), "ready for the next head");
        }
    }

    #[test]
    fn looks_at_each_byte_once() {
        let limits = HeadLimits::default();
        let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; limits.head_bytes_max]].concat();
        let mut scan = HeadScan::default();
        for end in 1..limits.head_bytes_max {
            assert_eq!(scan.find_end(&head[..end], &limits), Ok(None));
            assert_eq!(scan.scanned as usize, end);
        }
        let refusal = Refusal::HeadTooLarge { limit: limits.head_bytes_max };
        assert_eq!(scan.find_end(&head, &limits), Err(refusal));
    }

    #[test]
    fn reads_a_head_of_16_kib_in_single_bytes_in_a_few_milliseconds() {
        let limits = HeadLimits::default();
        let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; limits.head_bytes_max]].concat();
        let begin = std::time::Instant::now();
        let mut scan = HeadScan::default();
        let refused = (1..=head.len()).find(|&end| scan.find_end(&head[..end], &limits).is_err());
        assert_eq!(refused, Some(limits.head_bytes_max));
        // Quadratic work would take seconds here; one pass takes well below 10 ms even without optimisation.
        assert!(begin.elapsed().as_millis() < 200, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_scan_costs_a_connection_eight_bytes() {
        assert_eq!(size_of::<HeadScan>(), 8);
    }

    #[test]
    fn refuses_early_what_can_no_longer_become_a_head() {
        assert_eq!(scan(b"\x16"), Err(Refusal::TlsOnPlainPort));
        assert_eq!(scan(b"\0"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"get"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"\r\r"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"\r\n\r"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"GET / HTTP/1.1\n"), Err(Refusal::BareLineFeed));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nX: y\n"), Err(Refusal::BareLineFeed));
    }

    #[test]
    fn refuses_a_long_request_line_with_414_at_the_limit() {
        let refusal = Err(Refusal::RequestLineTooLong { limit: 8192 });
        assert_eq!(scan(&[b'A'; 8191]), Ok(None));
        assert_eq!(scan(&[b'A'; 8192]), refusal);
        assert_eq!(scan(&[&[b'A'; 8190][..], b"\r\n"].concat()), Ok(None));
        assert_eq!(scan(&[&[b'A'; 8191][..], b"\r\n"].concat()), refusal);
        assert_eq!(scan(&[&b"\r\n"[..], &[b'A'; 8191]].concat()), Ok(None));
    }

    #[test]
    fn refuses_a_large_head_with_431_and_looks_no_further() {
        let line = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 17_000]].concat();
        assert_eq!(scan(&line[..16_383]), Ok(None));
        assert_eq!(scan(&line[..16_384]), Err(Refusal::HeadTooLarge { limit: 16_384 }));
        // The bare line feed lies beyond the limit.
        assert_eq!(
            scan(&[&line[..16_384], b"\n"].concat()),
            Err(Refusal::HeadTooLarge { limit: 16_384 })
        );
        assert_eq!(scan(&[&line[..16_380], b"\r\n\r\n"].concat()), Ok(Some(16_384)));
    }

    #[test]
    fn refuses_more_headers_than_allowed_with_431() {
        let limits = HeadLimits { headers_max: 2, ..HeadLimits::default() };
        let find_end = |bytes: &[u8]| HeadScan::default().find_end(bytes, &limits);
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n"), Ok(Some(30)));
        let refusal = Err(Refusal::TooManyHeaders { limit: 2 });
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\nE: f\r\n"), refusal);
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
        let path =
            |path: &str, query: Option<&str>| Ok((path.to_owned(), query.map(str::to_owned)));
        assert_eq!(parse_line("GET / HTTP/1.1"), path("/", None));
        assert_eq!(parse_line("GET /? HTTP/1.1"), path("/", Some("")));
        assert_eq!(parse_line("GET http://a HTTP/1.1"), path("/", None));
        assert_eq!(parse_line("GET HTTP://A?b HTTP/1.1"), path("/", Some("b")));
        assert_eq!(parse_line("GET http://a/b?c HTTP/1.1"), path("/b", Some("c")));
        for target in [
            "*",
            "a:80",
            "a",
            "?a",
            "/#",
            "/\u{7f}",
            "/é",
            "https://a/",
            "http://",
            "http://u@a/",
            "ws://a/",
        ] {
            assert_eq!(
                parse_line(&format!("GET {target} HTTP/1.1")),
                Err(Refusal::TargetInvalid),
                "{target}"
            );
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
            assert_eq!(
                parse_line(&format!("GET / {version}")),
                Err(Refusal::HttpVersionUnsupported)
            );
        }
        for line in [
            "GET /",
            "GET / HTTP/2",
            "GET / http/1.1",
            "GET / HTTP/1.1 ",
            "GET  / HTTP/1.1",
            "GET / x HTTP/1.1",
        ] {
            assert_eq!(parse_line(line), Err(Refusal::RequestLineInvalid), "{line}");
        }
        assert_eq!(parse_line("G(T / HTTP/1.1"), Err(Refusal::MethodInvalid));
        assert_eq!(parse_line("get / HTTP/1.1"), Err(Refusal::MethodInvalid));
    }

    #[test]
    fn refuses_a_missing_duplicate_or_invalid_host_with_400() {
        assert_eq!(
            Request::parse(b"GET / HTTP/1.1\r\n\r\n").unwrap_err(),
            Refusal::HeaderMissing { name: "Host" }
        );
        assert_eq!(parse_with("host: a\r\n"), Err(Refusal::HeaderDuplicate { name: "Host" }));
        assert_eq!(
            Request::parse(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n").unwrap_err(),
            Refusal::HostInvalid,
            "in HTTP/1.0 as well"
        );
        for host in [
            "a",
            "a:",
            "a:80",
            "a.b-c_d~e",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "", ":", ":80", "a:b", "a:+1", "a:65536", "a b", "a,b", "é", "[", "]", "[]", "[a]",
            "[::1]a", "::1",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn refuses_malformed_header_lines_with_400() {
        for line in [" a: b", "\ta: b", "a: b\r\n c"] {
            assert_eq!(parse_with(&format!("{line}\r\n")), Err(Refusal::ObsoleteFold));
        }
        for line in ["a", "a : b", ": b", "a\0: b", "é: b", "\r\nGET / HTTP/1.1", "\r"] {
            assert_eq!(
                parse_with(&format!("{line}\r\n")),
                Err(Refusal::FieldNameInvalid),
                "{line:?}"
            );
        }
        for line in ["a: \0", "a: b\rc", "a: b\r", "a: \u{1b}", "a: \u{7f}"] {
            assert_eq!(
                parse_with(&format!("{line}\r\n")),
                Err(Refusal::FieldValueInvalid),
                "{line:?}"
            );
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

    /// Bytes that look like a head often enough for their halves to be accepted.
    fn head_like() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"GET / HTTP/1.1\r\n".to_vec()),
            Just(b"Host: a\r\n".to_vec()),
            Just(b"Connection: Upgrade, close\r\n".to_vec()),
            Just(b"Content-Length: 0\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b": ".to_vec()),
            "[A-Za-z-]{1,8}: [ -~\t]{0,12}\r\n".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        let first = prop::sample::select(&["", "GET / HTTP/1.1\r\nHost: a\r\n"][..]);
        let last = prop::sample::select(&["", "\r\n"][..]);
        (first, prop::collection::vec(piece, 0..6), last).prop_map(|(first, pieces, last)| {
            [first.as_bytes(), &pieces.concat(), last.as_bytes()].concat()
        })
    }

    proptest! {
        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes);
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn the_verdict_of_the_scan_does_not_depend_on_the_pieces(bytes in head_like(), at in any::<prop::sample::Index>()) {
            let limits = HeadLimits { request_line_bytes_max: 24, head_bytes_max: 64, headers_max: 3 };
            let whole = HeadScan::default().find_end(&bytes, &limits);
            let mut scan = HeadScan::default();
            let early = scan.find_end(&bytes[..at.index(bytes.len() + 1)], &limits);
            let split = if early == Ok(None) { scan.find_end(&bytes, &limits) } else { early };
            prop_assert_eq!(&split, &whole);
            let mut scan = HeadScan::default();
            let by_byte = (0..=bytes.len()).map(|end| scan.find_end(&bytes[..end], &limits)).find(|v| *v != Ok(None));
            prop_assert_eq!(by_byte.unwrap_or(Ok(None)), whole);
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
            let read: Vec<_> = request.headers().skip(1).map(|(n, v)| (n.to_owned(), String::from_utf8_lossy(v).into_owned())).collect();
            prop_assert_eq!(read, headers);
        }
    }
}
