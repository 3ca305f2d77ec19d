//! What a core asks of the kernel, behind one seam with three implementations.
//!
//! [`uring::Uring`] is the default, [`epoll::Epoll`] serves hosts where io_uring is blocked, and [`sim::Sim`] is a
//! seeded fake that makes every fault reproducible. A reactor knows sockets and bytes; it never knows WebSocket,
//! never looks at a clock, and never decides when a session ends.
//!
//! The contract every reactor keeps, and every caller relies on:
//!
//! - A socket has at most one watch and one send in flight. Each ends with exactly one final completion
//!   ([`Completion::WatchEnded`], [`Completion::Sent`] with `more == false`), whatever happens to the socket.
//! - [`Completion::Readable`] is an edge: it comes once per arrival, so the caller reads until a short read, or until
//!   `WouldBlock` or the end if it `ended`, or remembers that it stopped early. It may come when there is nothing to read.
//! - [`Reactor::unwatch`] and [`Reactor::stop_accepting`] complete nothing when what they are to end has ended already,
//!   even if the caller has not seen its completion yet.
//! - A socket is closed by the caller, once, when neither its watch nor a send is in flight.
//! - Bytes handed to [`Reactor::send`] live in the reactor until their final completion.

#[cfg(test)]
mod conformance;
mod connect;
mod disposition;
pub mod epoll;
mod inherited;
mod listener;
mod priority;
mod resources;
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
pub use disposition::{ignore, is_ignored};
pub use inherited::{InheritError, Inherited, Passed, share};
pub use listener::{Listener, Opened, Owner, listen, unlisten};
pub use priority::{thread_id, yield_to_others};
pub use resources::{raise_descriptor_limit, raise_locked_memory_limit};
pub use socket::{EventFd, concerns_one_connection};
pub use unix::SocketFile;

/// Sessions one core can name: 24 bits of index, because a completion carries index, generation and operation in the
/// 64 bits that io_uring hands back.
pub const SESSIONS_PER_CORE_MAX: usize = 1 << 24;

/// A connected or listening socket, by its descriptor. Copying it does not duplicate the descriptor: whoever accepted
/// it closes it, once, through [`Sockets::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket(RawFd);

impl Socket {
    /// Takes over a descriptor.
    pub fn from_raw(fd: RawFd) -> Self {
        Self(fd)
    }

    /// The descriptor's number.
    pub fn raw(self) -> RawFd {
        self.0
    }
}

/// Names the session an operation belongs to. A completion whose generation is no longer the slot's is stale, and is
/// dropped by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Slot in the core's slab, below [`SESSIONS_PER_CORE_MAX`].
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// What the kernel has done since the last [`Reactor::enter`].
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted, or accepting failed. Without `more` accepting has ended and is to be asked for anew.
    Accepted {
        /// The listener that it came by.
        listener: Socket,
        /// The new socket, non-blocking and close-on-exec.
        result: io::Result<Socket>,
        /// Whether accepting goes on.
        more: bool,
    },
    /// Bytes, an end of stream or an error wait on the watched socket.
    Readable {
        /// Whose socket it is.
        token: Token,
        /// The end of the stream or an error has arrived, perhaps behind bytes. It brings no further edge, so a short
        /// read is not the last word.
        ended: bool,
    },
    /// Some of the bytes handed to [`Reactor::send`] left, or sending failed.
    Sent {
        /// Whose send it was.
        token: Token,
        /// Bytes that left since the last completion of this send.
        result: io::Result<usize>,
        /// Whether the rest is still in flight.
        more: bool,
    },
    /// The watch is over: ended by [`Reactor::unwatch`]; ended by the kernel, in which case it may be asked for anew; or
    /// never begun, because the kernel had no memory for it.
    WatchEnded {
        /// Whose it was.
        token: Token,
        /// The kernel's refusal. A caller that asked again would be refused again.
        result: io::Result<()>,
    },
    /// Another thread used the [`Reactor::waker`].
    Woken,
}

/// What one send carries: frames in the order in which they leave. Shared frames are referred to, never copied.
#[derive(Clone, Debug)]
pub enum Chunks {
    /// The common case: everything in one buffer.
    One(Bytes),
    /// Several buffers, at most [`Chunks::PARTS_MAX`].
    Many(Vec<Bytes>),
}

impl Chunks {
    /// Buffers in one send; the kernel takes 1024 (`UIO_MAXIOV`), and 64 is already past the point of any gain.
    pub const PARTS_MAX: usize = 64;

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(Bytes::is_empty)
    }

    /// The buffers in order.
    pub fn parts(&self) -> &[Bytes] {
        match self {
            Chunks::One(bytes) => std::slice::from_ref(bytes),
            Chunks::Many(parts) => parts,
        }
    }

    /// Drops the first `count` bytes, which have left.
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

/// What the peer's host has acknowledged of what was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// A number that grows, and may wrap, with each acknowledged byte. It says nothing but, beside an earlier one, that
    /// something was taken in between; a host that only answers probes of its full buffer takes nothing.
    pub acknowledged: u64,
    /// Bytes in the socket that are not acknowledged yet.
    pub waiting: u64,
}

/// Calls on a socket that are answered at once.
pub trait Sockets {
    /// Reads what is there: `Ok(0)` is the end of the stream, `WouldBlock` means nothing yet. Costs one system call.
    fn recv(&mut self, socket: Socket, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits into the socket's buffer now, in order. Costs one system call. Not while a send is in flight.
    fn send_now(&mut self, socket: Socket, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The other end's address.
    fn peer_address(&self, socket: Socket) -> io::Result<SocketAddr>;

    /// What the peer's host has acknowledged of what was sent. Costs two system calls.
    fn intake(&self, socket: Socket) -> Intake;

    /// Ends one or both directions; errors of an already dead socket are of no interest. `Both` makes a send in flight fail.
    fn shutdown(&mut self, socket: Socket, how: Shutdown);

    /// Makes the coming close drop unsent bytes and reset the connection, so that a peer that does not read holds no memory.
    fn discard_on_close(&mut self, socket: Socket);

    /// Has the kernel pass over a TCP listener for new connections, as long as it stays open. Those that are being made are
    /// completed and can be accepted. A client that is passed over tries again a second later, and then finds the listener
    /// of another process, or none.
    fn pass_over(&mut self, listener: Socket);

    /// Closes the descriptor. Neither a watch nor a send may be in flight. With bytes unread, Linux resets the connection.
    fn close(&mut self, socket: Socket);
}

/// Operations whose result comes as a [`Completion`].
pub trait Reactor: Sockets {
    /// Accepts connections until a completion says that there are no `more`.
    fn accept(&mut self, listener: Socket);

    /// Accepts one connection; its completion has no `more`. For a listener that several cores share: the kernel wakes the
    /// one that has waited for longest, so a core that asks anew after each connection leaves the next to another.
    fn accept_one(&mut self, listener: Socket);

    /// Ends accepting; connections accepted meanwhile still complete, and the last completion has no `more`.
    fn stop_accepting(&mut self, listener: Socket);

    /// Accepts one waiting connection at once; `WouldBlock` when none waits. Empties the backlog before a listener closes.
    fn accept_now(&mut self, listener: Socket) -> io::Result<Socket>;

    /// When descriptors have run out: lends the spare one to the first waiting connection, says `farewell` to it and
    /// closes it, so that clients are turned away instead of left hanging. `WouldBlock` when none waits.
    fn shed(&mut self, listener: Socket, farewell: &[u8]) -> io::Result<()>;

    /// Reports from now on when `socket` can be read.
    fn watch(&mut self, socket: Socket, token: Token);

    /// Ends a watch; [`Completion::WatchEnded`] follows, at once or later.
    fn unwatch(&mut self, socket: Socket, token: Token);

    /// Sends `chunks`, waiting for room where there is none. One at a time for each socket.
    fn send(&mut self, socket: Socket, token: Token, chunks: Chunks);

    /// Submits what was asked for, waits up to `wait` for a first completion, and appends all there are.
    /// With `Duration::ZERO` it does not wait.
    fn enter(&mut self, wait: Duration, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// Ends a wait of this core from any thread; [`Completion::Woken`] follows.
    fn waker(&self) -> Waker;

    /// The descriptor that a sleeping runtime awaits: readable once there are completions, from [`Reactor::arm`] on.
    /// `None` where nothing can be awaited (simulation).
    fn park_descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Before sleeping on [`Reactor::park_descriptor`]. What completed earlier does not make it readable, so
    /// [`Reactor::enter`] once more between this call and the sleep.
    fn arm(&mut self);

    /// After waking: the descriptor is quiet again until the next [`Reactor::arm`].
    fn disarm(&mut self);
}
