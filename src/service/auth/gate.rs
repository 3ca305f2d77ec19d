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

use super::admission::{Admission, Admitted, Refused, Target, Undecided, now};
use super::allowed::Allowed;
use super::grants::Verb;
use super::identity::{Identity, Now, Purpose};
use super::places::{self, Carried};
use super::revocations::Revocation;
use super::rules::AccessRules;
use super::settings::{Refuse, TokenPlace};
use super::state::AccessState;
use crate::engine::{Handler, Session, SessionId, UpgradeRequest};
use crate::protocol::http::{Request, Response};
use crate::protocol::{CloseCode, Message};
use crate::service::desk::{Desk, Waiting};

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
    /// The handshake is answered with this response.
    Rejected(Response),
    /// The outcome comes later.
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
    /// The session is closed at once, with the words of a backend.
    Closed(CloseCode, String),
}

/// The step of a session whose token has an identity.
type Then<H> = fn(&mut Gate, &AccessRules, &mut Session<'_, H>, Identity) -> Result<(), Refused>;

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

/// A handler with a gate, which sessions reach that had to wait.
pub(in crate::service) trait Gated: Handler {
    /// Returns the gate of its core.
    fn gate(&mut self) -> &mut Gate;
}

/// The gate of one core.
#[derive(Debug)]
pub(in crate::service) struct Gate {
    admission: Rc<Admission>,
    members: HashMap<SessionId, Member>,
}

impl Gate {
    /// Returns the gate of the core that has this desk.
    pub(in crate::service) fn new(state: Arc<AccessState>, desk: Rc<Desk>) -> Self {
        Self { admission: Rc::new(Admission::new(state, desk)), members: HashMap::new() }
    }

    /// Returns the facts that all cores share.
    pub(super) fn state(&self) -> &AccessState {
        self.admission.state()
    }

    /// Decides about a request for a WebSocket. Without rules everybody is let in.
    pub(in crate::service) fn arrive(
        &self,
        rules: Option<&Arc<AccessRules>>,
        request: &UpgradeRequest<'_>,
        target: Option<&Target>,
    ) -> Entrance {
        let Some(rules) = rules else { return Entrance::Open(Arrival::default()) };
        let tokens = rules.tokens();
        let certificate = request.client_certificate();
        let identity = match places::carried(tokens, request, request.protocols(), certificate.is_some()) {
            Carried::Token(token) => match self.admission.identify(rules, &token, Purpose::Session) {
                Ok(identity) => Ok(identity),
                Err(Undecided::Refused(refused)) => Err(refused),
                Err(Undecided::Waits(waiting)) => {
                    return self.arrive_later(rules, token.into_owned(), waiting, target.cloned());
                }
            },
            Carried::Certificate => certificate
                .ok_or(Refused::Unauthorized)
                .and_then(|certificate| self.admission.identify_certificate(rules, certificate)),
            Carried::Unreadable => Err(Refused::Unauthorized),
            Carried::Nothing if tokens.from.contains(TokenPlace::FirstMessage) => {
                let standing = Standing::Waiting { until_ms: now().ms + tokens.first_message_timeout_ms };
                return entrance(rules, Ok(standing), target.cloned());
            }
            Carried::Nothing => self.admission.anonymous(rules),
        };
        let admitted = identity.and_then(|identity| self.admission.admit_arriving(rules, identity, target));
        entrance(rules, admitted.map(Standing::Admitted), target.cloned())
    }

    /// Decides once the issuer of the token has answered.
    fn arrive_later(
        &self,
        rules: &Arc<AccessRules>,
        token: String,
        waiting: Waiting<()>,
        target: Option<Target>,
    ) -> Entrance {
        let (admission, rules) = (Rc::clone(&self.admission), Arc::clone(rules));
        Entrance::Later(Box::pin(async move {
            let identity = admission.identify_later(&rules, &token, Purpose::Session, waiting).await;
            let admitted = identity.and_then(|identity| admission.admit_arriving(&rules, identity, target.as_ref()));
            entrance(&rules, admitted.map(Standing::Admitted), target)
        }))
    }

    /// Returns the part that decides about clients, for a task that does so later.
    pub(in crate::service) fn admission(&self) -> Rc<Admission> {
        Rc::clone(&self.admission)
    }

    /// Begins a session with the decision that was made at its handshake. Returns whether it stays open.
    pub(in crate::service) fn open<H: Handler>(&mut self, session: &mut Session<'_, H>, arrival: Arrival) -> bool {
        match arrival.0.map(|decision| *decision) {
            None => return true,
            Some(Decision::Refused(refused)) => session.close(refused.code(), refused.text()),
            Some(Decision::Closed(code, reason)) => session.close(code, &reason),
            // A decision may be some time old, and the mail about a revocation came for open sessions alone.
            Some(Decision::Member(member)) if self.is_revoked(&member) => self.revoke(session),
            Some(Decision::Member(member)) => {
                name_subject(session, &member.standing);
                look_again(session, &member.standing, now());
                self.members.insert(session.id(), member);
                return true;
            }
        }
        false
    }

    /// Returns the subject and the roles of a session, as far as they are known.
    pub(in crate::service) fn bearer(&self, id: SessionId) -> (Option<&str>, &[String]) {
        self.members.get(&id).map_or((None, &[]), |member| member.standing.bearer())
    }

    fn is_revoked(&self, member: &Member) -> bool {
        let Standing::Admitted(admitted) = &member.standing else { return false };
        self.state().is_revoked(admitted.identity.facts())
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
    pub(in crate::service) fn message<H: Gated>(
        &mut self,
        rules: Option<&Arc<AccessRules>>,
        session: &mut Session<'_, H>,
        message: &Message<'_>,
    ) -> Passage {
        let Some(member) = self.members.get(&session.id()) else { return Passage::Passes };
        let token = match message {
            Message::Text(text) => places::in_message(text),
            Message::Binary(_) => None,
        };
        let outcome = match (&member.standing, token, rules) {
            // A reload may have taken the first message out.
            (Standing::Waiting { .. }, Some(token), Some(rules))
                if rules.tokens().from.contains(TokenPlace::FirstMessage) =>
            {
                self.identify(rules, session, token, Self::entered)
            }
            (Standing::Waiting { .. }, ..) => Err(Refused::Unauthorized),
            (Standing::Admitted(admitted), Some(token), rules) if admitted.is_renewed_by(token) => match rules {
                Some(rules) => self.renew(rules, session, token),
                None => Ok(()),
            },
            (Standing::Admitted(Admitted { may_publish: true, .. }), ..) => return Passage::Passes,
            (Standing::Admitted(_), ..) => Err(Refused::Forbidden),
        };
        self.settle(session, outcome);
        Passage::Handled
    }

    /// Closes a session that is refused. One that was admitted before stays as it is while its new token cannot be
    /// judged: it ends with the old one.
    fn settle<H: Handler>(&self, session: &mut Session<'_, H>, outcome: Result<(), Refused>) {
        let is_admitted = |member: &Member| matches!(member.standing, Standing::Admitted(_));
        match outcome {
            Ok(()) => {}
            Err(Refused::Unavailable) if self.members.get(&session.id()).is_some_and(is_admitted) => {}
            Err(refused) => session.close(refused.code(), refused.text()),
        }
    }

    /// Lets a session in that has sent its token.
    fn entered<H: Handler>(
        &mut self,
        rules: &AccessRules,
        session: &mut Session<'_, H>,
        identity: Identity,
    ) -> Result<(), Refused> {
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
    fn renew<H: Gated>(
        &mut self,
        rules: &Arc<AccessRules>,
        session: &mut Session<'_, H>,
        token: &str,
    ) -> Result<(), Refused> {
        let now = now();
        let Some(Member { standing: Standing::Admitted(old), .. }) = self.members.get_mut(&session.id()) else {
            return Err(Refused::Unauthorized);
        };
        if now.ms < old.renewable_at_ms {
            return Err(Refused::Forbidden);
        }
        old.renewable_at_ms = now.ms + RENEWAL_MS_MIN;
        self.identify(rules, session, token, Self::renewed)
    }

    fn renewed<H: Handler>(
        &mut self,
        rules: &AccessRules,
        session: &mut Session<'_, H>,
        new: Identity,
    ) -> Result<(), Refused> {
        let now = now();
        let Some(Member { target, standing: Standing::Admitted(old) }) = self.members.remove(&session.id()) else {
            return Err(Refused::Unauthorized);
        };
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

    /// Goes on with the identity of a token, at once or later.
    fn identify<H: Gated>(
        &mut self,
        rules: &Arc<AccessRules>,
        session: &mut Session<'_, H>,
        token: &str,
        then: Then<H>,
    ) -> Result<(), Refused> {
        match self.admission.identify(rules, token, Purpose::Session) {
            Ok(identity) => then(self, rules, session, identity),
            Err(Undecided::Refused(refused)) => Err(refused),
            Err(Undecided::Waits(waiting)) => {
                self.identify_later(rules, session, (token, waiting), then);
                Ok(())
            }
        }
    }

    /// Goes on with a token once its issuer has answered. The session is not read meanwhile, so that nothing overtakes
    /// the token.
    fn identify_later<H: Gated>(
        &self,
        rules: &Arc<AccessRules>,
        session: &mut Session<'_, H>,
        (token, waiting): (&str, Waiting<()>),
        then: Then<H>,
    ) {
        session.pause();
        let (admission, handle) = (Rc::clone(&self.admission), session.handle());
        let (rules, token) = (Arc::clone(rules), token.to_owned());
        session.spawn(async move {
            let identity = admission.identify_later(&rules, &token, Purpose::Session, waiting).await;
            let go_on = move |handler: &mut H, session: &mut Session<'_, H>| {
                session.resume();
                let gate = handler.gate();
                let outcome = identity.and_then(|identity| then(gate, &rules, session, identity));
                gate.settle(session, outcome);
            };
            handle.run(go_on).await;
        });
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
        rules.map(|rules| {
            move |request: &Request<'_>, topic: &str| Some(self.publisher(rules, request, topic)?.map(|_| ()))
        })
    }

    /// Decides whether an HTTP request may publish to a topic, and returns the user whose token it carries; no user for
    /// the key of a program. Returns `None` if it carries neither.
    pub(in crate::service) fn publisher(
        &self,
        rules: &AccessRules,
        request: &Request<'_>,
        topic: &str,
    ) -> Option<Result<Option<User>, Refused>> {
        let token = match places::in_header(request) {
            Carried::Token(token) => token,
            Carried::Unreadable => return Some(Err(Refused::Unauthorized)),
            Carried::Nothing | Carried::Certificate => return None,
        };
        Some(match self.admission.identify(rules, &token, Purpose::Request) {
            Ok(identity) if identity.grants.allows(Verb::Publish, topic) => Ok(User::of(identity)),
            Ok(_) => Err(Refused::Forbidden),
            Err(Undecided::Refused(refused)) => Err(refused),
            Err(Undecided::Waits(_)) => Err(Refused::Unavailable),
        })
    }
}

impl Entrance {
    /// Refuses a client in the way that the rules say.
    pub(in crate::service) fn refuse(rules: &AccessRules, refused: Refused) -> Self {
        match rules.tokens().refuse {
            Refuse::Close => Self::Bare(Decision::Refused(refused).into()),
            Refuse::Status => Self::Refused(refused),
        }
    }
}

impl Arrival {
    /// Returns whether it says nothing: everybody is let in.
    pub(super) fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the decision that a session is closed at once, with these words.
    pub(in crate::service) fn closing(code: CloseCode, reason: String) -> Self {
        Decision::Closed(code, reason).into()
    }

    /// Returns the subject and the roles of the client, as far as they are known.
    pub(in crate::service) fn bearer(&self) -> (Option<&str>, &[String]) {
        match self.0.as_deref() {
            Some(Decision::Member(member)) => member.standing.bearer(),
            _ => (None, &[]),
        }
    }

    /// Gives the session the rights that a backend has given, and checks that they cover its topic.
    pub(in crate::service) fn settle(
        self,
        admission: &Admission,
        rules: &AccessRules,
        allowed: &Allowed,
    ) -> Result<Self, Refused> {
        match self.0.map(|decision| *decision) {
            Some(Decision::Member(Member { target, standing: Standing::Admitted(admitted) })) => {
                let admitted = admission.admit_by(rules, (admitted, allowed), target.as_ref())?;
                Ok(Decision::Member(Member { target, standing: Standing::Admitted(admitted) }).into())
            }
            decision => Ok(Self(decision.map(Box::new))),
        }
    }
}

impl Standing {
    fn bearer(&self) -> (Option<&str>, &[String]) {
        match self {
            Self::Waiting { .. } => (None, &[]),
            Self::Admitted(Admitted { identity, .. }) => (identity.subject.as_deref(), identity.grants.roles()),
        }
    }
}

/// A user who asks over HTTP.
#[derive(Debug)]
pub(in crate::service) struct User(Identity);

impl User {
    /// Returns the user that an identity is of; `None` for the key of a program.
    fn of(identity: Identity) -> Option<Self> {
        (identity.issuer.is_some() || identity.subject.is_some()).then_some(Self(identity))
    }

    pub(in crate::service) fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    pub(in crate::service) fn roles(&self) -> &[String] {
        self.0.grants.roles()
    }
}

impl From<Decision> for Arrival {
    fn from(decision: Decision) -> Self {
        Self(Some(Box::new(decision)))
    }
}

/// Returns the outcome of a handshake by the standing of the session, or by its refusal.
fn entrance(rules: &AccessRules, standing: Result<Standing, Refused>, target: Option<Target>) -> Entrance {
    match standing {
        Ok(standing) => {
            let is_waiting = matches!(standing, Standing::Waiting { .. });
            let arrival = Decision::Member(Member { target, standing }).into();
            if is_waiting { Entrance::Bare(arrival) } else { Entrance::Open(arrival) }
        }
        Err(refused) => Entrance::refuse(rules, refused),
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
