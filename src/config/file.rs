//! Reads settings from a TOML file.

use std::path::Path;

use super::error::ConfigError;
use super::options::Options;

impl Options {
    /// What a TOML file says; its keys are the flags' names with underscores.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::from_text(&text).map_err(|reason| ConfigError::Invalid { path: path.to_owned(), reason })
    }

    /// The reason of a failure is one line, as all of ours are: toml's own is a drawing.
    fn from_text(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            format!("line {line}: {}", error.message().trim().replace('\n', ", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ApiKey, Config};

    #[test]
    fn unknown_keys_of_a_file_are_refused_in_one_line() {
        let reason = Options::from_text("cores = 1\nmax_mesage_bytes = 1\n").unwrap_err();
        assert!(reason.starts_with("line 2: unknown field `max_mesage_bytes`"), "{reason}");
        assert!(!Options::from_text("cores = = 1").unwrap_err().contains('\n'));
    }

    #[test]
    fn a_key_is_shown_by_nothing() {
        let config = Config { api_key: "s3cret".parse().unwrap(), ..Config::default() };
        assert_eq!(config.api_key.0.as_deref(), Some("s3cret"));
        let long = Config { api_key: ApiKey(Some("s3cret".repeat(100))), ..Config::default() };
        let shown = [
            format!("{config:?}"),
            format!("{:?}", Options { api_key: Some(config.api_key.clone()), ..Options::default() }),
            format!("{:?}", long.checked().unwrap_err()),
            Options::from_text("api_key = s3cret").unwrap_err(),
            Options::from_text("api_key = [\"s3cret\"]").unwrap_err(),
            Options::from_text("api_key = \"s3cret\" s3cret").unwrap_err(),
            Options::from_text("api_key = \"s3cret\"\napi_key = \"s3cret\"").unwrap_err(),
        ];
        for shown in shown {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(Options::from_text("cores = 1\napi_key = 12345").unwrap_err(), "line 2: a key has to be a string");
    }
}
