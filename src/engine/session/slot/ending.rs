//! The end of a connection, as far as it is decided.

use crate::engine::reasons::End;

/// See the module. The first reason stays; later ones are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    NotSettled,
    /// The connection ends for this reason.
    Settled(End),
    /// The connection ends for this reason: it lingers once everything is sent, and no further request is read.
    Parting(End),
}

impl Ending {
    /// Records the reason, unless one is recorded already.
    pub(super) fn settle(&mut self, end: End) {
        if *self == Self::NotSettled {
            *self = Self::Settled(end);
        }
    }

    /// Makes the connection linger once everything is sent, for this reason unless another is recorded already.
    pub(super) fn part(&mut self, end: End) {
        *self = Self::Parting(self.reason().unwrap_or(end));
    }

    #[inline]
    pub(super) fn is_parting(self) -> bool {
        matches!(self, Self::Parting(_))
    }

    /// Returns the reason, if one is recorded.
    pub(super) fn reason(self) -> Option<End> {
        match self {
            Self::NotSettled => None,
            Self::Settled(end) | Self::Parting(end) => Some(end),
        }
    }
}
