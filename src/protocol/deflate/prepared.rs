//! One message for many connections: encoded at most once for each way it can be encoded.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::super::connection::Connection;
use super::super::frame::{write_compressed_frame, write_frame};
use super::super::message::{Message, MessageKind};
use super::{Compressors, WindowBits};

/// A message that is sent to many. Cloning it, and sending it to connections of any core, shares what was encoded.
#[derive(Clone, Debug)]
pub struct Prepared(Arc<Encodings>);

#[derive(Debug)]
struct Encodings {
    kind: MessageKind,
    payload: Bytes,
    plain: OnceLock<Bytes>,
    /// For each window size; the plain frame where compressing would gain nothing.
    compressed: [OnceLock<Bytes>; WindowBits::COMPRESSOR_SIZES],
}

impl Prepared {
    /// Copies the payload, and encodes nothing yet.
    pub fn new<'m>(message: impl Into<Message<'m>>) -> Self {
        let message = message.into();
        Self(Arc::new(Encodings {
            kind: message.kind(),
            payload: Bytes::copy_from_slice(message.as_bytes()),
            plain: OnceLock::new(),
            compressed: Default::default(),
        }))
    }

    /// Bytes of payload.
    pub fn len(&self) -> usize {
        self.0.payload.len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.0.payload.is_empty()
    }

    /// The whole frame that a server sends on `connection`: compressed if that was agreed and `compressors` are given.
    ///
    /// A connection of its own context takeover gets the shared frame too, and refers to nothing before it afterwards.
    pub fn frame(&self, connection: &mut Connection, compressors: Option<&mut Compressors>) -> &Bytes {
        let (Some(compressors), Some(window)) = (compressors, connection.compresses_with()) else {
            return self.plain();
        };
        let Some(encoded) = window.compressor_index().and_then(|index| self.0.compressed.get(index)) else {
            return self.plain();
        };
        connection.forget_sent();
        // Two cores that encode at once both do the work, and neither waits for the other.
        once(encoded, || match compressors.compress(&self.0.payload, window) {
            None => self.plain().clone(),
            Some(compressed) => {
                let mut frame = Vec::new();
                write_compressed_frame(&mut frame, self.0.kind.opcode(), compressed, None);
                Bytes::from(frame)
            }
        })
    }

    fn plain(&self) -> &Bytes {
        once(&self.0.plain, || {
            let mut frame = Vec::new();
            write_frame(&mut frame, self.0.kind.opcode(), &self.0.payload, None);
            Bytes::from(frame)
        })
    }
}

/// The value, made if it is not there, without waiting for another thread that makes it too.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    if let Some(value) = cell.get() {
        return value;
    }
    let made = make();
    // Another thread may have been quicker: its value is the same.
    cell.get_or_init(|| made)
}

#[cfg(test)]
mod tests {
    use super::super::{Agreement, Compression};
    use super::*;
    use crate::protocol::{AssemblyPool, Event, Incoming, Limits, Role};

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

    fn received(client: &mut Connection, frame: &[u8]) -> String {
        let (mut input, mut pool) = (frame.to_vec(), AssemblyPool::default());
        match Incoming::new(&mut input, 0).next(client, &mut pool, &Limits::default()) {
            Ok(Some(Event::Message(Message::Text(text)))) => text.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn connections_of_one_class_share_one_encoding() {
        let message = "the same for everyone, ".repeat(100);
        let prepared = Prepared::new(&message);
        let mut compressors = Compressors::new(&Compression::default());
        let mut frame = |connection: &mut Connection| prepared.frame(connection, Some(&mut compressors)).clone();
        let plain = frame(&mut Connection::new(Role::Server));
        let wide = frame(&mut connection(Role::Server, 15, false));
        let narrow = frame(&mut connection(Role::Server, 9, false));
        assert_eq!(wide.as_ptr(), frame(&mut connection(Role::Server, 15, false)).as_ptr());
        assert_eq!(wide.as_ptr(), frame(&mut connection(Role::Server, 15, true)).as_ptr());
        assert_ne!(wide.as_ptr(), narrow.as_ptr());
        assert_eq!(plain.as_ptr(), frame(&mut connection(Role::Server, 8, false)).as_ptr());
        assert!(wide.len() * 10 < plain.len());
        assert_eq!(received(&mut connection(Role::Client, 15, false), &wide), message);
        assert_eq!(received(&mut connection(Role::Client, 9, false), &narrow), message);
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
            assert_eq!(received(&mut client, &out), own);
            if step % 3 == 0 {
                let frame = shared.frame(&mut server, Some(&mut compressors)).clone();
                assert_eq!(received(&mut client, &frame), "shared among many, ".repeat(50));
            }
        }
    }

    #[test]
    fn what_does_not_compress_is_shared_plain() {
        let prepared = Prepared::new("hi");
        let mut compressors = Compressors::new(&Compression::default());
        let frame = prepared.frame(&mut connection(Role::Server, 15, false), Some(&mut compressors));
        assert_eq!(&frame[..], b"\x81\x02hi");
        assert_eq!(frame.as_ptr(), prepared.plain().as_ptr());
    }
}
