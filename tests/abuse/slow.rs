//! Rows 3 and 4: heads without end, and heads that arrive slowly.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Next, Peer, UPGRADE};
use crate::honest::Honest;
use crate::server::Server;
use crate::wire::{BINARY, FIN, masked};
use crate::{figure, in_time, is_full_scale, on_each_reactor, p99, patience, scaled};

#[test]
fn row_3_a_head_without_end_is_refused_at_its_limit_and_costs_no_more() {
    let heads = scaled(100);
    let mut head = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec();
    head.resize(20 << 20, b'a');
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let before = server.cpu();
        for _ in 0..heads {
            let mut peer = Peer::connect(server.address);
            peer.write(&head);
            assert_eq!(peer.read_status(), Some(431));
        }
        let spent = server.cpu() - before;
        figure(3, format!("{heads} heads of 20 MB: {spent:.1?} of CPU"), "1 s");
        in_time(spent <= Duration::from_secs(1));
    });
}

#[test]
fn row_3_a_head_that_drips_costs_no_more_than_its_reads() {
    // A tenth of them shows that they are accepted; their cost is measured at full scale.
    let bytes = if is_full_scale() { 16 * 1024 } else { 2 * 1024 };
    let mut head = UPGRADE[..UPGRADE.len() - 2].to_vec();
    head.extend(b"X: ");
    head.resize(bytes - 4, b'a');
    head.extend(b"\r\n\r\n");
    let frame = masked(FIN | BINARY, &vec![b'a'; bytes - 8]);
    let (head, frame) = (&head, &frame);
    on_each_reactor(|reactor| {
        let server = Server::start_on_one_core(reactor, &["--set", "cores.pin=always"]);
        let (pairs, server) = beside_the_server(move || {
            let drips = |_| {
                let as_head = drip(&server, answered(server.address), head).as_secs_f64();
                (as_head, drip(&server, Peer::open(server.address), frame).as_secs_f64())
            };
            ((0..scaled(20)).map(drips).collect::<Vec<_>>(), server)
        });
        // It ends on this thread, whose figures it belongs to.
        drop(server);
        // The median of the differences of pairs, since the machine's speed changes from second to second.
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<_> = pairs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            Duration::from_secs_f64(values[values.len() / 2].max(0.0))
        };
        let (as_head, parsing) = (median(|pair| pair.0), median(|pair| pair.0 - pair.1));
        figure(
            3,
            format!("a head of {bytes} single bytes: {as_head:.1?} of CPU, {parsing:.1?} more than a message's bytes"),
            "10 ms more",
        );
        in_time(parsing <= Duration::from_millis(10));
    });
}

/// Calls `body`, at full scale on the processor of the server's only core. Yielding there after each byte makes the
/// server read each byte separately: otherwise the scheduler would decide how many bytes a turn finds, and so their
/// cost.
fn beside_the_server<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let pinned = || {
        let processors = core_affinity::get_core_ids().unwrap();
        assert!(!is_full_scale() || core_affinity::set_for_current(processors[0]));
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join().unwrap_or_else(|panic| resume_unwind(panic)))
}

/// Returns a client that has had an answer, as one with a session has: before the first one the kernel acknowledges
/// each byte.
fn answered(address: SocketAddr) -> Peer {
    let mut peer = Peer::connect(address);
    peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(peer.read_status(), Some(200));
    peer
}

/// Returns the CPU time of the server for bytes that arrive one by one.
fn drip(server: &Server, mut peer: Peer, bytes: &[u8]) -> Duration {
    let before = server.cpu();
    for byte in bytes {
        peer.write(&[*byte]);
        // Beside other programs each yield would give them a turn.
        if is_full_scale() {
            thread::yield_now();
        }
    }
    assert!(!matches!(peer.next(), Next::End | Next::Reset | Next::Silence) || peer.read_status() == Some(101));
    server.cpu() - before
}

/// The handshake timeout of the server of row 4.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn row_4_half_handshakes_end_on_time_and_do_not_slow_honest_ones() {
    let attackers = scaled(5_000);
    on_each_reactor(|reactor| {
        let setting = format!("timeouts.handshake-timeout-ms={}", HANDSHAKE_TIMEOUT.as_millis());
        let server = Server::start(reactor, &["--set", &setting]);
        let quiet = p99(handshakes(server.address, 500));
        let mut honest = Honest::new(&server);
        let quiet_echoes = honest.quiet();
        let descriptors = server.descriptors_before();
        let address = server.address;
        let (sender, are_there) = channel();
        let attack = thread::spawn(move || slowloris(address, attackers, &sender));
        are_there.recv().unwrap();
        // At full scale none has been closed by then, and each has sent a byte more.
        thread::sleep(Duration::from_millis(1_000));
        let under_attack = p99(handshakes(server.address, 500));
        let (lives, echoes) = honest.during(|| attack.join().unwrap());
        drop(honest);
        let (first, last) = (lives.iter().min().unwrap(), lives.iter().max().unwrap());
        let after = server.await_descriptors(descriptors);
        figure(
            4,
            format!("{attackers} half handshakes closed after {first:.2?} to {last:.2?}, fds {descriptors} → {after}"),
            "4.5 s to 5.5 s, all back",
        );
        figure(4, format!("honest p99 {quiet:.2?} → {under_attack:.2?}"), "2 × quiet, or 10 ms");
        figure(4, format!("honest echoes' p99 {:.2?} → {:.2?}", quiet_echoes.p99, echoes.p99), "2 × quiet, or 10 ms");
        in_time(echoes.p99 <= quiet_echoes.p99_bound());
        assert_eq!(after, descriptors);
        assert!(*first >= Duration::from_millis(4_500), "closed after {first:.2?}");
        in_time(*last <= Duration::from_millis(5_500));
        // A shared machine's scheduler alone can take a slice of 10 ms.
        in_time(under_attack <= (quiet * 2).max(Duration::from_millis(10)));
    });
}

/// Returns how long each of some handshakes takes, from connecting to the 101.
fn handshakes(address: SocketAddr, count: usize) -> Vec<Duration> {
    let timed = (0..count).map(|_| {
        thread::sleep(Duration::from_millis(1));
        let begun = Instant::now();
        while Peer::try_open(address).is_none() {
            // An honest client that gets no processor asks too late.
            assert!(begun.elapsed() >= HANDSHAKE_TIMEOUT, "an honest handshake failed after {:.2?}", begun.elapsed());
        }
        begun.elapsed()
    });
    timed.collect()
}

/// Sends a byte a second on each of many connections. Returns how long each lived.
fn slowloris(address: SocketAddr, count: usize, are_there: &Sender<()>) -> Vec<Duration> {
    let begun = Instant::now();
    let connect = |_| Some((Instant::now(), Peer::connect(address)));
    let mut peers: Vec<_> = (0..count).map(connect).collect();
    are_there.send(()).unwrap();
    let mut lives = Vec::new();
    let mut sent = 0;
    // Connections that are not closed by then count as missing.
    while lives.len() < count && begun.elapsed() < patience() {
        // The whole request is never sent.
        let due = (begun.elapsed().as_secs() as usize).min(UPGRADE.len() - 2);
        for entry in &mut peers {
            let Some((since, peer)) = entry else { continue };
            if due >= sent {
                peer.write(&UPGRADE[due..=due]);
            }
            if peer.has_ended() {
                lives.push(since.elapsed());
                *entry = None;
            }
        }
        sent = due + 1;
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(lives.len(), count, "some were never closed");
    lives
}

#[test]
fn a_head_of_which_only_the_empty_line_before_it_came_is_awaited_without_spinning() {
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        for start in ["\r", "\r\n"] {
            let mut peer = Peer::connect(server.address);
            peer.write(start.as_bytes());
            thread::sleep(Duration::from_millis(200));
            let before = server.cpu();
            thread::sleep(Duration::from_secs(1));
            let spent = server.cpu() - before;
            figure(4, format!("after {start:?} alone: {spent:.1?} of CPU in 1 s"), "20 ms");
            in_time(spent <= Duration::from_millis(20));
            peer.write(&b"\r\n"[start.len()..]);
            peer.write(UPGRADE);
            assert_eq!(peer.read_status(), Some(101), "after {start:?}");
        }
    });
}

#[test]
fn a_client_that_never_reads_its_answers_is_cut_off() {
    let flags = [
        "--set",
        "timeouts.handshake-timeout-ms=500",
        "--set",
        "timeouts.send-timeout-ms=1000",
        "--set",
        "timeouts.close-timeout-ms=500",
    ];
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &flags);
        let descriptors = server.descriptors_before();
        let asking = |asks: &dyn Fn(&mut Peer)| {
            let mut peer = Peer::connect(server.address);
            asks(&mut peer);
            peer
        };
        let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let last = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let peers = [
            asking(&|peer| peer.stuff(get)),
            asking(&|peer| peer.stuff(&[&get[..], b"GET"].concat())),
            asking(&|peer| peer.stuff(&[&get[..], last].concat())),
            asking(&|peer| peer.write(&[&get.repeat(1000), UPGRADE].concat())),
        ];
        let begun = Instant::now();
        let after = server.await_descriptors(descriptors);
        let took = begun.elapsed();
        figure(4, format!("answers never read: descriptors {descriptors} → {after} in {took:.2?}"), "all, 3 s");
        assert_eq!(after, descriptors);
        drop(peers);
        // Each timeout once, and a second for its ticks and for observing from outside.
        in_time(took <= Duration::from_secs(3));
    });
}
