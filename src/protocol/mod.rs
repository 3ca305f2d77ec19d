//! WebSocket (RFC 6455) and the HTTP/1.1 head that opens it: bytes in, events and bytes out.
//!
//! No I/O, no clock, no threads, no unsafe code. Invariant: every result depends only on the bytes given, so each rule
//! is tested by splitting its input at every byte.
//!
//! From the bottom up: [`http`] reads requests and writes answers, [`deflate`] compresses, `websocket` turns bytes into
//! messages and back, and [`handshake`] turns a request into a WebSocket.
#![forbid(unsafe_code)]

pub mod deflate;
pub mod handshake;
pub mod http;
mod reason;
mod role;
mod websocket;

pub use handshake::{InvalidOrigin, Origins};
pub use http::{ForeignOrigin, InvalidNetwork, TrustedProxies};
pub use reason::Reason;
pub(crate) use reason::reasons;
pub use role::Role;
pub use websocket::{AssemblyPool, Batch, BatchBuilder, Encoding, Incoming, Prepared, Utf8, Violation};
pub use websocket::{CONTROL_PAYLOAD_MAX, FrameHeader, HEADER_BYTES_MAX, Opcode, write_compressed_frame, write_frame};
pub use websocket::{Close, CloseCode, REASON_BYTES_MAX, write_close};
pub use websocket::{Connection, Event, MessageLimits, State};
pub use websocket::{MaskKey, Message, MessageKind, apply_mask};
