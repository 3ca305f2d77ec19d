//! The suite on the real kernel: sockets over the loopback interface.

use super::*;

/// Real sockets over the loopback interface.
pub struct Loopback<R> {
    pub(super) reactor: R,
    address: Option<SocketAddr>,
    // After the reactor, because accepting ends with it at the latest.
    pub(super) listeners: Listeners,
}

impl<R: Reactor> Loopback<R> {
    pub fn new(new: impl FnOnce() -> io::Result<R>) -> Self {
        let reactor = new().expect("the kernel provides what the reactor needs");
        Self { reactor, address: None, listeners: Listeners(Vec::new()) }
    }

    /// Of the listener opened last.
    pub(super) fn address(&self) -> SocketAddr {
        self.address.expect("somebody listens")
    }
}

impl<R: Reactor> World for Loopback<R> {
    type Reactor = R;
    type Client = Stream;

    fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    fn listen(&mut self) -> Socket {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listeners, address) = crate::reactor::listen(any, 1, false).expect("a port is free");
        self.address = Some(address);
        self.listeners.0.extend(&listeners);
        listeners[0]
    }

    fn connect(&mut self) -> Stream {
        let stream = TcpStream::connect(self.address()).expect("connect");
        stream.set_nonblocking(true).expect("set_nonblocking");
        let address = stream.local_addr().expect("local_addr");
        Stream { stream: Some(stream), address, at_end: false, was_reset: false }
    }

    fn too_much(&self) -> usize {
        16 << 20
    }

    fn is_exact(&self) -> bool {
        true
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
pub struct Stream {
    /// None once it was reset.
    stream: Option<TcpStream>,
    address: SocketAddr,
    at_end: bool,
    was_reset: bool,
}

impl Client for Stream {
    fn address(&self) -> SocketAddr {
        self.address
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
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set_linger");
    }

    // On the real kernel a client that does not call `read` does not read.
    fn stop_reading(&mut self) {}

    fn resume_reading(&mut self) {}
}
