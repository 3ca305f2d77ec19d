//! The issuers of a server: key sets that are fetched when they are due or when a token needs them, and questions about
//! opaque tokens.
//!
//! Owns which key sets are kept fresh, and the counters. Decides nothing about answers. Invariants: no core makes a
//! call or waits for one; the set of an issuer that a reload removes is no longer kept fresh.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::answers::TokenHash;
use super::calls::{self, CALL_TIMEOUT};
use super::error::TokenError;
use super::fetch_error::FetchError;
use super::introspector::{Inquiry, Introspector};
use super::issuer_keys::IssuerKeys;
use super::key_source::{Consulted, KeySource, MayWait, Moment, Resume};
use super::rules::AccessRules;
use super::token;
use super::verifier::{Claims, Issuer};
use crate::outbound::{Client, Outbound};
use crate::service::wall_clock::unix_s;

/// The life of an active token whose answer says no end, in seconds, from the question on. Its sessions end or are
/// renewed after it.
pub const ENDLESS_LIFE_S: u64 = 60 * 60;

/// How often the clock of the key sets is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The issuers of a server. They outlive reloads; a clone is another handle to them.
#[derive(Clone, Debug)]
pub struct Issuers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    outbound: Outbound,
    client: OnceLock<Client>,
    /// The beginning of the clock that never goes back.
    began: Instant,
    fresh: Mutex<Vec<Arc<KeySource>>>,
    keeps_fresh: AtomicBool,
    counts: IssuerCounts,
}

/// Counters of the calls to issuers.
#[derive(Debug, Default)]
pub struct IssuerCounts {
    fetches: Arc<AtomicU64>,
    fetches_failed: Arc<AtomicU64>,
    questions: Arc<AtomicU64>,
    questions_failed: Arc<AtomicU64>,
    not_judged: Arc<AtomicU64>,
}

impl IssuerCounts {
    /// Returns all counters, each with the name of its metric, without `_total`, and its meaning.
    pub fn all(&self) -> [(&'static str, &'static str, Arc<AtomicU64>); 5] {
        [
            ("ringsock_issuer_fetches", "Key sets of issuers that were asked for.", Arc::clone(&self.fetches)),
            ("ringsock_issuer_fetches_failed", "Of these, those that brought none.", Arc::clone(&self.fetches_failed)),
            ("ringsock_issuer_questions", "Questions to issuers about opaque tokens.", Arc::clone(&self.questions)),
            (
                "ringsock_issuer_questions_failed",
                "Of these, those without an answer.",
                Arc::clone(&self.questions_failed),
            ),
            (
                "ringsock_tokens_not_judged",
                "Tokens, of all refused ones, that could not be judged, since their issuer could not be asked.",
                Arc::clone(&self.not_judged),
            ),
        ]
    }
}

/// The reason for which a token is not accepted now.
#[derive(Debug)]
pub(super) enum Doubt {
    /// It is refused.
    Refused(TokenError),
    /// It waits for its issuer.
    Waits,
}

impl From<TokenError> for Doubt {
    fn from(reason: TokenError) -> Self {
        Self::Refused(reason)
    }
}

impl Issuers {
    /// Returns issuers that are called on this thread.
    pub fn new(outbound: Outbound) -> Self {
        Self(Arc::new(Shared {
            outbound,
            client: OnceLock::new(),
            began: Instant::now(),
            fresh: Mutex::default(),
            keeps_fresh: AtomicBool::new(false),
            counts: IssuerCounts::default(),
        }))
    }

    /// Returns the counters.
    pub fn counts(&self) -> &IssuerCounts {
        &self.0.counts
    }

    /// Returns the names of the issuers whose key sets are kept fresh, each with the time of its last set in seconds
    /// since 1970; 0 for none yet.
    pub fn fetched_at_s(&self) -> Vec<(String, u64)> {
        self.0.fresh().iter().map(|source| (source.name().to_owned(), source.fetched_at_s())).collect()
    }

    /// Keeps the key sets of these rules fresh from now on, and no others.
    pub fn follow(&self, rules: Option<&AccessRules>) {
        let issuers = rules.map_or(&[][..], |rules| rules.verifier().issuers());
        let sources: Vec<Arc<KeySource>> = issuers.iter().filter_map(|issuer| issuer.keys.source().cloned()).collect();
        let has_any = !sources.is_empty();
        *self.0.fresh() = sources;
        if has_any && !self.0.keeps_fresh.swap(true, Ordering::Relaxed) {
            let keep_fresh = keep_fresh(Arc::downgrade(&self.0));
            if let Err(error) = self.0.outbound.run(keep_fresh) {
                self.0.keeps_fresh.store(false, Ordering::Relaxed);
                tracing::error!("The keys of issuers cannot be fetched, since a thread could not be created: {error}.");
            }
        }
    }

    /// Returns the claims of a token, for which its issuer is asked where that is needed: for a key that is not in
    /// force, and about an opaque token.
    pub(super) fn judge(
        &self,
        rules: &AccessRules,
        text: &str,
        now_s: u64,
        may_wait: MayWait<'_>,
    ) -> Result<Claims, Doubt> {
        let verifier = rules.verifier();
        let introspector = verifier.issuers().iter().find_map(Issuer::introspector);
        if let Some(introspector) = introspector.filter(|_| token::is_opaque(text)) {
            return self.inquire(rules, introspector, (text, now_s), may_wait);
        }
        let refusal = match verifier.verify(text, now_s) {
            Ok(claims) => return Ok(claims),
            Err(refusal) => refusal,
        };
        let TokenError::Key { issuer, id } = &refusal else { return Err(refusal.into()) };
        let issuer = verifier.issuers().iter().find(|known| known.name == *issuer);
        match issuer.map(|issuer| (&issuer.keys, issuer.introspector())) {
            Some((IssuerKeys::Fetched(source), _)) => {
                Err(self.look_for_key(source, id.as_deref().unwrap_or_default(), may_wait).unwrap_or(refusal.into()))
            }
            Some((IssuerKeys::None, Some(introspector))) => self.inquire(rules, introspector, (text, now_s), may_wait),
            _ => Err(refusal.into()),
        }
    }

    /// Judges a token, and waits for its issuer. For the program alone: a core never waits.
    pub fn judge_waiting(&self, rules: &AccessRules, text: &str, now_s: u64) -> Result<Claims, TokenError> {
        let (resume, resumed) = mpsc::channel();
        let mut may_wait = || -> Option<Resume> {
            let resume = resume.clone();
            // The receiver may have given up.
            Some(Box::new(move || resume.send(()).unwrap_or_default()))
        };
        let mut judged = self.judge(rules, text, now_s, Some(&mut may_wait));
        if let Err(Doubt::Waits) = judged {
            // A key set takes two calls where its address has to be found.
            let _ = resumed.recv_timeout(2 * CALL_TIMEOUT);
            judged = self.judge(rules, text, now_s, None);
        }
        judged.map_err(|doubt| match doubt {
            Doubt::Refused(reason) => reason,
            Doubt::Waits => TokenError::Unknown,
        })
    }

    /// Looks for a key that is not in force. Returns `None` if there is no such key.
    fn look_for_key(&self, source: &Arc<KeySource>, key_id: &str, may_wait: MayWait<'_>) -> Option<Doubt> {
        match source.consult(key_id, self.now().ms, may_wait) {
            Consulted::NoKey => None,
            Consulted::Unknown(reason) => Some(self.not_judged(source.name(), reason)),
            Consulted::Wait => Some(Doubt::Waits),
            Consulted::Fetch => {
                self.begin_fetch(Arc::clone(source));
                Some(Doubt::Waits)
            }
        }
    }

    fn inquire(
        &self,
        rules: &AccessRules,
        introspector: &Arc<Introspector>,
        (text, now_s): (&str, u64),
        may_wait: MayWait<'_>,
    ) -> Result<Claims, Doubt> {
        let name = introspector.name();
        match introspector.inquire(text, self.now().ms, may_wait) {
            Inquiry::Active(claims) => {
                let claims = with_end((*claims).clone(), rules.verifier().rules().life_s_max, now_s);
                Ok(rules.verifier().check_claims(name, claims, now_s)?)
            }
            Inquiry::Inactive => Err(TokenError::Inactive { issuer: name.into() }.into()),
            Inquiry::Unknown(reason) => Err(self.not_judged(name, reason)),
            Inquiry::Wait => Err(Doubt::Waits),
            Inquiry::Ask(hash) => {
                self.begin_question(Arc::clone(introspector), hash, text.to_owned());
                Err(Doubt::Waits)
            }
        }
    }

    fn not_judged(&self, issuer: &str, reason: Box<str>) -> Doubt {
        self.0.counts.not_judged.fetch_add(1, Ordering::Relaxed);
        TokenError::NotJudged { issuer: issuer.into(), reason }.into()
    }

    /// Begins to fetch a key set, which has been told so.
    fn begin_fetch(&self, source: Arc<KeySource>) {
        let (began_at_ms, this, fetched) = (self.now().ms, self.clone(), Arc::clone(&source));
        self.0.counts.fetches.fetch_add(1, Ordering::Relaxed);
        self.run(
            move |client| async move { calls::fetch_keys(&client, &fetched).await },
            move |outcome| {
                if outcome.is_err() {
                    this.0.counts.fetches_failed.fetch_add(1, Ordering::Relaxed);
                }
                source.finish(outcome, began_at_ms, this.now());
            },
        );
    }

    /// Begins to ask about a token, which the introspector has been told.
    fn begin_question(&self, introspector: Arc<Introspector>, hash: TokenHash, text: String) {
        let (this, asked) = (self.clone(), Arc::clone(&introspector));
        self.0.counts.questions.fetch_add(1, Ordering::Relaxed);
        self.run(
            move |client| async move { calls::introspect(&client, &asked, &text).await },
            move |outcome| {
                if outcome.is_err() {
                    this.0.counts.questions_failed.fetch_add(1, Ordering::Relaxed);
                }
                introspector.finish(&hash, outcome, this.now());
            },
        );
    }

    /// Makes a call on the thread for calls, and passes its outcome on, whatever happens to the call.
    fn run<T, F>(
        &self,
        call: impl FnOnce(Client) -> F + Send + 'static,
        then: impl FnOnce(Result<T, FetchError>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T, FetchError>> + Send + 'static,
    {
        let (this, pending) = (self.clone(), Pending(Some(Box::new(then))));
        let task = async move {
            let outcome = match this.client() {
                Ok(client) => call(client).await,
                Err(fault) => Err(fault),
            };
            pending.end(outcome);
        };
        if let Err(error) = self.0.outbound.run(task) {
            tracing::error!("The thread for calls to issuers could not be created: {error}.");
        }
    }

    /// Returns the maker of calls. Reads the host's authorities at the first time.
    fn client(&self) -> Result<Client, FetchError> {
        if let Some(client) = self.0.client.get() {
            return Ok(client.clone());
        }
        let client = Client::new().map_err(|error| FetchError::Host { reason: error.to_string() })?;
        Ok(self.0.client.get_or_init(|| client).clone())
    }

    /// Returns the time.
    fn now(&self) -> Moment {
        let ms = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { ms, s: unix_s() }
    }
}

impl Default for Issuers {
    fn default() -> Self {
        Self::new(Outbound::default())
    }
}

impl Shared {
    fn fresh(&self) -> MutexGuard<'_, Vec<Arc<KeySource>>> {
        lock(&self.fresh)
    }
}

/// A call that has no outcome yet. It gets one even if it is dropped, as by a panic.
struct Pending<T>(Option<Then<T>>);

type Then<T> = Box<dyn FnOnce(Result<T, FetchError>) + Send>;

impl<T> Pending<T> {
    fn end(mut self, outcome: Result<T, FetchError>) {
        if let Some(then) = self.0.take() {
            then(outcome);
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then(Err(FetchError::Ended));
        }
    }
}

/// Fetches key sets whenever they are due, for as long as the issuers are somebody's.
async fn keep_fresh(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let issuers = Issuers(shared);
        let (now_ms, sources) = (issuers.now().ms, issuers.0.fresh().clone());
        sources.into_iter().filter(|source| source.look(now_ms)).for_each(|source| issuers.begin_fetch(source));
        drop(issuers);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Locks a value. No code that runs under these locks can leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the claims of an answer, with an end where it has none, so that the issuer is asked again. The token lives
/// no longer for it than any other may.
fn with_end(mut claims: Map<String, Value>, life_s_max: u64, now_s: u64) -> Map<String, Value> {
    let issued_at_s = claims.get("iat").and_then(Value::as_u64).unwrap_or(now_s);
    let end_s = now_s.saturating_add(ENDLESS_LIFE_S).min(issued_at_s.saturating_add(life_s_max));
    claims.entry("exp").or_insert_with(|| Value::from(end_s));
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_end_gets_one_within_the_longest_life() {
        let end = |iat: Option<u64>, life_s_max| {
            let claims = iat.map(|iat| ("iat".to_owned(), Value::from(iat))).into_iter().collect();
            with_end(claims, life_s_max, 1_000_000)["exp"].as_u64().unwrap()
        };
        assert_eq!(end(None, 86_400), 1_000_000 + ENDLESS_LIFE_S);
        assert_eq!(end(None, 60), 1_000_060);
        assert_eq!(end(Some(999_000), 86_400), 1_000_000 + ENDLESS_LIFE_S);
        assert_eq!(end(Some(999_000), 2_000), 1_001_000);
        assert_eq!(end(Some(900_000), 86_400), 986_400, "the token is too old");
        assert_eq!(with_end([("exp".to_owned(), Value::from(7))].into_iter().collect(), 60, 0)["exp"], 7);
    }
}
