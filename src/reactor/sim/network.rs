//! What a test holds in its hands: the clients, and the operator's view of the kernel.
//!
//! It only passes on; how a connection behaves is in `connection`, what the server may do in `kernel`.

use std::net::SocketAddr;
use std::rc::Rc;

use super::connection::Connection;
use super::faults::Faults;
use super::kernel::{Kernel, Kind, Shared};
use crate::reactor::Socket;

/// The world outside of the server. Cloning it gives another handle on the same one.
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

    /// Connects to any of the listeners, from an address that no other client has had. `None` when nobody listens or the
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

    /// Lets the server have so many descriptors open, listeners included. Those that are open stay so.
    pub fn descriptor_limit(&self, descriptors: usize) {
        self.kernel.borrow_mut().descriptors_max = descriptors;
    }

    /// Descriptors the server has open, listeners and connections whose acceptance it has not heard of included.
    pub fn open_sockets(&self) -> usize {
        self.kernel.borrow().open_sockets()
    }

    /// What goes wrong from now on. A simulation ends well when all is served once this is `Faults::default()`.
    pub fn set_faults(&self, faults: Faults) {
        self.kernel.borrow_mut().fate.faults = faults;
    }

    /// How often each fault struck, by the name it has in [`Faults`].
    pub fn faults_struck(&self) -> Vec<(&'static str, u64)> {
        self.kernel.borrow().fate.struck()
    }

    /// The client's address on a connection that the server has open, even if it is broken.
    pub fn address_of(&self, socket: Socket) -> Option<SocketAddr> {
        self.kernel.borrow().address_of(socket)
    }

    /// Bytes that the client of a connection has taken.
    pub fn taken(&self, socket: Socket) -> u64 {
        self.kernel.borrow().intake(socket).acknowledged
    }

    /// How often the server has entered the kernel.
    pub fn turns(&self) -> u64 {
        self.kernel.borrow().turn()
    }

    /// Every breach of the reactor's contract so far, a sentence each. A test asserts that there are none.
    pub fn violations(&self) -> Vec<String> {
        self.kernel.borrow().violations.clone()
    }
}

/// A client's end of a connection. Cloning it gives another handle on the same end; dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Peer {
    connection: Shared<Connection>,
    kernel: Shared<Kernel>,
}

impl Peer {
    /// The address the server sees.
    pub fn address(&self) -> SocketAddr {
        self.connection.borrow().address
    }

    /// Writes; what the server has no room for is on its way. On a connection that is over it does nothing.
    pub fn write(&self, bytes: &[u8]) {
        let mut connection = self.connection.borrow_mut();
        connection.write(bytes);
        self.kernel.borrow_mut().client_acted(&mut connection);
    }

    /// What has come from the server since it was last asked: nothing while the client does not read.
    pub fn read(&self) -> Vec<u8> {
        self.connection.borrow_mut().take_received()
    }

    /// Ends the client's stream (FIN). It still reads.
    pub fn finish(&self) {
        let mut connection = self.connection.borrow_mut();
        connection.finish();
        self.kernel.borrow_mut().client_acted(&mut connection);
    }

    /// Breaks the connection off (RST). What the client wrote and the server had no room for is lost.
    pub fn reset(&self) {
        let mut connection = self.connection.borrow_mut();
        self.kernel.borrow_mut().client_reset(&mut connection);
    }

    /// From now on what the server sends fills its buffer.
    pub fn stop_reading(&self) {
        self.connection.borrow_mut().stop_reading();
    }

    /// Reads on, from where it stopped.
    pub fn resume_reading(&self) {
        self.connection.borrow_mut().resume_reading();
    }

    /// Has a client that does not read take up to so many bytes; they are part of what it reads next.
    pub fn take(&self, count: usize) {
        self.connection.borrow_mut().take(count);
    }

    /// Bytes written that the server has not read.
    pub fn unread(&self) -> usize {
        self.connection.borrow().unread()
    }

    /// Whether everything was read and the end of the server's stream has come after it.
    pub fn is_at_end(&self) -> bool {
        self.connection.borrow_mut().is_at_end()
    }

    /// Whether the server has closed its end, in whatever way.
    pub fn is_closed_by_server(&self) -> bool {
        self.connection.borrow().is_closed()
    }

    /// Whether the connection was reset, by the server or by a fault on the way, but not by this client.
    pub fn was_reset(&self) -> bool {
        self.connection.borrow().was_reset()
    }
}
