//! A hash that is the same only if all events were the same, and a printed trace if `RINGSOCK_TRACE` is set.
//!
//! [`Traced`] records the calls of a core to its reactor and the results; clients record their actions. Changes
//! nothing.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::reactor::sim::Sim;
use crate::reactor::{Chunks, Completion, Reactor, SendProgress, Socket, Sockets, Token};

/// Bytes of sent or received data that are printed.
const TOLD_BYTES_MAX: usize = 48;

/// Everything that was recorded so far.
pub struct Trace {
    hasher: RefCell<DefaultHasher>,
    told: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hasher: RefCell::new(DefaultHasher::new()), told: std::env::var_os("RINGSOCK_TRACE").is_some() }
    }
}

impl Trace {
    /// Records an event that involved these numbers and bytes.
    pub fn note(&self, what: &str, numbers: &[u64], bytes: &[u8]) {
        let mut hasher = self.hasher.borrow_mut();
        hasher.write(what.as_bytes());
        numbers.iter().for_each(|number| hasher.write_u64(*number));
        hasher.write(bytes);
        if self.told {
            let start = bytes[..bytes.len().min(TOLD_BYTES_MAX)].escape_ascii();
            let numbers: String = numbers.iter().map(|number| format!(" {}", *number as i64)).collect();
            println!("{what}{numbers} {start}");
        }
    }

    /// Returns a number that is the same for two runs only if both recorded the same, in the same order.
    pub fn digest(&self) -> u64 {
        self.hasher.borrow().finish()
    }
}

/// A simulated reactor, all of whose calls and completions are recorded.
pub struct Traced {
    sim: Sim,
    trace: Rc<Trace>,
    /// How often the core has asked for a peer's acknowledgements.
    pub looks: Cell<u64>,
}

impl Traced {
    pub fn new(sim: Sim, trace: Rc<Trace>) -> Self {
        Self { sim, trace, looks: Cell::new(0) }
    }

    fn note(&self, what: &str, socket: Socket, result: &io::Result<usize>, bytes: &[u8]) {
        self.trace.note(what, &[socket.raw() as u64, outcome(result.as_ref().map(|count| *count as u64))], bytes);
    }

    fn note_completion(&self, completion: &Completion) {
        let named = |token: &Token| [u64::from(token.index), u64::from(token.generation)];
        let (what, [index, generation], result, flag) = match completion {
            Completion::Accepted { result, more, .. } => {
                let result = outcome(result.as_ref().map(|socket| socket.raw() as u64));
                ("  completed: accepted; slot, generation, result, more", [0, 0], result, *more)
            }
            Completion::Readable { token, ended } => {
                ("  completed: readable; slot, generation, result, ended", named(token), 0, *ended)
            }
            Completion::Sent { token, result, more } => {
                let result = outcome(result.as_ref().map(|count| *count as u64));
                ("  completed: sent; slot, generation, result, more", named(token), result, *more)
            }
            Completion::WatchEnded { token, result } => {
                let result = outcome(result.as_ref().map(|()| 0));
                ("  completed: watch ended; slot, generation, result, more", named(token), result, false)
            }
            Completion::Woken => ("  completed: woken; slot, generation, result, more", [0, 0], 0, false),
        };
        self.trace.note(what, &[index, generation, result, u64::from(flag)], b"");
    }
}

/// Returns a result as a number: an error is its negative.
fn outcome(result: Result<u64, &io::Error>) -> u64 {
    result.unwrap_or_else(|error| -i64::from(error.raw_os_error().unwrap_or(i32::MAX)) as u64)
}

impl Sockets for Traced {
    fn recv(&mut self, socket: Socket, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.sim.recv(socket, buffer);
        let count = result.as_ref().map_or(0, |count| *count);
        self.note("  recv: socket, result", socket, &result, &buffer[..count]);
        result
    }

    fn send_now(&mut self, socket: Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.sim.send_now(socket, parts);
        self.note("  send_now: socket, result", socket, &result, parts.first().map_or(b"", |part| part));
        result
    }

    fn peer_address(&self, socket: Socket) -> io::Result<SocketAddr> {
        self.sim.peer_address(socket)
    }

    fn send_progress(&self, socket: Socket) -> SendProgress {
        let progress = self.sim.send_progress(socket);
        self.looks.set(self.looks.get() + 1);
        let numbers = [socket.raw() as u64, progress.acknowledged, progress.waiting];
        self.trace.note("  progress: socket, acknowledged, waiting", &numbers, b"");
        progress
    }

    fn shutdown(&mut self, socket: Socket, how: Shutdown) {
        self.trace.note("  shutdown: socket, both", &[socket.raw() as u64, u64::from(how == Shutdown::Both)], b"");
        self.sim.shutdown(socket, how);
    }

    fn pass_over(&mut self, listener: Socket) {
        self.trace.note("  pass_over: listener", &[listener.raw() as u64], b"");
        self.sim.pass_over(listener);
    }

    fn discard_on_close(&mut self, socket: Socket) {
        self.trace.note("  discard_on_close: socket", &[socket.raw() as u64], b"");
        self.sim.discard_on_close(socket);
    }

    fn close(&mut self, socket: Socket) {
        self.trace.note("  close: socket", &[socket.raw() as u64], b"");
        self.sim.close(socket);
    }
}

impl Reactor for Traced {
    fn accept(&mut self, listener: Socket) {
        self.trace.note("  accept", &[], b"");
        self.sim.accept(listener);
    }

    fn accept_one(&mut self, listener: Socket) {
        self.trace.note("  accept_one", &[], b"");
        self.sim.accept_one(listener);
    }

    fn stop_accepting(&mut self, listener: Socket) {
        self.trace.note("  stop_accepting", &[], b"");
        self.sim.stop_accepting(listener);
    }

    fn accept_now(&mut self, listener: Socket) -> io::Result<Socket> {
        let result = self.sim.accept_now(listener);
        let number = outcome(result.as_ref().map(|socket| socket.raw() as u64));
        self.trace.note("  accept_now: result", &[number], b"");
        result
    }

    fn accept_spare(&mut self, listener: Socket) -> io::Result<Socket> {
        let result = self.sim.accept_spare(listener);
        let number = outcome(result.as_ref().map(|socket| socket.raw() as u64));
        self.trace.note("  accept_spare: result", &[number], b"");
        result
    }

    fn close_spare(&mut self, socket: Socket) {
        self.trace.note("  close_spare: socket", &[socket.raw() as u64], b"");
        self.sim.close_spare(socket);
    }

    fn watch(&mut self, socket: Socket, token: Token) {
        self.trace.note("  watch: socket, slot", &[socket.raw() as u64, u64::from(token.index)], b"");
        self.sim.watch(socket, token);
    }

    fn unwatch(&mut self, socket: Socket, token: Token) {
        self.trace.note("  unwatch: socket, slot", &[socket.raw() as u64, u64::from(token.index)], b"");
        self.sim.unwatch(socket, token);
    }

    fn send(&mut self, socket: Socket, token: Token, chunks: Chunks) {
        let bytes = chunks.parts().first().map_or(&b""[..], |part| part);
        self.trace.note("  send: socket, bytes", &[socket.raw() as u64, chunks.len() as u64], bytes);
        self.sim.send(socket, token, chunks);
    }

    fn enter(&mut self, wait: Duration, completions: &mut Vec<Completion>) -> io::Result<()> {
        let before = completions.len();
        self.sim.enter(wait, completions)?;
        completions[before..].iter().for_each(|completion| self.note_completion(completion));
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.sim.waker()
    }

    fn park_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.sim.park_descriptor()
    }

    fn arm(&mut self) {
        self.sim.arm();
    }

    fn disarm(&mut self) {
        self.sim.disarm();
    }
}
