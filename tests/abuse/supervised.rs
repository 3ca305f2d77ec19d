//! Row 58: supervisors that end a server, replace it by another, or send it every signal they know.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::Peer;
use crate::drain::goodbye;
use crate::server::Server;
use crate::{figure, in_time, on_each_reactor, scaled};

/// Connections of a crowd that comes while one server takes over from another.
const CROWD: usize = 5_000;

/// Clients of the crowd that connect at the same time.
const AT_ONCE: usize = 32;

/// Sessions that are closed one after the other.
const SESSIONS: usize = 5_000;

/// The drain spread.
const SPREAD: Duration = Duration::from_secs(2);

/// The outcomes of a crowd's connections.
#[derive(Default)]
struct Crowd {
    come: AtomicUsize,
    served: AtomicUsize,
    refused: AtomicUsize,
    unanswered: AtomicUsize,
}

impl Crowd {
    /// Connects and asks for a WebSocket, again and again, until so many have come.
    fn come(&self, address: std::net::SocketAddr, count: usize) {
        while self.come.fetch_add(1, Ordering::Relaxed) < count {
            let status = Peer::try_connect(address).ok().and_then(|mut peer| {
                peer.write(
                    b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                );
                peer.read_status()
            });
            let outcome = match status {
                Some(101) => &self.served,
                Some(503) => &self.refused,
                _ => &self.unanswered,
            };
            outcome.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn row_58_a_crowd_that_comes_during_a_hand_over_is_answered() {
    on_each_reactor(|reactor| {
        let mut first = Server::start(reactor, &["--set", "listen.share-port=true"]);
        let address = first.address;
        let second = Server::start_beside(reactor, address);
        let (crowd, count) = (Crowd::default(), scaled(CROWD).max(2_000));
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| crowd.come(address, count));
            }
            while crowd.come.load(Ordering::Relaxed) < count / 3 {
                thread::sleep(Duration::from_millis(1));
            }
            first.signal("TERM");
        });
        let (status, _) = first.await_end();
        let Crowd { served, refused, unanswered, .. } = crowd;
        let (served, refused, unanswered) = (served.into_inner(), refused.into_inner(), unanswered.into_inner());
        figure(
            58,
            format!(
                "hand-over, {count} connections: {served} served, {refused} got 503, {unanswered} nothing; {status}"
            ),
            "0 without an answer, exit 0",
        );
        assert_eq!((unanswered, status.code()), (0, Some(0)));
        drop(second);
    });
}

#[test]
fn row_58_goodbyes_are_spread_evenly() {
    on_each_reactor(|reactor| {
        let spread = format!("drain.spread-ms={}", SPREAD.as_millis());
        let mut server = Server::start_on_one_core(reactor, &["--set", &spread]);
        let count = scaled(SESSIONS);
        let peers = Peer::open_many(server.address, count);
        let begun = Instant::now();
        server.signal("TERM");
        let chunk = count.div_ceil(AT_ONCE);
        let mut peers: Vec<_> = peers.into_iter().map(Some).collect();
        let times: Vec<Duration> = thread::scope(|scope| {
            let listening = peers.chunks_mut(chunk).map(|peers| {
                scope.spawn(move || {
                    // A core closes its sessions in the order in which they came.
                    let told = peers.iter_mut().flatten().map(|peer| {
                        let (was_told, _) = goodbye(peer);
                        was_told.then(|| begun.elapsed())
                    });
                    told.collect::<Vec<_>>()
                })
            });
            let listening: Vec<_> = listening.collect();
            listening.into_iter().flat_map(|it| it.join().unwrap()).flatten().collect()
        });
        let (status, _) = server.await_end();
        let last = times.iter().max().copied().unwrap_or_default();
        let tenths: Vec<usize> = (0..10)
            .map(|tenth| (SPREAD * tenth / 10, SPREAD * (tenth + 1) / 10))
            .map(|(from, to)| times.iter().filter(|time| (from..to).contains(*time)).count())
            .collect();
        figure(
            58,
            format!(
                "{} of {count} told within {SPREAD:.0?}, in tenths {tenths:?}, the last after {last:.2?}; {status}",
                times.len()
            ),
            "all; 5 to 15 % in each tenth, the last after 2.2 s; exit 0",
        );
        assert_eq!((times.len(), status.code()), (count, Some(0)));
        // No session is closed long before its turn, however late the test sees it.
        let mut in_order = times;
        in_order.sort_unstable();
        let is_early = |(told, time): (usize, &Duration)| *time + SPREAD / 10 < SPREAD * told as u32 / count as u32;
        assert!(!in_order.iter().enumerate().any(is_early), "{tenths:?}");
        let even = tenths.iter().all(|told| (count / 20..=count * 3 / 20).contains(told));
        in_time(even && last <= SPREAD + Duration::from_millis(200));
    });
}

#[test]
fn row_58_every_signal_tells_everyone() {
    on_each_reactor(|reactor| {
        let mut told_by = Vec::new();
        for signals in [&["QUIT"][..], &["INT"], &["TERM", "HUP"], &["TERM", "INT"], &["TERM", "TERM"]] {
            let mut server = Server::start(reactor, &[]);
            let mut peers = Peer::open_many(server.address, scaled(SESSIONS / 5));
            server.signal("USR1");
            server.signal("USR2");
            server.pause();
            signals.iter().for_each(|signal| server.signal(signal));
            server.signal("CONT");
            let told = peers.iter_mut().map(goodbye).filter(|(was_told, _)| *was_told).count();
            let (status, _) = server.await_end();
            told_by.push(format!("{} {told}, {status}", signals.join("+")));
            assert_eq!((told, status.code()), (peers.len(), Some(0)), "{signals:?}: {}", server.log());
        }
        let count = scaled(SESSIONS / 5);
        figure(58, format!("told 1001, of {count} each: {}", told_by.join(", ")), "all, exit 0");
    });
}
