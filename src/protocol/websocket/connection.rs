//! An open WebSocket connection between reads: its state and the closing handshake (RFC 6455 5 to 7).
//!
//! Takes 24 bytes, plus an [`Assembly`] while a message or frame is incomplete, and streams of its own with context
//! takeover. Never buffers more than the message that is arriving, nor that beyond its limit. Invariant: at
//! most one Close frame is written. [`Incoming`](super::Incoming) processes one read.

use super::assembly::{Assembly, AssemblyPool};
use super::close::{Close, write_close};
use super::mask::MaskKey;
use super::message::Message;
use super::violation::Violation;
use crate::protocol::deflate::{Agreement, Compressor, Compressors, Decompressor, Inflation, WindowBits};
use crate::protocol::role::Role;

/// The limits of the messages that a peer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageLimits {
    /// Bytes of one message, over all its fragments. Default 64 KiB: enough for chat, telemetry and market data, and
    /// small enough that every connection may use it at once.
    pub message_bytes_max: u64,
    /// Empty fragments in a row. Default 64: a regular peer sends none or one, and each costs work without ever ending
    /// the message (the class of CVE-2026-48779).
    pub empty_fragments_max: u32,
    /// Bytes of output allowed for each byte of a compressed message; 0 for no limit. Default 100: text inflates 3 to
    /// 20 times, a bomb 1000 times. The first 64 KiB of output are exempt. Above it the connection is closed with 1009.
    pub inflation_ratio_max: u32,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { message_bytes_max: 64 * 1024, empty_fragments_max: 64, inflation_ratio_max: 100 }
    }
}

/// The state of the closing handshake (RFC 6455 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages flow.
    Open,
    /// This end has sent its Close frame; messages of the peer that cross it are dropped.
    CloseSent,
    /// The peer has sent its Close frame, and this end has yet to answer it.
    CloseReceived,
    /// Both ends have sent a Close frame, or the connection failed: nothing more is read or written.
    Closed,
}

/// A message or control frame that a read completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message; text has been validated.
    Message(Message<'a>),
    /// A ping, which must be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer's Close frame, which must be answered with [`Connection::close`]. It is the last event.
    Close(Option<Close<'a>>),
}

/// One end of a connection, between reads.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) state: State,
    compression: Option<Agreement>,
    pub(super) assembly: Option<Box<Assembly>>,
    /// Present only with context takeover, from the first compressed message on.
    streams: Option<Box<Streams>>,
}

/// The streams of a connection with context takeover.
#[derive(Debug, Default)]
struct Streams {
    compressor: Option<Compressor>,
    decompressor: Option<Decompressor>,
}

impl Connection {
    /// Creates an open connection without compression.
    pub fn new(role: Role) -> Self {
        Self { role, state: State::Open, compression: None, assembly: None, streams: None }
    }

    /// Creates an open connection with the agreed compression.
    pub fn compressed(role: Role, agreement: Agreement) -> Self {
        Self { compression: Some(agreement), ..Self::new(role) }
    }

    /// Returns the agreement on compression.
    pub fn compression(&self) -> Option<Agreement> {
        self.compression
    }

    /// Returns the window that this end compresses messages with; `None` if it must not compress.
    pub fn compresses_with(&self) -> Option<WindowBits> {
        let (window, _) = self.compression?.sending(self.role);
        (window >= WindowBits::COMPRESSOR_MIN).then_some(window)
    }

    /// Compresses the payload of this end's next message, for
    /// [`write_compressed_frame`](super::write_compressed_frame); `None` if it must be sent uncompressed, because
    /// compression was not agreed or gains nothing. The caller must send the result.
    pub fn compress<'c>(&mut self, payload: &[u8], compressors: &'c mut Compressors) -> Option<&'c [u8]> {
        match self.compression?.sending(self.role) {
            (window, false) => compressors.compress(payload, window),
            (window, true) => {
                compressors.compress_next(payload, window, &mut self.streams.get_or_insert_default().compressor)
            }
        }
    }

    /// Drops the history of this end's stream, because a message was sent outside it.
    pub fn forget_sent(&mut self) {
        if let Some(compressor) = self.streams.as_mut().and_then(|streams| streams.compressor.as_mut()) {
            compressor.forget();
        }
    }

    /// Returns the state of the closing handshake.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the timestamp at which the incomplete frame or message began, as its [`Incoming`](super::Incoming) gave
    /// it; `None` between messages.
    pub fn assembling_since(&self) -> Option<u32> {
        self.assembly.as_ref().map(|assembly| assembly.stamp)
    }

    /// Returns the received bytes of the incomplete message, before inflation.
    pub fn assembled_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.payload.len())
    }

    /// Sets the timestamp of the incomplete message to `stamp`, because the session was not read before.
    pub fn restamp(&mut self, stamp: u32) {
        if let Some(assembly) = &mut self.assembly {
            assembly.stamp = stamp;
        }
    }

    /// Begins or answers the closing handshake. Returns false, and writes nothing, if this end has sent its Close frame
    /// before.
    pub fn close(&mut self, out: &mut Vec<u8>, close: Option<Close<'_>>, mask: Option<MaskKey>) -> bool {
        self.state = match self.state {
            State::Open => State::CloseSent,
            State::CloseReceived => State::Closed,
            State::CloseSent | State::Closed => return false,
        };
        write_close(out, close, mask);
        true
    }

    /// Fails the connection (RFC 6455 7.1.7): writes a Close frame, if none was sent yet, and reads nothing more.
    /// Returns whether the frame was written.
    pub fn fail(&mut self, out: &mut Vec<u8>, close: Close<'_>, mask: Option<MaskKey>) -> bool {
        let writes = matches!(self.state, State::Open | State::CloseReceived);
        if writes {
            write_close(out, Some(close), mask);
        }
        self.abandon();
        writes
    }

    /// Ends the connection without a Close frame, because the transport is gone.
    pub fn abandon(&mut self) {
        self.state = State::Closed;
        self.assembly = None;
        self.streams = None;
    }

    /// Returns whether input is still processed.
    pub(super) fn receives(&self) -> bool {
        matches!(self.state, State::Open | State::CloseSent)
    }

    /// Inflates a received message.
    pub(super) fn decompress(
        &mut self,
        compressed: &[u8],
        output: &mut Vec<u8>,
        pool: &mut AssemblyPool,
        limits: &MessageLimits,
    ) -> Result<(), Violation> {
        let inflation = Inflation { bytes_max: limits.message_bytes_max, ratio_max: limits.inflation_ratio_max };
        match self.compression.map(|agreement| agreement.receiving(self.role)) {
            Some((window, true)) => {
                let own = &mut self.streams.get_or_insert_default().decompressor;
                own.get_or_insert_with(|| Decompressor::new(window)).decompress(compressed, output, &inflation)?;
            }
            _ => {
                let shared = pool.decompressor();
                shared.forget();
                shared.decompress(compressed, output, &inflation)?;
            }
        }
        Ok(())
    }
}
