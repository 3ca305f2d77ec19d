//! Transports over the simulated kernel.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::{Received, TlsSessions, Transport, turn_away, turn_away_waiting};
use crate::reactor::sim::{Faults, Network, Peer, Sim};
use crate::reactor::{Chunks, Completion, Reactor, Socket, Token};

const TOKEN: Token = Token { index: 3, generation: 1 };
const CLIENT: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// Returns a simulated kernel with a client that waits to be accepted.
fn waiting() -> (Sim, Network, Socket, Peer) {
    let (sim, network) = Sim::new(1, Faults::default());
    let listener = network.listen();
    let peer = network.connect_to(listener, SocketAddr::from(CLIENT)).unwrap();
    (sim, network, listener, peer)
}

fn connected() -> (Sim, Network, Transport, Peer) {
    let (mut sim, network, listener, peer) = waiting();
    let socket = sim.accept_now(listener).unwrap();
    (sim, network, Transport::new(socket), peer)
}

fn enter(sim: &mut Sim) -> Vec<Completion> {
    let mut completions = Vec::new();
    sim.enter(Duration::ZERO, &mut completions).unwrap();
    completions
}

/// Runs the kernel until it reports nothing more, and tells the transport of it. Returns the number of bytes sent.
fn settle(sim: &mut Sim, transport: &mut Transport) -> usize {
    let mut sent = 0;
    for _ in 0..100 {
        for completion in enter(sim) {
            match completion {
                Completion::Readable { ended, .. } => transport.note_arrival(ended),
                Completion::Sent { result, more, .. } => sent += transport.note_sent(result, more).unwrap_or(0),
                Completion::WatchEnded { .. } => transport.note_watch_ended(),
                other => panic!("{other:?}"),
            }
        }
    }
    sent
}

#[test]
fn a_read_that_leaves_room_has_emptied_the_socket() {
    let (mut sim, _network, mut transport, peer) = connected();
    transport.watch(&mut sim, TOKEN);
    peer.write(b"abcdef");
    settle(&mut sim, &mut transport);
    let mut buffer = [0; 4];
    let first = transport.receive(&mut sim, &mut buffer);
    assert!(matches!(first, Received::Bytes { count: 4, is_all: false }), "{first:?}");
    assert!(transport.is_readable());
    let second = transport.receive(&mut sim, &mut buffer);
    assert!(matches!(second, Received::Bytes { count: 2, is_all: true }), "{second:?}");
    assert!(!transport.is_readable());
    assert!(matches!(transport.receive(&mut sim, &mut buffer), Received::Nothing));
}

#[test]
fn the_end_behind_bytes_is_read_without_a_further_report() {
    let (mut sim, _network, mut transport, peer) = connected();
    transport.watch(&mut sim, TOKEN);
    peer.write(b"ab");
    peer.finish();
    settle(&mut sim, &mut transport);
    let mut buffer = [0; 4];
    let bytes = transport.receive(&mut sim, &mut buffer);
    assert!(matches!(bytes, Received::Bytes { count: 2, is_all: false }), "{bytes:?}");
    assert!(transport.is_readable() && !transport.is_finished());
    assert!(matches!(transport.receive(&mut sim, &mut buffer), Received::End));
    assert!(transport.is_finished() && !transport.is_readable() && !transport.is_broken());
}

#[test]
fn a_write_takes_what_fits_and_a_send_the_rest() {
    let (mut sim, network, mut transport, peer) = connected();
    peer.stop_reading();
    let bytes = vec![7; 1 << 22];
    let mut written = 0;
    loop {
        match transport.write(&mut sim, &mut TlsSessions::default(), TOKEN, &[IoSlice::new(&bytes[written..])]).unwrap()
        {
            0 => break,
            count => written += count,
        }
        enter(&mut sim);
    }
    assert!(written > 0 && written < bytes.len(), "{written}");
    transport.send(&mut sim, TOKEN, Chunks::One(Bytes::copy_from_slice(&bytes[written..])));
    assert!(transport.is_sending());
    peer.resume_reading();
    let (mut received, mut sent) = (0, 0);
    while received < bytes.len() {
        sent += settle(&mut sim, &mut transport);
        received += peer.read().len();
    }
    assert_eq!(written + sent, bytes.len());
    assert!(!transport.is_sending() && !transport.is_broken());
    assert!(network.violations().is_empty());
}

#[test]
fn a_reset_breaks_the_transport() {
    for write in [false, true] {
        let (mut sim, _network, mut transport, peer) = connected();
        peer.reset();
        enter(&mut sim);
        let failed = match write {
            true => transport.write(&mut sim, &mut TlsSessions::default(), TOKEN, &[IoSlice::new(b"a")]).is_err(),
            false => matches!(transport.receive(&mut sim, &mut [0; 4]), Received::Failed(_)),
        };
        assert!(failed && transport.is_broken(), "write: {write}");
    }
}

#[test]
fn the_socket_is_closed_once_nothing_is_in_flight() {
    let (mut sim, network, mut transport, peer) = connected();
    peer.stop_reading();
    transport.watch(&mut sim, TOKEN);
    transport.send(&mut sim, TOKEN, Chunks::One(Bytes::from(vec![7; 1 << 22])));
    enter(&mut sim);
    assert!(!transport.close(&mut sim), "closed with a watch and a send in flight");
    transport.discard_on_close(&mut sim);
    transport.cancel(&mut sim, TOKEN);
    settle(&mut sim, &mut transport);
    assert!(transport.is_broken(), "the cancelled send has failed");
    assert!(transport.close(&mut sim));
    enter(&mut sim);
    assert!(peer.was_reset());
    assert_eq!(network.open_sockets(), 1, "the listener is still open");
    assert!(network.violations().is_empty());
}

#[test]
fn a_client_that_is_turned_away_hears_why_though_its_request_was_not_read() {
    let (mut sim, network, listener, peer) = waiting();
    peer.write(b"GET / HTTP/1.1");
    enter(&mut sim);
    let socket = sim.accept_now(listener).unwrap();
    enter(&mut sim);
    turn_away(&mut sim, socket, b"full", &mut [0; 64]);
    enter(&mut sim);
    assert_eq!(peer.read(), b"full");
    assert!(peer.is_at_end() && !peer.was_reset());
    assert_eq!(network.open_sockets(), 1, "the listener is still open");
}

#[test]
fn a_waiting_client_is_turned_away_with_the_spare_descriptor() {
    let (mut sim, network, listener, peer) = waiting();
    network.descriptor_limit(0);
    assert!(sim.accept_now(listener).is_err());
    assert!(turn_away_waiting(&mut sim, listener, b"full", &mut [0; 64]).is_ok());
    enter(&mut sim);
    assert_eq!(peer.read(), b"full");
    assert_eq!(network.open_sockets(), 1, "the listener is still open");
    let none = turn_away_waiting(&mut sim, listener, b"full", &mut [0; 64]).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::WouldBlock);
    assert!(network.violations().is_empty());
}
