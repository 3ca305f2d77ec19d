//! Turns of a core on the kernel's own sockets, with its clients on the same thread.
//!
//! The bytes that a client writes over loopback have arrived when its call returns, so each round is the same turn of
//! the core. The clients' calls are counted too: they go straight to the kernel, whose instructions are not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringsock::address::{Address, places};
use ringsock::engine::Core;
use ringsock::protocol::Opcode;
use ringsock::reactor::epoll::Epoll;
use ringsock::reactor::uring::Uring;
use ringsock::reactor::{Reactor, listen};
use ringsock::{Handler, Limits};

use crate::fixtures::engine::{Echo, Speech, alone, core};
use crate::fixtures::{KEY, UPGRADE, frames};
use crate::{Case, fault};

const CLIENTS: u32 = 50;
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// The limit of a round, after which it counts as stopped. Under callgrind one takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const CASES: [Case; 5] = [
    case("echo 64 B on epoll", CLIENTS, |rounds| echo(Epoll::new()?, rounds)),
    case("echo 64 B on io_uring", CLIENTS, |rounds| echo(ring()?, rounds)),
    case("deliver 64 B on epoll", CLIENTS, |rounds| fan_out(Epoll::new()?, rounds)),
    case("deliver 64 B on io_uring", CLIENTS, |rounds| fan_out(ring()?, rounds)),
    case("connect and leave on epoll", CLIENTS, |rounds| come_and_go(Epoll::new()?, rounds)),
];

const fn case(name: &'static str, units: u32, run: fn(u32) -> io::Result<()>) -> Case {
    Case { name, units, short: 20, long: 220, run }
}

/// Returns a ring, or the reason why there is none.
fn ring() -> io::Result<Uring> {
    Uring::new().map_err(|error| io::Error::new(ErrorKind::Unsupported, format!("The host refuses io_uring: {error}.")))
}

/// Has each of the clients send a message, and waits for all echoes.
fn echo(reactor: impl Reactor, rounds: u32) -> io::Result<()> {
    let mut room = Room::open(Echo, reactor)?;
    let (sent, echoed) = (frames(1, Opcode::Binary, &PAYLOAD, Some(KEY)), frames(1, Opcode::Binary, &PAYLOAD, None));
    for _ in 0..CLIENTS {
        room.join()?;
    }
    for _ in 0..rounds {
        room.clients.iter_mut().try_for_each(|client| client.write_all(&sent))?;
        room.hear(0, &echoed)?;
    }
    Ok(())
}

/// Has one client publish, and waits until all others have received the message.
fn fan_out(reactor: impl Reactor, rounds: u32) -> io::Result<()> {
    let mut room = Room::open(Speech::default(), reactor)?;
    let (sent, heard) = (frames(1, Opcode::Binary, &PAYLOAD, Some(KEY)), frames(1, Opcode::Binary, &PAYLOAD, None));
    for _ in 0..=CLIENTS {
        room.join()?;
    }
    for _ in 0..rounds {
        room.clients[0].write_all(&sent)?;
        room.hear(1, &heard)?;
    }
    Ok(())
}

/// Connects all clients, and disconnects them without a message.
fn come_and_go(reactor: impl Reactor, rounds: u32) -> io::Result<()> {
    let mut room = Room::open(Echo, reactor)?;
    for _ in 0..rounds {
        for _ in 0..CLIENTS {
            room.join()?;
        }
        room.clients.clear();
        room.turn()?;
    }
    Ok(())
}

/// A core, and its clients.
struct Room<H: Handler, R: Reactor> {
    core: Core<H, R>,
    address: SocketAddr,
    clients: Vec<TcpStream>,
}

impl<H: Handler, R: Reactor> Room<H, R> {
    fn open(handler: H, reactor: R) -> io::Result<Self> {
        let places = places(&[Address::Ip((Ipv4Addr::LOCALHOST, 0).into())]).map_err(io::Error::other)?;
        let opened = listen(&places, 1, false).map_err(|(_, error)| error)?;
        let address = opened.endpoints[0].socket_address().ok_or_else(|| fault("There is no address."))?;
        let listener = opened.listeners[0][0].socket;
        let mesh = alone().ok_or_else(|| fault("There is no mesh."))?;
        let core = core(0, mesh, handler, reactor, listener, Limits::default());
        let mut room = Self { core, address, clients: Vec::new() };
        room.turn()?;
        Ok(room)
    }

    /// Connects a client.
    fn join(&mut self) -> io::Result<()> {
        let mut client = TcpStream::connect(self.address)?;
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        client.write_all(UPGRADE)?;
        self.clients.push(client);
        let answer = self.read(self.clients.len() - 1, 1)?;
        if answer.starts_with(b"HTTP/1.1 101 ") { Ok(()) } else { Err(fault("A client was not let in.")) }
    }

    /// Checks that every client from the `first` on receives exactly this.
    fn hear(&mut self, first: usize, expected: &[u8]) -> io::Result<()> {
        self.turn()?;
        for client in first..self.clients.len() {
            if *self.read(client, expected.len())? != *expected {
                return Err(fault("A client heard something else."));
            }
        }
        Ok(())
    }

    /// Returns the next bytes of a client, at least so many. Runs further turns only if they have not arrived yet.
    fn read(&mut self, client: usize, bytes_min: usize) -> io::Result<Heard> {
        let mut heard = Heard { buffer: [0; 512], bytes: 0 };
        let mut begun = None;
        while heard.bytes < bytes_min {
            match self.clients[client].read(&mut heard.buffer[heard.bytes..]) {
                Ok(0) => return Err(fault("A client was left.")),
                Ok(bytes) => heard.bytes += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if begun.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        return Err(fault("A client heard nothing."));
                    }
                    self.turn()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(heard)
    }

    /// Runs a turn: completions, the calls that they cause, and the sends of these.
    fn turn(&mut self) -> io::Result<()> {
        self.core.enter(Duration::ZERO)?;
        self.core.turn(0);
        self.core.enter(Duration::ZERO)?;
        Ok(())
    }
}

/// The bytes that a client received in one or several reads.
struct Heard {
    buffer: [u8; 512],
    bytes: usize,
}

impl std::ops::Deref for Heard {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.bytes]
    }
}
