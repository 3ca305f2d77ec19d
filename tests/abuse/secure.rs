//! Clients that speak TLS, and a server for them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ringsock::tls::{Connector, Session};
use socket2::SockRef;

use crate::attacker::UPGRADE;
use crate::patience;
use crate::server::Server;
use crate::wire::{FIN, TEXT, masked};

/// Starts a server that speaks TLS at one of two addresses, with this section of settings, and returns that address.
pub fn start(reactor: &str, tls: &str) -> (Server, SocketAddr) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let secure = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("secure-{}-{number}.toml", std::process::id());
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let listen = |address: &str, tls| format!("[[listen]]\naddress = \"{address}\"\ntls = \"{tls}\"\n");
    let (plain, secured) = (listen("127.0.0.1:0", "off"), listen(&secure.to_string(), "on"));
    fs::write(&file, format!("{plain}{secured}[tls]\n{tls}\n")).unwrap();
    (Server::start_with_file(reactor, file.to_str().unwrap()), secure)
}

/// Returns a ClientHello. It costs a client a key, so clients that go no further share one.
pub fn hello(connector: &Connector) -> Vec<u8> {
    begin(connector).1
}

/// Connects. The end of the connection is a reset, which leaves no port in use.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    stream
}

/// Begins the session of a client, and returns its first message.
fn begin(connector: &Connector) -> (Session, Vec<u8>) {
    let (mut session, mut hello) = (connector.connect().unwrap(), Vec::new());
    session.open(&mut [], &mut hello).unwrap();
    (session, hello)
}

/// A client's connection and its session of TLS.
pub struct Secure {
    stream: TcpStream,
    session: Session,
    hello: Vec<u8>,
}

impl Secure {
    /// Connects, and sends nothing.
    pub fn connect(address: SocketAddr, connector: &Connector) -> Self {
        let (session, hello) = begin(connector);
        Self { stream: connect(address), session, hello }
    }

    /// Shakes hands. Returns `None` if the client does not trust the server.
    pub fn open(address: SocketAddr, connector: &Connector) -> Option<Self> {
        let mut client = Self::connect(address, connector);
        client.send_hello(usize::MAX);
        client.finish().then_some(client)
    }

    /// Sends the first message, or so many bytes of it.
    pub fn send_hello(&mut self, count: usize) {
        // The server resets the newest clients if too many wait.
        let _ = self.stream.write_all(&self.hello[..count.min(self.hello.len())]);
    }

    /// Reads so many bytes of what the server sends.
    pub fn read_some(&mut self, count: usize) {
        self.stream.read_exact(&mut vec![0; count]).unwrap();
    }

    /// Shakes hands to the end. Returns whether the client trusts the server.
    pub fn finish(&mut self) -> bool {
        while !self.session.is_connected() {
            if self.receive().is_none() {
                return false;
            }
        }
        true
    }

    /// Opens a WebSocket.
    pub fn upgrade(&mut self) {
        self.send(UPGRADE);
        let head = self.receive_until(|received| received.ends_with(b"\r\n\r\n"));
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    }

    /// Sends a text and expects it back.
    pub fn echo(&mut self, text: &str) {
        self.send(&masked(FIN | TEXT, text.as_bytes()));
        let echo = [&[FIN | TEXT, text.len() as u8], text.as_bytes()].concat();
        assert_eq!(self.receive_until(|received| received.len() >= echo.len()), echo);
    }

    fn send(&mut self, content: &[u8]) {
        let mut sealed = Vec::new();
        self.session.seal([content].into_iter(), &mut sealed).unwrap();
        self.stream.write_all(&sealed).unwrap();
    }

    fn receive_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut received = Vec::new();
        while !is_enough(&received) {
            received.extend(self.receive().expect("the session goes on"));
        }
        received
    }

    /// Returns the plaintext of what the server sends next; `None` after a fault.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = [0; 16 << 10];
        let count = self.stream.read(&mut bytes).unwrap();
        assert!(count > 0, "the server has ended the connection");
        let mut buffer = [self.session.kept(), &bytes[..count]].concat();
        let mut answer = Vec::new();
        let opened = self.session.open(&mut buffer, &mut answer);
        self.stream.write_all(&answer).unwrap();
        buffer.truncate(opened.ok()?.plaintext);
        Some(buffer)
    }
}
