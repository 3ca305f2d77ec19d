//! One core's gate: who is let in, what each session may do, and when it ends.
//!
//! Owns the identities of the core's sessions, beside the engine's own state, so that a server without tokens has none.
//! Never parses a token. Invariants: a session that waits for its token is subscribed to nothing and publishes nothing;
//! a session ends within the grace after its token.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::grants::{GrantSet, GrantSets, Verb};
use super::identity::{Identity, Now, Purpose, identify};
use super::places::{self, Carried};
use super::revocations::Revocation;
use super::rules::AccessRules;
use super::settings::{Refuse, TokenPlace};
use super::state::AccessState;
use super::token;
use crate::engine::{Handler, Session, SessionId, Subscribe, UpgradeRequest};
use crate::protocol::http::{Request, Response};
use crate::protocol::{CloseCode, Message};

/// The longest time until a session's end is looked at again: the clock of a host may be set meanwhile.
const LOOK_MS_MAX: u64 = 10 * 60 * 1000;

/// The step between the shares of the grace that sessions get one after another: the golden ratio of 2^32, which
/// spreads any number of them evenly.
const SHARE_STEP: u32 = 0x9e37_79b9;

/// The shortest time between two renewals of a session: a client that has its own tokens verified all the time would
/// take the core's time from others.
const RENEWAL_MS_MIN: u64 = 1_000;

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

    fn code(self) -> CloseCode {
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

/// The outcome of a request for a WebSocket.
#[derive(Debug)]
pub(in crate::service) enum Entrance {
    /// The session opens with its rights.
    Open,
    /// The session opens without a subscription: it waits for its token, or is closed at once.
    Bare,
    /// The handshake is refused.
    Refused(Refused),
}

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Passage {
    /// It is for the service.
    Passes,
    /// It was for the gate, or the session is not allowed to send it and was closed.
    Handled,
}

/// A session of a server with rules of access.
#[derive(Debug)]
struct Member {
    target: Option<Target>,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// The token has to come in the first message, until this time.
    Waiting {
        until_ms: u64,
    },
    Admitted(Admitted),
}

/// The identity and the rights of a session.
#[derive(Debug)]
struct Admitted {
    identity: Identity,
    may_publish: bool,
    ends_at_ms: Option<u64>,
    /// The time from which on it may be renewed.
    renewable_at_ms: u64,
}

/// The session whose handshake was just accepted.
#[derive(Debug)]
enum Arrival {
    Member(Member),
    Refused(Refused),
}

/// The gate of one core.
#[derive(Debug)]
pub(in crate::service) struct Gate {
    state: Arc<AccessState>,
    sets: GrantSets,
    members: HashMap<SessionId, Member>,
    /// The engine opens a session right after its handshake, if at all.
    arriving: Option<Arrival>,
    /// The share of the grace that the last session got.
    share: u32,
}

impl Gate {
    pub(in crate::service) fn new(state: Arc<AccessState>) -> Self {
        Self { state, sets: GrantSets::default(), members: HashMap::new(), arriving: None, share: 0 }
    }

    /// Returns the facts that all cores share.
    pub(super) fn state(&self) -> &AccessState {
        &self.state
    }

    /// Decides about a request for a WebSocket. Without rules everybody is let in.
    pub(in crate::service) fn arrive(
        &mut self,
        rules: Option<&AccessRules>,
        request: &UpgradeRequest<'_>,
        target: Option<&Target>,
    ) -> Entrance {
        self.arriving = None;
        let Some(rules) = rules else { return Entrance::Open };
        match self.decide(rules, request, target) {
            Ok(standing) => {
                let is_waiting = matches!(standing, Standing::Waiting { .. });
                self.arriving = Some(Arrival::Member(Member { target: target.cloned(), standing }));
                if is_waiting { Entrance::Bare } else { Entrance::Open }
            }
            Err(refused) if rules.tokens().refuse == Refuse::Close => {
                self.arriving = Some(Arrival::Refused(refused));
                Entrance::Bare
            }
            Err(refused) => Entrance::Refused(refused),
        }
    }

    fn decide(
        &mut self,
        rules: &AccessRules,
        request: &UpgradeRequest<'_>,
        target: Option<&Target>,
    ) -> Result<Standing, Refused> {
        let (tokens, now) = (rules.tokens(), now());
        let identity = match places::carried(tokens, request, request.protocols()) {
            Carried::Token(token) => self.identify(rules, &token, (now, Purpose::Session))?,
            Carried::Unreadable => return Err(Refused::Unauthorized),
            Carried::Nothing if tokens.from.contains(TokenPlace::FirstMessage) => {
                return Ok(Standing::Waiting { until_ms: now.ms + tokens.first_message_timeout_ms });
            }
            Carried::Nothing => {
                let grants = rules.anonymous_grants().ok_or(Refused::Unauthorized)?;
                Identity::nameless(self.sets.share(GrantSet::new(grants)))
            }
        };
        self.admit(rules, identity, target).ok_or(Refused::Forbidden)
    }

    fn identify(&mut self, rules: &AccessRules, text: &str, at: (Now, Purpose)) -> Result<Identity, Refused> {
        identify(rules, &self.state, &mut self.sets, text, at).map_err(|_| Refused::Unauthorized)
    }

    /// Returns the standing of a session with this identity, or `None` if it may not subscribe to its topic.
    fn admit(&mut self, rules: &AccessRules, identity: Identity, target: Option<&Target>) -> Option<Standing> {
        let allows = |verb| target.is_none_or(|target| identity.grants.allows(verb, &target.topic));
        if !allows(Verb::Subscribe) {
            return None;
        }
        let may_publish = allows(Verb::Publish);
        let share_ms = self.share_of(rules.tokens().grace_ms);
        let ends_at_ms = identity.expires_at_s.map(|s| s.saturating_mul(1000).saturating_add(share_ms));
        Some(Standing::Admitted(Admitted { identity, may_publish, ends_at_ms, renewable_at_ms: 0 }))
    }

    /// Returns the part of the grace that the next session gets, so that tokens issued together do not end together.
    fn share_of(&mut self, grace_ms: u64) -> u64 {
        self.share = self.share.wrapping_add(SHARE_STEP);
        ((u128::from(grace_ms) * u128::from(self.share)) >> 32) as u64
    }

    /// Begins the session whose handshake was accepted.
    pub(in crate::service) fn open<H: Handler>(&mut self, session: &mut Session<'_, H>) {
        match self.arriving.take() {
            None => {}
            Some(Arrival::Refused(refused)) => session.close(refused.code(), refused.text()),
            Some(Arrival::Member(member)) => {
                name_subject(session, &member.standing);
                look_again(session, &member.standing, now());
                self.members.insert(session.id(), member);
            }
        }
    }

    /// Ends a session.
    pub(in crate::service) fn close(&mut self, id: SessionId) {
        if !self.members.is_empty() {
            self.members.remove(&id);
        }
    }

    /// Returns whether it has no sessions, as on a server without rules of access: then all messages pass.
    #[inline]
    pub(in crate::service) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes a message of a session: a token, or one for the service if the session may send it.
    pub(in crate::service) fn message<H: Handler>(
        &mut self,
        rules: Option<&AccessRules>,
        session: &mut Session<'_, H>,
        message: &Message<'_>,
    ) -> Passage {
        let Some(member) = self.members.get(&session.id()) else { return Passage::Passes };
        let token = match message {
            Message::Text(text) => places::in_message(text),
            Message::Binary(_) => None,
        };
        let outcome = match (&member.standing, token, rules) {
            (Standing::Waiting { .. }, Some(token), Some(rules)) => self.enter(rules, session, token),
            (Standing::Waiting { .. }, ..) => Err(Refused::Unauthorized),
            // A text that is a token in full is one that nobody means to publish.
            (Standing::Admitted(_), Some(token), rules) if token::is_compact(token) => match rules {
                Some(rules) => self.renew(rules, session, token),
                None => Ok(()),
            },
            (Standing::Admitted(Admitted { may_publish: true, .. }), ..) => return Passage::Passes,
            (Standing::Admitted(_), ..) => Err(Refused::Forbidden),
        };
        if let Err(refused) = outcome {
            session.close(refused.code(), refused.text());
        }
        Passage::Handled
    }

    /// Lets a session in that has sent its token.
    fn enter<H: Handler>(
        &mut self,
        rules: &AccessRules,
        session: &mut Session<'_, H>,
        token: &str,
    ) -> Result<(), Refused> {
        let now = now();
        let identity = self.identify(rules, token, (now, Purpose::Session))?;
        let target = self.members.get(&session.id()).and_then(|member| member.target.clone());
        let standing = self.admit(rules, identity, target.as_ref()).ok_or(Refused::Forbidden)?;
        name_subject(session, &standing);
        if let Some(target) = &target
            && let Err(error) = session.subscribe_with(&target.topic, target.subscribe)
        {
            session.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
            return Ok(());
        }
        look_again(session, &standing, now);
        self.members.insert(session.id(), Member { target, standing });
        Ok(())
    }

    /// Gives a session the rights of a new token of the same subject.
    fn renew<H: Handler>(
        &mut self,
        rules: &AccessRules,
        session: &mut Session<'_, H>,
        token: &str,
    ) -> Result<(), Refused> {
        let now = now();
        let Some(Member { target, standing: Standing::Admitted(old) }) = self.members.remove(&session.id()) else {
            return Err(Refused::Unauthorized);
        };
        if now.ms < old.renewable_at_ms {
            return Err(Refused::Forbidden);
        }
        let new = self.identify(rules, token, (now, Purpose::Session))?;
        if !old.identity.is_same_subject(&new) {
            return Err(Refused::Forbidden);
        }
        // A session of /topics/ is its subscription: without the right to that one it ends.
        let mut standing = self.admit(rules, new, target.as_ref()).ok_or(Refused::Forbidden)?;
        if let Standing::Admitted(admitted) = &mut standing {
            admitted.renewable_at_ms = now.ms + RENEWAL_MS_MIN;
        }
        look_again(session, &standing, now);
        self.members.insert(session.id(), Member { target, standing });
        Ok(())
    }

    /// Answers a session's timer: closes it if its time is over.
    pub(in crate::service) fn wake<H: Handler>(&mut self, session: &mut Session<'_, H>) {
        let (now, Some(member)) = (now(), self.members.get(&session.id())) else { return };
        match member.standing {
            Standing::Waiting { until_ms } if until_ms <= now.ms => {
                session.close(CloseCode::TIMEOUT, "No token came in time.");
            }
            Standing::Admitted(Admitted { ends_at_ms: Some(end_ms), .. }) if end_ms <= now.ms => {
                self.state.counts().expired.fetch_add(1, Ordering::Relaxed);
                session.close(CloseCode::UNAUTHORIZED, "The token has expired.");
            }
            _ => look_again(session, &member.standing, now),
        }
    }

    /// Returns the sessions of this core that a revocation concerns.
    pub(in crate::service) fn concerned(&self, revocation: &Revocation) -> Vec<SessionId> {
        let is_concerned = |(id, member): &(&SessionId, &Member)| match (revocation, &member.standing) {
            (Revocation::Session(revoked), _) => revoked == *id,
            (_, Standing::Admitted(admitted)) => revocation.concerns(admitted.identity.facts()),
            (_, Standing::Waiting { .. }) => false,
        };
        self.members.iter().filter(is_concerned).map(|(id, _)| *id).collect()
    }

    /// Closes a session that a revocation concerns.
    pub(in crate::service) fn revoke<H: Handler>(&self, session: &mut Session<'_, H>) {
        self.state.counts().revoked.fetch_add(1, Ordering::Relaxed);
        session.close(CloseCode::UNAUTHORIZED, "The token was revoked.");
    }

    /// Returns the check whether an HTTP request may publish to a topic; `None` without rules.
    pub(in crate::service) fn publishing<'g>(
        &'g mut self,
        rules: Option<&'g AccessRules>,
    ) -> Option<impl FnMut(&Request<'_>, &str) -> Option<Result<(), Refused>>> {
        rules.map(|rules| move |request: &Request<'_>, topic: &str| self.may_publish(rules, request, topic))
    }

    /// Decides whether an HTTP request may publish to a topic. Returns `None` if it carries no token.
    fn may_publish(&mut self, rules: &AccessRules, request: &Request<'_>, topic: &str) -> Option<Result<(), Refused>> {
        let token = match places::in_header(request) {
            Carried::Token(token) => token,
            Carried::Unreadable => return Some(Err(Refused::Unauthorized)),
            Carried::Nothing => return None,
        };
        let identity = self.identify(rules, &token, (now(), Purpose::Request));
        Some(identity.and_then(|identity| {
            let allows = identity.grants.allows(Verb::Publish, topic);
            if allows { Ok(()) } else { Err(Refused::Forbidden) }
        }))
    }
}

/// Names the identity whose sessions share the rates of their subject.
fn name_subject<H: Handler>(session: &mut Session<'_, H>, standing: &Standing) {
    if let Standing::Admitted(Admitted { identity, .. }) = standing
        && let Some(name) = identity.name()
    {
        session.set_subject(name);
    }
}

/// Sets the session's timer to the time at which its standing has to be looked at.
fn look_again<H: Handler>(session: &mut Session<'_, H>, standing: &Standing, now: Now) {
    let at_ms = match standing {
        Standing::Waiting { until_ms } => Some(*until_ms),
        Standing::Admitted(admitted) => admitted.ends_at_ms,
    };
    match at_ms {
        Some(at_ms) => session.wake_after(at_ms.saturating_sub(now.ms).min(LOOK_MS_MAX)),
        None => session.cancel_wake(),
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
        let mut gate = Gate::new(Arc::default());
        let mut shares_ms: Vec<u64> = (0..SESSIONS).map(|_| gate.share_of(GRACE_MS)).collect();
        shares_ms.sort_unstable();
        assert!(shares_ms.iter().all(|share_ms| *share_ms < GRACE_MS));
        let gap_ms = shares_ms.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        // 2.5 ms on average; the golden ratio leaves no gap of three times as much.
        assert!(gap_ms <= 7, "{gap_ms}");
        assert!(shares_ms[0] <= 7 && GRACE_MS - shares_ms[shares_ms.len() - 1] <= 7);
        assert!((0..SESSIONS).all(|_| gate.share_of(0) == 0));
    }
}
