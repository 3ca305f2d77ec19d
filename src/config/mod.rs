//! The configuration: sections of keys, from a file, variables and flags, parsed once into [`Config`].
//!
//! The table of keys (`table`) is the source of everything that names one: the file of defaults, `--help`,
//! docs/configuration.md, variables. Defaults are those of the library's types. Never starts anything.

mod access;
mod checked;
mod checks;
mod document;
mod elements;
mod entry;
mod error;
mod file;
mod key;
mod kind;
mod layers;
mod listen;
mod lookup;
mod raw_value;
mod reload;
mod settings;
mod source;
mod subprotocols;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod values;
mod warnings;

pub use checked::{ApiKey, LogFilter, OptionalKey};
pub use document::{defaults, meaning, reference};
pub use error::{ConfigError, ConfigErrors, InvalidValue};
pub use key::{Flag, Key, Section};
pub use layers::{CONFIG_VARIABLE, Layers};
pub use lookup::{find, meant_by_flag};
pub use settings::Settings;
pub use source::Source;
pub use subprotocols::Subprotocols;
pub use table::{KEYS, SECTIONS};
pub use tls::{AskClients, Files, TlsConfig, TlsConfigError};
pub use values::{CompressionMode, Config, LogFormat};
