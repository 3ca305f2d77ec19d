//! A client that speaks WebSocket, and anything else that a test wants to send.
//!
//! It writes frames through the protocol's own encoder and reads them strictly: what a server may not send fails the
//! test.

use std::rc::Rc;

use super::trace::Trace;
use crate::protocol::deflate::{Agreement, Compression, Compressors};
use crate::protocol::handshake::Offer;
use crate::protocol::handshake::client::{ClientHandshake, ClientHandshakeError};
use crate::protocol::http::{HeadLimits, HeadScan};
use crate::protocol::{AssemblyPool, Close, CloseCode, Connection, Event, FrameHeader, Incoming, Limits, MaskKey};
use crate::protocol::{Opcode, Role, apply_mask, write_close, write_frame};
use crate::reactor::sim::Peer;

const KEY: MaskKey = [0x9a, 0x3c, 0x51, 0xe7];

pub struct Client {
    pub peer: Peer,
    trace: Rc<Trace>,
    handshake: Option<ClientHandshake>,
    received: Vec<u8>,
    /// What compression it offers when it asks.
    offer: Option<Offer>,
    /// Its end of a connection that may be compressed.
    link: Option<Link>,
    /// Whether it has asked to be told when to send a body, and does not mind whether it is.
    may_be_continued: bool,
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
        let limits = Limits { message_bytes_max: 16 << 20, inflation_ratio_max: 0, ..Limits::default() };
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
    /// Without a code.
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

/// A whole masked frame.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, opcode, payload, Some(KEY));
    bytes
}

/// A masked frame that may be one of several.
pub fn fragment(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader { fin, opcode, compressed: false, mask: Some(KEY), payload_bytes: payload.len() as u64 }
        .write(&mut bytes);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[start..], KEY, 0);
    bytes
}

/// The first frame of a compressed message, or its only one.
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

/// A request for a WebSocket, and what its answer has to prove.
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

/// A request for anything else.
pub fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

/// A request with a body.
pub fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let bytes = body.len();
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n{headers}\r\n").into_bytes();
    [&head, body].concat()
}

/// A request whose body comes in these chunks.
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

/// The head of such a request.
pub fn post_chunks_head(target: &str, headers: &str) -> Vec<u8> {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{headers}\r\n").into_bytes()
}

/// What tells a client to send the body that it holds back.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Client {
    pub fn new(peer: Peer, trace: Rc<Trace>) -> Self {
        Self { peer, trace, handshake: None, received: Vec::new(), offer: None, link: None, may_be_continued: false }
    }

    /// Has it pass over every 100 from now on.
    pub fn ignore_continue(&mut self) {
        self.may_be_continued = true;
    }

    /// Has it offer compression when it asks.
    pub fn offer(&mut self, offer: Offer) {
        self.offer = Some(offer);
    }

    /// Whether its messages may be compressed.
    pub fn is_compressed(&self) -> bool {
        self.link.is_some()
    }

    /// A message's payload as it is sent compressed; `None` if it is to be sent as it is.
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

    /// What [`Client::ask`] writes, for a client that writes it piece by piece.
    pub fn request(&mut self, target: &str) -> Vec<u8> {
        let (request, handshake) = upgrade_request_with(target, &[], self.offer, &[]);
        self.handshake = Some(handshake);
        request
    }

    /// Whether the answer to [`Client::ask`] is here and opens the WebSocket.
    pub fn is_accepted(&mut self) -> bool {
        let Some(head) = self.head() else { return false };
        let handshake = self.handshake.expect("the client has asked");
        let accepted = handshake.check_response(&head, &["chat", "superchat"]);
        self.link = accepted.as_ref().ok().and_then(|accept| accept.compression).map(Link::new);
        accepted.is_ok()
    }

    pub fn write(&self, bytes: &[u8]) {
        self.note("client writes: port, bytes", bytes);
        self.peer.write(bytes);
    }

    /// Notes what this client does or sees.
    pub fn note(&self, what: &str, bytes: &[u8]) {
        let port = u64::from(self.peer.address().port());
        self.trace.note(what, &[port, bytes.len() as u64], bytes);
    }

    /// The status of the answer to [`Client::ask`], once it is here: 101 only if it opens the WebSocket.
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

    /// Has the application publish a message of this number to the topic `a`.
    pub fn send_binary_publish(&self, number: usize) {
        self.send(&format!("/publish-number a {number} 1000"));
    }

    pub fn ping(&self, payload: &[u8]) {
        self.write(&masked(Opcode::Ping, payload));
    }

    pub fn close(&self, code: u16, reason: &str) {
        self.write(&masked_close(code, reason));
    }

    /// Every whole frame that has come.
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

    /// The next whole answer.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.whole_head()?.to_vec()).expect("heads are ASCII");
        let length = head.split("Content-Length: ").nth(1).map_or(0, |rest| {
            rest.split("\r\n").next().and_then(|digits| digits.parse().ok()).expect("a number of bytes")
        });
        if self.received.len() < head.len() + length {
            return None;
        }
        self.received.drain(..head.len());
        // What is no text is what a hostile client had sent back to it.
        let body = String::from_utf8_lossy(&self.received.drain(..length).collect::<Vec<u8>>()).into_owned();
        let status = head[9..12].parse().expect("a status");
        Some(Answer { status, head, body })
    }

    /// The statuses of all answers that have come.
    pub fn statuses(&mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.answer()).map(|answer| answer.status).collect()
    }

    /// The bodies of all answers that have come.
    pub fn bodies(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.answer()).map(|answer| answer.body).collect()
    }

    /// Whether the server's end of stream has come, and nothing before it is left.
    pub fn is_at_end(&mut self) -> bool {
        self.pull();
        self.received.is_empty() && self.peer.is_at_end()
    }

    /// Whether nothing has come and the server is still there.
    pub fn hears_nothing(&mut self) -> bool {
        self.pull();
        self.received.is_empty() && !self.peer.is_at_end() && !self.peer.is_closed_by_server()
    }

    /// Whether a close frame of this code is all that has come.
    pub fn hears_close(&mut self, code: u16) -> bool {
        matches!(self.frames()[..], [Frame::Close(sent, _)] if sent == code)
    }

    /// Everything that has come, whatever it is.
    pub fn bytes(&mut self) -> Vec<u8> {
        self.pull();
        std::mem::take(&mut self.received)
    }

    fn head(&mut self) -> Option<Vec<u8>> {
        let end = self.whole_head()?.len();
        Some(self.received.drain(..end).collect())
    }

    /// The head of an answer, if one is here, and left there.
    fn whole_head(&mut self) -> Option<&[u8]> {
        self.pull();
        while self.may_be_continued && self.received.starts_with(CONTINUE) {
            self.received.drain(..CONTINUE.len());
        }
        // A status line passes for a request line as far as its end is concerned.
        let end = HeadScan::default().find_end(&self.received, &HeadLimits::default()).expect("a good head")?;
        let head = &self.received[..end];
        // RFC 9110 6.6.1, for answers of all kinds; the clock of a simulated core stands still.
        let date = b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert!(head.windows(date.len()).any(|line| line == date), "no date: {}", String::from_utf8_lossy(head));
        Some(head)
    }

    fn pull(&mut self) {
        let bytes = self.peer.read();
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
