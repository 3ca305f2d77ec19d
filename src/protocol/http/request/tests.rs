//! Tests of the requests that are accepted, and of the refusal for each fault.

use proptest::prelude::*;

use super::*;
use crate::protocol::http::HEADERS_CAPACITY;
use crate::protocol::http::grammar::is_field_value;
use crate::protocol::http::head::tests::{head_like, scan};

/// Returns the verdict on a request with these lines after its Host.
fn parse_with(lines: &str) -> Result<u64, Refusal> {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    parse_request(head.as_bytes(), &mut Headers::default()).map(|request| request.content_length().unwrap_or(0))
}

fn parse_line(request_line: &str) -> Result<(String, Option<String>), Refusal> {
    let head = format!("{request_line}\r\nHost: a\r\n\r\n");
    parse_request(head.as_bytes(), &mut Headers::default())
        .map(|request| (request.path().into(), request.query().map(Into::into)))
}

#[test]
fn exposes_every_part_of_a_request() {
    let head = b"GET /chat/room?a=1?b HTTP/1.1\r\nHost: example.com:80\r\nCookie: a\r\ncookie:\t b \r\n\
        X-List: a, ,b\r\nx-list: c\r\nX-Latin: caf\xE9\r\nX-Empty:\r\n\r\n";
    let mut headers = Headers::default();
    let request = parse_request(head, &mut headers).unwrap();
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
    for scheme in ["http", "https", "ws", "wss", "WS", "Wss", "HTTPS"] {
        assert_eq!(parse_line(&format!("GET {scheme}://a/b?c HTTP/1.1")), path("/b", Some("c")), "{scheme}");
    }
    assert_eq!(parse_line("GET /ws://a/b HTTP/1.1"), path("/ws://a/b", None));
    assert_eq!(parse_line("OPTIONS * HTTP/1.1"), path("*", None));
    for target in [
        "*",
        "a:80",
        "a",
        "?a",
        "/#",
        "/\u{7f}",
        "/é",
        "http://",
        "http:///a",
        "ws://?a",
        "http://u@a/",
        "ws://u:p@a/",
        "ws:/a",
        "ws:a",
        "ftp://a/",
        "://a/",
        "wsx://a/",
        "ws//a",
        "http://a:x/",
        "http://a b/",
        "ws://a#b",
    ] {
        assert_eq!(parse_line(&format!("GET {target} HTTP/1.1")).ok(), None, "{target}");
    }
    for line in ["GET *", "POST *", "OPTIONS *?a", "OPTIONS **", "OPTIONS *://a/"] {
        assert_eq!(parse_line(&format!("{line} HTTP/1.1")), Err(Refusal::TargetInvalid), "{line}");
    }
}

#[test]
fn the_authority_of_a_url_replaces_the_host_which_has_to_be_there_and_good_all_the_same() {
    let host = |head: &str| {
        let mut headers = Headers::default();
        parse_request(head.as_bytes(), &mut headers).map(|request| request.host().map(str::to_owned))
    };
    let is = |host: &str| Ok(Some(host.to_owned()));
    assert_eq!(host("GET http://a:80/ HTTP/1.0\r\n\r\n"), is("a:80"));
    assert_eq!(host("GET / HTTP/1.0\r\n\r\n"), Ok(None));
    assert_eq!(host("GET ws://A:80/ HTTP/1.1\r\nHost: a:80\r\n\r\n"), is("A:80"));
    assert_eq!(host("GET wss://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), is("b"), "RFC 9112 3.2.2");
    assert_eq!(host("GET ws://a/ HTTP/1.1\r\n\r\n"), Err(Refusal::HeaderMissing { name: "Host" }));
    assert_eq!(host("GET ws://a/ HTTP/1.1\r\nHost:\r\n\r\n"), Err(Refusal::HostInvalid));
    let twice = Err(Refusal::HeaderDuplicate { name: "Host" });
    assert_eq!(host("GET ws://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), twice);
}

#[test]
fn refuses_other_versions_with_505_and_malformed_ones_with_400() {
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9"] {
        assert_eq!(parse_line(&format!("GET / {version}")), Err(Refusal::HttpVersionUnsupported));
    }
    for line in ["GET /", "GET / HTTP/2", "GET / http/1.1", "GET / HTTP/1.1 ", "GET  / HTTP/1.1", "GET / x HTTP/1.1"] {
        assert_eq!(parse_line(line), Err(Refusal::RequestLineInvalid), "{line}");
    }
    assert_eq!(parse_line("G(T / HTTP/1.1"), Err(Refusal::MethodInvalid));
    assert_eq!(parse_line("get / HTTP/1.1"), Err(Refusal::MethodInvalid));
}

#[test]
fn refuses_a_missing_duplicate_or_invalid_host_with_400() {
    assert_eq!(
        parse_request(b"GET / HTTP/1.1\r\n\r\n", &mut Headers::default()).unwrap_err(),
        Refusal::HeaderMissing { name: "Host" }
    );
    assert_eq!(parse_with("host: a\r\n"), Err(Refusal::HeaderDuplicate { name: "Host" }));
    assert_eq!(
        parse_request(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", &mut Headers::default()).unwrap_err(),
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
fn has_room_for_as_many_headers_as_may_be_configured() {
    let most = "X: y\r\n".repeat(HEADERS_CAPACITY - 1);
    assert_eq!(parse_with(&most), Ok(0));
    let refusal = Refusal::TooManyHeaders { limit: HEADERS_CAPACITY };
    assert_eq!(parse_with(&(most + "X: y\r\n")), Err(refusal));
}

#[test]
fn refuses_what_httparse_is_lenient_about() {
    let parse = |head: &str| parse_request(head.as_bytes(), &mut Headers::default()).map(|_| ());
    assert_eq!(parse("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Refusal::MethodInvalid));
    assert_eq!(parse("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Refusal::MethodInvalid));
    assert_eq!(parse("GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(Refusal::BareLineFeed));
    assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\n\n"), Err(Refusal::BareLineFeed));
    assert_eq!(parse("GET /é HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Refusal::TargetInvalid));
    let second = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(second), Err(Refusal::FieldNameInvalid), "nothing is left unread");
}

#[test]
fn refuses_bodies_of_doubtful_length() {
    assert_eq!(parse_with("Content-Length: 5\r\n"), Ok(5));
    let twice = "Content-Length: 5\r\ncontent-length: 5\r\n";
    assert_eq!(parse_with(twice), Err(Refusal::HeaderDuplicate { name: "Content-Length" }));
    for value in ["", "+5", "-5", "5, 5", "0x5", "5 5", "18446744073709551616", "é"] {
        let line = format!("Content-Length: {value}\r\n");
        assert_eq!(parse_with(&line), Err(Refusal::ContentLengthInvalid), "{value}");
    }
}

/// Returns the body length of a request with these lines.
fn body_length(lines: &str) -> Result<BodyLength, Refusal> {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    parse_request(head.as_bytes(), &mut Headers::default()).map(|request| BodyLength::of(&request))
}

#[test]
fn takes_chunked_as_the_only_transfer_coding() {
    for value in ["chunked", "Chunked", "CHUNKED", " \tchunked \t"] {
        assert_eq!(body_length(&format!("transfer-encoding:{value}\r\n")), Ok(BodyLength::Chunked), "{value:?}");
    }
    for value in ["identity", "gzip", "xchunked", "chunkedx", "gzip, chunked", "identity,chunked", "a, b"] {
        let refused = Err(Refusal::TransferCodingUnknown);
        assert_eq!(body_length(&format!("Transfer-Encoding: {value}\r\n")), refused, "{value:?}");
    }
    for value in [
        "",
        ",",
        "chunked,",
        ", chunked",
        "chunked, chunked",
        "chunked, identity",
        "chunked, gzip, chunked",
        "chunked;a=b",
        "gzip;a=b, chunked",
        "\"chunked\"",
        "chun ked",
        "chunked chunked",
        "'chunked",
        "\u{e9}",
    ] {
        let lines = format!("Transfer-Encoding: {value}\r\n");
        let refused = body_length(&lines).unwrap_err();
        assert!(matches!(refused, Refusal::TransferEncoding | Refusal::TransferCodingUnknown), "{value:?}: {refused}");
        assert_eq!(refused == Refusal::TransferCodingUnknown, value == "'chunked", "{value:?}: an odd token, but one");
    }
}

#[test]
fn refuses_chunks_whose_end_another_program_may_see_elsewhere() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for lines in [
        format!("Content-Length: 5\r\n{chunked}"),
        format!("{chunked}Content-Length: 5\r\n"),
        format!("Content-Length: 0\r\n{chunked}"),
        format!("{chunked}content-length: 0\r\n"),
        format!("{chunked}{chunked}"),
        format!("{chunked}Transfer-Encoding: identity\r\n"),
    ] {
        assert_eq!(body_length(&lines), Err(Refusal::TransferEncoding), "{lines}");
    }
    let head = format!("POST / HTTP/1.0\r\nHost: a\r\n{chunked}\r\n");
    let refused = parse_request(head.as_bytes(), &mut Headers::default()).unwrap_err();
    assert_eq!(refused, Refusal::TransferEncoding, "RFC 9112 6.1");
}

#[test]
fn knows_who_holds_a_body_back_until_it_is_told_to_send_it() {
    let waits = |version: &str, lines: &str| {
        let head = format!("POST / {version}\r\nHost: a\r\n{lines}\r\n");
        parse_request(head.as_bytes(), &mut Headers::default()).map(|request| request.expects_continue())
    };
    let body = "Content-Length: 5\r\n";
    for value in ["100-continue", "100-Continue", "100-continue, 100-continue", " 100-continue ,"] {
        assert_eq!(waits("HTTP/1.1", &format!("{body}Expect: {value}\r\n")), Ok(true), "{value}");
        assert_eq!(
            waits("HTTP/1.1", &format!("expect: {value}\r\nTransfer-Encoding: chunked\r\n")),
            Ok(true),
            "{value}"
        );
        assert_eq!(waits("HTTP/1.0", &format!("{body}Expect: {value}\r\n")), Ok(false), "{value}");
        assert_eq!(waits("HTTP/1.1", &format!("Expect: {value}\r\n")), Ok(false), "no body, {value}");
        assert_eq!(waits("HTTP/1.1", &format!("Expect: {value}\r\nContent-Length: 0\r\n")), Ok(false), "{value}");
    }
    assert_eq!(waits("HTTP/1.1", body), Ok(false));
    assert_eq!(waits("HTTP/1.1", &format!("{body}Expect:\r\n")), Ok(false), "nothing is expected");
    for value in ["something", "100-continue, something", "100", "100-continue;a=b", "continue"] {
        for body in [body, ""] {
            let refused = Err(Refusal::ExpectationFailed);
            assert_eq!(waits("HTTP/1.1", &format!("{body}Expect: {value}\r\n")), refused, "{value}");
            assert_eq!(waits("HTTP/1.0", &format!("{body}Expect: {value}\r\n")), Ok(false), "{value}");
        }
    }
}

#[test]
fn refuses_a_body_with_get_head_and_every_upgrade() {
    let refusal = Refusal::BodyUnexpected;
    for begin in [
        "GET / HTTP/1.1",
        "HEAD / HTTP/1.1",
        "POST / HTTP/1.1\r\nUpgrade: WebSocket",
        "PUT / HTTP/1.1\r\nSec-WebSocket-Key: a",
    ] {
        for length in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let head = format!("{begin}\r\nHost: a\r\n{length}\r\n\r\n");
            assert_eq!(parse_request(head.as_bytes(), &mut Headers::default()).unwrap_err(), refusal);
        }
    }
}

#[test]
fn has_the_body_that_it_was_given_and_none_before() {
    let mut headers = Headers::default();
    let request = parse_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", &mut headers).unwrap();
    assert_eq!((request.content_length(), request.body()), (Some(5), &b""[..]));
    let request = request.with_body(b"GET /");
    assert_eq!((request.method(), request.content_length(), request.body()), ("POST", Some(5), &b"GET /"[..]));
}

#[test]
fn keeps_a_connection_alive_as_the_version_and_connection_say() {
    let keeps = |version: &str, lines: &str| {
        let head = format!("POST / {version}\r\nHost: a\r\n{lines}\r\n");
        parse_request(head.as_bytes(), &mut Headers::default()).unwrap().keep_alive()
    };
    assert!(keeps("HTTP/1.1", ""));
    assert!(!keeps("HTTP/1.0", ""));
    assert!(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("HTTP/1.1", "Connection: CLOSE\r\n"));
    assert!(!keeps("HTTP/1.1", "Connection: keep-alive\r\nConnection: x, close\r\n"));
    assert!(keeps("HTTP/1.1", "Content-Length: 0\r\n"));
    assert!(keeps("HTTP/1.1", "Content-Length: 5\r\n"), "the next request begins where the body ends");
}

#[test]
fn recognises_an_attempt_to_upgrade_by_its_protocol_or_key() {
    let upgrades = |lines: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        parse_request(head.as_bytes(), &mut Headers::default()).unwrap().is_upgrade()
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
        let _ = parse_request(&bytes, &mut Headers::default());
    }

    // Even if httparse becomes lenient, nothing is accepted that could be read in another way.
    #[test]
    fn reads_what_it_accepts_as_a_plain_split_of_the_lines_does(bytes in head_like()) {
        let Ok(Some(end)) = scan(&bytes) else { return Ok(()) };
        let mut headers = Headers::default();
        let Ok(request) = parse_request(&bytes[..end], &mut headers) else { return Ok(()) };
        let head = bytes[..end].strip_prefix(b"\r\n").unwrap_or(&bytes[..end]);
        let mut lines = head.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r\n").unwrap());
        let line = format!("{} {} HTTP/1.{}", request.method(), request.target(), request.minor_version());
        prop_assert_eq!(lines.next(), Some(line.as_bytes()));
        for (name, value) in request.headers() {
            let line = lines.next().unwrap();
            let colon = line.iter().position(|&byte| byte == b':').unwrap();
            prop_assert_eq!((&line[..colon], line[colon + 1..].trim_ascii()), (name.as_bytes(), value));
            prop_assert!(is_token(name.as_bytes()) && is_field_value(value));
        }
        prop_assert_eq!((lines.next(), lines.next()), (Some(&b""[..]), None));
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
        let mut storage = Headers::default();
        let request = parse_request(head.as_bytes(), &mut storage).unwrap();
        prop_assert_eq!((request.path(), request.query()), (&path[..], query.as_deref()));
        let read = request.headers().skip(1);
        let sent = headers.iter().map(|(name, value)| (&name[..], value.as_bytes()));
        prop_assert!(read.eq(sent));
    }
}
