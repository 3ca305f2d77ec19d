//! One key of the configuration: its names, its meaning, and how its value is read and written.

use std::fmt;

use super::kind::Reason;
use super::values::Config;
use super::written::Written;

/// Begins the name of every variable.
pub(super) const VARIABLE_PREFIX: &str = "RINGSOCK_";

/// Separates the section from the key in the name of a variable.
pub(super) const VARIABLE_SEPARATOR: &str = "__";

/// The section of which a file may have several.
pub(super) const LISTEN: &str = "listen";

/// A section of the configuration.
#[derive(Debug)]
pub struct Section {
    /// Its name in a file.
    pub name: &'static str,
    /// The subject of its keys, in a sentence.
    pub about: &'static str,
}

/// The flag of a key that is set every day.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// The name of its value in the help.
    pub value: &'static str,
}

/// One key of the configuration.
pub struct Key {
    /// The section that it stands in.
    pub section: &'static str,
    /// Its name within the section.
    pub name: &'static str,
    /// The flag that sets it, if there is one.
    pub flag: Option<Flag>,
    /// Its meaning, in a line.
    pub short: &'static str,
    /// The rest that a reader should know, such as the reason for its default.
    pub more: &'static str,
    /// The field of the configuration that has its value.
    pub(super) field: &'static str,
    /// True if its value is a secret.
    pub(super) is_secret: bool,
    pub(super) unit: fn() -> String,
    pub(super) read: fn(&Written, &mut Config) -> Result<(), Reason>,
    pub(super) write: fn(&Config) -> String,
    pub(super) gloss: fn(&Config) -> Option<String>,
}

impl Key {
    /// Returns the name of the variable: `RINGSOCK_` and the flag, or, without a flag, `RINGSOCK_`, the section, two
    /// underscores and the key.
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

    /// Returns its default, as a file has it.
    pub fn default_value(&self) -> String {
        (self.write)(&Config::default())
    }

    /// Returns its default in a form that is easier to grasp, if there is one.
    pub fn default_gloss(&self) -> Option<String> {
        (self.gloss)(&Config::default())
    }

    /// Checks the text of a flag. A secret is not checked, because the error of a flag shows its value.
    pub fn check(&self, text: &str) -> Result<(), String> {
        if self.is_secret {
            return Ok(());
        }
        (self.read)(&Written::text(text), &mut Config::default()).map_err(|reason| match reason {
            Reason::Rule(text) | Reason::Sentence(text) => text,
        })
    }

    /// Returns the name that the library has for it.
    pub(super) fn library_name(&self) -> String {
        match self.section {
            LISTEN => self.name.replace('-', "_"),
            _ => self.field.rsplit('.').next().unwrap_or_default().trim().to_owned(),
        }
    }

    /// Returns the value in force as it may be shown.
    pub(super) fn shown(&self, config: &Config) -> String {
        (self.write)(config)
    }

    /// Returns the section and the name, joined as a flag would be.
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
