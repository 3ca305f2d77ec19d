//! The suite on the real kernel: sockets over the loopback interface, and Unix sockets.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::{Domain, SockAddr, SockRef, Type};

use super::*;
use crate::address::{Address, Endpoint, places};

/// Bytes of each buffer of a narrow connection. The kernel doubles it, which is not below the window that a client has
/// already announced, and does not resize a buffer whose size was set.
const NARROW_BYTES: usize = 128 << 10;

/// A world of real sockets.
pub struct Loopback<R> {
    pub(super) reactor: R,
    /// Listens on Unix sockets.
    unix: bool,
    endpoint: Option<Endpoint>,
    // Dropped after the reactor, because accepting ends with the reactor at the latest.
    pub(super) listeners: Listeners,
}

impl<R: Reactor> Loopback<R> {
    pub fn new(new: impl FnOnce() -> io::Result<R>) -> Self {
        let reactor = new().expect("the kernel provides what the reactor needs");
        Self { reactor, unix: false, endpoint: None, listeners: Listeners(Vec::new()) }
    }

    pub fn on_unix_sockets(new: impl FnOnce() -> io::Result<R>) -> Self {
        Self { unix: true, ..Self::new(new) }
    }

    /// Returns the address of the TCP listener opened last.
    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.as_ref().and_then(Endpoint::socket_address).expect("somebody listens")
    }
}

impl<R: Reactor> World for Loopback<R> {
    type Reactor = R;
    type Client = Stream;

    fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    fn listen(&mut self) -> Socket {
        static NAMES: AtomicUsize = AtomicUsize::new(0);
        let text = match self.unix {
            true => format!("unix:@ringsock-{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed)),
            false => "127.0.0.1:0".to_owned(),
        };
        let places = places(&[text.parse::<Address>().expect("an address")]).expect("there is one");
        let opened = crate::reactor::listen(&places, 1, false).expect("it is free");
        self.endpoint = opened.endpoints.first().cloned();
        let listener = opened.listeners[0][0].socket;
        self.listeners.0.push(listener);
        listener
    }

    fn connect(&mut self) -> Stream {
        self.try_to_connect().expect("connect")
    }

    fn narrow(&mut self, client: &Stream, socket: Socket) {
        let stream = client.stream.as_ref().expect("it is open");
        stream.set_recv_buffer_size(NARROW_BYTES).expect("set_recv_buffer_size");
        // SAFETY: the socket is open, and is not closed before this returns.
        let socket = unsafe { BorrowedFd::borrow_raw(socket.raw()) };
        SockRef::from(&socket).set_send_buffer_size(NARROW_BYTES).expect("set_send_buffer_size");
    }

    fn too_much(&self) -> usize {
        16 * NARROW_BYTES
    }

    fn is_exact(&self) -> bool {
        true
    }
}

impl<R: Reactor> Loopback<R> {
    pub(super) fn try_to_connect(&self) -> io::Result<Stream> {
        let (domain, address) = match self.endpoint.as_ref().expect("somebody listens") {
            Endpoint::Tcp { address, .. } => (Domain::for_address(*address), SockAddr::from(*address)),
            Endpoint::Unix(unix) => {
                let name = unix.to_string().replace("unix:@", "\0");
                (Domain::UNIX, SockAddr::unix(name).expect("a name"))
            }
        };
        let stream = socket2::Socket::new(domain, Type::STREAM, None).expect("a socket");
        stream.connect(&address)?;
        stream.set_nonblocking(true).expect("set_nonblocking");
        let address = stream.local_addr().expect("local_addr").as_socket();
        Ok(Stream { stream: Some(stream), address, at_end: false, was_reset: false })
    }
}

pub(super) struct Listeners(Vec<Socket>);

impl Drop for Listeners {
    fn drop(&mut self) {
        for listener in self.0.drain(..) {
            crate::reactor::socket::close(listener);
        }
    }
}

/// A client on the real kernel.
#[derive(Debug)]
pub struct Stream {
    /// The socket; `None` after a reset.
    stream: Option<socket2::Socket>,
    /// The address; `None` on a Unix socket.
    address: Option<SocketAddr>,
    at_end: bool,
    was_reset: bool,
}

impl Client for Stream {
    fn address(&self) -> SocketAddr {
        self.address.expect("it has one")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.as_mut().expect("it is open").write_all(bytes).expect("there is room");
    }

    fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(stream) = &mut self.stream else { return bytes };
        match stream.read_to_end(&mut bytes) {
            Ok(_) => self.at_end = !self.was_reset,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.was_reset = true,
            Err(error) => panic!("the client cannot read: {error}"),
        }
        bytes
    }

    fn at_end(&mut self) -> bool {
        assert!(self.read().is_empty());
        self.at_end
    }

    fn was_reset(&mut self) -> bool {
        self.read();
        self.was_reset
    }

    fn finish(&mut self) {
        let stream = self.stream.as_ref().expect("it is open");
        stream.shutdown(Shutdown::Write).expect("it is connected");
    }

    fn reset(&mut self) {
        let stream = self.stream.take().expect("it is open");
        stream.set_linger(Some(Duration::ZERO)).expect("set_linger");
    }

    // On the real kernel a client that does not call `read` does not read.
    fn stop_reading(&mut self) {}

    fn resume_reading(&mut self) {}
}
