//! The reasons for which a session is not read, besides the state of its socket and its outbox.

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Input {
    /// The handler has paused input.
    paused: bool,
    /// The session is throttled: it published more than can be delivered now.
    throttled: bool,
}

impl Input {
    #[cfg(test)]
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn set_paused(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.paused, paused)
    }

    #[inline]
    pub(super) fn is_throttled(&self) -> bool {
        self.throttled
    }

    pub(super) fn set_throttled(&mut self, throttled: bool) -> bool {
        std::mem::replace(&mut self.throttled, throttled)
    }

    #[inline]
    pub(super) fn is_input_stopped(&self) -> bool {
        self.paused || self.throttled
    }
}
