//! A connected socket: what is in flight on it, and how far the peer's stream was read.
//!
//! Parses nothing, queues nothing, and never decides when a session is read or ends. Invariant: at most one watch and one
//! send are in flight, and the socket is closed once, when neither is.
//!
//! Functions that run for each message are `#[inline(always)]`: as calls they cost an echo 8 of its 1,365 instructions.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr};

use crate::reactor::{Chunks, Reactor, SendProgress, Socket, Sockets, Token};

/// A connected socket, and what is known of it. See the module.
#[derive(Debug)]
pub struct Transport {
    pub(super) socket: Socket,
    pub(super) stream: Stream,
    /// Input may be left in the socket: the last read filled the buffer, or reported input was not read.
    pub(super) readable: bool,
    in_flight: InFlight,
    /// The layer between the socket and its user.
    pub(super) layer: Layer,
}

/// A session keeps one of these, idle or not.
const _: () = assert!(size_of::<Transport>() == 8);

/// The state of the stream of bytes from the peer.
///
/// ```text
///  Flowing ──► EndReported ──► Finished
///     │             │              │
///     └─────────────┴──────────────┴──► Broken
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stream {
    #[default]
    Flowing,
    /// The reactor has reported the end of the stream or an error, which waits in the socket, perhaps behind bytes.
    EndReported,
    /// The peer has ended the stream.
    Finished,
    /// The socket has failed.
    Broken,
}

/// The operations that the reactor has in flight on a socket, as a set of bits.
#[derive(Clone, Copy, Debug, Default)]
struct InFlight(u8);

impl InFlight {
    const WATCH: u8 = 1;
    const SEND: u8 = 2;

    #[inline(always)]
    fn set(&mut self, operation: u8, is_in_flight: bool) {
        self.0 = if is_in_flight { self.0 | operation } else { self.0 & !operation };
    }

    #[inline(always)]
    fn has(self, operation: u8) -> bool {
        self.0 & operation != 0
    }
}

/// The layer between a socket and its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Plain,
    /// The session is in the core's [`TlsSessions`](super::TlsSessions).
    Tls,
    /// The session has failed.
    Failed,
}

/// The result of [`Transport::receive`].
#[derive(Debug)]
pub enum Received {
    /// Bytes, at the beginning of the buffer.
    Bytes {
        /// The number of bytes, at least 1.
        count: usize,
        /// Nothing more can be there now: the reactor reports later bytes.
        is_all: bool,
    },
    /// No bytes are there now; the reactor reports later ones.
    Nothing,
    /// The end of the peer's stream.
    End,
    /// An error of the socket, which is broken from now on.
    Failed(io::Error),
}

impl Transport {
    /// Takes ownership of a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket, stream: Stream::Flowing, readable: false, in_flight: InFlight::default(), layer: Layer::Plain }
    }

    /// Speaks TLS from now on, with the session that the core's [`TlsSessions`](super::TlsSessions) have for it.
    pub fn secure(&mut self) {
        self.layer = Layer::Tls;
    }

    /// Speaks plain again, because the client does. Not allowed once anything was sealed or opened.
    pub fn unsecure(&mut self) {
        self.layer = Layer::Plain;
    }

    /// Records that TLS has failed: what arrives is read to be discarded, and nothing can be written any more.
    pub fn note_tls_failed(&mut self) {
        self.layer = Layer::Failed;
    }

    /// Returns whether bytes are passed to the socket as they are.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.layer == Layer::Plain
    }

    /// Returns whether the transport speaks TLS.
    #[inline]
    pub fn is_secure(&self) -> bool {
        self.layer == Layer::Tls
    }

    #[cfg(test)]
    pub(crate) fn socket(&self) -> Socket {
        self.socket
    }

    /// Makes the reactor report when there is input.
    pub fn watch<R: Reactor + ?Sized>(&mut self, reactor: &mut R, token: Token) {
        self.in_flight.set(InFlight::WATCH, true);
        reactor.watch(self.socket, token);
    }

    /// Records that the watch has ended.
    pub fn note_watch_ended(&mut self) {
        self.in_flight.set(InFlight::WATCH, false);
    }

    /// Records that the reactor has reported input. `ended` says that the end of the stream or an error is part of it.
    pub fn note_arrival(&mut self, ended: bool) {
        if ended && self.stream == Stream::Flowing {
            self.stream = Stream::EndReported;
        }
    }

    /// Returns whether the reactor has reported the end of the stream or an error, although it was not read.
    pub fn has_reported_end(&self) -> bool {
        self.stream != Stream::Flowing
    }

    /// Reads available bytes into the buffer. Costs one system call.
    ///
    /// A read that leaves room in the buffer has emptied the socket, so that the next bytes are reported. If the end of
    /// the stream waits behind these bytes, it is not reported again, and the caller reads on. Not allowed once the
    /// stream has ended or the transport is broken.
    #[inline(always)]
    pub fn receive<S: Sockets + ?Sized>(&mut self, sockets: &mut S, buffer: &mut [u8]) -> Received {
        loop {
            match sockets.recv(self.socket, buffer) {
                Ok(0) => {
                    self.stream = Stream::Finished;
                    self.readable = false;
                    return Received::End;
                }
                Ok(count) => {
                    let is_all = count < buffer.len() && self.stream != Stream::EndReported;
                    self.readable = !is_all;
                    return Received::Bytes { count, is_all };
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Received::Nothing;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.stream = Stream::Broken;
                    return Received::Failed(error);
                }
            }
        }
    }

    /// Records that input may be left in the socket, because the caller does not read now.
    pub fn leave_unread(&mut self) {
        self.readable = true;
    }

    /// Returns whether input may be left in the socket.
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Passes bytes to the socket as they are, and returns how many it took.
    #[inline(always)]
    pub(super) fn write_now<S: Sockets + ?Sized>(
        &mut self,
        sockets: &mut S,
        parts: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match sockets.send_now(self.socket, parts) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => {
                self.stream = Stream::Broken;
                Err(error)
            }
            written => written,
        }
    }

    /// Writes sealed bytes, such as the answer of a handshake, and returns how many the socket took. Not allowed while
    /// a send is in flight or other sealed bytes wait.
    pub fn write_sealed<S: Sockets + ?Sized>(&mut self, sockets: &mut S, sealed: &[u8]) -> io::Result<usize> {
        self.write_now(sockets, &[IoSlice::new(sealed)])
    }

    /// Sends bytes through the reactor, which waits for room in the socket's buffer. Over TLS they are sealed. Not
    /// allowed while a send is in flight.
    #[inline]
    pub fn send<R: Reactor + ?Sized>(&mut self, reactor: &mut R, token: Token, chunks: Chunks) {
        self.in_flight.set(InFlight::SEND, true);
        reactor.send(self.socket, token, chunks);
    }

    /// Records what the reactor has reported of the send in flight, and returns the number of bytes sent. `more` says
    /// that the send is still in flight. After an error the transport is broken.
    #[inline(always)]
    pub fn note_sent(&mut self, result: io::Result<usize>, more: bool) -> io::Result<usize> {
        self.in_flight.set(InFlight::SEND, more);
        if result.is_err() {
            self.stream = Stream::Broken;
        }
        result
    }

    /// Returns whether a send is in flight.
    #[inline]
    pub fn is_sending(&self) -> bool {
        self.in_flight.has(InFlight::SEND)
    }

    /// Records that the socket has failed, although no read or write has.
    pub fn note_broken(&mut self) {
        self.stream = Stream::Broken;
    }

    /// Returns whether the socket has failed.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.stream == Stream::Broken
    }

    /// Returns whether the peer has ended its stream and the socket still works.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.stream == Stream::Finished
    }

    /// Returns the address of the other end. Costs one system call.
    pub fn peer_address<S: Sockets + ?Sized>(&self, sockets: &S) -> io::Result<SocketAddr> {
        sockets.peer_address(self.socket)
    }

    /// Returns which bytes the peer's host has acknowledged. Costs two system calls.
    pub fn send_progress<S: Sockets + ?Sized>(&self, sockets: &S) -> SendProgress {
        sockets.send_progress(self.socket)
    }

    /// Makes the coming close drop unsent bytes and reset the connection.
    pub fn discard_on_close<S: Sockets + ?Sized>(&mut self, sockets: &mut S) {
        sockets.discard_on_close(self.socket);
    }

    /// Cancels what is in flight. Completions follow, after which [`Transport::close`] closes the socket.
    pub fn cancel<R: Reactor + ?Sized>(&mut self, reactor: &mut R, token: Token) {
        if self.in_flight.has(InFlight::SEND) {
            reactor.shutdown(self.socket, Shutdown::Both);
        }
        if self.in_flight.has(InFlight::WATCH) {
            reactor.unwatch(self.socket, token);
        }
    }

    /// Closes the socket if nothing is in flight on it. Returns whether it is closed; the transport must not be used
    /// afterwards.
    #[must_use]
    pub fn close<S: Sockets + ?Sized>(&mut self, sockets: &mut S) -> bool {
        let is_idle = self.in_flight.0 == 0;
        if is_idle {
            sockets.close(self.socket);
        }
        is_idle
    }
}
