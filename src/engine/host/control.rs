//! The wish of a server's supervisor thread, which its cores check once a turn.
//!
//! Owns one atomic number that any thread may raise and none can lower, so a core that checks late misses only steps
//! that a later wish includes.

use std::sync::atomic::{AtomicU8, Ordering};

/// A wish for the end of a server. A later one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in crate::engine) enum Wish {
    /// Continue to serve.
    Serve,
    /// Drain as the limits say.
    Drain,
    /// Drain without delay and spread, and with little time for sessions to end.
    Hurry,
    /// End at once, without telling the sessions.
    Stop,
}

/// The wish in force, shared by all threads of a server.
#[derive(Debug, Default)]
pub(in crate::engine) struct Control(AtomicU8);

impl Control {
    /// Raises the wish, unless it is as high already.
    pub(in crate::engine) fn wish(&self, wish: Wish) {
        self.0.fetch_max(wish as u8, Ordering::Release);
    }

    /// Returns the wish in force.
    pub(in crate::engine) fn wished(&self) -> Wish {
        match self.0.load(Ordering::Acquire) {
            0 => Wish::Serve,
            1 => Wish::Drain,
            2 => Wish::Hurry,
            _ => Wish::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_raised_and_never_lowered() {
        let control = Control::default();
        assert_eq!(control.wished(), Wish::Serve);
        for wish in [Wish::Drain, Wish::Hurry, Wish::Stop] {
            control.wish(wish);
            assert_eq!(control.wished(), wish);
            control.wish(Wish::Drain);
            assert_eq!(control.wished(), wish);
        }
    }
}
