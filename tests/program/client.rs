//! A WebSocket client that waits for each frame, for tests that need no more.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::run::PATIENCE;

/// An open WebSocket.
pub struct Client<S = TcpStream>(pub S);

impl Client {
    /// Opens a WebSocket at `path`.
    pub fn open(address: &str, path: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream, address, path)
    }
}

impl<S: Read + Write> Client<S> {
    /// Opens a WebSocket at `path` over this connection.
    pub fn over(stream: S, address: &str, path: &str) -> Self {
        let mut client = Self(stream);
        client.ask(address, path);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        client
    }

    /// Writes the request of an opening handshake.
    pub fn ask(&mut self, address: &str, path: &str) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.0.write_all(request.as_bytes()).unwrap();
    }

    /// Sends a short text.
    pub fn say(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes());
    }

    /// Sends a frame with up to 125 bytes.
    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        // A mask of zeros changes nothing.
        let head = [first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        self.0.write_all(&[&head, payload].concat()).unwrap();
    }

    /// Returns the next frame's first byte and its payload, of up to 125 bytes.
    pub fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let mut payload = vec![0; head[1].into()];
        self.0.read_exact(&mut payload)?;
        Ok((head[0], payload))
    }

    /// Sends a message and waits for its echo; answers pings on the way.
    pub fn echo(&mut self, text: &str) {
        self.say(text);
        loop {
            match self.next().unwrap() {
                (0x89, payload) => self.frame(0x8A, &payload),
                frame => return assert_eq!(frame, (0x81, text.as_bytes().to_vec())),
            }
        }
    }
}
