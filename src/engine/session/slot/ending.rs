//! The end of a connection, as far as it is settled.

use crate::engine::reasons::End;

/// See the module. The first reason stays, whatever comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    NotSettled,
    /// It ends for this reason.
    Settled(End),
    /// It ends for this reason: the connection lingers once all is sent, and is asked nothing any more.
    Parting(End),
}

impl Ending {
    /// Settles the reason, unless there is one already.
    pub(super) fn settle(&mut self, end: End) {
        if *self == Self::NotSettled {
            *self = Self::Settled(end);
        }
    }

    /// Has the connection part, for this reason unless there is another already.
    pub(super) fn part(&mut self, end: End) {
        *self = Self::Parting(self.reason().unwrap_or(end));
    }

    #[inline]
    pub(super) fn is_parting(self) -> bool {
        matches!(self, Self::Parting(_))
    }

    /// Returns the reason, once there is one.
    pub(super) fn reason(self) -> Option<End> {
        match self {
            Self::NotSettled => None,
            Self::Settled(end) | Self::Parting(end) => Some(end),
        }
    }
}
