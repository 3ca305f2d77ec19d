//! Token introspection (RFC 7662): the question whether a token is active, and the issuer's answer to it.
//!
//! Owns the form of both. Never asks and never judges a claim. Invariant: a token is active only if the answer is an
//! object that says so with `true`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use thiserror::Error;

use super::json;

/// The longest answer in bytes: eight times the longest token.
pub const INTROSPECTION_BYTES_MAX: usize = 64 * 1024;

/// The answer of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introspection {
    /// The token is active, and these are its claims.
    Active(Map<String, Value>),
    /// The token is not active, or not known to the issuer: it does not say which.
    Inactive,
}

/// A document that is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// Too long.
    #[error("the answer has {bytes} bytes, but may have {INTROSPECTION_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not an answer.
    #[error("the answer is no JSON object with active: true or false, in which each name occurs once")]
    Malformed,
}

/// Reads an answer (RFC 7662 2.2).
pub fn parse_introspection(document: &[u8]) -> Result<Introspection, IntrospectionError> {
    if document.len() > INTROSPECTION_BYTES_MAX {
        return Err(IntrospectionError::TooLong { bytes: document.len() });
    }
    let members = json::object(document).ok_or(IntrospectionError::Malformed)?;
    match members.get("active") {
        Some(Value::Bool(true)) => Ok(Introspection::Active(members)),
        Some(Value::Bool(false)) => Ok(Introspection::Inactive),
        _ => Err(IntrospectionError::Malformed),
    }
}

/// Returns the body of a question about a token (RFC 7662 2.1).
pub(super) fn question(token: &str) -> String {
    format!("token={}&token_type_hint=access_token", encoded(token))
}

/// Returns the header Authorization of a client (RFC 6749 2.3.1).
pub(super) fn authorization(client_id: &str, secret: &str) -> String {
    let pair = format!("{}:{}", encoded(client_id), encoded(secret));
    format!("Basic {}", STANDARD.encode(pair))
}

/// Encodes a text for a form.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_active_if_the_answer_says_true_and_nothing_else() {
        let parse = |text: &str| parse_introspection(text.as_bytes());
        let Ok(Introspection::Active(members)) = parse(r#"{"active":true,"sub":"ann"}"#) else { panic!() };
        assert_eq!(members["sub"], "ann");
        assert_eq!(parse(r#"{"active":false}"#), Ok(Introspection::Inactive));
        assert_eq!(parse(r#"{"sub":"ann","active":false}"#), Ok(Introspection::Inactive));
        for text in [
            "",
            "{}",
            "true",
            "[true]",
            "<html>",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"active":[true]}"#,
            r#"{"Active":true}"#,
            r#"{"active":false,"active":true}"#,
            r#"{"active":true,"sub":"a","sub":"b"}"#,
            r#"{"active":true"#,
            r#"{"active":true}{"active":true}"#,
        ] {
            assert_eq!(parse(text), Err(IntrospectionError::Malformed), "{text}");
        }
        let long = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(INTROSPECTION_BYTES_MAX));
        assert_eq!(parse(&long), Err(IntrospectionError::TooLong { bytes: long.len() }));
    }

    #[test]
    fn a_question_and_its_sender_are_encoded_so_that_no_text_changes_their_form() {
        assert_eq!(question("a&b=c+d/%"), "token=a%26b%3Dc%2Bd%2F%25&token_type_hint=access_token");
        // The pair "ring:sock" and "p:ä".
        assert_eq!(STANDARD.decode(&authorization("ring:sock", "p:ä")[6..]).unwrap(), b"ring%3Asock:p%3A%C3%A4");
    }
}
