//! One core's questions to the backend: asked from the core, answered there.
//!
//! Never makes a call: [`Hooks`] does. Invariant: a question that cannot be asked, or whose answer is lost, has an
//! answer as well.

use std::rc::Rc;
use std::sync::Arc;

use super::calls::Hooks;
use super::point::Ruling;
use super::question::{Event, Question};
use super::rules::HookRules;
use crate::service::desk::{Desk, Waiting};

/// See the module. A clone is another handle to the same desk.
#[derive(Clone, Debug)]
pub(in crate::service) struct BackendDesk {
    hooks: Arc<Hooks>,
    desk: Rc<Desk>,
}

/// A question on its way.
pub(in crate::service) enum Asked {
    /// It is decided already, without a call.
    Now(Ruling),
    /// It is decided later.
    Later(Waiting<Ruling>),
}

impl Asked {
    /// Waits for the decision.
    pub(in crate::service) async fn ruling(self) -> Ruling {
        match self {
            Self::Now(ruling) => ruling,
            // An answer is lost only with the thread that makes calls.
            Self::Later(waiting) => waiting.await.unwrap_or(Ruling::Unavailable),
        }
    }
}

impl BackendDesk {
    /// Returns the desk of a core.
    pub(in crate::service) fn new(hooks: Arc<Hooks>, desk: Rc<Desk>) -> Self {
        Self { hooks, desk }
    }

    /// Asks the backend, which has a hook for this event by these rules.
    pub(in crate::service) fn ask(&self, rules: &Arc<HookRules>, event: Event, question: &Question<'_>) -> Asked {
        match self.hooks.begin(rules, event, question) {
            Ok(pass) => {
                let (answering, waiting) = self.desk.ask();
                self.hooks.ask(rules, (event, pass), question.body(), move |ruling| answering.give(ruling));
                Asked::Later(waiting)
            }
            Err(ruling) => Asked::Now(ruling),
        }
    }
}
