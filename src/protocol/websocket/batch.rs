//! Messages for many connections: encoded at most once per encoding, and shared.
//!
//! A [`Batch`] is a sequence of messages as whole frames, ready to be sent to any number of connections on any core. It
//! never changes once it is built; its compressed encodings are made when the first connection needs them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::connection::Connection;
use super::frame::{FrameHeader, Opcode, write_compressed_frame, write_frame};
use super::message::Message;
use crate::protocol::deflate::{Compress, Compressors, WindowBits};
use crate::protocol::role::Role;

/// Memory of a batch beside its frames, in bytes: an estimate of its allocations.
const BATCH_BYTES: usize = 256;
/// Memory of each message of a batch beside its frame, in bytes.
const MESSAGE_BYTES: usize = size_of::<usize>() + size_of::<Compress>();

/// Some messages, shared by all connections they are sent to. Cloning it copies no message.
#[derive(Clone, Debug)]
pub struct Batch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plain: Encoding,
    compress: Vec<Compress>,
    /// The encoding for each window size, once it is needed; `None` inside if compressing gains nothing.
    compressed: OnceLock<Box<ByWindow>>,
}

type ByWindow = [OnceLock<Option<Encoding>>; WindowBits::COMPRESSOR_SIZES];

/// Messages as wire bytes.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    frames: Bytes,
    /// The end of each message's frame.
    ends: Vec<usize>,
}

impl Encoding {
    /// Returns the frames of all messages.
    pub fn frames(&self) -> &Bytes {
        &self.frames
    }

    /// Returns the number of messages.
    pub fn messages(&self) -> usize {
        self.ends.len()
    }

    /// Returns the byte range of the frames of some messages.
    pub fn span(&self, messages: Range<usize>) -> Range<usize> {
        let edge = |message: usize| message.checked_sub(1).map_or(0, |before| self.ends[before]);
        edge(messages.start)..edge(messages.end)
    }

    /// Returns the frames of some messages.
    pub fn slice(&self, messages: Range<usize>) -> Bytes {
        self.frames.slice(self.span(messages))
    }

    /// Concatenates several encodings. Copies them, unless there is only one.
    pub fn concat<'e>(encodings: impl ExactSizeIterator<Item = &'e Encoding> + Clone) -> Self {
        if encodings.len() == 1 {
            return encodings.last().cloned().unwrap_or_default();
        }
        let mut frames = Vec::with_capacity(encodings.clone().map(|encoding| encoding.frames.len()).sum());
        let mut ends = Vec::with_capacity(encodings.clone().map(Encoding::messages).sum());
        for encoding in encodings {
            let start = frames.len();
            frames.extend_from_slice(&encoding.frames);
            ends.extend(encoding.ends.iter().map(|end| start + end));
        }
        Self { frames: Bytes::from(frames), ends }
    }

    /// Returns the same bytes with a reference count of their own, so that threads that share them do not contend for
    /// one counter.
    pub fn with_own_count(&self) -> Self {
        Self { frames: Bytes::from_owner(self.frames.clone()), ends: self.ends.clone() }
    }
}

impl Batch {
    /// Returns the number of messages.
    pub fn messages(&self) -> usize {
        self.0.compress.len()
    }

    /// Returns the memory it takes, in bytes, without its compressed encodings.
    pub fn bytes(&self) -> usize {
        BATCH_BYTES + self.0.plain.frames.len() + self.messages() * MESSAGE_BYTES
    }

    /// Returns the encoding for connections without compression.
    pub fn plain(&self) -> &Encoding {
        &self.0.plain
    }

    /// Returns the encoding for connections that agreed on `window`, with each message compressed if its [`Compress`]
    /// asks for it; the uncompressed one without a window or without compressors. Compresses once per window.
    pub fn encoding(&self, window: Option<WindowBits>, compressors: Option<&mut Compressors>) -> &Encoding {
        let (Some(window), Some(compressors)) = (window, compressors) else { return &self.0.plain };
        let by_window = self.0.compressed.get_or_init(Box::default);
        let Some(cell) = window.compressor_index().and_then(|index| by_window.get(index)) else {
            return &self.0.plain;
        };
        if let Some(made) = cell.get() {
            return made.as_ref().unwrap_or(&self.0.plain);
        }
        // Two cores that compress at once both do the work, and neither waits for the other.
        let made = self.compress(window, compressors);
        cell.get_or_init(|| made).as_ref().unwrap_or(&self.0.plain)
    }

    /// Returns a batch of the last message alone.
    pub fn last(&self) -> Option<Self> {
        let last = self.messages().checked_sub(1)?;
        let mut builder = BatchBuilder::default();
        builder.frames.extend_from_slice(&self.0.plain.frames[self.0.plain.span(last..last + 1)]);
        builder.ends.push(builder.frames.len());
        builder.compress.push(self.0.compress[last]);
        Some(builder.finish())
    }

    fn compress(&self, window: WindowBits, compressors: &mut Compressors) -> Option<Encoding> {
        let mut frames = Vec::new();
        let mut ends = Vec::with_capacity(self.messages());
        let mut gained = false;
        for (message, compress) in self.0.compress.iter().enumerate() {
            let frame = &self.0.plain.frames[self.0.plain.span(message..message + 1)];
            let compressed = decoded(frame).is_some_and(|(opcode, payload)| {
                let wanted = compressors.should_compress(*compress, payload.len());
                let compressed = if wanted { compressors.compress(payload, window) } else { None };
                compressed.map(|compressed| write_compressed_frame(&mut frames, opcode, compressed, None)).is_some()
            });
            if !compressed {
                frames.extend_from_slice(frame);
            }
            gained |= compressed;
            ends.push(frames.len());
        }
        gained.then(|| Encoding { frames: Bytes::from(frames), ends })
    }
}

/// Splits a frame written by [`BatchBuilder`] into its opcode and payload.
fn decoded(frame: &[u8]) -> Option<(Opcode, &[u8])> {
    let (header, bytes) = FrameHeader::parse(frame, Role::Client, false).ok()??;
    Some((header.opcode, frame.get(bytes..)?))
}

/// Collects the messages of a batch.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    frames: Vec<u8>,
    ends: Vec<usize>,
    compress: Vec<Compress>,
}

impl BatchBuilder {
    /// Adds a message.
    pub fn push(&mut self, message: Message<'_>, compress: Compress) {
        write_frame(&mut self.frames, message.kind().opcode(), message.as_bytes(), None);
        self.ends.push(self.frames.len());
        self.compress.push(compress);
    }

    /// Adds the messages of a batch. Copies the uncompressed encoding only.
    pub fn append(&mut self, batch: &Batch) {
        let start = self.frames.len();
        self.frames.extend_from_slice(&batch.0.plain.frames);
        self.ends.extend(batch.0.plain.ends.iter().map(|end| start + end));
        self.compress.extend_from_slice(&batch.0.compress);
    }

    /// Returns the number of messages.
    pub fn messages(&self) -> usize {
        self.ends.len()
    }

    /// Returns the memory that the batch will take, in bytes; 0 while there are no messages.
    pub fn bytes(&self) -> usize {
        if self.ends.is_empty() { 0 } else { BATCH_BYTES + self.frames.len() + self.messages() * MESSAGE_BYTES }
    }

    /// Builds the batch.
    pub fn finish(self) -> Batch {
        let plain = Encoding { frames: Bytes::from(self.frames), ends: self.ends };
        Batch(Arc::new(Shared { plain, compress: self.compress, compressed: OnceLock::new() }))
    }
}

/// One message for many sessions: encoded, and compressed where that is agreed, at most once. Clones and sends to
/// sessions on any core share the encoded bytes.
#[derive(Clone, Debug)]
pub struct Prepared(Batch);

impl Prepared {
    /// Copies the payload. Compresses it if it is large.
    pub fn new<'m>(message: impl Into<Message<'m>>) -> Self {
        Self::with(message, Compress::IfLarge)
    }

    /// Copies the payload, as [`Prepared::new`] does, with a choice whether to compress it.
    pub fn with<'m>(message: impl Into<Message<'m>>, compress: Compress) -> Self {
        let mut builder = BatchBuilder::default();
        builder.push(message.into(), compress);
        Self(builder.finish())
    }

    /// Returns the message as a batch, for sending it to many sessions at once.
    pub(crate) fn batch(&self) -> &Batch {
        &self.0
    }
}

impl Connection {
    /// Returns the whole frame of a prepared message for this connection of a server, compressed if the connection
    /// agreed on compression, `compressors` are given, and the message is to be compressed.
    ///
    /// A connection with context takeover gets the shared frame too, and drops its own history.
    pub fn frame_of<'p>(&mut self, prepared: &'p Prepared, compressors: Option<&mut Compressors>) -> &'p Bytes {
        let window = self.compresses_with();
        if window.is_some() {
            self.forget_sent();
        }
        prepared.0.encoding(window, compressors).frames()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AssemblyPool, Event, Incoming, MessageKind, MessageLimits};
    use super::*;
    use crate::protocol::deflate::{Agreement, Compression};

    fn connection(role: Role, bits: u8, takeover: bool) -> Connection {
        Connection::compressed(
            role,
            Agreement {
                server_context_takeover: takeover,
                client_context_takeover: takeover,
                server_window_bits: WindowBits::new(bits).unwrap(),
                client_window_bits: WindowBits::MAX,
            },
        )
    }

    fn received(client: &mut Connection, frames: &[u8]) -> Vec<String> {
        let (mut input, mut pool) = (frames.to_vec(), AssemblyPool::default());
        let mut incoming = Incoming::new(&mut input, 0);
        let mut messages = Vec::new();
        while let Some(event) = incoming.next(client, &mut pool, &MessageLimits::default()).unwrap() {
            let Event::Message(Message::Text(text)) = event else { panic!("{event:?}") };
            messages.push(text.to_owned());
        }
        messages
    }

    fn batch(messages: &[&str]) -> Batch {
        let mut builder = BatchBuilder::default();
        messages.iter().for_each(|message| builder.push(Message::Text(message), Compress::IfLarge));
        builder.finish()
    }

    #[test]
    fn a_batch_is_its_messages_as_frames_whatever_was_agreed() {
        let long = "long enough to be compressed, ".repeat(100);
        let messages = ["short", &long, "", &long[1..]];
        let batch = batch(&messages);
        let mut compressors = Compressors::new(&Compression::default());
        let plain = batch.encoding(None, Some(&mut compressors)).clone();
        assert_eq!(received(&mut Connection::new(Role::Client), plain.frames()), messages);
        for (bits, takeover) in [(9, false), (15, false), (15, true)] {
            let encoding = batch.encoding(WindowBits::new(bits), Some(&mut compressors)).clone();
            assert!(encoding.frames().len() * 5 < plain.frames().len());
            assert_eq!(received(&mut connection(Role::Client, bits, takeover), encoding.frames()), messages);
            let middle = encoding.slice(1..3);
            assert_eq!(received(&mut connection(Role::Client, bits, takeover), &middle), messages[1..3]);
        }
        assert_eq!(batch.encoding(WindowBits::new(15), None).frames(), plain.frames());
    }

    #[test]
    fn batches_can_be_joined_in_every_encoding() {
        let long = "say it again, ".repeat(100);
        let (one, two) = (batch(&["a", &long]), batch(&[&long, "b"]));
        let mut compressors = Compressors::new(&Compression::default());
        for window in [None, WindowBits::new(12)] {
            let parts = [&one, &two].map(|batch| batch.encoding(window, Some(&mut compressors)).clone());
            let joined = Encoding::concat(parts.iter());
            let mut client = connection(Role::Client, 12, false);
            assert_eq!(received(&mut client, joined.frames()), ["a", &long, &long, "b"]);
            assert_eq!(received(&mut client, &joined.slice(2..4)), [&long, "b"]);
            let alone = Encoding::concat(parts[..1].iter());
            assert_eq!(alone.frames().as_ptr(), parts[0].frames().as_ptr(), "one is not copied");
            assert_eq!(alone.with_own_count().frames().as_ptr(), parts[0].frames().as_ptr());
        }
        let mut builder = BatchBuilder::default();
        builder.append(&one);
        builder.append(&two);
        let appended = builder.finish();
        assert_eq!(received(&mut Connection::new(Role::Client), appended.plain().frames()), ["a", &long, &long, "b"]);
        let last = appended.last().unwrap();
        assert_eq!((last.messages(), &last.plain().frames()[..]), (1, &b"\x81\x01b"[..]));
    }

    #[test]
    fn each_message_is_compressed_as_it_is_to_be() {
        let text = "compressible, ".repeat(10);
        let (short, long) = (text.as_str(), text.repeat(10));
        let mut builder = BatchBuilder::default();
        for (message, compress) in [
            (short, Compress::IfLarge),
            (short, Compress::Always),
            (short, Compress::Never),
            (&long, Compress::IfLarge),
            (&long, Compress::Never),
        ] {
            builder.push(Message::Text(message), compress);
        }
        let batch = builder.finish();
        let mut compressors = Compressors::new(&Compression::default());
        let encoding = batch.encoding(WindowBits::new(15), Some(&mut compressors));
        let is_compressed = |message: usize| encoding.slice(message..message + 1)[0] & 0x40 != 0;
        assert_eq!([0, 1, 2, 3, 4].map(is_compressed), [false, true, false, true, false]);
    }

    #[test]
    fn connections_of_one_class_share_one_encoding() {
        let message = "the same for everyone, ".repeat(100);
        let prepared = Prepared::new(&message);
        let mut compressors = Compressors::new(&Compression::default());
        let mut frame = |connection: &mut Connection| connection.frame_of(&prepared, Some(&mut compressors)).clone();
        let plain = frame(&mut Connection::new(Role::Server));
        let wide = frame(&mut connection(Role::Server, 15, false));
        let narrow = frame(&mut connection(Role::Server, 9, false));
        assert_eq!(wide.as_ptr(), frame(&mut connection(Role::Server, 15, false)).as_ptr());
        assert_eq!(wide.as_ptr(), frame(&mut connection(Role::Server, 15, true)).as_ptr());
        assert_ne!(wide.as_ptr(), narrow.as_ptr());
        assert_eq!(plain.as_ptr(), frame(&mut connection(Role::Server, 8, false)).as_ptr());
        assert!(wide.len() * 10 < plain.len());
        assert_eq!(received(&mut connection(Role::Client, 15, false), &wide), [message.as_str()]);
        assert_eq!(received(&mut connection(Role::Client, 9, false), &narrow), [message.as_str()]);
    }

    #[test]
    fn a_shared_frame_between_messages_of_a_stream_confuses_nobody() {
        let shared = Prepared::new(&"shared among many, ".repeat(50));
        let mut compressors = Compressors::new(&Compression::default());
        let (mut server, mut client) = (connection(Role::Server, 15, true), connection(Role::Client, 15, true));
        for step in 0..10 {
            let own = format!("message {step} of this connection alone, ").repeat(30);
            let mut out = Vec::new();
            let compressed = server.compress(own.as_bytes(), &mut compressors).unwrap();
            write_compressed_frame(&mut out, MessageKind::Text.opcode(), compressed, None);
            assert_eq!(received(&mut client, &out), [own]);
            if step % 3 == 0 {
                let frame = server.frame_of(&shared, Some(&mut compressors)).clone();
                assert_eq!(received(&mut client, &frame), ["shared among many, ".repeat(50)]);
            }
        }
    }

    #[test]
    fn incompressible_batches_are_shared_uncompressed() {
        let prepared = Prepared::with("hi", Compress::Always);
        let mut compressors = Compressors::new(&Compression::default());
        let frame = connection(Role::Server, 15, false).frame_of(&prepared, Some(&mut compressors));
        assert_eq!(&frame[..], b"\x81\x02hi");
        assert_eq!(frame.as_ptr(), prepared.batch().plain().frames().as_ptr());
    }
}
