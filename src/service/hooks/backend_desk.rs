//! One core's questions to the backend: asked from the core, answered there.
//!
//! Never makes a call: [`Hooks`] does. Invariant: a question that cannot be asked, or whose answer is lost, has an
//! answer as well.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::calls::Hooks;
use super::point::Ruling;
use super::question::{Event, Question};
use super::rules::HookRules;
use crate::service::desk::{Desk, Waiting};

/// The time that an answer has beyond that of its call, until a core takes it for lost.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

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
    /// It is decided later, within this time.
    Later(Waiting<Ruling>, Duration),
}

impl Asked {
    /// Waits for the decision.
    pub(in crate::service) async fn ruling(self) -> Ruling {
        match self {
            Self::Now(ruling) => ruling,
            // An answer is lost with the thread that makes calls, or by a core whose inbox stays full.
            Self::Later(waiting, within) => match monoio::time::timeout(within, waiting).await {
                Ok(Some(ruling)) => ruling,
                Ok(None) | Err(_) => Ruling::Unavailable,
            },
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
                Asked::Later(waiting, Duration::from_millis(rules.timeout_ms()) + ANSWER_MARGIN)
            }
            Err(ruling) => Asked::Now(ruling),
        }
    }
}
