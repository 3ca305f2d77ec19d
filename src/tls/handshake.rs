//! The handshake of one session, which rustls performs.
//!
//! Bytes in, bytes out: performs no I/O, and never decides when a client gets its turn. A step is expensive when it
//! reads a ClientHello (a key exchange and a signature: 0.1 to 0.5 ms), and cannot be interrupted. Invariant: rustls is
//! shown no byte behind the record that ends the handshake, so that no data of an open session is kept by it.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use super::client_certificate::ClientCertificate;
use super::connection::{Connection, encode, take_alert};
use super::fault::Fault;
use super::keys::{HEADER_BYTES, Suite};
use super::records::Records;
use super::secrets::{Secrets, gather};

/// The bytes of a plain record (RFC 8446 5.1), which is longest in a handshake of TLS 1.2.
const RECORD_BYTES_MAX: usize = HEADER_BYTES + (1 << 14) + 2048;

/// Bytes of a client that wait to become a message: more than its longest message, a chain of certificates, needs.
const INPUT_BYTES_MAX: usize = 96 * 1024;

/// A handshake under way. See the module.
pub(super) struct Handshake {
    rustls: UnbufferedServerConnection,
    secrets: Secrets,
    /// Bytes of the client that rustls has not discarded.
    input: Vec<u8>,
    /// The number of bytes of `input` that rustls was shown.
    shown: usize,
    /// rustls was shown something.
    has_begun: bool,
    /// The number of the settings.
    generation: u64,
}

/// The state of a handshake after a step.
#[derive(Debug)]
pub(super) enum Step {
    /// The handshake needs more bytes of the client.
    Blocked,
    /// The handshake is over.
    Done,
}

/// The outcome of a handshake.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) established: Established,
    /// The bytes of the client that came behind the handshake.
    pub(super) behind: Vec<u8>,
    /// The certificate that the client has shown, if it was asked for one.
    pub(super) client: Option<ClientCertificate>,
}

/// The layer of a session whose handshake is over.
#[derive(Debug)]
pub(super) enum Established {
    Records(Box<Records>),
    Connection(Box<Connection<UnbufferedServerConnection>>),
}

impl Handshake {
    /// Makes the server's end of a handshake by the settings of this number.
    pub(super) fn new(config: Arc<ServerConfig>, generation: u64) -> Result<Self, Fault> {
        let rustls = UnbufferedServerConnection::new(config).map_err(Fault::Handshake)?;
        Ok(Self { rustls, secrets: Secrets::default(), input: Vec::new(), shown: 0, has_begun: false, generation })
    }

    /// Adds bytes of the client.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns whether a step can be taken: a whole record has arrived, or bytes that cannot become one.
    pub(super) fn is_ready(&self) -> bool {
        self.next_record().is_some()
    }

    /// Returns whether a record of the client was handled.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Returns whether the client's first byte is a letter of a request's method: no record begins with it.
    pub(super) fn has_http(&self) -> bool {
        !self.has_begun && self.input.first().is_some_and(u8::is_ascii_uppercase)
    }

    /// Shows rustls the records that have arrived, and appends its answers to `answer`. After a fault, these end with
    /// an alert.
    pub(super) fn step(&mut self, answer: &mut Vec<u8>) -> Result<Step, Fault> {
        // rustls keeps the fragments of a message, with all of their padding, until the message is whole.
        if self.input.len() > INPUT_BYTES_MAX {
            return Err(Fault::Flood);
        }
        while let Some(end) = self.next_record() {
            self.shown = end;
            self.has_begun = true;
            if self.show(answer)? {
                return Ok(Step::Done);
            }
        }
        Ok(Step::Blocked)
    }

    /// Ends the handshake.
    pub(super) fn finish(self) -> Result<Finished, Fault> {
        let Self { rustls, secrets, input: mut behind, generation, .. } = self;
        behind.shrink_to_fit();
        let client = rustls.peer_certificates().and_then(|chain| chain.first());
        let client = client.map(|der| ClientCertificate::verified(der, generation));
        let suite = rustls.negotiated_cipher_suite().and_then(|suite| Suite::of(suite.suite()));
        let Some(suite) = suite.filter(|_| !secrets.client.is_empty() && !secrets.server.is_empty()) else {
            let established = Established::Connection(Box::new(Connection::new(rustls)));
            return Ok(Finished { established, behind, client });
        };
        let (numbers, _) = rustls.dangerous_into_kernel_connection().map_err(Fault::Handshake)?;
        let (rx, tx) = ((numbers.rx.0, &secrets.client[..]), (numbers.tx.0, &secrets.server[..]));
        let records = Records::new(suite, rx, tx).ok_or(Fault::Crypto)?;
        Ok(Finished { established: Established::Records(Box::new(records)), behind, client })
    }

    /// Returns the end of the first record that rustls was not shown, if it is there whole. Bytes that are no record
    /// are shown as they are, and rustls says so.
    fn next_record(&self) -> Option<usize> {
        let new = self.input.get(self.shown..).filter(|new| !new.is_empty())?;
        let is_kind = (20..=24).contains(&new[0]);
        let is_version = new.get(1).is_none_or(|major| *major == 3);
        let Some(header) = new.first_chunk::<HEADER_BYTES>() else {
            return Some(self.input.len()).filter(|_| !is_kind || !is_version);
        };
        let end = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
        match is_kind && is_version && end <= RECORD_BYTES_MAX {
            true if new.len() < end => None,
            true => Some(self.shown + end),
            false => Some(self.input.len()),
        }
    }

    /// Shows rustls the input up to the end of a record. Returns whether the handshake is over.
    fn show(&mut self, answer: &mut Vec<u8>) -> Result<bool, Fault> {
        loop {
            let input = &mut self.input[..self.shown];
            let UnbufferedStatus { discard, state } =
                gather(&mut self.secrets, || self.rustls.process_tls_records(input));
            let progress = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(answer, |room| data.encode(room));
                    Progress::More
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Progress::Sent
                }
                Ok(ConnectionState::BlockedHandshake) => Progress::Blocked,
                Ok(ConnectionState::WriteTraffic(_)) => Progress::Done,
                // Nothing was shown behind the handshake; an end before it is none in order.
                Ok(_) => Progress::Ended,
                Err(error) => {
                    take_alert(&mut self.rustls, &mut self.input[discard..self.shown], answer);
                    return Err(Fault::Handshake(error));
                }
            };
            self.input.drain(..discard);
            self.shown -= discard;
            match progress {
                Progress::More => {}
                Progress::Sent if self.rustls.is_handshaking() => {}
                // The tickets are sent, and rustls must not be asked again, because it would read on.
                Progress::Sent | Progress::Done => return Ok(true),
                Progress::Blocked => return Ok(false),
                Progress::Ended => return Err(Fault::Unexpected),
            }
        }
    }
}

/// The state of rustls after it was shown a record.
enum Progress {
    More,
    Sent,
    Blocked,
    Done,
    Ended,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("input", &self.input.len()).finish_non_exhaustive()
    }
}
