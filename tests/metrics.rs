//! Tests of the metrics: the program's counters, in a text that a strict reader understands, from a server that a flood
//! of scrapers does not slow down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use program::client::Client;
use program::run::PATIENCE;
use program::thread::StoppedThread;
use program::{Process, between, serve};

const UPGRADE: &str = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A running program, ended when it is dropped.
struct Program {
    process: Process,
    address: String,
    admin: String,
}

impl Program {
    fn start(flags: &[&str]) -> Self {
        let (process, banner) = serve(&[&["--admin-listen", "127.0.0.1:0"], flags].concat());
        let address = between(&banner, "ready on ws://", "/");
        let admin = between(&banner, "metrics      http://", "/metrics");
        Self { process, address, admin }
    }

    /// Sends a request on a connection of its own, and reads to its end.
    fn connect_and_say(&self, bytes: &[u8]) -> String {
        exchange(&self.address, bytes)
    }

    fn session(&self) -> Client {
        Client::open(&self.address, "/echo")
    }

    fn scrape(&self) -> Metrics {
        self.scrape_of("/metrics")
    }

    fn scrape_of(&self, path: &str) -> Metrics {
        let answer = exchange(&self.admin, get(path).as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
        Metrics::parse(body)
    }

    /// Scrapes until the expected events have been counted.
    fn scrape_until(&self, counted: impl Fn(&Metrics) -> bool) -> Metrics {
        self.scrape_until_of("/metrics", counted)
    }

    fn scrape_until_of(&self, path: &str, counted: impl Fn(&Metrics) -> bool) -> Metrics {
        let end = Instant::now() + PATIENCE;
        loop {
            let metrics = self.scrape_of(path);
            if counted(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < end, "not counted: {}", metrics.counted());
            thread::sleep(Duration::from_millis(110));
        }
    }

    /// Returns the nice value of each thread, by the thread's name.
    fn nice(&self) -> BTreeMap<String, i32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.0.id())).unwrap();
        let nice = tasks.map(|task| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            let (name, fields) = stat.rsplit_once(") ").unwrap();
            let name = name.split_once('(').unwrap().1.to_owned();
            (name, fields.split(' ').nth(16).unwrap().parse().unwrap())
        });
        nice.collect()
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Reads to the end and answers the Close frame, so that the session is over at the other end too.
fn end(mut session: Client) {
    let _ = session.0.read_to_end(&mut Vec::new());
}

/// The scraped values, by name and labels.
struct Metrics(BTreeMap<(String, BTreeMap<String, String>), f64>);

impl Metrics {
    /// Reads the text as strictly as the format is defined: any other line fails the test.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends in a line feed");
        let (mut values, mut described, mut kind) = (BTreeMap::new(), BTreeSet::new(), ("", ""));
        let mut help = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').unwrap();
                assert!(words.ends_with('.') && words.starts_with(char::is_uppercase), "{line}");
                assert!(described.insert(name), "{name} is described twice");
                help = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                kind = rest.split_once(' ').unwrap();
                assert!(kind.0 == help && ["counter", "gauge"].contains(&kind.1), "{line}");
                assert_eq!(kind.1 == "counter", kind.0.ends_with("_total"), "{line}");
            } else {
                let (name, labels, value) = sample(line);
                assert_eq!(name, kind.0, "values follow their description: {line}");
                assert!(values.insert((name.to_owned(), labels), value).is_none(), "{line} is there twice");
            }
        }
        assert!(values.len() > 100, "only {} values", values.len());
        Self(values)
    }

    /// Returns the sum over all values that have these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |own: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| own.get(*label).map(String::as_str) == Some(value))
        };
        let mut found = self.0.iter().filter(|((own, own_labels), _)| own == name && has(own_labels)).peekable();
        assert!(found.peek().is_some(), "there is no {name} with {labels:?}");
        found.map(|(_, value)| *value as u64).sum()
    }

    /// Returns the nonzero counts of a counter with reasons or codes, over all cores if it has values for each.
    fn reasons(&self, name: &str, label: &str) -> Vec<(String, u64)> {
        let mut sums = BTreeMap::<String, u64>::new();
        for ((_, labels), value) in self.0.iter().filter(|((own, _), _)| own == name) {
            *sums.entry(labels[label].clone()).or_default() += *value as u64;
        }
        sums.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn counted(&self) -> String {
        let counted: Vec<_> = self.0.iter().filter(|(_, value)| **value != 0.0).collect();
        format!("{counted:?}")
    }

    /// Checks that each accepted connection is open or has ended for one reason: for each core, or for all together.
    fn assert_reconciled(&self) {
        let cores: BTreeSet<_> = self.0.keys().map(|(_, labels)| labels.get("core")).collect();
        for core in cores.iter().filter(|core| core.is_some() || cores.len() == 1) {
            let labels: Vec<_> = core.iter().map(|core| ("core", core.as_str())).collect();
            let sum = |name| self.sum(name, &labels);
            let accounted = sum("ringsock_connections") + sum("ringsock_connections_closed_total");
            assert_eq!(sum("ringsock_connections_accepted_total"), accounted, "core {core:?}");
            let accounted = sum("ringsock_sessions") + sum("ringsock_sessions_closed_total");
            assert_eq!(sum("ringsock_sessions_opened_total"), accounted, "core {core:?}");
        }
    }

    /// Returns how many cores have values of their own.
    fn cores(&self) -> usize {
        self.0.keys().filter_map(|(_, labels)| labels.get("core")).collect::<BTreeSet<_>>().len()
    }
}

/// Parses `name{label="value",…} number`.
fn sample(line: &str) -> (&str, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let (name, labels) = match series.strip_suffix('}') {
        Some(series) => series.split_once('{').unwrap_or_else(|| panic!("{line}")),
        None => (series, ""),
    };
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !text.is_empty();
    assert!(is_name(name), "{line}");
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (label, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(label) && !value.contains(['"', '\\']), "{line}");
        (label.to_owned(), value.to_owned())
    });
    (name, labels.collect(), value)
}

fn named(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn events_are_counted_exactly_by_reason_and_per_core() {
    let server = Program::start(&["--cores", "2", "--max-connections", "40", "--max-message-bytes", "100"]);
    assert!(server.connect_and_say(get("/health").as_bytes()).ends_with("ok"));
    for _ in 0..2 {
        assert!(server.connect_and_say(b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }
    assert!(server.connect_and_say(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 505 "));
    for (first, payload) in [(0x80, &b""[..]), (0x81, b"\xff"), (0x81, b"\xfe"), (0x82, &[0; 101])] {
        let mut session = server.session();
        session.frame(first, payload);
        end(session);
    }
    for payload in [&1000u16.to_be_bytes()[..], &3001u16.to_be_bytes(), &4999u16.to_be_bytes(), b""] {
        let mut session = server.session();
        session.echo("hello");
        session.frame(0x88, payload);
        end(session);
    }
    drop(server.session());
    let quiet = |metrics: &Metrics| metrics.sum("ringsock_connections", &[]) == 0;
    let per_core = server.scrape_until_of("/metrics?per=core", quiet);
    per_core.assert_reconciled();
    assert_eq!(per_core.cores(), 2);
    let metrics = server.scrape_until(quiet);
    metrics.assert_reconciled();
    for name in ["ringsock_refusals_total", "ringsock_violations_total", "ringsock_connections_closed_total"] {
        assert_eq!(per_core.reasons(name, "reason"), metrics.reasons(name, "reason"), "the sum over all cores");
    }

    let refusals = [("header_missing", 2), ("http_version_unsupported", 1)];
    assert_eq!(metrics.reasons("ringsock_refusals_total", "reason"), named(&refusals));
    let violations = [("message_too_large", 1), ("not_utf8", 2), ("unexpected_continuation", 1)];
    assert_eq!(metrics.reasons("ringsock_violations_total", "reason"), named(&violations));
    let ends = [("answered", 1), ("closing_handshake", 4), ("end_of_stream", 1), ("refused", 3), ("violation", 4)];
    assert_eq!(metrics.reasons("ringsock_connections_closed_total", "reason"), named(&ends));
    let received = [("1000", 1), ("3000-3999", 1), ("4000-4999", 1), ("none", 1)];
    assert_eq!(metrics.reasons("ringsock_close_frames_received_total", "code"), named(&received));
    let sent = [("1000", 1), ("1002", 1), ("1007", 2), ("1009", 1), ("3000-3999", 1), ("4000-4999", 1), ("none", 1)];
    assert_eq!(metrics.reasons("ringsock_close_frames_sent_total", "code"), named(&sent));
    assert_eq!(metrics.sum("ringsock_messages_received_total", &[]), 4);
    assert_eq!(metrics.sum("ringsock_messages_sent_total", &[]), 4);
    assert_eq!(metrics.sum("ringsock_connections_accepted_total", &[]), 13);
    assert_eq!(metrics.sum("ringsock_ready", &[]), 1);
}

/// The header of HAProxy's `send-proxy-v2 check`: version 2, the command LOCAL, nothing more.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

#[test]
fn a_health_check_that_goes_again_has_left_and_was_not_refused() {
    let proxied = ["--trusted-proxies", "127.0.0.1", "--set", "listen.proxy-protocol=true"];
    for (reactor, flags) in [("auto", &proxied[..]), ("epoll", &proxied), ("auto", &[]), ("epoll", &[])] {
        let server = Program::start(&[&["--cores", "1", "--reactor", reactor], flags].concat());
        let words: &[&[u8]] = if flags.is_empty() { &[b"", b"GET / HT"] } else { &[b"", LOCAL, b"PROXY UNKNOWN\r\n"] };
        for words in words {
            // All at once, so that some leave before they are accepted, and others after they were read.
            for waits in [Duration::ZERO, Duration::ZERO, Duration::from_millis(50)] {
                for resets in [true, false] {
                    let mut stream = connect(&server.address);
                    stream.write_all(words).unwrap();
                    thread::sleep(waits);
                    let linger = resets.then_some(Duration::ZERO);
                    socket2::SockRef::from(&stream).set_linger(linger).unwrap();
                }
            }
        }
        let checks = words.len() as u64 * 6;
        let gone = |metrics: &Metrics| metrics.sum("ringsock_connections_closed_total", &[]) == checks;
        let metrics = server.scrape_until(gone);
        let ends = metrics.reasons("ringsock_connections_closed_total", "reason");
        assert_eq!(ends, named(&[("left_before_upgrade", checks)]), "{reactor} {flags:?}");
        assert_eq!(metrics.reasons("ringsock_refusals_total", "reason"), []);
    }
}

#[test]
fn a_request_of_another_protocol_is_refused_with_the_protocols_name() {
    let server = Program::start(&["--cores", "1"]);
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[0; 100]].concat();
    for (words, status, told) in [
        (&hello[..], "400", "TLS"),
        (LOCAL, "400", "proxy-protocol"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400", "proxy-protocol"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "HTTP/1.1"),
        (b"*1\r\n$4\r\nPING\r\n", "400", "HTTP/1.1"),
        (b"\x05\x01\x00", "400", "HTTP/1.1"),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", "400", "HTTP/1.1"),
    ] {
        let answer = server.connect_and_say(words);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(told), "{words:?}: {answer}");
    }
    let refusals = [
        ("http_version_unsupported", 1),
        ("method_invalid", 2),
        ("proxy_header_unexpected", 2),
        ("request_line_invalid", 1),
        ("tls_on_plain_port", 1),
    ];
    let counted = |metrics: &Metrics| metrics.sum("ringsock_refusals_total", &[]) == 7;
    let metrics = server.scrape_until(counted);
    assert_eq!(metrics.reasons("ringsock_refusals_total", "reason"), named(&refusals));
}

#[test]
fn open_and_refused_connections_are_reported_without_those_of_scrapers() {
    let server = Program::start(&["--cores", "2", "--max-connections", "5"]);
    let sessions: Vec<Client> = (0..5).map(|_| server.session()).collect();
    assert!(server.connect_and_say(get("/").as_bytes()).starts_with("HTTP/1.1 503 "));
    let _scraper = connect(&server.admin);
    let metrics = server.scrape_until(|metrics| metrics.sum("ringsock_connections_turned_away_total", &[]) == 1);
    metrics.assert_reconciled();
    assert_eq!(metrics.sum("ringsock_connections", &[]), 5);
    assert_eq!(metrics.sum("ringsock_sessions", &[]), 5);
    assert_eq!(metrics.sum("ringsock_connections_max", &[]), 5);
    assert_eq!(metrics.reasons("ringsock_refusals_total", "reason"), named(&[("over_capacity", 1)]));
    assert_eq!(metrics.reasons("ringsock_connections_closed_total", "reason"), named(&[("turned_away", 1)]));
    assert!(metrics.sum("process_open_fds", &[]) >= 5);
    drop(sessions);
}

#[test]
fn there_are_as_many_values_whatever_the_number_of_cores() {
    let scrape = |cores: &str| {
        let server = Program::start(&["--cores", cores]);
        let metrics = server.scrape();
        assert_eq!(metrics.cores(), 0, "cores are told apart on request alone");
        assert_eq!(metrics.sum("ringsock_cores", &[]).to_string(), cores);
        metrics.0.into_keys().collect::<BTreeSet<_>>()
    };
    let of_one = scrape("1");
    assert!(of_one.len() < 250, "{} values", of_one.len());
    assert_eq!(scrape("8"), of_one);
}

#[test]
fn the_listener_for_metrics_answers_what_it_knows_and_opens_no_websocket() {
    let server = Program::start(&["--cores", "1"]);
    let ask = |request: &str| exchange(&server.admin, request.as_bytes());
    assert!(ask(&get("/health")).ends_with("\r\n\r\nok"));
    assert!(ask(&get("/readyz")).ends_with("\r\n\r\nready"));
    assert!(ask(&get("/")).contains("/metrics"));
    assert!(ask(&get("/echo")).starts_with("HTTP/1.1 404 "));
    assert!(ask(&get("/metrics").replace("GET", "POST")).starts_with("HTTP/1.1 405 "));
    assert!(ask(UPGRADE).starts_with("HTTP/1.1 404 "));
    let nice = server.nice();
    assert_eq!((nice["ringsock-back-0"], nice["ringsock-core-0"]), (19, nice["ringsock"]), "{nice:?}");
}

#[test]
fn a_storm_of_scrapers_holds_up_no_echo_and_ends_with_an_answer_for_everyone() {
    const STORM: usize = 300;
    // The session is not read while its client waits for a scrape, and must not be taken for dead meanwhile.
    let server = Program::start(&["--cores", "1", "--ping-interval-ms", "0", "--dead-peer-timeout-ms", "0"]);
    let mut session = server.session();
    // Scrapers that ask again and again and never read, and more than there are places for.
    let mut storm: Vec<TcpStream> = (0..STORM).map(|_| connect(&server.admin)).collect();
    for scraper in &mut storm {
        scraper.set_nonblocking(true).unwrap();
        let _ = scraper.write_all(get("/metrics").replace("close", "keep-alive").repeat(50).as_bytes());
        session.echo("in the storm");
    }
    {
        // The work for scrapers is left undone meanwhile, so an echo that waits for any of it never comes.
        let _stopped = StoppedThread::new(server.process.0.id(), "ringsock-back-0");
        (0..100).for_each(|_| session.echo("beside scrapers that wait"));
    }
    // A scraper that does not read is cut off after a while: late, if others leave little to a thread of lowest
    // priority.
    let begun = Instant::now();
    let metrics = loop {
        let answer = exchange_until_reset(&server.admin, get("/metrics").as_bytes());
        if answer.starts_with("HTTP/1.1 200 ") {
            break Metrics::parse(answer.split_once("\r\n\r\n").unwrap().1);
        }
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(begun.elapsed() < PATIENCE * 30, "no scrape is answered any more");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(metrics.sum("ringsock_connections_accepted_total", &[]), 1, "scrapers do not count as clients");
    metrics.assert_reconciled();
    drop(storm);
}

/// Exchanges as [`exchange`], where the end of a connection without a place may overtake an answer.
fn exchange_until_reset(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn after_sigterm_the_listener_for_metrics_ends_with_the_server() {
    let mut server = Program::start(&["--cores", "1", "--set", "drain.timeout-ms=600000"]);
    // A scraper that keeps its connection does not delay the process, however long a drain may take.
    let mut scraper = connect(&server.admin);
    scraper.write_all(get("/health").replace("close", "keep-alive").as_bytes()).unwrap();
    let _ = scraper.read(&mut [0; 1024]).unwrap();
    let pid = server.process.0.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -s TERM $0", &pid]).status().unwrap().success());
    let begun = Instant::now();
    while server.process.0.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(server.process.0.wait().unwrap().success());
}
