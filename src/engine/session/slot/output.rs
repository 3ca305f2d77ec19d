//! The state of the output to a peer: backpressure, and the flags by which a dead peer is recognized.

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Output {
    /// The handler was told of backpressure and not yet of its end.
    backpressured: bool,
    liveness: Liveness,
}

impl Output {
    #[inline]
    pub(super) fn is_backpressured(&self) -> bool {
        self.backpressured
    }

    #[inline]
    pub(super) fn set_backpressured(&mut self, backpressured: bool) {
        self.backpressured = backpressured;
    }

    pub(super) fn liveness(&self) -> Liveness {
        self.liveness
    }

    #[inline]
    pub(super) fn liveness_mut(&mut self) -> &mut Liveness {
        &mut self.liveness
    }
}

/// The flags of the bytes sent to a peer by which it is known to be alive.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Liveness(u8);

impl Liveness {
    const PINGED: u8 = 1;
    const UNACKNOWLEDGED: u8 = 2;

    /// Returns whether a ping was sent since bytes last arrived.
    pub(in crate::engine) fn is_pinged(self) -> bool {
        self.0 & Self::PINGED != 0
    }

    pub(in crate::engine) fn note_ping(&mut self) {
        self.0 |= Self::PINGED;
    }

    #[inline]
    pub(super) fn note_heard(&mut self) {
        self.0 &= !Self::PINGED;
    }

    /// Returns whether the peer may still have bytes to acknowledge: more than a ping was sent since a look at its
    /// socket last found everything acknowledged.
    pub(in crate::engine) fn has_unacknowledged(self) -> bool {
        self.0 & Self::UNACKNOWLEDGED != 0
    }

    #[inline]
    pub(super) fn note_sent(&mut self) {
        self.0 |= Self::UNACKNOWLEDGED;
    }

    pub(super) fn note_all_acknowledged(&mut self) {
        self.0 &= !Self::UNACKNOWLEDGED;
    }
}
