//! WebSocket (RFC 6455) and the HTTP/1.1 head it begins with: bytes in, events and bytes out.
//!
//! No I/O, no clock, no threads, no unsafe code. Everything here is a function of the bytes it is given, so every
//! rule can be tested by splitting its input at every byte.
//!
//! From the bottom up: [`http`] reads and answers requests, [`deflate`] compresses, `websocket` turns bytes into messages
//! and back, and [`handshake`] leads from a request to a WebSocket.
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
pub use websocket::{Connection, Event, Limits, State};
pub use websocket::{MaskKey, Message, MessageKind, apply_mask};
