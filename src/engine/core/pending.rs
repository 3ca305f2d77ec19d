//! Upgrades whose decision the handler makes later.

use std::cell::RefCell;
use std::rc::Rc;

use crate::engine::handler::Upgrade;
use crate::reactor::Token;

/// The parts of a request that its 101 needs, kept while the decision is pending.
#[derive(Debug)]
pub(in crate::engine) struct UpgradeOffer {
    pub(super) accept_key: [u8; 28],
    /// The offered subprotocols; kept only while a decision is pending.
    pub(super) protocols: Vec<String>,
    /// The offered extensions, as they were sent.
    pub(super) extensions: Vec<u8>,
}

/// A decision, once it is made; `None` if its future panicked.
pub(super) type Decision<S> = (Token, UpgradeOffer, Option<Upgrade<S>>);

/// Decisions on upgrades that tasks have made.
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
