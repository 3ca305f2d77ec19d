//! Tests of answers that take time: given later, and written piece by piece.

use super::client::get;
use super::handler::piece;
use super::world::World;
use crate::engine::{ClientGone, End, Limits};
use crate::reactor::sim::Peer;

/// Returns the body that `/stream/PIECES/BYTES` answers.
fn streamed(pieces: usize, bytes: usize) -> String {
    (0..pieces).map(|number| piece(number, bytes)).collect()
}

fn with_outbox(outbox_bytes_max: usize) -> World {
    World::with(Limits { outbox_bytes_max, ..Limits::default() })
}

#[test]
fn an_answer_may_come_later_and_later_requests_wait_for_it() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&[get("/answer-later", ""), get("/next", "")].concat());
    world.settle();
    client.write(&get("/last", "Connection: close\r\n"));
    world.settle();
    assert!(client.hears_nothing());
    world.log.gate.open();
    world.settle();
    assert_eq!(client.bodies(), ["later", "/next", "/last"]);
    assert!(client.is_at_end());
    assert_eq!(world.counters.http_answers.read(), 3);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_500() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/answer-later", ""));
    world.advance(Limits::default().handshake_timeout_ms + 100);
    assert_eq!(client.statuses(), [500]);
    assert!(client.is_at_end());
    // A decision that comes too late answers no request.
    world.log.gate.open();
    world.settle();
    assert_eq!(world.counters.handshake_timeouts.read(), 1);
}

#[test]
fn an_answer_whose_future_panics_is_500() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/answer-later-panic", ""));
    world.settle();
    assert_eq!(client.statuses(), [500]);
    assert!(client.is_at_end());
    assert_eq!(world.counters.handler_panics.read(), 1);
}

#[test]
fn an_answer_for_a_client_that_has_left_reaches_no_other() {
    let mut world = World::new();
    let client = world.connect();
    client.write(&get("/answer-later", ""));
    world.settle();
    client.peer.reset();
    // The server does not read meanwhile, and notices the reset when it answers.
    let mut stranger = world.connect();
    world.log.gate.open();
    world.settle();
    assert!(stranger.hears_nothing());
    assert_eq!(world.core.sessions(), 1);
}

#[test]
fn a_client_that_ends_its_stream_after_its_request_still_gets_an_answer_that_comes_later() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/answer-later", ""));
    client.peer.finish();
    world.settle();
    world.log.gate.open();
    world.settle();
    assert_eq!(client.bodies(), ["later"]);
    assert!(client.is_at_end());
}

#[test]
fn a_body_is_streamed_in_chunks_and_the_connection_goes_on() {
    for path in ["/stream/3/100", "/stream-later"] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&[get(path, ""), get("/next", "")].concat());
        world.settle();
        assert_eq!(client.bodies(), [streamed(3, 100), "/next".to_owned()], "{path}");
        assert_eq!(*world.log.streamed.borrow(), [Ok(())]);
        assert!(!world.core.has_tasks());
        world.advance(1_000);
        assert!(client.hears_nothing(), "the connection is kept");
    }
}

#[test]
fn a_streamed_body_ends_with_the_connection_for_http_1_0() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(b"GET /stream/3/10 HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
    world.settle();
    let bytes = String::from_utf8(client.bytes()).unwrap();
    let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Connection: close") && !head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(body, streamed(3, 10));
    assert!(client.is_at_end());
}

#[test]
fn head_of_a_streamed_answer_is_its_head_and_starts_no_task() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(b"HEAD /stream/3/10 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.settle();
    let bytes = String::from_utf8(client.bytes()).unwrap();
    assert!(bytes.contains("Transfer-Encoding: chunked\r\n") && bytes.ends_with("\r\n\r\n"), "{bytes}");
    assert!(world.log.streamed.borrow().is_empty() && !world.core.has_tasks());
}

#[test]
fn a_stream_waits_for_a_client_that_does_not_read() {
    let mut world = with_outbox(20_000);
    let mut client = world.connect();
    client.peer.stop_reading();
    client.write(&get("/stream/100/10000", ""));
    world.settle();
    assert!(world.log.streamed.borrow().is_empty());
    let waiting = world.view().session_at(0).unwrap().outbox_bytes();
    assert!((20_000..50_000).contains(&waiting), "{waiting} bytes wait");
    client.peer.resume_reading();
    world.settle();
    assert_eq!(client.bodies(), [streamed(100, 10_000)]);
    assert_eq!(*world.log.streamed.borrow(), [Ok(())]);
}

#[test]
fn a_client_that_takes_nothing_of_a_stream_is_cut_off() {
    let mut world = with_outbox(20_000);
    let client = world.connect();
    client.peer.stop_reading();
    client.write(&get("/stream/100/10000", ""));
    world.advance(Limits::default().send_timeout_ms + 200);
    assert_eq!(*world.log.streamed.borrow(), [Err(ClientGone)]);
    assert_eq!(world.counters.closed.read_for(&End::SendTimeout), 1);
}

#[test]
fn a_stream_notices_that_its_client_has_left_though_it_writes_nothing() {
    for leave in [Peer::reset, Peer::finish] {
        let mut world = World::new();
        let client = world.connect();
        client.write(&get("/stream-silently", ""));
        world.settle();
        assert!(world.log.streamed.borrow().is_empty());
        leave(&client.peer);
        world.settle();
        assert_eq!(*world.log.streamed.borrow(), [Err(ClientGone)]);
        assert_eq!(world.counters.closed.read_for(&End::LeftBeforeUpgrade), 1);
        assert!(!world.core.has_tasks());
    }
}

#[test]
fn a_silent_stream_lasts_as_long_as_its_client_stays() {
    let mut world = World::new();
    let client = world.connect();
    client.write(&get("/stream-silently", ""));
    world.advance(3_600_000);
    assert!(world.log.streamed.borrow().is_empty());
    assert_eq!(world.core.sessions(), 1);
}

#[test]
fn a_stream_whose_task_panics_is_cut_off_before_its_end() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/stream-panic", ""));
    world.settle();
    let bytes = client.bytes();
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(world.counters.handler_panics.read(), 1);
    assert_eq!(world.counters.closed.read_for(&End::HandlerPanic), 1);
}

#[test]
fn a_body_that_ends_by_itself_reaches_its_client_whole_though_the_server_drains() {
    let mut world = with_outbox(20_000);
    let mut client = world.connect();
    client.peer.stop_reading();
    client.write(&get("/stream/100/10000", ""));
    world.settle();
    world.core.drain();
    world.settle();
    client.peer.resume_reading();
    world.settle();
    assert_eq!(client.bodies(), [streamed(100, 10_000)]);
    assert!(client.is_at_end());
    client.peer.finish();
    world.settle();
    assert!(world.core.is_done());
}

#[test]
fn a_drain_asks_endless_streams_to_end() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/stream-silently", ""));
    world.settle();
    world.core.drain();
    world.settle();
    assert_eq!(*world.log.streamed.borrow(), [Err(ClientGone)]);
    assert_eq!(client.bodies(), [""], "the body ends as bodies do");
    assert!(client.is_at_end());
    client.peer.finish();
    world.settle();
    assert!(world.core.is_done());
}
