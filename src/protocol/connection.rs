//! An open WebSocket connection: frames in, events out, and the closing handshake (RFC 6455 5 to 7).
//!
//! [`Connection`] is what is remembered between reads: 16 bytes, plus an [`Assembly`] while something is incomplete.
//! [`Incoming`] is one read: it hands out what the read completed, in order, borrowed from the read wherever a frame
//! lies in it whole. Nothing is buffered beyond the message that is arriving, and that never beyond its limit.

use super::assembly::{self, ArrivingFrame, Assembly, AssemblyPool};
use super::close::Close;
use super::frame::{self, FrameHeader, Opcode, Role};
use super::mask::{self, MaskKey};
use super::message::{Message, MessageKind};
use super::utf8::Utf8;
use super::violation::Violation;

/// Limits of an open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, over all its fragments. Default 64 KiB: enough for what chat, telemetry and markets send,
    /// little enough that every connection may use it at once.
    pub message_bytes_max: u64,
    /// Empty fragments in a row. Default 64: an honest peer sends none or one, and each costs work without ever ending
    /// the message (the class of CVE-2026-48779).
    pub empty_fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 64 * 1024, empty_fragments_max: 64 }
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
    role: Role,
    state: State,
    assembly: Option<Box<Assembly>>,
}

impl Connection {
    /// An open connection.
    pub fn new(role: Role) -> Self {
        Self { role, state: State::Open, assembly: None }
    }

    /// Where the closing handshake stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the frame or message that is incomplete began, as stamped by its [`Incoming`]; `None` between messages.
    pub fn assembling_since(&self) -> Option<u32> {
        self.assembly.as_ref().map(|assembly| assembly.stamp)
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
        frame::write_close(out, close, mask);
        true
    }

    /// Fails the connection (RFC 6455 7.1.7): a Close frame, if none was sent yet, and nothing more is read. Says whether
    /// the frame was written.
    pub fn fail(&mut self, out: &mut Vec<u8>, close: Close<'_>, mask: Option<MaskKey>) -> bool {
        let writes = matches!(self.state, State::Open | State::CloseReceived);
        if writes {
            frame::write_close(out, Some(close), mask);
        }
        self.abandon();
        writes
    }

    /// Ends without a word: the transport is gone.
    pub fn abandon(&mut self) {
        self.state = State::Closed;
        self.assembly = None;
    }

    /// Whether input still means anything.
    fn receives(&self) -> bool {
        matches!(self.state, State::Open | State::CloseSent)
    }
}

/// The bytes of one read, on their way through a connection.
#[derive(Debug)]
pub struct Incoming<'i> {
    input: &'i mut [u8],
    position: usize,
    stamp: u32,
    /// The assembled message or control frame handed out last.
    done: Option<Box<Assembly>>,
}

/// Where a completed frame or message lies.
enum Found {
    /// In the read: a data frame that is a message of its own.
    Whole(MessageKind, usize, usize),
    /// In `done`.
    Assembled(MessageKind),
    /// In the read.
    Control(Opcode, usize, usize),
    /// In `done`: its bytes came in several reads.
    AssembledControl(Opcode),
}

impl<'i> Incoming<'i> {
    /// A read that is unmasked in place. `stamp` marks what begins in it, see [`Connection::assembling_since`].
    pub fn new(input: &'i mut [u8], stamp: u32) -> Self {
        Self { input, position: 0, stamp, done: None }
    }

    /// What has not been looked at yet: kept by a caller that stops early, and offered again later.
    pub fn rest(&self) -> &[u8] {
        &self.input[self.position..]
    }

    /// The next event, or `None` when the read is used up. After a violation, [`Connection::fail`].
    ///
    /// Costs a few nanoseconds and one pass over the payload for a frame that lies in the read whole; others are copied
    /// once, into the assembly.
    pub fn next(
        &mut self,
        connection: &mut Connection,
        pool: &mut AssemblyPool,
        limits: &Limits,
    ) -> Result<Option<Event<'_>>, Violation> {
        loop {
            if let Some(done) = self.done.take() {
                pool.recycle(done);
            }
            if !connection.receives() {
                self.position = self.input.len();
                return Ok(None);
            }
            let Some(found) = self.advance(connection, pool, limits)? else { return Ok(None) };
            let is_close = matches!(found, Found::Control(Opcode::Close, ..) | Found::AssembledControl(Opcode::Close));
            if connection.state == State::Open || is_close {
                return self.event(found, connection).map(Some);
            }
            // Dropped, but checked: whether a rule was broken must not depend on how the bytes were cut into reads.
            self.event(found, connection)?;
        }
    }

    fn advance(
        &mut self,
        connection: &mut Connection,
        pool: &mut AssemblyPool,
        limits: &Limits,
    ) -> Result<Option<Found>, Violation> {
        while self.position < self.input.len() {
            let found = match connection.assembly.take() {
                None => self.frame(connection, pool, limits)?,
                Some(assembly) => self.frame_in_pieces(connection, assembly, pool, limits)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The common case: nothing is incomplete, so a frame that lies in the read whole is handed out where it lies.
    #[inline]
    fn frame(
        &mut self,
        connection: &mut Connection,
        pool: &mut AssemblyPool,
        limits: &Limits,
    ) -> Result<Option<Found>, Violation> {
        let input = &self.input[self.position..];
        let Some((header, header_bytes)) = FrameHeader::parse(input, connection.role)? else {
            let assembly = pool.take(self.stamp);
            return self.frame_in_pieces(connection, assembly, pool, limits);
        };
        let kind = match header.opcode {
            Opcode::Text => Some(MessageKind::Text),
            Opcode::Binary => Some(MessageKind::Binary),
            Opcode::Continuation => return Err(Violation::UnexpectedContinuation),
            _ => None,
        };
        if kind.is_some() {
            check_size(header.payload_bytes, limits)?;
        }
        self.position += header_bytes;
        if header.fin && header.payload_bytes <= (self.input.len() - self.position) as u64 {
            let (start, end) = self.take_in_place(&header);
            return Ok(Some(match kind {
                Some(kind) => Found::Whole(kind, start, end),
                None => Found::Control(header.opcode, start, end),
            }));
        }
        let mut assembly = pool.take(self.stamp);
        assembly.message = kind;
        assembly.frame = Some(ArrivingFrame { header, received: 0 });
        count_empty_fragment(&mut assembly, &header, limits)?;
        self.payload_in_pieces(connection, assembly, pool)
    }

    /// A frame while something is incomplete: its own header, its payload, or the message it belongs to.
    fn frame_in_pieces(
        &mut self,
        connection: &mut Connection,
        mut assembly: Box<Assembly>,
        pool: &mut AssemblyPool,
        limits: &Limits,
    ) -> Result<Option<Found>, Violation> {
        if assembly.frame.is_none() {
            let Some(header) = self.header_in_pieces(&mut assembly, connection.role)? else {
                connection.assembly = Some(assembly);
                return Ok(None);
            };
            admit(&mut assembly, &header, limits)?;
            assembly.frame = Some(ArrivingFrame { header, received: 0 });
        }
        self.payload_in_pieces(connection, assembly, pool)
    }

    fn header_in_pieces(&mut self, assembly: &mut Assembly, role: Role) -> Result<Option<FrameHeader>, Violation> {
        let have = usize::from(assembly.header_bytes);
        let input = &self.input[self.position..];
        let count = input.len().min(assembly.header.len() - have);
        assembly.header[have..have + count].copy_from_slice(&input[..count]);
        match FrameHeader::parse(&assembly.header[..have + count], role)? {
            Some((header, header_bytes)) => {
                self.position += header_bytes - have;
                assembly.header_bytes = 0;
                Ok(Some(header))
            }
            None => {
                self.position += count;
                assembly.header_bytes = (have + count) as u8;
                Ok(None)
            }
        }
    }

    fn payload_in_pieces(
        &mut self,
        connection: &mut Connection,
        mut assembly: Box<Assembly>,
        pool: &mut AssemblyPool,
    ) -> Result<Option<Found>, Violation> {
        let Some(mut frame) = assembly.frame.take() else { return Ok(None) };
        let header = frame.header;
        let control = header.opcode.is_control();
        let available = (self.input.len() - self.position) as u64;
        let found = if control && frame.received == 0 && header.payload_bytes <= available {
            let (start, end) = self.take_in_place(&header);
            Some(Found::Control(header.opcode, start, end))
        } else {
            let count = available.min(header.payload_bytes - frame.received) as usize;
            let piece = &self.input[self.position..self.position + count];
            self.position += count;
            let offset = frame.received as usize;
            frame.received += count as u64;
            let whole = frame.received == header.payload_bytes;
            append(&mut assembly, piece, &header, offset, whole)?;
            if !whole {
                assembly.frame = Some(frame);
                connection.assembly = Some(assembly);
                return Ok(None);
            }
            control.then(|| {
                let mut done = pool.take(self.stamp);
                std::mem::swap(&mut done.control, &mut assembly.control);
                self.done = Some(done);
                Found::AssembledControl(header.opcode)
            })
        };
        if let Some(kind) = assembly.message.filter(|_| header.fin && !control) {
            self.done = Some(assembly);
            return Ok(Some(Found::Assembled(kind)));
        }
        if assembly.is_idle() {
            pool.recycle(assembly);
        } else {
            connection.assembly = Some(assembly);
        }
        Ok(found)
    }

    /// Unmasks a payload that lies in the read whole, and passes over it.
    #[inline]
    fn take_in_place(&mut self, header: &FrameHeader) -> (usize, usize) {
        let start = self.position;
        let end = start + header.payload_bytes as usize;
        if let Some(key) = header.mask {
            mask::apply(&mut self.input[start..end], key, 0);
        }
        self.position = end;
        (start, end)
    }

    /// Always inlined: a call would pass what was found and what becomes of it through memory, which makes a small frame
    /// cost three times as much.
    #[inline(always)]
    fn event(&mut self, found: Found, connection: &mut Connection) -> Result<Event<'_>, Violation> {
        let done = self.done.as_deref();
        match found {
            Found::Whole(kind, start, end) => message(kind, &self.input[start..end]).map(Event::Message),
            Found::Assembled(kind) => message(kind, done.map_or(&[], |done| &done.payload)).map(Event::Message),
            Found::Control(opcode, start, end) => control_event(opcode, &self.input[start..end], connection),
            Found::AssembledControl(opcode) => {
                control_event(opcode, done.map_or(&[], |done| &done.control), connection)
            }
        }
    }
}

#[inline]
fn message(kind: MessageKind, payload: &[u8]) -> Result<Message<'_>, Violation> {
    match kind {
        MessageKind::Binary => Ok(Message::Binary(payload)),
        // The only pass over text that came in one piece, and the second over text that came in several: making a
        // `&str` without unsafe code takes one over the whole.
        MessageKind::Text => match simdutf8::basic::from_utf8(payload) {
            Ok(text) => Ok(Message::Text(text)),
            Err(_) => Err(Violation::NotUtf8),
        },
    }
}

fn control_event<'a>(opcode: Opcode, payload: &'a [u8], connection: &mut Connection) -> Result<Event<'a>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        _ => {
            let close = Close::parse(payload)?;
            connection.state = match connection.state {
                State::Open => State::CloseReceived,
                _ => State::Closed,
            };
            connection.assembly = None;
            Ok(Event::Close(close))
        }
    }
}

/// Adds a piece of a payload, unmasked. Text is checked as it arrives, but for the piece that completes the message:
/// that is checked with the whole when the message is handed out.
fn append(
    assembly: &mut Assembly,
    piece: &[u8],
    header: &FrameHeader,
    offset: usize,
    whole: bool,
) -> Result<(), Violation> {
    let Assembly { payload, control, utf8, message, .. } = assembly;
    let target = if header.opcode.is_control() {
        // At most CONTROL_PAYLOAD_MAX, whatever the peer claims.
        control.reserve_exact(header.payload_bytes as usize - offset);
        control
    } else {
        assembly::reserve(payload, piece.len());
        payload
    };
    let start = target.len();
    match header.mask {
        Some(key) => mask::append(target, piece, key, offset),
        None => target.extend_from_slice(piece),
    }
    let completes = whole && header.fin;
    if *message == Some(MessageKind::Text) && !header.opcode.is_control() && !completes {
        Utf8::check(utf8, &target[start..])?;
    }
    Ok(())
}

/// Whether a frame may come now, given the message it would belong to (RFC 6455 5.4).
fn admit(assembly: &mut Assembly, header: &FrameHeader, limits: &Limits) -> Result<(), Violation> {
    if header.opcode.is_control() {
        return Ok(());
    }
    match (header.opcode, assembly.message) {
        (Opcode::Continuation, Some(_)) => {}
        (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
        (_, Some(_)) => return Err(Violation::InterleavedMessage),
        (Opcode::Text, None) => assembly.message = Some(MessageKind::Text),
        (_, None) => assembly.message = Some(MessageKind::Binary),
    }
    // Neither term reaches 2^63, so their sum does not overflow.
    check_size(assembly.payload.len() as u64 + header.payload_bytes, limits)?;
    count_empty_fragment(assembly, header, limits)
}

#[inline]
fn check_size(bytes: u64, limits: &Limits) -> Result<(), Violation> {
    if bytes > limits.message_bytes_max {
        return Err(Violation::MessageTooLarge { bytes, max: limits.message_bytes_max });
    }
    Ok(())
}

fn count_empty_fragment(assembly: &mut Assembly, header: &FrameHeader, limits: &Limits) -> Result<(), Violation> {
    if header.payload_bytes > 0 || header.fin {
        assembly.empty_fragments = 0;
        return Ok(());
    }
    assembly.empty_fragments += 1;
    if assembly.empty_fragments > limits.empty_fragments_max {
        return Err(Violation::EmptyFragments { max: limits.empty_fragments_max });
    }
    Ok(())
}
