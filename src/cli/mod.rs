//! What the program's commands do: the way from flags to the library, and from its results to a terminal or a file.
//!
//! Thin: what could be of use to an embedder is in the library.

pub mod bench;
pub mod environment;
mod progress;
pub mod serve;
pub mod tune;
