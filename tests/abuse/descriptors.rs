//! Row 19: more clients than descriptors, and no descriptor at all.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Peer, UPGRADE};
use crate::honest::Honest;
use crate::server::Server;
use crate::{figure, in_time, is_full_scale, on_each_reactor, patience, scaled};

/// Descriptors of the server's process: 256, and 128 that the admin listener reserves.
const DESCRIPTORS: u64 = 256 + 128;

/// Clients: 1,000 at full scale, and always more than there are descriptors.
fn clients() -> usize {
    scaled(1_000).max(500)
}

/// The wait of a client that was turned away: impatient, but not an attack on the CPU.
const RETRY: Duration = Duration::from_secs(1);

/// The longest wait for an answer. Without any descriptor, clients are turned away in portions.
const PORTION: Duration = Duration::from_millis(200);

/// Returns the time in which clients keep coming: 10 s at full scale.
fn storm() -> Duration {
    Duration::from_millis(scaled(10_000) as u64).max(Duration::from_secs(3))
}

#[test]
fn row_19_a_full_server_turns_clients_away_and_takes_them_again_when_it_can() {
    on_each_reactor(|reactor| {
        let server = Server::start_with_descriptors(reactor, &[], Some(DESCRIPTORS));
        let cpu = server.cpu();
        // Every client is answered, however long that takes on busy processors.
        let wait = if is_full_scale() { PORTION } else { patience() };
        let Storm { peers, took, served, turned_away, unanswered } = besiege(server.address, wait);
        let share = (server.cpu() - cpu).as_secs_f64() / took.as_secs_f64();
        drop(peers);
        let back = await_service(server.address);
        figure(
            19,
            format!(
                "{} clients, {DESCRIPTORS} descriptors, {took:.1?}: {served} served, {turned_away} turned away, \
                 {unanswered} unanswered, {:.1} % of a core; accepts again after {back:.1?}",
                clients(),
                share * 100.0
            ),
            "10 %, 1 s",
        );
        assert!(served >= 100 && turned_away > 0 && unanswered == 0);
        in_time(share <= 0.1);
        in_time(back <= Duration::from_secs(1));
    });
}

#[test]
fn row_19_without_any_descriptor_accepting_backs_off_and_recovers() {
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, Some(DESCRIPTORS));
        let mut honest = Honest::new(&server);
        let quiet = honest.quiet();
        let mut inside = Peer::open(server.address);
        assert!(inside.ask("hoard").parse::<u32>().unwrap() > 100);
        let (cpu, begun) = (server.cpu(), Instant::now());
        let errors = count(&mut inside, "accept_errors");
        let (Storm { peers, took, turned_away, .. }, served) = honest.during(|| besiege(server.address, PORTION));
        let share = (server.cpu() - cpu).as_secs_f64() / took.as_secs_f64();
        let errors = count(&mut inside, "accept_errors") - errors;
        let rate = errors as f64 / begun.elapsed().as_secs_f64();
        drop(peers);
        assert_eq!(inside.ask("still there?"), "still there?");
        inside.ask("release");
        let back = await_service(server.address);
        figure(
            19,
            format!(
                "no descriptors, {took:.1?}: {rate:.0} failed accepts/s, {turned_away} turned away, {:.1} % of a core; \
                 accepts again after {back:.1?}",
                share * 100.0
            ),
            "100/s, 10 %, 1 s",
        );
        figure(19, format!("sessions' p99 {:.2?} → {:.2?}", quiet.p99, served.p99), "2 × quiet, or 10 ms");
        in_time(served.p99 <= quiet.p99_bound());
        assert!(rate <= 100.0);
        in_time(share <= 0.1);
        in_time(back <= Duration::from_secs(1));
    });
}

fn count(peer: &mut Peer, name: &str) -> u64 {
    peer.ask(&format!("count {name}")).parse().unwrap()
}

/// The outcomes of the clients.
struct Storm {
    peers: Vec<Peer>,
    took: Duration,
    served: usize,
    turned_away: usize,
    unanswered: usize,
}

/// Runs clients that all want a session, keep it, and come again if they are turned away.
fn besiege(address: SocketAddr, wait: Duration) -> Storm {
    let begun = Instant::now();
    let mut peers = Vec::new();
    let (mut turned_away, mut unanswered) = (0, 0);
    while begun.elapsed() < storm() {
        let round = Instant::now();
        let mut waiting: Vec<Peer> = (peers.len()..clients()).map(|_| Peer::connect(address)).collect();
        waiting.iter_mut().for_each(|peer| peer.write(UPGRADE));
        for mut peer in waiting {
            peer.wait_at_most(wait);
            match peer.read_status() {
                Some(101) => peers.push(peer),
                Some(_) => turned_away += 1,
                None => unanswered += 1,
            }
            if begun.elapsed() >= storm() * 2 {
                break;
            }
        }
        thread::sleep(RETRY.saturating_sub(round.elapsed()));
    }
    Storm { served: peers.len(), peers, took: begun.elapsed(), turned_away, unanswered }
}

/// Returns how long a new client waits for its session.
fn await_service(address: SocketAddr) -> Duration {
    let (begun, mut wait) = (Instant::now(), Duration::from_millis(300));
    while begun.elapsed() < patience() {
        let mut peer = Peer::connect(address);
        peer.wait_at_most(wait);
        peer.write(UPGRADE);
        if peer.read_status() == Some(101) {
            return begun.elapsed();
        }
        thread::sleep(Duration::from_millis(10));
        wait *= 2;
    }
    panic!("nobody is let in any more");
}
