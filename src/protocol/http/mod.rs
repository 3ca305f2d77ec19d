//! HTTP/1.1 requests and responses (RFC 9110, RFC 9112), and the address that a request comes from.
//!
//! Owns heads, bodies, proxies' headers and refusals. Never reads or writes a WebSocket frame. Invariant: an accepted
//! request can be read in one way only.

mod chunks;
mod date;
mod foreign_origin;
mod forwarded;
pub(in crate::protocol) mod grammar;
mod head;
mod network;
pub mod proxy;
mod refusal;
mod request;
mod response;

pub use chunks::{CHUNK_EXTRAS_BYTES_MAX, Chunks, LAST_CHUNK, write_chunk};
pub use date::Date;
pub use foreign_origin::ForeignOrigin;
pub use forwarded::{InvalidNetwork, TrustedProxies};
pub use head::{HEADERS_CAPACITY, HeadLimits, HeadScan, Headers};
pub(super) use head::{explain_headers, strict_head};
pub(crate) use network::parse_network;
pub use refusal::Refusal;
pub use request::{BodyLength, Request, parse_request};
pub(super) use request::{Connection, names_websocket};
pub use response::{InvalidHeader, Response, write_response, write_streamed_head};
pub(super) use response::{push, push_headers, push_origin};
