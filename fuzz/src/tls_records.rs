//! Records of an open session of TLS 1.3: any bytes, and anything that the peer may seal.
//!
//! Rules: plaintext is what the peer sealed as data, in order and once, and nothing else; a record that breaks a rule
//! of RFC 8446 (4.6.3, 5 or 6) ends the session with the fault and the alert of that rule, and nothing is opened after
//! it; the cuts between reads change nothing; the peer can open what the session seals, and a KeyUpdate that is due
//! goes first.

use std::iter;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, KeyType, Prk};
use ringsock::tls::{Fault, Session};

use crate::input::{Input, Split, every_byte};

/// Bytes of a stream: some of the largest records.
const STREAM_BYTES_MAX: usize = 100_000;

const CONTENT_BYTES_MAX: usize = 1 << 14;
const SEALED_BYTES_MAX: usize = CONTENT_BYTES_MAX + 256;
const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;

/// Empty records, and key updates without data in between.
const IN_A_ROW_MAX: u32 = 32;
const WARNINGS_MAX: u32 = 4;

/// The records that the session seals with one key of AES.
const RECORDS_MAX: u64 = 1 << 23;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const KEY_UPDATE: u8 = 24;

/// Checks an input.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let suite = input.choose(&[Suite::Aes128, Suite::Aes256, Suite::ChaCha20]);
    let number = input.choose(&[0, 1, RECORDS_MAX - 2, RECORDS_MAX]);
    let split = Split::new(&mut input);
    let mut peer = Peer::new(suite, number);
    while !input.is_empty() && peer.stream_bytes < STREAM_BYTES_MAX {
        peer.act(&mut input);
    }
    let cuts: [&dyn Fn(usize) -> Vec<usize>; 3] = [&|_| Vec::new(), &|length| split.cuts(length), &every_byte];
    for cuts in cuts {
        let session = Session::of_secrets(suite.number(), (0, &suite.secret(b'c')), (number, &suite.secret(b's')));
        let reading = read(session.expect("the secrets are long enough"), &peer.script, cuts);
        peer.judge(&reading, Keys::new(suite, suite.secret(b's'), number));
    }
}

/// A cipher suite of TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Suite {
    Aes128,
    Aes256,
    ChaCha20,
}

impl Suite {
    fn number(self) -> u16 {
        match self {
            Self::Aes128 => 0x1301,
            Self::Aes256 => 0x1302,
            Self::ChaCha20 => 0x1303,
        }
    }

    fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128 => &aead::AES_128_GCM,
            Self::Aes256 => &aead::AES_256_GCM,
            Self::ChaCha20 => &aead::CHACHA20_POLY1305,
        }
    }

    fn hkdf(self) -> hkdf::Algorithm {
        if self == Self::Aes256 { hkdf::HKDF_SHA384 } else { hkdf::HKDF_SHA256 }
    }

    /// Returns a traffic secret.
    fn secret(self, byte: u8) -> Vec<u8> {
        vec![byte; self.hkdf().len()]
    }
}

/// The keys of one direction, derived by a plain reading of RFC 8446 7.
struct Keys {
    suite: Suite,
    secret: Vec<u8>,
    key: LessSafeKey,
    iv: Vec<u8>,
    number: u64,
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(suite: Suite, secret: &[u8], label: &str, bytes: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let mut output = vec![0; bytes];
    let info: [&[u8]; 4] = [&(bytes as u16).to_be_bytes(), &[label.len() as u8], label.as_bytes(), &[0]];
    let prk = Prk::new_less_safe(suite.hkdf(), secret);
    prk.expand(&info, Bytes(bytes)).and_then(|okm| okm.fill(&mut output)).expect("HKDF gives that much");
    output
}

impl Keys {
    fn new(suite: Suite, secret: Vec<u8>, number: u64) -> Self {
        let key = expand(suite, &secret, "key", suite.aead().key_len());
        let key = UnboundKey::new(suite.aead(), &key).expect("the key has the length of the cipher");
        let iv = expand(suite, &secret, "iv", 12);
        Self { suite, secret, key: LessSafeKey::new(key), iv, number }
    }

    fn update(&mut self) {
        let next = expand(self.suite, &self.secret, "traffic upd", self.secret.len());
        *self = Self::new(self.suite, next, 0);
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        for (byte, iv) in nonce.iter_mut().zip(&self.iv) {
            *byte ^= iv;
        }
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Returns a record whose header has this type and minor version.
    fn seal(&mut self, (kind, minor): (u8, u8), inner: &[u8]) -> Vec<u8> {
        let [high, low] = ((inner.len() + TAG_BYTES) as u16).to_be_bytes();
        let header = [kind, 3, minor, high, low];
        let mut sealed = inner.to_vec();
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed).expect("it seals");
        [&header[..], &sealed].concat()
    }

    /// Opens a record at the front of some bytes: its type, its content, and the bytes behind it.
    fn open<'b>(&mut self, bytes: &'b [u8]) -> (u8, Vec<u8>, &'b [u8]) {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().expect("it begins with a header");
        let (sealed, rest) = rest.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
        let mut inner = sealed.to_vec();
        let nonce = self.nonce();
        let opened = self.key.open_in_place(nonce, Aad::from(*header), &mut inner).expect("the peer can open it");
        let (kind, content) = opened.split_last().expect("it has a type, and no padding");
        (*kind, content.to_vec(), rest)
    }
}

/// A part of what happens to a session.
enum Step {
    /// Bytes of the peer.
    Bytes(Vec<u8>),
    /// The session seals so many bytes.
    Seal(usize),
}

/// The end of the peer's stream, as a model of the rules says.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Open,
    Closed,
    Fault(Fault),
    /// Bytes that nobody has sealed stand in the stream: nothing behind them may be opened.
    Forged,
}

/// The peer of a session, which writes its stream, and the model of what the session makes of it.
struct Peer {
    suite: Suite,
    tx: Keys,
    script: Vec<Step>,
    stream_bytes: usize,
    last: Vec<u8>,
    end: End,
    plaintext: Vec<u8>,
    /// The beginning of a message.
    message: Vec<u8>,
    empty_records: u32,
    key_updates: u32,
    warnings: u32,
    /// The number of the session's next record.
    number: u64,
    is_update_requested: bool,
    /// The records that the session seals.
    answers: Vec<(u8, Vec<u8>)>,
}

impl Peer {
    fn new(suite: Suite, number: u64) -> Self {
        Self {
            suite,
            tx: Keys::new(suite, suite.secret(b'c'), 0),
            script: Vec::new(),
            stream_bytes: 0,
            last: Vec::new(),
            end: End::Open,
            plaintext: Vec::new(),
            message: Vec::new(),
            empty_records: 0,
            key_updates: 0,
            warnings: 0,
            number,
            is_update_requested: false,
            answers: Vec::new(),
        }
    }

    /// Does what an input says.
    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() % 11 {
            0 => self.record(DATA, input.short(), 0),
            1 => {
                let (kind, padding) = (input.byte(), usize::from(input.number()) % SEALED_BYTES_MAX);
                self.record(kind, input.short(), padding);
            }
            2 => self.record(DATA, &vec![b'x'; usize::from(input.number()) % (SEALED_BYTES_MAX + 20)], 0),
            3 => {
                let message = [KEY_UPDATE, 0, 0, 1, input.byte() & 1];
                let (first, second) = message.split_at(usize::from(input.byte() % 5));
                for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                    self.record(HANDSHAKE, part, 0);
                }
            }
            4 => (0..=input.byte() % 40).for_each(|_| self.record(DATA, &[], 0)),
            5 => (0..=input.byte() % 40).for_each(|_| self.record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], 0)),
            6 => {
                let bytes = input.short();
                if !bytes.is_empty() {
                    self.forge(bytes, End::Forged);
                }
            }
            7 => {
                let mut record = self.tx.seal((DATA, 3), &[input.short(), &[DATA]].concat());
                let at = usize::from(input.number()) % record.len();
                record[at] ^= 1 << (input.byte() & 7);
                let is_in_header = at < HEADER_BYTES;
                self.forge(&record, if is_in_header { End::Forged } else { End::Fault(Fault::BadRecord) });
            }
            8 if !self.last.is_empty() => self.forge(&self.last.clone(), End::Fault(Fault::BadRecord)),
            8 => {}
            9 => {
                let (kind, minor) = (input.choose(&[ALERT, HANDSHAKE, DATA, 24]), input.byte());
                let record = self.tx.seal((kind, minor), &[b'o', DATA]);
                match kind {
                    // The version is ignored (RFC 8446 5.1), and the type is not (5.2).
                    DATA => self.sealed(record, DATA, b"o"),
                    _ => self.forge(&record, End::Fault(Fault::BadRecord)),
                }
            }
            _ => self.seal(usize::from(input.number())),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream_bytes += bytes.len();
        match self.script.last_mut() {
            Some(Step::Bytes(written)) => written.extend(bytes),
            _ => self.script.push(Step::Bytes(bytes.to_vec())),
        }
    }

    /// Writes bytes that end the session so, if it has not ended before.
    fn forge(&mut self, bytes: &[u8], end: End) {
        self.write(bytes);
        if self.end == End::Open {
            self.end = end;
        }
    }

    fn record(&mut self, kind: u8, content: &[u8], padding: usize) {
        let inner = [content, &[kind], &vec![0; padding]].concat();
        let record = self.tx.seal((DATA, 3), &inner);
        if record.len() > HEADER_BYTES + SEALED_BYTES_MAX {
            return self.forge(&record, End::Fault(Fault::RecordTooLong));
        }
        match inner.iter().rposition(|byte| *byte != 0) {
            _ if inner.len() > CONTENT_BYTES_MAX + 1 => self.forge(&record, End::Fault(Fault::RecordTooLong)),
            None => self.forge(&record, End::Fault(Fault::Unexpected)),
            // A type of 0 is padding, and the type stands before it.
            Some(end) => self.sealed(record, inner[end], &inner[..end]),
        }
    }

    /// Writes a record that opens to this.
    fn sealed(&mut self, record: Vec<u8>, kind: u8, content: &[u8]) {
        self.write(&record);
        self.last = record;
        if self.end == End::Open
            && let Err(fault) = self.receive(kind, content)
        {
            self.end = End::Fault(fault);
        }
    }

    /// The rules of a record's content.
    fn receive(&mut self, kind: u8, content: &[u8]) -> Result<(), Fault> {
        if !self.message.is_empty() && kind != HANDSHAKE {
            return Err(Fault::Unexpected);
        }
        self.empty_records += u32::from(content.is_empty());
        if self.empty_records > IN_A_ROW_MAX {
            return Err(Fault::Flood);
        }
        match (kind, content) {
            (DATA, []) => Ok(()),
            (DATA, _) => {
                (self.empty_records, self.key_updates) = (0, 0);
                self.plaintext.extend(content);
                Ok(())
            }
            (HANDSHAKE, _) => self.receive_message(content),
            (ALERT, [1 | 2, 0]) => {
                self.end = End::Closed;
                Ok(())
            }
            (ALERT, [1, 90]) if self.warnings < WARNINGS_MAX => {
                self.warnings += 1;
                Ok(())
            }
            (ALERT, [1, 90]) => Err(Fault::Flood),
            (ALERT, [2, description]) => Err(Fault::PeerAlert(*description)),
            (ALERT, [1, _]) => Err(Fault::Malformed),
            (ALERT, [_, _]) => Err(Fault::IllegalValue),
            (CHANGE_CIPHER_SPEC, _) => Err(Fault::Unexpected),
            _ => Err(Fault::Malformed),
        }
    }

    fn receive_message(&mut self, content: &[u8]) -> Result<(), Fault> {
        self.message.extend(content);
        let is_begun_well = self.message.iter().skip(1).zip([0, 0, 1]).all(|(byte, wanted)| *byte == wanted);
        match self.message[..] {
            [] => Ok(()),
            [kind, ..] if kind != KEY_UPDATE => Err(Fault::Unexpected),
            _ if !is_begun_well => Err(Fault::Malformed),
            [_, _, _, _, request] => {
                self.message.clear();
                self.key_updates += 1;
                if self.key_updates > IN_A_ROW_MAX {
                    return Err(Fault::Flood);
                }
                if request > 1 {
                    return Err(Fault::IllegalValue);
                }
                self.is_update_requested |= request == 1;
                self.tx.update();
                Ok(())
            }
            [_, _, _, _, _, _, ..] => Err(Fault::Unexpected),
            _ => Ok(()),
        }
    }

    /// Lets the session seal so many bytes.
    fn seal(&mut self, count: usize) {
        if count == 0 || !matches!(self.end, End::Open | End::Closed) {
            return;
        }
        self.script.push(Step::Seal(count));
        let mut rest = count;
        while rest > 0 {
            let now = rest.min(CONTENT_BYTES_MAX);
            self.answer(DATA, vec![b's'; now]);
            rest -= now;
        }
    }

    fn answer(&mut self, kind: u8, content: Vec<u8>) {
        if self.is_update_requested || (self.suite != Suite::ChaCha20 && self.number >= RECORDS_MAX) {
            self.is_update_requested = false;
            self.answers.push((HANDSHAKE, vec![KEY_UPDATE, 0, 0, 1, 0]));
            self.number = 0;
        }
        self.answers.push((kind, content));
        self.number += 1;
    }

    /// Compares what a session did with the model.
    fn judge(&self, reading: &Reading, mut rx: Keys) {
        let Reading { plaintext, is_closed, fault, sealed } = reading;
        assert!(self.plaintext.starts_with(plaintext), "{} bytes nobody has sealed so", plaintext.len());
        match &self.end {
            End::Open | End::Closed => {
                assert_eq!((plaintext.len(), fault), (self.plaintext.len(), &None));
                assert_eq!(*is_closed, self.end == End::Closed);
            }
            End::Fault(expected) => assert_eq!((fault.as_ref(), *is_closed), (Some(expected), false)),
            End::Forged => assert!(!is_closed),
        }
        let (mut records, mut rest) = (Vec::new(), &sealed[..]);
        while !rest.is_empty() {
            let (kind, content, behind) = rx.open(rest);
            if kind == HANDSHAKE {
                rx.update();
            }
            records.push((kind, content));
            rest = behind;
        }
        assert!(records.starts_with(&self.answers), "{records:?}");
        records.retain(|(kind, _)| *kind == ALERT);
        match fault.as_ref().and_then(alert) {
            Some(description) => assert_eq!(records, [(ALERT, vec![2, description])]),
            None => assert!(records.is_empty()),
        }
    }
}

/// Returns the alert for a fault (RFC 8446 6.2).
fn alert(fault: &Fault) -> Option<u8> {
    match fault {
        Fault::Unexpected | Fault::Flood => Some(10),
        Fault::BadRecord => Some(20),
        Fault::RecordTooLong => Some(22),
        Fault::IllegalValue => Some(47),
        Fault::Malformed => Some(50),
        Fault::PeerAlert(_) => None,
        other => panic!("no peer can cause {other:?}"),
    }
}

/// The acts of a session.
#[derive(Default)]
struct Reading {
    plaintext: Vec<u8>,
    is_closed: bool,
    fault: Option<Fault>,
    sealed: Vec<u8>,
}

fn read(mut session: Session, script: &[Step], cuts: &dyn Fn(usize) -> Vec<usize>) -> Reading {
    let mut reading = Reading::default();
    for step in script {
        match step {
            Step::Seal(count) => {
                let content = vec![b's'; *count];
                let (first, second) = content.split_at(count / 3);
                session.seal([first, second].into_iter(), &mut reading.sealed).expect("an open session seals");
            }
            Step::Bytes(bytes) => {
                let ends = cuts(bytes.len());
                for (from, to) in
                    iter::once(0).chain(ends.iter().copied()).zip(ends.iter().copied().chain([bytes.len()]))
                {
                    open(&mut session, &bytes[from..to], &mut reading);
                }
            }
        }
    }
    reading
}

fn open(session: &mut Session, bytes: &[u8], reading: &mut Reading) {
    let mut buffer = [session.kept(), bytes].concat();
    let mut answer = Vec::new();
    match session.open(&mut buffer, &mut answer) {
        Ok(opened) => {
            assert!(reading.fault.is_none(), "something was opened after a fault");
            assert!(session.kept().len() < HEADER_BYTES + SEALED_BYTES_MAX);
            reading.plaintext.extend(&buffer[..opened.plaintext]);
            reading.is_closed |= opened.is_closed;
            assert_eq!(session.is_peer_closed(), reading.is_closed);
        }
        Err(fault) if reading.fault.is_none() => {
            reading.sealed.extend(&answer);
            reading.fault = Some(fault);
        }
        // The session is over.
        Err(_) => {}
    }
}
