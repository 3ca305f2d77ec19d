//! What is wrong with the settings, in sentences for the operator.

use std::path::PathBuf;

use thiserror::Error;

use super::values::ApiKey;
use crate::address::Address;

/// What is wrong with the settings: the operator's to mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("The configuration file {path} cannot be read: {source}.")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("The configuration file {path} is not valid, {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A value that cannot work.
    #[error("{name} is {value}, but must be {rule}.")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// A key that cannot be sent in a header.
    #[error(
        "api-key has to be 1 to {} visible ASCII characters. Give a random one, such as openssl rand -hex 32 prints, or none.",
        ApiKey::BYTES_MAX
    )]
    ApiKey,
    /// A key is needed, and none is.
    #[error("api-key asks for a key and api-insecure for none. Give one of them.")]
    ApiKeyAndInsecure,
    /// Any page that somebody looks at could publish.
    #[error(
        "api-insecure lets programs publish without a key, but with {word} in api-allow-origin any web page could, too. List \
         the origins of the pages one by one, or give an api-key instead."
    )]
    ApiInsecureForPages {
        /// What stands for pages that nobody knows.
        word: &'static str,
    },
    /// Strangers could publish.
    #[error(
        "api-insecure lets everyone publish who can connect, so it needs an address that only this host reaches, such as \
         127.0.0.1:9000, but listen is {listen}. Listen there, or give an api-key instead."
    )]
    ApiInsecure {
        /// Where to listen.
        listen: Address,
    },
}
