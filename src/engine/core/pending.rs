//! Decisions on upgrades that handlers take their time for.

use std::cell::RefCell;
use std::rc::Rc;

use crate::engine::handler::Upgrade;
use crate::reactor::Token;

/// What the 101 needs of a request whose decision is pending.
#[derive(Debug)]
pub(in crate::engine) struct Asked {
    pub(super) accept_key: [u8; 28],
    /// The subprotocols offered; kept only for decisions that take time.
    pub(super) protocols: Vec<String>,
    /// The extensions offered, as they were sent.
    pub(super) extensions: Vec<u8>,
}

/// A decision that arrived: `None` when its future panicked.
pub(super) type Decision<S> = (Token, Asked, Option<Upgrade<S>>);

/// Decisions on upgrades that have arrived from tasks.
pub(in crate::engine) struct PendingUpgrades<S>(pub(super) Rc<RefCell<Vec<Decision<S>>>>);

impl<S> Default for PendingUpgrades<S> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<S> PendingUpgrades<S> {
    pub(in crate::engine) fn take(&self) -> Vec<Decision<S>> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}
