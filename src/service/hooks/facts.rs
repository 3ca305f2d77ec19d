//! The facts of a server, from all cores: the queue, and who is subscribed to what.
//!
//! Owns the lock, which cores take only where a fact of a wanted kind happens: never for a message. Invariant: a topic
//! is occupied and vacated under the same lock as the fact is queued, so that the facts of a topic are in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fact::{About, Departure, Fact, FactKind, FactKinds};
use super::fact_queue::{FactCounts, FactQueue, Step};
use super::occupancy::Occupancy;

/// See the module.
pub struct Facts {
    kinds: FactKinds,
    /// The number of this run of the server, as text.
    epoch: String,
    state: Mutex<State>,
    /// Wakes the sender.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug)]
struct State {
    queue: FactQueue<Fact>,
    occupancy: Occupancy,
}

impl Facts {
    /// Returns a queue of facts of these kinds. `wake` is called when there is one.
    pub fn new(kinds: FactKinds, entries_max: usize, epoch: u64, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let state = Mutex::new(State { queue: FactQueue::new(entries_max), occupancy: Occupancy::default() });
        Self { kinds, epoch: format!("{epoch:016x}"), state, wake: Box::new(wake) }
    }

    /// Returns the number of this run of the server.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Returns the counts of the queue.
    pub fn counts(&self) -> FactCounts {
        self.lock().queue.counts()
    }

    /// Returns the kinds of facts that are wanted.
    pub fn kinds(&self) -> FactKinds {
        self.kinds
    }

    /// Notes that a session is open.
    pub fn connected(&self, about: &About, time_ms: u64) {
        self.note(FactKind::Connected, about, None, time_ms);
    }

    /// Notes that a session has ended.
    pub fn disconnected(&self, about: &About, departure: Departure, time_ms: u64) {
        self.note(FactKind::Disconnected, about, Some(departure), time_ms);
    }

    /// Notes that a session is subscribed to a topic.
    pub fn subscribed(&self, about: &About, topic: &Arc<str>, time_ms: u64) {
        let kinds = [FactKind::Subscribed, FactKind::Occupied];
        self.note_topic(kinds, about, topic, time_ms, |occupancy| occupancy.add(topic));
    }

    /// Notes that a subscription has ended.
    pub fn unsubscribed(&self, about: &About, topic: &Arc<str>, time_ms: u64) {
        let kinds = [FactKind::Unsubscribed, FactKind::Vacated];
        self.note_topic(kinds, about, topic, time_ms, |occupancy| occupancy.remove(topic));
    }

    /// Returns what the sender has to do now.
    pub(super) fn step(&self, now_ms: u64) -> Step<Fact> {
        self.lock().queue.step(now_ms)
    }

    /// Notes how a try of the sender ended.
    pub(super) fn end(&self, is_delivered: bool, now_ms: u64, jitter: u32) {
        self.lock().queue.end(is_delivered, now_ms, jitter);
    }

    /// Tries more often from now on, because the server ends.
    pub fn hurry(&self, now_ms: u64) {
        self.lock().queue.hurry(now_ms);
        (self.wake)();
    }

    /// Gives up all facts that are left, and returns their number.
    pub fn abandon(&self) -> u64 {
        self.lock().queue.abandon()
    }

    fn note(&self, kind: FactKind, about: &About, departure: Option<Departure>, time_ms: u64) {
        if self.kinds.has(kind) {
            let fact = Fact { kind, time_ms, about: Some(about.clone()), topic: None, departure };
            self.lock().queue.push(fact);
            (self.wake)();
        }
    }

    /// Notes a change of a subscription, and of its topic where that has become occupied or vacated.
    fn note_topic(
        &self,
        [of_session, of_topic]: [FactKind; 2],
        about: &About,
        topic: &Arc<str>,
        time_ms: u64,
        change: impl FnOnce(&mut Occupancy) -> bool,
    ) {
        let counts = self.kinds.has(FactKind::Occupied) || self.kinds.has(FactKind::Vacated);
        if !counts && !self.kinds.has(of_session) {
            return;
        }
        let fact = |kind, about| Fact { kind, time_ms, about, topic: Some(Arc::clone(topic)), departure: None };
        let mut state = self.lock();
        if self.kinds.has(of_session) {
            state.queue.push(fact(of_session, Some(about.clone())));
        }
        if counts && change(&mut state.occupancy) && self.kinds.has(of_topic) {
            state.queue.push(fact(of_topic, None));
        }
        drop(state);
        (self.wake)();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that runs under the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("kinds", &self.kinds).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    fn facts(kinds: &str) -> (Facts, Arc<AtomicU64>) {
        let wakes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&wakes);
        let wake = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        (Facts::new(kinds.parse().unwrap(), 100_000, 0xab, wake), wakes)
    }

    fn about(number: u32) -> About {
        About { session: format!("0-{number}-0").parse().unwrap(), name: None, address: None }
    }

    /// Takes all facts that wait.
    fn take(facts: &Facts) -> Vec<Fact> {
        let mut taken = Vec::new();
        while let Step::Send(batch) = facts.step(0) {
            taken.extend(batch.iter().map(|numbered| numbered.fact.clone()));
            facts.end(true, 0, 0);
        }
        taken
    }

    fn kinds(facts: &Facts) -> Vec<&'static str> {
        take(facts).iter().map(|fact| fact.kind.name()).collect()
    }

    #[test]
    fn only_the_wanted_kinds_are_queued_and_wake_the_sender() {
        let departure = Departure { code: None, is_clean: false, duration_ms: 0 };
        let topic: Arc<str> = "a".into();
        for (wanted, expected) in [
            ("none", &[][..]),
            ("connected", &["connected"]),
            ("disconnected, unsubscribed", &["unsubscribed", "disconnected"]),
            ("vacated", &["vacated"]),
            ("occupied, subscribed", &["subscribed", "occupied"]),
        ] {
            let (facts, wakes) = facts(wanted);
            facts.connected(&about(1), 0);
            facts.subscribed(&about(1), &topic, 0);
            facts.unsubscribed(&about(1), &topic, 0);
            facts.disconnected(&about(1), departure, 0);
            assert_eq!(kinds(&facts), expected, "{wanted}");
            assert_eq!(wakes.load(Ordering::Relaxed) > 0, wanted != "none");
            assert_eq!(facts.epoch(), "00000000000000ab");
        }
    }

    #[test]
    fn a_topic_is_occupied_by_its_first_subscriber_and_vacated_by_its_last() {
        let (facts, _) = facts("occupied, vacated");
        let topic: Arc<str> = "a".into();
        facts.subscribed(&about(1), &topic, 0);
        facts.subscribed(&about(2), &topic, 0);
        facts.unsubscribed(&about(1), &topic, 0);
        assert_eq!(kinds(&facts), ["occupied"]);
        facts.unsubscribed(&about(2), &topic, 0);
        facts.subscribed(&about(3), &topic, 0);
        assert_eq!(kinds(&facts), ["vacated", "occupied"]);
    }

    #[test]
    fn topics_are_occupied_and_vacated_by_turns_whichever_cores_say_so() {
        const TOPICS: u32 = 5;
        let facts = facts("occupied, vacated").0;
        thread::scope(|scope| {
            for core in 0..4 {
                let facts = &facts;
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let topic: Arc<str> = ((round * 7 + core) % TOPICS).to_string().into();
                        facts.subscribed(&about(core), &topic, 0);
                        facts.unsubscribed(&about(core), &topic, 0);
                    }
                });
            }
        });
        let mut occupied: HashMap<Arc<str>, bool> = HashMap::new();
        for fact in take(&facts) {
            let topic = fact.topic.unwrap();
            let was = occupied.insert(Arc::clone(&topic), fact.kind == FactKind::Occupied).unwrap_or_default();
            assert_eq!(was, fact.kind == FactKind::Vacated, "{topic}");
        }
        assert!(occupied.values().all(|occupied| !occupied));
        assert_eq!(facts.counts().lost(), 0);
    }
}
