//! Roles: named lists of grants in the server's configuration, with placeholders for what a token says of its bearer.
//!
//! Owns the language of templates and their expansion. Never verifies a claim. Invariant: a value from a token widens
//! no pattern: one that is empty or contains `/` or `*` expands to no grant at all.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::grants::{Grant, GrantError, Verbs, split_grant};
use super::json;
use crate::engine::check_topic;

/// The name of the role of clients without a token.
pub const ANONYMOUS: &str = "anonymous";

/// The beginning of a placeholder for a claim.
const CLAIM: &str = "claim.";

/// A grant of a role: `subscribe:users/{sub}/*`, `publish:{claim.tenant.id}/chat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantTemplate {
    verbs: Verbs,
    pattern: Vec<Part>,
}

/// A part of a template's pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Subject,
    Claim(String),
}

impl GrantTemplate {
    /// Returns the template of a grant of all verbs on all topics.
    pub(super) fn everything() -> Self {
        Self { verbs: Verbs::all(), pattern: vec![Part::Text("*".to_owned())] }
    }

    /// Returns the grant for a subject and its claims, or `None` if a placeholder has no value that is safe.
    fn expand(&self, subject: Option<&str>, claims: &Map<String, Value>) -> Option<Grant> {
        let mut pattern = String::new();
        for part in &self.pattern {
            match part {
                Part::Text(text) => pattern += text,
                Part::Subject => pattern += safe(subject?)?,
                Part::Claim(name) => pattern += safe(&text_of(json::member(claims, name)?)?)?,
            }
        }
        Grant::new(self.verbs, &pattern).ok()
    }
}

/// Returns a value as text, if it is one that can be a part of a topic's name.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the value unless it would make a pattern cover more than its place in it.
fn safe(value: &str) -> Option<&str> {
    (!value.is_empty() && !value.contains(['/', '*'])).then_some(value)
}

impl FromStr for GrantTemplate {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (verbs, pattern) = split_grant(text)?;
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            let placeholder = || GrantError::Placeholder { given: text.to_owned() };
            let (name, after) = after.split_once('}').ok_or_else(placeholder)?;
            if !before.is_empty() {
                parts.push(plain(before).ok_or_else(placeholder)?);
            }
            parts.push(match name.strip_prefix(CLAIM) {
                _ if name == "sub" => Part::Subject,
                Some(claim) if !claim.is_empty() => Part::Claim(claim.to_owned()),
                _ => return Err(placeholder()),
            });
            rest = after;
        }
        // A value has no /, so one behind it ends it; anything else could be the beginning of another value.
        if rest.ends_with('*') && !rest.starts_with('/') && !parts.is_empty() {
            return Err(GrantError::OpenEnd { given: text.to_owned() });
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(plain(rest).ok_or_else(|| GrantError::Placeholder { given: text.to_owned() })?);
        }
        if let [Part::Text(name)] = &parts[..] {
            check_topic(name).map_err(|source| GrantError::Topic { given: text.to_owned(), source })?;
        }
        Ok(Self { verbs, pattern: parts })
    }
}

/// Returns a part of plain text, unless it has a closing brace.
fn plain(text: &str) -> Option<Part> {
    (!text.contains('}')).then(|| Part::Text(text.to_owned()))
}

impl fmt::Display for GrantTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.verbs)?;
        self.pattern.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Subject => f.write_str("{sub}"),
            Part::Claim(name) => write!(f, "{{{CLAIM}{name}}}"),
        })
    }
}

/// The roles of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(BTreeMap<String, Vec<GrantTemplate>>);

impl Roles {
    /// Returns the roles of these names.
    pub fn new(roles: impl IntoIterator<Item = (String, Vec<GrantTemplate>)>) -> Self {
        Self(roles.into_iter().collect())
    }

    /// Returns whether there are no roles.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether there is a role of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the grants of a role for a subject and its claims; none for a role that does not exist.
    pub fn grants(
        &self,
        name: &str,
        subject: Option<&str>,
        claims: &Map<String, Value>,
    ) -> impl Iterator<Item = Grant> {
        let templates = self.0.get(name).map_or(&[][..], |templates| templates);
        templates.iter().filter_map(move |template| template.expand(subject, claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, subject: Option<&str>, claims: &str) -> Option<String> {
        let claims = json::object(claims.as_bytes()).unwrap();
        template.parse::<GrantTemplate>().unwrap().expand(subject, &claims).map(|grant| grant.to_string())
    }

    #[test]
    fn a_placeholder_takes_the_value_of_the_token() {
        let claims = r#"{"tenant":{"id":7},"room":"lobby"}"#;
        for (template, grant) in [
            ("subscribe:users/{sub}/*", "subscribe:users/ann/*"),
            ("publish:{claim.tenant.id}/{sub}", "publish:7/ann"),
            ("subscribe,publish:{claim.room}", "subscribe,publish:lobby"),
            ("subscribe:*", "subscribe:*"),
            ("subscribe:a*b", "subscribe:a*b"),
        ] {
            assert_eq!(expand(template, Some("ann"), claims).as_deref(), Some(grant));
            assert_eq!(template.parse::<GrantTemplate>().unwrap().to_string(), template);
        }
    }

    #[test]
    fn a_value_that_would_widen_a_pattern_expands_to_nothing() {
        for subject in ["*", "a*", "a/b", "/", "", "ann/*"] {
            assert_eq!(expand("subscribe:users/{sub}", Some(subject), "{}"), None, "{subject}");
            let claims = serde_json::json!({ "x": subject }).to_string();
            assert_eq!(expand("subscribe:{claim.x}/*", None, &claims), None, "{subject}");
        }
        for value in ["null", "true", "[]", "[\"a\"]", "{}"] {
            assert_eq!(expand("subscribe:{claim.x}", None, &format!("{{\"x\":{value}}}")), None, "{value}");
        }
        assert_eq!(expand("subscribe:{sub}", None, "{}"), None);
        assert_eq!(expand("subscribe:{claim.y}", Some("a"), "{}"), None);
        assert_eq!(expand("subscribe:{sub}", Some(&"x".repeat(256)), "{}"), None);
        // A value is never read as a placeholder.
        assert_eq!(expand("subscribe:{sub}", Some("{claim.x}"), "{}").as_deref(), Some("subscribe:{claim.x}"));
    }

    #[test]
    fn a_template_that_is_wrong_is_refused_when_it_is_read() {
        for (template, fault) in [
            ("subscribe:{user}", "no placeholder"),
            ("subscribe:{claim.}", "no placeholder"),
            ("subscribe:{claim}", "no placeholder"),
            ("subscribe:{sub", "no placeholder"),
            ("subscribe:sub}", "no placeholder"),
            ("subscribe:}{sub}", "no placeholder"),
            ("subscribe:{}", "no placeholder"),
            ("subscribe:{sub}*", "write a / behind"),
            ("subscribe:{sub}-*", "write a / behind"),
            ("subscribe:", "is invalid"),
            ("listen:a", "is no verb"),
            ("a", "is no grant"),
        ] {
            let error = template.parse::<GrantTemplate>().unwrap_err().to_string();
            assert!(error.contains(fault), "{template}: {error}");
        }
    }

    #[test]
    fn a_role_gives_the_grants_that_have_values_and_an_unknown_one_gives_none() {
        let templates = ["subscribe:news", "publish:{sub}"].map(|template| template.parse().unwrap());
        let roles = Roles::new([("user".to_owned(), templates.to_vec())]);
        let grants = |name: &str, subject| -> Vec<String> {
            roles.grants(name, subject, &Map::new()).map(|grant| grant.to_string()).collect()
        };
        assert_eq!(grants("user", Some("ann")), ["subscribe:news", "publish:ann"]);
        assert_eq!(grants("user", None), ["subscribe:news"]);
        assert!(grants("admin", Some("ann")).is_empty());
        assert!(roles.contains("user") && !roles.contains(ANONYMOUS) && !roles.is_empty());
    }
}
