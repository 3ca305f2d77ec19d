//! The status of a server, as its handlers and its admin listener read it: its readiness, and its reloads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The status of a server. All its threads share it. The supervisor thread writes the readiness, and each thread that
/// reloads settings counts its reloads.
#[derive(Debug, Default)]
pub struct Status {
    ready: AtomicBool,
    reloads_applied: AtomicU64,
    reloads_refused: AtomicU64,
    last_reload_refused: AtomicBool,
    settings_since_s: AtomicU64,
}

/// The reloads of a server so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reloads {
    /// The number of those that were applied.
    pub(crate) applied: u64,
    /// The number of those that were refused.
    pub(crate) refused: u64,
    /// The last one was refused, so that the settings in force are not those that were wanted.
    pub(crate) is_last_refused: bool,
    /// The time from which the settings in force are, in seconds since 1970: that of the start, or of the last reload
    /// that was applied.
    pub(crate) since_s: u64,
}

impl Status {
    /// Returns whether all cores run, none is stalled, and the server is not draining.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Returns the reloads so far.
    pub(crate) fn reloads(&self) -> Reloads {
        Reloads {
            applied: self.reloads_applied.load(Ordering::Relaxed),
            refused: self.reloads_refused.load(Ordering::Relaxed),
            is_last_refused: self.last_reload_refused.load(Ordering::Relaxed),
            since_s: self.settings_since_s.load(Ordering::Relaxed),
        }
    }

    /// Sets whether the server is ready. Returns whether it was.
    pub(in crate::engine) fn set_ready(&self, ready: bool) -> bool {
        self.ready.swap(ready, Ordering::Relaxed)
    }

    /// Records that settings are in force from now on.
    pub(in crate::engine) fn note_settings(&self) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.settings_since_s.store(since_1970.as_secs(), Ordering::Relaxed);
    }

    /// Counts a reload, which was applied or refused.
    pub(crate) fn note_reload(&self, applied: bool) {
        if applied {
            self.note_settings();
        }
        let count = if applied { &self.reloads_applied } else { &self.reloads_refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.last_reload_refused.store(!applied, Ordering::Relaxed);
    }
}
