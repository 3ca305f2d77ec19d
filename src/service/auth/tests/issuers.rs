//! Issuers that are called: what rules take over from those before, and what an issuer says of a token.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::keys::{NOW_S, VERIFIER};
use crate::service::auth::error::TokenError;
use crate::service::auth::rules::AccessRules;
use crate::service::auth::settings::{AccessSettings, IssuerSettings, Secret};
use crate::service::auth::verifier::{Claims, Issuer};

fn settings(name: &str, keys: &str, introspection: &str) -> AccessSettings {
    let issuer = IssuerSettings {
        name: name.to_owned(),
        key_set_url: Some(keys.parse().unwrap()),
        introspection_url: Some(introspection.parse().unwrap()),
        client_id: "ringsock".to_owned(),
        client_secret: Some(Secret(b"s3cret".to_vec())),
        ..IssuerSettings::default()
    };
    AccessSettings { issuers: vec![issuer], ..AccessSettings::default() }
}

fn is_kept(before: &AccessRules, settings: &AccessSettings) -> (bool, bool) {
    let after = AccessRules::succeeding(settings, Some(before)).unwrap().unwrap();
    let issuer = |rules: &AccessRules| rules.verifier().issuers()[0].clone();
    let (before, after) = (issuer(before), issuer(&after));
    let source = |issuer: &Issuer| Arc::clone(issuer.keys.source().unwrap());
    let introspector = |issuer: &Issuer| Arc::clone(issuer.introspector().unwrap());
    (Arc::ptr_eq(&source(&before), &source(&after)), Arc::ptr_eq(&introspector(&before), &introspector(&after)))
}

#[test]
fn a_reload_keeps_what_came_from_the_same_place_for_the_same_issuer() {
    let (keys, asked) = ("https://a.example/keys", "https://a.example/introspect");
    let given = settings("a", keys, asked);
    let before = AccessRules::new(&given).unwrap().unwrap();
    assert_eq!(is_kept(&before, &given), (true, true));
    let mut other = given.clone();
    other.issuers[0].roles = Vec::new();
    other.issuers[0].audiences = vec!["chat".to_owned()];
    other.tokens.leeway_ms = 1_000;
    assert_eq!(is_kept(&before, &other), (true, true), "other rules for the same answers");
    assert_eq!(is_kept(&before, &settings("a", "https://a.example/other", asked)), (false, true));
    assert_eq!(is_kept(&before, &settings("a", keys, "https://a.example/other")), (true, false));
    assert_eq!(is_kept(&before, &settings("b", keys, asked)), (false, false));
    let mut other = given;
    other.issuers[0].client_secret = Some(Secret(b"another".to_vec()));
    assert_eq!(is_kept(&before, &other), (true, false));
    assert!(!format!("{before:?}").contains("s3cret"));
}

fn check(claims: Value) -> Result<Claims, TokenError> {
    let Value::Object(members) = claims else { panic!() };
    VERIFIER.check_claims("a", members, NOW_S)
}

#[test]
fn claims_that_an_issuer_says_are_checked_as_those_that_it_signs() {
    let good = json!({ "active": true, "sub": "ann", "aud": "chat", "exp": NOW_S + 60, "iat": NOW_S - 60, "jti": "1" });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let claims = check(good.clone()).unwrap();
    assert_eq!((claims.issuer, claims.subject.as_deref(), claims.expires_at_s), (0, Some("ann"), NOW_S + 60));
    assert!(check(with("iss", json!("https://a.example"))).is_ok());
    for (name, value) in [
        ("iss", json!("https://b.example")),
        ("iss", json!("https://c.example")),
        ("iss", json!(["https://a.example"])),
        ("aud", json!("other")),
        ("aud", json!(null)),
        ("exp", json!(NOW_S - 60)),
        ("exp", json!("never")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!(NOW_S + 100_000)),
        ("nbf", json!(NOW_S + 60)),
        ("iat", json!(NOW_S + 60)),
        ("iat", json!("now")),
        ("sub", json!("")),
        ("sub", json!(1)),
        ("jti", json!("x".repeat(257))),
    ] {
        assert!(check(with(name, value.clone())).is_err(), "{name}: {value}");
    }
    for name in ["aud", "exp", "jti"] {
        let Value::Object(mut members) = good.clone() else { panic!() };
        members.remove(name);
        assert!(check(Value::Object(members)).is_err(), "{name}");
    }
    assert_eq!(VERIFIER.check_claims("c", Map::new(), NOW_S).unwrap_err(), TokenError::Issuer);
}
