//! Row 57: clients that say nothing, of which some still read.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::Peer;
use crate::server::Server;
use crate::wire::{BINARY, FIN, masked};
use crate::{figure, in_time, on_each_reactor, scaled};

/// How long a client may be silent.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What each slow client is sent, and reads of it in a second: it takes longer than it may be silent.
const MESSAGE_BYTES: usize = 1 << 20;
const BYTES_PER_SECOND: usize = 140 * 1024;

/// Bytes of the header of such a message.
const HEADER_BYTES: usize = 10;

#[test]
fn row_57_who_still_reads_is_alive_and_who_is_silent_is_gone_in_time() {
    let count = scaled(1_000);
    let flags = ["--max-message-bytes=1048576", "--ping-interval-ms=1000", "--dead-peer-timeout-ms=5000"];
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &flags);
        let before = server.cpu();
        let slow = Peer::open_many(server.address, count);
        let readers = thread::spawn(move || read_slowly(slow));
        let begun = Instant::now();
        let silent = Peer::open_many(server.address, count);
        let opening = begun.elapsed();
        let lives = await_ends(silent, begun);
        let (whole, took) = readers.join().unwrap();
        let spent = server.cpu() - before;
        let (first, last) = (lives.iter().min().unwrap(), lives.iter().max().unwrap());
        figure(57, format!("{count} slow readers, silent for {took:.1?}: {} cut off", count - whole), "0");
        figure(57, format!("{count} silent clients gone after {first:.2?} to {last:.2?}"), "4.9 s to 6 s");
        figure(57, format!("{spent:.2?} of CPU"), "told");
        assert_eq!(whole, count, "slow readers were cut off");
        assert!(*first >= TIMEOUT - Duration::from_millis(100), "gone after {first:.2?}");
        in_time(*last <= opening + TIMEOUT + Duration::from_secs(1));
    });
}

/// Has each of some clients sent a large message back, which it reads slowly and says nothing. Says how many had it whole, and
/// how long that took.
fn read_slowly(peers: Vec<Peer>) -> (usize, Duration) {
    let message = masked(FIN | BINARY, &vec![7; MESSAGE_BYTES]);
    let begun = Instant::now();
    let mut readers: Vec<(TcpStream, usize)> = Vec::new();
    for mut peer in peers {
        peer.write(&message);
        let stream = peer.into_stream();
        stream.set_nonblocking(true).unwrap();
        readers.push((stream, 0));
    }
    let (mut whole, mut buffer) = (0, vec![0; 64 * 1024]);
    while !readers.is_empty() {
        let due = (begun.elapsed().as_secs_f64() * BYTES_PER_SECOND as f64) as usize;
        readers.retain_mut(|(stream, received)| {
            let wanted = due.min(MESSAGE_BYTES + HEADER_BYTES).saturating_sub(*received).min(buffer.len());
            let read = if wanted > 0 { stream.read(&mut buffer[..wanted]) } else { return true };
            match read {
                Ok(0) => return false,
                Ok(count) => *received += count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            let is_whole = *received == MESSAGE_BYTES + HEADER_BYTES;
            whole += usize::from(is_whole);
            !is_whole
        });
        thread::sleep(Duration::from_millis(20));
    }
    (whole, begun.elapsed())
}

/// How long after the first of them began to connect each of some clients ended that answer nothing.
fn await_ends(peers: Vec<Peer>, begun: Instant) -> Vec<Duration> {
    let mut peers: Vec<Option<Peer>> = peers.into_iter().map(Some).collect();
    let mut lives = Vec::new();
    while lives.len() < peers.len() {
        assert!(begun.elapsed() < 6 * TIMEOUT, "{} silent clients are still there", peers.len() - lives.len());
        for entry in &mut peers {
            if entry.as_mut().is_some_and(Peer::has_ended) {
                *entry = None;
                lives.push(begun.elapsed());
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    lives
}
