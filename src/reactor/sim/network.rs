//! The test's handles: the clients, and the operator's view of the kernel.
//!
//! Only forwards calls: `connection` decides how a connection behaves, `kernel` checks the server.

use std::net::SocketAddr;
use std::rc::Rc;

use super::connection::Connection;
use super::faults::Faults;
use super::kernel::{Kernel, Kind, Shared};
use crate::reactor::Socket;

/// The world outside the server. Cloning it gives another handle on the same one.
#[derive(Clone, Debug)]
pub struct Network {
    kernel: Shared<Kernel>,
}

impl Network {
    pub(super) fn new(kernel: Shared<Kernel>) -> Self {
        Self { kernel }
    }

    /// Opens a TCP listener, for the server to accept from and to close.
    pub fn listen(&self) -> Socket {
        self.listen_as(Kind::Tcp)
    }

    /// Opens a listener of any kind, for the server to accept from and to close.
    pub fn listen_as(&self, kind: Kind) -> Socket {
        self.kernel.borrow_mut().listen(kind)
    }

    /// Connects to any of the listeners, from an address that no other client has had. `None` if nothing listens or the
    /// backlog is full.
    pub fn connect(&self) -> Option<Peer> {
        let listener = self.kernel.borrow_mut().some_listener()?;
        let address = self.kernel.borrow_mut().next_address();
        self.connect_to(listener, address)
    }

    /// Connects to this listener from this address, which other clients may have as well.
    pub fn connect_to(&self, listener: Socket, from: SocketAddr) -> Option<Peer> {
        let connection = self.kernel.borrow_mut().connect(listener, from)?;
        Some(Peer { connection, kernel: Rc::clone(&self.kernel) })
    }

    /// Limits the server's open descriptors, listeners included. Those that are open stay open.
    pub fn descriptor_limit(&self, descriptors: usize) {
        self.kernel.borrow_mut().descriptors_max = descriptors;
    }

    /// Returns the server's open descriptors, including listeners and accepted connections not reported yet.
    pub fn open_sockets(&self) -> usize {
        self.kernel.borrow().open_sockets()
    }

    /// Sets the faults from now on. A simulation ends well if everything is served after `Faults::default()`.
    pub fn set_faults(&self, faults: Faults) {
        self.kernel.borrow_mut().faults.rates = faults;
    }

    /// Returns how often each fault occurred, by its name in [`Faults`].
    pub fn faults_occurred(&self) -> Vec<(&'static str, u64)> {
        self.kernel.borrow().faults.occurred()
    }

    /// Returns the client's address on a connection that the server has open, even if it is broken.
    pub fn address_of(&self, socket: Socket) -> Option<SocketAddr> {
        self.kernel.borrow().address_of(socket)
    }

    /// Returns the bytes that the client of a connection has acknowledged.
    pub fn taken(&self, socket: Socket) -> u64 {
        self.kernel.borrow().send_progress(socket).acknowledged
    }

    /// Returns how often the server has entered the kernel.
    pub fn turns(&self) -> u64 {
        self.kernel.borrow().turn()
    }

    /// Returns every breach of the reactor's contract so far, a sentence each. A test asserts that there are none.
    pub fn violations(&self) -> Vec<String> {
        self.kernel.borrow().violations.clone()
    }
}

/// A client's end of a connection. Cloning it gives another handle on the same end; dropping it has no effect.
#[derive(Clone, Debug)]
pub struct Peer {
    connection: Shared<Connection>,
    kernel: Shared<Kernel>,
}

impl Peer {
    /// Returns the address that the server sees.
    pub fn address(&self) -> SocketAddr {
        self.connection.borrow().address
    }

    /// Writes bytes; those that the server has no room for stay in transit. On a dead connection it has no effect.
    pub fn write(&self, bytes: &[u8]) {
        let mut connection = self.connection.borrow_mut();
        connection.write(bytes);
        self.kernel.borrow_mut().client_acted(&mut connection);
    }

    /// Returns the bytes received since the last call: none while the client does not read.
    pub fn read(&self) -> Vec<u8> {
        self.connection.borrow_mut().take_received()
    }

    /// Ends the client's stream (FIN). It still reads.
    pub fn finish(&self) {
        let mut connection = self.connection.borrow_mut();
        connection.finish();
        self.kernel.borrow_mut().client_acted(&mut connection);
    }

    /// Resets the connection (RST). Bytes in transit are lost.
    pub fn reset(&self) {
        let mut connection = self.connection.borrow_mut();
        self.kernel.borrow_mut().client_reset(&mut connection);
    }

    /// Stops reading: the server's bytes fill its buffer from now on.
    pub fn stop_reading(&self) {
        self.connection.borrow_mut().stop_reading();
    }

    /// Reads on, from where it stopped.
    pub fn resume_reading(&self) {
        self.connection.borrow_mut().resume_reading();
    }

    /// Makes a client that does not read accept up to `count` bytes; its next read returns them.
    pub fn take(&self, count: usize) {
        self.connection.borrow_mut().take(count);
    }

    /// Returns the bytes written that the server has not read.
    pub fn unread(&self) -> usize {
        self.connection.borrow().unread()
    }

    /// Returns whether the end of the client's stream waits behind bytes for which the server has no room.
    pub fn is_end_held_up(&self) -> bool {
        self.connection.borrow().is_end_held_up()
    }

    /// Returns whether everything was read up to the end of the server's stream.
    pub fn is_at_end(&self) -> bool {
        self.connection.borrow_mut().is_at_end()
    }

    /// Returns whether the server has closed its end, in any way.
    pub fn is_closed_by_server(&self) -> bool {
        self.connection.borrow().is_closed()
    }

    /// Returns whether the connection was reset, by the server or by a fault on the way, but not by this client.
    pub fn was_reset(&self) -> bool {
        self.connection.borrow().was_reset()
    }
}
