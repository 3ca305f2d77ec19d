//! The ids of tokens that were used, so that none is used twice.
//!
//! Shared by all cores. Has no clock. Invariant: a token whose id cannot be remembered is refused, so none enters
//! twice, however many there are.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

/// The most ids that are remembered: at 100 bytes each some 25 MiB, enough for 4,000 handshakes a second with tokens of
/// a minute.
pub const USED_IDS_MAX: usize = 1 << 18;

/// The outcome of using a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was not used before.
    First,
    /// It was used before.
    Again,
    /// So many are remembered that this one cannot be.
    Full,
}

/// The ids of tokens that were used and have not expired.
#[derive(Debug)]
pub struct SingleUse {
    used: HashSet<Arc<str>>,
    /// The same ids by the time at which their tokens expire.
    by_expiry: BinaryHeap<Reverse<(u64, Arc<str>)>>,
    ids_max: usize,
}

impl Default for SingleUse {
    fn default() -> Self {
        Self::with_capacity(USED_IDS_MAX)
    }
}

impl SingleUse {
    fn with_capacity(ids_max: usize) -> Self {
        Self { used: HashSet::new(), by_expiry: BinaryHeap::new(), ids_max }
    }

    /// Uses a token: the `jti` of an issuer's token that nobody accepts from `until_s` on.
    pub fn take(&mut self, issuer: &str, token_id: &str, until_s: u64, now_s: u64) -> Use {
        while let Some(Reverse((_, id))) = self.by_expiry.peek().filter(|Reverse((until_s, _))| *until_s <= now_s) {
            self.used.remove(id);
            self.by_expiry.pop();
        }
        // An issuer's name has no line feed, so no two pairs are the same text.
        let id: Arc<str> = format!("{issuer}\n{token_id}").into();
        if self.used.contains(&id) {
            return Use::Again;
        }
        if self.used.len() >= self.ids_max {
            return Use::Full;
        }
        self.used.insert(Arc::clone(&id));
        self.by_expiry.push(Reverse((until_s, id)));
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn a_token_is_used_once_until_it_expires() {
        let mut used = SingleUse::default();
        assert_eq!(used.take("a", "1", 100, 0), Use::First);
        assert_eq!(used.take("a", "1", 100, 99), Use::Again);
        assert_eq!(used.take("b", "1", 100, 99), Use::First, "ids are those of an issuer");
        assert_eq!(used.take("a", "2", 200, 100), Use::First);
        assert_eq!((used.used.len(), used.by_expiry.len()), (1, 1), "expired ones are forgotten");
    }

    #[test]
    fn a_token_is_refused_when_no_more_can_be_remembered() {
        let mut used = SingleUse::with_capacity(2);
        assert_eq!(used.take("a", "1", 50, 0), Use::First);
        assert_eq!(used.take("a", "2", 100, 0), Use::First);
        assert_eq!(used.take("a", "3", 100, 49), Use::Full);
        assert_eq!(used.take("a", "2", 100, 49), Use::Again);
        assert_eq!(used.take("a", "3", 100, 50), Use::First, "as soon as there is room");
    }

    #[test]
    fn of_two_cores_with_the_same_token_exactly_one_lets_it_in() {
        let used = Mutex::new(SingleUse::default());
        let entered =
            || (0..1000).filter(|id| used.lock().unwrap().take("a", &id.to_string(), 9, 0) == Use::First).count();
        let (one, other) = thread::scope(|scope| {
            let (one, other) = (scope.spawn(entered), scope.spawn(entered));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert_eq!(one + other, 1000);
    }
}
