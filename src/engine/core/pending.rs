//! The results of handlers' tasks on their way to the core, and the upgrades whose decision is such a result.
//!
//! Tells nobody that something has arrived: a task leaves a command when it ends, and the core then looks.

use std::cell::RefCell;
use std::rc::Rc;

use crate::engine::handler::Upgrade;
use crate::reactor::Token;

/// Results of tasks that the core has not taken yet. A task has a clone.
pub(super) struct Arrivals<T>(Rc<RefCell<Vec<T>>>);

impl<T> Arrivals<T> {
    /// Adds a task's result.
    pub(super) fn push(&self, result: T) {
        self.0.borrow_mut().push(result);
    }

    /// Takes all results, in the order in which they arrived.
    pub(super) fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Clone for Arrivals<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for Arrivals<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

/// A decision on an upgrade, once it is made; `None` if its future panicked.
pub(super) type Decision<S> = (Token, UpgradeOffer, Option<Upgrade<S>>);

/// The parts of a request that its 101 needs, kept while the decision is pending.
#[derive(Debug)]
pub(super) struct UpgradeOffer {
    pub(super) accept_key: [u8; 28],
    /// The offered subprotocols; kept only while a decision is pending.
    pub(super) protocols: Vec<String>,
    /// The offered extensions, as they were sent.
    pub(super) extensions: Vec<u8>,
}
