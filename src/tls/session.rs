//! One TLS session, from the ClientHello to the last record.
//!
//! Bytes in, bytes out: performs no I/O. Invariant: a session is shaking hands or established, and goes from the one
//! to the other once.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use super::client_certificate::ClientCertificate;
use super::connection::Connection;
use super::fault::{Alert, Fault};
use super::handshake::{Established, Finished, Handshake, Step};
use super::keys::Suite;
use super::records::{CONTENT_BYTES_MAX, OVERHEAD_BYTES, Opened, Records};

/// See the module.
#[derive(Debug)]
pub struct Session {
    layer: Layer,
}

const _: () = assert!(size_of::<Session>() <= 16, "a core keeps one for each session over TLS");

/// ```text
///  Handshake ──► Records      (TLS 1.3)
///      │
///      └───────► Connection   (TLS 1.2, or rustls' records)
///   Client
/// ```
#[derive(Debug)]
enum Layer {
    Handshake(Box<Handshake>),
    Records(Box<Records>),
    Connection(Box<Connection<UnbufferedServerConnection>>),
    /// The session of a client, which shakes hands when it opens what the server sends.
    Client(Box<Connection<UnbufferedClientConnection>>),
    /// The handshake has failed while it became a session.
    Failed,
}

/// The progress of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The handshake needs more bytes of the client.
    Blocked,
    /// The session is established, with a client that has shown this certificate.
    Established(Option<ClientCertificate>),
}

impl Session {
    pub(super) fn new(handshake: Handshake) -> Self {
        Self { layer: Layer::Handshake(Box::new(handshake)) }
    }

    /// Makes the open session of a server with TLS 1.3 from the number of its suite, and from the traffic secret of each
    /// end and the number of its next record. Returns `None` if they do not fit together. A session that a handshake has
    /// established needs none of it; tests with more inputs than there can be handshakes do.
    pub fn of_secrets(suite: u16, client: (u64, &[u8]), server: (u64, &[u8])) -> Option<Self> {
        let records = Records::new(Suite::of(suite.into())?, client, server)?;
        Some(Self { layer: Layer::Records(Box::new(records)) })
    }

    /// Begins the session of a client. Its first message is in what the first [`Session::open`] answers, for which no
    /// bytes of the server are needed.
    pub(super) fn of_client(rustls: UnbufferedClientConnection) -> Self {
        Self { layer: Layer::Client(Box::new(Connection::new(rustls))) }
    }

    /// Returns whether the session of a client has shaken hands.
    pub fn is_connected(&self) -> bool {
        matches!(&self.layer, Layer::Client(connection) if !connection.rustls().is_handshaking())
    }

    /// Returns whether the handshake of a server's session is under way.
    #[inline]
    pub fn is_handshaking(&self) -> bool {
        matches!(self.layer, Layer::Handshake(_))
    }

    /// Adds bytes of the client to its handshake.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Layer::Handshake(handshake) = &mut self.layer {
            handshake.feed(bytes);
        }
    }

    /// Returns whether a step of the handshake can be taken.
    pub fn is_step_due(&self) -> bool {
        matches!(&self.layer, Layer::Handshake(handshake) if handshake.is_ready())
    }

    /// Returns whether the client has begun with a request of plain HTTP instead of a handshake.
    pub fn has_http(&self) -> bool {
        matches!(&self.layer, Layer::Handshake(handshake) if handshake.has_http())
    }

    /// Returns whether the server has paid for a key exchange in a handshake that is under way.
    pub fn has_begun(&self) -> bool {
        matches!(&self.layer, Layer::Handshake(handshake) if handshake.has_begun())
    }

    /// Takes a step of the handshake, which may take half a millisecond, and appends the answer. After a fault, the
    /// answer ends with the alert for the client.
    pub fn step(&mut self, answer: &mut Vec<u8>) -> Result<Progress, Fault> {
        let Layer::Handshake(handshake) = &mut self.layer else { return Ok(Progress::Established(None)) };
        if matches!(handshake.step(answer)?, Step::Blocked) {
            return Ok(Progress::Blocked);
        }
        let Layer::Handshake(handshake) = std::mem::replace(&mut self.layer, Layer::Failed) else {
            return Ok(Progress::Established(None));
        };
        let Finished { established, behind, client } = handshake.finish()?;
        self.layer = match established {
            Established::Records(mut records) => {
                records.keep_unopened(&behind);
                Layer::Records(records)
            }
            Established::Connection(mut connection) => {
                connection.keep_unopened(&behind);
                Layer::Connection(connection)
            }
        };
        Ok(Progress::Established(client))
    }

    /// Returns the bytes of the client that were not opened, since their rest has not arrived. New bytes belong behind
    /// them.
    pub fn kept(&self) -> &[u8] {
        match &self.layer {
            Layer::Records(records) => records.kept(),
            Layer::Connection(connection) => connection.kept(),
            Layer::Client(connection) => connection.kept(),
            Layer::Handshake(_) | Layer::Failed => &[],
        }
    }

    /// Returns whether the kept bytes came with the end of the handshake, and nothing has tried to open them.
    pub fn has_unopened(&self) -> bool {
        match &self.layer {
            Layer::Records(records) => records.has_unopened(),
            Layer::Connection(connection) => connection.has_unopened(),
            Layer::Client(connection) => connection.has_unopened(),
            Layer::Handshake(_) | Layer::Failed => false,
        }
    }

    /// Returns whether the peer has ended its stream in order.
    #[inline]
    pub fn is_peer_closed(&self) -> bool {
        match &self.layer {
            Layer::Records(records) => records.is_peer_closed(),
            Layer::Connection(connection) => connection.is_peer_closed(),
            Layer::Client(connection) => connection.is_peer_closed(),
            Layer::Handshake(_) | Layer::Failed => false,
        }
    }

    /// Opens the records in `buffer`, which begins with the [kept](Session::kept) bytes, and puts their plaintext at
    /// its front. What is to be sent in answer is appended to `answer`: after a fault the alert.
    pub fn open(&mut self, buffer: &mut [u8], answer: &mut Vec<u8>) -> Result<Opened, Fault> {
        match &mut self.layer {
            Layer::Records(records) => records.open(buffer).inspect_err(|fault| {
                if let Some(alert) = fault.alert() {
                    // The session ends in any case.
                    let _ = records.seal_alert(alert, answer);
                }
            }),
            Layer::Connection(connection) => connection.open(buffer, answer),
            Layer::Client(connection) => connection.open(buffer, answer),
            Layer::Handshake(_) | Layer::Failed => Err(Fault::Unexpected),
        }
    }

    /// Seals the content of `parts` in records, and appends them to `sealed`. They must be sent in this order.
    pub fn seal<'p>(&mut self, parts: impl Iterator<Item = &'p [u8]>, sealed: &mut Vec<u8>) -> Result<(), Fault> {
        match &mut self.layer {
            Layer::Records(records) => records.seal(parts, sealed),
            Layer::Connection(connection) => connection.seal(parts, sealed),
            Layer::Client(connection) => connection.seal(parts, sealed),
            Layer::Handshake(_) | Layer::Failed => Err(Fault::Unexpected),
        }
    }

    /// Appends close_notify, after which nothing may be sealed. Does nothing before the session is established.
    pub fn close(&mut self, sealed: &mut Vec<u8>) -> Result<(), Fault> {
        match &mut self.layer {
            Layer::Records(records) => records.seal_alert(Alert::CloseNotify, sealed),
            Layer::Connection(connection) => connection.close(sealed),
            Layer::Client(connection) => connection.close(sealed),
            Layer::Handshake(_) | Layer::Failed => Ok(()),
        }
    }

    /// Returns how many bytes content of so many bytes has at most when it is sealed with TLS 1.3.
    #[inline]
    pub fn sealed_bytes(content_bytes: usize) -> usize {
        // One record more for what is not a multiple of a record.
        content_bytes.saturating_add((content_bytes / CONTENT_BYTES_MAX + 1) * OVERHEAD_BYTES)
    }
}
