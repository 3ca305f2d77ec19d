//! A client's end of TLS over a simulated connection.

use crate::reactor::sim::Peer;
use crate::tls::{Connector, Fault, Session};

/// A client's session, and what waits for its handshake.
pub struct Secure {
    session: Session,
    waiting: Vec<u8>,
    fault: Option<Fault>,
}

impl Secure {
    /// Begins a handshake.
    pub fn begin(connector: &Connector, peer: &Peer) -> Self {
        let session = connector.connect().expect("a good configuration");
        let mut secure = Self { session, waiting: Vec::new(), fault: None };
        secure.open(&[], peer);
        secure
    }

    /// Writes bytes, once the handshake is over.
    pub fn write(&mut self, bytes: &[u8], peer: &Peer) {
        self.waiting.extend_from_slice(bytes);
        self.flush(peer);
    }

    /// Reads what has arrived, and returns its plaintext.
    pub fn read(&mut self, peer: &Peer) -> Vec<u8> {
        let bytes = peer.read();
        if bytes.is_empty() && !self.session.has_unopened() { Vec::new() } else { self.open(&bytes, peer) }
    }

    /// Ends the stream in order.
    pub fn close(&mut self, peer: &Peer) {
        let mut sealed = Vec::new();
        self.session.close(&mut sealed).expect("the session is open");
        peer.write(&sealed);
    }

    /// Returns whether the server has ended its stream in order.
    pub fn is_closed(&self) -> bool {
        self.session.is_peer_closed()
    }

    /// Returns why the session has failed.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    fn open(&mut self, bytes: &[u8], peer: &Peer) -> Vec<u8> {
        let mut buffer = [self.session.kept(), bytes].concat();
        let mut answer = Vec::new();
        let opened = self.session.open(&mut buffer, &mut answer);
        peer.write(&answer);
        match opened {
            Ok(opened) => buffer.truncate(opened.plaintext),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                buffer.clear();
            }
        }
        self.flush(peer);
        buffer
    }

    fn flush(&mut self, peer: &Peer) {
        if self.session.is_connected() && !self.waiting.is_empty() && self.fault.is_none() {
            let mut sealed = Vec::new();
            self.session.seal([&self.waiting[..]].into_iter(), &mut sealed).expect("the session is open");
            self.waiting.clear();
            peer.write(&sealed);
        }
    }
}
