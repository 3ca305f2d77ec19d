//! One core's decisions about clients that arrive: who they are, and whether they may do what they ask for.
//!
//! Shared by the gate and by tasks that wait for a decision, so nothing of it belongs to a session. Never parses a
//! token. Invariant: a client is admitted only with an identity whose grants cover its topic.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::allowed::Allowed;
use super::error::TokenError;
use super::grants::{GrantSet, GrantSets, Verb};
use super::identity::{Identity, Now, Purpose, identify, identify_certificate};
use super::issuers::Doubt;
use super::key_source::{MayWait, Resume};
use super::rules::AccessRules;
use super::state::AccessState;
use super::token;
use crate::engine::Subscribe;
use crate::protocol::CloseCode;
use crate::protocol::http::Response;
use crate::service::desk::{Desk, Waiting};
use crate::service::wall_clock::unix_ms;
use crate::tls::ClientCertificate;

/// The longest wait of a client for the issuer of its token: a person notices more. An answer that comes later is there
/// for the client's next try.
const ISSUER_WAIT: Duration = Duration::from_secs(1);

/// The step between the shares of the grace that sessions get one after another: the golden ratio of 2^32, which
/// spreads any number of them evenly.
const SHARE_STEP: u32 = 0x9e37_79b9;

/// A refusal. The client learns no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Refused {
    /// There is no token, or it is not accepted.
    Unauthorized,
    /// It is accepted, and does not allow this.
    Forbidden,
    /// It cannot be judged now.
    Unavailable,
}

/// The reason for which a client is not admitted at once.
pub(super) enum Undecided {
    /// It is refused.
    Refused(Refused),
    /// The issuer of its token is asked.
    Waits(Waiting<()>),
}

impl Refused {
    pub(in crate::service) fn text(self) -> &'static str {
        match self {
            Self::Unauthorized => "A valid token is needed.",
            Self::Forbidden => "The token does not allow this.",
            Self::Unavailable => "The token cannot be judged now. Try again later.",
        }
    }

    /// Returns the answer to a handshake.
    pub(in crate::service) fn response(self) -> Response {
        let text = format!("{}\n", self.text());
        match self {
            Self::Unauthorized => Response::text(401, text).with_header("WWW-Authenticate", "Bearer"),
            Self::Forbidden => Response::text(403, text),
            Self::Unavailable => Response::text(503, text).with_header("Retry-After", "1"),
        }
    }

    pub(super) fn code(self) -> CloseCode {
        match self {
            Self::Unauthorized => CloseCode::UNAUTHORIZED,
            Self::Forbidden => CloseCode::FORBIDDEN,
            Self::Unavailable => CloseCode::TRY_AGAIN_LATER,
        }
    }
}

/// The topic that a session is for, or is to be subscribed to.
#[derive(Clone, Debug)]
pub(in crate::service) struct Target {
    pub(in crate::service) topic: String,
    pub(in crate::service) subscribe: Subscribe,
}

/// The identity and the rights of a session.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) identity: Identity,
    pub(super) may_publish: bool,
    pub(super) ends_at_ms: Option<u64>,
    /// The time from which on it may be renewed; the greatest number for never.
    pub(super) renewable_at_ms: u64,
}

impl Admitted {
    /// Returns whether a message with this token is a renewal: a token in full is one that nobody means to publish, and
    /// so is any where the session's own token is opaque.
    pub(super) fn is_renewed_by(&self, token: &str) -> bool {
        token::is_compact(token) || self.identity.is_opaque && token::is_opaque(token)
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::service) struct Admission {
    state: Arc<AccessState>,
    desk: Rc<Desk>,
    sets: RefCell<GrantSets>,
    shares: Shares,
}

/// The shares of the grace that sessions get one after another, so that those of tokens that were issued together do
/// not end together.
#[derive(Debug, Default)]
struct Shares(Cell<u32>);

impl Admission {
    pub(super) fn new(state: Arc<AccessState>, desk: Rc<Desk>) -> Self {
        Self { state, desk, sets: RefCell::default(), shares: Shares::default() }
    }

    /// Returns the facts that all cores share.
    pub(super) fn state(&self) -> &AccessState {
        &self.state
    }

    /// Returns the identity of a token, an API key or a ticket.
    pub(super) fn identify(&self, rules: &AccessRules, text: &str, purpose: Purpose) -> Result<Identity, Undecided> {
        let mut waiting = None;
        let mut may_wait = || -> Option<Resume> {
            // The issuer is asked, and the request comes again: a body that waits would take memory.
            if purpose == Purpose::Request {
                return None;
            }
            let (answering, waits) = self.desk.ask();
            waiting = Some(waits);
            Some(Box::new(move || answering.give(())))
        };
        self.try_identify(rules, text, purpose, Some(&mut may_wait)).map_err(|doubt| match (doubt, waiting) {
            (Doubt::Waits, Some(waiting)) => Undecided::Waits(waiting),
            (Doubt::Waits, None) => Undecided::Refused(Refused::Unavailable),
            (doubt, _) => Undecided::Refused(refusal(&doubt)),
        })
    }

    /// Returns the identity of a token whose issuer is asked, once the issuer has answered or has had its time.
    pub(super) async fn identify_later(
        &self,
        rules: &AccessRules,
        text: &str,
        purpose: Purpose,
        waiting: Waiting<()>,
    ) -> Result<Identity, Refused> {
        // The outcome is with the issuers, whether it came in time or not.
        let _ = monoio::time::timeout(ISSUER_WAIT, waiting).await;
        self.try_identify(rules, text, purpose, None).map_err(|doubt| refusal(&doubt))
    }

    fn try_identify(
        &self,
        rules: &AccessRules,
        text: &str,
        purpose: Purpose,
        may_wait: MayWait<'_>,
    ) -> Result<Identity, Doubt> {
        identify(rules, &self.state, &mut self.sets.borrow_mut(), text, (now(), purpose), may_wait)
    }

    /// Returns the identity of a client that has shown a certificate.
    pub(super) fn identify_certificate(
        &self,
        rules: &AccessRules,
        certificate: &ClientCertificate,
    ) -> Result<Identity, Refused> {
        let identified = identify_certificate(rules, &self.state, &mut self.sets.borrow_mut(), certificate, now());
        identified.map_err(|_| Refused::Unauthorized)
    }

    /// Returns the identity of a client without a token.
    pub(super) fn anonymous(&self, rules: &AccessRules) -> Result<Identity, Refused> {
        let grants = rules.anonymous_grants().ok_or(Refused::Unauthorized)?;
        Ok(Identity::nameless(self.sets.borrow_mut().share(GrantSet::new(grants))))
    }

    /// Admits a session with this identity, if it may subscribe to its topic.
    pub(super) fn admit(
        &self,
        rules: &AccessRules,
        identity: Identity,
        target: Option<&Target>,
    ) -> Result<Admitted, Refused> {
        let allows = |verb| target.is_none_or(|target| identity.grants.allows(verb, &target.topic));
        if !allows(Verb::Subscribe) {
            return Err(Refused::Forbidden);
        }
        let may_publish = allows(Verb::Publish);
        let share_ms = self.shares.next_of(rules.tokens().grace_ms);
        let ends_at_ms = identity.expires_at_s.map(|s| s.saturating_mul(1000).saturating_add(share_ms));
        Ok(Admitted { identity, may_publish, ends_at_ms, renewable_at_ms: 0 })
    }
}

impl Admission {
    /// Admits a client that arrives. Where the backend may give it other rights, its topic is checked after the answer:
    /// see [`Admission::admit_by`].
    pub(super) fn admit_arriving(
        &self,
        rules: &AccessRules,
        identity: Identity,
        target: Option<&Target>,
    ) -> Result<Admitted, Refused> {
        self.admit(rules, identity, target.filter(|_| !rules.awaits_backend()))
    }

    /// Admits a session that the backend has allowed, with the rights that the backend has given.
    pub(super) fn admit_by(
        &self,
        rules: &AccessRules,
        (admitted, allowed): (Admitted, &Allowed),
        target: Option<&Target>,
    ) -> Result<Admitted, Refused> {
        let now = now();
        let identity = allowed.applied_to(admitted.identity, rules, &mut self.sets.borrow_mut(), now);
        // An answer of some time ago may have ended since.
        if identity.expires_at_s.is_some_and(|end_s| end_s <= now.s()) {
            return Err(Refused::Unauthorized);
        }
        let mut admitted = self.admit(rules, identity, target)?;
        if !allowed.is_bare() {
            // A renewed token would bring rights and an end of which the backend knows nothing.
            admitted.renewable_at_ms = u64::MAX;
        }
        Ok(admitted)
    }
}

impl Shares {
    /// Returns the share of the next session.
    fn next_of(&self, grace_ms: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(SHARE_STEP));
        ((u128::from(grace_ms) * u128::from(self.0.get())) >> 32) as u64
    }
}

/// Returns what a client is told of a token that is not accepted now.
fn refusal(doubt: &Doubt) -> Refused {
    match doubt {
        Doubt::Refused(TokenError::NotJudged { .. }) | Doubt::Waits => Refused::Unavailable,
        Doubt::Refused(_) => Refused::Unauthorized,
    }
}

/// Returns the time.
pub(super) fn now() -> Now {
    Now { ms: unix_ms() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_sessions_of_one_end_get_even_shares_of_the_grace() {
        const SESSIONS: u64 = 10_000;
        const GRACE_MS: u64 = 25_000;
        let shares = Shares::default();
        let mut shares_ms: Vec<u64> = (0..SESSIONS).map(|_| shares.next_of(GRACE_MS)).collect();
        shares_ms.sort_unstable();
        assert!(shares_ms.iter().all(|share_ms| *share_ms < GRACE_MS));
        let gap_ms = shares_ms.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        // 2.5 ms on average; the golden ratio leaves no gap of three times as much.
        assert!(gap_ms <= 7, "{gap_ms}");
        assert!(shares_ms[0] <= 7 && GRACE_MS - shares_ms[shares_ms.len() - 1] <= 7);
        assert!((0..SESSIONS).all(|_| shares.next_of(0) == 0));
    }
}
