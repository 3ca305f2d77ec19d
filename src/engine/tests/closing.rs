//! Tests of closing handshakes from both ends, and of messages that cross them.

use super::client::{Frame, close, masked, masked_close, text};
use super::world::World;
use crate::engine::{Limits, Sent};
use crate::protocol::Opcode;

#[test]
fn the_peers_close_is_echoed_with_its_code_and_reason() {
    for (code, reason) in [(1000, "done"), (1001, ""), (4321, "für immer")] {
        let mut world = World::new();
        let mut client = world.open("/");
        client.close(code, reason);
        world.settle();
        assert_eq!(client.frames(), [close(code, reason)]);
        // RFC 6455 7.1.1: the server closes first.
        assert!(client.is_at_end() && client.peer.is_closed_by_server() && !client.peer.was_reset());
        assert_eq!(world.log.ends(), [(Some(code), reason.to_owned(), true)]);
    }
}

#[test]
fn a_close_without_a_code_is_echoed_without_one() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&masked(Opcode::Close, b""));
    world.settle();
    assert_eq!(client.frames(), [Frame::CloseEmpty]);
    assert_eq!(world.log.ends(), [(None, String::new(), true)]);
}

#[test]
fn messages_sent_before_a_close_precede_its_echo() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 4 60000");
    client.close(1000, "");
    world.settle();
    client.peer.resume_reading();
    world.settle();
    let frames = client.frames();
    assert_eq!(frames.len(), 5);
    assert_eq!(frames[4], close(1000, ""));
    assert!(client.is_at_end());
}

#[test]
fn a_close_of_the_server_waits_for_the_peers() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/close 4000 enough");
    world.settle();
    assert_eq!(client.frames(), [close(4000, "enough")]);
    assert!(client.hears_nothing());
    assert!(world.log.closed.borrow().is_empty());
    client.close(4000, "agreed");
    world.settle();
    assert!(client.is_at_end() && client.peer.is_closed_by_server() && !client.peer.was_reset());
    assert_eq!(world.log.ends(), [(Some(4000), "agreed".to_owned(), true)]);
}

#[test]
fn messages_that_cross_the_servers_close_are_dropped() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&[masked(Opcode::Text, b"/close 1000 x"), masked(Opcode::Text, b"crossing")].concat());
    world.settle();
    client.send("crossing later");
    client.ping(b"crossing as well");
    world.settle();
    client.close(1000, "");
    world.settle();
    assert_eq!(client.frames(), [close(1000, "x")]);
    assert!(world.log.messages.borrow().is_empty() && world.log.pings.borrow().is_empty());
}

#[test]
fn a_rule_that_is_broken_across_the_servers_close_ends_it() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/close 1000 x");
    client.write(&masked(Opcode::Text, b"\xFF"));
    world.settle();
    assert_eq!(client.frames(), [close(1000, "x")]);
    assert!(client.is_at_end());
    client.peer.finish();
    world.settle();
    assert_eq!(world.log.ends(), [(None, String::new(), false)]);
}

#[test]
fn nothing_is_sent_after_a_close() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/close-and-send");
    world.settle();
    assert_eq!(client.frames(), [close(1000, "")]);
    assert_eq!(*world.log.sent.borrow(), [Sent::Dropped]);
    assert_eq!(world.counters.messages_dropped.read(), 1);
}

#[test]
fn a_peer_that_does_not_answer_a_close_is_cut_off_after_five_seconds() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/close 1000 x");
    world.settle();
    // Input does not extend the timeout.
    for _ in 0..49 {
        client.send("not yet");
        world.advance(100);
        assert!(!client.peer.is_closed_by_server(), "at {} ms", world.now_ms());
    }
    world.advance(150);
    assert!(client.peer.is_closed_by_server());
    assert_eq!(client.frames().len(), 0, "a cut-off resets, so nothing unread arrives any more");
    assert_eq!(world.log.ends(), [(None, String::new(), false)]);
    assert_eq!(world.counters.close_timeouts.read(), 1);
}

#[test]
fn both_ends_may_close_at_once() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.write(&[masked(Opcode::Text, b"/close 1000 mine"), masked_close(1001, "yours")].concat());
    world.settle();
    assert_eq!(client.frames(), [close(1000, "mine")]);
    assert!(client.is_at_end());
    assert_eq!(world.log.ends(), [(Some(1001), "yours".to_owned(), true)]);
}

#[test]
fn a_lost_connection_is_no_clean_end() {
    for reset in [true, false] {
        let mut world = World::new();
        let client = world.open("/");
        if reset {
            client.peer.reset()
        } else {
            client.peer.finish()
        }
        world.settle();
        assert_eq!(world.log.ends(), [(None, String::new(), false)]);
        assert!(client.peer.is_closed_by_server());
    }
}

#[test]
fn a_peer_that_finishes_still_gets_what_was_sent_to_it() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 4 60000");
    client.peer.finish();
    world.settle();
    client.peer.resume_reading();
    world.settle();
    assert_eq!(client.frames().len(), 4);
    assert!(client.is_at_end());
}

#[test]
fn a_peer_that_finishes_and_does_not_read_is_cut_off() {
    let mut world = World::new();
    let client = world.open("/");
    client.peer.stop_reading();
    client.send("/flood 4 60000");
    client.peer.finish();
    world.advance(5_100);
    assert!(client.peer.is_closed_by_server());
}

#[test]
fn a_close_is_awaited_even_if_input_was_paused() {
    let mut world = World::new();
    let (mut client, id) = world.open_session();
    client.write(&[masked(Opcode::Text, b"/handle"), masked(Opcode::Text, b"/pause")].concat());
    client.send("unread");
    world.settle();
    world.log.handles.borrow()[0].close(crate::protocol::CloseCode::NORMAL, "go");
    world.settle();
    client.close(1000, "");
    world.settle();
    assert_eq!(client.frames(), [close(1000, "go")]);
    assert_eq!(world.log.last_closed().id, id);
    assert!(world.log.last_closed().clean);
}

#[test]
fn the_time_a_close_may_take_is_configured() {
    let mut world = World::with(Limits { close_timeout_ms: 500, ..Limits::default() });
    let mut client = world.open("/");
    client.send("hello");
    client.send("/close 1000 x");
    world.advance(450);
    assert_eq!(client.frames(), [text("hello"), close(1000, "x")]);
    assert!(!client.peer.is_closed_by_server());
    world.advance(150);
    assert!(client.peer.is_closed_by_server());
}
