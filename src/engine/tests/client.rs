//! A client that speaks WebSocket, and anything else that a test wants to send.
//!
//! Writes frames with the encoder of the protocol, and reads them strictly: a test fails on anything that a server must
//! not send.

use std::cell::RefCell;
use std::rc::Rc;

use super::secure::Secure;
use super::trace::Trace;
use crate::protocol::deflate::{Agreement, Compression, Compressors};
use crate::protocol::handshake::Offer;
use crate::protocol::handshake::client::{ClientHandshake, ClientHandshakeError};
use crate::protocol::http::{HeadLimits, HeadScan};
use crate::protocol::{
    AssemblyPool, Close, CloseCode, Connection, Event, FrameHeader, Incoming, MaskKey, MessageLimits,
};
use crate::protocol::{Opcode, Role, apply_mask, write_close, write_frame};
use crate::reactor::sim::Peer;
use crate::tls::Connector;

const KEY: MaskKey = [0x9a, 0x3c, 0x51, 0xe7];

pub struct Client {
    pub peer: Peer,
    trace: Rc<Trace>,
    handshake: Option<ClientHandshake>,
    received: Vec<u8>,
    /// The compression that it offers in its handshake.
    offer: Option<Offer>,
    /// Its end of a connection that may be compressed.
    link: Option<Link>,
    /// It has requested a 100 before it sends a body, and accepts that none comes.
    may_be_continued: bool,
    /// Its end of TLS.
    secure: Option<RefCell<Secure>>,
}

struct Link {
    connection: Connection,
    compressors: Compressors,
    pool: AssemblyPool,
}

impl Link {
    fn new(agreement: Agreement) -> Self {
        Self {
            connection: Connection::compressed(Role::Client, agreement),
            compressors: Compressors::new(&Compression::default()),
            pool: AssemblyPool::default(),
        }
    }

    fn inflate(&mut self, frame: &mut [u8]) -> Frame {
        let mut incoming = Incoming::new(frame, 0);
        let limits = MessageLimits { message_bytes_max: 16 << 20, inflation_ratio_max: 0, ..MessageLimits::default() };
        match incoming.next(&mut self.connection, &mut self.pool, &limits) {
            Ok(Some(Event::Message(message))) => Frame::new(message.kind().opcode(), message.as_bytes()),
            other => panic!("no compressed message: {other:?}"),
        }
    }
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// A Close frame without a code.
    CloseEmpty,
}

/// An answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn text(text: &str) -> Frame {
    Frame::Text(text.to_owned())
}

pub fn close(code: u16, reason: &str) -> Frame {
    Frame::Close(code, reason.to_owned())
}

/// Returns a whole masked frame.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, opcode, payload, Some(KEY));
    bytes
}

/// Returns a masked frame that may be one of several.
pub fn fragment(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader { fin, opcode, compressed: false, mask: Some(KEY), payload_bytes: payload.len() as u64 }
        .write(&mut bytes);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[start..], KEY, 0);
    bytes
}

/// Returns the first frame of a compressed message, or its only one.
pub fn compressed_fragment(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = fragment(opcode, fin, payload);
    bytes[0] |= 0x40;
    bytes
}

pub fn masked_close(code: u16, reason: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let code = CloseCode::new(code).expect("a code that may be sent");
    write_close(&mut bytes, Some(Close::new(code, reason)), Some(KEY));
    bytes
}

/// Returns a request for a WebSocket, and the accept key that its answer must have.
pub fn upgrade_request(target: &str, protocols: &[&str]) -> (Vec<u8>, ClientHandshake) {
    upgrade_request_with(target, protocols, None, &[])
}

fn upgrade_request_with(
    target: &str,
    protocols: &[&str],
    offer: Option<Offer>,
    headers: &[(&str, &str)],
) -> (Vec<u8>, ClientHandshake) {
    let mut bytes = Vec::new();
    let handshake = ClientHandshake::write_request(&mut bytes, "localhost", target, [7; 16], protocols, offer, headers);
    (bytes, handshake.expect("a request that can be sent"))
}

/// Returns a request that is not for a WebSocket.
pub fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

/// Returns a request with a body.
pub fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let bytes = body.len();
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n{headers}\r\n").into_bytes();
    [&head, body].concat()
}

/// Returns a request whose body comes in these chunks.
pub fn post_chunks<'a>(target: &str, headers: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = post_chunks_head(target, headers);
    for chunk in chunks {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Returns the head of a request with a chunked body.
pub fn post_chunks_head(target: &str, headers: &str) -> Vec<u8> {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{headers}\r\n").into_bytes()
}

/// The answer that asks a client to send the body that it withholds.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Client {
    pub fn new(peer: Peer, trace: Rc<Trace>) -> Self {
        Self {
            peer,
            trace,
            handshake: None,
            received: Vec::new(),
            offer: None,
            link: None,
            may_be_continued: false,
            secure: None,
        }
    }

    /// Makes it ignore every 100 from now on.
    pub fn ignore_continue(&mut self) {
        self.may_be_continued = true;
    }

    /// Makes it offer compression in its handshake.
    pub fn offer(&mut self, offer: Offer) {
        self.offer = Some(offer);
    }

    /// Returns whether its messages may be compressed.
    pub fn is_compressed(&self) -> bool {
        self.link.is_some()
    }

    /// Returns a message's compressed payload; `None` if it is to be sent uncompressed.
    pub fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let link = self.link.as_mut()?;
        link.connection.compress(payload, &mut link.compressors).map(<[u8]>::to_vec)
    }

    /// Asks for a WebSocket.
    pub fn ask(&mut self, target: &str, protocols: &[&str]) {
        self.ask_with(target, protocols, &[]);
    }

    /// Asks for a WebSocket with more headers.
    pub fn ask_with(&mut self, target: &str, protocols: &[&str], headers: &[(&str, &str)]) {
        let (request, handshake) = upgrade_request_with(target, protocols, self.offer, headers);
        self.handshake = Some(handshake);
        self.write(&request);
    }

    /// Returns the request that [`Client::ask`] writes, for a client that writes it piece by piece.
    pub fn request(&mut self, target: &str) -> Vec<u8> {
        let (request, handshake) = upgrade_request_with(target, &[], self.offer, &[]);
        self.handshake = Some(handshake);
        request
    }

    /// Returns whether the answer to [`Client::ask`] has arrived and opens the WebSocket.
    pub fn is_accepted(&mut self) -> bool {
        let Some(head) = self.head() else { return false };
        let handshake = self.handshake.expect("the client has asked");
        let accepted = handshake.check_response(&head, &["chat", "superchat"]);
        self.link = accepted.as_ref().ok().and_then(|accept| accept.compression).map(Link::new);
        accepted.is_ok()
    }

    pub fn write(&self, bytes: &[u8]) {
        self.note("client writes: port, bytes", bytes);
        match &self.secure {
            Some(secure) => secure.borrow_mut().write(bytes, &self.peer),
            None => self.peer.write(bytes),
        }
    }

    /// Makes it speak TLS from now on.
    pub fn secured(self, connector: &Connector) -> Self {
        let secure = Some(RefCell::new(Secure::begin(connector, &self.peer)));
        Self { secure, ..self }
    }

    /// Returns whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    /// Returns its end of TLS.
    pub fn secure(&self) -> &RefCell<Secure> {
        self.secure.as_ref().expect("the client speaks TLS")
    }

    /// Records an action or observation of this client.
    pub fn note(&self, what: &str, bytes: &[u8]) {
        let port = u64::from(self.peer.address().port());
        self.trace.note(what, &[port, bytes.len() as u64], bytes);
    }

    /// Returns the status of the answer to [`Client::ask`], once it has arrived: 101 only if it opens the WebSocket.
    pub fn verdict(&mut self) -> Option<u16> {
        let head = self.head()?;
        match self.handshake.expect("the client has asked").check_response(&head, &[]) {
            Ok(accept) => {
                self.link = accept.compression.map(Link::new);
                Some(101)
            }
            Err(ClientHandshakeError::Status { status }) => Some(status),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn send(&self, text: &str) {
        self.write(&masked(Opcode::Text, text.as_bytes()));
    }

    pub fn send_binary(&self, payload: &[u8]) {
        self.write(&masked(Opcode::Binary, payload));
    }

    /// Makes the application publish a message of this number to the topic `a`.
    pub fn send_binary_publish(&self, number: usize) {
        self.send(&format!("/publish-number a {number} 1000"));
    }

    pub fn ping(&self, payload: &[u8]) {
        self.write(&masked(Opcode::Ping, payload));
    }

    pub fn close(&self, code: u16, reason: &str) {
        self.write(&masked_close(code, reason));
    }

    /// Returns every whole frame that has arrived.
    pub fn frames(&mut self) -> Vec<Frame> {
        self.pull();
        let mut frames = Vec::new();
        let compression = self.link.is_some();
        while let Some((header, start)) =
            FrameHeader::parse(&self.received, Role::Client, compression).expect("a good frame")
        {
            assert!(header.fin, "the server does not fragment");
            let end = start + header.payload_bytes as usize;
            if self.received.len() < end {
                break;
            }
            let mut frame: Vec<u8> = self.received.drain(..end).collect();
            frames.push(match &mut self.link {
                Some(link) if header.compressed => link.inflate(&mut frame),
                _ => Frame::new(header.opcode, &frame[start..]),
            });
        }
        frames
    }

    /// Returns the next whole answer.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.whole_head()?.to_vec()).expect("heads are ASCII");
        if head.contains("Transfer-Encoding: chunked\r\n") {
            let (body, bytes) = whole_chunks(&self.received[head.len()..])?;
            self.received.drain(..head.len() + bytes);
            let status = head[9..12].parse().expect("a status");
            return Some(Answer { status, head, body: String::from_utf8(body).expect("bodies are text") });
        }
        let length = head.split("Content-Length: ").nth(1).map_or(0, |rest| {
            rest.split("\r\n").next().and_then(|digits| digits.parse().ok()).expect("a number of bytes")
        });
        if self.received.len() < head.len() + length {
            return None;
        }
        self.received.drain(..head.len());
        // A body that is not text is one that a hostile client had echoed.
        let body = String::from_utf8_lossy(&self.received.drain(..length).collect::<Vec<u8>>()).into_owned();
        let status = head[9..12].parse().expect("a status");
        Some(Answer { status, head, body })
    }

    /// Returns the statuses of all answers that have arrived.
    pub fn statuses(&mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.answer()).map(|answer| answer.status).collect()
    }

    /// Returns the bodies of all answers that have arrived.
    pub fn bodies(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.answer()).map(|answer| answer.body).collect()
    }

    /// Returns whether the server's end of stream has arrived, and nothing before it is left.
    pub fn is_at_end(&mut self) -> bool {
        self.pull();
        self.received.is_empty() && self.peer.is_at_end()
    }

    /// Returns whether nothing has arrived and the server has not closed.
    pub fn hears_nothing(&mut self) -> bool {
        self.pull();
        self.received.is_empty() && !self.peer.is_at_end() && !self.peer.is_closed_by_server()
    }

    /// Returns whether a Close frame with this code is all that has arrived.
    pub fn hears_close(&mut self, code: u16) -> bool {
        matches!(self.frames()[..], [Frame::Close(sent, _)] if sent == code)
    }

    /// Returns all bytes that have arrived.
    pub fn bytes(&mut self) -> Vec<u8> {
        self.pull();
        std::mem::take(&mut self.received)
    }

    fn head(&mut self) -> Option<Vec<u8>> {
        let end = self.whole_head()?.len();
        Some(self.received.drain(..end).collect())
    }

    /// Returns the head of an answer, if one has arrived, and leaves it there.
    fn whole_head(&mut self) -> Option<&[u8]> {
        self.pull();
        while self.may_be_continued && self.received.starts_with(CONTINUE) {
            self.received.drain(..CONTINUE.len());
        }
        // To find the end of a head, a status line may stand for a request line.
        let end = HeadScan::default().find_end(&self.received, &HeadLimits::default()).expect("a good head")?;
        let head = &self.received[..end];
        // RFC 9110 6.6.1, for answers of all kinds; the clock of a simulated core stands still.
        let date = b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert!(head.windows(date.len()).any(|line| line == date), "no date: {}", String::from_utf8_lossy(head));
        Some(head)
    }

    fn pull(&mut self) {
        let bytes = match &self.secure {
            Some(secure) => secure.borrow_mut().read(&self.peer),
            None => self.peer.read(),
        };
        if !bytes.is_empty() {
            self.note("client reads: port, bytes", &bytes);
            self.received.extend(bytes);
        }
    }
}

impl Frame {
    fn new(opcode: Opcode, payload: &[u8]) -> Self {
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text is UTF-8");
        match opcode {
            Opcode::Text => Frame::Text(utf8(payload)),
            Opcode::Binary => Frame::Binary(payload.to_vec()),
            Opcode::Ping => Frame::Ping(payload.to_vec()),
            Opcode::Pong => Frame::Pong(payload.to_vec()),
            Opcode::Close => match Close::parse(payload).expect("a good close frame") {
                Some(close) => Frame::Close(close.code.number(), close.reason.to_owned()),
                None => Frame::CloseEmpty,
            },
            Opcode::Continuation => panic!("the server does not fragment"),
        }
    }
}

/// Returns the data of a body in chunks and the number of its bytes, once all of it has arrived.
fn whole_chunks(received: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let digits = received[at..].iter().position(|byte| *byte == b'\r')?;
        let size = std::str::from_utf8(&received[at..at + digits]).expect("a size is ASCII");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        let begin = at + digits + 2;
        let chunk = received.get(begin..begin + size + 2)?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends with a line");
        data.extend_from_slice(&chunk[..size]);
        at = begin + size + 2;
        if size == 0 {
            return Some((data, at));
        }
    }
}
