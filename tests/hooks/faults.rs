//! Tests of a backend that is down, slow or broken: the fallback decides in time, and the breaker spares everybody.
//!
//! The patience with a busy machine is in `SLACK`; a quiet one needs none of it.

use std::thread;
use std::time::{Duration, Instant};

use crate::backend::{Backend, Mode};
use crate::program::http::HttpClient;
use crate::server::Server;

/// The time that a decision may take beyond that of its call: 50 ms, and the noise of a machine that runs all tests.
const SLACK: Duration = Duration::from_millis(50 + 450);

/// The time within which a decision without a call counts as immediate on such a machine.
const AT_ONCE: Duration = Duration::from_millis(400);

const HANDSHAKE: &str = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn start(backend: &Backend, more: &str) -> Server {
    Server::start(&format!("connect = \"{}\"\n{more}", backend.url("/connect")))
}

fn count(server: &Server, name: &str, label: &str) -> u64 {
    // The text of metrics is up to 100 ms old.
    thread::sleep(Duration::from_millis(120));
    server.metric(&format!("ringsock_hook_{name}{{hook=\"connect\",{label}}}"))
}

#[test]
fn every_fault_is_a_failure_and_the_fallback_decides_in_time() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    let backend = Backend::start(Mode::allow());
    let server = start(&backend, "timeout-ms = 400\nbreaker-calls = 1000\n");
    assert_eq!(server.ask("/echo", "").status, 101);
    let rubbish =
        ["", "null", "<html></html>", "{\"allow\":1}", "{\"allow\":true,\"allow\":true}", "{\"allow\":true}x"];
    let mut faults: Vec<Mode> = rubbish.map(|body| Mode::Answer(body.to_owned())).to_vec();
    faults.extend([204, 302, 404, 429, 500, 503].map(Mode::Status));
    faults.extend([Mode::Hang, Mode::Slam, Mode::Endless]);
    faults.push(Mode::Slow(TIMEOUT + Duration::from_millis(100), r#"{"allow":true}"#.to_owned()));
    let failed = faults.len() as u64;
    for fault in faults {
        backend.set(fault.clone());
        let (status, took) = server.time("/echo");
        assert_eq!(status, 503, "{fault:?}");
        assert!(took < TIMEOUT + SLACK, "{fault:?}: {took:?}");
    }
    assert_eq!(count(&server, "calls_total", "result=\"failed\""), failed);
    assert_eq!(count(&server, "fallbacks_total", "result=\"denied\""), failed);
    backend.down();
    let (status, took) = server.time("/echo");
    assert!(status == 503 && took < SLACK, "{status} {took:?}");
    backend.up();
    backend.set(Mode::Slow(TIMEOUT - Duration::from_millis(100), r#"{"allow":true}"#.to_owned()));
    assert_eq!(server.ask("/echo", "").status, 101, "an answer that comes in time counts");
    assert_eq!(count(&server, "calls_total", "result=\"failed\""), failed + 1);
}

#[test]
fn with_the_default_time_an_answer_after_900_ms_counts_and_one_after_1100_ms_does_not() {
    let backend = Backend::start(Mode::Slow(Duration::from_millis(900), r#"{"allow":true}"#.to_owned()));
    let server = start(&backend, "");
    assert_eq!(server.time("/echo").0, 101);
    backend.set(Mode::Slow(Duration::from_millis(1100), r#"{"allow":true}"#.to_owned()));
    let (status, took) = server.time("/echo");
    assert!(status == 503 && took < Duration::from_millis(1000) + SLACK, "{status} {took:?}");
    assert!(took >= Duration::from_millis(1000), "{took:?}");
}

#[test]
fn a_backend_that_closes_kept_connections_has_no_failure() {
    let backend = Backend::start(Mode::AnswerAndClose(r#"{"allow":true}"#.to_owned()));
    let server = start(&backend, "");
    for _ in 0..10 {
        assert_eq!(server.ask("/echo", "").status, 101);
        // A call that meets the end of its connection on the way is lost, as any is.
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(count(&server, "calls_total", "result=\"failed\""), 0);
    assert_eq!(backend.calls().len(), 10);
}

#[test]
fn a_backend_that_hangs_is_called_twenty_times_and_then_once_in_five_seconds_until_it_answers() {
    let backend = Backend::start(Mode::Hang);
    let server = start(&backend, "timeout-ms = 100\n");
    // Two at a time: the bulkhead has room.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..15).for_each(|_| assert_eq!(server.ask("/echo", "").status, 503)));
        }
    });
    let calls = backend.calls().len();
    assert!((20..=21).contains(&calls), "{calls} calls, of which one may have begun before the twentieth had ended");
    assert_eq!(server.metric("ringsock_hook_breaker{hook=\"connect\"}"), 2);
    assert!(server.log().contains("its breaker is open"));

    // For eleven seconds everybody is decided about at once, and two of them wait for a probe.
    let begun = Instant::now();
    let mut late = 0;
    while begun.elapsed() < Duration::from_millis(11_000) {
        let (status, took) = server.time("/echo");
        assert_eq!(status, 503);
        late += u32::from(took > Duration::from_millis(90));
        thread::sleep(Duration::from_millis(20));
    }
    let probes = backend.calls().split_off(calls);
    assert_eq!(probes.len(), 2, "{probes:?}");
    let apart = probes[1].at - probes[0].at;
    assert!(apart >= Duration::from_millis(5_000) && apart < Duration::from_millis(5_000) + 2 * SLACK, "{apart:?}");
    assert!((2..20).contains(&late), "{late} decisions took as long as a call");

    // It answers again: the next probe closes the breaker.
    backend.set(Mode::allow());
    let begun = Instant::now();
    while server.ask("/echo", "").status != 101 {
        assert!(begun.elapsed() < Duration::from_secs(8), "no probe was made");
        thread::sleep(Duration::from_millis(20));
    }
    (0..20).for_each(|_| assert_eq!(server.ask("/echo", "").status, 101));
    assert!(server.log().contains("its breaker is closed"));
}

#[test]
fn a_full_bulkhead_decides_at_once_by_the_fallback() {
    let backend = Backend::start(Mode::Slow(Duration::from_millis(900), r#"{"allow":true}"#.to_owned()));
    let server = start(&backend, "fallback-connect = \"allow\"\n");
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..10).map(|_| scope.spawn(|| server.time("/echo"))).collect();
        backend.wait_for_calls("/connect", 10);
        for _ in 0..5 {
            let (status, took) = server.time("/echo");
            assert!(status == 101 && took < AT_ONCE, "{status} {took:?}");
        }
        for waiting in waiting {
            let (status, took) = waiting.join().unwrap();
            assert!(status == 101 && took >= Duration::from_millis(900), "{status} {took:?}");
        }
    });
    assert_eq!(backend.calls().len(), 10);
    assert_eq!(count(&server, "rejections_total", "reason=\"full\""), 5);
    assert_eq!(count(&server, "fallbacks_total", "result=\"allowed\""), 5);
}

#[test]
fn the_last_verdict_holds_for_the_same_client_while_the_backend_is_down() {
    let backend = Backend::start(Mode::allow());
    backend.choose(|call| match call.json()["headers"]["cookie"].as_str() {
        Some("id=1") => Mode::allow(),
        _ => Mode::deny(),
    });
    let more = "fallback-connect = \"last-verdict\"\nlast-verdict-ms = 2000\nforward-headers = \"cookie\"\n";
    let server = start(&backend, more);
    let ask = |id: u32| server.ask("/echo", &format!("Cookie: id={id}\r\n")).status;
    assert_eq!([ask(1), ask(2)], [101, 403]);
    backend.down();
    assert_eq!([ask(1), ask(2), ask(3)], [101, 403, 503]);
    thread::sleep(Duration::from_millis(2_100));
    assert_eq!([ask(1), ask(2)], [503, 503]);
}

#[tokio::test]
async fn sessions_that_are_open_go_on_while_the_backend_hangs() {
    let backend = Backend::start(Mode::allow());
    let server = start(&backend, "timeout-ms = 5000\ncalls-at-once = 100\n");
    let mut client = server.open("/echo").await;
    backend.set(Mode::Hang);
    let mut waiting: Vec<HttpClient> = Vec::new();
    for _ in 0..50 {
        let mut http = HttpClient::new(&server.address);
        http.write(HANDSHAKE);
        waiting.push(http);
    }
    backend.wait_for_calls("/connect", 51);
    let begun = Instant::now();
    for number in 0..100 {
        client.echo(&number.to_string()).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_handshake_that_waits_for_the_backend_is_answered_when_the_server_ends() {
    let backend = Backend::start(Mode::Hang);
    let mut server = start(&backend, "[drain]\ndelay-ms = 0\nspread-ms = 0\ntimeout-ms = 5000\n");
    let mut client = HttpClient::new(&server.address);
    client.write(HANDSHAKE);
    backend.wait_for_calls("/connect", 1);
    server.signal(libc::SIGTERM);
    assert_eq!(client.answer().status, 503);
    assert!(server.end().success());
}
