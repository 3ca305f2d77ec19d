//! A simple client: requests a page or a WebSocket, and returns what arrives.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The next event on a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Text(String),
    Close(u16),
    /// The end of the stream.
    End,
    /// The connection was reset.
    Reset,
}

impl Client {
    /// Connects and sends nothing.
    pub fn connect(address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Opens a WebSocket.
    pub fn open(address: &str) -> Self {
        let mut client = Self::connect(address);
        client.upgrade();
        let head = client.head().expect("no answer to the upgrade");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// Requests a WebSocket.
    pub fn upgrade(&mut self) {
        self.write(
            b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
    }

    /// Requests a page. Returns the head of the answer, or nothing if none came.
    pub fn get(&mut self, path: &str) -> Option<String> {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        self.head()
    }

    /// Requests a page on a connection of its own. Returns the status of the answer.
    pub fn status(address: &str, path: &str) -> u16 {
        let head = Self::connect(address).get(path).expect("no answer");
        head[9..12].parse().unwrap()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // The server may have closed.
        let _ = self.stream.write_all(bytes);
    }

    /// Returns the head of the next answer, whose body is skipped, or nothing if the stream ends before it.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.received[..at + 4].to_vec()).unwrap();
                let body = head.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let end = at + 4 + body.map_or(0, |digits| digits.parse().unwrap());
                if self.received.len() >= end {
                    self.received.drain(..end);
                    return Some(head);
                }
            }
            if self.pull() != Heard::Text(String::new()) {
                return None;
            }
        }
    }

    /// Sends a message on a WebSocket, masked with zeros.
    pub fn say(&mut self, text: &str) {
        assert!(text.len() < 126);
        self.write(&[&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat());
    }

    /// Answers a Close frame.
    pub fn close(&mut self, code: u16) {
        self.write(&[&[0x88, 0x82, 0, 0, 0, 0][..], &code.to_be_bytes()].concat());
    }

    /// Waits for the next frame or the end.
    pub fn hear(&mut self) -> Heard {
        loop {
            if let [first, length, rest @ ..] = &self.received[..]
                && rest.len() >= usize::from(*length)
            {
                let (opcode, length) = (first & 0x0F, usize::from(*length));
                let payload: Vec<u8> = self.received.drain(..2 + length).skip(2).collect();
                return match opcode {
                    1 => Heard::Text(String::from_utf8(payload).unwrap()),
                    8 => Heard::Close(u16::from_be_bytes([payload[0], payload[1]])),
                    _ => continue,
                };
            }
            match self.pull() {
                Heard::Text(_) => {}
                end => return end,
            }
        }
    }

    /// Closes as a client does: receives 1001, answers it, and sees the stream end in order.
    pub fn is_told(&mut self) {
        assert_eq!(self.hear(), Heard::Close(1001));
        self.close(1001);
        assert_eq!(self.hear(), Heard::End);
    }

    /// Reads once: an empty text if something arrived.
    fn pull(&mut self) -> Heard {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Heard::End,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Heard::Text(String::new())
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Heard::Reset,
            Err(error) if error.kind() == ErrorKind::Interrupted => Heard::Text(String::new()),
            Err(error) => panic!("nothing came in time: {error}"),
        }
    }
}
