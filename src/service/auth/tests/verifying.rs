//! Tokens that are accepted, and the borders of the rules.

use aws_lc_rs::signature::{KeyPair, RSA_PSS_SHA256};
use serde_json::Value;

use super::hostile::honest;
use super::keys::{
    By, HS256, LEEWAY_S, LIFE_S_MAX, NOW_S, OTHER_SECRET, PAIRS, RS256, SECRET, VERIFIER, claims, claims_with, pem,
    token, verifier,
};
use crate::service::auth::algorithm::Algorithm;
use crate::service::auth::error::TokenError;
use crate::service::auth::key::{Key, KeyError};
use crate::service::auth::signing::{Signer, SigningError};
use crate::service::auth::verifier::{Issuer, TokenRules, Verifier};

const HEADER: &str = r#"{"alg":"HS256"}"#;

fn verify(claims: &str) -> Result<(), TokenError> {
    VERIFIER.verify(&token(HEADER, claims, HS256), NOW_S).map(drop)
}

#[test]
fn an_honest_token_of_each_algorithm_is_accepted() {
    for (alg, id, by) in [
        ("HS256", "h", HS256),
        ("RS256", "r", RS256),
        ("PS256", "p", By::Rsa(&RSA_PSS_SHA256)),
        ("ES256", "e", By::P256),
        ("ES384", "e3", By::P384),
        ("ES512", "e5", By::P521),
        ("EdDSA", "d", By::Ed25519),
        ("Ed25519", "d", By::Ed25519),
    ] {
        for header in [format!(r#"{{"alg":"{alg}","kid":"{id}","typ":"at+JWT"}}"#), format!(r#"{{"alg":"{alg}"}}"#)] {
            let claims = VERIFIER.verify(&token(&header, &claims(), by), NOW_S).unwrap();
            assert_eq!((claims.subject.as_deref(), claims.token_id.as_deref()), (Some("ann"), Some("1")));
            assert_eq!((claims.issued_at_s, claims.expires_at_s), (Some(NOW_S - 60), NOW_S + 60));
            assert_eq!(claims.all["sub"], Value::from("ann"));
        }
    }
}

#[test]
fn times_are_compared_with_the_leeway_and_fractions_are_cut_off() {
    let honest = honest();
    assert!(VERIFIER.verify(&honest, NOW_S + 60 + LEEWAY_S - 1).is_ok());
    assert_eq!(VERIFIER.verify(&honest, NOW_S + 60 + LEEWAY_S).unwrap_err(), TokenError::Expired { seconds: LEEWAY_S });
    assert!(VERIFIER.verify(&honest, NOW_S - 60 - LEEWAY_S).is_ok());
    let early = VERIFIER.verify(&honest, NOW_S - 61 - LEEWAY_S).unwrap_err();
    assert_eq!(early, TokenError::Early { seconds: LEEWAY_S + 1 });
    let exp = |exp: &str| claims().replace(&format!("\"exp\":{}", NOW_S + 60), &format!("\"exp\":{exp}"));
    assert_eq!(verify(&exp(&format!("{}.9", NOW_S + 60))), Ok(()));
    assert_eq!(verify(&exp("1.70000006e9")), Ok(()));
    assert_eq!(verify(&exp(&(NOW_S - 60 + LIFE_S_MAX).to_string())), Ok(()));
    let long = verify(&exp(&(NOW_S - 59 + LIFE_S_MAX).to_string())).unwrap_err();
    assert_eq!(long, TokenError::LifeTooLong { seconds: LIFE_S_MAX + 1, max: LIFE_S_MAX });
}

#[test]
fn an_audience_may_be_one_of_a_list_and_other_claims_are_free() {
    assert_eq!(verify(&claims().replace(r#""aud":"chat""#, r#""aud":["x","chat"]"#)), Ok(()));
    assert_eq!(verify(&claims_with(r#","scope":"a b","x":{"y":[1,null]}"#)), Ok(()));
    assert_eq!(verify(&claims().replace(r#""sub":"ann","#, "")), Ok(()));
    assert!(verifier(false).verify(&token(HEADER, &claims().replace("\"jti\"", "\"x\""), HS256), NOW_S).is_ok());
}

fn issuer(name: &str, iss: Option<&str>, secrets: &[&[u8]]) -> Issuer {
    let keys = secrets.iter().map(|secret| Key::secret(Algorithm::Hs256, secret).unwrap());
    let iss = iss.map(Box::from);
    let (name, keys) = (name.into(), keys.collect::<Vec<Key>>().into());
    Issuer { name, iss, audiences: Vec::new(), keys, introspector: None, roles: Vec::new() }
}

const RULES: TokenRules = TokenRules { leeway_s: 0, life_s_max: 1000, needs_id: false };

#[test]
fn an_issuer_is_found_by_its_iss_and_the_one_without_takes_the_rest() {
    let issuers = vec![issuer("one", Some("one"), &[SECRET]), issuer("rest", None, &[OTHER_SECRET])];
    let verifier = Verifier::new(issuers, RULES);
    let with = |more: &str| format!(r#"{{"exp":{}{more}}}"#, NOW_S + 60);
    let other = By::Hmac(aws_lc_rs::hmac::HMAC_SHA256, OTHER_SECRET);
    let verify = |claims: &str, by| verifier.verify(&token(HEADER, claims, by), NOW_S).map(|claims| claims.issuer);
    assert_eq!(verify(&with(r#","iss":"one""#), HS256), Ok(0));
    assert_eq!(verify(&with(""), other), Ok(1));
    assert_eq!(verify(&with(r#","iss":"two""#), other), Ok(1));
    // The keys of one issuer sign nothing for another.
    assert!(verify(&with(r#","iss":"one""#), other).is_err() && verify(&with(""), HS256).is_err());
    assert_eq!(
        verify(&with(r#","iss":"one","aud":"x""#), HS256),
        Err(TokenError::Audience { issuer: "one".into() }),
        "it is for somebody else"
    );
}

#[test]
fn a_previous_secret_verifies_until_it_is_gone_and_few_keys_are_tried() {
    let claims = format!(r#"{{"exp":{}}}"#, NOW_S + 60);
    let (current, previous) = ([OTHER_SECRET, SECRET], By::Hmac(aws_lc_rs::hmac::HMAC_SHA256, SECRET));
    let token = token(r#"{"alg":"HS256","kid":"any"}"#, &claims, previous);
    let verify = |secrets: &[&[u8]]| Verifier::new(vec![issuer("a", None, secrets)], RULES).verify(&token, NOW_S);
    assert!(verify(&current).is_ok());
    assert_eq!(verify(&current[..1]).unwrap_err(), TokenError::Signature { issuer: "a".into() });
    let secrets: Vec<[u8; 32]> = (0..5).map(|byte| [byte; 32]).collect();
    let secrets: Vec<&[u8]> = secrets.iter().map(|secret| &secret[..]).collect();
    assert!(matches!(verify(&secrets), Err(TokenError::KeyAmbiguous { max: 4, .. })));
}

#[test]
fn a_key_that_is_weak_or_of_another_type_is_refused_when_it_is_read() {
    assert_eq!(Key::secret(Algorithm::Hs256, b"").unwrap_err(), KeyError::SecretTooShort { bytes: 0 });
    assert_eq!(Key::secret(Algorithm::Hs512, &[1; 31]).unwrap_err(), KeyError::SecretTooShort { bytes: 31 });
    assert!(Key::secret(Algorithm::Rs256, SECRET).is_err());
    let (rsa, p256) = (pem(PAIRS.rsa.public_key()), pem(PAIRS.p256.public_key()));
    for (algorithm, text) in [
        (Algorithm::Hs256, &rsa),
        (Algorithm::Es256, &rsa),
        (Algorithm::EdDsa, &rsa),
        (Algorithm::Rs256, &p256),
        (Algorithm::Es384, &p256),
        (Algorithm::EdDsa, &p256),
    ] {
        assert_eq!(Key::pem(algorithm, text).unwrap_err(), KeyError::Malformed { algorithm }, "{algorithm}");
    }
    for text in ["", "x", "-----BEGIN PUBLIC KEY-----\n", "-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----"] {
        assert_eq!(Key::pem(Algorithm::Rs256, text).unwrap_err(), KeyError::Pem);
    }
    let private = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n";
    assert_eq!(Key::pem(Algorithm::Es256, private).unwrap_err(), KeyError::Private);
    // 1024 bits.
    let small = Key::rsa(Algorithm::Rs256, &[0xc1; 128], &[1, 0, 1]);
    assert!(matches!(small, Err(KeyError::RsaSize { .. } | KeyError::Malformed { .. })), "{small:?}");
}

#[test]
fn what_the_signer_makes_is_accepted_and_shown_by_nobody() {
    let claims = |text: &str| serde_json::from_str(text).unwrap();
    let signer = Signer::new(Algorithm::Hs256, SECRET).unwrap();
    let token = signer.sign(Some("h"), &claims(&super::keys::claims())).unwrap();
    assert!(VERIFIER.verify(&token, NOW_S).is_ok());
    let key = Key::secret(Algorithm::Hs256, SECRET).unwrap();
    for shown in [format!("{signer:?}"), format!("{key:?}"), format!("{:?}", *VERIFIER)] {
        assert!(!shown.contains("0123") && !shown.contains("48, 49"), "{shown}");
    }
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        assert_eq!(Signer::new(algorithm, SECRET).unwrap_err(), SigningError::Key { algorithm });
    }
    let algorithm = Algorithm::Rs256;
    assert_eq!(Signer::new(algorithm, SECRET).unwrap_err(), SigningError::Algorithm { algorithm });
    assert!(Signer::new(Algorithm::Es256, &private_pem(PAIRS.p256.to_pkcs8v1().unwrap().as_ref())).is_ok());
    let ed25519 = Signer::new(Algorithm::EdDsa, &private_pem(PAIRS.ed25519.to_pkcs8v1().unwrap().as_ref())).unwrap();
    let token = ed25519.sign(Some("d"), &claims(&super::keys::claims())).unwrap();
    assert!(VERIFIER.verify(&token, NOW_S).is_ok());
}

fn private_pem(der: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n").into_bytes()
}
