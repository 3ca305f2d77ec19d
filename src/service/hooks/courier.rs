//! The sender of facts: a task on the thread that makes calls.
//!
//! Owns the order of sending: one call at a time. Never decides when a batch is tried again: the queue does. Invariant:
//! a batch that is tried again has the same id, so that a backend can tell.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::calls::{Hooks, random};
use super::fact::{self, Fact, FactKinds};
use super::fact_queue::{Numbered, Step};
use super::facts::Facts;
use super::rules::HookRules;
use crate::outbound::Answer;

/// How often the end of a server looks whether all facts are delivered.
const LOOK: Duration = Duration::from_millis(10);

/// Returns the rules in force, which a reload may change.
pub type CurrentRules = Box<dyn Fn() -> Option<Arc<HookRules>> + Send + Sync>;

/// See the module.
pub struct Courier {
    hooks: Arc<Hooks>,
    facts: Arc<Facts>,
    hurried: Arc<Notify>,
}

impl Courier {
    /// Begins to send facts of these kinds, of which so many may wait, to the address that the current rules name.
    pub fn begin(hooks: Arc<Hooks>, kinds: FactKinds, facts_max: usize, rules: CurrentRules) -> io::Result<Self> {
        let (arrived, hurried) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let waker = Arc::clone(&arrived);
        let epoch = u64::from_le_bytes(random());
        let facts = Arc::new(Facts::new(kinds, facts_max, epoch, move || waker.notify_one()));
        let courier = Self { hooks, facts, hurried };
        courier.hooks.run(deliver(
            Arc::clone(&courier.hooks),
            Arc::clone(&courier.facts),
            (arrived, Arc::clone(&courier.hurried)),
            rules,
        ))?;
        Ok(courier)
    }

    /// Returns the facts that it sends.
    pub fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }

    /// Waits until all facts are delivered, or until a time. Gives up those that are left then, and returns their
    /// number. Called once all sessions have ended.
    pub fn finish(&self, until: Instant) -> u64 {
        self.facts.hurry(self.hooks.clock().now_ms());
        self.hurried.notify_one();
        while self.facts.counts().waiting > 0 && Instant::now() < until {
            thread::sleep(LOOK);
        }
        self.facts.abandon()
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("facts", &self.facts).finish_non_exhaustive()
    }
}

async fn deliver(
    hooks: Arc<Hooks>,
    facts: Arc<Facts>,
    (arrived, hurried): (Arc<Notify>, Arc<Notify>),
    rules: CurrentRules,
) {
    let mut is_down = false;
    loop {
        match facts.step(hooks.clock().now_ms()) {
            Step::Idle => arrived.notified().await,
            // A server that ends does not wait for the whole pause.
            Step::Wait(ms) => drop(timeout(Duration::from_millis(ms), hurried.notified()).await),
            Step::Send(batch) => {
                let outcome = send(&hooks, facts.epoch(), &batch, rules().as_deref()).await;
                match &outcome {
                    Err(fault) if !is_down => {
                        tracing::warn!("Facts cannot be delivered, and are tried again for five minutes: {fault}.");
                    }
                    Ok(()) if is_down => tracing::info!("Facts are delivered again."),
                    _ => {}
                }
                is_down = outcome.is_err();
                facts.end(!is_down, hooks.clock().now_ms(), u32::from_le_bytes(random()));
            }
        }
    }
}

/// Makes a call with a batch. Returns the fault if the backend has not confirmed it.
async fn send(hooks: &Hooks, epoch: &str, batch: &[Numbered<Fact>], rules: Option<&HookRules>) -> Result<(), String> {
    let target = rules.and_then(|rules| Some((rules, rules.facts()?)));
    let Some((rules, url)) = target else { return Err("hooks.facts is none".to_owned()) };
    let first = batch.first().map_or(0, |numbered| numbered.sequence);
    let id = format!("facts_{epoch}_{first}");
    match hooks.call(rules, url.clone(), &id, fact::body(epoch, batch)).await {
        Ok(Answer { status: 200..=299, .. }) => Ok(()),
        Ok(Answer { status, .. }) => Err(format!("the status of the answer is {status}")),
        Err(error) => Err(error.to_string()),
    }
}
