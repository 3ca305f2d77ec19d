//! HTTP responses other than 101.
//!
//! Owns the headers of every response. Never reads a request, never repeats a peer's bytes in a response. Invariant: a
//! response is one head and one body of exactly the announced length, whatever headers it is given; no value can end a
//! line.

use std::borrow::Cow;

use bytes::Bytes;

use super::date::Date;
use super::grammar::{is_field_value, is_token};
use super::refusal::Refusal;

/// A header that cannot be sent: a mistake of the code that built the response or the request, never of the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The name is not a token.
    #[error("The header name {name:?} is not a token. Use letters, digits and hyphens.")]
    Name {
        /// The name as it was given.
        name: String,
    },
    /// The value contains a byte that would end or hide part of the line.
    #[error("The value of the header {name} contains a control byte, such as CR or LF. Remove it.")]
    Value {
        /// The header's name.
        name: String,
    },
    /// The value is not the required token, list of extensions, host or target.
    #[error("The value {value:?} cannot be sent as {name}. Correct it.")]
    Malformed {
        /// The purpose of the value.
        name: &'static str,
        /// The value as it was given.
        value: String,
    },
    /// The handshake writes this header itself.
    #[error("The header {name} is written by the handshake itself. Do not add it.")]
    Reserved {
        /// The header's name.
        name: String,
    },
}

/// An HTTP response other than 101.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    content_type: Cow<'static, str>,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    body: Bytes,
}

impl Response {
    /// Creates a response without a body. A `status` that cannot end a request (outside 200 to 599) becomes 500.
    pub fn new(status: u16) -> Self {
        let status = if (200..600).contains(&status) { status } else { 500 };
        Self { status, content_type: Cow::Borrowed(TEXT), headers: Vec::new(), body: Bytes::new() }
    }

    /// Creates a response in plain text.
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).with_body(TEXT, body)
    }

    /// Creates a response in HTML.
    pub fn html(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).with_body("text/html; charset=utf-8", body)
    }

    /// Creates a response in JSON; `body` must be JSON already.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).with_body("application/json", body)
    }

    /// Sets the body.
    pub fn with_body(mut self, content_type: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        self.content_type = one_line(content_type.into());
        self.body = body.into();
        self
    }

    /// Adds a header.
    ///
    /// Control bytes in `value` become spaces, so no value can add a header or a body. A `name` that is not a token, or
    /// that the server sets itself, is ignored; `Content-Type` and `Cache-Control` replace the default.
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        let (name, value) = (name.into(), one_line(value.into()));
        if name.eq_ignore_ascii_case("Content-Type") {
            self.content_type = value;
        } else if is_token(name.as_bytes()) && !is_listed(&name, &OWNED) {
            self.headers.push((name, value));
        }
        self
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    fn write_head(&self, out: &mut Vec<u8>, date: &Date, keep_alive: bool, framing: Framing) {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(out, u64::from(self.status));
        push(out, &[" ", reason_phrase(self.status), "\r\n"]);
        push_origin(out, date);
        if framing != Framing::NoBody {
            push(out, &["Content-Type: ", &self.content_type, "\r\n"]);
        }
        match framing {
            Framing::Length => {
                out.extend_from_slice(b"Content-Length: ");
                push_number(out, self.body.len() as u64);
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunks => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::EndOfStream | Framing::NoBody => {}
        }
        out.extend_from_slice(b"X-Content-Type-Options: nosniff\r\n");
        if !self.has_header("Cache-Control") {
            out.extend_from_slice(b"Cache-Control: no-store\r\n");
        }
        // RFC 9110 7.8: a message with Upgrade names it in Connection too.
        out.extend_from_slice(match (self.has_header("Upgrade"), keep_alive) {
            (false, false) => b"Connection: close\r\n",
            (false, true) => b"Connection: keep-alive\r\n",
            (true, false) => b"Connection: Upgrade, close\r\n",
            (true, true) => b"Connection: Upgrade, keep-alive\r\n",
        });
        for (name, value) in &self.headers {
            push(out, &[name, ": ", value, "\r\n"]);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }
}

/// Appends a response to `out`. With `head_only`, the response to HEAD, the head is the same and the body is omitted.
pub fn write_response(out: &mut Vec<u8>, response: &Response, date: &Date, keep_alive: bool, head_only: bool) {
    // RFC 9110 8.6, 15.4.5: these statuses end at the head, and 204 must not even announce a length.
    let has_body = !matches!(response.status, 204 | 304);
    out.reserve(HEAD_BYTES_TYPICAL + response.body.len());
    response.write_head(out, date, keep_alive, if has_body { Framing::Length } else { Framing::NoBody });
    if has_body && !head_only {
        out.extend_from_slice(&response.body);
    }
}

/// Appends the head of a response whose body follows piece by piece: in chunks ([`write_chunk`](super::write_chunk),
/// then [`LAST_CHUNK`](super::LAST_CHUNK)), or up to the end of the stream for a client of HTTP/1.0, which does not
/// know chunks. The response's own body is not written.
pub fn write_streamed_head(out: &mut Vec<u8>, response: &Response, date: &Date, keep_alive: bool, in_chunks: bool) {
    response.write_head(out, date, keep_alive, if in_chunks { Framing::Chunks } else { Framing::EndOfStream });
}

/// The way in which a client finds the end of a body (RFC 9112 6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    EndOfStream,
    NoBody,
}

impl Refusal {
    /// Returns the response that tells the client of this refusal.
    pub fn response(&self) -> Response {
        let response = Response::text(self.status(), self.to_string());
        match self {
            Refusal::MethodNotAllowed { allow } => response.with_header("Allow", *allow),
            // RFC 6455 4.2.2, 4.4 and RFC 9110 15.5.22: the response names the protocol to upgrade to, and its version.
            Refusal::UpgradeRequired | Refusal::WebSocketVersionUnsupported => {
                response.with_header("Upgrade", "websocket").with_header("Sec-WebSocket-Version", "13")
            }
            Refusal::OutOfDescriptors
            | Refusal::OverCapacity
            | Refusal::ShuttingDown
            | Refusal::TooManyConnections
            | Refusal::TooManyHandshakes => response.with_header("Retry-After", RETRY_AFTER_SECONDS),
            _ => response,
        }
    }
}

/// The `Server` header of every response: a name without a version, which would help only attackers.
pub(in crate::protocol) const SERVER: &str = "ringsock";

/// Appends the parts of a line.
pub(in crate::protocol) fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the headers Date and Server, which every response has, 101 included.
pub(in crate::protocol) fn push_origin(out: &mut Vec<u8>, date: &Date) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date.as_bytes());
    push(out, &["\r\nServer: ", SERVER, "\r\n"]);
}

/// Appends the caller's headers; the error names the one that cannot be sent. `reserved` are those it may not set.
pub(in crate::protocol) fn push_headers(
    out: &mut Vec<u8>,
    headers: &[(&str, &str)],
    reserved: &[&str],
) -> Result<(), InvalidHeader> {
    for &(name, value) in headers {
        if !is_token(name.as_bytes()) {
            return Err(InvalidHeader::Name { name: name.to_owned() });
        }
        if is_listed(name, reserved) {
            return Err(InvalidHeader::Reserved { name: name.to_owned() });
        }
        if !is_field_value(value.as_bytes()) {
            return Err(InvalidHeader::Value { name: name.to_owned() });
        }
        push(out, &[name, ": ", value, "\r\n"]);
    }
    Ok(())
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The Retry-After of a busy server, in seconds: long enough to leave room for others, short enough to go unnoticed.
const RETRY_AFTER_SECONDS: &str = "1";

/// Bytes of a head without extra headers, rounded up, so that `out` grows once.
const HEAD_BYTES_TYPICAL: usize = 256;

/// Headers that only [`write_response`] sets: those that frame the message, and those of every response.
const OWNED: [&str; 6] =
    ["Connection", "Content-Length", "Date", "Server", "Transfer-Encoding", "X-Content-Type-Options"];

fn is_listed(name: &str, list: &[&str]) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// Replaces each control character by a space.
fn one_line(value: Cow<'static, str>) -> Cow<'static, str> {
    if is_field_value(value.as_bytes()) {
        value
    } else {
        Cow::Owned(value.replace(|c: char| c.is_ascii_control() && c != '\t', " "))
    }
}

/// Appends decimal digits, without the formatting machinery.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[begin..]);
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        // RFC 9112 4: the phrase may be empty; the space before it stays.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::foreign_origin::ForeignOrigin;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn written(response: &Response, keep_alive: bool, head_only: bool) -> String {
        let mut out = Vec::new();
        write_response(&mut out, response, &Date::from(UNIX_EPOCH), keep_alive, head_only);
        String::from_utf8(out).unwrap()
    }

    fn refused(refusal: Refusal) -> String {
        written(&refusal.response(), false, false)
    }

    #[test]
    fn a_streamed_head_announces_chunks_or_the_end_of_the_connection_and_no_length() {
        let head = |in_chunks: bool| {
            let mut out = Vec::new();
            let response = Response::text(200, "not written");
            write_streamed_head(&mut out, &response, &Date::from(UNIX_EPOCH), in_chunks, in_chunks);
            String::from_utf8(out).unwrap()
        };
        let [chunks, stream] = [true, false].map(head);
        assert!(chunks.contains("Transfer-Encoding: chunked\r\n") && chunks.contains("Connection: keep-alive\r\n"));
        assert!(!stream.contains("Transfer-Encoding") && stream.contains("Connection: close\r\n"));
        for head in [chunks, stream] {
            assert!(head.ends_with("\r\n\r\n") && !head.contains("Content-Length"), "{head}");
        }
    }

    #[test]
    fn writes_a_plain_answer_to_the_byte() {
        assert_eq!(
            written(&Response::text(200, "ok\n"), true, false),
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: ringsock\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\
             X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: keep-alive\r\n\r\nok\n"
        );
    }

    #[test]
    fn answers_head_with_the_length_of_the_body_and_without_it() {
        let answer = written(&Response::json(200, "{}"), false, true);
        assert!(answer.contains("Content-Type: application/json\r\nContent-Length: 2\r\n"));
        assert!(answer.contains("Connection: close\r\n"));
        assert!(answer.ends_with("\r\n\r\n"));
    }

    #[test]
    fn sends_no_length_and_no_body_with_204_and_304() {
        for status in [204, 304] {
            let answer = written(&Response::text(status, "hidden"), true, false);
            assert!(!answer.contains("Content-Length") && !answer.contains("hidden"), "{answer}");
        }
    }

    #[test]
    fn turns_a_status_that_ends_no_request_into_500() {
        for status in [0, 99, 100, 101, 199, 600, u16::MAX] {
            assert_eq!(Response::new(status).status(), 500);
        }
        assert_eq!(Response::new(599).status(), 599);
        assert!(written(&Response::new(599), true, false).starts_with("HTTP/1.1 599 \r\n"));
    }

    #[test]
    fn lets_no_header_split_the_answer() {
        let answer = Response::text(200, "ok")
            .with_header("X-Name", "a\r\nSet-Cookie: b\0c\x7f")
            .with_header("X-Bad\r\nSet-Cookie", "d")
            .with_header("X Bad", "e")
            .with_header("", "f")
            .with_header("content-length", "0")
            .with_header("Transfer-Encoding", "chunked")
            .with_header("Connection", "g")
            .with_header("date", "h")
            .with_body("text/css\r\nX: y", "ok");
        let answer = written(&answer, true, false);
        assert!(answer.contains("X-Name: a  Set-Cookie: b c \r\n"), "{answer}");
        assert!(answer.contains("Content-Type: text/css  X: y\r\n"));
        assert_eq!(answer.matches("\r\n").count(), 10);
        assert_eq!(answer.to_ascii_lowercase().matches("content-length").count(), 1);
        assert!(!answer.contains("chunked"));
    }

    #[test]
    fn replaces_the_defaults_of_content_type_and_cache_control() {
        let answer = Response::html(200, "<p>").with_header("cache-control", "max-age=60");
        let answer = written(&answer.with_header("Content-Type", "text/css"), true, false);
        assert!(answer.contains("cache-control: max-age=60\r\n") && !answer.contains("no-store"));
        assert!(answer.contains("Content-Type: text/css\r\n") && !answer.contains("html"));
    }

    #[test]
    fn gives_every_refusal_the_headers_its_status_calls_for() {
        assert!(refused(Refusal::MethodNotAllowed { allow: "GET" }).contains("\r\nAllow: GET\r\n"));
        use Refusal::{OverCapacity, ShuttingDown, TooManyConnections, TooManyHandshakes};
        for refusal in [OverCapacity, ShuttingDown, TooManyConnections, TooManyHandshakes] {
            assert!(refused(refusal).contains("\r\nRetry-After: 1\r\n"));
        }
        for refusal in [Refusal::UpgradeRequired, Refusal::WebSocketVersionUnsupported] {
            let answer = refused(refusal);
            assert!(answer.contains("\r\nConnection: Upgrade, close\r\n"));
            assert!(answer.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
        }
    }

    #[test]
    fn gives_every_refusal_a_status_a_reason_and_one_sentence_or_more() {
        use Refusal::*;
        let refusals = [
            (400, TlsOnPlainPort),
            (400, PlainHttp),
            (400, MethodInvalid),
            (400, BareLineFeed),
            (400, RequestLineInvalid),
            (400, TargetInvalid),
            (400, ObsoleteFold),
            (400, FieldNameInvalid),
            (400, FieldValueInvalid),
            (400, HeaderMissing { name: "Host" }),
            (400, HeaderDuplicate { name: "Host" }),
            (400, HostInvalid),
            (400, TransferEncoding),
            (400, ContentLengthInvalid),
            (400, ChunkInvalid),
            (400, BodyUnexpected),
            (400, UpgradeIncomplete),
            (400, KeyInvalid),
            (400, ProtocolsInvalid { protocols_max: 64 }),
            (400, ExtensionsInvalid),
            (400, EarlyData),
            (400, ProxyHeaderMissing),
            (400, ProxyHeaderUnexpected),
            (400, ProxyHeaderInvalid),
            (403, ForbiddenOrigin(Box::new(ForeignOrigin::new(b"https://evil.test", Some("a"))))),
            (405, MethodNotAllowed { allow: "GET" }),
            (408, HandshakeTimeout),
            (413, BodyTooLarge { bytes: 65_537, limit: 65_536 }),
            (414, RequestLineTooLong { limit: 8192 }),
            (417, ExpectationFailed),
            (426, UpgradeRequired),
            (426, WebSocketVersionUnsupported),
            (429, TooManyConnections),
            (429, TooManyHandshakes),
            (431, HeadTooLarge { limit: 16384 }),
            (431, TooManyHeaders { limit: 64 }),
            (431, ChunkExtrasTooLarge { limit: 8192 }),
            (500, HandlerFailed),
            (501, TransferCodingUnknown),
            (503, OverCapacity),
            (503, OutOfDescriptors),
            (503, ShuttingDown),
            (505, HttpVersionUnsupported),
            (505, HandshakeNeedsHttp11),
        ];
        for (status, refusal) in refusals {
            assert_eq!(refusal.status(), status);
            assert!(!reason_phrase(status).is_empty());
            let text = refusal.to_string();
            assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{text}");
            let answer = refused(refusal);
            assert!(answer.contains(&format!("Content-Length: {}\r\n", text.len())));
            assert!(answer.ends_with(&format!("\r\n\r\n{text}")));
        }
    }

    #[test]
    fn writes_numbers_as_the_standard_library_does() {
        for number in [0, 1, 9, 10, 99, 100, 65_535, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
