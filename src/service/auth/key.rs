//! Keys that verify signatures of tokens.
//!
//! Owns the rules for a key: its algorithm, its type and its size. Never chooses a key. Invariants: a key has one
//! algorithm from the start, which no token changes, so a public key is never used as a secret; a secret is in no
//! output of its type.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::algorithm::{Algorithm, KeyType};

/// The shortest secret in bytes: the output of SHA-256 (RFC 7518 3.2). A shorter one can be guessed from one token.
pub const SECRET_BYTES_MIN: usize = 32;

/// The shortest and the longest modulus of an RSA key in bits (RFC 7518 3.3; a longer one costs a core milliseconds).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The label of a public key in PEM.
const PEM_LABEL: &str = "PUBLIC KEY";

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A short secret.
    #[error("the secret has {bytes} bytes, but needs {SECRET_BYTES_MIN} or more; make one with openssl rand -hex 32")]
    SecretTooShort {
        /// Its length.
        bytes: usize,
    },
    /// A small RSA key.
    #[error("the RSA key has {bits} bits, but needs {} to {}", RSA_BITS.start(), RSA_BITS.end())]
    RsaSize {
        /// The bits of its modulus.
        bits: usize,
    },
    /// The bytes are no key of this algorithm.
    #[error("this is no public key for {algorithm}")]
    Malformed {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The text is no public key in PEM.
    #[error(
        "this is no public key in PEM; it begins with -----BEGIN PUBLIC KEY----- as openssl pkey -pubout writes it"
    )]
    Pem,
    /// A private key.
    #[error("this is a private key; give the public one, which openssl pkey -pubout writes")]
    Private,
}

/// A key that verifies signatures.
#[derive(Clone)]
pub struct Key {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    material: Material,
}

#[derive(Clone)]
enum Material {
    /// Boxed, because its two states take a kilobyte.
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    /// Returns the key of a secret that issuer and server share.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let hash = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            _ => return Err(KeyError::Malformed { algorithm }),
        };
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::SecretTooShort { bytes: secret.len() });
        }
        Ok(Self { id: None, algorithm, material: Material::Secret(Box::new(hmac::Key::new(hash, secret))) })
    }

    /// Returns the key of a public key in PEM (RFC 7468 13).
    pub fn pem(algorithm: Algorithm, text: &str) -> Result<Self, KeyError> {
        let der = decode_pem(text)?;
        Self::public(algorithm, &der)
    }

    /// Returns the key of a public key: a SubjectPublicKeyInfo, a point of the algorithm's curve, or an Ed25519 key.
    pub(super) fn public(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed { algorithm };
        let verifies = verification(algorithm).ok_or(malformed)?;
        let key = ParsedPublicKey::new(verifies, bytes).map_err(|_| malformed)?;
        Self::checked(algorithm, key)
    }

    /// Returns the key of an RSA modulus and exponent, without leading zeros.
    pub(super) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed { algorithm };
        let parameters = rsa_parameters(algorithm).ok_or(malformed)?;
        let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(|_| malformed)?;
        Self::checked(algorithm, key)
    }

    fn checked(algorithm: Algorithm, key: ParsedPublicKey) -> Result<Self, KeyError> {
        if algorithm.key_type() == KeyType::Rsa {
            let malformed = KeyError::Malformed { algorithm };
            let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| malformed)?;
            // aws-lc-rs refuses a modulus of less than 2048 bits here already.
            let parsed = PublicEncryptingKey::from_der(der.as_ref()).map_err(|_| KeyError::RsaSize { bits: 0 })?;
            let bits = parsed.key_size_bits();
            if !RSA_BITS.contains(&bits) {
                return Err(KeyError::RsaSize { bits });
            }
        }
        Ok(Self { id: None, algorithm, material: Material::Public(key) })
    }

    /// Gives the key an id, the `kid` of tokens that it verifies.
    pub fn with_id(self, id: &str) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// Returns the key's id.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the key's algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns whether the signature of a message is this key's. The comparison takes the same time for each wrong one.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Returns how aws-lc-rs verifies signatures of a public key.
fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
        _ => rsa_parameters(algorithm)?,
    })
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Returns the bytes of the one public key that a text in PEM has.
fn decode_pem(text: &str) -> Result<Vec<u8>, KeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    let body = text.split_once(&format!("-----BEGIN {PEM_LABEL}-----")).map(|(_, body)| body);
    let body = body.and_then(|body| body.split_once(&format!("-----END {PEM_LABEL}-----"))).ok_or(KeyError::Pem)?.0;
    let encoded: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(encoded).map_err(|_| KeyError::Pem)
}
