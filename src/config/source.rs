//! The source of a value: the layer that it comes from, and the place in that layer.
//!
//! Owns the words by which output and errors name a source. Never reads one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The source of a value. Each source overrides those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The default, since no layer sets the value.
    Default,
    /// A file.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, without its dashes.
    Flag(&'static str),
    /// `--set`.
    Set,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Set => f.write_str("--set"),
        }
    }
}
