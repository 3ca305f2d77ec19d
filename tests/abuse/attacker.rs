//! A client on a raw socket, which keeps no rule unless told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::patience;
use crate::wire::{self, close_payload, masked};

/// A good request for an upgrade.
pub const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Connections that ask for a session before the first has it: below the shortest queue of a listener.
const OPENED_AT_ONCE: usize = 500;

/// What comes next from the server.
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

    /// From this address of the host's own.
    pub fn connect_from(source: &str, address: SocketAddr) -> Self {
        let source: IpAddr = source.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::new(socket.into()).unwrap()
    }

    /// Over a path of small segments and with next to no room for what comes, as from far away: what it does not read
    /// waits at the server. On loopback, segments of 64 KiB would let the kernel hold megabytes for it.
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

    /// A session.
    pub fn open(address: SocketAddr) -> Self {
        let mut peer = Self::connect(address);
        peer.write(UPGRADE);
        peer.expect_session();
        peer
    }

    /// A session, if the server gives one: it closes the connection of a client that asks too late.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        let mut peer = Self::connect(address);
        peer.write(UPGRADE);
        (peer.read_status()? == 101).then_some(peer)
    }

    /// A session on this path.
    pub fn open_at(address: SocketAddr, path: &str) -> Self {
        Self::open_by(Self::connect(address), path)
    }

    /// A session on this path, over this connection.
    pub fn open_by(mut peer: Self, path: &str) -> Self {
        let request = String::from_utf8_lossy(UPGRADE).replacen("/echo", path, 1);
        peer.write(request.as_bytes());
        peer.expect_session();
        peer
    }

    /// Its connection, of which nothing has been read that was not asked for.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.received.is_empty(), "something was read already");
        self.stream
    }

    /// A session, asked for with these headers besides, and the head of the answer in lower case.
    pub fn open_with(address: SocketAddr, headers: &str) -> (Self, String) {
        let mut peer = Self::connect(address);
        peer.write(&[&UPGRADE[..UPGRADE.len() - 2], headers.as_bytes(), b"\r\n"].concat());
        let head = peer.read_head().unwrap();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        (peer, head)
    }

    /// Many sessions.
    pub fn open_many(address: SocketAddr, count: usize) -> Vec<Self> {
        Self::open_many_by(address, count, Self::connect)
    }

    /// Many sessions on connections made so.
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

    /// Writes as much as is taken; the server may have parted already.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Writes the same again and again, and reads nothing, until nothing more has been taken for a while.
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

    /// Says a text message.
    pub fn say(&mut self, text: &str) {
        self.write(&masked(wire::FIN | wire::TEXT, text.as_bytes()));
    }

    /// Says a text message and gives the answer.
    pub fn ask(&mut self, text: &str) -> String {
        self.say(text);
        match self.next() {
            Next::Frame(0x81, payload) => String::from_utf8(payload).unwrap(),
            other => panic!("{text:?} was answered with {other:?}"),
        }
    }

    /// The status of the next answer, its body left behind; `None` when there is no whole answer.
    pub fn read_status(&mut self) -> Option<u16> {
        self.read_answer().map(|(status, _)| status)
    }

    /// The status of the next answer, and whether it says that the connection closes.
    pub fn read_answer(&mut self) -> Option<(u16, bool)> {
        let head = self.read_head()?;
        let status = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
        self.read_bytes(body_bytes(&head))?;
        Some((status, header(&head, "connection:") == Some("close")))
    }

    /// The body of the next answer.
    pub fn read_body(&mut self) -> Option<String> {
        let head = self.read_head()?;
        String::from_utf8(self.read_bytes(body_bytes(&head))?).ok()
    }

    /// The head of the next answer, in lower case.
    pub fn read_head(&mut self) -> Option<String> {
        let end = loop {
            match self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.receive().ok()?,
            }
        };
        String::from_utf8(self.read_bytes(end)?).ok().map(|head| head.to_ascii_lowercase())
    }

    /// So many bytes, if they come.
    pub fn read_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            self.receive().ok()?;
        }
        Some(self.received.drain(..count).collect())
    }

    /// The next frame, or how the connection ended.
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

    /// The close code that comes before anything else does: `Ok(None)` is a Close frame without a code.
    pub fn read_close(&mut self) -> Result<Option<u16>, Next> {
        match self.next() {
            Next::Frame(0x88, payload) => Ok(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            other => Err(other),
        }
    }

    /// How the connection ends, after whatever still comes.
    pub fn read_to_end(&mut self) -> Next {
        loop {
            match self.next() {
                Next::Frame(..) => {}
                end => return end,
            }
        }
    }

    /// Whether the connection has ended by now, in whatever way. Does not wait, and drops what came.
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

    /// Says a Close frame.
    pub fn close(&mut self, code: u16) {
        self.write(&masked(wire::FIN | wire::CLOSE, &close_payload(code, "")));
    }

    /// Ends its stream, and reads on.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Breaks the connection off with a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Whether nothing came that was not read.
    pub fn heard_nothing(&self) -> bool {
        self.received.is_empty()
    }

    /// Waits for an answer no longer than this.
    pub fn wait_at_most(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }

    /// Reads once more, or tells why there is no more.
    fn receive(&mut self) -> Result<(), Next> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Next::End),
                Ok(count) => {
                    self.received.extend(&buffer[..count]);
                    return Ok(());
                }
                // The kernel tidying up after a ring of this process is enough to interrupt a read.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Next::Silence),
                Err(_) => return Err(Next::Reset),
            }
        }
    }
}

/// The value of a header in a head in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name).map(str::trim))
}

fn body_bytes(head: &str) -> usize {
    header(head, "content-length:").map_or(0, |length| length.parse().unwrap())
}

/// First byte, start and end of the frame that `bytes` begin with. The server never masks.
pub fn frame_bounds(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        length => (2, usize::from(length)),
    };
    Some((first, start, start + length))
}
