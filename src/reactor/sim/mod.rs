//! The reactor of tests: a seeded fake kernel, in which every fault is reproducible.
//!
//! [`Sim`] is the server's view of it, [`Network`] that of the clients and the operator. Never opens a socket, starts a
//! thread, sleeps or reads a clock: the caller owns the time. Invariant: the seed, the faults and the order of the
//! calls decide everything, so that a seed that failed once fails again.
//!
//! It is strict where kernels are lenient: a breach of the contract in [`crate::reactor`] that a real kernel would
//! punish late, or never, is recorded at once (see [`Network::violations`]).

mod connection;
mod faults;
mod kernel;
mod network;
mod schedule;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::{Chunks, Completion, Reactor, SendProgress, Socket, Sockets, Token};
use kernel::{Kernel, Shared};

pub use faults::Faults;
pub use kernel::Kind;
pub use network::{Network, Peer};
pub use schedule::DELAY_MAX_TURNS;

/// A reactor on a simulated kernel.
#[derive(Debug)]
pub struct Sim {
    kernel: Shared<Kernel>,
    wake: Arc<Flag>,
}

impl Sim {
    /// Creates a kernel without sockets, and the network it is connected to.
    pub fn new(seed: u64, faults: Faults) -> (Sim, Network) {
        let kernel = Rc::new(RefCell::new(Kernel::new(seed, faults)));
        let network = Network::new(Rc::clone(&kernel));
        (Sim { kernel, wake: Arc::default() }, network)
    }
}

impl Sockets for Sim {
    fn recv(&mut self, socket: Socket, buffer: &mut [u8]) -> io::Result<usize> {
        self.kernel.borrow_mut().recv(socket, buffer)
    }

    fn send_now(&mut self, socket: Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.kernel.borrow_mut().send_now(socket, parts)
    }

    fn peer_address(&self, socket: Socket) -> io::Result<SocketAddr> {
        self.kernel.borrow_mut().peer_address(socket)
    }

    fn send_progress(&self, socket: Socket) -> SendProgress {
        self.kernel.borrow().send_progress(socket)
    }

    fn shutdown(&mut self, socket: Socket, how: Shutdown) {
        self.kernel.borrow_mut().shutdown(socket, how);
    }

    /// Does nothing: a simulated connection is made in one step, so none is lost between two steps.
    fn pass_over(&mut self, _listener: Socket) {}

    fn discard_on_close(&mut self, socket: Socket) {
        self.kernel.borrow_mut().discard_on_close(socket);
    }

    fn close(&mut self, socket: Socket) {
        self.kernel.borrow_mut().close(socket);
    }
}

impl Reactor for Sim {
    fn accept(&mut self, listener: Socket) {
        self.kernel.borrow_mut().accept(listener);
    }

    fn accept_one(&mut self, listener: Socket) {
        self.kernel.borrow_mut().accept_one(listener);
    }

    fn stop_accepting(&mut self, listener: Socket) {
        self.kernel.borrow_mut().stop_accepting(listener);
    }

    fn accept_now(&mut self, listener: Socket) -> io::Result<Socket> {
        self.kernel.borrow_mut().accept_now(listener)
    }

    fn accept_spare(&mut self, listener: Socket) -> io::Result<Socket> {
        self.kernel.borrow_mut().accept_spare(listener)
    }

    fn close_spare(&mut self, socket: Socket) {
        self.kernel.borrow_mut().close(socket);
    }

    fn watch(&mut self, socket: Socket, token: Token) {
        self.kernel.borrow_mut().watch(socket, token);
    }

    fn unwatch(&mut self, socket: Socket, token: Token) {
        self.kernel.borrow_mut().unwatch(socket, token);
    }

    fn send(&mut self, socket: Socket, token: Token, chunks: Chunks) {
        self.kernel.borrow_mut().send(socket, token, chunks);
    }

    /// Runs one turn. It returns due completions and does not wait, because nothing happens here without a call.
    fn enter(&mut self, _wait: Duration, completions: &mut Vec<Completion>) -> io::Result<()> {
        if self.wake.0.swap(false, Ordering::AcqRel) {
            completions.push(Completion::Woken);
        }
        self.kernel.borrow_mut().enter(completions);
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.wake))
    }

    fn park_descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn arm(&mut self) {}

    fn disarm(&mut self) {}
}

/// A flag that the waker sets, until the next turn.
#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
