//! Tokens: any text, and any header and claims with a right signature.
//!
//! Rules: a text that is not signed with the key is never accepted; of those that are, only ones whose header changes
//! nothing and whose claims hold at this time (RFC 8725 3, RFC 7519 4.1).

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringsock::service::auth::{Algorithm, Issuer, Key, TokenRules, Verifier};
use serde_json::{Map, Value};

use crate::input::Input;

/// The time at which tokens are verified, in the middle of the times that inputs can write in ten digits.
pub const NOW_S: u64 = 1_700_000_000;

const LEEWAY_S: u64 = 5;
const LIFE_S_MAX: u64 = 3_600;

const SECRET: &[u8] = b"a secret that no input of the fuzzer has";
const OTHER_SECRET: &[u8] = b"the secret of somebody else who signs";

/// Words that an input writes with a byte of 128 and above.
pub const PHRASES: &[&str] = &[
    "{\"alg\":\"HS256\"}",
    "\"alg\":\"HS256\"",
    "\"alg\":\"none\"",
    "\"typ\":\"JWT\"",
    "\"kid\":\"k\"",
    "\"crit\":[]",
    "\"b64\":false",
    "\"jwk\":{}",
    "\"iss\":\"a\"",
    "\"aud\":\"chat\"",
    "\"aud\":[\"chat\",\"x\"]",
    "\"exp\":1700000060",
    "\"exp\":1699999999",
    "\"iat\":1699999990",
    "\"nbf\":1700000005",
    "\"sub\":\"ann\"",
    "\"jti\":\"1\"",
    "{\"iss\":\"a\",\"aud\":\"chat\",\"exp\":1700000060,",
];

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier(SECRET));
static OTHER_VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier(OTHER_SECRET));

fn verifier(secret: &[u8]) -> Verifier {
    let key = Key::secret(Algorithm::Hs256, secret).expect("the secret is long enough").with_id("k");
    let issuer = Issuer {
        name: "a".into(),
        iss: Some("a".into()),
        audiences: vec!["chat".into()],
        keys: [key].into(),
        introspector: None,
        roles: Vec::new(),
    };
    Verifier::new(vec![issuer], TokenRules { leeway_s: LEEWAY_S, life_s_max: LIFE_S_MAX, needs_id: false })
}

/// Checks an input.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        let text = String::from_utf8_lossy(input.rest());
        assert!(VERIFIER.verify(&text, NOW_S).is_err(), "nobody has signed it");
        return;
    }
    let header = in_words(input.short(), PHRASES);
    let claims = in_words(input.rest(), PHRASES);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let Ok(accepted) = VERIFIER.verify(&token, NOW_S) else { return };
    check_header(&header);
    check_claims(&claims);
    assert!(accepted.expires_at_s + LEEWAY_S > NOW_S);
    assert!(VERIFIER.verify(&token, accepted.expires_at_s + LEEWAY_S).is_err(), "it has expired");
    assert!(OTHER_VERIFIER.verify(&token, NOW_S).is_err(), "it is signed by somebody else");
    let mut bytes = signature.as_ref().to_vec();
    bytes[usize::from(header.len() as u8) % 32] ^= 1;
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes));
    assert!(VERIFIER.verify(&forged, NOW_S).is_err(), "its signature is another");
}

/// Returns the bytes with one of the phrases in the place of each byte of 128 and above.
pub fn in_words(bytes: &[u8], phrases: &[&str]) -> Vec<u8> {
    let mut words = Vec::new();
    for byte in bytes {
        match byte.checked_sub(128) {
            Some(index) => words.extend(phrases[usize::from(index) % phrases.len()].as_bytes()),
            None => words.push(*byte),
        }
    }
    words
}

fn object(bytes: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(bytes).expect("what is accepted is an object")
}

fn check_header(header: &[u8]) {
    let members = object(header);
    assert_eq!(members["alg"], "HS256");
    for name in ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty"] {
        assert!(!members.contains_key(name), "{name}");
    }
    assert!(members.get("kid").is_none_or(|id| id == "k"));
    assert_names_once(header, &members);
}

fn check_claims(claims: &[u8]) {
    let members = object(claims);
    assert_eq!(members["iss"], "a");
    let audience = &members["aud"];
    assert!(audience == "chat" || audience.as_array().is_some_and(|list| list.iter().any(|one| one == "chat")));
    let seconds = |name: &str| members.get(name).map(|value| value.as_f64().expect("it is a number"));
    let (now_s, leeway_s) = (NOW_S as f64, LEEWAY_S as f64);
    let exp_s = seconds("exp").expect("there is an end");
    assert!(exp_s > now_s - leeway_s - 1.0, "{exp_s}");
    let from_s = seconds("iat").unwrap_or(now_s);
    assert!(exp_s - from_s < LIFE_S_MAX as f64 + 1.0, "{exp_s} {from_s}");
    for name in ["iat", "nbf"] {
        assert!(seconds(name).is_none_or(|from_s| from_s < now_s + leeway_s + 1.0), "{name}");
    }
    assert_names_once(claims, &members);
}

/// Checks that no name was dropped: a parser that takes the last of equal names has fewer colons outside of strings.
pub(crate) fn assert_names_once(text: &[u8], members: &Map<String, Value>) {
    let written = serde_json::to_vec(members).expect("it was JSON");
    assert_eq!(colons(text), colons(&written), "a name occurs twice");
}

/// Returns the number of names in a JSON text: of colons outside of strings.
fn colons(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}
