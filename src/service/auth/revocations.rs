//! Revoked tokens: by their id, or all of a subject that were issued until a time.
//!
//! Shared by all cores. Has no clock. Invariant: a revocation is kept for as long as a token that it concerns may
//! live, and one that cannot be kept is refused, so none is forgotten.

use std::collections::HashMap;

use thiserror::Error;

use crate::engine::SessionId;

/// The most revocations of each kind: some 10 MiB.
pub const REVOCATIONS_MAX: usize = 1 << 16;

/// A revocation, which concerns tokens and the sessions that were opened with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token of this id (`jti`).
    Token(Box<str>),
    /// All tokens of a subject (`sub`) that were issued until a time in seconds since 1970, and those that do not say
    /// when they were issued.
    Subject {
        /// The subject.
        subject: Box<str>,
        /// The time.
        issued_until_s: u64,
    },
    /// One session. Its token may open another.
    Session(SessionId),
}

/// The facts about a token that a revocation is compared with.
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts<'t> {
    /// `jti`.
    pub token_id: Option<&'t str>,
    /// `sub`.
    pub subject: Option<&'t str>,
    /// `iat`.
    pub issued_at_s: Option<u64>,
}

impl Revocation {
    /// Returns whether a revocation concerns a token.
    pub fn concerns(&self, token: TokenFacts<'_>) -> bool {
        match self {
            Self::Token(id) => token.token_id == Some(id),
            Self::Subject { subject, issued_until_s } => {
                token.subject == Some(subject) && token.issued_at_s.is_none_or(|at_s| at_s <= *issued_until_s)
            }
            Self::Session(_) => false,
        }
    }
}

/// More revocations than can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "There are {REVOCATIONS_MAX} revocations of tokens that have not expired. Revoke by subject, or change the keys."
)]
pub struct RevocationsFull;

/// The revocations in force.
#[derive(Debug, Default)]
pub struct Revocations {
    /// The end of each, by the token's id.
    tokens: HashMap<Box<str>, u64>,
    /// The time until which its tokens are revoked, and the end of each, by the subject.
    subjects: HashMap<Box<str>, (u64, u64)>,
}

impl Revocations {
    /// Keeps a revocation until a time, after which no token that it concerns is accepted anyway.
    pub fn add(&mut self, revocation: &Revocation, until_s: u64, now_s: u64) -> Result<(), RevocationsFull> {
        match revocation {
            Revocation::Token(id) => {
                make_room(&mut self.tokens, id, |end_s| *end_s > now_s)?;
                self.tokens.insert(id.clone(), until_s);
            }
            Revocation::Subject { subject, issued_until_s } => {
                make_room(&mut self.subjects, subject, |(_, end_s)| *end_s > now_s)?;
                let (issued, end) = self.subjects.entry(subject.clone()).or_default();
                (*issued, *end) = ((*issued).max(*issued_until_s), (*end).max(until_s));
            }
            Revocation::Session(_) => {}
        }
        Ok(())
    }

    /// Returns whether a token is revoked.
    pub fn concern(&self, token: TokenFacts<'_>) -> bool {
        let by_id = || token.token_id.is_some_and(|id| self.tokens.contains_key(id));
        let by_subject = || {
            let revoked = token.subject.and_then(|subject| self.subjects.get(subject));
            revoked.is_some_and(|(until_s, _)| token.issued_at_s.is_none_or(|at_s| at_s <= *until_s))
        };
        by_id() || by_subject()
    }
}

/// Makes room for one more entry, by dropping those that have ended.
fn make_room<V>(
    kept: &mut HashMap<Box<str>, V>,
    name: &str,
    lasts: impl Fn(&V) -> bool,
) -> Result<(), RevocationsFull> {
    if kept.len() >= REVOCATIONS_MAX && !kept.contains_key(name) {
        kept.retain(|_, value| lasts(value));
        if kept.len() >= REVOCATIONS_MAX {
            return Err(RevocationsFull);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token<'t>(token_id: &'t str, subject: &'t str, issued_at_s: Option<u64>) -> TokenFacts<'t> {
        TokenFacts { token_id: Some(token_id), subject: Some(subject), issued_at_s }
    }

    #[test]
    fn a_token_is_revoked_by_its_id_or_by_its_subject_and_time() {
        let by_id = Revocation::Token("1".into());
        let by_subject = Revocation::Subject { subject: "ann".into(), issued_until_s: 50 };
        let mut revocations = Revocations::default();
        revocations.add(&by_id, 100, 0).unwrap();
        revocations.add(&by_subject, 100, 0).unwrap();
        for (facts, id, subject) in [
            (token("1", "bob", Some(60)), true, false),
            (token("2", "ann", Some(50)), false, true),
            (token("2", "ann", None), false, true),
            (token("2", "ann", Some(51)), false, false),
            (token("2", "bob", Some(1)), false, false),
            (TokenFacts { token_id: None, subject: None, issued_at_s: None }, false, false),
        ] {
            assert_eq!((by_id.concerns(facts), by_subject.concerns(facts)), (id, subject), "{facts:?}");
            assert_eq!(revocations.concern(facts), id || subject, "{facts:?}");
        }
    }

    #[test]
    fn a_later_revocation_of_a_subject_never_takes_an_earlier_one_back() {
        let mut revocations = Revocations::default();
        for issued_until_s in [50, 20] {
            let revocation = Revocation::Subject { subject: "ann".into(), issued_until_s };
            revocations.add(&revocation, 100, 0).unwrap();
        }
        assert!(revocations.concern(token("1", "ann", Some(50))));
    }

    #[test]
    fn revocations_are_bounded_and_one_too_many_is_refused() {
        let mut revocations = Revocations::default();
        for id in 0..REVOCATIONS_MAX {
            revocations.add(&Revocation::Token(id.to_string().into()), 100, 0).unwrap();
        }
        let more = Revocation::Token("more".into());
        assert_eq!(revocations.add(&more, 100, 99), Err(RevocationsFull));
        assert!(revocations.concern(token("0", "", None)), "none is forgotten");
        assert_eq!(
            revocations.add(&Revocation::Token("0".into()), 100, 99),
            Ok(()),
            "one more of the same is none more"
        );
        assert_eq!(revocations.add(&more, 200, 100), Ok(()), "those of expired tokens make room");
        assert_eq!(revocations.tokens.len(), 1);
    }
}
