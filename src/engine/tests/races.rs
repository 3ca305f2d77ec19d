//! Tests of timeouts that race with the event they wait for: whichever comes first, each is handled once.

use super::client::{Client, get, masked, upgrade_request};
use super::dice::Dice;
use super::world::World;
use crate::engine::Limits;
use crate::protocol::Opcode;
use crate::reactor::sim::Faults;

/// The number of timeouts to cause, unless `RINGSOCK_TIMEOUTS` gives another.
const TIMEOUTS: u64 = 30_000;

/// Connections at a time.
const CLIENTS: usize = 64;

#[test]
fn timeouts_that_race_completions_leave_nothing_behind() {
    let timeouts = std::env::var("RINGSOCK_TIMEOUTS").map_or(TIMEOUTS, |digits| digits.parse().expect("a number"));
    let limits = Limits {
        handshake_timeout_ms: 100,
        assembly_timeout_ms: 100,
        outbox_bytes_max: 2_000,
        send_timeout_ms: 100,
        ping_interval_ms: 50,
        dead_peer_timeout_ms: 150,
        close_timeout_ms: 50,
        ..Limits::default()
    };
    let faults = Faults { delay: 500, reorder: 500, send_error: 2, small_buffers: 900, ..Faults::harmless() };
    let (mut world, mut dice) = (World::faulty(limits, 20, faults), Dice::new(20));
    let mut clients = Vec::new();
    while brought_about(&world) < timeouts {
        if clients.len() < CLIENTS {
            clients.push(begin(&mut world, &mut dice));
        }
        // The client acts when its time may just be over, or may not.
        let chosen = dice.below(clients.len());
        act(&clients[chosen], &mut dice);
        clients.retain(|client| !client.peer.is_closed_by_server());
        if dice.once_in(4) {
            world.skip(25);
        }
        world.turn();
        world.check();
    }
    let counters = &world.counters;
    for counter in
        [&counters.handshake_timeouts, &counters.close_timeouts, &counters.send_timeouts, &counters.dead_peers]
    {
        assert!(counter.read() > timeouts / 1_000, "{:?}", counters.all());
    }
}

fn brought_about(world: &World) -> u64 {
    let counters = &world.counters;
    counters.handshake_timeouts.read()
        + counters.close_timeouts.read()
        + counters.send_timeouts.read()
        + counters.dead_peers.read()
}

fn begin(world: &mut World, dice: &mut Dice) -> Client {
    let client = world.connect();
    match dice.below(6) {
        0 => {}
        1 => client.write(b"GET / HT"),
        2 => client.write(&get("/large", "")),
        _ => client.write(&upgrade_request("/", &[]).0),
    }
    client
}

fn act(client: &Client, dice: &mut Dice) {
    match dice.below(12) {
        0 => client.peer.reset(),
        1 => client.write(&get("/", "")),
        2 => client.send("/flood 4 3000"),
        3 => client.peer.stop_reading(),
        4 => client.peer.resume_reading(),
        5 => client.send("/close 1000 x"),
        6 => client.close(1000, ""),
        7 => client.write(&masked(Opcode::Text, b"half")[..5]),
        8 => client.ping(b""),
        _ => {
            let _ = client.peer.read();
        }
    }
}
