//! The reasons for which a session is not read, besides the state of its socket and its outbox, as a set of bits.

/// A reason for not reading a session.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Stop {
    /// The handler has paused input.
    Paused = 1,
    /// The session published more than can be delivered now.
    Throttled = 2,
    /// The session published more than its rates allow.
    Slowed = 4,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Input(u8);

impl Input {
    #[cfg(test)]
    pub(super) fn is_paused(&self) -> bool {
        self.has(Stop::Paused)
    }

    pub(super) fn set_paused(&mut self, paused: bool) -> bool {
        self.set(Stop::Paused, paused)
    }

    #[inline]
    pub(super) fn is_throttled(&self) -> bool {
        self.has(Stop::Throttled)
    }

    pub(super) fn set_throttled(&mut self, throttled: bool) -> bool {
        self.set(Stop::Throttled, throttled)
    }

    #[inline]
    pub(super) fn is_slowed(&self) -> bool {
        self.has(Stop::Slowed)
    }

    pub(super) fn set_slowed(&mut self, slowed: bool) -> bool {
        self.set(Stop::Slowed, slowed)
    }

    #[inline]
    pub(super) fn is_input_stopped(&self) -> bool {
        self.0 != 0
    }

    #[inline]
    fn has(&self, stop: Stop) -> bool {
        self.0 & stop as u8 != 0
    }

    /// Adds or removes a reason. Returns whether there was this one before.
    fn set(&mut self, stop: Stop, is_stopped: bool) -> bool {
        let before = self.has(stop);
        self.0 = if is_stopped { self.0 | stop as u8 } else { self.0 & !(stop as u8) };
        before
    }
}
