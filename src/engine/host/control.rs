//! The shutdown that the supervisor thread of a server requests, which its cores check once a turn.
//!
//! Owns one atomic number that any thread may raise and none can lower. Invariant: a mode includes those before it, so
//! that a core which checks late misses nothing.

use std::sync::atomic::{AtomicU8, Ordering};

/// The way in which a server is to end. Each mode includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in crate::engine) enum ShutdownMode {
    /// The server continues to serve.
    None,
    /// The server drains as the limits say.
    Drain,
    /// The server drains without delay and spread, and with little time for sessions to end.
    Hurry,
    /// The server ends at once, without telling the sessions.
    Stop,
}

/// The mode in force, shared by all threads of a server.
#[derive(Debug, Default)]
pub(in crate::engine) struct Control(AtomicU8);

impl Control {
    /// Raises the mode, unless it is as high already.
    pub(in crate::engine) fn request(&self, mode: ShutdownMode) {
        self.0.fetch_max(mode as u8, Ordering::Release);
    }

    /// Returns the mode in force.
    pub(in crate::engine) fn requested(&self) -> ShutdownMode {
        match self.0.load(Ordering::Acquire) {
            0 => ShutdownMode::None,
            1 => ShutdownMode::Drain,
            2 => ShutdownMode::Hurry,
            _ => ShutdownMode::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_raised_and_never_lowered() {
        let control = Control::default();
        assert_eq!(control.requested(), ShutdownMode::None);
        for mode in [ShutdownMode::Drain, ShutdownMode::Hurry, ShutdownMode::Stop] {
            control.request(mode);
            assert_eq!(control.requested(), mode);
            control.request(ShutdownMode::Drain);
            assert_eq!(control.requested(), mode);
        }
    }
}
