//! A client on a raw socket, which keeps no rule unless told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::patience;
use crate::wire::{self, close_payload, masked};

/// A valid request for an upgrade.
pub const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Connections that request a session before the first has it: fewer than the shortest queue of a listener holds.
const OPENED_AT_ONCE: usize = 500;

/// The next event from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame: its first byte and its payload.
    Frame(u8, Vec<u8>),
    /// The end of the stream.
    End,
    /// The connection was reset.
    Reset,
    /// Nothing, for as long as anyone should wait.
    Silence,
}

pub struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// Connects from this address of the host.
    pub fn connect_from(source: &str, address: SocketAddr) -> Self {
        let source: IpAddr = source.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::new(socket.into()).unwrap()
    }

    /// Connects over a path of small segments and with almost no room for input, as from far away: unread bytes wait at
    /// the server. On loopback, segments of 64 KiB would let the kernel buffer megabytes.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_tcp_mss(1400).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::new(socket.into()).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::new(TcpStream::connect(address)?)
    }

    fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Opens a session.
    pub fn open(address: SocketAddr) -> Self {
        let mut peer = Self::connect(address);
        peer.write(UPGRADE);
        peer.expect_session();
        peer
    }

    /// Opens a session, unless the server closes the connection because the client asks too late.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        let mut peer = Self::connect(address);
        peer.write(UPGRADE);
        (peer.read_status()? == 101).then_some(peer)
    }

    /// Opens a session on this path.
    pub fn open_at(address: SocketAddr, path: &str) -> Self {
        Self::open_by(Self::connect(address), path)
    }

    /// Opens a session on this path, over this connection.
    pub fn open_by(mut peer: Self, path: &str) -> Self {
        let request = String::from_utf8_lossy(UPGRADE).replacen("/echo", path, 1);
        peer.write(request.as_bytes());
        peer.expect_session();
        peer
    }

    /// Returns the connection, of which nothing was read beyond what was asked for.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.received.is_empty(), "something was read already");
        self.stream
    }

    /// Opens a session with these additional headers. Returns it and the head of the answer in lower case.
    pub fn open_with(address: SocketAddr, headers: &str) -> (Self, String) {
        let mut peer = Self::connect(address);
        peer.write(&[&UPGRADE[..UPGRADE.len() - 2], headers.as_bytes(), b"\r\n"].concat());
        let head = peer.read_head().unwrap();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        (peer, head)
    }

    /// Opens many sessions.
    pub fn open_many(address: SocketAddr, count: usize) -> Vec<Self> {
        Self::open_many_by(address, count, Self::connect)
    }

    /// Opens many sessions on connections made by this function.
    pub fn open_many_by(address: SocketAddr, count: usize, connect: fn(SocketAddr) -> Self) -> Vec<Self> {
        let mut peers: Vec<Self> = Vec::with_capacity(count);
        while peers.len() < count {
            let from = peers.len();
            peers.extend((from..count.min(from + OPENED_AT_ONCE)).map(|_| {
                let mut peer = connect(address);
                peer.write(UPGRADE);
                peer
            }));
            peers[from..].iter_mut().for_each(Self::expect_session);
        }
        peers
    }

    fn expect_session(&mut self) {
        let status = self.read_status();
        assert!(status == Some(101), "no session, but {status:?}, then {:?}", self.next());
    }

    /// Writes as much as the server takes; it may have closed already.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Writes the same bytes again and again, and reads nothing, until nothing more was taken for a while.
    pub fn stuff(&mut self, bytes: &[u8]) {
        self.stream.set_nonblocking(true).unwrap();
        let (mut at, mut refused) = (0, 0);
        while refused < 10 {
            match self.stream.write(&bytes[at..]) {
                Ok(count) => (at, refused) = ((at + count) % bytes.len(), 0),
                Err(_) => {
                    refused += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
        self.stream.set_nonblocking(false).unwrap();
    }

    /// Sends a text message.
    pub fn say(&mut self, text: &str) {
        self.write(&masked(wire::FIN | wire::TEXT, text.as_bytes()));
    }

    /// Sends a text message and returns the answer.
    pub fn ask(&mut self, text: &str) -> String {
        self.say(text);
        match self.next() {
            Next::Frame(0x81, payload) => String::from_utf8(payload).unwrap(),
            other => panic!("{text:?} was answered with {other:?}"),
        }
    }

    /// Returns the status of the next answer, without its body; `None` if there is no complete answer.
    pub fn read_status(&mut self) -> Option<u16> {
        self.read_answer().map(|(status, _)| status)
    }

    /// Returns the status of the next answer, and whether it announces that the connection closes.
    pub fn read_answer(&mut self) -> Option<(u16, bool)> {
        let head = self.read_head()?;
        let status = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
        self.read_bytes(body_bytes(&head))?;
        Some((status, header(&head, "connection:") == Some("close")))
    }

    /// Returns the body of the next answer.
    pub fn read_body(&mut self) -> Option<String> {
        let head = self.read_head()?;
        String::from_utf8(self.read_bytes(body_bytes(&head))?).ok()
    }

    /// Returns the head of the next answer, in lower case.
    pub fn read_head(&mut self) -> Option<String> {
        let end = loop {
            match self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.receive().ok()?,
            }
        };
        String::from_utf8(self.read_bytes(end)?).ok().map(|head| head.to_ascii_lowercase())
    }

    /// Reads so many bytes, if they come.
    pub fn read_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            self.receive().ok()?;
        }
        Some(self.received.drain(..count).collect())
    }

    /// Returns the next frame, or how the connection ended.
    #[allow(clippy::should_implement_trait, reason = "the end of a connection is a value here")]
    pub fn next(&mut self) -> Next {
        loop {
            if let Some((first, start, end)) =
                frame_bounds(&self.received).filter(|bounds| bounds.2 <= self.received.len())
            {
                let payload = self.received[start..end].to_vec();
                self.received.drain(..end);
                return Next::Frame(first, payload);
            }
            if let Err(end) = self.receive() {
                return end;
            }
        }
    }

    /// Returns the close code that comes before anything else: `Ok(None)` is a Close frame without a code.
    pub fn read_close(&mut self) -> Result<Option<u16>, Next> {
        match self.next() {
            Next::Frame(0x88, payload) => Ok(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            other => Err(other),
        }
    }

    /// Returns how the connection ends, after any further input.
    pub fn read_to_end(&mut self) -> Next {
        loop {
            match self.next() {
                Next::Frame(..) => {}
                end => return end,
            }
        }
    }

    /// Returns whether the connection has ended in any way. Does not wait, and drops input.
    pub fn has_ended(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let ended = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        ended
    }

    /// Sends a Close frame.
    pub fn close(&mut self, code: u16) {
        self.write(&masked(wire::FIN | wire::CLOSE, &close_payload(code, "")));
    }

    /// Ends its stream, and continues to read.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Resets the connection.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Returns whether there is no unread input.
    pub fn heard_nothing(&self) -> bool {
        self.received.is_empty()
    }

    /// Limits the wait for an answer.
    pub fn wait_at_most(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }

    /// Reads once more, or returns why nothing more comes.
    fn receive(&mut self) -> Result<(), Next> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Next::End),
                Ok(count) => {
                    self.received.extend(&buffer[..count]);
                    return Ok(());
                }
                // The kernel's work after a ring of this process was closed can interrupt a read.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Next::Silence),
                Err(_) => return Err(Next::Reset),
            }
        }
    }
}

/// Returns the value of a header in a head in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name).map(str::trim))
}

fn body_bytes(head: &str) -> usize {
    header(head, "content-length:").map_or(0, |length| length.parse().unwrap())
}

/// Returns the first byte, start and end of the frame at the beginning of `bytes`. The server never masks.
pub fn frame_bounds(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        length => (2, usize::from(length)),
    };
    Some((first, start, start + length))
}
