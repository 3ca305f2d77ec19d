//! Row 20: what arrives in the moment in which it would have been given up.

use std::thread;
use std::time::Duration;

use crate::attacker::{Peer, UPGRADE};
use crate::server::Server;
use crate::wire::{BINARY, FIN, PONG, masked};
use crate::{Random, figure, on_each_reactor};

/// Connections that race, in full: they take seconds.
const CONNECTIONS: usize = 10_000;
const AT_ONCE: usize = 1_000;

/// Every timeout of the server, in milliseconds: two of its ticks.
const TIMEOUT_MS: u64 = 100;

#[test]
fn row_20_timeouts_that_race_what_they_wait_for_lose_no_descriptor() {
    let timeout = TIMEOUT_MS.to_string();
    let flags =
        ["handshake", "assembly", "send", "dead-peer", "close"].map(|name| format!("--{name}-timeout-ms={timeout}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--ping-interval-ms=50"]).collect();
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &flags);
        let descriptors = server.descriptors_before();
        let mut random = Random(20);
        let mut lost = 0;
        for _ in 0..CONNECTIONS / AT_ONCE {
            lost += race(&server, &mut random);
        }
        let after = server.await_descriptors(descriptors);
        let mut honest = Peer::open(server.address);
        honest.say("still here");
        figure(
            20,
            format!("{CONNECTIONS} races, {lost} lost to the timeout, descriptors {descriptors} → {after}"),
            "all back, some lost and some won",
        );
        assert_eq!(after, descriptors);
        assert!(lost > CONNECTIONS / 50 && lost < CONNECTIONS - CONNECTIONS / 50, "these were no races");
    });
}

/// Starts something on each of many connections and completes it when it is about to time out. Gives how many ended.
fn race(server: &Server, random: &mut Random) -> usize {
    let frame = masked(FIN | BINARY, &[1; 200]);
    let mut peers: Vec<Peer> = (0..AT_ONCE)
        .map(|index| match index % 4 {
            0 => Peer::connect(server.address),
            _ => Peer::open(server.address),
        })
        .collect();
    for (index, peer) in peers.iter_mut().enumerate() {
        match index % 4 {
            0 => peer.write(&UPGRADE[..UPGRADE.len() - 1]),
            1 => peer.write(&frame[..100]),
            // The server closes, and waits for the end of this side.
            2 => peer.write(&[0xFF; 6]),
            _ => {}
        }
    }
    // The moments of the connections are spread over the time it took to open them; the sweep passes through them.
    thread::sleep(Duration::from_millis(random.below(TIMEOUT_MS as usize) as u64));
    for (index, peer) in peers.iter_mut().enumerate() {
        match index % 4 {
            0 => peer.write(&UPGRADE[UPGRADE.len() - 1..]),
            1 => peer.write(&frame[100..]),
            2 => peer.finish(),
            _ => peer.write(&masked(FIN | PONG, b"")),
        }
    }
    thread::sleep(Duration::from_millis(20));
    let mut ended = 0;
    for mut peer in peers {
        // Those that close are to end anyway.
        ended += usize::from(peer.has_ended());
        match random.below(2) {
            0 => peer.reset(),
            _ => drop(peer),
        }
    }
    ended.saturating_sub(AT_ONCE / 4)
}
