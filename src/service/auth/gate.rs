//! One core's gate: who is let in, what each session may do, and when it ends.
//!
//! Owns the identities of the core's sessions, beside the engine's own state, so that a server without tokens has none.
//! Never parses a token. Invariants: a session that waits for its token is subscribed to nothing and publishes nothing;
//! a session ends within the grace after its token.

use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::{Admission, Admitted, Refused, Target, now};
use super::grants::Verb;
use super::identity::{Now, Purpose};
use super::places::{self, Carried};
use super::revocations::Revocation;
use super::rules::AccessRules;
use super::settings::{Refuse, TokenPlace};
use super::state::AccessState;
use super::token;
use crate::engine::{Handler, Session, SessionId, UpgradeRequest};
use crate::protocol::http::Request;
use crate::protocol::{CloseCode, Message};

/// The longest time until a session's end is looked at again: the clock of a host may be set meanwhile.
const LOOK_MS_MAX: u64 = 10 * 60 * 1000;

/// The shortest time between two renewals of a session: a client that has its own tokens verified all the time would
/// take the core's time from others.
const RENEWAL_MS_MIN: u64 = 1_000;

/// The outcome of a request for a WebSocket.
pub(in crate::service) enum Entrance {
    /// The session opens with its rights.
    Open(Arrival),
    /// The session opens without a subscription: it waits for its token, or is closed at once.
    Bare(Arrival),
    /// The handshake is refused.
    Refused(Refused),
    /// The outcome comes later.
    #[expect(dead_code, reason = "key sets and hooks will be asked")]
    Later(Pin<Box<dyn Future<Output = Entrance>>>),
}

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Passage {
    /// It is for the service.
    Passes,
    /// It was for the gate, or the session is not allowed to send it and was closed.
    Handled,
}

/// The decision about a session, on its way from the handshake to the open session.
#[derive(Debug, Default)]
pub struct Arrival(Option<Box<Decision>>);

#[derive(Debug)]
enum Decision {
    Member(Member),
    /// The session is closed at once.
    Refused(Refused),
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

/// The gate of one core.
#[derive(Debug)]
pub(in crate::service) struct Gate {
    admission: Rc<Admission>,
    members: HashMap<SessionId, Member>,
}

impl Gate {
    pub(in crate::service) fn new(state: Arc<AccessState>) -> Self {
        Self { admission: Rc::new(Admission::new(state)), members: HashMap::new() }
    }

    /// Returns the facts that all cores share.
    pub(super) fn state(&self) -> &AccessState {
        self.admission.state()
    }

    /// Decides about a request for a WebSocket. Without rules everybody is let in.
    pub(in crate::service) fn arrive(
        &self,
        rules: Option<&AccessRules>,
        request: &UpgradeRequest<'_>,
        target: Option<&Target>,
    ) -> Entrance {
        let Some(rules) = rules else { return Entrance::Open(Arrival::default()) };
        match self.decide(rules, request, target) {
            Ok(standing) => {
                let is_waiting = matches!(standing, Standing::Waiting { .. });
                let arrival = Decision::Member(Member { target: target.cloned(), standing }).into();
                if is_waiting { Entrance::Bare(arrival) } else { Entrance::Open(arrival) }
            }
            Err(refused) if rules.tokens().refuse == Refuse::Close => Entrance::Bare(Decision::Refused(refused).into()),
            Err(refused) => Entrance::Refused(refused),
        }
    }

    fn decide(
        &self,
        rules: &AccessRules,
        request: &UpgradeRequest<'_>,
        target: Option<&Target>,
    ) -> Result<Standing, Refused> {
        let tokens = rules.tokens();
        let identity = match places::carried(tokens, request, request.protocols()) {
            Carried::Token(token) => self.admission.identify(rules, &token, Purpose::Session)?,
            Carried::Unreadable => return Err(Refused::Unauthorized),
            Carried::Nothing if tokens.from.contains(TokenPlace::FirstMessage) => {
                return Ok(Standing::Waiting { until_ms: now().ms + tokens.first_message_timeout_ms });
            }
            Carried::Nothing => self.admission.anonymous(rules)?,
        };
        self.admission.admit(rules, identity, target).map(Standing::Admitted)
    }

    /// Begins a session with the decision that was made at its handshake.
    pub(in crate::service) fn open<H: Handler>(&mut self, session: &mut Session<'_, H>, arrival: Arrival) {
        match arrival.0.map(|decision| *decision) {
            None => {}
            Some(Decision::Refused(refused)) => session.close(refused.code(), refused.text()),
            Some(Decision::Member(member)) => {
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
        let identity = self.admission.identify(rules, token, Purpose::Session)?;
        let target = self.members.get(&session.id()).and_then(|member| member.target.clone());
        let standing = Standing::Admitted(self.admission.admit(rules, identity, target.as_ref())?);
        name_subject(session, &standing);
        if let Some(target) = &target
            && let Err(error) = session.subscribe_with(&target.topic, target.subscribe)
        {
            session.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
            return Ok(());
        }
        look_again(session, &standing, now());
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
        let new = self.admission.identify(rules, token, Purpose::Session)?;
        if !old.identity.is_same_subject(&new) {
            return Err(Refused::Forbidden);
        }
        // A session of /topics/ is its subscription: without the right to that one it ends.
        let mut admitted = self.admission.admit(rules, new, target.as_ref())?;
        admitted.renewable_at_ms = now.ms + RENEWAL_MS_MIN;
        let standing = Standing::Admitted(admitted);
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
                self.state().counts().expired.fetch_add(1, Ordering::Relaxed);
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
        self.state().counts().revoked.fetch_add(1, Ordering::Relaxed);
        session.close(CloseCode::UNAUTHORIZED, "The token was revoked.");
    }

    /// Returns the check whether an HTTP request may publish to a topic; `None` without rules.
    pub(in crate::service) fn publishing<'g>(
        &'g self,
        rules: Option<&'g AccessRules>,
    ) -> Option<impl FnMut(&Request<'_>, &str) -> Option<Result<(), Refused>>> {
        rules.map(|rules| move |request: &Request<'_>, topic: &str| self.may_publish(rules, request, topic))
    }

    /// Decides whether an HTTP request may publish to a topic. Returns `None` if it carries no token.
    fn may_publish(&self, rules: &AccessRules, request: &Request<'_>, topic: &str) -> Option<Result<(), Refused>> {
        let token = match places::in_header(request) {
            Carried::Token(token) => token,
            Carried::Unreadable => return Some(Err(Refused::Unauthorized)),
            Carried::Nothing => return None,
        };
        let identity = self.admission.identify(rules, &token, Purpose::Request);
        Some(identity.and_then(|identity| {
            let allows = identity.grants.allows(Verb::Publish, topic);
            if allows { Ok(()) } else { Err(Refused::Forbidden) }
        }))
    }
}

impl From<Decision> for Arrival {
    fn from(decision: Decision) -> Self {
        Self(Some(Box::new(decision)))
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
