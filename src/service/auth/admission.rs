//! One core's decisions about clients that arrive: who they are, and whether they may do what they ask for.
//!
//! Shared by the gate and by tasks that wait for a decision, so nothing of it belongs to a session. Never parses a
//! token. Invariant: a client is admitted only with an identity whose grants cover its topic.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::grants::{GrantSet, GrantSets, Verb};
use super::identity::{Identity, Now, Purpose, identify};
use super::rules::AccessRules;
use super::state::AccessState;
use crate::engine::Subscribe;
use crate::protocol::CloseCode;
use crate::protocol::http::Response;

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
}

impl Refused {
    pub(in crate::service) fn text(self) -> &'static str {
        match self {
            Self::Unauthorized => "A valid token is needed.",
            Self::Forbidden => "The token does not allow this.",
        }
    }

    /// Returns the answer to a handshake.
    pub(in crate::service) fn response(self) -> Response {
        let text = format!("{}\n", self.text());
        match self {
            Self::Unauthorized => Response::text(401, text).with_header("WWW-Authenticate", "Bearer"),
            Self::Forbidden => Response::text(403, text),
        }
    }

    pub(super) fn code(self) -> CloseCode {
        match self {
            Self::Unauthorized => CloseCode::UNAUTHORIZED,
            Self::Forbidden => CloseCode::FORBIDDEN,
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
    /// The time from which on it may be renewed.
    pub(super) renewable_at_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Admission {
    state: Arc<AccessState>,
    sets: RefCell<GrantSets>,
    /// The share of the grace that the last session got.
    share: Cell<u32>,
}

impl Admission {
    pub(super) fn new(state: Arc<AccessState>) -> Self {
        Self { state, sets: RefCell::default(), share: Cell::new(0) }
    }

    /// Returns the facts that all cores share.
    pub(super) fn state(&self) -> &AccessState {
        &self.state
    }

    /// Returns the identity of a token, an API key or a ticket.
    pub(super) fn identify(&self, rules: &AccessRules, text: &str, purpose: Purpose) -> Result<Identity, Refused> {
        let identified = identify(rules, &self.state, &mut self.sets.borrow_mut(), text, (now(), purpose));
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
        let share_ms = self.share_of(rules.tokens().grace_ms);
        let ends_at_ms = identity.expires_at_s.map(|s| s.saturating_mul(1000).saturating_add(share_ms));
        Ok(Admitted { identity, may_publish, ends_at_ms, renewable_at_ms: 0 })
    }

    /// Returns the part of the grace that the next session gets, so that tokens issued together do not end together.
    fn share_of(&self, grace_ms: u64) -> u64 {
        self.share.set(self.share.get().wrapping_add(SHARE_STEP));
        ((u128::from(grace_ms) * u128::from(self.share.get())) >> 32) as u64
    }
}

/// Returns the time.
pub(super) fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_sessions_of_one_end_get_even_shares_of_the_grace() {
        const SESSIONS: u64 = 10_000;
        const GRACE_MS: u64 = 25_000;
        let admission = Admission::new(Arc::default());
        let mut shares_ms: Vec<u64> = (0..SESSIONS).map(|_| admission.share_of(GRACE_MS)).collect();
        shares_ms.sort_unstable();
        assert!(shares_ms.iter().all(|share_ms| *share_ms < GRACE_MS));
        let gap_ms = shares_ms.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        // 2.5 ms on average; the golden ratio leaves no gap of three times as much.
        assert!(gap_ms <= 7, "{gap_ms}");
        assert!(shares_ms[0] <= 7 && GRACE_MS - shares_ms[shares_ms.len() - 1] <= 7);
        assert!((0..SESSIONS).all(|_| admission.share_of(0) == 0));
    }
}
