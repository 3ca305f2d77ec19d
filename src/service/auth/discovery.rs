//! OpenID Connect Discovery 1.0: the document in which a provider names the address of its key set.
//!
//! Owns the rules for the document. Never fetches it. Invariant: an address comes out only of a document whose `issuer`
//! is the configured one, and leads to this host only if the document came from it.

use serde_json::Value;
use thiserror::Error;

use super::json;
use crate::outbound::{InvalidUrl, Url};

/// The longest document in bytes: ten times that of a large provider.
pub const DISCOVERY_BYTES_MAX: usize = 64 * 1024;

/// The most characters of another issuer that an error shows: enough for any URL of one.
const NAMED_CHARS_MAX: usize = 200;

/// The path of the document below the issuer (OpenID Connect Discovery 1.0 4).
const PATH: &str = "/.well-known/openid-configuration";

/// A document that names no key set of the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Too long.
    #[error("the discovery document has {bytes} bytes, but may have {DISCOVERY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a discovery document.
    #[error("the discovery document is no JSON object with issuer and jwks_uri, in which each name occurs once")]
    Malformed,
    /// The document of somebody else.
    #[error("the discovery document is that of the issuer {named:?}, which is not the configured iss")]
    Issuer {
        /// Its issuer, or the beginning of it.
        named: String,
    },
    /// An address that is not called.
    #[error("the jwks_uri of the discovery document {0}")]
    Address(#[from] InvalidUrl),
    /// A key set on this host, by a document from elsewhere.
    #[error("the jwks_uri of the discovery document must begin with https://, since the document came from elsewhere")]
    NotEncrypted,
}

/// Returns the address of an issuer's document, which follows from its `iss`.
pub fn discovery_url(iss: &str) -> Result<Url, InvalidUrl> {
    if iss.contains('?') {
        return Err(InvalidUrl::Malformed);
    }
    let base = iss.strip_suffix('/').unwrap_or(iss);
    // A fragment would swallow the path.
    base.parse::<Url>()?;
    format!("{base}{PATH}").parse()
}

/// Returns the address of the key set that an issuer's document names. The issuer is compared byte for byte (OpenID
/// Connect Discovery 1.0 4.3).
pub fn parse_discovery(document: &[u8], iss: &str) -> Result<Url, DiscoveryError> {
    if document.len() > DISCOVERY_BYTES_MAX {
        return Err(DiscoveryError::TooLong { bytes: document.len() });
    }
    let members = json::object(document).ok_or(DiscoveryError::Malformed)?;
    let text = |name| members.get(name).and_then(Value::as_str).ok_or(DiscoveryError::Malformed);
    let issuer = text("issuer")?;
    if issuer != iss {
        return Err(DiscoveryError::Issuer { named: issuer.chars().take(NAMED_CHARS_MAX).collect() });
    }
    let url: Url = text("jwks_uri")?.parse()?;
    if is_encrypted(iss) && !is_encrypted(url.as_str()) {
        return Err(DiscoveryError::NotEncrypted);
    }
    Ok(url)
}

fn is_encrypted(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISS: &str = "https://login.example.com/realms/a";

    #[test]
    fn the_address_of_the_document_follows_from_the_issuer() {
        for (iss, url) in [
            (ISS, "https://login.example.com/realms/a/.well-known/openid-configuration"),
            ("https://login.example.com/", "https://login.example.com/.well-known/openid-configuration"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery_url(iss).unwrap().as_str(), url);
        }
        for iss in ["", "shop", "http://login.example.com", "https://a.example/?b", "https://a.example/#b", "/a"] {
            assert!(discovery_url(iss).is_err(), "{iss}");
        }
    }

    #[test]
    fn a_key_set_is_taken_from_a_document_of_the_issuer_alone() {
        let document = |issuer: &str, uri: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}","x":[1]}}"#);
        let parse = |text: String, iss: &str| parse_discovery(text.as_bytes(), iss).map(|url| url.as_str().to_owned());
        let keys = "https://keys.example.com/jwks";
        assert_eq!(parse(document(ISS, keys), ISS).as_deref(), Ok(keys));
        let here = "http://127.0.0.1:8080";
        assert_eq!(
            parse(document(here, "http://127.0.0.1:8080/jwks"), here).as_deref(),
            Ok("http://127.0.0.1:8080/jwks")
        );
        for issuer in [
            "https://login.example.com/realms/a/",
            "https://login.example.com",
            "HTTPS://login.example.com/realms/a",
            "",
        ] {
            assert_eq!(parse(document(issuer, keys), ISS), Err(DiscoveryError::Issuer { named: issuer.to_owned() }));
        }
        let shown = parse(document(&"\\n".repeat(1000), keys), ISS).unwrap_err().to_string();
        assert!(shown.len() < 500 && !shown.contains('\n'), "{shown}");
        for (uri, fault) in [
            ("http://keys.example.com/", DiscoveryError::Address(InvalidUrl::NotEncrypted)),
            ("http://127.0.0.1:8080/jwks", DiscoveryError::NotEncrypted),
            ("file:///etc/passwd", DiscoveryError::Address(InvalidUrl::Malformed)),
            ("https://a:b@keys.example.com/", DiscoveryError::Address(InvalidUrl::UserInfo)),
            ("jwks", DiscoveryError::Address(InvalidUrl::Malformed)),
            ("", DiscoveryError::Address(InvalidUrl::Malformed)),
        ] {
            assert_eq!(parse(document(ISS, uri), ISS), Err(fault), "{uri}");
        }
        for text in [
            "".to_owned(),
            "<html>".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            format!(r#"{{"issuer":"{ISS}"}}"#),
            format!(r#"{{"issuer":1,"jwks_uri":"{keys}"}}"#),
            format!(r#"{{"issuer":"{ISS}","jwks_uri":["{keys}"]}}"#),
            format!(r#"{{"issuer":"{ISS}","issuer":"{ISS}","jwks_uri":"{keys}"}}"#),
        ] {
            assert_eq!(parse(text.clone(), ISS), Err(DiscoveryError::Malformed), "{text}");
        }
        let long = document(ISS, keys) + &" ".repeat(DISCOVERY_BYTES_MAX);
        assert_eq!(parse(long.clone(), ISS), Err(DiscoveryError::TooLong { bytes: long.len() }));
    }
}
