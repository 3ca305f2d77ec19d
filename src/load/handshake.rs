//! The handshake request that all connections of a run send.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::plan::Plan;
use crate::protocol::handshake::client::ClientHandshake;
use crate::protocol::http::InvalidHeader;

/// Returns the request, and the handshake that checks the answers to it.
pub(super) fn request(plan: &Plan) -> Result<(Bytes, ClientHandshake), InvalidHeader> {
    let mut request = Vec::new();
    let protocols: Vec<&str> = plan.protocols.iter().map(String::as_str).collect();
    let headers: Vec<(&str, &str)> = plan.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let handshake =
        ClientHandshake::write_request(&mut request, &plan.host, &plan.path, key(), &protocols, None, &headers)?;
    Ok((request.into(), handshake))
}

/// Returns random bytes, from the standard library's hash seeds.
fn key() -> [u8; 16] {
    let random = || RandomState::new().hash_one(0).to_ne_bytes();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&random());
    key[8..].copy_from_slice(&random());
    key
}
