//! Tests that the simulation passes the conformance suite, that each fault and each violation shows, and that a seed
//! replays.

mod storm;
mod violations;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::reactor::conformance::{Client, World, suite};

/// A simulation, as the conformance suite sees every reactor.
struct Simulated {
    sim: Sim,
    network: Network,
    faults: Faults,
    listener: Option<Socket>,
    clients: u16,
}

impl Simulated {
    fn new(seed: u64, faults: Faults) -> Self {
        let (sim, network) = Sim::new(seed, faults);
        Self { sim, network, faults, listener: None, clients: 0 }
    }
}

impl World for Simulated {
    type Reactor = Sim;
    type Client = Peer;

    fn reactor(&mut self) -> &mut Sim {
        &mut self.sim
    }

    fn listen(&mut self) -> Socket {
        *self.listener.insert(self.network.listen())
    }

    fn connect(&mut self) -> Peer {
        self.clients += 1;
        let address = SocketAddr::from(([127, 0, 0, 1], self.clients));
        let listener = self.listener.expect("somebody listens");
        self.network.connect_to(listener, address).expect("there is room")
    }

    fn too_much(&self) -> usize {
        // With small buffers every few bytes take a turn.
        if self.is_exact() { 1 << 20 } else { 160 << 10 }
    }

    fn is_exact(&self) -> bool {
        self.faults == Faults::default()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.network.violations(), Vec::<String>::new());
        }
    }
}

impl Client for Peer {
    fn address(&self) -> SocketAddr {
        Peer::address(self)
    }

    fn write(&mut self, bytes: &[u8]) {
        Peer::write(self, bytes);
    }

    fn read(&mut self) -> Vec<u8> {
        Peer::read(self)
    }

    fn at_end(&mut self) -> bool {
        self.is_at_end()
    }

    fn was_reset(&mut self) -> bool {
        Peer::was_reset(self)
    }

    fn finish(&mut self) {
        Peer::finish(self);
    }

    fn reset(&mut self) {
        Peer::reset(self);
    }

    fn stop_reading(&mut self) {
        Peer::stop_reading(self);
    }

    fn resume_reading(&mut self) {
        Peer::resume_reading(self);
    }
}

mod without_faults {
    use super::*;

    suite!(0..1, |seed| Simulated::new(seed, Faults::default()));
}

mod with_harmless_faults {
    use super::*;

    /// Returns the faults that the suite's caller handles: it never restarts an operation that it did not end, and
    /// never retries an interrupted read.
    fn faults() -> Faults {
        Faults { watch_ended: 0, accept_ended: 0, recv_interrupted: 0, ..Faults::harmless() }
    }

    suite!(0..20, |seed| Simulated::new(seed, faults()));
}

const TOKEN: Token = Token { index: 5, generation: 1 };
/// The listener that `with_fault` accepts from.
const LISTENER: Socket = Socket(3);

/// Creates a simulation with a single fault, which occurs on every occasion, and an accepted connection.
fn with_fault(faults: Faults) -> (Sim, Network, Peer, Socket) {
    let (mut sim, network) = Sim::new(1, Faults::default());
    let listener = network.listen();
    network.set_faults(Faults { small_buffers: faults.small_buffers, ..Faults::default() });
    let peer = network.connect().expect("somebody listens");
    let socket = sim.accept_now(listener).expect("it waits");
    network.set_faults(faults);
    (sim, network, peer, socket)
}

fn turn(sim: &mut Sim) -> Vec<Completion> {
    let mut completions = Vec::new();
    sim.enter(Duration::ZERO, &mut completions).expect("entering cannot fail");
    completions
}

fn readable(completions: &[Completion]) -> usize {
    completions.iter().filter(|it| matches!(it, Completion::Readable { .. })).count()
}

fn chunks(bytes: &'static [u8]) -> Chunks {
    Chunks::One(Bytes::from_static(bytes))
}

// Each fault.

#[test]
fn a_short_recv_is_followed_by_another_edge() {
    let (mut sim, _network, peer, socket) = with_fault(Faults { short_recv: 1000, ..Faults::default() });
    sim.watch(socket, TOKEN);
    peer.write(b"0123456789");
    let mut bytes = Vec::<u8>::new();
    let mut reads = 0;
    while bytes.len() < 10 {
        assert_eq!(readable(&turn(&mut sim)), 1);
        let mut buffer = [0; 64];
        let count = sim.recv(socket, &mut buffer).expect("something waits");
        bytes.extend(&buffer[..count]);
        reads += 1;
    }
    assert_eq!(bytes, b"0123456789");
    assert!(reads > 1);
}

#[test]
fn a_recv_that_would_block_without_reason_is_followed_by_another_edge() {
    let (mut sim, network, peer, socket) = with_fault(Faults { recv_would_block: 1000, ..Faults::default() });
    sim.watch(socket, TOKEN);
    peer.write(b"x");
    for _ in 0..3 {
        assert_eq!(readable(&turn(&mut sim)), 1);
        let error = sim.recv(socket, &mut [0; 8]).expect_err("the fault occurs");
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    }
    network.set_faults(Faults::default());
    assert_eq!(sim.recv(socket, &mut [0; 8]).expect("it was there all the time"), 1);
}

#[test]
fn a_recv_that_was_interrupted_can_be_called_again() {
    let (mut sim, network, peer, socket) = with_fault(Faults { recv_interrupted: 1000, ..Faults::default() });
    peer.write(b"x");
    let error = sim.recv(socket, &mut [0; 8]).expect_err("the fault occurs");
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    network.set_faults(Faults::default());
    assert_eq!(sim.recv(socket, &mut [0; 8]).expect("it was there all the time"), 1);
}

#[test]
fn a_connection_can_break_when_it_is_read() {
    let (mut sim, _network, peer, socket) = with_fault(Faults { recv_error: 1000, ..Faults::default() });
    peer.write(b"lost");
    let error = sim.recv(socket, &mut [0; 8]).expect_err("the fault occurs");
    assert!(matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::ETIMEDOUT | libc::EHOSTUNREACH)));
    assert_eq!(sim.recv(socket, &mut [0; 8]).expect("the error was returned before"), 0);
    assert!(peer.was_reset());
}

#[test]
fn a_watch_can_be_refused() {
    let (mut sim, network, peer, socket) = with_fault(Faults { watch_refused: 1000, ..Faults::default() });
    sim.watch(socket, TOKEN);
    peer.write(b"x");
    assert!(matches!(turn(&mut sim)[..], [Completion::WatchEnded { token: TOKEN, result: Err(_) }]));
    assert!(turn(&mut sim).is_empty());
    sim.close(socket);
    assert!(network.violations().is_empty());
}

#[test]
fn a_watched_socket_can_be_readable_for_nothing() {
    let (mut sim, _network, _peer, socket) = with_fault(Faults { spurious_readable: 1000, ..Faults::default() });
    assert_eq!(readable(&turn(&mut sim)), 0);
    sim.watch(socket, TOKEN);
    assert_eq!(readable(&turn(&mut sim)), 1);
    assert!(sim.recv(socket, &mut [0; 8]).is_err());
}

#[test]
fn sends_can_be_short() {
    let (mut sim, network, peer, socket) = with_fault(Faults { short_send: 1000, ..Faults::default() });
    let count = sim.send_now(socket, &[IoSlice::new(b"01234")]).expect("there is room");
    assert!((1..5).contains(&count));
    sim.send(socket, TOKEN, chunks(b"56789"));
    let first = turn(&mut sim);
    assert!(matches!(first[..], [Completion::Sent { result: Ok(1..5), more: true, .. }]));
    network.set_faults(Faults::default());
    let last = turn(&mut sim);
    assert!(matches!(last[..], [Completion::Sent { result: Ok(1..5), more: false, .. }]));
    assert_eq!(peer.read().len(), count + 5);
}

#[test]
fn a_send_now_can_find_no_room() {
    let (mut sim, _network, _peer, socket) = with_fault(Faults { send_would_block: 1000, ..Faults::default() });
    let error = sim.send_now(socket, &[IoSlice::new(b"x")]).expect_err("the fault occurs");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_send_can_break_the_connection() {
    let (mut sim, _network, peer, socket) = with_fault(Faults { send_error: 1000, ..Faults::default() });
    sim.watch(socket, TOKEN);
    sim.send(socket, TOKEN, chunks(b"x"));
    let completions = turn(&mut sim);
    assert_eq!(readable(&completions), 1);
    let failed = |it: &Completion| matches!(it, Completion::Sent { result: Err(_), more: false, .. });
    assert!(completions.iter().any(failed));
    assert_eq!(sim.recv(socket, &mut [0; 8]).expect("the error was returned before"), 0);
    assert!(peer.was_reset());
}

#[test]
fn the_kernel_can_end_a_watch_with_an_edge() {
    let (mut sim, network, peer, socket) = with_fault(Faults { watch_ended: 1000, ..Faults::default() });
    sim.watch(socket, TOKEN);
    assert!(turn(&mut sim).is_empty());
    peer.write(b"x");
    let completions = turn(&mut sim);
    assert!(matches!(
        completions[..],
        [Completion::Readable { token: TOKEN, .. }, Completion::WatchEnded { token: TOKEN, .. }]
    ));
    // The caller may unwatch before it has processed all completions.
    sim.unwatch(socket, TOKEN);
    assert!(turn(&mut sim).is_empty());
    network.set_faults(Faults::default());
    sim.watch(socket, TOKEN);
    assert_eq!(readable(&turn(&mut sim)), 1);
    assert!(network.violations().is_empty());
}

#[test]
fn the_kernel_can_end_accepting_with_a_connection() {
    let (mut sim, network) = Sim::new(1, Faults { accept_ended: 1000, ..Faults::default() });
    let listener = network.listen();
    let _peers = [network.connect(), network.connect()];
    for _ in 0..2 {
        sim.accept(listener);
        let completions = turn(&mut sim);
        assert!(matches!(completions[..], [Completion::Accepted { result: Ok(_), more: false, .. }]));
    }
}

#[test]
fn accepting_can_fail() {
    let (mut sim, network) = Sim::new(1, Faults { accept_error: 1000, ..Faults::default() });
    let listener = network.listen();
    let mut seen = BTreeMap::new();
    for _ in 0..100 {
        let _peer = network.connect();
        sim.accept(listener);
        let completions = turn(&mut sim);
        let [Completion::Accepted { result: Err(error), more: false, .. }] = &completions[..] else {
            panic!("{completions:?}")
        };
        *seen.entry(error.raw_os_error()).or_insert(0) += 1;
    }
    let errors = [libc::EMFILE, libc::ENFILE, libc::ECONNABORTED];
    assert!(errors.iter().all(|error| seen.contains_key(&Some(*error))));
    assert_eq!(network.open_sockets(), 1);
}

#[test]
fn descriptors_run_out_at_the_limit() {
    let (mut sim, network) = Sim::new(1, Faults::default());
    let listener = network.listen();
    network.descriptor_limit(2);
    let peers = [network.connect(), network.connect()].map(|peer| peer.expect("somebody listens"));
    sim.accept(listener);
    let completions = turn(&mut sim);
    let [
        Completion::Accepted { result: Ok(socket), more: true, .. },
        Completion::Accepted { result: Err(error), more: false, .. },
    ] = &completions[..]
    else {
        panic!("{completions:?}")
    };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    let spare = sim.accept_spare(listener).expect("somebody waits");
    assert_eq!(sim.send_now(spare, &[IoSlice::new(b"full")]).expect("there is room"), 4);
    sim.close_spare(spare);
    turn(&mut sim);
    assert_eq!(peers[1].read(), b"full");
    assert!(peers[1].is_at_end());
    // Started again, it fails even if no connection waits.
    sim.accept(listener);
    assert!(matches!(turn(&mut sim)[..], [Completion::Accepted { result: Err(_), more: false, .. }]));
    sim.close(*socket);
    assert!(sim.accept_now(listener).is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock));
    assert_eq!(network.open_sockets(), 1);
    assert!(network.violations().is_empty());
}

#[test]
fn a_reset_can_take_unread_bytes_with_it() {
    let mut lost = [false; 2];
    for (lost, rate) in lost.iter_mut().zip([0, 1000]) {
        for seed in 0..20 {
            let (mut sim, network) = Sim::new(seed, Faults { reset_drops_unread: rate, ..Faults::default() });
            let listener = network.listen();
            let peer = network.connect().expect("somebody listens");
            let socket = sim.accept_now(listener).expect("it waits");
            peer.write(b"0123456789");
            peer.reset();
            let mut bytes = Vec::new();
            let error = loop {
                let mut buffer = [0; 64];
                match sim.recv(socket, &mut buffer) {
                    Ok(count) => bytes.extend(&buffer[..count]),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert!(b"0123456789".starts_with(&bytes));
            *lost |= bytes.len() < 10;
        }
    }
    assert_eq!(lost, [false, true]);
}

#[test]
fn buffers_can_be_small() {
    let (mut sim, _network, peer, socket) = with_fault(Faults { small_buffers: 1000, ..Faults::default() });
    let large = vec![0; 64 * 1024];
    peer.stop_reading();
    let sent = sim.send_now(socket, &[IoSlice::new(&large)]).expect("there is some room");
    assert!(sent < 4096);
    peer.write(&large);
    let read = sim.recv(socket, &mut vec![0; large.len()]).expect("something arrived");
    assert!(read < 4096);
    assert_eq!(peer.unread(), large.len() - read);
}

// Each violation.

#[test]
fn the_lowest_free_descriptor_is_used_first() {
    let (mut sim, network) = Sim::new(1, Faults::default());
    let listener = network.listen();
    let _peers: Vec<_> = (0..5).map(|_| network.connect()).collect();
    let sockets = [(); 3].map(|()| sim.accept_now(listener).expect("it waits"));
    assert_eq!(sockets.map(Socket::raw), [4, 5, 6]);
    sim.close(sockets[1]);
    sim.close(sockets[0]);
    assert_eq!(sim.accept_now(listener).expect("it waits"), sockets[0]);
    assert_eq!(sim.accept_now(listener).expect("it waits"), sockets[1]);
}

#[test]
fn connecting_fails_where_no_listener_is() {
    let (mut sim, network) = Sim::new(1, Faults::default());
    assert!(network.connect().is_none());
    let listener = network.listen();
    let waiting = network.connect().expect("somebody listens");
    sim.close(listener);
    assert!(waiting.was_reset());
    assert!(network.connect().is_none());
}
