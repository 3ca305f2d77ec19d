//! Tests of compression as sessions see it: agreed or not, shared or dedicated, and never at the cost of other
//! sessions.

use super::client::{Client, compressed_fragment, text};
use super::world::{World, open_offering};
use crate::engine::Limits;
use crate::protocol::Opcode;
use crate::protocol::Prepared;
use crate::protocol::deflate::{Compression, Compressors, WindowBits};
use crate::protocol::handshake::Offer;

const MIB: usize = 1 << 20;

fn limits(context_takeover: bool) -> Limits {
    let compression = Compression { context_takeover, ..Compression::default() };
    Limits { compression: Some(compression), ..Limits::default() }
}

fn send_compressed(client: &mut Client, message: &str) {
    let compressed = client.compress(message.as_bytes()).unwrap();
    client.write(&compressed_fragment(Opcode::Text, true, &compressed));
}

#[test]
fn messages_are_compressed_both_ways_where_that_was_agreed() {
    for context_takeover in [false, true] {
        let mut world = World::with(limits(context_takeover));
        let mut client = open_offering(&mut world, context_takeover);
        assert!(client.is_compressed());
        let message = "{\"as\": \"JSON\"}, ".repeat(100);
        for _ in 0..3 {
            send_compressed(&mut client, &message);
        }
        world.settle();
        assert_eq!(client.frames(), [text(&message), text(&message), text(&message)]);
        assert_eq!(world.counters.messages_compressed.read(), 3);
    }
}

#[test]
fn nothing_is_agreed_on_while_compression_is_off() {
    let mut world = World::new();
    let mut client = open_offering(&mut world, false);
    assert!(!client.is_compressed());
    client.write(&compressed_fragment(Opcode::Text, true, b"?"));
    world.settle();
    assert!(client.hears_close(1002));
}

#[test]
fn small_messages_are_sent_as_they_are() {
    let mut world = World::with(limits(false));
    let mut client = open_offering(&mut world, false);
    client.send(&"a".repeat(255));
    client.send(&"a".repeat(256));
    world.settle();
    assert_eq!(client.frames(), [text(&"a".repeat(255)), text(&"a".repeat(256))]);
    assert_eq!(world.counters.messages_compressed.read(), 1);
}

#[test]
fn sessions_above_the_limit_of_contexts_do_without_context_takeover() {
    let mut world = World::with(Limits { compression_contexts_max: 2, ..limits(true) });
    let takeover = |world: &mut World| {
        let mut client = world.connect();
        client.offer(Offer::new(&Compression { context_takeover: true, ..Compression::default() }));
        client.ask("/", &[]);
        world.settle();
        let head = String::from_utf8(client.bytes()).unwrap();
        assert!(head.contains("permessage-deflate"), "{head}");
        (client, !head.contains("no_context_takeover"))
    };
    let (first, dedicated) = takeover(&mut world);
    assert!(dedicated && takeover(&mut world).1 && !takeover(&mut world).1);
    first.peer.finish();
    world.advance(10_000);
    assert!(takeover(&mut world).1, "what one gave back another may have");
}

#[test]
fn one_message_that_becomes_large_is_inflated_a_turn_and_nobody_waits_for_more() {
    let messages = crate::protocol::MessageLimits {
        message_bytes_max: 16 * MIB as u64,
        inflation_ratio_max: 0,
        ..Default::default()
    };
    let mut world = World::with(Limits { messages, outbox_bytes_max: 32 * MIB, ..limits(false) });
    let mut compressors = Compressors::new(&Compression::default());
    let large = compressors.compress(&vec![0; 2 * MIB], WindowBits::MAX).unwrap().to_vec();
    let mut heavy: Vec<Client> = (0..5).map(|_| open_offering(&mut world, false)).collect();
    let mut light = open_offering(&mut world, false);
    let received = world.counters.messages_received.read();
    heavy.iter().for_each(|client| client.write(&compressed_fragment(Opcode::Binary, true, &large)));
    send_compressed(&mut light, &"light ".repeat(50));
    // One of the heavy messages and the light one, in whatever order they came.
    world.turns(2);
    assert_eq!(light.frames(), [text(&"light ".repeat(50))]);
    for more in 2..=6 {
        assert_eq!(world.counters.messages_received.read(), received + more);
        world.turn();
    }
    world.settle();
    for client in &mut heavy {
        assert_eq!(client.frames().len(), 1);
    }
}

#[test]
fn a_prepared_message_reaches_each_session_as_it_agreed() {
    let mut world = World::with(limits(true));
    let message = "for everyone, ".repeat(100);
    let prepared = Prepared::new(&message);
    let mut clients = [open_offering(&mut world, true), open_offering(&mut world, false), world.open("/")]
        .map(|client| (client, Vec::new()));
    let ids = world.log.opened.borrow().clone();
    for round in 0..3 {
        for (id, (client, expected)) in ids.iter().zip(&mut clients) {
            world.call(*id, |session| {
                session.send_prepared(&prepared);
            });
            expected.push(text(&message));
            // Each session's own messages come between them.
            let own = format!("round {round}, ").repeat(30);
            match client.compress(own.as_bytes()) {
                Some(compressed) => client.write(&compressed_fragment(Opcode::Text, true, &compressed)),
                None => client.send(&own),
            }
            world.settle();
            expected.push(text(&own));
        }
    }
    for (client, expected) in &mut clients {
        assert_eq!(client.frames(), *expected);
    }
}
