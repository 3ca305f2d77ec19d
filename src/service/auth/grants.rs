//! Permissions: grants of verbs on topics, and the sets of grants that sessions with equal rights share.
//!
//! Owns the language of grants, whose patterns are those of subscriptions: a topic's name, or text that ends with `*`.
//! Never knows a token, a role or a session. Invariant: a set allows what any of its grants allows; nothing denies.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use thiserror::Error;

use crate::engine::{TopicError, check_topic};

/// The most grants that a token or a role may have. An identity is compiled in a core's turn, so its cost is bounded.
pub const GRANTS_MAX: usize = 100;

/// The number of sets from which on unused ones are looked for: fewer cost less than the search.
const SETS_SWEPT_FROM: usize = 64;

/// The separator of verbs and pattern in the written form of a grant.
const SEPARATOR: char = ':';

/// An action on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// Receive the topic's messages.
    Subscribe,
    /// Send messages to the topic.
    Publish,
    /// See who is subscribed to a channel.
    Presence,
    /// Read a channel's earlier messages.
    History,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 4] = [Self::Subscribe, Self::Publish, Self::Presence, Self::History];

    /// Returns the verb's name in grants.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
        }
    }
}

/// A set of verbs, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Verbs(u8);

impl Verbs {
    fn has(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }

    /// Returns all verbs.
    pub(super) fn all() -> Self {
        Verb::ALL.into_iter().fold(Self::default(), Self::with)
    }

    fn with(self, verb: Verb) -> Self {
        Self(self.0 | 1 << verb as u8)
    }
}

impl FromStr for Verbs {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        text.split(',').try_fold(Self::default(), |verbs, given| {
            let verb = Verb::ALL.into_iter().find(|verb| verb.name() == given.trim());
            verb.map(|verb| verbs.with(verb)).ok_or_else(|| GrantError::Verb { given: given.to_owned() })
        })
    }
}

impl fmt::Display for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Verb::ALL.into_iter().filter(|verb| self.has(*verb)).map(Verb::name).collect();
        f.write_str(&names.join(","))
    }
}

/// An invalid grant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GrantError {
    /// There is no colon.
    #[error("{given:?} is no grant; write verbs, a colon and a topic, such as subscribe:news or publish:rooms/*")]
    Form {
        /// The rejected text.
        given: String,
    },
    /// Unknown verb.
    #[error("{given:?} is no verb; give subscribe, publish, presence or history")]
    Verb {
        /// The rejected text.
        given: String,
    },
    /// Invalid topic.
    #[error("the topic of the grant {given:?} is invalid: {source}")]
    Topic {
        /// The rejected text.
        given: String,
        /// The violated rule.
        source: TopicError,
    },
    /// Unknown placeholder.
    #[error("{given:?} has a brace that belongs to no placeholder; write {{sub}} or {{claim.NAME}}")]
    Placeholder {
        /// The rejected text.
        given: String,
    },
    /// A pattern whose placeholder could be the beginning of another value.
    #[error(
        "{given:?} would also cover topics of others whose value begins with that of the token; write a / behind the \
         placeholder"
    )]
    OpenEnd {
        /// The rejected text.
        given: String,
    },
}

/// Splits a written grant into its verbs and the text of its pattern.
pub(super) fn split_grant(text: &str) -> Result<(Verbs, &str), GrantError> {
    let (verbs, pattern) = text.split_once(SEPARATOR).ok_or_else(|| GrantError::Form { given: text.to_owned() })?;
    Ok((verbs.parse()?, pattern))
}

/// A permission: verbs on the topics that a pattern covers. Written as `subscribe,publish:rooms/*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    pattern: Box<str>,
    verbs: Verbs,
}

impl Grant {
    /// Returns the grant of these verbs on a pattern.
    pub(super) fn new(verbs: Verbs, pattern: &str) -> Result<Self, GrantError> {
        let invalid = |source| GrantError::Topic { given: pattern.to_owned(), source };
        check_topic(pattern).map_err(invalid)?;
        Ok(Self { pattern: pattern.into(), verbs })
    }

    /// Returns whether every topic that `name` stands for, a topic or a pattern, is covered by the grant's pattern.
    fn covers(&self, name: &str) -> bool {
        match (self.pattern.strip_suffix('*'), name.strip_suffix('*')) {
            (Some(own), Some(stem)) => stem.starts_with(own),
            (Some(own), None) => name.starts_with(own),
            (None, _) => *self.pattern == *name,
        }
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (verbs, pattern) = split_grant(text)?;
        Self::new(verbs, pattern)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SEPARATOR}{}", self.verbs, self.pattern)
    }
}

/// The rights of a session: the union of its grants.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct GrantSet {
    /// Sorted by pattern, each pattern once, so that equal rights are equal sets.
    grants: Box<[Grant]>,
    /// The names of the roles, where a backend is told them.
    roles: Box<[String]>,
}

impl GrantSet {
    /// Returns the union of these grants.
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        let mut grants: Vec<Grant> = grants.into_iter().collect();
        grants.sort_unstable();
        grants.dedup_by(|next, kept| {
            let is_same = next.pattern == kept.pattern;
            if is_same {
                kept.verbs = Verbs(kept.verbs.0 | next.verbs.0);
            }
            is_same
        });
        Self { grants: grants.into(), roles: Box::default() }
    }

    /// Adds the names of the roles that the grants come from.
    pub fn with_roles(self, roles: Vec<String>) -> Self {
        Self { roles: roles.into(), ..self }
    }

    /// Returns the names of the roles that a backend is told.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Returns whether the verb is allowed on a topic, or on all topics that a pattern stands for.
    pub fn allows(&self, verb: Verb, name: &str) -> bool {
        self.grants.iter().any(|grant| grant.verbs.has(verb) && grant.covers(name))
    }

    /// Returns the grants, sorted by pattern.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter()
    }
}

/// The sets in use on a core. Sessions with equal rights get the same one.
#[derive(Debug, Default)]
pub struct GrantSets {
    sets: HashSet<Rc<GrantSet>>,
    /// The number of sets at which those without a session are dropped.
    swept_at: usize,
}

impl GrantSets {
    /// Returns the shared set that is equal to this one.
    pub fn share(&mut self, set: GrantSet) -> Rc<GrantSet> {
        if let Some(shared) = self.sets.get(&set) {
            return Rc::clone(shared);
        }
        if self.sets.len() >= self.swept_at.max(SETS_SWEPT_FROM) {
            self.sets.retain(|set| Rc::strong_count(set) > 1);
            self.swept_at = self.sets.len() * 2;
        }
        let shared = Rc::new(set);
        self.sets.insert(Rc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of at most `length` characters over a small alphabet that has the `*` in it.
    fn texts(length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..length {
            let until = all.len();
            for at in from..until {
                all.extend(['a', 'b', '/', '*'].map(|letter| format!("{}{letter}", all[at])));
            }
            from = until;
        }
        all.retain(|text| !text.is_empty());
        all
    }

    /// The topics that a pattern stands for, out of a universe of full names that is larger than any of the patterns.
    fn stands_for<'u>(pattern: &str, universe: &'u [String]) -> Vec<&'u String> {
        let matches = |name: &&String| match pattern.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => *name == pattern,
        };
        universe.iter().filter(matches).collect()
    }

    #[test]
    fn a_set_allows_exactly_what_a_grant_of_it_covers_for_every_verb_pattern_and_name() {
        let universe: Vec<String> = texts(5).into_iter().filter(|name| !name.ends_with('*')).collect();
        let (patterns, names) = (texts(3), texts(3));
        for pattern in &patterns {
            let covered: HashSet<&String> = stands_for(pattern, &universe).into_iter().collect();
            let sets =
                Verb::ALL.map(|verb| (verb, GrantSet::new([format!("{}:{pattern}", verb.name()).parse().unwrap()])));
            for name in &names {
                // A pattern's topics are infinitely many, which an exact name never covers.
                let is_covered = (pattern.ends_with('*') || !name.ends_with('*'))
                    && stands_for(name, &universe).iter().all(|topic| covered.contains(topic));
                for ((verb, set), asked) in sets.iter().flat_map(|set| Verb::ALL.map(|asked| (set, asked))) {
                    let expected = asked == *verb && is_covered;
                    assert_eq!(set.allows(asked, name), expected, "{verb:?}:{pattern} {asked:?} {name}");
                }
            }
        }
    }

    #[test]
    fn grants_add_up_and_an_empty_set_allows_nothing() {
        let parse = |texts: &[&str]| GrantSet::new(texts.iter().map(|text| text.parse().unwrap()));
        let set = parse(&["publish:a", "subscribe:a", "subscribe, history:rooms/*"]);
        assert!(set.allows(Verb::Publish, "a") && set.allows(Verb::Subscribe, "a"));
        assert!(set.allows(Verb::History, "rooms/1") && set.allows(Verb::Subscribe, "rooms/1*"));
        assert!(!set.allows(Verb::Publish, "rooms/1") && !set.allows(Verb::Subscribe, "rooms*"));
        assert!(!set.allows(Verb::Presence, "a") && !set.allows(Verb::Subscribe, "*"));
        let written: Vec<String> = set.iter().map(Grant::to_string).collect();
        assert_eq!(written, ["subscribe,publish:a", "subscribe,history:rooms/*"]);
        assert_eq!(set, parse(&["subscribe,history:rooms/*", "subscribe,publish:a"]));
        assert!(texts(3).iter().all(|name| !GrantSet::default().allows(Verb::Subscribe, name)));
    }

    #[test]
    fn a_grant_that_cannot_be_is_refused_by_its_fault() {
        for (text, fault) in [
            ("", "is no grant"),
            ("news", "is no grant"),
            (":news", "is no verb"),
            ("read:news", "is no verb"),
            ("Subscribe:news", "is no verb"),
            ("subscribe,:news", "is no verb"),
            ("*:news", "is no verb"),
            ("subscribe:", "is invalid"),
        ] {
            let error = text.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
        assert!(format!("subscribe:{}", "x".repeat(256)).parse::<Grant>().is_err());
        assert_eq!("subscribe:a:b".parse::<Grant>().unwrap().to_string(), "subscribe:a:b");
    }

    #[test]
    fn equal_rights_share_a_set_and_unused_sets_are_dropped() {
        let mut sets = GrantSets::default();
        let set = |at: usize| GrantSet::new([format!("publish:{at}").parse().unwrap()]);
        let (one, other) = (sets.share(set(1)), sets.share(set(1)));
        assert!(Rc::ptr_eq(&one, &other));
        for at in 0..10 * SETS_SWEPT_FROM {
            drop(sets.share(set(at)));
        }
        assert!(sets.sets.len() <= SETS_SWEPT_FROM, "{}", sets.sets.len());
        assert!(Rc::ptr_eq(&one, &sets.share(set(1))), "one in use stays");
    }
}
