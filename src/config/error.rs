//! Faults of a configuration, in sentences for the operator.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::key::Key;
use super::kind::Reason;
use super::raw_value::RawValue;
use super::source::Source;
use crate::address::Address;

/// A fault of a configuration: the operator's to mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("The configuration file {}{} cannot be read: {source}.", path.display(), named_by(via))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where its name comes from.
        via: Source,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// File and line.
        place: Source,
        /// The parser's reason.
        reason: String,
    },
    /// There is no such key.
    #[error("{place}: {given} is not a setting.{hint}")]
    UnknownKey {
        /// Where it is written.
        place: Source,
        /// The name that is written.
        given: String,
        /// The name that may be meant instead, in a sentence.
        hint: String,
    },
    /// A section is written in a form that it does not have.
    #[error("{place}: {reason}")]
    Form {
        /// Where it is written.
        place: Source,
        /// The form that it has to have.
        reason: String,
    },
    /// A value that its key does not take.
    #[error(transparent)]
    Value(#[from] InvalidValue),
    /// Settings that do not go together.
    #[error("{0}")]
    Together(String),
    /// Both a key and no key were asked for.
    #[error("api.key asks for a key and api.insecure for none. Give one of them.")]
    ApiKeyAndInsecure,
    /// Any web page could publish.
    #[error(
        "api.insecure lets programs publish without a key, but with {word} in api.allow-origin any web page \
         could, too. List the origins of the pages one by one, or give an api.key instead."
    )]
    ApiInsecureForPages {
        /// The word that stands for pages that nobody knows.
        word: &'static str,
    },
    /// Strangers could publish.
    #[error(
        "api.insecure lets everyone publish who can connect, so it needs an address that only this host \
         reaches, such as 127.0.0.1:9000, but listen.address is {listen}. Listen there, or give an api.key instead."
    )]
    ApiInsecure {
        /// The address.
        listen: Address,
    },
}

impl ConfigError {
    /// Returns where the fault is written, if it is in one place.
    fn place(&self) -> Option<&Source> {
        match self {
            Self::Syntax { place, .. } | Self::UnknownKey { place, .. } | Self::Form { place, .. } => Some(place),
            Self::Value(InvalidValue { place, .. }) => Some(place),
            _ => None,
        }
    }

    /// Returns the line of the file that the fault is in; `None` if it is elsewhere.
    pub(super) fn line(&self) -> Option<usize> {
        match self.place() {
            Some(Source::File { line, .. }) => Some(*line),
            _ => None,
        }
    }
}

/// A value that its key does not take.
#[derive(Debug)]
pub struct InvalidValue {
    /// Where it is written.
    pub place: Source,
    /// Its key.
    pub key: &'static Key,
    /// The value as it is written; `None` if it is a secret.
    pub(super) raw: Option<RawValue>,
    pub(super) reason: Reason,
}

impl std::error::Error for InvalidValue {}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, raw, reason } = self;
        match (reason, raw) {
            (Reason::Rule(rule), Some(raw)) => {
                let end = if rule.ends_with('?') { "" } else { "." };
                write!(f, "{place}: {key} is {raw}, but {rule}{end}")
            }
            (Reason::Rule(rule), None) => write!(f, "{place}: {key} {rule}."),
            (Reason::Sentence(text), _) => write!(f, "{place}: {key}: {text}"),
        }
    }
}

/// Everything that is wrong with a configuration; never nothing.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// Returns each fault.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Returns whether the words of a command or a variable are wrong, and not the content of a file.
    pub fn is_usage(&self) -> bool {
        let place = self.0.first().and_then(ConfigError::place);
        matches!(place, Some(Source::Variable(_) | Source::Flag(_) | Source::Set))
    }
}

impl std::error::Error for ConfigErrors {}

/// Writes the first fault, in one line, and how many more there are.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.0.split_first() else { return Ok(()) };
        match more.len() {
            0 => first.fmt(f),
            1 => write!(f, "{first} There is one more fault; ringsock config check shows it."),
            more => write!(f, "{first} There are {more} more faults; ringsock config check shows them."),
        }
    }
}

/// Returns where the name of a file comes from, in parentheses, unless that is a flag.
fn named_by(via: &Source) -> String {
    match via {
        Source::Variable(name) => format!(" ({name})"),
        _ => String::new(),
    }
}
