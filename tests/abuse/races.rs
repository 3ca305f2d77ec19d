//! Row 20: input that arrives at the moment in which its timeout expires.

use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Peer, UPGRADE};
use crate::server::Server;
use crate::wire::{BINARY, FIN, PONG, masked};
use crate::{Random, figure, on_each_reactor, patience};

/// The connections that race at full scale, which takes seconds.
const CONNECTIONS: usize = 10_000;

/// The most connections in one batch. The fewer there are, the earlier the last one is open, and the fewer lose.
const AT_ONCE_MAX: usize = 1_000;
const AT_ONCE_MIN: usize = 4;

/// Every timeout of the server, in milliseconds: two of its ticks.
const TIMEOUT_MS: u64 = 100;

#[test]
fn row_20_timeouts_that_race_what_they_wait_for_lose_no_descriptor() {
    let timeout = TIMEOUT_MS.to_string();
    let flags = ["handshake", "assembly", "send", "dead-peer", "close"]
        .map(|name| format!("--set=timeouts.{name}-timeout-ms={timeout}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--ping-interval-ms=50"]).collect();
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &flags);
        let descriptors = server.descriptors_before();
        let mut random = Random(20);
        let (mut races, mut lost, mut at_once) = (0, 0, AT_ONCE_MAX);
        let is_race = |races: usize, lost: usize| lost > CONNECTIONS / 50 && races - lost > CONNECTIONS / 50;
        let end = Instant::now() + patience();
        // If other programs have the processors, batches get smaller until some connections win.
        while races < CONNECTIONS * 3 / 4 || (!is_race(races, lost) && Instant::now() < end) {
            let (raced, late) = race(&server, at_once, &mut random);
            (races, lost) = (races + raced, lost + late);
            match late * 100 / raced {
                95.. => at_once = (at_once / 2).max(AT_ONCE_MIN),
                0..5 => at_once = (at_once * 2).min(AT_ONCE_MAX),
                _ => {}
            }
        }
        let after = server.await_descriptors(descriptors);
        let mut honest = Peer::open(server.address);
        honest.say("still here");
        figure(
            20,
            format!("{races} races, {lost} lost to the timeout, descriptors {descriptors} → {after}"),
            "all back, some lost and some won",
        );
        assert_eq!(after, descriptors);
        assert!(is_race(races, lost), "these were no races");
    });
}

/// Starts something on each of many connections and completes it when it is about to time out. Returns how many raced,
/// and how many of those were late.
fn race(server: &Server, count: usize, random: &mut Random) -> (usize, usize) {
    let frame = masked(FIN | BINARY, &[1; 200]);
    // `None` was late for its own handshake.
    let mut peers: Vec<Option<Peer>> = (0..count)
        .map(|index| match index % 4 {
            0 => Some(Peer::connect(server.address)),
            _ => Peer::try_open(server.address),
        })
        .collect();
    for (index, peer) in started(&mut peers) {
        match index % 4 {
            0 => peer.write(&UPGRADE[..UPGRADE.len() - 1]),
            1 => peer.write(&frame[..100]),
            // The server closes, and waits for the end of this side.
            2 => peer.write(&[0xFF; 6]),
            _ => {}
        }
    }
    // The connections opened one after another; the sweep covers the time that this took.
    thread::sleep(Duration::from_millis(random.below(TIMEOUT_MS as usize) as u64));
    for (index, peer) in started(&mut peers) {
        match index % 4 {
            0 => peer.write(&UPGRADE[UPGRADE.len() - 1..]),
            1 => peer.write(&frame[100..]),
            2 => peer.finish(),
            _ => peer.write(&masked(FIN | PONG, b"")),
        }
    }
    thread::sleep(Duration::from_millis(20));
    let (mut raced, mut late) = (0, 0);
    for (index, mut peer) in peers.into_iter().enumerate() {
        // Closing connections end in any case.
        if index % 4 != 2 {
            raced += 1;
            late += usize::from(peer.as_mut().is_none_or(Peer::has_ended));
        }
        match random.below(2) {
            0 => peer.into_iter().for_each(Peer::reset),
            _ => drop(peer),
        }
    }
    (raced, late)
}

/// Returns the connections that were in time so far, with their indexes.
fn started(peers: &mut [Option<Peer>]) -> impl Iterator<Item = (usize, &mut Peer)> {
    peers.iter_mut().enumerate().filter_map(|(index, peer)| Some((index, peer.as_mut()?)))
}
