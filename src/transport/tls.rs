//! Transports that speak TLS: what is read was opened in place, and what is written is sealed as late as possible.
//!
//! Owns the TLS sessions of a core, and the buffer in which it seals. Decides nothing: not when a handshake has its
//! turn, and not which bytes are dropped. Invariant: sealed bytes are sent in the order in which they were sealed, so
//! what a socket did not take goes first.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;

use bytes::Bytes;

use super::plain::{Layer, Received, Stream, Transport};
use crate::reactor::{Chunks, Sockets, Token};
use crate::tls::{ClientCertificate, Fault, Progress, Session};

/// Bytes that are sealed at once: a socket that takes no more keeps this much sealed, which no policy can drop.
pub const SEALED_AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a read that has room for little: a whole record, since less than that opens to nothing.
const READ_BYTES_MIN: usize = 20 * 1024;

/// The result of [`Transport::receive_secure`].
#[derive(Debug)]
pub enum Opening {
    /// Sealed bytes came, and were opened.
    Plaintext {
        /// The number of bytes of plaintext at the beginning of the buffer, perhaps 0.
        count: usize,
        /// The number of sealed bytes that came.
        sealed_bytes: usize,
        /// Nothing more can be there now.
        is_all: bool,
    },
    /// The same as without TLS.
    Received(Received),
    /// Bytes of a handshake came, which are kept until [`TlsSessions::step`].
    Handshake {
        /// Nothing more can be there now.
        is_all: bool,
    },
    /// The session has failed. Its alert is in [`TlsSessions::take_answer`].
    Fault(Fault),
}

/// The TLS sessions of a core, each under the index of its connection. See the module.
#[derive(Default)]
pub struct TlsSessions {
    sessions: Vec<Option<Session>>,
    /// Plaintext for which a reader had no room, in reverse: almost never there.
    unread: HashMap<u32, Vec<u8>>,
    /// Sealed bytes that a session must send, because of what it received.
    answer: Vec<u8>,
    sealed: Vec<u8>,
    /// The end of `sealed` that the socket did not take, when a write has ended with it.
    unsent: usize,
    truncated: u64,
    /// Connections that speak TLS once a PROXY header has come.
    awaiting_header: HashSet<u32>,
    /// The certificates of clients that have shown one, until a WebSocket opens.
    certificates: HashMap<u32, ClientCertificate>,
}

impl TlsSessions {
    /// Returns how many streams of peers have ended without close_notify.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Stores the session of the connection at this index.
    pub fn insert(&mut self, index: u32, session: Session) {
        let index = index as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        self.sessions[index] = Some(session);
    }

    /// Records that a session begins at this index once a PROXY header has come.
    pub fn await_header(&mut self, index: u32) {
        self.awaiting_header.insert(index);
    }

    /// Returns whether a session begins at this index now that a PROXY header has come.
    pub fn take_awaiting_header(&mut self, index: u32) -> bool {
        !self.awaiting_header.is_empty() && self.awaiting_header.remove(&index)
    }

    /// Forgets the session at this index.
    #[inline(always)]
    pub fn remove(&mut self, index: u32) {
        if !self.sessions.is_empty() || !self.awaiting_header.is_empty() {
            self.remove_now(index);
        }
    }

    #[cold]
    #[inline(never)]
    fn remove_now(&mut self, index: u32) {
        self.take_awaiting_header(index);
        if let Some(session) = self.sessions.get_mut(index as usize)
            && session.take().is_some()
        {
            self.unread.remove(&index);
            self.forget_certificate(index);
        }
    }

    /// Returns the certificate that the client at this index has shown.
    pub fn certificate(&self, index: u32) -> Option<&ClientCertificate> {
        self.certificates.get(&index)
    }

    /// Forgets the certificate of the client at this index.
    pub fn forget_certificate(&mut self, index: u32) {
        if !self.certificates.is_empty() {
            self.certificates.remove(&index);
        }
    }

    /// Returns the session at this index.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut Session> {
        at(&mut self.sessions, index)
    }

    /// Begins the handshake of a client's session. Its first message is in [`TlsSessions::take_answer`].
    pub fn start(&mut self, index: u32) -> Result<(), Fault> {
        let Self { sessions, answer, .. } = self;
        match at(sessions, index) {
            Some(session) => session.open(&mut [], answer).map(|_| ()),
            None => Err(Fault::Crypto),
        }
    }

    /// Returns whether the handshake at this index is under way.
    pub fn is_handshaking(&self, index: u32) -> bool {
        self.get(index).is_some_and(Session::is_handshaking)
    }

    /// Returns whether the handshake at this index can take a step.
    pub fn is_step_due(&self, index: u32) -> bool {
        self.get(index).is_some_and(Session::is_step_due)
    }

    /// Takes a step of the handshake at this index; see [`Session::step`]. The answer is in
    /// [`TlsSessions::take_answer`].
    pub fn step(&mut self, index: u32) -> Result<Progress, Fault> {
        let Self { sessions, answer, certificates, .. } = self;
        let progress = at(sessions, index).ok_or(Fault::Crypto)?.step(answer)?;
        if let Progress::Established(Some(certificate)) = &progress {
            certificates.insert(index, certificate.clone());
        }
        Ok(progress)
    }

    /// Takes the sealed bytes that the session last used must send. They belong behind all that was sealed before.
    pub fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    /// Returns whether the last write has left sealed bytes unsent.
    #[inline(always)]
    pub fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Returns the sealed bytes that the socket did not take in the last write, once.
    pub fn take_unsent(&mut self) -> &[u8] {
        let count = std::mem::take(&mut self.unsent);
        &self.sealed[self.sealed.len() - count..]
    }

    fn get(&self, index: u32) -> Option<&Session> {
        self.sessions.get(index as usize)?.as_ref()
    }

    fn take_unread(&mut self, index: u32, buffer: &mut [u8]) -> usize {
        let Some(unread) = self.unread.get_mut(&index) else { return 0 };
        let count = unread.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(unread.drain(unread.len() - count..).rev()) {
            *to = from;
        }
        if unread.is_empty() {
            self.unread.remove(&index);
        }
        count
    }
}

impl Transport {
    /// Reads available bytes over TLS, and opens at most `room` bytes of plaintext at the front of the scratch buffer.
    /// The bytes to send in answer are in [`TlsSessions::take_answer`].
    pub fn receive_secure<S: Sockets + ?Sized>(
        &mut self,
        sockets: &mut S,
        tls: &mut TlsSessions,
        token: Token,
        scratch: &mut [u8],
        room: usize,
    ) -> Opening {
        let index = token.index;
        if !tls.unread.is_empty() {
            let count = tls.take_unread(index, &mut scratch[..room]);
            if count > 0 {
                self.readable = true;
                return Opening::Plaintext { count, sealed_bytes: 0, is_all: false };
            }
        }
        let Some(session) = at(&mut tls.sessions, index) else {
            self.stream = Stream::Broken;
            return Opening::Received(Received::Failed(ErrorKind::NotConnected.into()));
        };
        if session.is_step_due() {
            // The client waits for its turn.
            self.readable = true;
            return Opening::Received(Received::Nothing);
        }
        if session.is_peer_closed() {
            self.stream = Stream::Finished;
            self.readable = false;
            return Opening::Received(Received::End);
        }
        let kept = session.kept().len();
        let Some((front, rest)) = scratch.split_at_mut_checked(kept).filter(|(_, rest)| !rest.is_empty()) else {
            // No session keeps that much.
            self.stream = Stream::Broken;
            return Opening::Received(Received::Failed(ErrorKind::OutOfMemory.into()));
        };
        front.copy_from_slice(session.kept());
        let size = Session::sealed_bytes(room).max(READ_BYTES_MIN).min(rest.len());
        // Records that came with the end of the handshake are opened first.
        let received = match session.has_unopened() {
            true => Received::Bytes { count: 0, is_all: false },
            false => self.receive(sockets, &mut rest[..size]),
        };
        let (count, is_all) = match received {
            Received::Bytes { count, is_all } => (count, is_all),
            Received::End => {
                // An end without close_notify may be an attacker's (RFC 8446 6.1).
                tls.truncated += u64::from(!session.is_handshaking());
                return Opening::Received(Received::End);
            }
            other => return Opening::Received(other),
        };
        if session.is_handshaking() {
            session.feed(&scratch[..count]);
            return Opening::Handshake { is_all };
        }
        match session.open(&mut scratch[..kept + count], &mut tls.answer) {
            Ok(opened) => {
                let plaintext = opened.plaintext;
                if plaintext > room {
                    tls.unread.insert(index, scratch[room..plaintext].iter().rev().copied().collect());
                }
                let is_all = is_all && !opened.is_closed && plaintext <= room;
                self.readable = !is_all;
                Opening::Plaintext { count: plaintext.min(room), sealed_bytes: count, is_all }
            }
            Err(fault) => Opening::Fault(fault),
        }
    }

    /// Writes the bytes that fit into the socket's buffer, in order, and returns their number. Costs one system call.
    /// Not allowed while a send is in flight or sealed bytes wait. After an error the transport is broken.
    ///
    /// Over TLS, the number may include sealed bytes that the socket did not take: [`TlsSessions::take_unsent`] returns
    /// those, which must be sent before everything else.
    #[inline(always)]
    pub fn write<S: Sockets + ?Sized>(
        &mut self,
        sockets: &mut S,
        tls: &mut TlsSessions,
        token: Token,
        parts: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.layer != Layer::Plain {
            return write(self, sockets, tls, token, parts);
        }
        self.write_now(sockets, parts)
    }

    /// Seals the bytes of a send. Fails if they cannot be sealed; the transport is broken then.
    pub fn seal(&mut self, tls: &mut TlsSessions, token: Token, chunks: &Chunks) -> io::Result<Chunks> {
        let fault = match tls.get_mut(token.index) {
            Some(session) => {
                let mut sealed = Vec::with_capacity(Session::sealed_bytes(chunks.len()));
                match session.seal(chunks.parts().iter().map(|part| &part[..]), &mut sealed) {
                    Ok(()) => {
                        sealed.shrink_to_fit();
                        return Ok(Chunks::One(Bytes::from(sealed)));
                    }
                    Err(fault) => fault,
                }
            }
            None => Fault::Crypto,
        };
        self.stream = Stream::Broken;
        Err(io::Error::new(ErrorKind::InvalidData, fault))
    }

    /// Ends the output, and leaves the input open. Not allowed while bytes wait to be sent.
    pub fn finish<S: Sockets + ?Sized>(&mut self, sockets: &mut S, tls: &mut TlsSessions, token: Token) {
        if self.layer == Layer::Tls {
            self.close_session(sockets, tls, token);
        }
        sockets.shutdown(self.socket, Shutdown::Write);
    }

    /// Tells the peer that nothing more comes.
    #[cold]
    #[inline(never)]
    fn close_session<S: Sockets + ?Sized>(&mut self, sockets: &mut S, tls: &mut TlsSessions, token: Token) {
        let TlsSessions { sessions, sealed, .. } = tls;
        let Some(session) = at(sessions, token.index) else { return };
        sealed.clear();
        // Best effort: the stream ends in any case, and the peer may be gone.
        if session.close(sealed).is_ok() && !sealed.is_empty() && !self.is_sending() {
            let _ = sockets.send_now(self.socket, &[IoSlice::new(sealed)]);
        }
    }
}

impl fmt::Debug for TlsSessions {
    /// Shows no byte of a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSessions").field("indexes", &self.sessions.len()).finish_non_exhaustive()
    }
}

/// Seals parts and writes them, some at a time. See [`Transport::write`].
#[cold]
#[inline(never)]
fn write<S: Sockets + ?Sized>(
    transport: &mut Transport,
    sockets: &mut S,
    tls: &mut TlsSessions,
    token: Token,
    parts: &[IoSlice<'_>],
) -> io::Result<usize> {
    let TlsSessions { sessions, sealed, unsent, .. } = tls;
    let Some(session) = at(sessions, token.index) else {
        transport.stream = Stream::Broken;
        return Err(ErrorKind::NotConnected.into());
    };
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut count = 0;
    while count < total {
        sealed.clear();
        let now = SEALED_AT_ONCE_BYTES_MAX.min(total - count);
        session.seal(window(parts, count, now), sealed).map_err(|fault| {
            transport.stream = Stream::Broken;
            io::Error::new(ErrorKind::InvalidData, fault)
        })?;
        count += now;
        let written = transport.write_now(sockets, &[IoSlice::new(sealed)])?;
        if written < sealed.len() {
            *unsent = sealed.len() - written;
            return Ok(count);
        }
    }
    Ok(count)
}

/// Returns the session at an index, beside the other parts of [`TlsSessions`].
fn at(sessions: &mut [Option<Session>], index: u32) -> Option<&mut Session> {
    sessions.get_mut(index as usize)?.as_mut()
}

/// Returns the bytes from `start` on, so many of them.
fn window<'p>(parts: &'p [IoSlice<'_>], mut start: usize, mut bytes: usize) -> impl Iterator<Item = &'p [u8]> {
    parts.iter().map(move |part| {
        let from = start.min(part.len());
        let to = (from + bytes).min(part.len());
        start -= from;
        bytes -= to - from;
        &part[from..to]
    })
}
