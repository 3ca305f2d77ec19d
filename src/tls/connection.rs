//! A session that stays with rustls for its whole life: TLS 1.2, TLS 1.3 if the configuration says so, and every
//! session of a client.
//!
//! Bytes in, bytes out. Invariant: every call shows rustls the kept bytes at the front of the input, because it
//! remembers places in them.

use std::fmt;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};

use super::fault::Fault;
use super::records::{CONTENT_BYTES_MAX, Opened};

/// Bytes by which the records of either version are longer than their content, and a KeyUpdate before them.
const RECORD_OVERHEAD_BYTES_MAX: usize = 256;

/// Bytes that wait for their rest: a record and some short messages. A server's session is sent no longer ones, and a
/// client's needs a chain of certificates.
const KEPT_BYTES_MAX: usize = 96 * 1024;

/// An end of a connection of rustls.
pub(super) trait Rustls {
    /// The end.
    type End;

    /// Returns whether rustls has queued something to send.
    fn has_queued(&self) -> bool;

    /// Shows rustls input, and returns what is to be done.
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::End>;
}

impl Rustls for UnbufferedServerConnection {
    type End = ServerConnectionData;

    fn has_queued(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::End> {
        self.process_tls_records(input)
    }
}

impl Rustls for UnbufferedClientConnection {
    type End = ClientConnectionData;

    fn has_queued(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::End> {
        self.process_tls_records(input)
    }
}

/// See the module.
pub(super) struct Connection<R> {
    rustls: R,
    /// The beginning of a record, or of a message that is split over records.
    kept: Vec<u8>,
    /// The number of kept bytes that rustls was shown. Those behind came with the handshake.
    shown: usize,
    is_closed: bool,
    state: State,
}

/// The state of this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// This end has sent close_notify, after which rustls must not be shown anything that it would refuse.
    Closed,
    Failed,
}

impl<R: Rustls> Connection<R> {
    /// Takes over a connection. That of a server has shaken hands; that of a client does so in [`Connection::open`].
    pub(super) fn new(rustls: R) -> Self {
        Self { rustls, kept: Vec::new(), shown: 0, is_closed: false, state: State::Open }
    }

    /// Returns the connection of rustls.
    pub(super) fn rustls(&self) -> &R {
        &self.rustls
    }

    /// Keeps what came with the end of the handshake.
    pub(super) fn keep_unopened(&mut self, bytes: &[u8]) {
        self.kept = bytes.to_vec();
    }

    /// Returns whether nothing has tried to open the kept bytes.
    pub(super) fn has_unopened(&self) -> bool {
        self.shown < self.kept.len()
    }

    /// Returns the kept bytes.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Returns whether the peer has ended its stream in order.
    pub(super) fn is_peer_closed(&self) -> bool {
        self.is_closed
    }

    /// Opens the records in `buffer`, which begins with the kept bytes, and puts their plaintext at its front. What
    /// rustls answers by itself is appended to `answer`, in particular the alert of a fault.
    pub(super) fn open(&mut self, buffer: &mut [u8], answer: &mut Vec<u8>) -> Result<Opened, Fault> {
        match self.state {
            State::Open => {}
            State::Closed => {
                // Nobody waits for it.
                self.kept = Vec::new();
                self.shown = 0;
                return Ok(Opened::default());
            }
            State::Failed => return Err(Fault::Unexpected),
        }
        let mut plaintext = Vec::new();
        let mut consumed = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.rustls.process(&mut buffer[consumed..]);
            let is_over = match state {
                Ok(state) => take(state, &mut plaintext, answer, &mut self.is_closed),
                Err(error) => {
                    self.state = State::Failed;
                    take_alert(&mut self.rustls, &mut buffer[consumed + discard..], answer);
                    return Err(Fault::Handshake(error));
                }
            };
            consumed += discard;
            if is_over {
                break;
            }
        }
        // Bytes behind close_notify are ignored.
        self.kept = if self.is_closed { Vec::new() } else { buffer[consumed..].to_vec() };
        self.shown = self.kept.len();
        if self.kept.len() > KEPT_BYTES_MAX {
            self.state = State::Failed;
            return Err(Fault::Flood);
        }
        // A record is longer than its content.
        let front = buffer.get_mut(..plaintext.len()).ok_or(Fault::Crypto)?;
        front.copy_from_slice(&plaintext);
        Ok(Opened { plaintext: plaintext.len(), is_closed: self.is_closed })
    }

    /// Seals the content of `parts` in records, and appends them to `sealed`.
    pub(super) fn seal<'p>(
        &mut self,
        parts: impl Iterator<Item = &'p [u8]>,
        sealed: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut content = Vec::with_capacity(CONTENT_BYTES_MAX);
        for mut part in parts {
            while !part.is_empty() {
                let (now, later) = part.split_at(part.len().min(CONTENT_BYTES_MAX - content.len()));
                content.extend_from_slice(now);
                part = later;
                if content.len() == CONTENT_BYTES_MAX {
                    self.seal_record(&content, sealed)?;
                    content.clear();
                }
            }
        }
        if content.is_empty() { Ok(()) } else { self.seal_record(&content, sealed) }
    }

    /// Appends close_notify.
    pub(super) fn close(&mut self, sealed: &mut Vec<u8>) -> Result<(), Fault> {
        self.write(sealed, RECORD_OVERHEAD_BYTES_MAX, |traffic, room| traffic.queue_close_notify(room))?;
        self.state = State::Closed;
        Ok(())
    }

    fn seal_record(&mut self, content: &[u8], sealed: &mut Vec<u8>) -> Result<(), Fault> {
        self.write(sealed, content.len() + RECORD_OVERHEAD_BYTES_MAX, |traffic, room| traffic.encrypt(content, room))
    }

    fn write(
        &mut self,
        sealed: &mut Vec<u8>,
        room: usize,
        write: impl FnOnce(&mut WriteTraffic<'_, R::End>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Fault> {
        if self.state != State::Open {
            return Err(Fault::Unexpected);
        }
        loop {
            // Nothing new is shown, so that nothing is opened here.
            let UnbufferedStatus { state, .. } = self.rustls.process(&mut self.kept[..self.shown]);
            let state = state.map_err(|error| {
                self.state = State::Failed;
                Fault::Handshake(error)
            });
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let start = sealed.len();
                    sealed.resize(start + room, 0);
                    let written = write(&mut traffic, &mut sealed[start..]);
                    sealed.truncate(start + *written.as_ref().unwrap_or(&0));
                    return written.map(|_| ()).map_err(|_| Fault::Crypto);
                }
                ConnectionState::Closed => return Ok(()),
                ConnectionState::BlockedHandshake => return Err(Fault::Unexpected),
                state => {
                    take(state, &mut Vec::new(), sealed, &mut self.is_closed);
                }
            }
        }
    }
}

impl<R> fmt::Debug for Connection<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

/// Handles a state of rustls. Returns whether it has nothing more to do with its input.
fn take<End>(
    state: ConnectionState<'_, '_, End>,
    plaintext: &mut Vec<u8>,
    answer: &mut Vec<u8>,
    is_closed: &mut bool,
) -> bool {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(Ok(record)) = traffic.next_record() {
                plaintext.extend_from_slice(record.payload);
            }
        }
        ConnectionState::EncodeTlsData(mut data) => encode(answer, |room| data.encode(room)),
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::PeerClosed => *is_closed = true,
        // Early data is never accepted.
        _ => return true,
    }
    false
}

/// Appends a message that rustls has queued.
pub(super) fn encode(answer: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = answer.len();
    let written = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => {
            answer.resize(start + size.required_size, 0);
            encode(&mut answer[start..])
        }
        written => written,
    };
    answer.truncate(start + written.unwrap_or(0));
}

/// Appends the alert that rustls has queued for an error. It must not be called again afterwards.
pub(super) fn take_alert<R: Rustls>(rustls: &mut R, input: &mut [u8], answer: &mut Vec<u8>) {
    // The queue is emptied before any input is looked at. Once it is empty, the same error would come again.
    while rustls.has_queued() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = rustls.process(input).state else { return };
        encode(answer, |room| data.encode(room));
    }
}
