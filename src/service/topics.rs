//! `/topics/{name}`: a topic as a plain WebSocket. Each message of a client is published to the topic's subscribers.
//!
//! Owns the parsing of path, query and overflow rules; the engine publishes and delivers.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::query::{ParameterError, decode, parameter};
use crate::engine::{Overflow, Subscribe, TopicError, check_topic};

/// The path prefix of topics.
const PREFIX: &str = "/topics/";

/// A client's request to join a topic.
#[derive(Debug)]
pub(super) struct Join {
    /// The topic, or a topic pattern.
    pub(super) topic: String,
    /// True if the client receives its own messages.
    pub(super) echo: bool,
}

/// An invalid request to join a topic: the client's fault.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum JoinError {
    #[error("The topic name is not UTF-8 after percent-decoding. Encode it as UTF-8.")]
    NotText,
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("echo is {value:?}. Give true or false.")]
    Echo { value: String },
    #[error(transparent)]
    Parameter(#[from] ParameterError),
}

impl Join {
    /// Parses a request target, or returns `None` if its path is not below `/topics/`.
    pub(super) fn parse(path: &str, query: Option<&str>) -> Option<Result<Self, JoinError>> {
        let name = path.strip_prefix(PREFIX)?;
        Some(Self::read(name, query))
    }

    fn read(name: &str, query: Option<&str>) -> Result<Self, JoinError> {
        let topic = decode(name).ok_or(JoinError::NotText)?.into_owned();
        check_topic(&topic)?;
        let echo = match parameter(query, "echo")?.as_deref() {
            None | Some("true") => true,
            Some("false") => false,
            Some(value) => return Err(JoinError::Echo { value: value.to_owned() }),
        };
        Ok(Self { topic, echo })
    }
}

/// The overflow policy of each topic: `close`, or `close,prices/*=latest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverflowRules {
    default: Overflow,
    /// Policies by topic name or pattern; the first match applies.
    overrides: Vec<(String, Overflow)>,
}

/// Invalid overflow rules: the operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidOverflow {
    /// Unknown policy.
    #[error("unknown policy {given:?}; give close, drop-newest, drop-oldest or latest")]
    Policy {
        /// The rejected text.
        given: String,
    },
    /// A second default policy.
    #[error("{given:?} is a second default policy; give one, and the others as TOPIC=POLICY or PREFIX*=POLICY")]
    Second {
        /// The rejected text.
        given: String,
    },
    /// Invalid topic name.
    #[error("invalid topic {given:?}: {source}")]
    Topic {
        /// The rejected text.
        given: String,
        /// The violated rule.
        source: TopicError,
    },
}

impl OverflowRules {
    /// Returns the subscription options for a client of a topic.
    pub(super) fn subscribe(&self, join: &Join) -> Subscribe {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(stem) => join.topic.starts_with(stem),
            None => join.topic == *pattern,
        };
        let matching = self.overrides.iter().find(|(pattern, _)| matches(pattern));
        Subscribe::new().overflow(matching.map_or(self.default, |(_, overflow)| *overflow)).echo(join.echo)
    }
}

impl FromStr for OverflowRules {
    type Err = InvalidOverflow;

    fn from_str(text: &str) -> Result<Self, InvalidOverflow> {
        let (mut default, mut overrides) = (None, Vec::new());
        for rule in text.split(',').map(str::trim) {
            match rule.rsplit_once('=') {
                Some((topic, given)) => {
                    check_topic(topic).map_err(|source| InvalidOverflow::Topic { given: topic.to_owned(), source })?;
                    overrides.push((topic.to_owned(), policy(given)?));
                }
                None if default.is_some() => return Err(InvalidOverflow::Second { given: rule.to_owned() }),
                None => default = Some(policy(rule)?),
            }
        }
        Ok(Self { default: default.unwrap_or_default(), overrides })
    }
}

/// Writes the rules in the form in which they are read.
impl fmt::Display for OverflowRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(self.default))?;
        self.overrides.iter().try_for_each(|(topic, overflow)| write!(f, ", {topic}={}", name(*overflow)))
    }
}

/// Returns the name of a policy.
fn name(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Close => "close",
        Overflow::DropNewest => "drop-newest",
        Overflow::DropOldest => "drop-oldest",
        Overflow::Latest => "latest",
    }
}

fn policy(given: &str) -> Result<Overflow, InvalidOverflow> {
    match given {
        "close" => Ok(Overflow::Close),
        "drop-newest" => Ok(Overflow::DropNewest),
        "drop-oldest" => Ok(Overflow::DropOldest),
        "latest" => Ok(Overflow::Latest),
        _ => Err(InvalidOverflow::Policy { given: given.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(target: &str) -> Result<Join, JoinError> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Join::parse(path, query).unwrap()
    }

    #[test]
    fn the_path_names_the_topic_and_the_query_says_whether_it_echoes() {
        assert_eq!(join("/topics/news").unwrap().topic, "news");
        assert_eq!(join("/topics/a/b%20c%C3%A4").unwrap().topic, "a/b cä");
        assert_eq!(join("/topics/prices/*").unwrap().topic, "prices/*");
        assert!(join("/topics/a").unwrap().echo && join("/topics/a?echo=true").unwrap().echo);
        assert!(!join("/topics/a?echo=false").unwrap().echo);
        assert!(Join::parse("/topic", None).is_none() && Join::parse("/", None).is_none());
    }

    #[test]
    fn a_topic_that_cannot_be_is_refused_with_a_reason() {
        assert_eq!(join("/topics/").unwrap_err(), JoinError::Topic(TopicError::NameEmpty));
        assert_eq!(join("/topics/%ff").unwrap_err(), JoinError::NotText);
        let long = format!("/topics/{}", "x".repeat(256));
        assert_eq!(join(&long).unwrap_err(), JoinError::Topic(TopicError::NameTooLong { bytes: 256 }));
    }

    #[test]
    fn a_wrong_echo_is_refused_and_parameters_of_others_are_ignored() {
        for value in ["", "1", "True", "FALSE", "no"] {
            let refused = JoinError::Echo { value: value.to_owned() };
            assert_eq!(join(&format!("/topics/a?x=y&echo={value}")).unwrap_err(), refused);
        }
        assert_eq!(join("/topics/a?echo").unwrap_err(), JoinError::Echo { value: String::new() });
        let twice = ParameterError::Repeated { name: "echo" };
        assert_eq!(join("/topics/a?echo=true&echo=false").unwrap_err(), JoinError::Parameter(twice));
        for others in ["token=abc", "_=1", "ecko=false", "x", "&&", "%ff=%ff", "x=1&x=2"] {
            assert!(join(&format!("/topics/a?{others}")).unwrap().echo, "{others}");
            assert!(!join(&format!("/topics/a?{others}&echo=false")).unwrap().echo, "{others}");
        }
    }

    #[test]
    fn rules_name_a_policy_for_all_and_others_for_some() {
        let rules: OverflowRules = "drop-newest, prices/*=latest, log=drop-oldest".parse().unwrap();
        let policy = |topic: &str| rules.subscribe(&Join { topic: topic.to_owned(), echo: true }).overflow;
        assert_eq!(policy("prices/a"), Overflow::Latest);
        assert_eq!((policy("log"), policy("log/a")), (Overflow::DropOldest, Overflow::DropNewest));
        assert_eq!(rules.to_string(), "drop-newest, prices/*=latest, log=drop-oldest");
        assert_eq!("close".parse(), Ok(OverflowRules::default()));
        assert_eq!("a*=latest".parse::<OverflowRules>().unwrap().default, Overflow::Close);
        for wrong in ["", "closed", "close,latest", "=close", "a=", "a=b=c"] {
            assert!(wrong.parse::<OverflowRules>().is_err(), "{wrong:?}");
        }
    }
}
