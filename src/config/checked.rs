//! Texts that are checked when they are read: the key of the API, which nothing shows, and the filter of the log.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use super::kind::NONE;

/// The key with which programs publish over HTTP. Nothing shows it but [`ApiKey::text`].
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The longest key: four times a random one of 32 bytes in hexadecimal digits, and a small part of a request's
    /// head.
    pub const BYTES_MAX: usize = 256;

    /// Returns the key.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// A key, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalKey(pub Option<ApiKey>);

impl FromStr for OptionalKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let can_be_sent = (1..=ApiKey::BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        match text {
            NONE => Ok(Self(None)),
            _ if can_be_sent => Ok(Self(Some(ApiKey(text.to_owned())))),
            _ => Err(format!(
                "must be 1 to {} visible ASCII characters, such as openssl rand -hex 32 prints, or none",
                ApiKey::BYTES_MAX
            )),
        }
    }
}

/// Writes `none`, or that there is a key.
impl fmt::Display for OptionalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "hidden" } else { NONE })
    }
}

/// Which events the log shows: a filter as `tracing-subscriber` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Returns the filter to be used.
    pub fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for LogFilter {
    /// Shows what an operator should read: information, warnings and errors.
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match EnvFilter::try_new(text) {
            Ok(_) if !text.trim().is_empty() => Ok(Self(text.to_owned())),
            _ => Err("must be a filter, such as info, debug or ringsock=trace".to_owned()),
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_no_header_can_hold_is_refused_and_no_key_is_shown() {
        for key in ["", " ", "a b", "ä", "a\n", &"x".repeat(257)] {
            let error = key.parse::<OptionalKey>().unwrap_err();
            assert!(error.starts_with("must be 1 to 256 visible ASCII"), "{key:?}: {error}");
        }
        let key: OptionalKey = "s3cret".parse().unwrap();
        assert_eq!(key.0.as_ref().map(ApiKey::text), Some("s3cret"));
        assert!(!format!("{key:?}{key}").contains("s3cret"));
        assert_eq!("none".parse(), Ok(OptionalKey(None)));
        assert!("x".repeat(256).parse::<OptionalKey>().is_ok());
    }

    #[test]
    fn a_filter_is_checked_when_it_is_read() {
        for good in ["info", "debug", "ringsock=trace", "warn,ringsock::engine=debug", "off"] {
            assert_eq!(good.parse::<LogFilter>().unwrap().to_string(), good);
        }
        for bad in ["ringsock=loudly", "", " ", "=,="] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad:?}");
        }
    }
}
