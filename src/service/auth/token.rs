//! Tokens in the compact form of JWS (RFC 7515 3.1, RFC 7519): text to header, claims and signature.
//!
//! Owns the form and the rules for a header (RFC 8725 3). Never verifies a signature. Invariant: nothing in a header
//! leads to a key but an exact comparison of `kid`: `jku`, `x5u`, `x5c` and `jwk` are refused, as is each extension
//! that has to be understood (`crit`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::error::TokenError;
use super::json;

/// The longest token in bytes: twice what a provider with many claims makes, and within the limit of a request's head.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The longest `kid`, `jti` or `sub` in bytes: four times a hash in hexadecimal digits.
pub(in crate::service) const ID_BYTES_MAX: usize = 256;

/// Header parameters that name a key, change the rules, or belong to another kind of token. `x5t` is only a hash.
const REFUSED: &[&str] = &["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty"];

/// The types of tokens that are accepted: JWT (RFC 7519 5.1) and access tokens (RFC 9068 2.1). Others, such as
/// logout tokens, are signed by the same keys and mean something else (RFC 8725 3.11).
const TYPES: &[&str] = &["JWT", "at+jwt", "application/at+jwt"];

/// A token whose signature was not verified.
pub(super) struct Unverified<'t> {
    /// The part of the text that is signed.
    pub(super) signed: &'t str,
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
}

/// Returns whether a text has the form of a signed token: three parts of base64url.
pub(super) fn is_compact(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

/// Returns whether a text may be an opaque token (RFC 6750 2.1): visible characters in another form.
pub(super) fn is_opaque(text: &str) -> bool {
    let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible && text.len() <= TOKEN_BYTES_MAX && !is_compact(text)
}

/// Parses a token.
pub(super) fn parse(text: &str) -> Result<Unverified<'_>, TokenError> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong { bytes: text.len(), max: TOKEN_BYTES_MAX });
    }
    if !is_compact(text) {
        return Err(TokenError::Form);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
    let header = json::object(&decode(header)?).ok_or(TokenError::Header)?;
    let (algorithm, key_id) = read_header(&header)?;
    Ok(Unverified {
        signed,
        signature: decode(signature)?,
        algorithm,
        key_id,
        claims: json::object(&decode(claims)?).ok_or(TokenError::Claims)?,
    })
}

/// Decodes base64url, of which every text has one form: no padding, no bits beyond the last byte.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form)
}

/// Returns the algorithm and the key's id that a header names.
fn read_header(header: &Map<String, Value>) -> Result<(String, Option<String>), TokenError> {
    if let Some(name) = REFUSED.iter().find(|name| header.contains_key(**name)) {
        return Err(TokenError::HeaderParameter { name });
    }
    let value = |name| TokenError::HeaderValue { name };
    match header.get("typ").map(Value::as_str) {
        None => {}
        Some(Some(typ)) if TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ)) => {}
        Some(_) => return Err(value("typ")),
    }
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(value("alg"))?;
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) if (1..=ID_BYTES_MAX).contains(&id.len()) => Some(id.clone()),
        Some(_) => return Err(value("kid")),
    };
    Ok((algorithm.to_owned(), key_id))
}
