//! The issuer that is asked about opaque tokens: its answers, and the tokens that wait for one.
//!
//! Owns the lock of both, and the credentials. Never makes a call and reads no clock. Invariants: no token is kept,
//! only its SHA-256; a token that waits for an answer goes on when the question ends, however it ends; credentials are
//! in no output of its type.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;

use super::answers::{ActiveClaims, Answers, Begun, TokenHash};
use super::fetch_error::FetchError;
use super::introspection::{Introspection, authorization};
use super::key_source::{MayWait, Moment, Resume, WAITING_MAX};
use super::outage::Outages;
use crate::outbound::Url;

/// The outcome of a question about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inquiry {
    /// It is active, and these are its claims.
    Active(ActiveClaims),
    /// It is not active.
    Inactive,
    /// It waits for a question that must begin now.
    Ask(TokenHash),
    /// It waits for a question that is under way.
    Wait,
    /// It is not known, for this reason.
    Unknown(Box<str>),
}

/// The issuer that is asked about opaque tokens.
pub struct Introspector {
    name: Box<str>,
    url: Url,
    authorization: String,
    questions_per_second_max: u32,
    state: Mutex<State>,
}

struct State {
    answers: Answers,
    waiting: HashMap<TokenHash, Vec<Resume>>,
    /// The number of all that wait.
    waiting_count: usize,
    outages: Outages,
}

impl Introspector {
    /// Returns the issuer of this name, which is asked at an address with credentials, so many times in a second.
    pub fn new(name: &str, url: Url, (client_id, secret): (&str, &str), questions_per_second_max: u32) -> Self {
        let state = State {
            answers: Answers::new(questions_per_second_max),
            waiting: HashMap::new(),
            waiting_count: 0,
            outages: Outages::default(),
        };
        Self {
            name: name.into(),
            url,
            authorization: authorization(client_id, secret),
            questions_per_second_max,
            state: Mutex::new(state),
        }
    }

    /// Returns whether another issuer is asked in the same way, so that its answers may be used for this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let identity = |one: &Self| (one.name.clone(), one.url.clone(), one.questions_per_second_max);
        identity(self) == identity(other) && self.authorization == other.authorization
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn authorization(&self) -> &str {
        &self.authorization
    }

    /// Says what is known of a token, or begins a question about it.
    pub(super) fn inquire(&self, token: &str, now_ms: u64, may_wait: MayWait<'_>) -> Inquiry {
        let (hash, mut state) = (hash(token), self.lock());
        let Some(may_wait) = may_wait else { return state.after_waiting(&hash, now_ms) };
        match state.answers.known(&hash, now_ms) {
            Some(Some(claims)) => return Inquiry::Active(claims),
            Some(None) => return Inquiry::Inactive,
            None if state.waiting_count >= WAITING_MAX => {
                return Inquiry::Unknown("too many tokens wait for its answers".into());
            }
            None => {}
        }
        let inquiry = match state.answers.begin(&hash, now_ms) {
            Begun::TooMany => return Inquiry::Unknown("too many questions are under way".into()),
            Begun::TooFast => return Inquiry::Unknown("too many questions were asked (introspection-rate)".into()),
            Begun::Ask => Inquiry::Ask(hash),
            Begun::Wait => Inquiry::Wait,
        };
        if let Some(resume) = may_wait() {
            state.waiting_count += 1;
            state.waiting.entry(hash).or_default().push(resume);
        }
        inquiry
    }

    /// Ends a question. The log says once that an outage began, and that it is over.
    pub(super) fn finish(&self, token: &TokenHash, outcome: Result<(Introspection, usize), FetchError>, now: Moment) {
        let mut state = self.lock();
        match outcome {
            Ok((answer, bytes)) => {
                if state.outages.note_success() {
                    tracing::info!("The issuer {} can be asked about tokens again.", self.name);
                }
                let claims = match answer {
                    Introspection::Active(claims) => Some(Arc::new(claims)),
                    Introspection::Inactive => None,
                };
                state.answers.answered(token, claims, bytes, now.ms);
            }
            Err(fault) => {
                state.answers.failed(token);
                if state.outages.note_failure(fault.to_string(), now.ms) {
                    tracing::warn!("The issuer {} cannot be asked about tokens: {fault}.", self.name);
                }
            }
        }
        let waiting = state.waiting.remove(token).unwrap_or_default();
        state.waiting_count -= waiting.len();
        drop(state);
        waiting.into_iter().for_each(|resume| resume());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that runs under the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says what is known of a token that has waited already.
    fn after_waiting(&self, hash: &TokenHash, now_ms: u64) -> Inquiry {
        match self.answers.known(hash, now_ms) {
            Some(Some(claims)) => Inquiry::Active(claims),
            Some(None) => Inquiry::Inactive,
            None => Inquiry::Unknown(self.outages.reason().unwrap_or("its answer takes too long").into()),
        }
    }
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Returns the SHA-256 of a token.
fn hash(token: &str) -> TokenHash {
    let mut hash = TokenHash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::Value;

    use super::*;
    use crate::service::auth::answers::{ACTIVE_MS, INACTIVE_MS};
    use crate::service::auth::key_source::counted;

    fn introspector() -> Introspector {
        Introspector::new("a", "https://a.example/introspect".parse().unwrap(), ("ringsock", "s3cret"), 100)
    }

    fn at(ms: u64) -> Moment {
        Moment { ms, s: 1_700_000_000 + ms / 1000 }
    }

    fn active(claims: &[(&str, Value)]) -> Introspection {
        let claims = claims.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Introspection::Active(claims.collect())
    }

    fn inquire(introspector: &Introspector, token: &str, now_ms: u64, resumed: &Arc<AtomicUsize>) -> Inquiry {
        introspector.inquire(token, now_ms, Some(&mut || counted(resumed)))
    }

    #[test]
    fn questions_about_one_token_are_one_and_all_that_wait_get_its_answer() {
        let (introspector, resumed) = (introspector(), Arc::default());
        let Inquiry::Ask(hash) = inquire(&introspector, "t", 0, &resumed) else { panic!() };
        for _ in 0..5 {
            assert_eq!(inquire(&introspector, "t", 1, &resumed), Inquiry::Wait);
        }
        assert!(matches!(inquire(&introspector, "u", 1, &resumed), Inquiry::Ask(_)), "another token");
        introspector.finish(&hash, Ok((active(&[("exp", 1.into())]), 10)), at(2));
        assert_eq!(resumed.load(Ordering::Relaxed), 6);
        for now_ms in [3, 1 + ACTIVE_MS] {
            let Inquiry::Active(claims) = inquire(&introspector, "t", now_ms, &resumed) else { panic!() };
            assert_eq!(claims["exp"], 1);
        }
        assert!(matches!(introspector.inquire("u", 5, None), Inquiry::Unknown(_)), "it takes too long");
        assert!(matches!(inquire(&introspector, "t", 2 + ACTIVE_MS, &resumed), Inquiry::Ask(_)));
    }

    #[test]
    fn an_answer_is_remembered_whether_the_token_is_active_or_not() {
        let (introspector, resumed) = (introspector(), Arc::default());
        let Inquiry::Ask(hash) = inquire(&introspector, "t", 0, &resumed) else { panic!() };
        introspector.finish(&hash, Ok((active(&[]), 10)), at(5_000));
        assert!(matches!(introspector.inquire("t", 5_000, None), Inquiry::Active(_)));
        let Inquiry::Ask(hash) = inquire(&introspector, "u", 0, &resumed) else { panic!() };
        introspector.finish(&hash, Ok((Introspection::Inactive, 10)), at(0));
        assert_eq!(inquire(&introspector, "u", INACTIVE_MS - 1, &resumed), Inquiry::Inactive);
        assert!(matches!(inquire(&introspector, "u", INACTIVE_MS, &resumed), Inquiry::Ask(_)));
    }

    #[test]
    fn a_token_is_unknown_while_the_issuer_cannot_be_asked_and_asked_about_again() {
        let (introspector, resumed) = (introspector(), Arc::default());
        let Inquiry::Ask(hash) = inquire(&introspector, "t", 0, &resumed) else { panic!() };
        introspector.finish(&hash, Err(FetchError::Status(503)), at(1));
        let reason = FetchError::Status(503).to_string();
        assert_eq!(introspector.inquire("t", 2, None), Inquiry::Unknown(reason.into()));
        assert_eq!(inquire(&introspector, "t", 3, &resumed), Inquiry::Ask(hash));
        introspector.finish(&hash, Ok((active(&[]), 10)), at(4));
        assert!(matches!(introspector.inquire("t", 5, None), Inquiry::Active(_)));
        assert_eq!((resumed.load(Ordering::Relaxed), introspector.lock().waiting_count), (2, 0));
    }

    #[test]
    fn credentials_are_never_shown() {
        let shown = format!("{:?}", introspector());
        assert!(!shown.contains("s3cret") && !shown.contains("Basic"), "{shown}");
    }
}
