//! The kernel operations of a core: one interface with three implementations.
//!
//! [`uring::Uring`] is the default, [`epoll::Epoll`] serves hosts where io_uring is blocked, and [`sim::Sim`] is a
//! seeded fake kernel that makes every fault reproducible. A reactor handles sockets and bytes; it never parses
//! WebSocket, never reads a clock, and never decides when a session ends.
//!
//! The contract that every reactor keeps and every caller relies on:
//!
//! - A socket has at most one watch and one send in flight. Each ends with exactly one final completion
//!   ([`Completion::WatchEnded`], [`Completion::Sent`] with `more == false`), whatever happens to the socket.
//! - [`Completion::Readable`] is an edge: it comes once per arrival, so the caller reads until a short read (until
//!   `WouldBlock` or the end of the stream if it has `ended`), or remembers that it stopped early. It may be spurious.
//! - [`Reactor::unwatch`] and [`Reactor::stop_accepting`] complete nothing if the operation has ended already, even if
//!   the caller has not seen its completion yet.
//! - A socket is closed by the caller, once, when neither its watch nor a send is in flight.
//! - Bytes passed to [`Reactor::send`] live in the reactor until their final completion.

#[cfg(test)]
mod conformance;
mod connect;
mod disposition;
pub mod epoll;
mod inherited;
mod listener;
mod priority;
mod resources;
#[cfg(any(test, feature = "unstable"))]
pub mod sim;
mod socket;
mod unix;
pub mod uring;

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

pub use connect::connect;
pub use disposition::{block, ignore, is_ignored, unblock};
pub use inherited::{InheritError, InheritedSocket, InheritedSockets, share};
pub use listener::{Listener, Opened, Owner, listen, unlisten};
pub use priority::{thread_id, yield_to_others};
pub use resources::{raise_descriptor_limit, raise_locked_memory_limit};
pub use socket::{EventFd, OnKernel, concerns_one_connection};
pub use unix::SocketFile;

/// Sessions that one core can address: 24 bits of index, because a completion carries index, generation and operation
/// in the 64 bits of user data that io_uring returns.
pub const SESSIONS_PER_CORE_MAX: usize = 1 << 24;

/// A connected or listening socket, by its descriptor. Copying it does not duplicate the descriptor: the code that
/// accepted it closes it, once, through [`Sockets::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket(RawFd);

impl Socket {
    /// Takes ownership of a descriptor.
    pub fn from_raw(fd: RawFd) -> Self {
        Self(fd)
    }

    /// Returns the descriptor's number.
    pub fn raw(self) -> RawFd {
        self.0
    }
}

/// Identifies the session of an operation. A completion whose generation differs from the slot's is stale, and the
/// caller drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The slot in the core's slab, below [`SESSIONS_PER_CORE_MAX`].
    pub index: u32,
    /// Differs from those of earlier sessions in the slot.
    pub generation: u32,
}

/// An event that the kernel has reported since the last [`Reactor::enter`].
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted, or accepting failed. If `more` is false, accepting has ended and must be started
    /// again.
    Accepted {
        /// The listener that accepted it.
        listener: Socket,
        /// The new socket, non-blocking and close-on-exec.
        result: io::Result<Socket>,
        /// Accepting continues.
        more: bool,
    },
    /// Bytes, the end of the stream or an error wait on the watched socket.
    Readable {
        /// The session of the socket.
        token: Token,
        /// The end of the stream or an error has arrived, perhaps behind bytes. No further edge follows, so the caller
        /// must read on after a short read.
        ended: bool,
    },
    /// Some of the bytes passed to [`Reactor::send`] were sent, or sending failed.
    Sent {
        /// The session of the send.
        token: Token,
        /// Bytes sent since the last completion of this send.
        result: io::Result<usize>,
        /// The rest is still in flight.
        more: bool,
    },
    /// The watch has ended: through [`Reactor::unwatch`]; by the kernel, in which case it may be started again; or it
    /// never began, because the kernel had no memory for it.
    WatchEnded {
        /// The session of the watch.
        token: Token,
        /// The kernel's error, if it refused the watch. Starting it again would fail again.
        result: io::Result<()>,
    },
    /// Another thread has used the [`Reactor::waker`].
    Woken,
}

/// The bytes of one send: frames in the order of sending. Shared frames are referenced, never copied.
#[derive(Clone, Debug)]
pub enum Chunks {
    /// One buffer, which is the common case.
    One(Bytes),
    /// Several buffers, at most [`Chunks::PARTS_MAX`].
    Many(Vec<Bytes>),
}

impl Chunks {
    /// Buffers in one send; the kernel accepts 1024 (`UIO_MAXIOV`), and beyond 64 nothing is gained.
    pub const PARTS_MAX: usize = 64;

    /// Returns the total number of bytes.
    pub fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    /// Returns whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(Bytes::is_empty)
    }

    /// Returns the buffers in order.
    pub fn parts(&self) -> &[Bytes] {
        match self {
            Chunks::One(bytes) => std::slice::from_ref(bytes),
            Chunks::Many(parts) => parts,
        }
    }

    /// Drops the first `count` bytes, which were sent.
    pub fn advance(&mut self, mut count: usize) {
        match self {
            Chunks::One(bytes) => drop(bytes.split_to(count.min(bytes.len()))),
            Chunks::Many(parts) => {
                let whole = parts
                    .iter()
                    .take_while(|part| {
                        let left = count >= part.len();
                        count -= if left { part.len() } else { 0 };
                        left
                    })
                    .count();
                parts.drain(..whole);
                if let Some(first) = parts.first_mut() {
                    drop(first.split_to(count));
                }
            }
        }
    }
}

/// The progress of the bytes sent on a socket: those that the peer's host has acknowledged (`TCP_INFO`), and those that
/// it has not (`SIOCOUTQ`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendProgress {
    /// A counter that grows, and may wrap, with each acknowledged byte. Only its change between two calls has a
    /// meaning: the peer's host accepted bytes in between. A host that only answers probes of its full buffer accepts
    /// none.
    pub acknowledged: u64,
    /// Bytes in the socket that are not acknowledged yet.
    pub waiting: u64,
}

/// Calls on a socket that return their result at once.
pub trait Sockets {
    /// Reads available bytes: `Ok(0)` is the end of the stream, `WouldBlock` means that none are available. Costs one
    /// system call.
    fn recv(&mut self, socket: Socket, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes the bytes that fit into the socket's buffer, in order. Costs one system call. Not allowed while a send is
    /// in flight.
    fn send_now(&mut self, socket: Socket, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns the address of the other end.
    fn peer_address(&self, socket: Socket) -> io::Result<SocketAddr>;

    /// Returns which bytes the peer's host has acknowledged. Costs two system calls.
    fn send_progress(&self, socket: Socket) -> SendProgress;

    /// Shuts down one or both directions; errors of a dead socket are ignored. `Both` makes a send in flight fail.
    fn shutdown(&mut self, socket: Socket, how: Shutdown);

    /// Makes the coming close drop unsent bytes and reset the connection, so that a peer that does not read holds no
    /// memory.
    fn discard_on_close(&mut self, socket: Socket);

    /// Makes the kernel ignore a TCP listener for new connections, as long as it stays open. Handshakes in progress are
    /// completed and can be accepted. A client whose SYN is ignored tries again a second later, and then reaches the
    /// listener of another process, or none.
    fn pass_over(&mut self, listener: Socket);

    /// Closes the descriptor. Neither a watch nor a send may be in flight. With unread bytes, Linux resets the
    /// connection.
    fn close(&mut self, socket: Socket);
}

/// Operations with a result that arrives as a [`Completion`].
pub trait Reactor: Sockets {
    /// Accepts connections until a completion without `more`.
    fn accept(&mut self, listener: Socket);

    /// Accepts one connection; its completion has no `more`. For a listener shared by several cores: the kernel wakes
    /// the one that has waited longest, so a core that calls this again after each connection leaves the next one to
    /// another.
    fn accept_one(&mut self, listener: Socket);

    /// Ends accepting; connections accepted meanwhile still complete, and the last completion has no `more`.
    fn stop_accepting(&mut self, listener: Socket);

    /// Accepts one waiting connection at once; `WouldBlock` if none waits. Empties the backlog before a listener
    /// closes.
    fn accept_now(&mut self, listener: Socket) -> io::Result<Socket>;

    /// Accepts the first waiting connection with the reserved descriptor, after all others have run out. `WouldBlock`
    /// if none waits. The caller closes the socket with [`Reactor::close_spare`] before it does anything else.
    fn accept_spare(&mut self, listener: Socket) -> io::Result<Socket>;

    /// Closes a socket of [`Reactor::accept_spare`], and reserves a descriptor again.
    fn close_spare(&mut self, socket: Socket);

    /// Starts reporting when `socket` can be read.
    fn watch(&mut self, socket: Socket, token: Token);

    /// Ends a watch; [`Completion::WatchEnded`] follows, at once or later.
    fn unwatch(&mut self, socket: Socket, token: Token);

    /// Sends `chunks`, and waits for room in the socket's buffer if necessary. One send at a time for each socket.
    fn send(&mut self, socket: Socket, token: Token, chunks: Chunks);

    /// Submits queued operations, waits up to `wait` for a first completion, and appends all completions. With
    /// `Duration::ZERO` it does not wait.
    fn enter(&mut self, wait: Duration, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// Returns a waker that ends a wait of this core from any thread; [`Completion::Woken`] follows.
    fn waker(&self) -> Waker;

    /// Returns the descriptor that a sleeping runtime awaits: readable once there are completions, from
    /// [`Reactor::arm`] on. `None` if there is nothing to await (simulation).
    fn park_descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Arms [`Reactor::park_descriptor`] before a sleep. Earlier completions do not make it readable, so the caller
    /// calls [`Reactor::enter`] once more between this call and the sleep.
    fn arm(&mut self);

    /// Disarms the descriptor after a sleep: it stays unreadable until the next [`Reactor::arm`].
    fn disarm(&mut self);
}
