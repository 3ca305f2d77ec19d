//! WebSocket (RFC 6455) and the HTTP/1.1 head it begins with: bytes in, events and bytes out.
//!
//! No I/O, no clock, no threads, no unsafe code. Everything here is a function of the bytes it is given, so every
//! rule can be tested by splitting its input at every byte.
#![forbid(unsafe_code)]

pub mod client_handshake;
pub mod handshake;
mod head;
pub mod http;
pub mod response;
