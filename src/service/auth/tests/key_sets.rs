//! Key sets: the keys that are taken, and all others.

use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::keys::{By, NOW_S, PAIRS, RS256, claims, token, verifier_with};
use crate::service::auth::algorithm::Algorithm;
use crate::service::auth::jwks::{KEY_SET_BYTES_MAX, KEYS_MAX, KeySetError, parse_key_set};

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the RSA key of the issuer a.
fn rsa() -> Value {
    // RSAPublicKey: a sequence of two numbers, of which the first has a leading zero.
    let der = PAIRS.rsa.public_key().as_ref();
    let (n, e) = (&der[9..265], &der[der.len() - 3..]);
    json!({ "kty": "RSA", "n": text(n), "e": text(e), "kid": "r" })
}

fn p256() -> Value {
    let point = PAIRS.p256.public_key().as_ref();
    json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]), "kid": "e" })
}

fn ed25519() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": text(PAIRS.ed25519.public_key().as_ref()), "kid": "d" })
}

fn with(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
    key[name] = value.into();
    key
}

fn read(keys: &[Value], algorithm: Option<Algorithm>) -> Result<Vec<Algorithm>, KeySetError> {
    let document = json!({ "keys": keys }).to_string();
    parse_key_set(document.as_bytes(), algorithm).map(|keys| keys.iter().map(|key| key.algorithm()).collect())
}

#[test]
fn the_keys_of_a_set_verify_the_tokens_of_their_issuer() {
    let document = json!({ "keys": [rsa(), with(p256(), "use", "sig"), ed25519()] }).to_string();
    let verifier = verifier_with(parse_key_set(document.as_bytes(), None).unwrap());
    for (header, by) in [
        (r#"{"alg":"RS256","kid":"r"}"#, RS256),
        (r#"{"alg":"ES256","kid":"e"}"#, By::P256),
        (r#"{"alg":"EdDSA","kid":"d"}"#, By::Ed25519),
        (r#"{"alg":"EdDSA"}"#, By::Ed25519),
    ] {
        assert!(verifier.verify(&token(header, &claims(), by), NOW_S).is_ok(), "{header}");
    }
    for (header, by) in [
        (r#"{"alg":"RS256","kid":"e"}"#, RS256),
        (r#"{"alg":"ES256","kid":"x"}"#, By::P256),
        (r#"{"alg":"PS256","kid":"r"}"#, By::Rsa(&aws_lc_rs::signature::RSA_PSS_SHA256)),
    ] {
        assert!(verifier.verify(&token(header, &claims(), by), NOW_S).is_err(), "{header}");
    }
}

#[test]
fn a_key_has_the_algorithm_that_it_names_or_that_follows_from_its_curve() {
    let both = [rsa(), p256()];
    assert_eq!(read(&both, None), Ok(vec![Algorithm::Rs256, Algorithm::Es256]));
    assert_eq!(read(&both, Some(Algorithm::Ps512)), Ok(vec![Algorithm::Ps512]));
    assert_eq!(read(&both, Some(Algorithm::Es256)), Ok(vec![Algorithm::Es256]));
    assert_eq!(read(&[with(rsa(), "alg", "RS384")], None), Ok(vec![Algorithm::Rs384]));
    assert_eq!(read(&[with(ed25519(), "alg", "Ed25519")], None), Ok(vec![Algorithm::EdDsa]));
    assert_eq!(read(&[with(p256(), "key_ops", json!(["sign", "verify"]))], None), Ok(vec![Algorithm::Es256]));
    let der = PAIRS.rsa.public_key().as_ref();
    assert_eq!(read(&[with(rsa(), "n", text(&der[8..265]))], None), Ok(vec![Algorithm::Rs256]), "a leading zero");
}

#[test]
fn a_key_that_is_secret_private_weak_or_for_another_purpose_is_left_out() {
    let secret = json!({ "kty": "oct", "k": text(&[7; 32]), "kid": "r", "alg": "HS256" });
    let unusable = [
        secret.clone(),
        with(secret, "kty", "RSA"),
        with(rsa(), "k", "AAAA"),
        with(rsa(), "alg", "HS256"),
        with(rsa(), "alg", "ES256"),
        with(rsa(), "alg", "none"),
        with(rsa(), "alg", "RSA-OAEP"),
        with(rsa(), "alg", 1),
        with(rsa(), "use", "enc"),
        with(rsa(), "use", 1),
        with(rsa(), "key_ops", json!(["encrypt"])),
        with(rsa(), "key_ops", json!([])),
        with(rsa(), "key_ops", "verify"),
        with(rsa(), "d", "AAAA"),
        with(rsa(), "kid", 1),
        with(rsa(), "kid", ""),
        with(rsa(), "kid", "x".repeat(257)),
        with(rsa(), "n", text(&[0xc1; 128])),
        with(rsa(), "n", text(&[0xc1; 2048])),
        with(rsa(), "n", ""),
        with(rsa(), "n", "***"),
        with(rsa(), "e", "AA"),
        with(rsa(), "e", "AQ"),
        with(rsa(), "e", ""),
        with(p256(), "crv", "P-384"),
        with(p256(), "crv", "secp256k1"),
        with(p256(), "crv", 1),
        with(p256(), "alg", "ES384"),
        with(p256(), "alg", "EdDSA"),
        with(p256(), "x", text(&[1; 32])),
        with(p256(), "y", text(&[0; 33])),
        with(p256(), "x", ""),
        with(p256(), "kty", "OKP"),
        with(p256(), "kty", "RSA"),
        with(ed25519(), "crv", "X25519"),
        with(ed25519(), "crv", "Ed448"),
        with(ed25519(), "x", text(&[1; 31])),
        with(ed25519(), "kty", "EC"),
        json!({}),
        json!([]),
        json!("key"),
        json!(null),
    ];
    for key in &unusable {
        assert_eq!(read(std::slice::from_ref(key), None), Err(KeySetError::NoKey { count: 1 }), "{key}");
    }
    let mut all = unusable.to_vec();
    all.push(ed25519());
    assert_eq!(read(&all, None), Ok(vec![Algorithm::EdDsa]), "the others serve");
}

#[test]
fn a_document_that_is_no_key_set_is_refused_whole() {
    for document in ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "{\"keys\":[", "<html>"] {
        assert_eq!(parse_key_set(document.as_bytes(), None).unwrap_err(), KeySetError::Malformed, "{document}");
    }
    let repeated = json!({ "keys": [ed25519()] }).to_string().replace(r#""kid""#, r#""kid":"x","kid""#);
    assert_eq!(parse_key_set(repeated.as_bytes(), None).unwrap_err(), KeySetError::Malformed);
    assert_eq!(read(&[], None), Err(KeySetError::NoKey { count: 0 }));
    let many = vec![ed25519(); KEYS_MAX + 1];
    assert_eq!(read(&many, None), Err(KeySetError::TooManyKeys { count: KEYS_MAX + 1 }));
    assert_eq!(read(&many[1..], None).unwrap().len(), KEYS_MAX);
    let padded = format!("{}{}", json!({ "keys": [ed25519()] }), " ".repeat(KEY_SET_BYTES_MAX));
    assert!(matches!(parse_key_set(padded.as_bytes(), None), Err(KeySetError::TooLong { .. })));
}
