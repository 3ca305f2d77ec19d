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

/// Pings after which the kernel can buffer no more pongs for one peer: its buffers at both ends have a few MiB.
const PINGS_TO_FILL_MAX: usize = 500_000;

/// Returns a ping whose payload is its number, at a length at which pongs fill the kernel buffers for such a peer.
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
                let some = pings_from(first, pings.min(first + AT_ONCE));
                peers.iter_mut().for_each(|peer| peer.write(&some));
            }
        });
        let mut counts = Peer::open(server.address);
        let mut coalesced = || counts.ask("count pongs_coalesced").parse::<usize>().unwrap();
        let (full, others) = peers.split_first_mut().unwrap();
        let pings_of_full = fill(full, pings, &mut coalesced);
        let grown = server.peak().saturating_sub(before);
        let pongs = pongs_to_the_last(full, pings_of_full)
            + others.iter_mut().map(|peer| pongs_to_the_last(peer, pings)).sum::<usize>();
        let (coalesced, sent) = (coalesced(), pings_of_full + pings * others.len());
        figure(
            15,
            format!(
                "{sent} pings on {CONNECTIONS} connections: {pongs} pongs, {coalesced} coalesced, peak memory + {} KiB",
                grown >> 10
            ),
            "pongs + coalesced = pings, some of each, 4096 KiB",
        );
        figure(
            15,
            format!("honest p99 {:.2?} → {:.2?} of {} echoes", quiet.p99, served.p99, served.echoes),
            "2 × quiet, or 10 ms",
        );
        assert_eq!(pongs + coalesced, sent);
        assert!(pongs > 0 && coalesced > 0);
        assert!(grown <= 4 << 20);
        in_time(served.p99 <= quiet.p99_bound());
    });
}

/// Returns the pings from number `first` up to `end`.
fn pings_from(first: usize, end: usize) -> Vec<u8> {
    (first..end).flat_map(|number| masked(FIN | PING, ping(number).as_bytes())).collect()
}

/// Sends further pings to a peer until pongs are coalesced. Returns how many were sent in all: the buffers of the
/// kernel differ between hosts, and may hold the pongs of all pings so far.
fn fill(peer: &mut Peer, mut sent: usize, coalesced: &mut impl FnMut() -> usize) -> usize {
    while coalesced() == 0 {
        assert!(sent < PINGS_TO_FILL_MAX, "no pong was coalesced after {sent} pings");
        peer.write(&pings_from(sent, sent + AT_ONCE));
        sent += AT_ONCE;
    }
    sent
}

/// Reads up to the pong of the last ping, checks their order, and returns their number.
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
