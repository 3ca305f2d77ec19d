//! WebSocket connections (RFC 6455): frames, messages, the closing handshake.
//!
//! Never reads or writes HTTP. Invariant: a peer's input becomes the same messages, control frames and [`Violation`],
//! however its bytes are split.

mod assembly;
mod batch;
mod close;
mod close_code;
mod connection;
mod frame;
mod incoming;
mod mask;
mod message;
mod utf8;
mod violation;

pub use assembly::AssemblyPool;
pub use batch::{Batch, BatchBuilder, Encoding, Prepared};
pub use close::{Close, REASON_BYTES_MAX, write_close};
pub use close_code::CloseCode;
pub use connection::{Connection, Event, MessageLimits, State};
pub use frame::{CONTROL_PAYLOAD_MAX, FrameHeader, HEADER_BYTES_MAX, Opcode, write_compressed_frame, write_frame};
pub use incoming::Incoming;
pub use mask::{MaskKey, apply as apply_mask};
pub use message::{Message, MessageKind};
pub use utf8::Utf8;
pub use violation::Violation;
