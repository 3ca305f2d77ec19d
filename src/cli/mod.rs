//! The program's commands: from flags to the library, and from its results to a terminal or a file.
//!
//! Thin: everything that an embedder could use is in the library.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stream::{Cut, Stream};

pub mod bench;
mod certificates;
pub mod config;
mod log;
mod notify;
mod outlet;
mod passed;
mod places;
mod progress;
mod reload;
pub mod serve;
pub mod settings;
mod signals;
mod stream;
pub mod token;
pub mod tune;

/// The exit code of a command line that is not understood, as clap has it.
const USAGE: u8 = 2;

/// The longest wait for the program's last output. 2 s: enough on a busy processor, and nothing is served any more.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the time in seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Prints the result of a command. A reader that closed the pipe, as head(1) does, is not an error.
pub fn print(text: &str) -> Result<(), String> {
    let written = Stream::new(io::stdout()).map(|stream| stream.write(text.as_bytes()));
    match written {
        Ok(Err(Cut { error, .. })) if error.kind() != ErrorKind::BrokenPipe => Err(output_error(&error)),
        Ok(_) => Ok(()),
        Err(error) => Err(output_error(&error)),
    }
}

/// Prints to standard error why the program ends.
pub fn print_error(error: impl Display) {
    let text = error_line(error);
    write_within_timeout(move || drop(Stream::new(io::stderr()).map(|stream| stream.write(text.as_bytes()))));
}

/// Returns the line that says why the program ends.
fn error_line(error: impl Display) -> String {
    format!("ringsock: {error}\n")
}

/// Calls `write`, which writes to standard error, and waits for it no longer than [`OUTPUT_TIMEOUT`]: a supervisor has
/// to see that the program has ended, even if nobody reads its output.
pub fn write_within_timeout(write: impl Fn() + Send + Sync + 'static) {
    let write = Arc::new(write);
    let (ends, ended) = mpsc::channel::<Infallible>();
    let writes = Arc::clone(&write);
    let spawned = thread::Builder::new().spawn(move || {
        writes();
        drop(ends);
    });
    match spawned {
        Ok(_) => drop(ended.recv_timeout(OUTPUT_TIMEOUT)),
        // Without a thread the text is written here.
        Err(_) => write(),
    }
}

/// Returns the error for standard output that cannot be written.
pub fn output_error(error: &io::Error) -> String {
    format!("Standard output cannot be written: {error}. Free space there, or redirect it.")
}
