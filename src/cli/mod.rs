//! What the program's commands do: the way from flags to the library, and from its results to a terminal or a file.
//!
//! Thin: what could be of use to an embedder is in the library.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use stream::{Cut, Stream};

pub mod bench;
pub mod config;
mod log;
mod notify;
mod outlet;
mod passed;
mod places;
mod progress;
pub mod serve;
pub mod settings;
mod signals;
mod stream;
pub mod tune;

/// The exit code of a command line that is not understood, as clap has it.
const USAGE: u8 = 2;

/// How long the last word of a program may take. 2 s: for a processor that is busy; nobody serves any more.
const BRIEFLY: Duration = Duration::from_secs(2);

/// Prints the result of a command. A reader that has gone, as head(1) does, has seen what it wanted.
pub fn print(text: &str) -> Result<(), String> {
    let written = Stream::new(io::stdout()).map(|stream| stream.write(text.as_bytes()));
    match written {
        Ok(Err(Cut { error, .. })) if error.kind() != ErrorKind::BrokenPipe => Err(unprinted(&error)),
        Ok(_) => Ok(()),
        Err(error) => Err(unprinted(&error)),
    }
}

/// Says on standard error why the program ends.
pub fn complain(error: impl Display) {
    let text = complaint(error);
    briefly(move || drop(Stream::new(io::stderr()).map(|stream| stream.write(text.as_bytes()))));
}

/// The line that says why the program ends.
fn complaint(error: impl Display) -> String {
    format!("ringsock: {error}\n")
}

/// Has something written to standard error, and waits no longer for it than [`BRIEFLY`]: a supervisor has to see that the
/// program has ended, whoever reads what it said.
pub fn briefly(write: impl Fn() + Send + Sync + 'static) {
    let write = Arc::new(write);
    let (ends, ended) = mpsc::channel::<Infallible>();
    let writes = Arc::clone(&write);
    let spawned = thread::Builder::new().spawn(move || {
        writes();
        drop(ends);
    });
    match spawned {
        Ok(_) => drop(ended.recv_timeout(BRIEFLY)),
        // Where no further thread is allowed, it is said all the same.
        Err(_) => write(),
    }
}

/// Tells that standard output took no more.
pub fn unprinted(error: &io::Error) -> String {
    format!("Standard output cannot be written: {error}. Make room there, or send it elsewhere.")
}
