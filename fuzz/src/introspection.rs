//! Answers about opaque tokens: any document.
//!
//! Rules: a token is active only if an object says so with `true`, and no name in it occurs twice (RFC 7662 2.2).

use ringsock::service::auth::{INTROSPECTION_BYTES_MAX, Introspection, parse_introspection};
use serde_json::Value;

use crate::token::assert_names_once;

/// Checks an input.
pub fn check(data: &[u8]) {
    let Ok(answer) = parse_introspection(data) else { return };
    assert!(data.len() <= INTROSPECTION_BYTES_MAX);
    let members: Value = serde_json::from_slice(data).expect("what is accepted is JSON");
    let members = members.as_object().expect("it is an object");
    assert_names_once(data, members);
    match &answer {
        Introspection::Active(claims) => {
            assert_eq!(members["active"], true);
            assert_eq!(claims, members);
        }
        Introspection::Inactive => assert_eq!(members["active"], false),
    }
    assert_eq!(parse_introspection(data), Ok(answer));
}
