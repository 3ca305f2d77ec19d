//! One key of the configuration: its names, its meaning, and how its value is parsed and written.
//!
//! Owns the names that are derived from a key. Never holds a value: that is in [`Config`]. Invariant: the text of a
//! secret is in no error (`is_secret`) and in no output: its type writes another word
//! ([`OptionalKey`](super::OptionalKey)).

use std::fmt;

use super::kind::Reason;
use super::raw_value::RawValue;
use super::values::Config;

/// The beginning of the name of every environment variable.
pub(super) const VARIABLE_PREFIX: &str = "RINGSOCK_";

/// The text between section and key in the name of an environment variable.
pub(super) const VARIABLE_SEPARATOR: &str = "__";

/// The name of the section that a file may have several times.
pub(super) const LISTEN: &str = "listen";

/// The unit of a path whose file is read with the configuration.
pub(super) const FILE_UNIT: &str = "path";

/// A section of the configuration.
#[derive(Debug)]
pub struct Section {
    /// Its name in a file.
    pub name: &'static str,
    /// A sentence about its keys.
    pub about: &'static str,
}

/// The flag of a key. Only keys that are often set have one.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// The name of its value in the help.
    pub value: &'static str,
}

/// One key of the configuration.
pub struct Key {
    /// The name of its section.
    pub section: &'static str,
    /// Its name within the section.
    pub name: &'static str,
    /// The flag that sets it, if there is one.
    pub flag: Option<Flag>,
    /// Its meaning in one line, without a full stop.
    pub short: &'static str,
    /// More about its meaning, in sentences, such as the reason for its default.
    pub more: &'static str,
    /// The path of the field of [`Config`] that has its value, which the macro of the table makes from code.
    pub(super) field: &'static str,
    /// True if its value is a secret.
    pub(super) is_secret: bool,
    /// True if a running server keeps the value that it was started with.
    pub needs_restart: bool,
    /// Compares the values in two configurations. The keys of `[[listen]]` share the value of all addresses.
    pub(super) is_same: fn(&Config, &Config) -> bool,
    /// Copies the value from one configuration to another.
    pub(super) copy: fn(&Config, &mut Config),
    /// See [`Kind`](super::kind::Kind) for these four.
    pub(super) unit: fn() -> String,
    pub(super) read: fn(&RawValue, &mut Config) -> Result<(), Reason>,
    pub(super) write: fn(&Config) -> String,
    pub(super) readable: fn(&Config) -> Option<String>,
}

impl Key {
    /// Returns the name of its environment variable: `RINGSOCK_` and the flag, or, without a flag, `RINGSOCK_`, the
    /// section, two underscores and the key.
    pub fn variable(&self) -> String {
        let name = match &self.flag {
            Some(flag) => flag.name.to_owned(),
            None => format!("{}{VARIABLE_SEPARATOR}{}", self.section, self.name),
        };
        format!("{VARIABLE_PREFIX}{}", name.to_uppercase().replace('-', "_"))
    }

    /// Returns the unit of its value, or the values that there are.
    pub fn unit(&self) -> String {
        (self.unit)()
    }

    /// Returns its default as TOML.
    pub fn default_value(&self) -> String {
        (self.write)(&Config::default())
    }

    /// Returns its default in a unit that is easier to read, such as `1MiB`, if there is one.
    pub fn default_readable(&self) -> Option<String> {
        (self.readable)(&Config::default())
    }

    /// Returns whether the value is a path whose file is read with the configuration.
    pub(super) fn hides_content(&self) -> bool {
        self.unit() == FILE_UNIT
    }

    /// Checks the text of a flag. A secret is checked later, because clap's error about a flag shows the value.
    pub fn check(&self, text: &str) -> Result<(), String> {
        if self.is_secret {
            return Ok(());
        }
        (self.read)(&RawValue::parse(text), &mut Config::default()).map_err(|reason| match reason {
            Reason::Rule(text) | Reason::Sentence(text) => text,
        })
    }

    /// Returns the name of the library's field or method for it, which errors of the library use.
    pub(super) fn library_name(&self) -> String {
        match self.section {
            LISTEN => self.name.replace('-', "_"),
            _ => self.field.rsplit('.').next().unwrap_or_default().trim().to_owned(),
        }
    }

    /// Returns the value in a configuration as TOML, or `"hidden"` for a secret.
    pub(super) fn shown(&self, config: &Config) -> String {
        (self.write)(config)
    }

    /// Returns the section and the name with a dash between them, as a flag would have them.
    pub(super) fn joined(&self) -> String {
        format!("{}-{}", self.section, self.name)
    }
}

/// Writes the whole name: the section, a dot and the name.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}
