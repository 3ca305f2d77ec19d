//! The end of a connection, as far as it is decided.

use crate::engine::reasons::End;

/// See the module. The first reason stays; later ones are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Undecided,
    /// The connection ends for this reason.
    Decided(End),
    /// The connection ends for this reason: it lingers once everything is sent, and no further request is read.
    LingerWhenSent(End),
}

impl Ending {
    /// Records the reason, unless one is recorded already.
    pub(super) fn decide(&mut self, end: End) {
        if *self == Self::Undecided {
            *self = Self::Decided(end);
        }
    }

    /// Makes the connection linger once everything is sent, for this reason unless another is recorded already.
    pub(super) fn linger_when_sent(&mut self, end: End) {
        *self = Self::LingerWhenSent(self.reason().unwrap_or(end));
    }

    #[inline]
    pub(super) fn lingers_when_sent(self) -> bool {
        matches!(self, Self::LingerWhenSent(_))
    }

    /// Returns the reason, if one is recorded.
    pub(super) fn reason(self) -> Option<End> {
        match self {
            Self::Undecided => None,
            Self::Decided(end) | Self::LingerWhenSent(end) => Some(end),
        }
    }
}
