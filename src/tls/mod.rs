//! TLS without I/O: bytes in, bytes out.
//!
//! rustls performs the handshake and everything that parses a stranger's handshake. An open session of TLS 1.3 is kept
//! in records of our own, because a connection of rustls takes 3,500 bytes. This module opens no socket, reads no file
//! and no clock, and has no `unsafe`. Invariant: rustls' types leave it only through [`Fault`] and [`Tickets`].

mod acceptor;
mod certificates;
mod client_certificate;
mod connection;
mod connector;
mod contexts;
mod fault;
mod handshake;
mod keys;
mod provider;
mod records;
mod secrets;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod tickets;

pub use acceptor::{
    Acceptor, Authorities, ClientCertificates, RecordLayer, Replacement, Settings, SettingsError, Tickets, Versions,
    accept,
};
pub use certificates::{Certificate, CertificateError};
pub use client_certificate::ClientCertificate;
pub use connector::{Connector, ConnectorError, Trust, client_config};
pub use fault::{Fault, FaultKind};
pub use records::Opened;
pub use session::{Progress, Session};
pub use tickets::{TICKET_KEY_BYTES_MIN, TicketKeyError, TicketKeys};
