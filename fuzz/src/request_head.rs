//! The head of a request: whatever the cuts between reads, the verdict is the same; what is accepted can be read in one
//! way only (RFC 9112), so that no proxy read another request; what is refused is answered well.

use ringsock::protocol::http::{BodyLength, HeadLimits, Headers, Request, parse_request};

use crate::head::{self, check_refusal, find_end, is_field_value, is_token};
use crate::input::{Input, Split, every_byte};

/// Pieces of valid and invalid requests.
pub const PHRASES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"GET /chat?a=b HTTP/1.1\r\nHost: localhost:9001\r\n",
    b"Host: a\r\n",
    b"\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Protocol: ",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    b"Sec-WebSocket-Extensions: ",
    b"permessage-deflate; server_max_window_bits=\"10\"",
    b"Connection: keep-alive, close\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Origin: http://localhost\r\n",
    b"POST http://a/b HTTP/1.0\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"Cookie: \xE9\xFF; a=b\r\n",
    b"\r\n folded\r\n",
    b"X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    b"[::1]:80",
    b"HTTP/1.1",
    b"http://",
    b"GET ws://a:80/b HTTP/1.1\r\n",
    b"wss://",
];

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let limits = head::limits(&mut input);
    let split = Split::new(&mut input);
    let bytes = head::head(&mut input, PHRASES);
    let found = find_end(&bytes, &[], &limits);
    for cuts in [split.cuts(bytes.len()), every_byte(bytes.len())] {
        assert_eq!(find_end(&bytes, &cuts, &limits), found, "the cuts changed the verdict");
    }
    match found {
        Ok(Some(end)) => check_head(&bytes[..end], &limits),
        // The empty line that may come first is awaited under any limit.
        Ok(None) => assert!(bytes.len() < limits.head_bytes_max.max(3), "a head above the limit is still awaited"),
        Err(refusal) => check_refusal(&refusal),
    }
    // A caller that parses bytes which no scan delimited is protected as well.
    if let Ok(request) = parse_request(&bytes, &mut Headers::default()) {
        check_lines(&bytes);
        check_request(&request);
    }
}

fn check_head(head: &[u8], limits: &HeadLimits) {
    assert!(head.len() <= limits.head_bytes_max && head.ends_with(b"\r\n\r\n"));
    let mut headers = Headers::default();
    match parse_request(head, &mut headers) {
        Err(refusal) => check_refusal(&refusal),
        Ok(request) => {
            assert!(request.headers().count() <= limits.headers_max);
            check_lines(head);
            check_request(&request);
            check_round_trip(&request);
        }
    }
}

/// Checks that no line ends in anything but CRLF, and none is folded.
fn check_lines(head: &[u8]) {
    let count = |wanted: &[u8]| head.windows(wanted.len()).filter(|window| *window == wanted).count();
    let line_ends = count(b"\r\n");
    assert_eq!((count(b"\r"), count(b"\n")), (line_ends, line_ends), "a bare CR or LF was accepted");
    assert_eq!(count(b"\r\n ") + count(b"\r\n\t"), 0, "a folded line was accepted");
}

fn check_request(request: &Request<'_>) {
    assert!(is_token(request.method().as_bytes()));
    assert!(request.target().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    assert!(request.path().starts_with('/') && !request.path().contains('?') || is_asterisk(request));
    let count = |wanted: &str| request.headers().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).count();
    for (name, value) in request.headers() {
        assert!(is_token(name.as_bytes()) && is_field_value(value), "{name}: {value:02x?}");
        assert!(request.header(name).is_some());
        assert!(request.header_tokens(name).all(|token| !token.is_empty()));
    }
    assert!(count("Content-Length") + count("Transfer-Encoding") <= 1, "its end can be told in two ways");
    let chunked = request.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    assert_eq!(chunked, count("Transfer-Encoding") == 1);
    assert!(!chunked || request.minor_version() == 1, "HTTP/1.0 knows no chunks");
    let expected: Vec<_> = request.header_tokens("Expect").collect();
    let continues = |value: &&[u8]| value.eq_ignore_ascii_case(b"100-continue");
    assert!(request.minor_version() == 0 || expected.iter().all(continues));
    assert!(count("Host") == 1 || count("Host") == 0 && request.minor_version() == 0);
    let has_body = chunked || request.content_length().is_some_and(|bytes| bytes > 0);
    assert_eq!(has_body, !matches!(BodyLength::of(request), BodyLength::Unannounced | BodyLength::Known(0)));
    let waits = has_body && request.minor_version() == 1 && !expected.is_empty();
    assert_eq!(request.expects_continue(), waits);
    assert!(!has_body || !matches!(request.method(), "GET" | "HEAD") && !request.is_upgrade());
    assert!(request.body().is_empty(), "a head has no body");
}

fn is_asterisk(request: &Request<'_>) -> bool {
    (request.method(), request.target(), request.path(), request.query()) == ("OPTIONS", "*", "*", None)
}

/// Checks that the request, written again line by line, is the same request.
fn check_round_trip(request: &Request<'_>) {
    let mut written =
        format!("{} {} HTTP/1.{}\r\n", request.method(), request.target(), request.minor_version()).into_bytes();
    for (name, value) in request.headers() {
        written.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    written.extend(b"\r\n");
    let mut headers = Headers::default();
    let again = parse_request(&written, &mut headers).expect("a request written anew is accepted");
    assert_eq!((again.path(), again.query(), again.host()), (request.path(), request.query(), request.host()));
    assert_eq!(BodyLength::of(&again), BodyLength::of(request));
    assert_eq!((again.keep_alive(), again.is_upgrade()), (request.keep_alive(), request.is_upgrade()));
    assert!(again.headers().eq(request.headers()));
}
