//! Row 15: pings from peers that read nothing.

use crate::attacker::{Next, Peer};
use crate::fragments::warm_up;
use crate::honest::Honest;
use crate::server::Server;
use crate::wire::{FIN, PING, masked};
use crate::{figure, in_time, on_each_reactor, scaled};

const CONNECTIONS: usize = 100;

/// Pings in one write.
const AT_ONCE: usize = 100;

/// The number of a ping is its payload, at a length at which pongs fill what the kernel holds for such a peer.
fn ping(number: usize) -> String {
    format!("{number:0>100}")
}

#[test]
fn row_15_pings_of_peers_that_read_nothing_are_answered_by_the_latest_pong_and_slow_nobody() {
    let pings = scaled(1_000_000) / CONNECTIONS;
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        let mut honest = Honest::new(&server);
        warm_up(&server);
        let mut peers = Peer::open_many_by(server.address, CONNECTIONS, Peer::connect_narrow);
        let quiet = honest.quiet();
        let before = server.memory();
        server.forget_peak();
        let ((), served) = honest.during(|| {
            for first in (0..pings).step_by(AT_ONCE) {
                let numbers = first..pings.min(first + AT_ONCE);
                let some: Vec<u8> = numbers.flat_map(|number| masked(FIN | PING, ping(number).as_bytes())).collect();
                peers.iter_mut().for_each(|peer| peer.write(&some));
            }
        });
        let grown = server.peak().saturating_sub(before);
        let pongs: usize = peers.iter_mut().map(|peer| pongs_to_the_last(peer, pings)).sum();
        let coalesced: usize = Peer::open(server.address).ask("count pongs_coalesced").parse().unwrap();
        figure(
            15,
            format!(
                "{} pings on {CONNECTIONS} connections: {pongs} pongs, {coalesced} coalesced, peak memory + {} KiB",
                pings * CONNECTIONS,
                grown >> 10
            ),
            "pongs + coalesced = pings, some of each, 4096 KiB",
        );
        figure(
            15,
            format!("honest p99 {:.2?} → {:.2?} of {} echoes", quiet.p99, served.p99, served.echoes),
            "2 × quiet, or 10 ms",
        );
        assert_eq!(pongs + coalesced, pings * CONNECTIONS);
        assert!(pongs > 0 && coalesced > 0);
        assert!(grown <= 4 << 20);
        in_time(served.p99 <= quiet.p99_bound());
    });
}

/// Reads up to the pong of the last ping, in their order, and gives how many came.
fn pongs_to_the_last(peer: &mut Peer, pings: usize) -> usize {
    let mut last = None;
    for count in 1.. {
        let Next::Frame(0x8A, payload) = peer.next() else { panic!("no pong after {last:?} of {pings}") };
        let number = String::from_utf8(payload).unwrap().parse::<usize>().unwrap();
        assert!(last < Some(number));
        last = Some(number);
        if number + 1 == pings {
            return count;
        }
    }
    0
}
