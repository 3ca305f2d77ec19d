//! Answers of a backend to a hook: any body, and any made of the words that answers have.
//!
//! Rules: a body is an answer only if it is one object in which no name occurs twice and `allow` is true or false; no
//! right is in an answer that is not written in it, and a denial has a code that applications may send.

use ringsock::service::auth::Allowed;
use ringsock::service::hooks::{ANSWER_BYTES_MAX, Denied, REASON_BYTES_MAX, Verdict};
use serde_json::{Map, Value};

use crate::input::Input;
use crate::token::{assert_names_once, in_words};

/// Words that an input writes with a byte of 128 and above.
pub const PHRASES: &[&str] = &[
    "{\"allow\":true",
    "{\"allow\":false",
    "\"allow\":true",
    ",\"subject\":\"ann\"",
    ",\"roles\":[\"user\"]",
    ",\"grants\":[\"subscribe:news\"]",
    ",\"grants\":[]",
    ",\"grants\":[\"publish:rooms/*\",\"subscribe,publish:*\"]",
    ",\"expires\":60",
    ",\"code\":4001",
    ",\"code\":3003",
    ",\"code\":1000",
    ",\"reason\":\"No.\"",
    ",\"x\":{\"allow\":true}",
    ":null",
    "}",
];

/// Checks an input.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let body = if input.flag() { input.rest().to_vec() } else { in_words(input.rest(), PHRASES) };
    if body.len() > ANSWER_BYTES_MAX {
        return;
    }
    let answer = Verdict::parse(&body);
    assert_eq!(answer, Verdict::read(200, &body), "its status has an answer");
    for status in [204, 302, 404, 429, 500] {
        assert!(Verdict::read(status, &body).is_err(), "{status} has none");
    }
    assert_eq!(Verdict::read(403, &body), Ok(Verdict::Denied(Denied::default())));
    let Ok(answer) = answer else { return };
    let members: Map<String, Value> = serde_json::from_slice(&body).expect("an answer is an object");
    assert_names_once(&body, &members);
    match answer {
        Verdict::Allowed(allowed) => check_allowed(&members, &allowed),
        Verdict::Denied(denied) => check_denied(&members, &denied),
    }
}

fn check_allowed(members: &Map<String, Value>, Allowed { subject, roles, grants, expires_s, given_at_s }: &Allowed) {
    assert_eq!(*given_at_s, None, "the time is not in the answer");
    assert_eq!(members["allow"], true);
    let written = |name: &str| members.get(name).filter(|value| !value.is_null());
    assert_eq!(written("subject").and_then(Value::as_str), subject.as_deref());
    assert!(subject.as_ref().is_none_or(|subject| (1..=256).contains(&subject.len())));
    assert_eq!(
        written("roles").map(|roles| roles.as_array().expect("it is a list").len()),
        roles.as_ref().map(Vec::len)
    );
    assert!(
        roles
            .iter()
            .flatten()
            .zip(written("roles").into_iter().flat_map(|list| list.as_array().expect("it is one")))
            .all(|(role, written)| written == role)
    );
    assert_eq!(
        written("grants").map(|grants| grants.as_array().expect("it is a list").len()),
        grants.as_ref().map(Vec::len)
    );
    assert!(grants.as_ref().is_none_or(|grants| grants.len() <= 100));
    assert_eq!(written("expires").and_then(Value::as_u64), *expires_s);
    assert_ne!(*expires_s, Some(0));
}

fn check_denied(members: &Map<String, Value>, Denied { code, reason }: &Denied) {
    assert_eq!(members["allow"], false);
    assert!(code.is_none_or(|code| matches!(code.number(), 3000 | 3003 | 4000..=4999)));
    assert!(reason.as_ref().is_none_or(|reason| reason.len() <= REASON_BYTES_MAX));
}
