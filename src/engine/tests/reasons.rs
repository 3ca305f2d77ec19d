//! Tests of the counters: each end of a connection and each dropped message is counted once, with its reason.

use super::client::{Client, get, masked, masked_close};
use super::world::World;
use crate::engine::{DropReason, End, Limits};
use crate::protocol::http::Refusal;
use crate::protocol::{CloseCode, Opcode, Reason, Violation};

/// Causes one end, and checks that it and nothing else is counted.
fn ends(end: End, bring_about: impl FnOnce(&mut World) -> Client) {
    let mut world = World::new();
    let client = bring_about(&mut world);
    world.settle();
    client.peer.finish();
    world.advance(100_000);
    assert_eq!(world.core.sessions(), 0, "{end:?}");
    let counted: Vec<_> = counts(&world, "connections_closed");
    assert_eq!(counted, [(End::NAMES[end.index()], 1)], "{end:?}");
}

/// Returns the counts of a counter, by reason.
fn counts(world: &World, name: &str) -> Vec<(&'static str, u64)> {
    let family = world.counters.all().into_iter().find(|family| family.name == name).unwrap();
    family.counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn connected(world: &mut World, bytes: &[u8]) -> Client {
    let client = world.connect();
    client.write(bytes);
    world.settle();
    client
}

fn told(world: &mut World, frames: &[Vec<u8>]) -> Client {
    let client = world.open("/");
    client.write(&frames.concat());
    world.settle();
    client
}

#[test]
fn an_end_in_order_is_counted_as_such() {
    ends(End::ClosingHandshake, |world| told(world, &[masked_close(1000, "")]));
    ends(End::ClosingHandshake, |world| told(world, &[masked(Opcode::Text, b"/close 1000 x"), masked_close(1000, "")]));
    ends(End::Answered, |world| connected(world, &get("/", "Connection: close\r\n")));
    ends(End::Answered, |world| {
        let mut client = world.connect();
        client.ask("/reject", &[]);
        client
    });
    ends(End::LeftBeforeUpgrade, |world| connected(world, b""));
    ends(End::LeftBeforeUpgrade, |world| connected(world, b"GET / HT"));
    ends(End::LeftBeforeUpgrade, |world| connected(world, &get("/", "")));
    // A TCP health check may reset where another ends its stream.
    for bytes in [&b""[..], b"GET / HT", &get("/", "")] {
        ends(End::LeftBeforeUpgrade, |world| {
            let client = connected(world, bytes);
            client.peer.reset();
            client
        });
    }
    ends(End::LeftBeforeUpgrade, |world| {
        let mut client = world.connect();
        client.ask("/later", &[]);
        world.settle();
        client.peer.reset();
        client
    });
    ends(End::Shutdown, |world| {
        let client = connected(world, &get("/", ""));
        world.core.drain();
        world.advance(1_100);
        client
    });
}

#[test]
fn an_end_by_the_peer_is_counted_by_what_it_did() {
    ends(End::EndOfStream, |world| world.open("/"));
    ends(End::EndOfStream, |world| told(world, &[masked(Opcode::Text, b"/close 1000 x")]));
    ends(End::SocketError, |world| {
        let client = world.open("/");
        client.peer.reset();
        client
    });
    ends(End::Refused, |world| connected(world, b"nonsense\r\n\r\n"));
    ends(End::Violation, |world| told(world, &[masked(Opcode::Continuation, b"")]));
    // The peer's reaction to the Close frame changes nothing.
    ends(End::Violation, |world| {
        let client = told(world, &[masked(Opcode::Continuation, b"")]);
        client.peer.reset();
        client
    });
}

#[test]
fn an_end_by_timeout_is_counted_by_the_timeout() {
    let waits = |milliseconds: u64, bytes: &'static [u8]| {
        move |world: &mut World| {
            let client = connected(world, bytes);
            world.advance(milliseconds);
            client
        }
    };
    ends(End::HandshakeTimeout, waits(6_000, b""));
    ends(End::HandshakeTimeout, waits(6_000, b"GET / HT"));
    ends(End::DeadPeer, |world| {
        let client = world.open("/");
        world.advance(61_000);
        client
    });
    ends(End::SendTimeout, |world| {
        let client = world.open("/");
        client.peer.stop_reading();
        client.send("/flood 5 60000");
        world.advance(11_000);
        client
    });
    ends(End::CloseTimeout, |world| {
        let client = told(world, &[masked(Opcode::Text, b"/close 1000 x")]);
        world.advance(6_000);
        client
    });
    ends(End::CutOff, |world| {
        let client = world.open("/");
        client.peer.stop_reading();
        client.send("/flood 5 60000");
        world.settle();
        world.ask_to_hurry();
        world.advance(2_000);
        client
    });
}

#[test]
fn the_end_of_a_panicking_handler_is_counted_as_its_fault() {
    ends(End::HandlerPanic, |world| told(world, &[masked(Opcode::Text, b"/panic")]));
    // This happens before the Close frame is echoed: the answer is 1011.
    ends(End::HandlerPanic, |world| told(world, &[masked(Opcode::Text, b"/panic-in close"), masked_close(1000, "")]));
    // A panic in the callback for an end that is certain changes nothing.
    ends(End::SocketError, |world| {
        let client = told(world, &[masked(Opcode::Text, b"/panic-in close")]);
        client.peer.reset();
        client
    });
}

#[test]
fn a_connection_without_room_is_counted_as_refused_and_as_closed() {
    let mut world = World::with(Limits { connections_max: 1, ..Limits::default() });
    let _first = world.open("/");
    let _second = connected(&mut world, &get("/", ""));
    assert_eq!(counts(&world, "connections_closed"), [("turned_away", 1)]);
    assert_eq!(counts(&world, "refusals"), [("over_capacity", 1)]);
    world.network.descriptor_limit(2);
    let _third = world.connect();
    world.advance(200);
    assert_eq!(counts(&world, "connections_closed"), [("turned_away", 1)], "it was never accepted");
    assert_eq!(world.counters.http_refusals.read_for(&Refusal::OutOfDescriptors), 1);
    assert_eq!(world.counters.turned_away.read(), 2);
}

#[test]
fn refusals_and_violations_are_counted_by_what_was_wrong() {
    let mut world = World::new();
    let _refused = [
        connected(&mut world, &get("/", "Host: other\r\n")),
        connected(&mut world, &get("/", "Bad name: x\r\n")),
        connected(&mut world, &get("/", "Bad name: y\r\n")),
    ];
    assert_eq!(counts(&world, "refusals"), [("field_name_invalid", 2), ("header_duplicate", 1)]);
    let _violating = [
        told(&mut world, &[masked(Opcode::Continuation, b"")]),
        told(&mut world, &[masked(Opcode::Text, b"\xff")]),
        told(&mut world, &[vec![0x81, 0x01, b'x']]),
        told(&mut world, &[masked(Opcode::Text, b"\xfe")]),
    ];
    assert_eq!(counts(&world, "violations"), [("not_utf8", 2), ("unexpected_continuation", 1), ("unmasked", 1)]);
    assert_eq!(world.counters.violations.read_for(&Violation::NotUtf8), 2);
    assert_eq!(counts(&world, "close_frames_sent"), [("1002", 2), ("1007", 2)]);
    assert_eq!(counts(&world, "connections_closed"), [], "they linger");
}

#[test]
fn close_frames_are_counted_by_code_in_both_directions() {
    let mut world = World::new();
    told(&mut world, &[masked_close(1000, "")]);
    told(&mut world, &[masked_close(3000, "")]);
    told(&mut world, &[masked_close(3999, "")]);
    told(&mut world, &[masked_close(4000, "")]);
    told(&mut world, &[masked(Opcode::Close, b"")]);
    told(&mut world, &[masked(Opcode::Text, b"/close 1008 x"), masked_close(1001, "")]);
    let received = [("1000", 1), ("1001", 1), ("3000-3999", 2), ("4000-4999", 1), ("none", 1)];
    assert_eq!(counts(&world, "close_frames_received"), received);
    let sent = [("1000", 1), ("1008", 1), ("3000-3999", 2), ("4000-4999", 1), ("none", 1)];
    assert_eq!(counts(&world, "close_frames_sent"), sent);
    // A failure after this end's Close frame sends no other.
    told(&mut world, &[masked(Opcode::Text, b"/close 1000 x"), masked(Opcode::Continuation, b"")]);
    assert_eq!(world.counters.closes_sent.read_for(&Some(CloseCode::PROTOCOL_ERROR)), 0);
    assert_eq!(world.counters.closes_sent.read_for(&Some(CloseCode::NORMAL)), 2);
}

#[test]
fn dropped_messages_are_counted_by_why_they_were() {
    let mut world = World::new();
    let (client, id) = world.open_session();
    client.peer.stop_reading();
    world.send_to(id, 20, 60_000);
    let full = world.counters.messages_dropped.read_for(&DropReason::OutboxFull);
    assert_eq!(counts(&world, "messages_dropped"), [("outbox_full", full)]);
    assert_eq!(full + world.counters.messages_sent.read(), 20);

    let closing = world.open("/");
    closing.send("/close-and-send");
    let gone = world.open("/");
    gone.send("/task-send-later");
    world.settle();
    assert_eq!(world.counters.messages_dropped.read_for(&DropReason::Closing), 1);
    gone.peer.reset();
    world.settle();
    world.log.gate.open();
    world.settle();
    assert_eq!(world.counters.messages_dropped.read_for(&DropReason::SessionGone), 1);
}

#[test]
fn input_after_the_close_frame_is_counted_until_it_exceeds_its_limit() {
    let mut world = World::new();
    let client = told(&mut world, &[masked(Opcode::Continuation, b"")]);
    client.write(&[0; 1000]);
    world.settle();
    assert_eq!((world.counters.bytes_discarded.read(), world.counters.input_overruns.read()), (1000, 0));
    client.write(&vec![0; 300_000]);
    world.settle();
    assert!(client.peer.is_closed_by_server());
    assert_eq!(world.counters.input_overruns.read(), 1);
    assert_eq!(counts(&world, "connections_closed"), [("violation", 1)]);
}
