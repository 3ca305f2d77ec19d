//! Row 23: SIGTERM while thousands of sessions send messages and new ones open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::{figure, in_time, on_each_reactor, scaled};

/// Sessions: 5,000 at full scale, and always enough that some are closed while others send.
fn sessions() -> usize {
    scaled(5_000).max(1_000)
}

#[test]
fn row_23_sigterm_tells_every_session_and_resets_none() {
    on_each_reactor(|reactor| {
        let mut server = Server::start(reactor, &[]);
        let sessions = sessions();
        let peers = Peer::open_many(server.address, sessions);
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let talking = {
            let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
            thread::spawn(move || talk(peers, &stop, &rounds))
        };
        let coming = {
            let (stop, address) = (Arc::clone(&stop), server.address);
            thread::spawn(move || come(address, &stop))
        };
        thread::sleep(Duration::from_millis(500));
        let await_round = |round| {
            while rounds.load(Ordering::Relaxed) < round {
                thread::sleep(Duration::from_millis(1));
            }
        };
        await_round(1);
        let before = rounds.load(Ordering::Relaxed);
        server.signal("TERM");
        let begun = std::time::Instant::now();
        // The messages continue across the Close frames.
        thread::sleep(Duration::from_millis(200));
        await_round(before + 1);
        stop.store(true, Ordering::Relaxed);
        let mut peers = talking.join().unwrap();
        let (mut told, mut ended) = (0, 0);
        for peer in &mut peers {
            let (was_told, how) = goodbye(peer);
            told += usize::from(was_told);
            ended += usize::from(how == Next::End);
        }
        let (status, _) = server.await_end();
        let took = begun.elapsed();
        let Arrivals { answered, refused, cut } = coming.join().unwrap();
        figure(
            23,
            format!(
                "SIGTERM, {sessions} sessions: {told} told 1001, {} reset, {status} after {took:.2?}",
                sessions - ended
            ),
            format!("{sessions}, 0, exit 0 within 11 s"),
        );
        figure(23, format!("arrivals meanwhile: {answered} answered, {refused} refused, {cut} cut"), "0 cut");
        assert_eq!((told, ended, cut), (sessions, sessions, 0));
        assert_eq!(status.code(), Some(0), "{}", server.log());
        in_time(took <= Duration::from_secs(11));
    });
}

/// Makes each session in turn send something, until told to stop. Returns the number of rounds.
fn talk(mut peers: Vec<Peer>, stop: &AtomicBool, rounds: &AtomicUsize) -> Vec<Peer> {
    while !stop.load(Ordering::Relaxed) {
        peers.iter_mut().take_while(|_| !stop.load(Ordering::Relaxed)).for_each(|peer| peer.say("traffic"));
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    peers
}

/// Reads until the server closes, answers, and reads to the end. Returns whether it was 1001, and the end.
pub fn goodbye(peer: &mut Peer) -> (bool, Next) {
    loop {
        match peer.next() {
            Next::Frame(0x88, payload) => {
                peer.close(1001);
                return (payload.starts_with(&1001u16.to_be_bytes()), peer.read_to_end());
            }
            Next::Frame(..) => {}
            end => return (false, end),
        }
    }
}

/// The outcomes of requests on new connections.
#[derive(Default)]
struct Arrivals {
    answered: usize,
    /// The client did not connect, or the connection ended before the first byte of an answer.
    refused: usize,
    /// An answer was incomplete.
    cut: usize,
}

fn come(address: std::net::SocketAddr, stop: &AtomicBool) -> Arrivals {
    let mut arrivals = Arrivals::default();
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut peer) = Peer::try_connect(address) else {
            arrivals.refused += 1;
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        match peer.read_status() {
            Some(_) => arrivals.answered += 1,
            None if peer.heard_nothing() => arrivals.refused += 1,
            None => arrivals.cut += 1,
        }
    }
    arrivals
}

#[test]
fn row_23_a_second_sigterm_ends_the_process_at_once() {
    on_each_reactor(|reactor| {
        let mut server = Server::start(reactor, &[]);
        let took = second_sigterm(23, &mut server);
        assert!(server.log().contains("before all sessions were told"));
        in_time(took <= Duration::from_secs(1));
    });
}

/// Sends a server a second SIGTERM while it waits for clients that never answer its Close frame. Demands that it ends
/// with 1, and returns how long that took.
pub fn second_sigterm(row: u32, server: &mut Server) -> Duration {
    let mut deaf = Peer::open_many(server.address, 100);
    server.signal("TERM");
    // Two signals at the same moment count as one.
    assert_eq!(deaf[0].read_close(), Ok(Some(1001)));
    assert_eq!(server.await_exit(Duration::from_millis(700)), None, "it did not wait for anyone");
    server.signal("TERM");
    let (status, took) = server.await_end();
    figure(row, format!("second SIGTERM: {status} after {took:.2?}"), "1 s, not 0");
    assert_eq!(status.code(), Some(1));
    took
}
