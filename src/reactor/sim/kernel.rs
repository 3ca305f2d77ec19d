//! The simulated kernel: its descriptors, and the calls that return at once.
//!
//! Executes calls as Linux would, applies the faults, and records every breach of the contract in [`crate::reactor`].
//! Never sleeps and has no clock: a turn is one `enter`. Invariant: a descriptor's number belongs to one listener or
//! socket, or is free.

mod in_flight;
mod operations;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::connection::{Connection, errno};
use super::faults::{Fault, FaultInjector, Faults};
use super::schedule::Schedule;
use crate::reactor::{SendProgress, Socket, Token};
use in_flight::{Accept, Outgoing, Watch};

/// The first descriptor: after standard input, output and error.
const FIRST_DESCRIPTOR: RawFd = 3;
/// The most connections that wait at a listener.
const BACKLOG_MAX: usize = 4096;
/// Bytes of a socket's buffer in either direction.
const BUFFER_BYTES: usize = 128 * 1024;
/// The range of small buffers, in bytes: below the minimum a larger message would take thousands of turns.
const SMALL_BUFFER_BYTES: Range<usize> = 64..4096;

pub(super) type Shared<T> = Rc<RefCell<T>>;

#[derive(Debug)]
pub(super) struct Kernel {
    pub faults: FaultInjector,
    pub descriptors_max: usize,
    pub violations: Vec<String>,
    /// The number of connections so far, from which each client's address is derived.
    connections: u32,
    /// Free numbers below `never_used`; the lowest is used first, as in POSIX.
    free: BTreeSet<RawFd>,
    never_used: RawFd,
    listeners: BTreeMap<RawFd, Backlog>,
    sockets: BTreeMap<RawFd, Open>,
    /// The descriptor that each slot's token was used with.
    slots: BTreeMap<u32, RawFd>,
    accepts: BTreeMap<RawFd, Accept>,
    watches: BTreeMap<RawFd, Watch>,
    sends: BTreeMap<RawFd, Outgoing>,
    schedule: Schedule,
}

/// The connections that wait at a listener.
#[derive(Debug)]
struct Backlog {
    waiting: VecDeque<Shared<Connection>>,
    kind: Kind,
    /// Refuses new connections: the effect of `shutdown(2)` on a Unix listener.
    refuses: bool,
}

/// The kind of a listener, which decides the effect of shutting it down or closing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP, of one core: closing it resets the waiting connections.
    Tcp,
    /// Unix, shared by the cores of a server: it can be shut down, which keeps the waiting connections.
    Unix,
    /// Inherited: another process has it open too, so waiting connections survive its closing.
    Inherited,
}

#[derive(Debug)]
struct Open {
    connection: Shared<Connection>,
    /// The first token used with it: a socket has one session.
    owner: Option<Token>,
    /// The turn that returned its last `WatchEnded`.
    watch_ended: Option<u64>,
}

impl Kernel {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            faults: FaultInjector::new(seed, faults),
            descriptors_max: usize::MAX,
            violations: Vec::new(),
            connections: 0,
            free: BTreeSet::new(),
            never_used: FIRST_DESCRIPTOR,
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
            slots: BTreeMap::new(),
            accepts: BTreeMap::new(),
            watches: BTreeMap::new(),
            sends: BTreeMap::new(),
            schedule: Schedule::default(),
        }
    }

    pub fn open_sockets(&self) -> usize {
        self.listeners.len() + self.sockets.len()
    }

    pub fn address_of(&self, socket: Socket) -> Option<SocketAddr> {
        self.sockets.get(&socket.raw()).map(|open| open.connection.borrow().address)
    }

    pub fn turn(&self) -> u64 {
        self.schedule.turn()
    }
}

/// The effects of clients' calls.
impl Kernel {
    pub fn listen(&mut self, kind: Kind) -> Socket {
        let fd = self.allocate();
        self.listeners.insert(fd, Backlog { waiting: VecDeque::new(), kind, refuses: false });
        Socket::from_raw(fd)
    }

    /// Returns an address that no other client has had.
    pub fn next_address(&mut self) -> SocketAddr {
        const PORTS: u32 = 50_000;
        let number = self.connections;
        self.connections += 1;
        let host = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number / PORTS);
        SocketAddr::from((host, 10_000 + (number % PORTS) as u16))
    }

    /// Returns one of the listeners, as the kernel distributes connections to an address with several listeners.
    pub fn some_listener(&mut self) -> Option<Socket> {
        let count = self.listeners.len();
        let choice = if count > 0 { self.faults.random.below(count) } else { 0 };
        self.listeners.keys().nth(choice).copied().map(Socket::from_raw)
    }

    /// Queues a connection; `None` if nothing listens there, or the backlog is full.
    pub fn connect(&mut self, listener: Socket, address: SocketAddr) -> Option<Shared<Connection>> {
        let backlog = self.listeners.get_mut(&listener.raw())?;
        if backlog.refuses || backlog.waiting.len() == BACKLOG_MAX {
            return None;
        }
        let [receive_space, send_space] = if self.faults.occurs(Fault::SmallBuffers) {
            let Range { start, end } = SMALL_BUFFER_BYTES;
            [(); 2].map(|()| start + self.faults.random.below(end - start))
        } else {
            [BUFFER_BYTES; 2]
        };
        let connection = Connection::new(address, receive_space, send_space);
        let connection = Rc::new(RefCell::new(connection));
        backlog.waiting.push_back(Rc::clone(&connection));
        Some(connection)
    }

    /// Delivers the effect of a client's call.
    pub fn client_acted(&mut self, connection: &mut Connection) {
        connection.arrive();
        if let Some(fd) = connection.descriptor() {
            self.raise(fd);
        }
    }

    pub fn client_reset(&mut self, connection: &mut Connection) {
        if !connection.is_dead() && self.faults.occurs(Fault::ResetDropsUnread) {
            let count = self.faults.random.below(connection.waiting() + 1);
            connection.drop_unread(count);
        }
        connection.reset();
        self.client_acted(connection);
    }
}

/// Calls that return at once.
impl Kernel {
    pub fn recv(&mut self, socket: Socket, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = socket.raw();
        let connection = self.connection(fd, "recv")?;
        let mut connection = connection.borrow_mut();
        if buffer.is_empty() {
            self.violation(format!("recv on descriptor {fd} has no buffer, so it would look like the end"));
        }
        // Only a watch brings the caller back after these two faults.
        let watched = self.is_watched(fd);
        if watched && connection.is_readable() && self.faults.occurs(Fault::RecvWouldBlock) {
            self.raise(fd);
            return Err(errno(libc::EAGAIN));
        }
        if connection.is_readable() && self.faults.occurs(Fault::RecvInterrupted) {
            return Err(errno(libc::EINTR));
        }
        if !connection.is_dead() && connection.waiting() > 0 && self.faults.occurs(Fault::RecvError) {
            let lost = connection.waiting();
            connection.drop_unread(lost);
            connection.fail(self.faults.random.choose([libc::ECONNRESET, libc::ETIMEDOUT, libc::EHOSTUNREACH]));
        }
        let waiting = connection.waiting().min(buffer.len());
        let short = watched && waiting > 1 && self.faults.occurs(Fault::ShortRecv);
        let limit = if short { self.faults.random.up_to(waiting - 1) } else { buffer.len() };
        let result = connection.recv(&mut buffer[..limit]);
        if connection.arrive() || short {
            self.raise(fd);
        }
        result
    }

    pub fn send_now(&mut self, socket: Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = socket.raw();
        let connection = self.connection(fd, "send_now")?;
        let mut connection = connection.borrow_mut();
        if self.sends.contains_key(&fd) {
            self.violation(format!("send_now on descriptor {fd} while a send is in flight"));
        }
        let whole = parts.iter().map(|part| part.len()).sum();
        let mut count = self.make_room(fd, &mut connection, whole)?;
        if whole == 0 {
            return Ok(0);
        }
        if count == 0 || self.faults.occurs(Fault::SendWouldBlock) {
            return Err(errno(libc::EAGAIN));
        }
        let sent = count;
        for part in parts {
            let left = count.min(part.len());
            connection.send(&part[..left]);
            count -= left;
        }
        Ok(sent)
    }

    pub fn peer_address(&self, socket: Socket) -> io::Result<SocketAddr> {
        let open = self.sockets.get(&socket.raw());
        let open = open.ok_or_else(|| errno(libc::EBADF))?;
        let connection = open.connection.borrow();
        if connection.is_dead() {
            return Err(errno(libc::ENOTCONN));
        }
        Ok(connection.address)
    }

    pub fn send_progress(&self, socket: Socket) -> SendProgress {
        let open = self.sockets.get(&socket.raw());
        open.map_or(SendProgress { acknowledged: 0, waiting: 0 }, |open| open.connection.borrow().send_progress())
    }

    pub fn shutdown(&mut self, socket: Socket, how: Shutdown) {
        if let Some(backlog) = self.listeners.get_mut(&socket.raw()) {
            backlog.refuses = true;
            if (backlog.kind, how) != (Kind::Unix, Shutdown::Read) {
                self.violation(format!("shutdown of the listener {} drops waiting connections", socket.raw()));
            }
        } else if let Ok(connection) = self.connection(socket.raw(), "shutdown") {
            connection.borrow_mut().shutdown(how);
            if how != Shutdown::Write {
                self.raise(socket.raw());
            }
        }
    }

    pub fn discard_on_close(&mut self, socket: Socket) {
        if let Ok(connection) = self.connection(socket.raw(), "discard_on_close") {
            connection.borrow_mut().discard_on_close();
        }
    }

    pub fn close(&mut self, socket: Socket) {
        let fd = socket.raw();
        let in_flight = [
            (self.accepts.remove(&fd).is_some(), "accepting"),
            (self.watches.remove(&fd).is_some(), "a watch"),
            (self.sends.remove(&fd).is_some(), "a send"),
        ];
        for (_, operation) in in_flight.into_iter().filter(|(is, _)| *is) {
            self.violation(format!("descriptor {fd} is closed while {operation} is in flight"));
        }
        self.schedule.forget(fd);
        if let Some(open) = self.sockets.remove(&fd) {
            open.connection.borrow_mut().close();
            if let Some(token) = open.owner {
                self.slots.remove(&token.index);
            }
        } else if let Some(backlog) = self.listeners.remove(&fd) {
            for connection in backlog.waiting.into_iter().filter(|_| backlog.kind != Kind::Inherited) {
                connection.borrow_mut().fail(libc::ECONNRESET);
            }
        } else {
            self.violation(format!("close of descriptor {fd}, which is not open"));
            return;
        }
        self.free.insert(fd);
    }

    pub fn accept_now(&mut self, listener: Socket) -> io::Result<Socket> {
        let fd = listener.raw();
        if !self.listeners.contains_key(&fd) {
            self.violation(format!("accept_now on descriptor {fd}, which does not listen"));
            return Err(errno(libc::EINVAL));
        }
        if self.open_sockets() >= self.descriptors_max {
            return Err(errno(libc::EMFILE));
        }
        let Some(connection) = self.listeners.get_mut(&fd).and_then(|backlog| backlog.waiting.pop_front()) else {
            return Err(errno(libc::EAGAIN));
        };
        if self.faults.occurs(Fault::AcceptError) {
            let error = self.faults.random.choose([libc::EMFILE, libc::ENFILE, libc::ECONNABORTED]);
            if error == libc::ECONNABORTED {
                connection.borrow_mut().fail(error);
            } else if let Some(backlog) = self.listeners.get_mut(&fd) {
                backlog.waiting.push_front(connection);
            }
            return Err(errno(error));
        }
        Ok(self.open(connection))
    }

    pub fn accept_spare(&mut self, listener: Socket) -> io::Result<Socket> {
        let fd = listener.raw();
        let Some(backlog) = self.listeners.get_mut(&fd) else {
            self.violation(format!("accept_spare on descriptor {fd}, which does not listen"));
            return Err(errno(libc::EINVAL));
        };
        let connection = backlog.waiting.pop_front().ok_or_else(|| errno(libc::EAGAIN))?;
        Ok(self.open(connection))
    }

    fn open(&mut self, connection: Shared<Connection>) -> Socket {
        let fd = self.allocate();
        connection.borrow_mut().accept(fd);
        self.sockets.insert(fd, Open { connection, owner: None, watch_ended: None });
        Socket::from_raw(fd)
    }

    fn connection(&mut self, fd: RawFd, call: &str) -> io::Result<Shared<Connection>> {
        match self.sockets.get(&fd) {
            Some(open) => Ok(Rc::clone(&open.connection)),
            None => {
                self.violation(format!("{call} on descriptor {fd}, which is not an open connection"));
                Err(errno(libc::EBADF))
            }
        }
    }

    /// Returns how many of `wanted` bytes can be sent now.
    fn make_room(&mut self, fd: RawFd, connection: &mut Connection, wanted: usize) -> io::Result<usize> {
        if !connection.is_dead() && self.faults.occurs(Fault::SendError) {
            connection.fail(self.faults.random.choose([libc::ECONNRESET, libc::EPIPE, libc::ETIMEDOUT]));
            self.raise(fd);
        }
        let departing = connection.departing();
        if departing > 0 {
            let short = self.faults.occurs(Fault::ShortSend);
            connection.depart(if short { self.faults.random.up_to(departing) } else { departing });
        }
        let count = connection.room()?.min(wanted);
        let short = count > 1 && self.faults.occurs(Fault::ShortSend);
        Ok(if short { self.faults.random.up_to(count - 1) } else { count })
    }

    fn allocate(&mut self) -> RawFd {
        self.free.pop_first().unwrap_or_else(|| {
            self.never_used += 1;
            self.never_used - 1
        })
    }

    /// Records the token used with a socket, and checks that socket and session belong together.
    fn claim(&mut self, fd: RawFd, token: Token) {
        let Some(open) = self.sockets.get_mut(&fd) else { return };
        let owner = *open.owner.get_or_insert(token);
        let other = *self.slots.entry(token.index).or_insert(fd);
        if owner != token {
            self.violation(format!("descriptor {fd} belongs to {owner:?}, but was used by {token:?}"));
        } else if other != fd {
            self.violation(format!("{token:?} used descriptor {fd}, but its slot has {other}"));
        }
    }

    fn violation(&mut self, sentence: String) {
        self.violations.push(format!("In turn {}: {sentence}.", self.turn()));
    }
}
