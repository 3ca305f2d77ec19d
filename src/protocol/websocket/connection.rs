//! An open WebSocket connection between reads: what it remembers, and the closing handshake (RFC 6455 5 to 7).
//!
//! 24 bytes, plus an [`Assembly`] while something is incomplete, and streams of its own where context takeover was
//! agreed. Nothing is buffered beyond the message that is arriving, and that never beyond its limit.
//! [`Incoming`](super::Incoming) is one read on its way through.

use super::assembly::{Assembly, AssemblyPool};
use super::close::{Close, write_close};
use super::mask::MaskKey;
use super::message::Message;
use super::violation::Violation;
use crate::protocol::deflate::{Agreement, Compressor, Compressors, Decompressor, Inflation, WindowBits};
use crate::protocol::role::Role;

/// Limits of an open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, over all its fragments. Default 64 KiB: enough for what chat, telemetry and markets send,
    /// little enough that every connection may use it at once.
    pub message_bytes_max: u64,
    /// Empty fragments in a row. Default 64: an honest peer sends none or one, and each costs work without ever ending
    /// the message (the class of CVE-2026-48779).
    pub empty_fragments_max: u32,
    /// Bytes a compressed message may become for each of its own; 0 for any number. Default 100: text becomes 3 to 20
    /// times as large, a bomb 1000 times. The first 64 KiB are not judged by it. Above it: close 1009.
    pub inflation_ratio_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 64 * 1024, empty_fragments_max: 64, inflation_ratio_max: 100 }
    }
}

/// Where the closing handshake stands (RFC 6455 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages flow.
    Open,
    /// This end has sent its Close frame; messages that cross it are dropped.
    CloseSent,
    /// The peer has sent its Close frame, which is to be answered.
    CloseReceived,
    /// Both have, or the connection failed: nothing more is read or written.
    Closed,
}

/// What a read completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message; text has been checked.
    Message(Message<'a>),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer's Close frame, to be answered with [`Connection::close`]. The last event there is.
    Close(Option<Close<'a>>),
}

/// One end of a connection, between reads.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) state: State,
    compression: Option<Agreement>,
    pub(super) assembly: Option<Box<Assembly>>,
    /// Exists only where context takeover was agreed, from the first compressed message on.
    streams: Option<Box<Streams>>,
}

/// What remembers the messages of one connection.
#[derive(Debug, Default)]
struct Streams {
    compressor: Option<Compressor>,
    decompressor: Option<Decompressor>,
}

impl Connection {
    /// An open connection without compression.
    pub fn new(role: Role) -> Self {
        Self { role, state: State::Open, compression: None, assembly: None, streams: None }
    }

    /// An open connection whose messages may be compressed as agreed.
    pub fn compressed(role: Role, agreement: Agreement) -> Self {
        Self { compression: Some(agreement), ..Self::new(role) }
    }

    /// What was agreed on compression.
    pub fn compression(&self) -> Option<Agreement> {
        self.compression
    }

    /// The window that this end's messages may be compressed with; `None` when they may not be.
    pub fn compresses_with(&self) -> Option<WindowBits> {
        let (window, _) = self.compression?.sending(self.role);
        (window >= WindowBits::COMPRESSOR_MIN).then_some(window)
    }

    /// Compresses the payload of this end's next message, for [`write_compressed_frame`](super::write_compressed_frame);
    /// `None` when it is to be sent as it is: compressing was not agreed, or gains nothing. What is given must be sent.
    pub fn compress<'c>(&mut self, payload: &[u8], compressors: &'c mut Compressors) -> Option<&'c [u8]> {
        match self.compression?.sending(self.role) {
            (window, false) => compressors.compress(payload, window),
            (window, true) => {
                compressors.compress_next(payload, window, &mut self.streams.get_or_insert_default().compressor)
            }
        }
    }

    /// Has this end's next compressed message refer to nothing before it, because something else was sent meanwhile.
    pub fn forget_sent(&mut self) {
        if let Some(compressor) = self.streams.as_mut().and_then(|streams| streams.compressor.as_mut()) {
            compressor.forget();
        }
    }

    /// Where the closing handshake stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the frame or message that is incomplete began, as stamped by its [`Incoming`](super::Incoming); `None` between messages.
    pub fn assembling_since(&self) -> Option<u32> {
        self.assembly.as_ref().map(|assembly| assembly.stamp)
    }

    /// Bytes that have arrived of the message that is incomplete, compressed if it is.
    pub fn assembled_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.payload.len())
    }

    /// Has what is incomplete begin at `stamp`: it could not arrive before.
    pub fn restamp(&mut self, stamp: u32) {
        if let Some(assembly) = &mut self.assembly {
            assembly.stamp = stamp;
        }
    }

    /// Begins or answers the closing handshake, once: false when this end's Close frame has been sent before.
    pub fn close(&mut self, out: &mut Vec<u8>, close: Option<Close<'_>>, mask: Option<MaskKey>) -> bool {
        self.state = match self.state {
            State::Open => State::CloseSent,
            State::CloseReceived => State::Closed,
            State::CloseSent | State::Closed => return false,
        };
        write_close(out, close, mask);
        true
    }

    /// Fails the connection (RFC 6455 7.1.7): a Close frame, if none was sent yet, and nothing more is read. Says whether
    /// the frame was written.
    pub fn fail(&mut self, out: &mut Vec<u8>, close: Close<'_>, mask: Option<MaskKey>) -> bool {
        let writes = matches!(self.state, State::Open | State::CloseReceived);
        if writes {
            write_close(out, Some(close), mask);
        }
        self.abandon();
        writes
    }

    /// Ends without a word: the transport is gone.
    pub fn abandon(&mut self) {
        self.state = State::Closed;
        self.assembly = None;
        self.streams = None;
    }

    /// Whether input still means anything.
    pub(super) fn receives(&self) -> bool {
        matches!(self.state, State::Open | State::CloseSent)
    }

    /// Inflates a message that arrived.
    pub(super) fn decompress(
        &mut self,
        compressed: &[u8],
        output: &mut Vec<u8>,
        pool: &mut AssemblyPool,
        limits: &Limits,
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
