//! The routes of `ringsock serve`: `/echo`, `/topics/NAME`, the API, the demo page and the health endpoints.
//!
//! Owns the mapping from path to service, and the choice of subprotocol. Never talks to a socket. Invariant: a session
//! with a subscription belongs to `/topics/`, and one without to `/echo`, unless the gate takes all of its messages.

use std::rc::Rc;
use std::sync::Arc;

use super::api::{self, TokenCheck};
use super::auth::{self, AccessState, ArrivalNumber, Gate, Gated, Passage, Refused, Revocation, Target};
use super::desk::Desk;
use super::entrance::{DENIED, Questions, UNAVAILABLE, enter};
use super::health;
use super::hooks::{
    Asked, Asker, Attendance, BackendDesk, Denied, Event, Facts, Held, Hooks, Question, Ruling, Verdict, Visit,
};
use super::mail::ServiceMail;
use super::methods;
use super::page::{PAGE, PAGE_POLICY};
use super::settings::ServiceSettings;
use super::topics::Join;
use crate::engine::{
    Context, Ended, Following, Handler, Hub, Reply, Sent, ServerHandle, Session, Status, Upgrade, UpgradeRequest,
};
use crate::protocol::http::{Refusal, Request, Response};
use crate::protocol::{CloseCode, Message};

/// One core's handler: routes each request and session to its service.
#[derive(Debug)]
pub struct Router {
    status: Arc<Status>,
    settings: Following<ServiceSettings>,
    gate: Gate,
    desk: Rc<Desk>,
    backend: BackendDesk,
    /// The sessions that facts are told about, if facts are told.
    attendance: Option<Attendance>,
    server: ServerHandle<ServiceMail>,
    /// Scratch space for the name of the topic that is being published to.
    topic: String,
}

impl Router {
    /// Creates the handler of a core that follows the settings of the services. All cores share `state`, the facts
    /// about tokens, and `hooks`. `facts` are told if there are any.
    pub fn new(
        core: &Context<ServiceMail>,
        settings: Following<ServiceSettings>,
        state: Arc<AccessState>,
        (hooks, facts): (Arc<Hooks>, Option<Arc<Facts>>),
    ) -> Self {
        let (server, own) = (core.server(), core.core());
        let desk = Desk::new(Arc::new(move |question| server.mail(own, ServiceMail::Answered(question))));
        let desk = Rc::new(desk);
        Self {
            status: core.status(),
            settings,
            gate: Gate::new(state, Rc::clone(&desk)),
            backend: BackendDesk::new(hooks, Rc::clone(&desk)),
            desk,
            attendance: facts.map(Attendance::new),
            server: core.server(),
            topic: String::new(),
        }
    }

    /// Returns the client's first subprotocol that is supported. Without one the client decides whether to go on.
    fn subprotocol(&self, request: &UpgradeRequest<'_>) -> Option<String> {
        let subprotocols = &self.settings.value().subprotocols;
        // The header is skipped if the server supports no subprotocol.
        let is_spoken = |offered: &&str| subprotocols.iter().any(|own| own == offered);
        (!subprotocols.is_empty()).then(|| request.protocols().find(is_spoken)).flatten().map(str::to_owned)
    }

    /// Returns the questions about a client that arrives, if a hook decides.
    fn questions(&self, request: &UpgradeRequest<'_>, target: Option<&Target>) -> Option<Questions> {
        let ServiceSettings { access, hooks, .. } = self.settings.value();
        let (access, hooks) = (access.as_ref()?, hooks.as_ref()?);
        let concerns =
            hooks.point(Event::Connect).is_some() || target.is_some() && hooks.point(Event::Subscribe).is_some();
        concerns.then(|| Questions {
            backend: self.backend.clone(),
            hooks: Arc::clone(hooks),
            access: Arc::clone(access),
            admission: self.gate.admission(),
            visit: Visit::new(request, hooks.forward_headers(), Some(&access.tokens().query)),
            topic: target.map(|target| target.topic.clone()),
        })
    }

    /// Asks whether a message of a session may be published, and pauses the session until that is decided. Returns
    /// false if nobody is asked.
    fn ask_to_publish(&mut self, session: &mut Session<'_, Self>, message: &Message<'_>) -> bool {
        let ServiceSettings { hooks, .. } = self.settings.value();
        let Some(hooks) = hooks.as_ref().filter(|hooks| hooks.point(Event::Publish).is_some()) else { return false };
        self.topic.clear();
        self.topic.extend(session.topics().next());
        let (subject, roles) = self.gate.bearer(session.id());
        let asker = Asker { session: Some(session.id()), subject, roles };
        let question = Question::publishing(asker, &self.topic, session.client_address(), *message);
        match self.backend.ask(hooks, Event::Publish, &question) {
            Asked::Now(ruling) => self.publish_by(session, ruling, *message),
            asked => {
                let (held, handle) = (Held::from(*message), session.handle());
                session.pause();
                session.spawn(async move {
                    let ruling = asked.ruling().await;
                    let publish = move |router: &mut Self, session: &mut Session<'_, Self>| {
                        router.publish_by(session, ruling, held.message());
                        session.resume();
                    };
                    // A session that has ended meanwhile publishes nothing.
                    let _ = handle.run(publish).await;
                });
            }
        }
        true
    }

    /// Publishes a message of a session, if the ruling allows that.
    fn publish_by(&mut self, session: &mut Session<'_, Self>, ruling: Ruling, message: Message<'_>) {
        match ruling {
            Ruling::Verdict(Verdict::Allowed(_)) => self.publish(session, message),
            Ruling::Verdict(Verdict::Denied(Denied { code: Some(code), reason })) => {
                session.close(code, reason.as_deref().unwrap_or(DENIED));
            }
            // The message alone is dropped, and counted as denied.
            Ruling::Verdict(Verdict::Denied(Denied { code: None, .. })) => session.count_refused(message.len()),
            Ruling::Unavailable => session.close(CloseCode::TRY_AGAIN_LATER, UNAVAILABLE),
        }
    }

    /// Answers a request that publishes by the token of a user once the backend has decided. Returns `None` for any
    /// other request, and if nobody is asked.
    fn publish_later(&self, request: &Request<'_>) -> Option<Reply> {
        let ServiceSettings { api, api_origins, access, hooks, .. } = self.settings.value();
        let hooks = hooks.as_ref().filter(|hooks| hooks.point(Event::Publish).is_some())?;
        let rules = access.as_deref()?;
        let mut user = None;
        let mut check = |request: &Request<'_>, topic: &str| {
            Some(self.gate.publisher(rules, request, topic)?.map(|publisher| user = publisher))
        };
        let (topic, message) = api::published_by_token(request, api, api_origins, Some(&mut check))?;
        let user = user?;
        let asker = Asker { session: None, subject: user.subject(), roles: user.roles() };
        let question = Question::publishing(asker, &topic, None, message);
        let asked = self.backend.ask(hooks, Event::Publish, &question);
        let (server, topic, held) = (self.server.clone(), topic.into_owned(), Held::from(message));
        let headers = api_origins.headers(request);
        Some(Reply::later(async move {
            let answer = match asked.ruling().await {
                Ruling::Verdict(Verdict::Allowed(_)) => api::publish_from(&server, &topic, held.message()),
                Ruling::Verdict(Verdict::Denied(Denied { reason, .. })) => api::denied(reason.as_deref()),
                Ruling::Unavailable => api::undecided(),
            };
            headers.add_to(answer)
        }))
    }

    /// Publishes a message of a session to its topic.
    fn publish(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        // The name is borrowed from the session, which publishing borrows mutably, so it is copied.
        self.topic.clear();
        self.topic.extend(session.topics().next());
        if let Err(error) = session.publish(&self.topic, message) {
            session.close(CloseCode::POLICY_VIOLATION, &error.to_string());
        }
    }

    fn answer(&mut self, request: &Request<'_>, hub: &mut Hub<'_, Self>) -> Response {
        if let Some(response) = health::answer(request.path(), &self.status) {
            return methods::restrict(request, methods::READ, || response);
        }
        let ServiceSettings { api, api_origins, access, .. } = self.settings.value();
        let rules = access.as_deref();
        match request.path() {
            auth::REVOKE => {
                let tell = |revocation| tell_all(hub, &revocation);
                return api::for_operator(request, api, api_origins, || auth::revoke(request, &self.gate, rules, tell));
            }
            auth::TICKETS => {
                return api::for_operator(request, api, api_origins, || auth::issue_ticket(request, &self.gate, rules));
            }
            _ => {}
        }
        let mut check = self.gate.publishing(rules);
        if let Some(response) = api::answer(request, hub, api, api_origins, dynamic(&mut check)) {
            return response;
        }
        match request.path() {
            "/" => methods::restrict(request, methods::READ, || {
                Response::html(200, PAGE).with_header("Content-Security-Policy", PAGE_POLICY)
            }),
            "/echo" => upgrade_required(request),
            path if path.starts_with("/topics/") => upgrade_required(request),
            "*" => methods::options(methods::ALL),
            _ => not_found(),
        }
    }
}

impl Handler for Router {
    type State = ArrivalNumber;
    type Mail = ServiceMail;

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<ArrivalNumber> {
        self.settings.refresh();
        let target = match (request.path(), Join::parse(request.path(), request.query())) {
            ("/echo", _) => None,
            (_, Some(Ok(join))) => {
                let subscribe = self.settings.value().overflow.subscribe(&join);
                Some(Target { topic: join.topic, subscribe })
            }
            (_, Some(Err(error))) => return Upgrade::reject(Response::text(400, format!("{error}\n"))),
            (_, None) => return Upgrade::reject(not_found()),
        };
        let entrance = self.gate.arrive(self.settings.value().access.as_ref(), request, target.as_ref());
        let entrance = match self.questions(request, target.as_ref()) {
            Some(questions) => questions.about(entrance),
            None => entrance,
        };
        enter(entrance, target, self.subprotocol(request))
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        let arrival = session.state().take();
        if self.gate.open(session, arrival)
            && let Some(attendance) = &mut self.attendance
        {
            attendance.open(session, self.gate.bearer(session.id()).0);
        }
    }

    fn subscribed(&mut self, session: &mut Session<'_, Self>, topic: &str) {
        if let Some(attendance) = &mut self.attendance {
            attendance.name(session.id(), self.gate.bearer(session.id()).0);
            attendance.subscribed(session.id(), topic);
        }
    }

    fn request(&mut self, request: &Request<'_>, hub: &mut Hub<'_, Self>) -> Reply {
        self.settings.refresh();
        self.publish_later(request).unwrap_or_else(|| self.answer(request, hub).into())
    }

    fn before_body(&mut self, request: &Request<'_>, hub: &mut Hub<'_, Self>) -> Option<Response> {
        self.settings.refresh();
        if request.path() == auth::TICKETS {
            None
        } else if api::reads_body(request) {
            let ServiceSettings { api, api_origins, access, .. } = self.settings.value();
            let mut check = self.gate.publishing(access.as_deref());
            api::refuse_unread(request, api, api_origins, dynamic(&mut check))
        } else {
            Some(self.answer(request, hub))
        }
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        if !self.gate.is_empty() {
            self.settings.refresh();
            let rules = self.settings.value().access.as_ref();
            if self.gate.message(rules, session, &message) == Passage::Handled {
                return;
            }
            if session.subscriptions() > 0 && self.ask_to_publish(session, &message) {
                return;
            }
        }
        if session.subscriptions() > 0 {
            self.publish(session, message);
        } else {
            session.send(message);
        }
    }

    fn wake(&mut self, session: &mut Session<'_, Self>) {
        self.gate.wake(session);
    }

    fn close(&mut self, session: &mut Session<'_, Self>, ended: Ended<'_>) {
        self.gate.close(session.id());
        if let Some(attendance) = &mut self.attendance {
            attendance.close(session.id(), ended);
        }
    }

    fn mail(&mut self, mail: ServiceMail, hub: &mut Hub<'_, Self>) {
        match mail {
            ServiceMail::Revoked(revocation) => {
                for id in self.gate.concerned(&revocation) {
                    hub.session(id, |session| self.gate.revoke(session));
                }
            }
            ServiceMail::Answered(question) => self.desk.answered(question),
        }
    }
}

impl Gated for Router {
    fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }
}

/// Sends a revocation to all cores. Returns whether each of them gets it.
fn tell_all(hub: &mut Hub<'_, Router>, revocation: &Arc<Revocation>) -> bool {
    let mut is_told = true;
    for core in 0..hub.cores() {
        is_told &= hub.mail(core, ServiceMail::Revoked(Arc::clone(revocation))) != Sent::Dropped;
    }
    is_told
}

/// Returns a check as the API takes it.
fn dynamic<C>(check: &mut Option<C>) -> TokenCheck<'_>
where
    C: FnMut(&Request<'_>, &str) -> Option<Result<(), Refused>>,
{
    check.as_mut().map(|check| check as &mut dyn FnMut(&Request<'_>, &str) -> _)
}

/// Answers a plain request for a WebSocket path. The method is checked first: an upgrade does not make a POST valid.
fn upgrade_required(request: &Request<'_>) -> Response {
    methods::restrict(request, methods::READ, || Refusal::UpgradeRequired.response())
}

fn not_found() -> Response {
    Response::text(404, "Not found. Open / in a browser, or connect a WebSocket to /echo or /topics/NAME.\n")
}
