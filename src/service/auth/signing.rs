//! Makes tokens, for trials and tests.
//!
//! Never used by a server, which only verifies. Invariant: a private key and a secret are in no output of its types.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use thiserror::Error;

use super::algorithm::Algorithm;

/// A key that cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SigningError {
    /// Another algorithm.
    #[error(
        "tokens for trials are made with HS256, HS384, HS512, ES256, ES384, ES512 or EdDSA, and not with {algorithm}"
    )]
    Algorithm {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The text is no private key of the algorithm.
    #[error("this is no private key for {algorithm} in PEM; make one with openssl genpkey")]
    Key {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The library could not sign.
    #[error("the token could not be signed")]
    Failed,
}

/// A key that signs tokens.
pub struct Signer {
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    /// Boxed, because its two states take a kilobyte.
    Secret(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl Signer {
    /// Returns the signer of a secret, or of a private key in PEM (PKCS #8).
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, SigningError> {
        let wrong = SigningError::Key { algorithm };
        let secret = |hash| Material::Secret(Box::new(hmac::Key::new(hash, key)));
        let ecdsa = |curve| {
            let der = decode_pem(key).ok_or(wrong)?;
            EcdsaKeyPair::from_pkcs8(curve, &der).map(Material::Ecdsa).map_err(|_| wrong)
        };
        let material = match algorithm {
            Algorithm::Hs256 => secret(hmac::HMAC_SHA256),
            Algorithm::Hs384 => secret(hmac::HMAC_SHA384),
            Algorithm::Hs512 => secret(hmac::HMAC_SHA512),
            Algorithm::Es256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)?,
            Algorithm::Es384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)?,
            Algorithm::Es512 => ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING)?,
            Algorithm::EdDsa => {
                let der = decode_pem(key).ok_or(wrong)?;
                Material::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| wrong)?)
            }
            _ => return Err(SigningError::Algorithm { algorithm }),
        };
        Ok(Self { algorithm, material })
    }

    /// Returns a signed token with these claims.
    pub fn sign(&self, key_id: Option<&str>, claims: &Map<String, Value>) -> Result<String, SigningError> {
        let mut header = Map::new();
        header.insert("alg".to_owned(), self.algorithm.name().into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(id) = key_id {
            header.insert("kid".to_owned(), id.into());
        }
        let part = |members: &Map<String, Value>| -> Result<String, SigningError> {
            Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(members).map_err(|_| SigningError::Failed)?))
        };
        let signed = format!("{}.{}", part(&header)?, part(claims)?);
        let signature = self.signature(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Ok(match &self.material {
            Material::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Material::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Material::Ecdsa(key) => {
                let signature = key.sign(&SystemRandom::new(), message).map_err(|_| SigningError::Failed)?;
                signature.as_ref().to_vec()
            }
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Returns the bytes of the private key that a text in PEM has.
fn decode_pem(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, body) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = body.split_once("-----END PRIVATE KEY-----")?;
    STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
}
