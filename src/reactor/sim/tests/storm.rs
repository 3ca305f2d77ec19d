//! Tests with random clients: a correct caller breaks no rule, leaks nothing, and a seed replays.

use std::collections::BTreeMap;

use super::*;

/// A small echo server that follows the contract: every operation comes to its end, whatever happens.
#[derive(Default)]
struct Echo {
    sessions: BTreeMap<u32, Session>,
    generation: u32,
    accepting: bool,
}

struct Session {
    socket: Socket,
    token: Token,
    watched: bool,
    sending: bool,
    over: bool,
    output: Vec<u8>,
}

impl Echo {
    fn turn(&mut self, sim: &mut Sim, listener: Socket) -> Vec<Completion> {
        if !self.accepting {
            sim.accept(listener);
            self.accepting = true;
        }
        let completions = turn(sim);
        for completion in &completions {
            self.complete(sim, completion);
        }
        for session in self.sessions.values_mut() {
            if !session.over && !session.sending && !session.output.is_empty() {
                let output = std::mem::take(&mut session.output);
                sim.send(session.socket, session.token, Chunks::One(output.into()));
                session.sending = true;
            }
        }
        self.sessions.retain(|_, session| {
            let closable = session.over && !session.watched && !session.sending;
            if closable {
                sim.close(session.socket);
            }
            !closable
        });
        completions
    }

    fn complete(&mut self, sim: &mut Sim, completion: &Completion) {
        match completion {
            Completion::Accepted { result, more, .. } => {
                self.accepting = *more;
                if let Ok(socket) = result {
                    self.open(sim, *socket);
                }
            }
            Completion::Readable { token, .. } => self.read(sim, *token),
            Completion::WatchEnded { token, result } => {
                let Some(session) = self.session(*token) else { return };
                session.watched = false;
                if result.is_err() {
                    session.end(sim);
                } else if !session.over {
                    session.watched = true;
                    sim.watch(session.socket, *token);
                }
            }
            Completion::Sent { token, result, more } => {
                let Some(session) = self.session(*token) else { return };
                session.sending = *more;
                if result.is_err() {
                    session.end(sim);
                }
            }
            Completion::Woken => {}
        }
    }

    fn open(&mut self, sim: &mut Sim, socket: Socket) {
        let free = (0..).find(|index| !self.sessions.contains_key(index));
        let token = Token { index: free.expect("there are many"), generation: self.generation };
        self.generation += 1;
        sim.watch(socket, token);
        let (watched, sending, over) = (true, false, false);
        let session = Session { socket, token, watched, sending, over, output: Vec::new() };
        self.sessions.insert(token.index, session);
    }

    fn read(&mut self, sim: &mut Sim, token: Token) {
        let Some(session) = self.session(token) else { return };
        let mut buffer = [0; 512];
        while !session.over {
            match sim.recv(session.socket, &mut buffer) {
                Ok(0) => session.end(sim),
                Ok(count) => session.output.extend(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => session.end(sim),
            }
        }
    }

    fn session(&mut self, token: Token) -> Option<&mut Session> {
        self.sessions.get_mut(&token.index).filter(|session| session.token == token)
    }
}

impl Session {
    fn end(&mut self, sim: &mut Sim) {
        if !self.over {
            self.over = true;
            sim.shutdown(self.socket, Shutdown::Both);
            if self.watched {
                sim.unwatch(self.socket, self.token);
            }
        }
    }
}

/// Runs clients that connect, write, stop reading, finish and reset, all by the seed, and returns all completions.
fn storm(seed: u64) -> String {
    let mut trace = String::new();
    let (mut sim, network) = Sim::new(seed, Faults::chaos());
    let mut random = faults::Random::new(!seed);
    let listener = network.listen();
    network.descriptor_limit(8);
    let mut echo = Echo::default();
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..200 {
        if random.chance(300) {
            peers.extend(network.connect());
        }
        for peer in &mut peers {
            match random.below(40) {
                0 => peer.stop_reading(),
                1 => peer.resume_reading(),
                2 => peer.reset(),
                3..10 => peer.write(&vec![b'x'; random.below(3000)]),
                _ => drop(peer.read()),
            }
        }
        trace.push_str(&format!("{:?}\n", echo.turn(&mut sim, listener)));
    }
    network.set_faults(Faults::default());
    for peer in &peers {
        peer.finish();
        peer.resume_reading();
    }
    for _ in 0..50 {
        network.descriptor_limit(usize::MAX);
        trace.push_str(&format!("{:?}\n", echo.turn(&mut sim, listener)));
    }
    assert_eq!(network.violations(), Vec::<String>::new(), "seed {seed}");
    assert_eq!(network.open_sockets(), 1, "seed {seed}");
    let is_over = |peer: &Peer| peer.is_closed_by_server() || peer.was_reset();
    assert!(peers.iter().all(is_over), "seed {seed}");
    trace
}

#[test]
fn a_correct_caller_breaks_no_rule_and_leaks_nothing_whatever_happens() {
    for seed in 0..200 {
        storm(seed);
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..10 {
        assert_eq!(storm(seed), storm(seed));
    }
    assert_ne!(storm(1), storm(2));
}

#[test]
fn under_harmless_faults_no_byte_is_lost() {
    for seed in 0..100 {
        let (mut sim, network) = Sim::new(seed, Faults::harmless());
        let listener = network.listen();
        let mut echo = Echo::default();
        let peers: Vec<_> = (0..4).filter_map(|_| network.connect()).collect();
        let sent: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
        let mut received = vec![Vec::new(); peers.len()];
        for piece in sent.chunks(700) {
            for (peer, received) in peers.iter().zip(&mut received) {
                peer.write(piece);
                received.extend(peer.read());
            }
            echo.turn(&mut sim, listener);
        }
        for _ in 0..5000 {
            if received.iter().all(|bytes| bytes.len() == sent.len()) {
                break;
            }
            echo.turn(&mut sim, listener);
            for (peer, received) in peers.iter().zip(&mut received) {
                received.extend(peer.read());
            }
        }
        assert!(received.iter().all(|bytes| *bytes == sent), "seed {seed}");
        assert_eq!(network.violations(), Vec::<String>::new(), "seed {seed}");
    }
}
