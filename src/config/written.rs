//! A value as it was written, before any key has read it.
//!
//! Owns the difference between plain text (a variable, a flag, `--set`) and the types of a TOML file. Never judges a
//! value: kinds do (`kind`).

use std::fmt;

use toml::de::{DeArray, DeValue};

/// The most bytes of a value that an error repeats; the rest is cut off.
const SHOWN_BYTES_MAX: usize = 200;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Plain text, which is read as whatever the key needs.
    Text(String),
    /// A string of a file.
    String(String),
    /// A whole number of a file.
    Integer {
        /// Its digits in the base `radix`, with a sign if it has one.
        digits: String,
        /// Its base: 2, 8, 10 or 16.
        radix: u32,
    },
    /// `true` or `false` in a file.
    Boolean(bool),
    /// A list of a file.
    List(Vec<Written>),
    /// A type of TOML that no key takes.
    Other(&'static str),
}

impl Written {
    /// Returns a plain text, or the TOML list that it contains: one that begins with `["`, which no address does.
    pub(super) fn text(text: &str) -> Self {
        let is_list = text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['"', '\'', ']']));
        match DeValue::parse(text) {
            Ok(value) if is_list => Self::of_file(value.get_ref()),
            _ => Self::Text(text.to_owned()),
        }
    }

    /// Returns a value of a TOML file.
    pub(super) fn of_file(value: &DeValue<'_>) -> Self {
        let list = |items: &DeArray<'_>| Self::List(items.iter().map(|item| Self::of_file(item.get_ref())).collect());
        match value {
            DeValue::String(text) => Self::String(text.clone().into_owned()),
            DeValue::Integer(number) => {
                Self::Integer { digits: number.as_str().replace('_', ""), radix: number.radix() }
            }
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Array(items) => list(items),
            DeValue::Float(_) => Self::Other("a number with a fraction"),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }

    /// Returns the whole number that was written, if it is one and not negative.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Integer { digits, radix } => u64::from_str_radix(digits, *radix).ok(),
            _ => None,
        }
    }

    /// Returns the text that was written, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the elements of a list, or those of a text, which commas separate. `None` for every other type.
    pub(super) fn items(&self) -> Option<Vec<String>> {
        match self {
            Self::Text(text) | Self::String(text) => Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
            Self::List(items) => items.iter().map(|item| Some(item.as_text()?.to_owned())).collect(),
            _ => None,
        }
    }
}

/// Writes the value as an error repeats it.
impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::String(text) => match text.char_indices().find(|(at, _)| *at >= SHOWN_BYTES_MAX) {
                Some((end, _)) => write!(f, "{:?}…", &text[..end]),
                None => write!(f, "{text:?}"),
            },
            Self::Integer { digits, radix } => match radix {
                2 => write!(f, "0b{digits}"),
                8 => write!(f, "0o{digits}"),
                16 => write!(f, "0x{digits}"),
                _ => f.write_str(digits),
            },
            Self::Boolean(value) => value.fmt(f),
            Self::List(_) => f.write_str("a list"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_that_is_a_list_of_strings_is_read_as_one() {
        let list =
            |items: &[&str]| Written::List(items.iter().map(|item| Written::String((*item).to_owned())).collect());
        assert_eq!(Written::text(r#"["a", "b"]"#), list(&["a", "b"]));
        assert_eq!(Written::text("[]"), list(&[]));
        for text in ["[::1]:9000", "a,b", "", r#"["a""#, "true", "1"] {
            assert_eq!(Written::text(text), Written::Text(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_long_value_is_repeated_in_part() {
        assert_eq!(Written::Text("ä".repeat(500)).to_string().chars().count(), 103);
    }
}
