//! Tokens that must not be accepted: forms, headers, signatures and claims (RFC 8725; CVE numbers where there are any).

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

use super::keys::{
    By, HS256, LEEWAY_S, LIFE_S_MAX, NOW_S, OTHER_SECRET, PAIRS, RS256, SECRET, VERIFIER, claims, claims_with, der,
    pem, token,
};
use crate::service::auth::token::TOKEN_BYTES_MAX;

/// The header of an honest token with a secret.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"h"}"#;

/// Returns an honest token.
pub fn honest() -> String {
    token(HEADER, &claims(), HS256)
}

/// Returns tokens that must be refused at [`NOW_S`], each with its name.
pub fn hostile() -> Vec<(String, String)> {
    let mut all = forms();
    all.extend(algorithms());
    all.extend(headers());
    all.extend(texts_of_claims());
    all.extend(values_of_claims());
    all
}

fn named(kind: &str, tokens: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    tokens.into_iter().enumerate().map(|(at, token)| (format!("{kind} {at}"), token)).collect()
}

/// Texts that are no tokens in compact form, or have more than one reading.
fn forms() -> Vec<(String, String)> {
    let honest = honest();
    let parts: Vec<&str> = honest.split('.').collect();
    let [header, body, signature] = parts[..] else { panic!() };
    let last = signature.chars().last().unwrap();
    // The last character of 32 bytes in base64 has two bits that no byte has.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sibling = alphabet.as_bytes()[alphabet.find(last).unwrap() + 1] as char;
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut flipped = raw.clone();
    flipped[0] ^= 1;
    named(
        "form",
        [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            "a.b.c".to_owned(),
            format!("{header}.{body}"),
            format!("{header}.{body}."),
            format!(".{body}.{signature}"),
            format!("{header}..{signature}"),
            format!("{header}.{body}.{signature}."),
            format!("{header}.{body}.{signature}.{signature}"),
            format!("{header}.{header}.{body}.{header}.{signature}"),
            format!(" {honest}"),
            format!("{honest} "),
            format!("{honest}\n"),
            format!("{honest}\0"),
            format!("{honest}="),
            format!("{header}=.{body}.{signature}"),
            format!("{header}.{body}.{}{sibling}", &signature[..signature.len() - 1]),
            format!("{header}.{body}.{}", STANDARD.encode(&raw)),
            format!("{header}.{body}.{}", URL_SAFE.encode(&raw)),
            format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode(&flipped)),
            format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode(&raw[..31])),
            format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode([&raw[..], &[0]].concat())),
            format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 32])),
            format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims_with(r#","role":"admin""#))),
            format!("{header}.{body}.ä"),
            honest.replace('.', "%2e"),
            format!("Bearer {honest}"),
            token(HEADER, &claims_with(&format!(r#","x":"{}""#, "x".repeat(TOKEN_BYTES_MAX))), HS256),
            token(HEADER, &claims_with(&format!(r#","x":"{}""#, "x".repeat(1 << 20))), HS256),
            "A".repeat(1 << 20),
            ".".repeat(1 << 20),
        ],
    )
}

/// Signatures by another algorithm or another key than that of the configuration.
fn algorithms() -> Vec<(String, String)> {
    let claims = claims();
    let header = |alg: &str, id: &str| format!(r#"{{"alg":"{alg}","kid":"{id}"}}"#);
    let rsa = PAIRS.rsa.public_key();
    let mut all = Vec::new();
    // No signature at all (CVE-2015-9235, CVE-2020-28042).
    for alg in ["none", "None", "NONE", "nOnE", "", " none"] {
        for by in [By::Bytes(b""), By::Bytes(b"x"), HS256] {
            all.push(token(&header(alg, "h"), &claims, by));
        }
    }
    // A public key as a secret (CVE-2016-10555).
    let (text, bytes) = (pem(rsa), der(rsa));
    for secret in [text.as_bytes(), text.trim().as_bytes(), &bytes[..], rsa.as_ref(), PAIRS.p256.public_key().as_ref()]
    {
        for id in ["r", "e", "d", "h", "x"] {
            all.push(token(&header("HS256", id), &claims, By::Hmac(HMAC_SHA256, secret)));
        }
    }
    // Another algorithm than the key's, in its name or in truth.
    for (alg, id, by) in [
        ("hs256", "h", HS256),
        ("HS256 ", "h", HS256),
        ("HS384", "h", By::Hmac(HMAC_SHA384, SECRET)),
        ("HS256", "h", By::Hmac(HMAC_SHA384, SECRET)),
        ("RS256", "h", HS256),
        ("RS256", "r", HS256),
        ("RS256", "r", By::Rsa(&RSA_PSS_SHA256)),
        ("PS256", "p", By::Rsa(&RSA_PKCS1_SHA256)),
        ("PS256", "r", By::Rsa(&RSA_PSS_SHA256)),
        ("RS256", "p", RS256),
        ("RS1", "r", RS256),
        ("ES256", "e", By::P384),
        ("ES384", "e", By::P256),
        ("ES256K", "e", By::P256),
        ("ES256", "e3", By::P256),
        ("EdDSA", "e", By::Ed25519),
        ("Ed448", "d", By::Ed25519),
        // A signature of zeros (CVE-2022-21449), and others without content.
        ("ES256", "e", By::Bytes(&[0; 64])),
        ("ES384", "e3", By::Bytes(&[0; 96])),
        ("EdDSA", "d", By::Bytes(&[0; 64])),
        ("RS256", "r", By::Bytes(&[0; 256])),
        ("RS256", "r", By::Bytes(&[])),
        ("ES256", "e", By::Bytes(&[0x30, 6, 2, 1, 1, 2, 1, 1])),
        // Keys of nobody, or of another issuer.
        ("HS256", "h", By::Hmac(HMAC_SHA256, b"")),
        ("HS256", "h", By::Hmac(HMAC_SHA256, OTHER_SECRET)),
        ("HS256", "b", By::Hmac(HMAC_SHA256, OTHER_SECRET)),
        ("HS256", "b", HS256),
    ] {
        all.push(token(&header(alg, id), &claims, by));
    }
    named("algorithm", all)
}

/// Headers that lead elsewhere, change the rules, or are none.
fn headers() -> Vec<(String, String)> {
    let more = [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":["urn:example:unknown"],"urn:example:unknown":true"#,
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""jku":"https://evil.example/jwks.json""#,
        r#""jku":"""#,
        r#""x5u":"https://evil.example/cert.pem""#,
        r#""x5c":["MIIB"]"#,
        r#""jwk":{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""cty":"JWT""#,
        r#""typ":"logout+jwt""#,
        r#""typ":"secevent+jwt""#,
        r#""typ":1"#,
        r#""typ":null"#,
        r#""alg":"HS256""#,
        r#""\u0061lg":"none""#,
        r#""kid":"h""#,
    ];
    let mut all: Vec<String> = more.iter().map(|more| format!(r#"{{"alg":"HS256","kid":"h",{more}}}"#)).collect();
    let ids = [
        "1".to_owned(),
        "null".to_owned(),
        "[\"h\"]".to_owned(),
        "{}".to_owned(),
        r#""""#.to_owned(),
        r#""H""#.to_owned(),
        r#""h ""#.to_owned(),
        r#""h\u0000""#.to_owned(),
        r#""../../../../dev/null""#.to_owned(),
        r#""/dev/null""#.to_owned(),
        r#""https://evil.example/key""#.to_owned(),
        r#""x' UNION SELECT 'secret' --""#.to_owned(),
        r#""h|id""#.to_owned(),
        format!(r#""{}""#, "h".repeat(300)),
    ];
    all.extend(ids.iter().map(|id| format!(r#"{{"alg":"HS256","kid":{id}}}"#)));
    all.extend(
        [
            "",
            "{",
            "{}",
            "[]",
            "null",
            "\"HS256\"",
            r#"{"kid":"h"}"#,
            r#"{"alg":null,"kid":"h"}"#,
            r#"{"alg":1,"kid":"h"}"#,
            r#"{"alg":["HS256"],"kid":"h"}"#,
            r#"{"alg":{"HS256":1},"kid":"h"}"#,
            r#"{"Alg":"HS256","kid":"h"}"#,
            r#"{"alg":"HS256","kid":"h"} {}"#,
            "\u{feff}{\"alg\":\"HS256\",\"kid\":\"h\"}",
            r#"{"alg":"HS256","kid":"h",}"#,
            r#"{"alg":"HS256","kid":"h",/**/"x":1}"#,
        ]
        .map(str::to_owned),
    );
    all.push(format!(r#"{{"alg":"HS256","kid":"h","x":{}{}}}"#, "[".repeat(1000), "]".repeat(1000)));
    // The empty secret is what the file /dev/null would give.
    let empty = By::Hmac(HMAC_SHA256, b"");
    all.iter()
        .enumerate()
        .flat_map(|(at, header)| [HS256, empty].map(|by| (format!("header {at}"), token(header, &claims(), by))))
        .collect()
}

/// Claims that are no object, or one with two readings.
fn texts_of_claims() -> Vec<(String, String)> {
    let honest = claims();
    let texts = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "1".to_owned(),
        format!("[{honest}]"),
        format!("{honest}{honest}"),
        honest.replace('}', ",}"),
        honest.replace(r#""exp":"#, r#""exp":NaN,"x":"#),
        claims_with(&format!(r#","exp":{}"#, NOW_S + 70)),
        claims_with(r#","sub":"root""#),
        claims_with(r#","aud":"chat""#),
        claims_with(r#","\u0073ub":"root""#),
        claims_with(r#","roles":{"a":1,"a":2}"#),
        claims_with(r#","x":"a"#),
        claims_with(&format!(r#","x":{}{}"#, "[".repeat(1000), "]".repeat(1000))),
    ];
    named("claims", texts.iter().map(|claims| token(HEADER, claims, HS256)))
}

/// Claims with a value that is missing, of another type, of another time, or for another server.
fn values_of_claims() -> Vec<(String, String)> {
    let (past, future) = (NOW_S - LEEWAY_S, NOW_S + LEEWAY_S + 1);
    let times = [("past", past), ("future", future), ("long", NOW_S + LIFE_S_MAX + 1)];
    let time =
        |name: &str| times.iter().find(|(known, _)| *known == name).map_or(name.to_owned(), |(_, at)| at.to_string());
    let mut all = Vec::new();
    for (claim, values) in [
        (
            "exp",
            "- past 0 -1 1e300 1e-300 -1e300 18446744073709551615 \"9999999999\" null true [9999999999] {} \"\" long",
        ),
        ("nbf", "future -1 1e300 \"1\" null [] true"),
        ("iat", "future -1 1e300 \"1\" null [] true 1"),
        (
            "iss",
            "- \"https://b.example\" \"https://a.example/\" \"https://A.example\" \"\" null 1 [\"https://a.example\"]",
        ),
        (
            "aud",
            "- \"other\" \"Chat\" \"cha\" \"chat2\" \"\" null 1 [] [1] [\"chat\",1] [[\"chat\"]] {\"chat\":1} [\"x\"]",
        ),
        ("sub", "1 null [] true \"\""),
        ("jti", "- 1 null [] \"\""),
    ] {
        for value in values.split(' ') {
            let mut claims: serde_json::Value = serde_json::from_str(&claims()).unwrap();
            let members = claims.as_object_mut().unwrap();
            members.remove(claim);
            let rest = claims.to_string();
            let rest = rest.trim_end_matches('}');
            let changed =
                if value == "-" { format!("{rest}}}") } else { format!("{rest},\"{claim}\":{}}}", time(value)) };
            all.push((format!("{claim} {value}"), token(HEADER, &changed, HS256)));
        }
    }
    let long = "x".repeat(257);
    for (claim, value) in [("sub", &long), ("jti", &long)] {
        let changed = claims().replace(&format!(r#""{claim}":"#), &format!(r#""{claim}":"{value}","x{claim}":"#));
        all.push((format!("long {claim}"), token(HEADER, &changed, HS256)));
    }
    let without_iat = claims().replace("\"iat\"", "\"x\"").replace(&(NOW_S + 60).to_string(), &time("long"));
    all.push(("long without iat".to_owned(), token(HEADER, &without_iat, HS256)));
    all
}

#[test]
fn no_hostile_token_is_accepted() {
    assert!(VERIFIER.verify(&honest(), NOW_S).is_ok(), "{:?}", VERIFIER.verify(&honest(), NOW_S));
    let hostile = hostile();
    let accepted: Vec<&str> = hostile
        .iter()
        .filter(|(_, token)| VERIFIER.verify(token, NOW_S).is_ok())
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(accepted.is_empty(), "accepted: {accepted:?}");
    println!("{} hostile tokens, none accepted", hostile.len());
    assert!(hostile.len() >= 80, "{}", hostile.len());
}
