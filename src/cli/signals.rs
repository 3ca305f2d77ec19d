//! The signals of the program: those that interrupt a bench, and those without a use here, which must not end or stop a
//! server.
//!
//! Signals that drain a server belong to the library (`engine/host/signals.rs`).

use std::io;
use std::thread;

use ringsock::reactor;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTTOU, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

/// Signals by which other servers reopen their log or print statistics, so that operators and scripts send them.
const USER_SIGNALS: [i32; 2] = [SIGUSR1, SIGUSR2];

/// Returns the signals that end a bench early, with its results so far. SIGINT counts even in the background of a
/// script: a load that outlives an interrupted script helps nobody.
pub fn interrupting() -> impl Iterator<Item = i32> {
    from_terminal().chain([SIGTERM])
}

/// Returns the signals that a terminal sends to every process of a bench.
pub fn from_terminal() -> impl Iterator<Item = i32> {
    [SIGINT].into_iter().chain([SIGHUP].into_iter().filter(|signal| !reactor::is_ignored(*signal)))
}

/// Ignores the signals that the program does not use and that would end or stop it: SIGUSR1 and SIGUSR2, each with a
/// log line, and SIGTTOU.
pub fn ignore_unused() -> io::Result<()> {
    // A background job would stop at its first log line on a terminal that stops background writers (stty tostop).
    reactor::ignore(SIGTTOU)?;
    let mut signals = Signals::new(USER_SIGNALS.into_iter().filter(|signal| !reactor::is_ignored(*signal)))?;
    let logging = thread::Builder::new().name("ringsock-usr".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let name = signal_name(signal).unwrap_or_default();
            tracing::info!("{name} has no effect. The log goes to standard error, and --admin-listen serves metrics.");
        }
    });
    // Without the thread the signals are ignored without a log line.
    drop(logging);
    Ok(())
}
