//! The signals by which people and supervisors end a server.
//!
//! One thread waits for them, from before the server starts until the process ends, and passes them to the server's
//! [`Controller`]. It ends the process itself only if a start hangs, or if a signal comes after the server's end. Where
//! a program blocks [`TERMINATION_SIGNALS`] in its other threads, this thread handles all signals, so it receives those
//! that come together at once. Otherwise a busy host can delay a thread that handles one of them for longer than
//! [`SAME_EVENT`].
//! Invariant: a signal that was ignored when the process began stays ignored, as nohup and the background jobs of
//! scripts expect. SIGTERM is the exception, because a supervisor announces with it that it will kill the process.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::low_level;

use crate::engine::host::control::ShutdownMode;
use crate::engine::host::controller::Controller;
use crate::reactor;

/// The signals that drain a server. By default each of them ends a process at once: a person or a supervisor ends it
/// (TERM, INT, QUIT), its terminal closes (HUP), a timer that was set before its start expires (ALRM), its processor
/// time is used up (XCPU), or the container whose first process it is stops (PWR).
pub const TERMINATION_SIGNALS: [i32; 7] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGALRM, libc::SIGXCPU, libc::SIGPWR];

/// The time within which a further signal belongs to the first: timeout(1) signals its child and then its group,
/// systemd sends SIGHUP after SIGTERM (`SendSIGHUP`), and a terminal reaches both a program and the wrapper that
/// forwards the signal. A person needs longer for a second one.
const SAME_EVENT: Duration = Duration::from_millis(50);

/// The number of checks for such a signal in this time.
const CHECKS: u32 = 5;

/// The time that a start has to notice a signal, before the signal takes its default effect: the lookup of a host name
/// cannot be interrupted.
const START_GRACE: Duration = Duration::from_secs(2);

/// The signals of the process, caught since this value was created. A clone is another handle to the same signals.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stage: Mutex<Stage>,
    changed: Condvar,
}

/// The stage of the server's life, which decides the effect of a signal.
#[derive(Debug)]
enum Stage {
    Starting { cancelled: bool },
    Serving(Controller),
    Over,
}

/// The position of a signal in the sequence of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occurrence {
    First,
    SameEvent,
    Later,
}

impl Signals {
    /// Catches the signals that end a server from now on, SIGHUP among them or not.
    pub fn catch(hangup: bool) -> io::Result<Self> {
        let caught = TERMINATION_SIGNALS
            .into_iter()
            .filter(|signal| hangup || *signal != libc::SIGHUP)
            .filter(|signal| *signal == libc::SIGTERM || !reactor::is_ignored(*signal));
        let caught: Vec<i32> = caught.collect();
        let signals = signal_hook::iterator::Signals::new(&caught)?;
        let stage = Mutex::new(Stage::Starting { cancelled: false });
        let this = Self(Arc::new(Shared { stage, changed: Condvar::new() }));
        let shared = Arc::clone(&this.0);
        thread::Builder::new().name("ringsock-signals".to_owned()).spawn(move || {
            // A program may have blocked them in its threads, so that this thread handles all of them.
            let _ = reactor::unblock(&caught);
            forward(signals, |signal, occurrence| shared.pass_on(signal, occurrence));
        })?;
        Ok(this)
    }

    /// Returns whether a signal came before the server had started.
    pub fn cancels_start(&self) -> bool {
        matches!(*self.0.stage(), Stage::Starting { cancelled: true })
    }

    /// Passes signals to a server that has started. A signal that came meanwhile drains it.
    pub fn pass_on_to(&self, controller: Controller) {
        if self.cancels_start() {
            controller.drain();
        }
        self.0.enter(Stage::Serving(controller));
    }

    /// Restores the default effect of signals, because the server has ended.
    pub fn release(&self) {
        self.0.enter(Stage::Over);
    }
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: Stage) {
        *self.stage() = stage;
        self.changed.notify_all();
    }

    /// Carries out a signal.
    fn pass_on(&self, signal: i32, occurrence: Occurrence) {
        let name = low_level::signal_name(signal).unwrap_or("SIGPWR");
        let mut stage = self.stage();
        match &mut *stage {
            Stage::Starting { cancelled } => {
                *cancelled = true;
                if occurrence == Occurrence::First {
                    tracing::info!("{name}: the server is not started.");
                }
                drop(stage);
                if occurrence == Occurrence::Later || self.start_hangs() {
                    end_process_by(signal);
                }
            }
            Stage::Serving(controller) => {
                let mode = match occurrence {
                    Occurrence::First => ShutdownMode::Drain,
                    Occurrence::SameEvent => ShutdownMode::Hurry,
                    // The kernel sends it every second.
                    Occurrence::Later if signal == libc::SIGXCPU => return,
                    Occurrence::Later => ShutdownMode::Stop,
                };
                controller.request(mode, Some(name));
            }
            Stage::Over if occurrence == Occurrence::Later => end_process_by(signal),
            Stage::Over => {}
        }
    }

    /// Waits for the start to notice that it is cancelled. Returns whether it failed to.
    fn start_hangs(&self) -> bool {
        let is_starting = |stage: &mut Stage| matches!(stage, Stage::Starting { .. });
        let waited = self.changed.wait_timeout_while(self.stage(), START_GRACE, is_starting);
        waited.is_ok_and(|(_, waited)| waited.timed_out())
    }
}

/// Passes on every signal, with its position in the sequence.
fn forward(mut signals: signal_hook::iterator::Signals, mut pass_on: impl FnMut(i32, Occurrence)) {
    let mut occurrence = Occurrence::First;
    while occurrence == Occurrence::First && !signals.handle().is_closed() {
        for signal in signals.wait() {
            pass_on(signal, occurrence);
            occurrence = Occurrence::SameEvent;
        }
    }
    // The time is counted in checks: while the process gets no processor, it passes for its signals too.
    for _ in 0..CHECKS {
        thread::sleep(SAME_EVENT / CHECKS);
        signals.pending().for_each(|signal| pass_on(signal, Occurrence::SameEvent));
    }
    signals.forever().for_each(|signal| pass_on(signal, Occurrence::Later));
}

/// Ends the process as the signal does by default.
fn end_process_by(signal: i32) {
    // A signal without a known default ends the process with the shell's exit code for signals.
    if low_level::emulate_default_handler(signal).is_err() {
        low_level::exit(128 + signal);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn signals_that_come_together_are_one_event_though_the_process_has_no_processor_meanwhile() {
        // The signal has no effect by default, and no other code here catches it.
        let signals = signal_hook::iterator::Signals::new([libc::SIGWINCH]).unwrap();
        let handle = signals.handle();
        let (sender, occurrences) = channel();
        let forwarding = thread::spawn(move || {
            forward(signals, |signal, occurrence| {
                if occurrence == Occurrence::First {
                    low_level::raise(signal).unwrap();
                    thread::sleep(SAME_EVENT * 3);
                }
                sender.send(occurrence).unwrap();
            });
        });
        low_level::raise(libc::SIGWINCH).unwrap();
        assert!(occurrences.recv().unwrap() == Occurrence::First);
        assert!(occurrences.recv().unwrap() == Occurrence::SameEvent, "it is taken for a second event");
        // After some time there is a second event.
        loop {
            low_level::raise(libc::SIGWINCH).unwrap();
            if occurrences.recv().unwrap() == Occurrence::Later {
                break;
            }
        }
        handle.close();
        forwarding.join().unwrap();
    }
}
