//! Rows 17 and 18: connections that end at unexpected moments.

use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Peer, UPGRADE};
use crate::server::Server;
use crate::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT, close_payload, header, masked};
use crate::{Random, figure, in_time, is_full_scale, on_each_reactor, patience, scaled};

/// Connections in one batch.
const AT_ONCE: usize = 250;

/// Half-closed connections open at once: their other ends count against this process's descriptors.
const HELD_AT_ONCE: usize = 2_000;

/// Returns the timeout of a closing connection, and of one that acknowledges nothing: 5 s at full scale, as by default.
fn close_timeout() -> Duration {
    if is_full_scale() { Duration::from_secs(5) } else { Duration::from_secs(1) }
}

/// Returns all bytes of a session, from its request to its close.
fn script() -> Vec<u8> {
    let mut frames = masked(FIN | TEXT, b"a text");
    frames.extend(masked(BINARY, &[7; 300]));
    frames.extend(masked(FIN | PING, b"in between"));
    frames.extend(masked(FIN | CONTINUATION, &[8; 300]));
    frames.extend(masked(FIN | BINARY, &[9; 20_000]));
    frames.extend(masked(FIN | CLOSE, &close_payload(1000, "enough")));
    frames
}

#[test]
fn row_17_resets_at_any_byte_leave_nothing_behind() {
    let frames = script();
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let mut random = Random(17);
        let per_round = scaled(100_000) / 3;
        // The first round warms up.
        let mut memory = Vec::new();
        let descriptors = server.descriptors_before();
        for _ in 0..3 {
            for _ in 0..per_round.div_ceil(AT_ONCE) {
                reset_some(&server, &frames, &mut random);
            }
            assert_eq!(server.await_descriptors(descriptors), descriptors);
            memory.push(server.memory());
        }
        let (first, last) = (memory[0], memory[2]);
        let grown = last.saturating_sub(first);
        let count = 3 * per_round.div_ceil(AT_ONCE) * AT_ONCE;
        figure(
            17,
            format!("{count} resets: descriptors as before, memory + {} KiB from round 1 to 3", grown >> 10),
            "2 % or 4096 KiB",
        );
        assert!(grown <= (first / 50).max(4 << 20));
    });
}

/// Resets connections, half of them within the request and half within a session, some with unread answers.
fn reset_some(server: &Server, frames: &[u8], random: &mut Random) {
    let mut peers: Vec<Peer> = (0..AT_ONCE / 2).map(|_| Peer::connect(server.address)).collect();
    peers.iter_mut().for_each(|peer| peer.write(&UPGRADE[..random.below(UPGRADE.len() + 1)]));
    let mut sessions = Peer::open_many(server.address, AT_ONCE / 2);
    sessions.iter_mut().for_each(|peer| peer.write(&frames[..random.below(frames.len() + 1)]));
    for peer in &mut sessions {
        if random.below(2) == 0 {
            let _ = peer.has_ended();
        }
    }
    peers.into_iter().chain(sessions).for_each(Peer::reset);
}

#[test]
fn row_18_half_closed_connections_are_gone_in_time_and_leave_the_server_idle() {
    on_each_reactor(|reactor| {
        // If the peer does not read, the send timeout applies: the end of its stream waits behind its bytes.
        let [send, close] =
            ["send", "close"].map(|which| format!("timeouts.{which}-timeout-ms={}", close_timeout().as_millis()));
        let server = Server::start(reactor, &["--set", &send, "--set", &close]);
        let descriptors = server.descriptors_before();
        let count = scaled(10_000);
        let mut slowest = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let held = left.min(HELD_AT_ONCE);
            left -= held;
            let mut peers = Peer::open_many(server.address, held);
            peers.iter_mut().enumerate().for_each(|(index, peer)| half_close(index, peer));
            let begun = Instant::now();
            while server.descriptors() > descriptors && begun.elapsed() < patience() {
                thread::sleep(Duration::from_millis(20));
            }
            slowest = slowest.max(begun.elapsed());
            if left == 0 {
                let (cpu, begun) = (server.cpu(), Instant::now());
                thread::sleep(Duration::from_secs(2));
                let idle = (server.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
                let open = server.descriptors() - descriptors;
                figure(
                    18,
                    format!(
                        "{count} half-closed: {open} left after {slowest:.2?}, then {:.2} % of a core",
                        idle * 100.0
                    ),
                    format!("0 after {:?}, 1 %", close_timeout() + Duration::from_millis(500)),
                );
                assert_eq!(open, 0);
                // Half a second for the ticks of the timers and for observing from outside.
                in_time(slowest <= close_timeout() + Duration::from_millis(500));
                in_time(idle <= 0.01);
            }
        }
    });
}

/// Sends something or half of it, and ends the stream without closing the socket.
fn half_close(index: usize, peer: &mut Peer) {
    match index % 7 {
        // The answers fill the way back, so that they wait in the outbox when the end arrives. Each such session takes
        // megabytes of the kernel's memory, so there are few.
        _ if index.is_multiple_of(250) => peer.stuff(&masked(FIN | BINARY, &[1; 60_000])),
        0 => {}
        1 => peer.write(&[FIN | TEXT]),
        2 => peer.write(&header(FIN | BINARY, Some([0; 4]), 1000)),
        3 => peer.write(&masked(TEXT, b"the first half of")),
        4 => peer.close(1000),
        5 => peer.write(&[0xFF; 20]),
        _ => peer.write(&masked(FIN | PING, b"answered")),
    }
    peer.finish();
}
