//! A value before its key has parsed it.
//!
//! Owns the difference between plain text (an environment variable, a flag, `--set`), which has no type, and the typed
//! values of a TOML file. Never validates a value: that is for [`Kind`](super::kind::Kind).

use std::fmt;

use toml::de::{DeArray, DeValue};

/// The most bytes of a value that an error repeats, so that it stays a line that can be read; the rest is cut off.
const SHOWN_BYTES_MAX: usize = 200;

/// A value before its key has parsed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawValue {
    /// Plain text, which is parsed as the type that its key needs.
    Untyped(String),
    /// A TOML string.
    String(String),
    /// A TOML integer.
    Integer {
        /// Its digits in the base `radix`, with a sign if it has one.
        digits: String,
        /// Its base: 2, 8, 10 or 16.
        radix: u32,
    },
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<RawValue>),
    /// A TOML value of a type that no key takes, by the name of that type.
    Other(&'static str),
}

impl RawValue {
    /// Parses plain text: a TOML array of strings if it begins as one does (`["`, `['` or `[]`), and untyped text
    /// otherwise. An IPv6 address begins with `[`, too, but a quotation mark never follows.
    pub(super) fn parse(text: &str) -> Self {
        let is_list = text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['"', '\'', ']']));
        match DeValue::parse(text) {
            Ok(value) if is_list => Self::from_toml(value.get_ref()),
            _ => Self::Untyped(text.to_owned()),
        }
    }

    /// Converts a value of a TOML file.
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        let list = |items: &DeArray<'_>| Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect());
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

    /// Returns the value as a whole number, if it is one and not negative.
    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Untyped(text) => text.parse().ok(),
            Self::Integer { digits, radix } => u64::from_str_radix(digits, *radix).ok(),
            _ => None,
        }
    }

    /// Returns the text of a string, or untyped text.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the elements of an array of strings, or those of a text, which commas separate; `None` for every other
    /// value.
    pub(super) fn items(&self) -> Option<Vec<String>> {
        match self {
            Self::Untyped(text) | Self::String(text) => {
                Some(text.split(',').map(|item| item.trim().to_owned()).collect())
            }
            Self::List(items) => items.iter().map(|item| Some(item.as_str()?.to_owned())).collect(),
            _ => None,
        }
    }
}

/// Writes the value as an error repeats it.
impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untyped(text) | Self::String(text) => {
                match text.char_indices().find(|(at, _)| *at >= SHOWN_BYTES_MAX) {
                    Some((end, _)) => write!(f, "{:?}…", &text[..end]),
                    None => write!(f, "{text:?}"),
                }
            }
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
            |items: &[&str]| RawValue::List(items.iter().map(|item| RawValue::String((*item).to_owned())).collect());
        assert_eq!(RawValue::parse(r#"["a", "b"]"#), list(&["a", "b"]));
        assert_eq!(RawValue::parse("[]"), list(&[]));
        for text in ["[::1]:9000", "a,b", "", r#"["a""#, "true", "1"] {
            assert_eq!(RawValue::parse(text), RawValue::Untyped(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_long_value_is_repeated_in_part() {
        assert_eq!(RawValue::Untyped("ä".repeat(500)).to_string().chars().count(), 103);
    }
}
