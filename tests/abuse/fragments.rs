//! Rows 11 and 13: messages in very many pieces.

use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::wire::{BINARY, CONTINUATION, FIN, PING, PONG, masked};
use crate::{figure, in_time, is_full_scale, on_each_reactor, patience, scaled};

/// The default limit of a message.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const CONNECTIONS: usize = 64;

/// Returns an unfinished message of so many bytes, each in a fragment of its own.
fn tiny_fragments(count: usize) -> Vec<u8> {
    let mut bytes = masked(BINARY, b"a");
    bytes.extend(masked(CONTINUATION, b"a").repeat(count - 1));
    bytes
}

/// Makes each core touch the memory that it needs in any case: its scratch buffer, and the slab's first entries.
pub fn warm_up(server: &Server) {
    let many = masked(FIN | BINARY, &[7; 60_000]).repeat(10);
    for mut peer in Peer::open_many(server.address, 16) {
        // The kernel's buffers for either side hold more than all of it.
        peer.write(&many);
        assert!((0..10).all(|_| matches!(peer.next(), Next::Frame(0x82, _))));
    }
}

#[test]
fn row_11_tiny_fragments_without_end_are_refused_at_the_size_limit_and_hold_no_more_than_it() {
    let flood = tiny_fragments(131_000);
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        warm_up(&server);
        let mut peers = Peer::open_many(server.address, CONNECTIONS);
        let before = server.memory();
        server.forget_peak();
        // All connections are open at once, so that everything that they can hold is held at once.
        for part in flood.chunks(32 * 1024) {
            peers.iter_mut().for_each(|peer| peer.write(part));
        }
        let refused = peers.iter_mut().filter_map(|peer| peer.read_close().ok()).filter(|code| *code == Some(1009));
        let refused = refused.count();
        let grown = server.peak().saturating_sub(before);
        figure(
            11,
            format!("{CONNECTIONS} × 131,000 one-byte fragments: {refused} × 1009, peak memory + {} KiB", grown >> 10),
            format!("all, {} KiB", BOUND >> 10),
        );
        assert_eq!(refused, CONNECTIONS);
        assert!(grown <= BOUND);
    });
}

/// The memory that row 11 may add: each message and 8 KiB, and the allocator's reserve of the smaller buffers from
/// which all messages have grown: 1 to 2 MiB, and no more if it happens again.
const BOUND: u64 = (CONNECTIONS * (MESSAGE_BYTES_MAX + 8 * 1024) + (3 << 20)) as u64;

#[test]
fn row_11_a_message_that_stalls_below_the_limit_ends_with_1008_in_time() {
    let stalled = tiny_fragments(60_000);
    // The default of 30 s at full scale.
    let timeout = Duration::from_millis(scaled(30_000) as u64);
    on_each_reactor(|reactor| {
        // No ping comes before the verdict.
        let setting = format!("timeouts.assembly-timeout-ms={}", timeout.as_millis());
        let flags = ["--set", &setting, "--ping-interval-ms", "0"];
        let server = Server::start(reactor, &flags);
        warm_up(&server);
        let mut peers = Peer::open_many(server.address, CONNECTIONS);
        let before = server.memory();
        server.forget_peak();
        let begin = peers.iter_mut().map(|peer| {
            peer.wait_at_most(timeout + patience());
            let begun = Instant::now();
            peer.write(&stalled[..stalled.len() / 2]);
            begun
        });
        let begun: Vec<Instant> = begin.collect();
        peers.iter_mut().for_each(|peer| peer.write(&stalled[stalled.len() / 2..]));
        // The memory it holds once everything has arrived.
        thread::sleep(timeout / 2);
        let held = server.memory().saturating_sub(before);
        let (mut refused, mut first, mut last) = (0, Duration::MAX, Duration::ZERO);
        for (peer, begun) in peers.iter_mut().zip(begun) {
            refused += usize::from(peer.read_close() == Ok(Some(1008)));
            (first, last) = (first.min(begun.elapsed()), last.max(begun.elapsed()));
        }
        let peak = server.peak().saturating_sub(before);
        figure(
            11,
            format!(
                "{CONNECTIONS} × 60,000, then silence: {refused} × 1008 by {last:.1?}, memory + {} KiB, at the peak {}",
                held >> 10,
                peak >> 10
            ),
            format!("all by {timeout:?} + 1 s, {} KiB", BOUND >> 10),
        );
        assert_eq!(refused, CONNECTIONS);
        // Ticks of 50 ms, and the time to read all of them from outside.
        assert!(first + Duration::from_millis(100) >= timeout, "refused after {first:.2?}");
        assert!(held <= BOUND);
        in_time(last <= timeout + Duration::from_secs(1));
    });
}

#[test]
fn row_13_a_message_twice_as_long_in_small_pieces_costs_twice_as_much_and_1009_when_too_long() {
    const LIMIT: usize = 16 << 20;
    const PIECE: usize = 64;
    let piece = masked(CONTINUATION, &[1; PIECE]);
    let message = |bytes: usize| {
        let mut message = masked(BINARY, &[1; PIECE]);
        message.extend(piece.repeat(bytes / PIECE - 1));
        message
    };
    let (half, whole) = (message(LIMIT / 2), message(LIMIT));
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &["--max-message-bytes", &LIMIT.to_string()]);
        // The best of three, since other programs on the machine make work more expensive, never cheaper.
        let times = if is_full_scale() { 3 } else { 1 };
        let best = |message: &[u8]| (0..times).map(|_| taken_in(&server, message)).min().unwrap();
        let (once, twice) = (best(&half), best(&whole));
        let ratio = twice.as_secs_f64() / once.as_secs_f64();
        let mut peer = Peer::open(server.address);
        peer.write(&whole);
        peer.write(&masked(CONTINUATION, b"a"));
        let code = peer.read_close();
        figure(
            13,
            format!(
                "8 MiB by {PIECE} bytes: {once:.1?} of CPU, 16 MiB: {twice:.1?}, × {ratio:.2}; a byte more: {code:?}"
            ),
            "× 2.3, 1009",
        );
        assert_eq!(code, Ok(Some(1009)));
        in_time(ratio <= 2.3);
    });
}

/// Returns the CPU time of the server for an unfinished message, until all of it is read.
fn taken_in(server: &Server, message: &[u8]) -> Duration {
    let mut peer = Peer::open(server.address);
    let before = server.cpu();
    peer.write(message);
    peer.write(&masked(FIN | PING, b"all?"));
    assert_eq!(peer.next(), Next::Frame(FIN | PONG, b"all?".to_vec()));
    server.cpu() - before
}
