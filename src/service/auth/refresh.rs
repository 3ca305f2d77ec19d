//! When a key set is fetched again, and for how long the old one serves.
//!
//! A state machine without I/O and without a clock: it says that a set should be fetched now, and is told the outcome.
//! Invariants: one fetch at a time, and one in 10 s at most, however many tokens name keys that nobody has; a set that
//! was fetched replaces the one before as a whole.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::key::Key;

/// The time between two fetches: a withdrawn key is refused after it at the latest.
pub const REFRESH_MS: u64 = 15 * 60 * 1000;

/// The shortest time between the beginnings of two fetches for unknown ids, and the time after a failure.
pub const COOL_DOWN_MS: u64 = 10 * 1000;

/// How long the last set serves while fetches fail: an issuer's outage of a day ends no service.
pub const STALE_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// How long an id counts as unknown after a fetch that did not bring it.
pub const UNKNOWN_MS: u64 = 60 * 1000;

/// The most unknown ids that are remembered: some 80 KiB. Beyond it the oldest is forgotten, which costs a fetch at
/// most, and no more than one in the cool-down.
pub const UNKNOWN_IDS_MAX: usize = 1024;

/// The way to proceed with a token whose key id is in no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKey {
    /// Fetch the set now, and ask again then.
    Fetch,
    /// A fetch is under way: ask again when it has ended.
    Wait,
    /// Refuse the token: there is no such key.
    Refuse,
    /// Put the token off: nobody has looked for this key, and the set was fetched a moment ago.
    CoolDown,
}

/// The key set of one issuer, and when it is fetched.
#[derive(Debug, Default)]
pub struct Refresh {
    /// The last set, and when it was fetched.
    set: Option<(Arc<[Key]>, u64)>,
    fetch: Fetch,
    /// The time of the next fetch that no token asks for; 0 at first.
    next_at_ms: u64,
    /// Unknown ids, with the time until which they are.
    unknown: HashMap<Box<str>, u64>,
    /// The same ids, the oldest first.
    oldest: VecDeque<Box<str>>,
}

#[derive(Debug, Default)]
enum Fetch {
    /// No fetch has begun yet.
    #[default]
    Never,
    UnderWay,
    /// The last fetch began at this time, and has ended.
    Ended {
        began_at_ms: u64,
    },
}

impl Refresh {
    /// Returns whether the set should be fetched: at the start, every 15 minutes, and 10 s after a failure.
    pub fn is_due(&self, now_ms: u64) -> bool {
        !matches!(self.fetch, Fetch::UnderWay) && now_ms >= self.next_at_ms
    }

    /// Begins a fetch. Its outcome must follow: [`Refresh::fetched`] or [`Refresh::failed`].
    pub fn begin(&mut self) {
        self.fetch = Fetch::UnderWay;
    }

    /// Takes the set that a fetch has brought, which began at this time.
    pub fn fetched(&mut self, keys: Arc<[Key]>, began_at_ms: u64, now_ms: u64) {
        let before = self.set.replace((Arc::clone(&keys), now_ms));
        let withdrawn = |key: &&Key| !keys.iter().any(|new| new.id() == key.id());
        for key in before.iter().flat_map(|(before, _)| before.iter()).filter(withdrawn) {
            self.note_unknown(key.id().unwrap_or_default(), now_ms);
        }
        self.fetch = Fetch::Ended { began_at_ms };
        self.next_at_ms = now_ms + REFRESH_MS;
    }

    /// Notes that a fetch has failed, which began at this time: the last set serves on.
    pub fn failed(&mut self, began_at_ms: u64, now_ms: u64) {
        self.fetch = Fetch::Ended { began_at_ms };
        self.next_at_ms = now_ms + COOL_DOWN_MS;
    }

    /// Returns the keys in force; none if there was no set yet, or the last one is too old.
    pub fn keys(&self, now_ms: u64) -> Option<&Arc<[Key]>> {
        let (keys, fetched_at_ms) = self.set.as_ref()?;
        (now_ms < fetched_at_ms + STALE_MS_MAX).then_some(keys)
    }

    /// Returns whether a fetch is under way.
    pub fn is_under_way(&self) -> bool {
        matches!(self.fetch, Fetch::UnderWay)
    }

    /// Says what to do about a token whose key id the set does not have.
    pub fn unknown(&mut self, id: &str, now_ms: u64) -> UnknownKey {
        if self.unknown.get(id).is_some_and(|until_ms| now_ms < *until_ms) {
            return UnknownKey::Refuse;
        }
        match self.fetch {
            Fetch::UnderWay => UnknownKey::Wait,
            Fetch::Ended { began_at_ms } if now_ms < began_at_ms + COOL_DOWN_MS => UnknownKey::CoolDown,
            Fetch::Ended { .. } | Fetch::Never => UnknownKey::Fetch,
        }
    }

    /// Remembers an id that the set does not have although it was just fetched.
    pub fn note_unknown(&mut self, id: &str, now_ms: u64) {
        if let Some(until_ms) = self.unknown.get_mut(id) {
            *until_ms = now_ms + UNKNOWN_MS;
            return;
        }
        while self.oldest.len() >= UNKNOWN_IDS_MAX
            || self.oldest.front().is_some_and(|oldest| self.unknown.get(oldest).is_none_or(|until| *until <= now_ms))
        {
            let Some(oldest) = self.oldest.pop_front() else { break };
            self.unknown.remove(&oldest);
        }
        self.unknown.insert(id.into(), now_ms + UNKNOWN_MS);
        self.oldest.push_back(id.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::auth::algorithm::Algorithm;

    fn keys(id: &str) -> Arc<[Key]> {
        [Key::secret(Algorithm::Hs256, &[7; 32]).unwrap().with_id(id)].into()
    }

    fn id(refresh: &Refresh, now_ms: u64) -> Option<String> {
        Some(refresh.keys(now_ms)?[0].id()?.to_owned())
    }

    #[test]
    fn a_set_is_fetched_at_the_start_and_every_15_minutes_and_replaced_whole() {
        let mut refresh = Refresh::default();
        assert!(refresh.is_due(0) && id(&refresh, 0).is_none());
        refresh.begin();
        assert!(!refresh.is_due(0), "one at a time");
        refresh.fetched(keys("a"), 0, 100);
        assert!(!refresh.is_due(100 + REFRESH_MS - 1) && refresh.is_due(100 + REFRESH_MS));
        refresh.begin();
        refresh.fetched(keys("b"), 100 + REFRESH_MS, 200 + REFRESH_MS);
        assert_eq!(id(&refresh, 200 + REFRESH_MS).as_deref(), Some("b"));
        assert_eq!(refresh.keys(200 + REFRESH_MS).unwrap().len(), 1, "a is withdrawn");
        assert_eq!(refresh.unknown("a", 200 + REFRESH_MS), UnknownKey::Refuse);
        assert_eq!(refresh.unknown("c", 200 + REFRESH_MS), UnknownKey::CoolDown, "nobody has looked for it");
    }

    #[test]
    fn the_old_set_serves_for_a_day_while_fetches_fail_every_10_s() {
        let mut refresh = Refresh::default();
        refresh.fetched(keys("a"), 0, 0);
        let mut now_ms = REFRESH_MS;
        let mut fetches = 0;
        while now_ms < STALE_MS_MAX {
            if refresh.is_due(now_ms) {
                refresh.begin();
                refresh.failed(now_ms, now_ms);
                fetches += 1;
            }
            assert_eq!(id(&refresh, now_ms).as_deref(), Some("a"));
            now_ms += 1000;
        }
        assert_eq!(fetches, (STALE_MS_MAX - REFRESH_MS) / COOL_DOWN_MS);
        assert!(id(&refresh, STALE_MS_MAX).is_none());
        refresh.fetched(keys("b"), now_ms, now_ms);
        assert_eq!(id(&refresh, now_ms).as_deref(), Some("b"));
    }

    #[test]
    fn a_hundred_thousand_unknown_ids_cause_one_fetch_in_10_s() {
        let mut refresh = Refresh::default();
        refresh.fetched(keys("a"), 0, 0);
        let mut began_at_ms = Vec::new();
        // 100,000 ids in 100 s, and a fetch takes 300 ms.
        for number in 0..100_000_u64 {
            let (now_ms, unknown) = (20_000 + number, number.to_string());
            if let Some(began) = began_at_ms.last().filter(|began| now_ms == **began + 300) {
                refresh.fetched(keys("a"), *began, now_ms);
                refresh.note_unknown(&unknown, now_ms);
            }
            if refresh.unknown(&unknown, now_ms) == UnknownKey::Fetch {
                refresh.begin();
                began_at_ms.push(now_ms);
            }
            assert_eq!(id(&refresh, now_ms).as_deref(), Some("a"), "honest tokens go on");
        }
        assert_eq!(began_at_ms.len(), 10);
        assert!(began_at_ms.windows(2).all(|pair| pair[1] - pair[0] >= COOL_DOWN_MS));
    }

    #[test]
    fn an_unknown_id_waits_for_the_fetch_and_is_then_refused_for_a_minute() {
        let mut refresh = Refresh::default();
        assert_eq!(refresh.unknown("x", 0), UnknownKey::Fetch);
        refresh.begin();
        assert_eq!(refresh.unknown("x", 10), UnknownKey::Wait);
        refresh.fetched(keys("a"), 0, 20);
        refresh.note_unknown("x", 20);
        assert_eq!(refresh.unknown("y", COOL_DOWN_MS - 1), UnknownKey::CoolDown);
        assert_eq!(refresh.unknown("y", COOL_DOWN_MS), UnknownKey::Fetch);
        assert_eq!(refresh.unknown("x", 20 + UNKNOWN_MS - 1), UnknownKey::Refuse);
        assert_eq!(refresh.unknown("x", 20 + UNKNOWN_MS), UnknownKey::Fetch);
    }

    #[test]
    fn no_more_than_1024_unknown_ids_are_remembered_and_the_oldest_are_forgotten() {
        let mut refresh = Refresh::default();
        refresh.fetched(keys("a"), 0, 0);
        for number in 0..3 * UNKNOWN_IDS_MAX {
            refresh.note_unknown(&number.to_string(), 0);
            refresh.note_unknown(&number.to_string(), 0);
        }
        assert_eq!((refresh.unknown.len(), refresh.oldest.len()), (UNKNOWN_IDS_MAX, UNKNOWN_IDS_MAX));
        assert_eq!(refresh.unknown("0", COOL_DOWN_MS), UnknownKey::Fetch);
        assert_eq!(refresh.unknown(&(3 * UNKNOWN_IDS_MAX - 1).to_string(), COOL_DOWN_MS), UnknownKey::Refuse);
        refresh.note_unknown("new", UNKNOWN_MS);
        assert_eq!(refresh.unknown.len(), 1, "expired ones go first");
    }
}
