//! Keys of two issuers, and tokens signed with them.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::service::auth::algorithm::Algorithm;
use crate::service::auth::issuer_keys::IssuerKeys;
use crate::service::auth::key::Key;
use crate::service::auth::verifier::{Issuer, TokenRules, Verifier};

/// The time at which tokens are verified.
pub const NOW_S: u64 = 1_700_000_000;

pub const LEEWAY_S: u64 = 5;

pub const LIFE_S_MAX: u64 = 86_400;

/// The secrets of the issuers a and b.
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
pub const OTHER_SECRET: &[u8] = b"fedcba9876543210fedcba9876543210";

/// The key pairs of the issuer a.
pub struct Pairs {
    pub rsa: RsaKeyPair,
    pub p256: EcdsaKeyPair,
    pub p384: EcdsaKeyPair,
    pub p521: EcdsaKeyPair,
    pub ed25519: Ed25519KeyPair,
}

pub static PAIRS: LazyLock<Pairs> = LazyLock::new(|| Pairs {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    p521: EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap(),
    ed25519: Ed25519KeyPair::generate().unwrap(),
});

/// The signature of a test's token.
#[derive(Clone, Copy)]
pub enum By<'s> {
    Hmac(hmac::Algorithm, &'s [u8]),
    Rsa(&'static dyn RsaEncoding),
    P256,
    P384,
    P521,
    Ed25519,
    /// Any bytes.
    Bytes(&'s [u8]),
}

/// The signature of most tests.
pub const HS256: By<'static> = By::Hmac(hmac::HMAC_SHA256, SECRET);
pub const RS256: By<'static> = By::Rsa(&RSA_PKCS1_SHA256);

impl By<'_> {
    pub fn sign(self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(hash, secret) => hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec(),
            Self::Rsa(encoding) => {
                let mut signature = vec![0; PAIRS.rsa.public_modulus_len()];
                PAIRS.rsa.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256 => PAIRS.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::P384 => PAIRS.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::P521 => PAIRS.p521.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519 => PAIRS.ed25519.sign(message).as_ref().to_vec(),
            Self::Bytes(bytes) => bytes.to_vec(),
        }
    }
}

/// Returns a token with this header and these claims, which need not be JSON.
pub fn token(header: &str, claims: &str, by: By<'_>) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = by.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the claims of an honest token of the issuer a, as the text of an object.
pub fn claims() -> String {
    claims_with("")
}

/// Returns honest claims and more, which begin with a comma.
pub fn claims_with(more: &str) -> String {
    let (iat, exp) = (NOW_S - 60, NOW_S + 60);
    format!(
        r#"{{"iss":"https://a.example","aud":"chat","sub":"ann","jti":"1","iat":{iat},"nbf":{iat},"exp":{exp}{more}}}"#
    )
}

/// Returns the public key of a pair as SubjectPublicKeyInfo.
pub fn der(public: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    public.as_der().unwrap().as_ref().to_vec()
}

/// Returns a public key in PEM.
pub fn pem(public: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der(public)))
}

/// The verifier of the issuers a, which has a key of each kind, and b.
pub static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier(true));

pub fn verifier(needs_id: bool) -> Verifier {
    let rsa = pem(PAIRS.rsa.public_key());
    let of_a: Vec<Key> = [
        ("h", Key::secret(Algorithm::Hs256, SECRET)),
        ("r", Key::pem(Algorithm::Rs256, &rsa)),
        ("p", Key::pem(Algorithm::Ps256, &rsa)),
        ("e", Key::pem(Algorithm::Es256, &pem(PAIRS.p256.public_key()))),
        ("e3", Key::pem(Algorithm::Es384, &pem(PAIRS.p384.public_key()))),
        ("e5", Key::pem(Algorithm::Es512, &pem(PAIRS.p521.public_key()))),
        ("d", Key::pem(Algorithm::EdDsa, &pem(PAIRS.ed25519.public_key()))),
    ]
    .into_iter()
    .map(|(id, key)| key.unwrap().with_id(id))
    .collect();
    verifier_of(of_a, needs_id)
}

/// Returns the verifier of the issuers a, which has these keys, and b.
pub fn verifier_with(of_a: impl Into<IssuerKeys>) -> Verifier {
    verifier_of(of_a, true)
}

fn verifier_of(of_a: impl Into<IssuerKeys>, needs_id: bool) -> Verifier {
    let of_b = Key::secret(Algorithm::Hs256, OTHER_SECRET).unwrap().with_id("b");
    let issuer = |name: &str, keys: IssuerKeys| Issuer {
        name: name.into(),
        iss: Some(format!("https://{name}.example").into()),
        audiences: vec!["chat".into()],
        keys,
        introspector: None,
        roles: Vec::new(),
    };
    let rules = TokenRules { leeway_s: LEEWAY_S, life_s_max: LIFE_S_MAX, needs_id };
    Verifier::new(vec![issuer("a", of_a.into()), issuer("b", [of_b].into())], rules)
}
