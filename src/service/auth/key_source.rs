//! The key set of one issuer that is fetched: the keys in force, and the tokens that wait for the next fetch.
//!
//! Owns the place where cores find the keys without a lock, and the lock of everything else about them. Never makes a
//! call and reads no clock. Invariants: keys in force are those of the last set that was fetched, a day ago at most; a
//! token that waits for a fetch goes on when it ends, however it ends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::algorithm::Algorithm;
use super::fetch_error::FetchError;
use super::key::Key;
use super::outage::Outages;
use super::refresh::{Refresh, UnknownKey};
use crate::outbound::Url;

/// The most tokens that wait for one issuer: as many as 1 s of handshakes on a large host.
pub(super) const WAITING_MAX: usize = 16 * 1024;

/// Lets something go on that waits for an issuer.
pub(super) type Resume = Box<dyn FnOnce() + Send>;

/// Makes a [`Resume`] for a token whose issuer may be asked; none may, once it has waited. A token for which it makes
/// none does not wait: its bearer comes again.
pub(super) type MayWait<'w> = Option<&'w mut dyn FnMut() -> Option<Resume>>;

/// The place of a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// At this address.
    KeySet(Url),
    /// At the address that the issuer's discovery document names.
    Discovery {
        /// The issuer.
        iss: Box<str>,
        /// The address of the document.
        url: Url,
    },
}

/// A moment, on the clock that never goes back and on that of the calendar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) ms: u64,
    /// Seconds since 1970.
    pub(super) s: u64,
}

/// The outcome of a question about a key that the set does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Consulted {
    /// The token waits for a fetch, which must begin now.
    Fetch,
    /// The token waits for a fetch that is under way.
    Wait,
    /// There is no such key.
    NoKey,
    /// It is not known whether there is such a key, for this reason.
    Unknown(Box<str>),
}

/// The key set of one issuer.
pub struct KeySource {
    name: Box<str>,
    place: KeyPlace,
    algorithm: Option<Algorithm>,
    in_force: ArcSwap<Arc<[Key]>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    refresh: Refresh,
    waiting: Vec<Resume>,
    outages: Outages,
    /// The time of the last set in seconds since 1970; 0 for none.
    fetched_at_s: u64,
}

impl KeySource {
    /// Returns the key set of the issuer of this name, which has not been fetched. With an algorithm, only keys of that
    /// one are taken.
    pub fn new(name: &str, place: KeyPlace, algorithm: Option<Algorithm>) -> Self {
        let in_force = ArcSwap::from_pointee(Arc::default());
        Self { name: name.into(), place, algorithm, in_force, state: Mutex::default() }
    }

    /// Returns whether another set is fetched from the same place for the same issuer, so that it may take the place of
    /// this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.place, self.algorithm) == (&other.name, &other.place, other.algorithm)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn place(&self) -> &KeyPlace {
        &self.place
    }

    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Returns the keys in force. Takes no lock.
    pub(super) fn keys(&self) -> Guard<Arc<Arc<[Key]>>> {
        self.in_force.load()
    }

    /// Returns the time at which the keys in force were fetched, in seconds since 1970; 0 if there are none yet.
    pub(super) fn fetched_at_s(&self) -> u64 {
        self.lock().fetched_at_s
    }

    /// Says what to do about a token whose key is not in the set.
    pub(super) fn consult(&self, key_id: &str, now_ms: u64, may_wait: MayWait<'_>) -> Consulted {
        let mut state = self.lock();
        let Some(may_wait) = may_wait else { return state.after_waiting(key_id, now_ms) };
        let unknown = state.refresh.unknown(key_id, now_ms);
        match (unknown, state.outages.reason()) {
            (UnknownKey::Refuse, None) => return Consulted::NoKey,
            (UnknownKey::CoolDown, None) => return Consulted::Unknown("its keys were fetched a moment ago".into()),
            (UnknownKey::Refuse | UnknownKey::CoolDown, Some(reason)) => return Consulted::Unknown(reason.into()),
            _ if state.waiting.len() >= WAITING_MAX => {
                return Consulted::Unknown("too many tokens wait for its keys".into());
            }
            _ => state.waiting.extend(may_wait()),
        }
        if unknown == UnknownKey::Wait {
            return Consulted::Wait;
        }
        state.refresh.begin();
        Consulted::Fetch
    }

    /// Begins a fetch if one is due, and gives up keys that are too old. Returns whether a fetch must begin now.
    pub(super) fn look(&self, now_ms: u64) -> bool {
        let mut state = self.lock();
        if state.refresh.keys(now_ms).is_none() && !self.in_force.load().is_empty() {
            self.in_force.store(Arc::default());
            tracing::error!("The keys of the issuer {} are too old by now. Its tokens are refused.", self.name);
        }
        let is_due = state.refresh.is_due(now_ms);
        if is_due {
            state.refresh.begin();
        }
        is_due
    }

    /// Ends a fetch that began at this time. The log says once that an outage began, and that it is over.
    pub(super) fn finish(&self, outcome: Result<Vec<Key>, FetchError>, began_at_ms: u64, now: Moment) {
        let mut state = self.lock();
        match outcome {
            Ok(keys) => {
                let (keys, count): (Arc<[Key]>, usize) = (keys.into(), self.in_force.load().len());
                if state.outages.note_success() {
                    tracing::info!("The keys of the issuer {} can be fetched again.", self.name);
                }
                tracing::debug!("The issuer {} has {} keys, and had {count}.", self.name, keys.len());
                self.in_force.store(Arc::new(Arc::clone(&keys)));
                state.refresh.fetched(keys, began_at_ms, now.ms);
                state.fetched_at_s = now.s;
            }
            Err(fault) => {
                state.refresh.failed(began_at_ms, now.ms);
                if state.outages.note_failure(fault.to_string(), now.ms) {
                    let meanwhile = match state.refresh.keys(now.ms) {
                        Some(_) => "The last ones serve for a day.",
                        None => "Its tokens are refused meanwhile.",
                    };
                    tracing::warn!("The keys of the issuer {} cannot be fetched: {fault}. {meanwhile}", self.name);
                }
            }
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|resume| resume());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that runs under the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says whether a key that is not in the set exists, for a token that has waited already.
    fn after_waiting(&mut self, key_id: &str, now_ms: u64) -> Consulted {
        match self.outages.reason() {
            Some(reason) => Consulted::Unknown(reason.into()),
            None if self.refresh.is_under_way() => Consulted::Unknown("its keys take too long to come".into()),
            None => {
                self.refresh.note_unknown(key_id, now_ms);
                Consulted::NoKey
            }
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("name", &self.name).field("place", &self.place).finish_non_exhaustive()
    }
}

/// Returns a [`Resume`] that counts.
#[cfg(test)]
pub(super) fn counted(resumed: &Arc<std::sync::atomic::AtomicUsize>) -> Option<Resume> {
    let resumed = Arc::clone(resumed);
    Some(Box::new(move || {
        resumed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::service::auth::refresh::{COOL_DOWN_MS, REFRESH_MS, STALE_MS_MAX};

    fn source() -> KeySource {
        let place = KeyPlace::KeySet("https://a.example/keys".parse().unwrap());
        KeySource::new("a", place, None)
    }

    fn keys(id: &str) -> Vec<Key> {
        vec![Key::secret(Algorithm::Hs256, &[7; 32]).unwrap().with_id(id)]
    }

    fn at(ms: u64) -> Moment {
        Moment { ms, s: 1_700_000_000 + ms / 1000 }
    }

    fn ids(source: &KeySource) -> Vec<String> {
        source.keys().iter().map(|key| key.id().unwrap().to_owned()).collect()
    }

    fn failure() -> FetchError {
        FetchError::Status(500)
    }

    /// Consults a source for a token that may wait, and counts those that go on.
    fn consult(source: &KeySource, id: &str, now_ms: u64, resumed: &Arc<AtomicUsize>) -> Consulted {
        source.consult(id, now_ms, Some(&mut || counted(resumed)))
    }

    #[test]
    fn tokens_wait_for_one_fetch_and_find_its_keys() {
        let (source, resumed) = (source(), Arc::default());
        assert_eq!(consult(&source, "b", 0, &resumed), Consulted::Fetch);
        for id in ["b", "c"] {
            assert_eq!(consult(&source, id, 1, &resumed), Consulted::Wait);
        }
        assert!(!source.look(5), "it is under way");
        source.finish(Ok(keys("b")), 0, at(10));
        assert_eq!((resumed.load(Ordering::Relaxed), ids(&source)), (3, vec!["b".to_owned()]));
        assert_eq!(source.fetched_at_s(), at(10).s);
        assert_eq!(source.consult("c", 11, None), Consulted::NoKey);
        assert_eq!(consult(&source, "c", COOL_DOWN_MS + 20, &resumed), Consulted::NoKey, "it is remembered");
        assert_eq!(consult(&source, "d", COOL_DOWN_MS + 20, &resumed), Consulted::Fetch);
    }

    #[test]
    fn a_key_is_unknown_and_not_missing_while_fetches_fail() {
        let (source, resumed) = (source(), Arc::default());
        assert!(source.look(0));
        source.finish(Err(failure()), 0, at(1));
        let unknown = Consulted::Unknown(failure().to_string().into());
        assert_eq!(consult(&source, "b", 2, &resumed), unknown, "the cool-down");
        assert!(!source.look(2) && source.look(COOL_DOWN_MS + 1));
        assert_eq!(consult(&source, "b", COOL_DOWN_MS + 2, &resumed), Consulted::Wait);
        assert!(matches!(source.consult("b", COOL_DOWN_MS + 3, None), Consulted::Unknown(_)), "it took too long");
        source.finish(Err(failure()), COOL_DOWN_MS + 1, at(COOL_DOWN_MS + 3));
        assert_eq!(source.consult("b", COOL_DOWN_MS + 4, None), unknown);
        assert_eq!((resumed.load(Ordering::Relaxed), source.fetched_at_s()), (1, 0));
    }

    #[test]
    fn the_last_keys_serve_for_a_day_of_failures_and_are_then_given_up() {
        let source = source();
        assert!(source.look(0));
        source.finish(Ok(keys("a")), 0, at(0));
        let mut now_ms = REFRESH_MS;
        while now_ms < STALE_MS_MAX {
            if source.look(now_ms) {
                source.finish(Err(failure()), now_ms, at(now_ms));
            }
            assert_eq!(ids(&source), ["a"]);
            now_ms += 7_000;
        }
        source.look(STALE_MS_MAX);
        assert!(ids(&source).is_empty());
        source.finish(Ok(keys("b")), STALE_MS_MAX, at(STALE_MS_MAX));
        assert_eq!(ids(&source), ["b"]);
    }

    #[test]
    fn no_more_tokens_wait_than_the_limit_allows() {
        let (source, resumed) = (source(), Arc::default());
        for number in 0..WAITING_MAX {
            assert!(!matches!(consult(&source, &number.to_string(), 0, &resumed), Consulted::Unknown(_)));
        }
        assert!(matches!(consult(&source, "x", 0, &resumed), Consulted::Unknown(_)));
        source.finish(Ok(keys("a")), 0, at(1));
        assert_eq!(resumed.load(Ordering::Relaxed), WAITING_MAX);
    }

    #[test]
    fn a_source_is_the_same_for_the_same_issuer_place_and_algorithm() {
        let place = |path: &str| KeyPlace::KeySet(format!("https://a.example/{path}").parse().unwrap());
        assert!(source().is_same(&source()));
        assert!(!source().is_same(&KeySource::new("b", place("keys"), None)));
        assert!(!source().is_same(&KeySource::new("a", place("other"), None)));
        assert!(!source().is_same(&KeySource::new("a", place("keys"), Some(Algorithm::Es256))));
    }
}
