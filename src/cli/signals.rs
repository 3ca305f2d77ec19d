//! The signals of the program: those that interrupt a bench, and those that are sent to a server by habit or by accident and
//! must not end or stop it.
//!
//! The signals that end a server in order belong to the library (`engine/signals.rs`).

use std::io;
use std::thread;

use ringsock::reactor;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTTOU, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

/// Signals that tell other servers to open their log anew or to print statistics.
const HABITUAL: [i32; 2] = [SIGUSR1, SIGUSR2];

/// Returns the signals that end a bench early, with what it has found out: SIGINT even in the background of a script, because
/// a load that goes on after its script was interrupted is in nobody's interest.
pub fn interrupting() -> impl Iterator<Item = i32> {
    from_terminal().chain([SIGTERM])
}

/// Returns the signals by which a terminal reaches every process of a bench.
pub fn from_terminal() -> impl Iterator<Item = i32> {
    [SIGINT].into_iter().chain([SIGHUP].into_iter().filter(|signal| !reactor::is_ignored(*signal)))
}

/// Has the program go on where these signals would end or stop it.
pub fn endure() -> io::Result<()> {
    // A job in the background of a terminal that stops those that write to it (stty tostop) would stop with a line of its log.
    reactor::ignore(SIGTTOU)?;
    let mut signals = Signals::new(HABITUAL.into_iter().filter(|signal| !reactor::is_ignored(*signal)))?;
    let told = thread::Builder::new().name("ringsock-habits".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let name = signal_name(signal).unwrap_or_default();
            tracing::info!(
                "{name} does nothing here. The log goes to standard error, and --admin-listen tells of the server."
            );
        }
    });
    // Without a thread they change nothing all the same.
    drop(told);
    Ok(())
}
