//! The one place where bytes enter and leave a client's socket.
//!
//! A transport owns a connected socket (`plain`). It is plain, or it speaks TLS: then what is read was opened, and what is
//! written is sealed (`tls`), in functions that are never inlined, so that they cost plain transports nothing.

mod plain;
#[cfg(test)]
mod tests;
mod tls;
mod turn_away;

pub use plain::{Received, Transport};
pub use tls::{Opening, SEALED_AT_ONCE_BYTES_MAX, TlsSessions};
pub use turn_away::{turn_away, turn_away_waiting};
