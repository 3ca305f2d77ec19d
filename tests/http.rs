//! Plain HTTP as clients of all kinds send it, byte by byte as they do, to the running program on each reactor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use program::{Process, between, serve};

const KEY: &str = "the-key-of-this-test";

/// Far longer than anything here takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A running program with an administrator's listener. Ends with this value.
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

    fn connect(&self) -> Client {
        Client::new(&self.address)
    }

    /// The first answer to these bytes on a connection of their own.
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

/// An answer that came whole.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The next answer, given the method that was asked with: that to HEAD has no body.
    fn answer_to(&mut self, method: &str) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "no answer after {head:?}");
        }
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let bytes = answer.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { bytes }];
        self.0.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }
}

/// A request without a body.
fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
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
                let mut client = Client::new(&server.admin);
                client.write(request(&format!("GET {path}"), ""));
                client.answer()
            };
            assert_is_of_now(path, ask, status);
        }
    });
}

#[test]
fn whoever_is_turned_away_is_told_when() {
    on_each_reactor(&["--max-connections", "1"], |server| {
        let mut first = server.connect();
        first.write(request("GET /health", ""));
        assert_eq!(first.answer().status, 200);
        assert_is_of_now("a second one", || server.connect().answer(), 503);
    });
}

/// Asserts that an answer has this status and the date of the time between its request and now.
fn assert_is_of_now(what: &str, ask: impl FnOnce() -> Answer, status: u16) {
    let before = SystemTime::now();
    let answer = ask();
    let after = SystemTime::now();
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.head.to_ascii_lowercase().matches("\r\ndate: ").count(), 1, "{what}: {answer:?}");
    let date = httpdate::parse_http_date(answer.header("Date").unwrap()).unwrap();
    // It is cut to the second, and may be one second old.
    assert!(date <= after && date + Duration::from_secs(2) > before, "{what}: {date:?} is not {before:?} to {after:?}");
}
