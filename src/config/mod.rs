//! The program's settings: from flags, environment, file and defaults, in this order.
//!
//! [`Options`] is what one source says, everything optional; [`Config`] is what holds, complete and checked.

mod checks;
mod error;
mod file;
mod options;
mod subprotocols;
mod values;

pub use error::ConfigError;
pub use options::{Config, Options};
pub use subprotocols::Subprotocols;
pub use values::{AdminAddress, ApiKey, Compression, Pin, Reactor};
