//! Tests of plain HTTP as clients of all kinds send it, byte by byte, against the running program on each reactor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::time::{Duration, SystemTime};

use program::http::{Answer, HttpClient, request};
use program::{Process, between, serve};

const KEY: &str = "the-key-of-this-test";

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A running program with an admin listener, ended when it is dropped.
struct Program {
    _process: Process,
    address: String,
    admin: String,
}

impl Program {
    fn start(flags: &[&str]) -> Self {
        let own = ["--admin-listen", "127.0.0.1:0", "--cores", "1", "--api-key", KEY];
        let (process, banner) = serve(&[&own, flags].concat());
        let address = between(&banner, "ready on ws://", "/");
        let admin = between(&banner, "metrics      http://", "/");
        Self { _process: process, address, admin }
    }

    fn connect(&self) -> HttpClient {
        HttpClient::new(&self.address)
    }

    /// Returns the first answer to these bytes on a connection of their own.
    fn ask(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.write(&bytes);
        client.answer_to(if bytes.as_ref().starts_with(b"HEAD ") { "HEAD" } else { "GET" })
    }
}

fn on_each_reactor(flags: &[&str], test: impl Fn(&Program)) {
    for reactor in ["epoll", "uring"] {
        test(&Program::start(&[&["--reactor", reactor], flags].concat()));
    }
}

#[test]
fn answers_of_all_kinds_say_when_they_were_made() {
    on_each_reactor(&["--max-message-bytes", "1000"], |server| {
        let answers = [
            (200, request("GET /health", "")),
            (200, request("GET /", "")),
            (200, request("HEAD /readyz", "")),
            (200, request("GET /api/cores", "")),
            (404, request("GET /nothing", "")),
            (405, request("DELETE /health", "")),
            (426, request("GET /echo", "")),
            (400, "nonsense\r\n\r\n".to_owned()),
            (401, request("POST /api/publish?topic=a", "")),
            (413, request("POST /api/publish?topic=a", "Content-Length: 1001\r\n")),
            (403, request("GET /echo", &format!("{UPGRADE}Origin: http://elsewhere.example\r\n"))),
            (404, request("GET /nothing", UPGRADE)),
            (101, request("GET /echo", UPGRADE)),
        ];
        for (status, request) in &answers {
            assert_is_of_now(&request[..4], || server.ask(request), *status);
        }
        for path in ["/", "/metrics", "/health", "/readyz", "/nothing"] {
            let status = if path == "/nothing" { 404 } else { 200 };
            let ask = || {
                let mut client = HttpClient::new(&server.admin);
                client.write(request(&format!("GET {path}"), ""));
                client.answer()
            };
            assert_is_of_now(path, ask, status);
        }
    });
}

#[test]
fn a_client_that_is_turned_away_learns_when_to_retry() {
    on_each_reactor(&["--max-connections", "1"], |server| {
        let mut first = server.connect();
        first.write(request("GET /health", ""));
        assert_eq!(first.answer().status, 200);
        assert_is_of_now("a second one", || server.connect().answer(), 503);
    });
}

/// Asserts that an answer has this status, and a date between its request and now.
fn assert_is_of_now(what: &str, ask: impl FnOnce() -> Answer, status: u16) {
    let before = SystemTime::now();
    let answer = ask();
    let after = SystemTime::now();
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.head.to_ascii_lowercase().matches("\r\ndate: ").count(), 1, "{what}: {answer:?}");
    let date = httpdate::parse_http_date(answer.header("Date").unwrap()).unwrap();
    // The date is truncated to the second, and may be one second old.
    assert!(date <= after && date + Duration::from_secs(2) > before, "{what}: {date:?} is not {before:?} to {after:?}");
}

/// Returns a request that publishes, with these headers; its body follows.
fn publish(version: &str, headers: &str) -> String {
    format!("POST /api/publish?topic=a {version}\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n{headers}\r\n")
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const EXPECT: &str = "Expect: 100-continue\r\n";

/// Returns the body that these chunks contain.
fn in_chunks(chunks: &[&str]) -> String {
    let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    chunks + "0\r\n\r\n"
}

#[test]
fn a_body_in_chunks_is_published_and_the_connection_goes_on() {
    on_each_reactor(&[], |server| {
        let mut client = server.connect();
        let requests = [
            publish("HTTP/1.1", CHUNKED) + &in_chunks(&["he", "llo"]),
            publish("HTTP/1.1", "Content-Length: 5\r\n") + "hello",
            publish("HTTP/1.1", CHUNKED) + &in_chunks(&[]),
            publish("HTTP/1.1", CHUNKED) + "5;a=\"b\"\r\nhello\r\n00\r\nX-Trailer: y\r\n\r\n",
        ];
        for _ in 0..2 {
            client.write(requests.concat());
            for request in &requests {
                let answer = client.answer();
                assert_eq!(answer.status, 200, "{request}: {answer:?}");
            }
        }
        for byte in requests[0].bytes() {
            client.write([byte]);
        }
        assert_eq!(client.answer().status, 200);
    });
}

#[test]
fn a_body_that_is_held_back_is_sent_only_once_it_is_asked_for() {
    on_each_reactor(&[], |server| {
        let mut client = server.connect();
        for (length, body) in [("Content-Length: 5\r\n", "hello".to_owned()), (CHUNKED, in_chunks(&["hello"]))] {
            for expect in [EXPECT, "expect: 100-Continue\r\n"] {
                client.write(publish("HTTP/1.1", &format!("{length}{expect}")));
                let go_on = client.answer();
                assert_eq!((go_on.status, &go_on.head[..]), (100, "HTTP/1.1 100 Continue\r\n\r\n"));
                client.write(&body);
                assert_eq!(client.answer().status, 200);
            }
            // A client that does not wait gets nothing but the answer.
            client.write(publish("HTTP/1.1", &format!("{length}{EXPECT}")) + &body);
            assert_eq!(client.answer().status, 200);
        }
    });
}

#[test]
fn a_body_that_is_held_back_is_refused_before_it_is_sent() {
    on_each_reactor(&["--max-message-bytes", "1000"], |server| {
        let wrong_key = publish("HTTP/1.1", "").replace(KEY, "wrong");
        let wrong_key = wrong_key.trim_end_matches("\r\n");
        for (status, line) in [
            (401, wrong_key),
            (401, "POST /api/publish?topic=a HTTP/1.1\r\nHost: localhost"),
            (400, &format!("POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}")),
            (405, "PUT /api/publish?topic=a HTTP/1.1\r\nHost: localhost"),
            (404, "POST /nothing HTTP/1.1\r\nHost: localhost"),
            (405, "POST /health HTTP/1.1\r\nHost: localhost"),
            (405, "POST /echo HTTP/1.1\r\nHost: localhost"),
        ] {
            for length in ["Content-Length: 5\r\n", CHUNKED] {
                let mut client = server.connect();
                client.write(format!("{line}\r\n{length}{EXPECT}\r\n"));
                let answer = client.answer();
                assert_eq!(answer.status, status, "{line}: {answer:?}");
                assert_eq!(answer.header("Connection"), Some("close"), "{line}");
                assert!(client.is_at_end(), "{line}");
            }
        }
        let large = publish("HTTP/1.1", &format!("Content-Length: 1001\r\n{EXPECT}"));
        assert_eq!(server.ask(large).status, 413);
        let unknown = publish("HTTP/1.1", "Content-Length: 5\r\nExpect: something\r\n");
        assert_eq!(server.ask(unknown).status, 417);
    });
}

#[test]
fn no_100_is_sent_without_a_body_or_in_http_1_0() {
    on_each_reactor(&[], |server| {
        for line in ["GET /health", "HEAD /health", "GET /readyz", "GET /", "GET /api/cores"] {
            assert_eq!(server.ask(request(line, EXPECT)).status, 200, "{line}");
        }
        assert_eq!(server.ask(request("GET /echo", &format!("{UPGRADE}{EXPECT}"))).status, 101);
        assert_eq!(server.ask(publish("HTTP/1.1", EXPECT)).status, 200, "an empty body");
        assert_eq!(server.ask(publish("HTTP/1.1", &format!("{EXPECT}Content-Length: 0\r\n"))).status, 200);
        let mut client = server.connect();
        client.write(publish("HTTP/1.0", &format!("Connection: keep-alive\r\nContent-Length: 5\r\n{EXPECT}")));
        // A 100 would come first.
        client.write("hello");
        assert_eq!(client.answer().status, 200);
    });
}

#[test]
fn a_body_with_a_doubtful_end_is_refused_and_nothing_behind_it_is_answered() {
    on_each_reactor(&[], |server| {
        let hidden = request("GET /health", "");
        for (status, version, headers, body) in [
            (400, "HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
            (400, "HTTP/1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            (400, "HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            (400, "HTTP/1.1", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
            (400, "HTTP/1.0", CHUNKED, "0\r\n\r\n"),
            (501, "HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            (501, "HTTP/1.1", "Transfer-Encoding: identity\r\n", ""),
            (400, "HTTP/1.1", CHUNKED, "5\nhello\n0\n\n"),
            (400, "HTTP/1.1", CHUNKED, "5 \r\nhello\r\n0\r\n\r\n"),
            (400, "HTTP/1.1", CHUNKED, "5\r\nhello0\r\n\r\n"),
        ] {
            let mut client = server.connect();
            client.write(publish(version, headers) + body + &hidden);
            let answer = client.answer();
            assert_eq!(answer.status, status, "{headers}{body}: {answer:?}");
            assert_eq!(answer.header("Connection"), Some("close"));
            assert!(client.is_at_end(), "{headers}{body}");
        }
        for line in ["GET /health", "HEAD /health", "GET /echo"] {
            assert_eq!(server.ask(request(line, CHUNKED)).status, 400, "{line}");
        }
        assert_eq!(server.ask(request("GET /echo", &format!("{UPGRADE}{CHUNKED}"))).status, 400);
        // A body that is read and useless.
        assert_eq!(server.ask(request("POST /health", CHUNKED) + &in_chunks(&["x"])).status, 405);
    });
}

#[test]
fn options_are_told_on_every_path_and_405_names_the_same_methods() {
    on_each_reactor(&[], |server| {
        let (read, publish) = ("GET, HEAD, OPTIONS", "POST, OPTIONS");
        let main = [
            ("/", read),
            ("/health", read),
            ("/health?probe=1", read),
            ("/readyz", read),
            ("/echo", read),
            ("/topics/news", read),
            ("/api/cores", read),
            ("/api/publish?topic=a", publish),
        ];
        let admin = [("/", read), ("/metrics", read), ("/health", read), ("/readyz", read)];
        for (address, paths) in [(&server.address, &main[..]), (&server.admin, &admin[..])] {
            let ask = |line: String| {
                let mut client = HttpClient::new(address);
                client.write(request(&line, ""));
                client.answer()
            };
            for (path, allow) in paths {
                let told = ask(format!("OPTIONS {path}"));
                assert_eq!((told.status, told.header("Allow"), &told.body[..]), (200, Some(*allow), ""), "{path}");
                assert_eq!(told.header("Content-Length"), Some("0"), "{path}");
                for method in ["PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
                    let refused = ask(format!("{method} {path}"));
                    assert_eq!((refused.status, refused.header("Allow")), (405, Some(*allow)), "{method} {path}");
                }
            }
            assert_eq!(ask("OPTIONS /nothing".to_owned()).status, 404);
            let all = ask("OPTIONS *".to_owned());
            assert!(all.status == 200 && all.header("Allow").unwrap().contains("GET, HEAD"), "{all:?}");
        }
    });
}

#[test]
fn every_resource_for_get_answers_head() {
    on_each_reactor(&[], |server| {
        for (address, path) in [
            (&server.address, "/"),
            (&server.address, "/health"),
            (&server.address, "/readyz"),
            (&server.address, "/api/cores"),
            (&server.admin, "/"),
            (&server.admin, "/metrics"),
            (&server.admin, "/health"),
        ] {
            let mut client = HttpClient::new(address);
            client.write(request(&format!("HEAD {path}"), ""));
            let head = client.answer_to("HEAD");
            assert_eq!(head.status, 200, "{path}");
            assert!(head.header("Content-Length").unwrap().parse::<usize>().unwrap() > 0, "{path}");
            client.write(request("GET /health", ""));
            assert_eq!(client.answer().body, "ok", "no body stands between");
        }
    });
}

#[test]
fn pages_of_listed_origins_may_use_the_api_and_no_others() {
    let allowed = "https://app.example, http://localhost:8080";
    on_each_reactor(&["--set", &format!("api.allow-origin={allowed}")], |server| {
        let preflight = |origin: &str| {
            let headers = format!(
                "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Headers: x-api-key\r\n"
            );
            server.ask(request("OPTIONS /api/publish?topic=a", &headers))
        };
        for origin in ["https://app.example", "http://localhost:8080"] {
            let told = preflight(origin);
            assert_eq!((told.status, told.header("Access-Control-Allow-Origin")), (204, Some(origin)));
            assert_eq!(told.header("Access-Control-Allow-Methods"), Some("POST, OPTIONS"));
            assert_eq!(told.header("Access-Control-Allow-Headers"), Some("x-api-key"));
            assert!(told.header("Access-Control-Max-Age").is_some() && told.header("Vary").unwrap().contains("Origin"));
            assert_eq!(told.header("Access-Control-Allow-Credentials"), None);
            let from = format!("Origin: {origin}\r\n");
            for (status, request) in [
                (200, publish("HTTP/1.1", &from)),
                (401, request("POST /api/publish?topic=a", &from)),
                (401, request("POST /api/publish?topic=a", &format!("{from}{EXPECT}{CHUNKED}"))),
                (405, request("GET /api/publish?topic=a", &from)),
                (200, request("GET /api/cores", &from)),
                (404, request("GET /api/nothing", &from)),
            ] {
                let answer = server.ask(&request);
                let seen = answer.header("Access-Control-Allow-Origin");
                assert_eq!(
                    (answer.status, seen, answer.header("Vary")),
                    (status, Some(origin), Some("Origin")),
                    "{request}"
                );
            }
        }
        for origin in ["https://evil.example", "http://app.example", "null"] {
            let told = preflight(origin);
            assert_eq!((told.status, told.header("Access-Control-Allow-Origin")), (200, None), "{origin}");
            let answer = server.ask(publish("HTTP/1.1", &format!("Origin: {origin}\r\n")));
            assert_eq!(answer.header("Access-Control-Allow-Origin"), None, "{origin}");
        }
        assert_eq!(server.ask(request("GET /health", "Origin: https://app.example\r\n")).header("Vary"), None);
    });
}

/// Requests that publish `hello`, as clients send them: their name, the lines after the request line and Host, and the
/// body. `@` in a line stands for the key.
const CLIENTS: &[(&str, &str, &str)] = &[
    (
        "curl -d",
        "User-Agent: curl/8.5.0\nAccept: */*\nX-API-Key: @\nContent-Length: 5\n\
         Content-Type: application/x-www-form-urlencoded",
        "hello",
    ),
    (
        "curl -T -",
        "User-Agent: curl/8.5.0\nAccept: */*\nX-API-Key: @\nTransfer-Encoding: chunked\n\
         Expect: 100-continue",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("curl -H 'Expect: 100-continue'", "Accept: */*\nX-API-Key: @\nExpect: 100-continue\nContent-Length: 5", "hello"),
    (
        "curl --http2",
        "Accept: */*\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\n\
         HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\nX-API-Key: @\nContent-Length: 5",
        "hello",
    ),
    (
        "wget --post-data",
        "User-Agent: Wget/1.21.3\nAccept: */*\nAccept-Encoding: identity\nConnection: Keep-Alive\n\
         X-API-Key: @\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 5",
        "hello",
    ),
    ("Node http.request, end(body)", "X-API-Key: @\nContent-Length: 5\nConnection: keep-alive", "hello"),
    (
        "Node http.request, write() and end()",
        "X-API-Key: @\nConnection: keep-alive\nTransfer-Encoding: chunked",
        "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ),
    (
        "Node fetch with a string",
        "connection: keep-alive\nX-API-Key: @\ncontent-type: text/plain;charset=UTF-8\naccept: */*\n\
         accept-language: *\nsec-fetch-mode: cors\nuser-agent: node\naccept-encoding: gzip, deflate\n\
         content-length: 5",
        "hello",
    ),
    (
        "Node fetch with a stream",
        "connection: keep-alive\nX-API-Key: @\naccept: */*\naccept-language: *\nsec-fetch-mode: cors\n\
         user-agent: node\naccept-encoding: gzip, deflate\ntransfer-encoding: chunked",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "Java HttpClient, ofString",
        "Connection: Upgrade, HTTP2-Settings\nContent-Length: 5\n\
         HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAABgBgAAA\nUpgrade: h2c\n\
         User-Agent: Java-http-client/17.0.9\nX-API-Key: @",
        "hello",
    ),
    (
        "Java HttpClient, ofInputStream",
        "Connection: Upgrade, HTTP2-Settings\n\
         HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAABgBgAAA\nTransfer-encoding: chunked\n\
         Upgrade: h2c\nUser-Agent: Java-http-client/17.0.9\nX-API-Key: @",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "Java HttpURLConnection, streaming",
        "X-API-Key: @\nUser-Agent: Java/17.0.9\nAccept: */*\nConnection: keep-alive\n\
         Content-type: application/x-www-form-urlencoded\nTransfer-Encoding: chunked",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "OkHttp",
        "X-API-Key: @\nContent-Type: text/plain; charset=utf-8\nTransfer-Encoding: chunked\n\
         Connection: Keep-Alive\nAccept-Encoding: gzip\nUser-Agent: okhttp/4.12.0",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("Go http.Post", "User-Agent: Go-http-client/1.1\nContent-Length: 5\nX-Api-Key: @\nAccept-Encoding: gzip", "hello"),
    (
        "Go with a reader and trailers",
        "User-Agent: Go-http-client/1.1\nTransfer-Encoding: chunked\nTrailer: Checksum\nX-Api-Key: @\n\
         Accept-Encoding: gzip",
        "5\r\nhello\r\n0\r\nChecksum: 1\r\n\r\n",
    ),
    (
        "Python http.client with an iterable",
        "Accept-Encoding: identity\nX-API-Key: @\nTransfer-Encoding: chunked",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ),
    (
        "Python urllib",
        "Accept-Encoding: identity\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 5\n\
         User-Agent: Python-urllib/3.11\nX-api-key: @\nConnection: close",
        "hello",
    ),
    (
        "Python requests with a generator",
        "User-Agent: python-requests/2.31.0\nAccept-Encoding: gzip, deflate\nAccept: */*\n\
         Connection: keep-alive\nX-API-Key: @\nTransfer-Encoding: chunked",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "PHP curl",
        "Accept: */*\nAuthorization: Bearer @\nContent-Length: 5\nExpect: 100-continue\n\
         Content-Type: application/x-www-form-urlencoded",
        "hello",
    ),
    (
        ".NET HttpClient, ExpectContinue",
        "Authorization: Bearer @\nExpect: 100-continue\nContent-Type: text/plain; charset=utf-8\n\
         Content-Length: 5",
        "hello",
    ),
    (".NET HttpClient, StreamContent", "X-API-Key: @\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    (
        "Ruby Net::HTTP",
        "Content-Type: application/x-www-form-urlencoded\nX-Api-Key: @\n\
         Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\nAccept: */*\nUser-Agent: Ruby\n\
         Content-Length: 5",
        "hello",
    ),
    (
        "Ruby Net::HTTP, body_stream",
        "Transfer-Encoding: chunked\nX-Api-Key: @\nAccept: */*\nUser-Agent: Ruby\n\
         Content-Type: application/x-www-form-urlencoded",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "a proxy that pads sizes and signs chunks",
        "Via: 1.1 proxy\nTE: trailers\nX-API-Key: @\ntransfer-encoding: Chunked",
        "00000005;sig=\"a;b\"\r\nhello\r\n00000000\r\nX-Sum: 1\r\n\r\n",
    ),
];

#[test]
fn clients_of_all_kinds_publish_however_they_send_their_body() {
    on_each_reactor(&[], |server| {
        for (name, lines, body) in CLIENTS {
            let lines = lines.replace('@', KEY).replace('\n', "\r\n");
            let head = format!("POST /api/publish?topic=a HTTP/1.1\r\nHost: {}\r\n{lines}\r\n\r\n", server.address);
            let together = server.ask(head.clone() + body);
            assert_eq!(together.status, 200, "{name}: {together:?}");
            assert!(together.body.contains("queued"), "{name}: {together:?}");
            // A client that waits for the 100, where it asks for one.
            let mut client = server.connect();
            client.write(head);
            if lines.contains("Expect") {
                assert_eq!(client.answer().status, 100, "{name}");
            }
            client.write(body);
            assert_eq!(client.answer().status, 200, "{name}, head first");
        }
        let old = format!("POST /api/publish?topic=a HTTP/1.0\r\nX-API-Key: {KEY}\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(server.ask(old).status, 200, "HTTP/1.0 without a Host");
    });
}
