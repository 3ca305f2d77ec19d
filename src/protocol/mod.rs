//! WebSocket (RFC 6455) and the HTTP/1.1 head it begins with: bytes in, events and bytes out.
//!
//! No I/O, no clock, no threads, no unsafe code. Everything here is a function of the bytes it is given, so every
//! rule can be tested by splitting its input at every byte.
#![forbid(unsafe_code)]

mod assembly;
mod batch;
pub mod client_handshake;
mod close;
mod connection;
mod date;
pub mod deflate;
mod foreign_origin;
mod forwarded;
mod frame;
pub mod handshake;
mod head;
pub mod http;
mod incoming;
mod mask;
mod message;
mod origin;
pub mod proxy;
mod reason;
mod refusal;
mod response;
mod utf8;
mod violation;

pub use assembly::AssemblyPool;
pub use batch::{Batch, BatchBuilder, Encoding, Prepared};
pub use close::{Close, CloseCode, REASON_BYTES_MAX};
pub use connection::{Connection, Event, Limits, State};
pub use foreign_origin::ForeignOrigin;
pub use forwarded::{InvalidNetwork, TrustedProxies};
pub use frame::{CONTROL_PAYLOAD_MAX, FrameHeader, HEADER_BYTES_MAX, Opcode, Role};
pub use frame::{write_close, write_compressed_frame, write_frame};
pub use incoming::Incoming;
pub use mask::{MaskKey, apply as apply_mask};
pub use message::{Message, MessageKind};
pub use origin::{InvalidOrigin, Origins};
pub use reason::Reason;
pub(crate) use reason::reasons;
pub use utf8::Utf8;
pub use violation::Violation;
