//! What the program's commands do: the way from flags to the library, and from its results to a terminal or a file.
//!
//! Thin: what could be of use to an embedder is in the library.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use outlet::Outlet;
use stream::{Cut, Stream};

pub mod bench;
pub mod environment;
mod log;
mod outlet;
mod progress;
pub mod serve;
mod stream;
pub mod tune;

/// Prints the result of a command. A reader that has gone, as head(1) does, has seen what it wanted.
pub fn print(text: &str) -> Result<(), String> {
    let written = Stream::new(io::stdout()).map(|stream| stream.write(text.as_bytes()));
    match written {
        Ok(Err(Cut { error, .. })) if error.kind() != ErrorKind::BrokenPipe => Err(unprinted(&error)),
        Ok(_) => Ok(()),
        Err(error) => Err(unprinted(&error)),
    }
}

/// Says on standard error why the program ends, and waits no longer for that than for any log.
pub fn complain(error: impl Display) {
    let line = format!("ringsock: {error}\n");
    let Ok(stream) = Stream::new(io::stderr()) else { return };
    match Outlet::start("ringsock-end", stream, Arc::default(), || {}, || {}) {
        Ok(outlet) => {
            outlet.offer(line.as_bytes());
            outlet.flush();
        }
        // A host that refuses a thread refuses cores too, so nobody is kept waiting.
        Err(_) => drop(Stream::new(io::stderr()).map(|stream| stream.write(line.as_bytes()))),
    }
}

/// Tells that standard output took no more.
pub fn unprinted(error: &io::Error) -> String {
    format!("Standard output cannot be written: {error}. Make room there, or send it elsewhere.")
}
