//! One read of a connection: frames in, events out, in order.
//!
//! An event borrows from the read if its frame lies in it whole; other frames are copied once, into the message that is
//! arriving. Never processes a byte after a violation. Invariant: the events do not depend on how the bytes were cut
//! into reads.

use super::assembly::{self, ArrivingFrame, Assembly, AssemblyPool};
use super::close::Close;
use super::connection::{Connection, Event, MessageLimits, State};
use super::frame::{FIN, FrameHeader, MASK, Opcode, SHORT_LENGTH_MAX};
use super::mask;
use super::message::{Message, MessageKind};
use super::utf8::Utf8;
use super::violation::Violation;
use crate::protocol::role::Role;

/// The first byte of a frame that is a whole, uncompressed text message.
const WHOLE_TEXT: u8 = FIN | Opcode::Text as u8;
/// The first byte of a frame that is a whole, uncompressed binary message.
const WHOLE_BINARY: u8 = FIN | Opcode::Binary as u8;

/// The bytes of one read, being processed for a connection.
#[derive(Debug)]
pub struct Incoming<'i> {
    input: &'i mut [u8],
    position: usize,
    stamp: u32,
    /// The assembled message or control frame that the last event borrows.
    done: Option<Box<Assembly>>,
}

/// The place of a completed frame or message.
enum Found {
    /// In the read: a data frame that is a whole message.
    Whole(MessageKind, usize, usize),
    /// In the read: a data frame that is a whole message, compressed.
    WholeCompressed(MessageKind, usize, usize),
    /// In `done`.
    Assembled(MessageKind),
    /// In `done`, compressed.
    AssembledCompressed(MessageKind),
    /// In the read.
    Control(Opcode, usize, usize),
    /// In `done`, because its bytes came in several reads.
    AssembledControl(Opcode),
}

impl<'i> Incoming<'i> {
    /// Wraps a read, which is unmasked in place. `stamp` is the time at which messages in it begin, see
    /// [`Connection::assembling_since`].
    pub fn new(input: &'i mut [u8], stamp: u32) -> Self {
        Self { input, position: 0, stamp, done: None }
    }

    /// Returns the bytes that are not processed yet: a caller that stops early keeps them and passes them in again
    /// later.
    pub fn rest(&self) -> &[u8] {
        &self.input[self.position..]
    }

    /// Returns the next event, or `None` at the end of the read. After a violation the caller must call
    /// [`Connection::fail`].
    ///
    /// Costs a few nanoseconds and one pass over the payload for a frame that lies in the read whole; other frames are
    /// copied once, into the assembly.
    pub fn next(
        &mut self,
        connection: &mut Connection,
        pool: &mut AssemblyPool,
        limits: &MessageLimits,
    ) -> Result<Option<Event<'_>>, Violation> {
        // Every read ends here, and most reads carry one frame.
        if self.position == self.input.len() && self.done.is_none() {
            return Ok(None);
        }
        if let Some((kind, start, end)) = self.small_message(connection, limits) {
            return message(kind, &self.input[start..end]).map(|message| Some(Event::Message(message)));
        }
        loop {
            if let Some(done) = self.done.take() {
                pool.recycle(done);
            }
            if !connection.receives() {
                self.position = self.input.len();
                return Ok(None);
            }
            let Some(found) = self.advance(connection, pool, limits)? else { return Ok(None) };
            let found = match found {
                Found::WholeCompressed(..) | Found::AssembledCompressed(..) => {
                    self.inflate(found, connection, pool, limits)?
                }
                found => found,
            };
            let is_close = matches!(found, Found::Control(Opcode::Close, ..) | Found::AssembledControl(Opcode::Close));
            if connection.state == State::Open || is_close {
                return self.event(found, connection).map(Some);
            }
            // The event is dropped but checked: the verdict must not depend on how the bytes were cut into reads.
            self.event(found, connection)?;
        }
    }

    /// Takes the most common frame: a whole, uncompressed message with a length of one byte, complete in this read.
    /// Leaves any other frame to [`Self::advance`]. It saves a tenth of the instructions of a 64 B echo.
    #[inline]
    fn small_message(
        &mut self,
        connection: &Connection,
        limits: &MessageLimits,
    ) -> Option<(MessageKind, usize, usize)> {
        if connection.state != State::Open || connection.assembly.is_some() || self.done.is_some() {
            return None;
        }
        let (&mut [first, second], rest) = self.input[self.position..].split_first_chunk_mut()?;
        let kind = match first {
            WHOLE_TEXT => MessageKind::Text,
            WHOLE_BINARY => MessageKind::Binary,
            _ => return None,
        };
        let is_server = connection.role == Role::Server;
        // A missing mask bit at a server, or a set one at a client, gives a length that is too large here.
        let length = usize::from(if is_server { second ^ MASK } else { second });
        if length > SHORT_LENGTH_MAX || length as u64 > limits.message_bytes_max {
            return None;
        }
        let mut start = self.position + 2;
        if is_server {
            let (&mut key, rest) = rest.split_first_chunk_mut()?;
            mask::apply(rest.get_mut(..length)?, key, 0);
            start += key.len();
        } else if rest.len() < length {
            return None;
        }
        self.position = start + length;
        Some((kind, start, self.position))
    }

    fn advance(
        &mut self,
        connection: &mut Connection,
        pool: &mut AssemblyPool,
        limits: &MessageLimits,
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

    /// Takes a frame while nothing is incomplete, which is the common case; a frame that lies in the read whole is not
    /// copied.
    #[inline]
    fn frame(
        &mut self,
        connection: &mut Connection,
        pool: &mut AssemblyPool,
        limits: &MessageLimits,
    ) -> Result<Option<Found>, Violation> {
        let input = &self.input[self.position..];
        let compression = connection.compression().is_some();
        let Some((header, header_bytes)) = FrameHeader::parse(input, connection.role, compression)? else {
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
            check_size(header.payload_bytes, header.compressed, limits)?;
        }
        self.position += header_bytes;
        if header.fin && header.payload_bytes <= (self.input.len() - self.position) as u64 {
            let (start, end) = self.take_in_place(&header);
            return Ok(Some(match kind {
                Some(kind) if header.compressed => Found::WholeCompressed(kind, start, end),
                Some(kind) => Found::Whole(kind, start, end),
                None => Found::Control(header.opcode, start, end),
            }));
        }
        let mut assembly = pool.take(self.stamp);
        assembly.message = kind;
        assembly.compressed = header.compressed;
        assembly.frame = Some(ArrivingFrame { header, received: 0 });
        count_empty_fragment(&mut assembly, &header, limits)?;
        self.payload_in_pieces(connection, assembly, pool)
    }

    /// Continues an incomplete header, payload or message.
    fn frame_in_pieces(
        &mut self,
        connection: &mut Connection,
        mut assembly: Box<Assembly>,
        pool: &mut AssemblyPool,
        limits: &MessageLimits,
    ) -> Result<Option<Found>, Violation> {
        if assembly.frame.is_none() {
            let Some(header) = self.header_in_pieces(&mut assembly, connection)? else {
                connection.assembly = Some(assembly);
                return Ok(None);
            };
            admit(&mut assembly, &header, limits)?;
            assembly.frame = Some(ArrivingFrame { header, received: 0 });
        }
        self.payload_in_pieces(connection, assembly, pool)
    }

    fn header_in_pieces(
        &mut self,
        assembly: &mut Assembly,
        connection: &Connection,
    ) -> Result<Option<FrameHeader>, Violation> {
        let have = usize::from(assembly.header_bytes);
        let input = &self.input[self.position..];
        let count = input.len().min(assembly.header.len() - have);
        assembly.header[have..have + count].copy_from_slice(&input[..count]);
        let compression = connection.compression().is_some();
        match FrameHeader::parse(&assembly.header[..have + count], connection.role, compression)? {
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
            let compressed = assembly.compressed;
            self.done = Some(assembly);
            return Ok(Some(if compressed { Found::AssembledCompressed(kind) } else { Found::Assembled(kind) }));
        }
        if assembly.is_idle() {
            pool.recycle(assembly);
        } else {
            connection.assembly = Some(assembly);
        }
        Ok(found)
    }

    /// Inflates a compressed message into an assembly of its own.
    fn inflate(
        &mut self,
        found: Found,
        connection: &mut Connection,
        pool: &mut AssemblyPool,
        limits: &MessageLimits,
    ) -> Result<Found, Violation> {
        let mut inflated = pool.take(self.stamp);
        let (kind, compressed) = match found {
            Found::WholeCompressed(kind, start, end) => (kind, &self.input[start..end]),
            Found::AssembledCompressed(kind) => (kind, self.done.as_deref().map_or(&[][..], |done| &done.payload)),
            other => return Ok(other),
        };
        let verdict = connection.decompress(compressed, &mut inflated.payload, pool, limits);
        pool.inflated_bytes += inflated.payload.len() as u64;
        if let Some(done) = self.done.replace(inflated) {
            pool.recycle(done);
        }
        verdict.map(|()| Found::Assembled(kind))
    }

    /// Unmasks a payload that lies in the read whole, and advances past it.
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

    /// Builds the event of a completed frame. Always inlined: a call would pass both the frame and the event through
    /// memory, which triples the cost of a small frame.
    #[inline(always)]
    fn event(&mut self, found: Found, connection: &mut Connection) -> Result<Event<'_>, Violation> {
        let done = self.done.as_deref();
        match found {
            Found::Whole(kind, start, end) | Found::WholeCompressed(kind, start, end) => {
                message(kind, &self.input[start..end]).map(Event::Message)
            }
            Found::Assembled(kind) | Found::AssembledCompressed(kind) => {
                message(kind, done.map_or(&[], |done| &done.payload)).map(Event::Message)
            }
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
        // The only pass over text that came in one piece, and the second over text that came in several: creating a
        // `&str` without unsafe code takes a pass over the whole.
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

/// Appends a piece of a payload, unmasked. Text is validated as it arrives, except for the last piece of a message,
/// which is validated with the whole message.
fn append(
    assembly: &mut Assembly,
    piece: &[u8],
    header: &FrameHeader,
    offset: usize,
    whole: bool,
) -> Result<(), Violation> {
    let Assembly { payload, control, utf8, message, compressed, .. } = assembly;
    let target = if header.opcode.is_control() {
        // At most CONTROL_PAYLOAD_MAX bytes, whatever the peer claims.
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
    if *message == Some(MessageKind::Text) && !*compressed && !header.opcode.is_control() && !completes {
        Utf8::check(utf8, &target[start..])?;
    }
    Ok(())
}

/// Checks whether a frame may come now, given the message it would belong to (RFC 6455 5.4).
fn admit(assembly: &mut Assembly, header: &FrameHeader, limits: &MessageLimits) -> Result<(), Violation> {
    if header.opcode.is_control() {
        return Ok(());
    }
    match (header.opcode, assembly.message) {
        (Opcode::Continuation, Some(_)) => {}
        (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
        (_, Some(_)) => return Err(Violation::InterleavedMessage),
        (opcode, None) => {
            let text = opcode == Opcode::Text;
            assembly.message = Some(if text { MessageKind::Text } else { MessageKind::Binary });
            assembly.compressed = header.compressed;
        }
    }
    // Neither term reaches 2^63, so their sum does not overflow.
    check_size(assembly.payload.len() as u64 + header.payload_bytes, assembly.compressed, limits)?;
    count_empty_fragment(assembly, header, limits)
}

/// Checks the size of a message on the wire. A compressed message may be an eighth above the limit on its inflated
/// size: incompressible data grow a little, with small blocks by some percent (RFC 1951 3.2.4).
#[inline]
fn check_size(bytes: u64, compressed: bool, limits: &MessageLimits) -> Result<(), Violation> {
    let mut max = limits.message_bytes_max;
    if compressed {
        max = max.saturating_add(max / 8 + 64);
    }
    if bytes > max {
        return Err(Violation::MessageTooLarge { bytes, max });
    }
    Ok(())
}

fn count_empty_fragment(
    assembly: &mut Assembly,
    header: &FrameHeader,
    limits: &MessageLimits,
) -> Result<(), Violation> {
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
