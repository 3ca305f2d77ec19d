//! What the program's commands do: the way from flags to the library, and from its results to a terminal or a file.
//!
//! Thin: what could be of use to an embedder is in the library.

use std::fmt::Display;
use std::io::{self, ErrorKind};

use stream::Stream;

pub mod bench;
pub mod environment;
mod progress;
pub mod serve;
mod stream;
pub mod tune;

/// Prints the result of a command. A reader that has gone, as head(1) does, has seen what it wanted.
pub fn print(text: &str) -> Result<(), String> {
    match Stream::new(io::stdout()).and_then(|stream| stream.write(text.as_bytes())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unprinted(&error)),
        _ => Ok(()),
    }
}

/// Says on standard error why the program ends.
pub fn complain(error: impl Display) {
    // Nothing is left to do if even this cannot be written.
    let _ = Stream::new(io::stderr()).map(|stream| stream.write(format!("ringsock: {error}\n").as_bytes()));
}

/// Tells that standard output took no more.
pub fn unprinted(error: &io::Error) -> String {
    format!("Standard output cannot be written: {error}. Make room there, or send it elsewhere.")
}
