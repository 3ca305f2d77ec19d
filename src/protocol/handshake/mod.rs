//! The opening handshake (RFC 6455 4) on either end: from a request to a WebSocket.
//!
//! Never decides on behalf of an application. Invariant: a WebSocket opens only after the checks of the RFC, and for a
//! web page only if its origin is allowed.

pub mod client;
mod extension;
mod negotiation;
mod origin;
mod server;

pub use extension::{Extension, extensions};
pub use negotiation::{Answer, InvalidAnswer, NAME, Offer, answer};
pub use origin::{InvalidOrigin, Origins};
pub use server::{Handshake, PROTOCOLS_MAX, accept_key, check, choose_protocol, write_switching_protocols};
