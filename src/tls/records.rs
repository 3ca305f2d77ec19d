//! The record layer of an open TLS 1.3 session: what rustls' connection would keep 3,500 bytes for, in 224.
//!
//! Bytes in, bytes out: performs no I/O, reads no clock, takes part in no handshake. It keeps the rules of RFC 8446 for
//! an open session, and rustls, which keeps them too, is its oracle in tests. Invariant: records are sealed in the order
//! in which they are sent, and after a fault nothing is opened any more.

use super::fault::{Alert, Fault};
use super::keys::{HEADER_BYTES, Keys, Suite, TAG_BYTES};

/// The bytes of content in a record (RFC 8446 5.1).
pub(super) const CONTENT_BYTES_MAX: usize = 1 << 14;

/// The bytes of a sealed record behind its header: content, type, padding, tag (RFC 8446 5.2).
pub(super) const SEALED_BYTES_MAX: usize = CONTENT_BYTES_MAX + 256;

/// The bytes that sealing adds to the content of a record: header, type and tag.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;

/// Empty records in a row. rustls and BoringSSL allow as many.
const EMPTY_RECORDS_MAX: u8 = 32;

/// Key updates without data in between. rustls and BoringSSL allow as many.
const KEY_UPDATES_MAX: u8 = 32;

/// Alerts user_canceled, which mean nothing. rustls and BoringSSL allow as many.
const WARNINGS_MAX: u8 = 4;

/// The bytes of a KeyUpdate message (RFC 8446 4.6.3): its type, a length of 1, and a request.
const KEY_UPDATE_BYTES: usize = 5;

/// The first byte of a record's version, in every version of TLS.
const VERSION_MAJOR: u8 = 3;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;
const KEY_UPDATE: u8 = 24;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

/// The record layer of an open session. See the module.
#[derive(Debug)]
pub(super) struct Records {
    rx: Keys,
    tx: Keys,
    suite: Suite,
    state: State,
    /// The peer has requested a KeyUpdate, which goes out before the next record.
    update_requested: bool,
    /// The kept bytes came with the end of the handshake, and nothing has tried to open them.
    has_unopened: bool,
    empty_records: u8,
    key_updates: u8,
    warnings: u8,
    /// Bytes whose rest has not arrived: there for a moment in a busy session, and not in an idle one.
    rest: Option<Box<Rest>>,
}

/// Bytes whose rest has not arrived.
#[derive(Debug, Default)]
struct Rest {
    /// The beginning of a record.
    record: Vec<u8>,
    /// The beginning of a KeyUpdate message, opened.
    message: Vec<u8>,
}

const _: () = assert!(size_of::<Records>() <= 224, "an idle session keeps one");

/// The state of the stream from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The peer has sent close_notify: later records are ignored (RFC 8446 6.1).
    PeerClosed,
    Failed,
}

/// The result of opening records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of plaintext, at the beginning of the buffer.
    pub plaintext: usize,
    /// The peer has ended its stream in order.
    pub is_closed: bool,
}

/// The head of a record, and how long the record is.
struct Head {
    bytes: [u8; HEADER_BYTES],
    kind: u8,
    sealed_bytes: usize,
}

impl Records {
    /// Takes over an open session: its suite, the traffic secrets of client and server, and the numbers of the next
    /// records in either direction. Returns `None` if a secret does not have the length of the suite's hash.
    pub(super) fn new(suite: Suite, rx: (u64, &[u8]), tx: (u64, &[u8])) -> Option<Self> {
        Some(Self {
            rx: Keys::new(suite, rx.1, rx.0)?,
            tx: Keys::new(suite, tx.1, tx.0)?,
            suite,
            state: State::Open,
            update_requested: false,
            has_unopened: false,
            empty_records: 0,
            key_updates: 0,
            warnings: 0,
            rest: None,
        })
    }

    /// Keeps what came with the end of the handshake.
    pub(super) fn keep_unopened(&mut self, records: &[u8]) {
        self.has_unopened = !records.is_empty();
        self.keep(records);
    }

    /// Returns whether nothing has tried to open the kept bytes.
    pub(super) fn has_unopened(&self) -> bool {
        self.has_unopened
    }

    /// Keeps the beginning of a record until its rest arrives.
    fn keep(&mut self, record: &[u8]) {
        if !record.is_empty() {
            self.rest.get_or_insert_default().record = record.to_vec();
        }
    }

    /// Returns the kept bytes: the beginning of a record.
    pub(super) fn kept(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], |rest| &rest.record)
    }

    /// Returns whether the peer has ended its stream in order.
    #[inline]
    pub(super) fn is_peer_closed(&self) -> bool {
        self.state == State::PeerClosed
    }

    /// Opens the whole records in `buffer`, which begins with the kept bytes, in place. Gathers their plaintext at its
    /// front, and keeps the beginning of a record at its end. After a fault, the plaintext before it is lost, since the
    /// session ends.
    pub(super) fn open(&mut self, buffer: &mut [u8]) -> Result<Opened, Fault> {
        self.has_unopened = false;
        if let Some(rest) = &mut self.rest {
            rest.record = Vec::new();
        }
        let opened = self.open_all(buffer);
        match opened {
            Ok((plaintext, consumed)) => {
                self.keep(&buffer[consumed..]);
                if self.rest.as_ref().is_some_and(|rest| rest.record.is_empty() && rest.message.is_empty()) {
                    self.rest = None;
                }
                Ok(Opened { plaintext, is_closed: self.state == State::PeerClosed })
            }
            Err(fault) => {
                self.state = State::Failed;
                Err(fault)
            }
        }
    }

    /// Returns the number of bytes of plaintext, and of those consumed.
    fn open_all(&mut self, buffer: &mut [u8]) -> Result<(usize, usize), Fault> {
        let (mut plaintext, mut consumed) = (0, 0);
        while self.state == State::Open {
            let Some(head) = parse_head(&buffer[consumed..])? else { return Ok((plaintext, consumed)) };
            let end = consumed + HEADER_BYTES + head.sealed_bytes;
            if end > buffer.len() {
                return Ok((plaintext, consumed));
            }
            match head.kind {
                APPLICATION_DATA => {}
                CHANGE_CIPHER_SPEC => return Err(Fault::Unexpected),
                // A record that is sealed has no other type outside (RFC 8446 5.2).
                _ => return Err(Fault::BadRecord),
            }
            let record = &mut buffer[plaintext..end];
            let at = consumed + HEADER_BYTES - plaintext;
            let count = self.rx.open(self.suite, head.bytes, record, at).ok_or(Fault::BadRecord)?;
            plaintext += self.take_content(&record[..count])?;
            consumed = end;
        }
        match self.state {
            State::Failed => Err(Fault::Unexpected),
            // Bytes behind close_notify are ignored.
            _ => Ok((plaintext, buffer.len())),
        }
    }

    /// Handles an opened record, and returns how many bytes of application data it has.
    fn take_content(&mut self, inner: &[u8]) -> Result<usize, Fault> {
        if inner.len() > CONTENT_BYTES_MAX + 1 {
            return Err(Fault::RecordTooLong);
        }
        // The type is the last byte that is not zero (RFC 8446 5.4).
        let end = last_nonzero(inner).ok_or(Fault::Unexpected)?;
        let (content, kind) = (&inner[..end], inner[end]);
        if content.len() > CONTENT_BYTES_MAX {
            return Err(Fault::RecordTooLong);
        }
        // A message that is split over records has no other record between them (RFC 8446 5.1).
        if kind != HANDSHAKE && self.rest.as_ref().is_some_and(|rest| !rest.message.is_empty()) {
            return Err(Fault::Unexpected);
        }
        if content.is_empty() {
            self.empty_records += 1;
            if self.empty_records > EMPTY_RECORDS_MAX {
                return Err(Fault::Flood);
            }
        }
        match kind {
            // Data alone starts the counts anew, so that floods of different kinds do not excuse each other.
            APPLICATION_DATA if !content.is_empty() => {
                (self.empty_records, self.key_updates) = (0, 0);
                return Ok(content.len());
            }
            APPLICATION_DATA => {}
            HANDSHAKE => self.take_handshake(content)?,
            ALERT => self.take_alert(content)?,
            CHANGE_CIPHER_SPEC => return Err(Fault::Unexpected),
            _ => return Err(Fault::Malformed),
        }
        Ok(0)
    }

    /// Handles messages of a handshake: only KeyUpdate is allowed, alone in its record, since the keys change behind it.
    fn take_handshake(&mut self, content: &[u8]) -> Result<(), Fault> {
        let mut message = self.rest.as_mut().map_or_else(Vec::new, |rest| std::mem::take(&mut rest.message));
        message.extend_from_slice(&content[..content.len().min(KEY_UPDATE_BYTES)]);
        match message[..] {
            [] => Ok(()),
            [KEY_UPDATE, 0, 0, 1, request] if content.len() <= KEY_UPDATE_BYTES => self.update_rx(request),
            [kind, ..] if kind != KEY_UPDATE => Err(Fault::Unexpected),
            [_, ref length @ ..] if !length.iter().zip([0, 0, 1]).all(|(byte, right)| *byte == right) => {
                Err(Fault::Malformed)
            }
            _ if message.len() < KEY_UPDATE_BYTES => {
                self.rest.get_or_insert_default().message = message;
                Ok(())
            }
            // More follows the message.
            _ => Err(Fault::Unexpected),
        }
    }

    fn update_rx(&mut self, request: u8) -> Result<(), Fault> {
        self.key_updates += 1;
        if self.key_updates > KEY_UPDATES_MAX {
            return Err(Fault::Flood);
        }
        match request {
            0 => {}
            // Several requests are answered by one update.
            1 => self.update_requested = true,
            _ => return Err(Fault::IllegalValue),
        }
        self.rx.update(self.suite).map_err(|_| Fault::Crypto)
    }

    fn take_alert(&mut self, content: &[u8]) -> Result<(), Fault> {
        let [level, description] = content[..] else { return Err(Fault::Malformed) };
        match (level, description) {
            (1 | 2, CLOSE_NOTIFY) => {
                self.state = State::PeerClosed;
                Ok(())
            }
            (1, USER_CANCELED) => {
                self.warnings += 1;
                if self.warnings > WARNINGS_MAX { Err(Fault::Flood) } else { Ok(()) }
            }
            // TLS 1.3 has no other warnings (RFC 8446 6).
            (1, _) => Err(Fault::Malformed),
            (2, _) => Err(Fault::PeerAlert(description)),
            _ => Err(Fault::IllegalValue),
        }
    }

    /// Seals the content of `parts` in records as large as possible, and appends them to `sealed`.
    pub(super) fn seal<'p>(
        &mut self,
        parts: impl Iterator<Item = &'p [u8]>,
        sealed: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut begun = None;
        for mut part in parts {
            while !part.is_empty() {
                let start = match begun {
                    Some(start) => start,
                    None => self.begin_record(sealed)?,
                };
                let room = CONTENT_BYTES_MAX - (sealed.len() - start - HEADER_BYTES);
                let (now, later) = part.split_at(part.len().min(room));
                sealed.extend_from_slice(now);
                begun = Some(start);
                if now.len() == room {
                    self.end_record(APPLICATION_DATA, sealed, start)?;
                    begun = None;
                }
                part = later;
            }
        }
        match begun {
            Some(start) => self.end_record(APPLICATION_DATA, sealed, start),
            None => Ok(()),
        }
    }

    /// Appends an alert: close_notify before the end of our stream, or the reason of a failure.
    pub(super) fn seal_alert(&mut self, alert: Alert, sealed: &mut Vec<u8>) -> Result<(), Fault> {
        self.seal_message(ALERT, &alert.bytes(), sealed)
    }

    /// Appends a KeyUpdate first if one is due, and the header of a record. Returns the index of the record.
    fn begin_record(&mut self, sealed: &mut Vec<u8>) -> Result<usize, Fault> {
        if self.update_requested || self.tx.number() >= self.suite.records_max() {
            self.update_requested = false;
            let start = sealed.len();
            sealed.extend_from_slice(&[0; HEADER_BYTES]);
            sealed.extend_from_slice(&[KEY_UPDATE, 0, 0, 1, 0]);
            self.end_record(HANDSHAKE, sealed, start)?;
            self.tx.update(self.suite).map_err(|_| Fault::Crypto)?;
        }
        let start = sealed.len();
        sealed.extend_from_slice(&[0; HEADER_BYTES]);
        Ok(start)
    }

    /// Seals the record that begins at `start`.
    fn end_record(&mut self, kind: u8, sealed: &mut Vec<u8>, start: usize) -> Result<(), Fault> {
        sealed.push(kind);
        let bytes = sealed.len() - start - HEADER_BYTES + TAG_BYTES;
        let [high, low] = (bytes as u16).to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, high, low];
        sealed[start..start + HEADER_BYTES].copy_from_slice(&header);
        self.tx.seal(self.suite, header, sealed, start + HEADER_BYTES).map_err(|_| Fault::Crypto)
    }

    fn seal_message(&mut self, kind: u8, content: &[u8], sealed: &mut Vec<u8>) -> Result<(), Fault> {
        let start = self.begin_record(sealed)?;
        sealed.extend_from_slice(content);
        self.end_record(kind, sealed, start)
    }
}

/// Returns the head of a record, or `None` if more bytes are needed. Bytes that are no record are refused by the first
/// that shows it.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let kind = bytes.first().copied().unwrap_or(APPLICATION_DATA);
    let major = bytes.get(1).copied().unwrap_or(VERSION_MAJOR);
    if !(CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&kind) || major != VERSION_MAJOR {
        return Err(Fault::Malformed);
    }
    let Some(&bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let sealed_bytes = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    if sealed_bytes > SEALED_BYTES_MAX {
        return Err(Fault::RecordTooLong);
    }
    if sealed_bytes == 0 && kind != APPLICATION_DATA {
        return Err(Fault::Malformed);
    }
    Ok(Some(Head { bytes, kind, sealed_bytes }))
}

/// Returns the index of the last byte that is not zero.
fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte != 0)
}
