//! The answer of a backend to a question: allowed with rights, or denied.
//!
//! Owns the form of answers. Never decides what follows from one. Invariant: a member of a wrong type, a value out of
//! its range or a name that occurs twice makes the whole answer invalid, so that no mistake of a backend widens rights;
//! names that are not known are ignored, so that a backend may be newer than the server.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::protocol::CloseCode;
use crate::service::auth::{Allowed, GRANTS_MAX, Grant, SUBJECT_BYTES_MAX, json_object};

/// The longest body of an answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The longest reason that is taken: a Close frame has room for no more (RFC 6455 5.5).
pub const REASON_BYTES_MAX: usize = 123;

/// The decision of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request is allowed.
    Allowed(Allowed),
    /// The request is denied.
    Denied(Denied),
}

/// A denial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// The close code: 3000, 3003 or 4000 to 4999.
    pub code: Option<CloseCode>,
    /// A sentence for the client.
    pub reason: Option<String>,
}

/// A response that is no answer: the backend's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidAnswer {
    /// The status is another one.
    #[error("its status is {0}, and an answer has 200")]
    Status(u16),
    /// The body is no JSON object, or repeats a name.
    #[error("it is no JSON object, or a name occurs twice in it")]
    NoObject,
    /// A member is missing or cannot be used.
    #[error("{0} is missing, of a wrong type or out of its range")]
    Member(&'static str),
}

impl Verdict {
    /// Returns the verdict with the time at which it was given, in seconds since 1970.
    pub(super) fn given_at(self, given_at_s: u64) -> Self {
        match self {
            Self::Allowed(allowed) => Self::Allowed(Allowed { given_at_s: Some(given_at_s), ..allowed }),
            denied @ Self::Denied(_) => denied,
        }
    }

    /// Reads the response of a backend. The statuses 401 and 403 are denials, whatever the body is.
    pub fn read(status: u16, body: &[u8]) -> Result<Self, InvalidAnswer> {
        match status {
            200 => Self::parse(body),
            401 | 403 => Ok(Self::Denied(Denied::default())),
            status => Err(InvalidAnswer::Status(status)),
        }
    }

    /// Parses the body of an answer.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidAnswer> {
        let members = json_object(body).ok_or(InvalidAnswer::NoObject)?;
        match members.get("allow") {
            Some(Value::Bool(true)) => parse_allowed(&members).map(Self::Allowed),
            Some(Value::Bool(false)) => Denied::parse(&members).map(Self::Denied),
            _ => Err(InvalidAnswer::Member("allow")),
        }
    }
}

/// Returns the rights of a permission.
fn parse_allowed(members: &Map<String, Value>) -> Result<Allowed, InvalidAnswer> {
    let subject = text(members, "subject", 1..=SUBJECT_BYTES_MAX)?;
    let roles = texts(members, "roles")?;
    let grants = texts(members, "grants")?.map(|grants| {
        let parsed = grants.iter().map(|grant| grant.parse()).collect::<Result<Vec<Grant>, _>>();
        parsed.map_err(|_| InvalidAnswer::Member("grants"))
    });
    let expires_s = match present(members, "expires") {
        None => None,
        Some(value) => Some(value.as_u64().filter(|s| *s > 0).ok_or(InvalidAnswer::Member("expires"))?),
    };
    Ok(Allowed { subject, roles, grants: grants.transpose()?, expires_s, given_at_s: None })
}

impl Denied {
    fn parse(members: &Map<String, Value>) -> Result<Self, InvalidAnswer> {
        let code = match present(members, "code") {
            None => None,
            Some(value) => {
                let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
                let code = number.filter(|number| matches!(number, 3000 | 3003 | 4000..=4999)).and_then(CloseCode::new);
                Some(code.ok_or(InvalidAnswer::Member("code"))?)
            }
        };
        Ok(Self { code, reason: text(members, "reason", 0..=REASON_BYTES_MAX)? })
    }
}

/// Returns a member, unless it is missing or null.
fn present<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn text(
    members: &Map<String, Value>,
    name: &'static str,
    bytes: std::ops::RangeInclusive<usize>,
) -> Result<Option<String>, InvalidAnswer> {
    match present(members, name) {
        None => Ok(None),
        Some(Value::String(text)) if bytes.contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(InvalidAnswer::Member(name)),
    }
}

fn texts(members: &Map<String, Value>, name: &'static str) -> Result<Option<Vec<String>>, InvalidAnswer> {
    let invalid = InvalidAnswer::Member(name);
    match present(members, name) {
        None => Ok(None),
        Some(Value::Array(list)) if list.len() <= GRANTS_MAX => {
            let texts = list.iter().map(|text| text.as_str().map(str::to_owned).ok_or(invalid));
            texts.collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(body: &str) -> Allowed {
        match Verdict::parse(body.as_bytes()) {
            Ok(Verdict::Allowed(allowed)) => allowed,
            other => panic!("{body}: {other:?}"),
        }
    }

    fn denied(body: &str) -> Denied {
        match Verdict::parse(body.as_bytes()) {
            Ok(Verdict::Denied(denied)) => denied,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn a_permission_may_bring_rights_and_names_of_newer_backends_are_ignored() {
        assert_eq!(allowed(r#"{"allow":true}"#), Allowed::default());
        assert_eq!(
            allowed(r#"{"allow":true,"subject":null,"roles":null,"expires":null,"x":{"y":[]}}"#),
            Allowed::default()
        );
        let all = r#"{"allow":true,"subject":"ann","roles":["user"],"grants":["subscribe:news"],"expires":60}"#;
        assert_eq!(
            allowed(all),
            Allowed {
                subject: Some("ann".to_owned()),
                roles: Some(vec!["user".to_owned()]),
                grants: Some(vec!["subscribe:news".parse().unwrap()]),
                expires_s: Some(60),
                given_at_s: None,
            }
        );
        assert_eq!(allowed(r#"{"allow":true,"grants":[]}"#).grants, Some(Vec::new()), "no grant at all");
    }

    #[test]
    fn a_denial_may_have_a_code_of_applications_and_a_reason() {
        assert_eq!(denied(r#"{"allow":false}"#), Denied::default());
        for code in [3000, 3003, 4000, 4999] {
            let denied = denied(&format!(r#"{{"allow":false,"code":{code},"reason":"No."}}"#));
            assert_eq!((denied.code, denied.reason.as_deref()), (CloseCode::new(code), Some("No.")));
        }
        for code in ["1000", "1011", "2999", "3001", "3999", "5000", "70000", "-4000", "4000.5", "\"4000\"", "[]"] {
            let body = format!(r#"{{"allow":false,"code":{code}}}"#);
            assert_eq!(Verdict::parse(body.as_bytes()), Err(InvalidAnswer::Member("code")), "{code}");
        }
        let long = format!(r#"{{"allow":false,"reason":"{}"}}"#, "x".repeat(124));
        assert_eq!(Verdict::parse(long.as_bytes()), Err(InvalidAnswer::Member("reason")));
    }

    #[test]
    fn a_mistake_in_any_member_makes_the_whole_answer_invalid() {
        let too_many = format!(r#"{{"allow":true,"roles":[{}"a"]}}"#, "\"a\",".repeat(100));
        for (body, fault) in [
            ("", InvalidAnswer::NoObject),
            ("true", InvalidAnswer::NoObject),
            ("[]", InvalidAnswer::NoObject),
            ("<html>", InvalidAnswer::NoObject),
            (r#"{"allow":true}{"#, InvalidAnswer::NoObject),
            (r#"{"allow":false,"allow":true}"#, InvalidAnswer::NoObject),
            (r#"{"allow":true,"grants":[],"grants":["publish:*"]}"#, InvalidAnswer::NoObject),
            ("{}", InvalidAnswer::Member("allow")),
            (r#"{"Allow":true}"#, InvalidAnswer::Member("allow")),
            (r#"{"allow":"true"}"#, InvalidAnswer::Member("allow")),
            (r#"{"allow":1}"#, InvalidAnswer::Member("allow")),
            (r#"{"allow":null}"#, InvalidAnswer::Member("allow")),
            (r#"{"allow":true,"subject":""}"#, InvalidAnswer::Member("subject")),
            (r#"{"allow":true,"subject":1}"#, InvalidAnswer::Member("subject")),
            (r#"{"allow":true,"roles":"user"}"#, InvalidAnswer::Member("roles")),
            (r#"{"allow":true,"roles":[1]}"#, InvalidAnswer::Member("roles")),
            (&too_many, InvalidAnswer::Member("roles")),
            (r#"{"allow":true,"grants":["news"]}"#, InvalidAnswer::Member("grants")),
            (r#"{"allow":true,"grants":["subscribe:a","read:b"]}"#, InvalidAnswer::Member("grants")),
            (r#"{"allow":true,"expires":0}"#, InvalidAnswer::Member("expires")),
            (r#"{"allow":true,"expires":-1}"#, InvalidAnswer::Member("expires")),
            (r#"{"allow":true,"expires":1e300}"#, InvalidAnswer::Member("expires")),
            (r#"{"allow":true,"expires":"60"}"#, InvalidAnswer::Member("expires")),
        ] {
            assert_eq!(Verdict::parse(body.as_bytes()), Err(fault), "{body}");
        }
        let long = format!(r#"{{"allow":true,"subject":"{}"}}"#, "x".repeat(SUBJECT_BYTES_MAX + 1));
        assert_eq!(Verdict::parse(long.as_bytes()), Err(InvalidAnswer::Member("subject")));
    }

    #[test]
    fn only_the_status_200_has_an_answer_and_two_others_are_denials() {
        let allows = br#"{"allow":true}"#;
        assert_eq!(Verdict::read(200, allows), Ok(Verdict::Allowed(Allowed::default())));
        for status in [401, 403] {
            // A backend that says no by its status must never be taken for one that is down.
            assert_eq!(Verdict::read(status, allows), Ok(Verdict::Denied(Denied::default())), "{status}");
        }
        for status in [100, 201, 204, 301, 302, 400, 404, 429, 500, 503] {
            assert_eq!(Verdict::read(status, allows), Err(InvalidAnswer::Status(status)));
        }
    }
}
