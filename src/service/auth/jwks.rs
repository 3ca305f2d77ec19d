//! Key sets of issuers (RFC 7517): a document to keys.
//!
//! Owns the rules for a key of a set. Never fetches a document. Invariant: only public keys for signatures come out, so
//! no document turns a text that anybody can read into a secret (`oct`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use thiserror::Error;

use super::algorithm::{Algorithm, KeyType};
use super::json;
use super::key::Key;
use super::token::ID_BYTES_MAX;

/// The longest document in bytes: ten times that of a large provider, with certificates.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// The most keys of a set.
pub const KEYS_MAX: usize = 64;

/// A document that is no usable key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Too long.
    #[error("the key set has {bytes} bytes, but may have {KEY_SET_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a key set.
    #[error("this is no JSON object with a list of keys, in which each name occurs once")]
    Malformed,
    /// Too many keys.
    #[error("the key set has {count} keys, but may have {KEYS_MAX}")]
    TooManyKeys {
        /// Their number.
        count: usize,
    },
    /// None of the keys can be used.
    #[error(
        "none of the {count} keys of the set can be used; one is needed with kty RSA, EC or OKP, for signatures, of \
         the issuer's algorithm if that is configured"
    )]
    NoKey {
        /// The number of keys in the set.
        count: usize,
    },
}

/// Returns the keys of a set that can be used: all but those of other types, for other purposes (`use`, `key_ops`), of
/// another algorithm than the configured one, private ones, and ones that are too small. Those are left out, as RFC
/// 7517 5 has it, because a provider's set may have keys for others.
pub fn parse_key_set(document: &[u8], algorithm: Option<Algorithm>) -> Result<Vec<Key>, KeySetError> {
    if document.len() > KEY_SET_BYTES_MAX {
        return Err(KeySetError::TooLong { bytes: document.len() });
    }
    let set = json::object(document).ok_or(KeySetError::Malformed)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
    if keys.len() > KEYS_MAX {
        return Err(KeySetError::TooManyKeys { count: keys.len() });
    }
    let usable: Vec<Key> = keys.iter().filter_map(|key| read_key(key.as_object()?, algorithm)).collect();
    if usable.is_empty() { Err(KeySetError::NoKey { count: keys.len() }) } else { Ok(usable) }
}

/// Returns the key, if it can be used.
fn read_key(jwk: &Map<String, Value>, configured: Option<Algorithm>) -> Option<Key> {
    if !is_for_verification(jwk) || jwk.contains_key("d") || jwk.contains_key("k") {
        return None;
    }
    let algorithm = algorithm_of(jwk, configured)?;
    let key = match (jwk.get("kty")?.as_str()?, algorithm.key_type()) {
        ("RSA", KeyType::Rsa) => {
            let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
            Key::rsa(algorithm, without_zeros(&n), without_zeros(&e)).ok()?
        }
        ("EC", KeyType::EllipticCurve) => {
            let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
            let size = curve(algorithm)?.1;
            // The uncompressed form of a point (SEC 1 2.3.3).
            let point = [&[4], &x[..], &y[..]].concat();
            (x.len() == size && y.len() == size).then(|| Key::public(algorithm, &point).ok())??
        }
        ("OKP", KeyType::Ed25519) => {
            let x = bytes(jwk, "x")?;
            (x.len() == 32).then(|| Key::public(algorithm, &x).ok())??
        }
        _ => return None,
    };
    match jwk.get("kid") {
        None => Some(key),
        Some(Value::String(id)) if (1..=ID_BYTES_MAX).contains(&id.len()) => Some(key.with_id(id)),
        Some(_) => None,
    }
}

/// Returns whether a key's purpose, if it says one, is to verify signatures (RFC 7517 4.2 and 4.3).
fn is_for_verification(jwk: &Map<String, Value>) -> bool {
    let is_for_signatures = jwk.get("use").is_none_or(|purpose| purpose == "sig");
    let verifies =
        |operations: &Value| operations.as_array().is_some_and(|list| list.iter().any(|one| one == "verify"));
    is_for_signatures && jwk.get("key_ops").is_none_or(verifies)
}

/// Returns the one algorithm of a key: the one that it names, which must fit its type and curve, or else the one that
/// follows from its curve. An RSA key that names none has the configured one, or else RS256, which every provider has
/// (RFC 7518 3.1).
fn algorithm_of(jwk: &Map<String, Value>, configured: Option<Algorithm>) -> Option<Algorithm> {
    let from_curve = jwk.get("crv").map(|crv| {
        let of_curve = |algorithm: &Algorithm| curve(*algorithm).is_some_and(|(name, _)| crv == name);
        Algorithm::NAMES.iter().map(|(_, algorithm)| *algorithm).find(of_curve)
    });
    let named = jwk.get("alg").map(|name| name.as_str()?.parse::<Algorithm>().ok());
    let algorithm = match (named, from_curve) {
        (Some(named), Some(curve)) => named.filter(|named| Some(*named) == curve)?,
        (Some(named), None) => named?,
        (None, Some(curve)) => curve?,
        (None, None) => configured.unwrap_or(Algorithm::Rs256),
    };
    configured.is_none_or(|configured| configured == algorithm).then_some(algorithm)
}

/// Returns the curve of an algorithm, and the bytes of a coordinate on it (RFC 7518 6.2.1.1, RFC 8037 2).
fn curve(algorithm: Algorithm) -> Option<(&'static str, usize)> {
    match algorithm {
        Algorithm::Es256 => Some(("P-256", 32)),
        Algorithm::Es384 => Some(("P-384", 48)),
        Algorithm::Es512 => Some(("P-521", 66)),
        Algorithm::EdDsa => Some(("Ed25519", 32)),
        _ => None,
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok()
}

/// Returns a number without leading zeros, which some providers write.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
