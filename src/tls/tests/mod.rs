//! Sessions against rustls' client, and records of our own against rustls' connection.

mod client;
mod differential;
mod handshake;

pub(crate) use client::{acceptor, issue, issue_rsa};
