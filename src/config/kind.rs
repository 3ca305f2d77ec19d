//! Kinds of values: how each is parsed, in which unit, and how it is written as TOML.
//!
//! Owns the rules for a single value. Never knows which key has the value, or what several values must keep together
//! ([`Config::contradictions`](super::checks)). Invariant: a value that `write` returns is read as the same value; a
//! test of the table does that for each default.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use bytesize::ByteSize;

use super::raw_value::RawValue;
use super::suggest::nearest;
use crate::address::Address;
use crate::protocol::deflate::WindowBits;

/// The reason for refusing a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The rule that the value breaks, to be put after "the value is 300, but": `must be from 1 to 256`.
    Rule(String),
    /// The fault of the value and its remedy, in whole sentences.
    Sentence(String),
}

/// Returns the reason for refusing a value that breaks a rule.
pub(super) fn rule(text: impl Into<String>) -> Reason {
    Reason::Rule(text.into())
}

/// The unit of a kind, or the values that it takes.
pub(super) trait Unit {
    /// Returns the unit of a plain number, or the values that there are.
    fn unit(&self) -> String;
}

/// A kind of values of the type `T`.
pub(super) trait Kind<T>: Unit {
    /// Parses `raw` into `value`.
    fn read(&self, raw: &RawValue, value: &mut T) -> Result<(), Reason>;

    /// Returns the value as TOML.
    fn write(&self, value: &T) -> String;

    /// Returns the value in a unit that is easier to read, such as `1MiB`, if there is one.
    fn readable(&self, _value: &T) -> Option<String> {
        None
    }
}

/// A number of things within a range, with the word for these things, such as `connections`.
pub(super) struct Count(pub(super) &'static str, pub(super) RangeInclusive<u64>);

impl Unit for Count {
    fn unit(&self) -> String {
        self.0.to_owned()
    }
}

impl<T: Copy + TryFrom<u64> + Display> Kind<T> for Count {
    fn read(&self, raw: &RawValue, value: &mut T) -> Result<(), Reason> {
        let number = raw.as_u64().ok_or_else(|| rule("must be a whole number, such as 4"))?;
        *value = within(&self.1, number, u64::to_string)?;
        Ok(())
    }

    fn write(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A number of things that may be unlimited, with the word for these things. Unlimited is written as 0 and kept as the
/// largest number.
pub(super) struct CountOrUnlimited(pub(super) &'static str);

impl Unit for CountOrUnlimited {
    fn unit(&self) -> String {
        self.0.to_owned()
    }
}

impl Kind<usize> for CountOrUnlimited {
    fn read(&self, raw: &RawValue, value: &mut usize) -> Result<(), Reason> {
        let mut number = 0;
        Count(self.0, 0..=u64::MAX).read(raw, &mut number)?;
        *value = if number == 0 { usize::MAX } else { number };
        Ok(())
    }

    fn write(&self, value: &usize) -> String {
        if *value == usize::MAX { "0".to_owned() } else { value.to_string() }
    }
}

/// A number of bytes within a range, or a text such as `64KiB` (1024 bytes each) or `64KB` (1000 bytes each).
pub(super) struct Bytes(pub(super) RangeInclusive<u64>);

impl Unit for Bytes {
    fn unit(&self) -> String {
        "bytes".to_owned()
    }
}

impl<T: Copy + TryFrom<u64> + Display> Kind<T> for Bytes {
    fn read(&self, raw: &RawValue, value: &mut T) -> Result<(), Reason> {
        let bytes = raw.as_u64().or_else(|| raw.as_str()?.parse().ok().map(|ByteSize(bytes)| bytes));
        let bytes = bytes.ok_or_else(|| rule("must be a number of bytes, such as 65536, 64KiB or 64KB"))?;
        let shown =
            |bytes: &u64| readable_bytes(*bytes).map_or(bytes.to_string(), |readable| format!("{bytes} ({readable})"));
        *value = within(&self.0, bytes, shown)?;
        Ok(())
    }

    fn write(&self, value: &T) -> String {
        value.to_string()
    }

    fn readable(&self, value: &T) -> Option<String> {
        readable_bytes(value.to_string().parse().ok()?)
    }
}

/// Returns a number of bytes in KiB, MiB or GiB, if that is a whole number.
fn readable_bytes(bytes: u64) -> Option<String> {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let (unit, name) = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))?;
    Some(format!("{}{name}", bytes / unit))
}

/// A number of milliseconds within a range, or a text such as `25s`, `500ms` or `1m 30s`.
pub(super) struct Millis(pub(super) RangeInclusive<u64>);

impl Unit for Millis {
    fn unit(&self) -> String {
        "ms".to_owned()
    }
}

impl Kind<u64> for Millis {
    fn read(&self, raw: &RawValue, value: &mut u64) -> Result<(), Reason> {
        let from_text = || {
            let time = humantime::parse_duration(raw.as_str()?).ok()?;
            let is_whole = time.subsec_nanos().is_multiple_of(1_000_000);
            u64::try_from(time.as_millis()).ok().filter(|_| is_whole)
        };
        let millis = raw.as_u64().or_else(from_text);
        let millis =
            millis.ok_or_else(|| rule("must be a time, such as 25s, 500ms or 25000, which are milliseconds"))?;
        *value = within(&self.0, millis, |millis| format!("{millis} ms"))?;
        Ok(())
    }

    fn write(&self, value: &u64) -> String {
        value.to_string()
    }

    fn readable(&self, value: &u64) -> Option<String> {
        (*value >= 1_000 && value.is_multiple_of(1_000)).then(|| format!("{}s", value / 1_000))
    }
}

/// The size of a compression window, as a power of two.
pub(super) struct Window;

impl Unit for Window {
    fn unit(&self) -> String {
        "bits".to_owned()
    }
}

impl Kind<WindowBits> for Window {
    fn read(&self, raw: &RawValue, value: &mut WindowBits) -> Result<(), Reason> {
        let range = WindowBits::COMPRESSOR_MIN.number().into()..=WindowBits::MAX.number().into();
        let mut bits = 0_u8;
        Count("bits", range).read(raw, &mut bits)?;
        *value = WindowBits::new(bits).ok_or_else(|| rule("must be the size of a window"))?;
        Ok(())
    }

    fn write(&self, value: &WindowBits) -> String {
        value.number().to_string()
    }
}

/// `true` or `false`.
pub(super) struct Switch;

impl Unit for Switch {
    fn unit(&self) -> String {
        "true or false".to_owned()
    }
}

impl Kind<bool> for Switch {
    fn read(&self, raw: &RawValue, value: &mut bool) -> Result<(), Reason> {
        *value = match raw {
            RawValue::Boolean(value) => *value,
            RawValue::Untyped(text) => text.parse().map_err(|_| rule("must be true or false"))?,
            RawValue::String(text) if text.parse::<bool>().is_ok() => {
                return Err(rule(format!("must be true or false without quotes: {text}")));
            }
            _ => return Err(rule("must be true or false")),
        };
        Ok(())
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// One of several names, each with its value.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T> Unit for Choice<T> {
    fn unit(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => names.concat(),
        }
    }
}

impl<T: Copy + PartialEq> Kind<T> for Choice<T> {
    fn read(&self, raw: &RawValue, value: &mut T) -> Result<(), Reason> {
        let given = raw.as_str().unwrap_or_default();
        let Some((_, chosen)) = self.0.iter().find(|(name, _)| *name == given) else {
            let meant = nearest(given, self.0.iter().map(|(name, _)| *name));
            let hint = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
            return Err(rule(format!("must be {}{hint}", self.unit())));
        };
        *value = *chosen;
        Ok(())
    }

    fn write(&self, value: &T) -> String {
        quoted(self.0.iter().find(|(_, other)| other == value).map_or("", |(name, _)| name))
    }
}

/// A list of a type that parses text in which commas separate the elements, with the word for these elements. An empty
/// list is written as [`NONE`].
pub(super) struct List(pub(super) &'static str);

impl Unit for List {
    fn unit(&self) -> String {
        self.0.to_owned()
    }
}

impl<T: FromStr<Err: Display> + Display> Kind<T> for List {
    fn read(&self, raw: &RawValue, value: &mut T) -> Result<(), Reason> {
        let items = raw.items().ok_or_else(|| rule(format!("must be {}, as a text or a list of texts", self.0)))?;
        let text = if items.is_empty() { NONE.to_owned() } else { items.join(",") };
        *value = text.parse().map_err(|error: T::Err| Reason::Sentence(sentence(&error)))?;
        Ok(())
    }

    fn write(&self, value: &T) -> String {
        let text = value.to_string();
        let items: Vec<String> = text.split(',').map(|item| quoted(item.trim())).collect();
        if let [item] = &items[..] { item.clone() } else { format!("[{}]", items.join(", ")) }
    }
}

/// An address, or `none`.
pub(super) struct OptionalAddress;

impl Unit for OptionalAddress {
    fn unit(&self) -> String {
        "address".to_owned()
    }
}

impl Kind<Option<Address>> for OptionalAddress {
    fn read(&self, raw: &RawValue, value: &mut Option<Address>) -> Result<(), Reason> {
        let text = raw.as_str().ok_or_else(|| rule("must be an address, such as \"127.0.0.1:9001\", or \"none\""))?;
        *value = match text.trim() {
            NONE => None,
            text => Some(
                text.parse()
                    .map_err(|error| Reason::Sentence(format!("{} Write none to listen nowhere.", sentence(&error))))?,
            ),
        };
        Ok(())
    }

    fn write(&self, value: &Option<Address>) -> String {
        quoted(&value.as_ref().map_or(NONE.to_owned(), Address::to_string))
    }
}

/// A text that its type parses, such as a key or a filter, with the word for it.
pub(super) struct Checked(pub(super) &'static str);

impl Unit for Checked {
    fn unit(&self) -> String {
        self.0.to_owned()
    }
}

impl<T: FromStr<Err: Display> + Display> Kind<T> for Checked {
    fn read(&self, raw: &RawValue, value: &mut T) -> Result<(), Reason> {
        let text = raw.as_str().ok_or_else(|| rule(format!("must be a {}, in quotes", self.0)))?;
        *value = text.parse().map_err(|error: T::Err| rule(error.to_string()))?;
        Ok(())
    }

    fn write(&self, value: &T) -> String {
        quoted(&value.to_string())
    }
}

/// The word for an empty list and for an address that is not there.
pub(super) const NONE: &str = "none";

/// Returns a text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Returns the text of an error with a full stop at its end; the errors of other crates have none.
pub(super) fn sentence(error: &impl Display) -> String {
    let text = error.to_string();
    if text.ends_with(['.', '?', '!']) { text } else { text + "." }
}

/// Returns the number if it is within the range and fits its type.
fn within<T: TryFrom<u64>>(
    range: &RangeInclusive<u64>,
    number: u64,
    shown: impl Fn(&u64) -> String,
) -> Result<T, Reason> {
    let (least, most) = (*range.start(), *range.end());
    let bounds = || match (least, most) {
        (1, u64::MAX) => "above 0".to_owned(),
        (least, u64::MAX) => format!("at least {}", shown(&least)),
        (0, most) => format!("at most {}", shown(&most)),
        (least, most) => format!("from {least} to {}", shown(&most)),
    };
    let fitting = T::try_from(number).ok().filter(|_| range.contains(&number));
    fitting.ok_or_else(|| rule(format!("must be {}", bounds())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> RawValue {
        RawValue::Untyped(text.to_owned())
    }

    fn string(text: &str) -> RawValue {
        RawValue::String(text.to_owned())
    }

    fn integer(digits: &str) -> RawValue {
        RawValue::Integer { digits: digits.to_owned(), radix: 10 }
    }

    fn read<T: Default>(kind: &impl Kind<T>, raw: &RawValue) -> Result<T, Reason> {
        let mut value = T::default();
        kind.read(raw, &mut value).map(|()| value)
    }

    #[test]
    fn bytes_are_a_number_or_carry_their_unit() {
        let bytes = |raw: &RawValue| read::<u64>(&Bytes(1..=1 << 30), raw);
        for (raw, expected) in [
            (text("65536"), 65_536),
            (integer("65536"), 65_536),
            (RawValue::Integer { digits: "10000".to_owned(), radix: 16 }, 65_536),
            (text("64KiB"), 65_536),
            (string("64KiB"), 65_536),
            (string("64 KiB"), 65_536),
            (text("64KB"), 64_000),
            (text("1.5MiB"), 1_572_864),
            (text("1GiB"), 1 << 30),
        ] {
            assert_eq!(bytes(&raw), Ok(expected), "{raw}");
        }
        for raw in
            [text("many"), text("-1"), text("64XB"), text(""), RawValue::Boolean(true), RawValue::Other("a date")]
        {
            assert_eq!(bytes(&raw), Err(rule("must be a number of bytes, such as 65536, 64KiB or 64KB")), "{raw}");
        }
        for raw in [text("0"), text("2GiB"), text("99999999999999999999GiB")] {
            assert_eq!(bytes(&raw), Err(rule("must be from 1 to 1073741824 (1GiB)")), "{raw}");
        }
    }

    #[test]
    fn times_are_milliseconds_or_carry_their_unit() {
        let millis = |raw: &RawValue| read::<u64>(&Millis(0..=u64::MAX), raw);
        for (raw, expected) in [
            (text("25000"), 25_000),
            (integer("25000"), 25_000),
            (text("25s"), 25_000),
            (string("500ms"), 500),
            (string("1m 30s"), 90_000),
            (text("2h"), 7_200_000),
            (text("0"), 0),
        ] {
            assert_eq!(millis(&raw), Ok(expected), "{raw}");
        }
        for raw in [text("soon"), string("25"), text("500us"), text("25 apples"), RawValue::Boolean(false), text("-1s")]
        {
            let refused = rule("must be a time, such as 25s, 500ms or 25000, which are milliseconds");
            assert_eq!(millis(&raw), Err(refused), "{raw}");
        }
        assert_eq!(read::<u64>(&Millis(1..=u64::MAX), &text("0s")), Err(rule("must be above 0")));
    }

    #[test]
    fn numbers_switches_and_choices_take_no_other_type() {
        assert_eq!(
            read::<usize>(&Count("cores", 0..=1024), &string("4")),
            Err(rule("must be a whole number, such as 4"))
        );
        assert_eq!(read::<usize>(&Count("cores", 0..=1024), &text("1025")), Err(rule("must be at most 1024")));
        assert_eq!(read::<u32>(&Count("x", 0..=u32::MAX.into()), &text("4294967296")).unwrap_err(), {
            rule("must be at most 4294967295")
        });
        assert_eq!(read::<bool>(&Switch, &integer("1")), Err(rule("must be true or false")));
        let quoted = rule("must be true or false without quotes: true");
        assert_eq!(read::<bool>(&Switch, &string("true")), Err(quoted));
        assert_eq!(read::<bool>(&Switch, &text("yes")), Err(rule("must be true or false")));
        let choice = Choice(&[("auto", 0), ("uring", 1), ("epoll", 2)]);
        assert_eq!(read(&choice, &string("epoll")), Ok(2));
        let misspelt = rule("must be auto, uring or epoll; did you mean epoll?");
        assert_eq!(read(&choice, &text("epol")), Err(misspelt));
        assert_eq!(read(&choice, &text("kqueue")), Err(rule("must be auto, uring or epoll")));
    }

    #[test]
    fn no_limit_is_written_as_0_and_kept_as_the_largest_number() {
        let count_or_unlimited = CountOrUnlimited("connections");
        assert_eq!(read::<usize>(&count_or_unlimited, &text("0")), Ok(usize::MAX));
        assert_eq!(read::<usize>(&count_or_unlimited, &text("7")), Ok(7));
        assert_eq!(
            (count_or_unlimited.write(&usize::MAX), count_or_unlimited.write(&7)),
            ("0".to_owned(), "7".to_owned())
        );
    }

    #[test]
    fn an_address_that_is_not_needed_may_be_none() {
        let address = |raw: &RawValue| read::<Option<Address>>(&OptionalAddress, raw);
        assert_eq!(address(&text(" none ")), Ok(None));
        assert_eq!(address(&string("[::1]:1")), Ok("[::1]:1".parse().ok()));
        let says = "\"nowhere\" has no port. Write nowhere:9000. Write none to listen nowhere.";
        assert_eq!(address(&text("nowhere")), Err(Reason::Sentence(says.to_owned())));
    }
}
