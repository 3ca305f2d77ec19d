//! The answers of an issuer about opaque tokens: for how long each holds, and when the issuer may be asked again.
//!
//! A state machine without I/O and without a clock. Invariants: a token is asked about once at a time; no more
//! questions are under way and no more are asked in a second than the limits allow, however many tokens nobody knows;
//! what is remembered is bounded in number and in bytes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value};

/// How long an active token needs no further question, unless it expires before: what a provider revokes is refused
/// after it at the latest.
pub const ACTIVE_MS: u64 = 60 * 1000;

/// How long a token that is not active needs no further question.
pub const INACTIVE_MS: u64 = 10 * 1000;

/// The most questions to an issuer that are under way at once.
pub const QUESTIONS_MAX: usize = 32;

/// The most answers that are remembered. Beyond it the oldest is forgotten, one of an inactive token first, which costs
/// a question at most.
pub const ANSWERS_MAX: usize = 16 * 1024;

/// The most bytes of all answers that are remembered, as the issuer sent them.
pub const ANSWERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The SHA-256 of a token: tokens themselves are not kept.
pub type TokenHash = [u8; 32];

/// The claims of an active token.
pub type ActiveClaims = Arc<Map<String, Value>>;

/// The way to proceed with a token of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Ask the issuer: a question has begun. Its outcome must follow: [`Answers::answered`] or [`Answers::failed`].
    Ask,
    /// A question about it is under way.
    Wait,
    /// As many questions as may be are under way.
    TooMany,
    /// As many questions as may be were asked within a second.
    TooFast,
}

/// The answers of one issuer.
#[derive(Debug)]
pub struct Answers {
    pace: Pace,
    under_way: HashSet<TokenHash>,
    known: HashMap<TokenHash, Known>,
    /// The bytes of all answers that are known.
    bytes: usize,
    /// The tokens of each kind, those whose answers end first in front.
    active: VecDeque<(TokenHash, u64)>,
    inactive: VecDeque<(TokenHash, u64)>,
}

#[derive(Debug)]
struct Known {
    claims: Option<ActiveClaims>,
    bytes: usize,
    until_ms: u64,
}

impl Answers {
    /// Returns no answers, of an issuer that may be asked so many questions in a second.
    pub fn new(questions_per_second_max: u32) -> Self {
        Self {
            pace: Pace { interval_us: 1_000_000 / u64::from(questions_per_second_max.max(1)), next_us: 0 },
            under_way: HashSet::new(),
            known: HashMap::new(),
            bytes: 0,
            active: VecDeque::new(),
            inactive: VecDeque::new(),
        }
    }

    /// Returns what is known of a token: the claims of an active one, `Some(None)` for an inactive one.
    pub fn known(&self, token: &TokenHash, now_ms: u64) -> Option<Option<ActiveClaims>> {
        self.known.get(token).filter(|known| now_ms < known.until_ms).map(|known| known.claims.clone())
    }

    /// Begins a question about a token of which nothing is known, if it may be asked now.
    pub fn begin(&mut self, token: &TokenHash, now_ms: u64) -> Begun {
        if self.under_way.contains(token) {
            return Begun::Wait;
        }
        if self.under_way.len() >= QUESTIONS_MAX {
            return Begun::TooMany;
        }
        if !self.pace.admits(now_ms) {
            return Begun::TooFast;
        }
        self.under_way.insert(*token);
        Begun::Ask
    }

    /// Takes the answer to a question, of so many bytes: the claims of an active token, or `None`.
    pub fn answered(&mut self, token: &TokenHash, claims: Option<ActiveClaims>, bytes: usize, now_ms: u64) {
        self.under_way.remove(token);
        self.forget(token);
        self.make_room(bytes, now_ms);
        let (queue, life_ms) =
            if claims.is_some() { (&mut self.active, ACTIVE_MS) } else { (&mut self.inactive, INACTIVE_MS) };
        let until_ms = now_ms + life_ms;
        queue.push_back((*token, until_ms));
        self.bytes += bytes;
        self.known.insert(*token, Known { claims, bytes, until_ms });
    }

    /// Ends a question that has no answer: the next one with the token asks again.
    pub fn failed(&mut self, token: &TokenHash) {
        self.under_way.remove(token);
    }

    /// Forgets the answers that have ended, and the oldest ones while there is no room for so many more bytes.
    fn make_room(&mut self, bytes: usize, now_ms: u64) {
        let has_ended = |front: Option<&(TokenHash, u64)>| front.is_some_and(|(_, until_ms)| *until_ms <= now_ms);
        loop {
            let is_full = self.known.len() >= ANSWERS_MAX || self.bytes + bytes > ANSWERS_BYTES_MAX;
            let front = if has_ended(self.inactive.front()) || is_full && !self.inactive.is_empty() {
                self.inactive.pop_front()
            } else if has_ended(self.active.front()) || is_full {
                self.active.pop_front()
            } else {
                None
            };
            let Some((token, until_ms)) = front else { return };
            // A token that was asked about again stands at its new place.
            if self.known.get(&token).is_some_and(|known| known.until_ms == until_ms) {
                self.forget(&token);
            }
        }
    }

    fn forget(&mut self, token: &TokenHash) {
        if let Some(known) = self.known.remove(token) {
            self.bytes -= known.bytes;
        }
    }
}

/// A rate whose burst is what it allows in a second.
#[derive(Debug)]
struct Pace {
    interval_us: u64,
    /// The time from which on the next unit would be early.
    next_us: u64,
}

impl Pace {
    fn admits(&mut self, now_ms: u64) -> bool {
        let now_us = now_ms.saturating_mul(1000);
        let next_us = self.next_us.max(now_us) + self.interval_us;
        let is_early = next_us > now_us + 1_000_000;
        if !is_early {
            self.next_us = next_us;
        }
        !is_early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 100;

    fn hash(number: u64) -> TokenHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    fn claims() -> Option<ActiveClaims> {
        Some(Arc::new(Map::from_iter([("sub".to_owned(), Value::from("ann"))])))
    }

    fn known(answers: &Answers, number: u64, now_ms: u64) -> bool {
        answers.known(&hash(number), now_ms).is_some()
    }

    #[test]
    fn an_answer_holds_for_a_minute_or_10_s_and_then_the_issuer_is_asked_again() {
        for (number, claims, life_ms) in [(1, claims(), ACTIVE_MS), (2, None, INACTIVE_MS)] {
            let mut answers = Answers::new(RATE);
            assert_eq!(answers.begin(&hash(number), 0), Begun::Ask);
            answers.answered(&hash(number), claims.clone(), 100, 0);
            assert_eq!(answers.known(&hash(number), life_ms - 1), Some(claims));
            assert_eq!(answers.known(&hash(number), life_ms), None);
            assert_eq!(answers.begin(&hash(number), life_ms), Begun::Ask);
        }
    }

    #[test]
    fn questions_about_one_token_are_one_and_a_failed_one_is_asked_again() {
        let mut answers = Answers::new(RATE);
        assert_eq!(answers.begin(&hash(1), 0), Begun::Ask);
        assert_eq!(answers.begin(&hash(1), 5), Begun::Wait);
        assert_eq!(answers.begin(&hash(2), 5), Begun::Ask);
        answers.failed(&hash(1));
        assert_eq!(answers.begin(&hash(1), 6), Begun::Ask);
        answers.answered(&hash(1), claims(), 100, 7);
        assert!(known(&answers, 1, 8));
        assert_eq!(answers.begin(&hash(2), 8), Begun::Wait);
    }

    #[test]
    fn no_more_questions_are_under_way_than_the_limit_allows() {
        let mut answers = Answers::new(1_000);
        for number in 0..QUESTIONS_MAX as u64 {
            assert_eq!(answers.begin(&hash(number), 0), Begun::Ask);
        }
        assert_eq!(answers.begin(&hash(1_000), 0), Begun::TooMany);
        assert_eq!(answers.begin(&hash(0), 0), Begun::Wait);
        answers.failed(&hash(0));
        assert_eq!(answers.begin(&hash(1_000), 0), Begun::Ask);
    }

    #[test]
    fn a_hundred_thousand_unknown_tokens_cause_no_more_questions_than_the_rate_allows() {
        let mut answers = Answers::new(RATE);
        let honest = hash(u64::MAX);
        assert_eq!(answers.begin(&honest, 0), Begun::Ask);
        answers.answered(&honest, claims(), 100, 0);
        let (mut asked, mut refused) = (0, 0);
        // 100,000 tokens in 50 s, each asked about at once.
        for number in 0..100_000_u64 {
            let now_ms = number / 2;
            match answers.begin(&hash(number), now_ms) {
                Begun::Ask => {
                    asked += 1;
                    answers.answered(&hash(number), None, 20, now_ms);
                }
                Begun::TooFast => refused += 1,
                other => panic!("{other:?}"),
            }
            assert!(known(&answers, u64::MAX, now_ms), "honest tokens go on");
            assert!(answers.known.len() <= 13 * RATE as usize, "what has ended is forgotten");
        }
        assert!((5_000..=5_100).contains(&asked), "{asked}");
        assert_eq!(asked + refused, 100_000);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_inactive_tokens_are_forgotten_first() {
        let mut answers = Answers::new(u32::MAX);
        let count = ANSWERS_MAX as u64;
        for number in 0..count {
            answers.answered(&hash(number), if number % 2 == 0 { claims() } else { None }, 100, 0);
        }
        for number in count..count + count / 2 {
            answers.answered(&hash(number), claims(), 100, 1);
        }
        assert_eq!((answers.known.len(), answers.bytes), (ANSWERS_MAX, 100 * ANSWERS_MAX));
        assert!(known(&answers, 0, 1) && known(&answers, count, 1) && !answers.known.contains_key(&hash(1)));
        // Long answers push out many short ones.
        for number in 0..300 {
            answers.answered(&hash(1_000_000 + number), claims(), 64 * 1024, 2);
            assert!(answers.bytes <= ANSWERS_BYTES_MAX, "{}", answers.bytes);
        }
        assert_eq!(answers.bytes, answers.known.values().map(|known| known.bytes).sum::<usize>());
        assert!(known(&answers, 1_000_299, 2));
        answers.answered(&hash(5), None, 10, 2 + ACTIVE_MS);
        assert_eq!((answers.known.len(), answers.bytes), (1, 10), "all others have ended");
        assert_eq!((answers.active.len(), answers.inactive.len()), (0, 1));
    }

    #[test]
    fn an_answer_that_replaces_another_is_counted_once() {
        let mut answers = Answers::new(RATE);
        answers.answered(&hash(1), claims(), 100, 0);
        answers.answered(&hash(1), None, 50, 10);
        assert_eq!((answers.known.len(), answers.bytes), (1, 50));
        assert_eq!(answers.known(&hash(1), 10), Some(None));
        answers.answered(&hash(2), None, 10, ACTIVE_MS);
        assert_eq!((answers.known.len(), answers.bytes), (1, 10));
    }

    #[test]
    fn the_rate_is_kept_over_any_time() {
        for rate in [1, 3, 7, 200, 1_000] {
            let mut pace = Answers::new(rate).pace;
            let admitted = (0..100_000_u64).filter(|ms| pace.admits(*ms)).count() as u64;
            let expected = 100 * u64::from(rate) + u64::from(rate);
            assert!(admitted.abs_diff(expected) <= expected / 50 + 1, "{admitted} instead of {expected}");
        }
    }
}
