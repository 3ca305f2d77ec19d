//! The routes of `ringsock serve`: `/echo`, `/topics/NAME`, the API, the demo page and the health endpoints.
//!
//! Owns the mapping from path to service, and the choice of subprotocol. Never talks to a socket. Invariant: a session
//! with a subscription belongs to `/topics/`, and one without to `/echo`, unless the gate takes all of its messages.

use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use super::api::{self, TokenCheck};
use super::auth::{self, AccessState, Arrival, Entrance, Gate, Gated, Passage, Refused, Target};
use super::desk::Desk;
use super::health;
use super::mail::ServiceMail;
use super::methods;
use super::page::{PAGE, PAGE_POLICY};
use super::settings::ServiceSettings;
use super::topics::Join;
use crate::engine::{Accept, Context, Ended, Following, Handler, Hub, Reply, Session, Status, Upgrade, UpgradeRequest};
use crate::protocol::http::{Refusal, Request, Response};
use crate::protocol::{CloseCode, Message};

/// One core's handler: routes each request and session to its service.
#[derive(Debug)]
pub struct Router {
    status: Arc<Status>,
    settings: Following<ServiceSettings>,
    gate: Gate,
    desk: Rc<Desk>,
    /// Scratch space for the name of the topic that is being published to.
    topic: String,
}

impl Router {
    /// Creates the handler of a core that follows the settings of the services. `state` has the facts about tokens that
    /// all cores share.
    pub fn new(core: &Context<ServiceMail>, settings: Following<ServiceSettings>, state: Arc<AccessState>) -> Self {
        let desk = Rc::new(Desk::new(core.server(), core.core()));
        let gate = Gate::new(state, Rc::clone(&desk));
        Self { status: core.status(), settings, gate, desk, topic: String::new() }
    }

    /// Returns the client's first subprotocol that is supported. Without one the client decides whether to go on.
    fn subprotocol(&self, request: &UpgradeRequest<'_>) -> Option<String> {
        let subprotocols = &self.settings.value().subprotocols;
        // The header is skipped if the server supports no subprotocol.
        let is_spoken = |offered: &&str| subprotocols.iter().any(|own| own == offered);
        (!subprotocols.is_empty()).then(|| request.protocols().find(is_spoken)).flatten().map(str::to_owned)
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
                return api::for_operator(request, api, api_origins, || auth::revoke(request, hub, &self.gate, rules));
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
    type State = Arrival;
    type Mail = ServiceMail;

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Arrival> {
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
        enter(entrance, target, self.subprotocol(request))
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        let arrival = mem::take(session.state());
        self.gate.open(session, arrival);
    }

    fn request(&mut self, request: &Request<'_>, hub: &mut Hub<'_, Self>) -> Reply {
        self.settings.refresh();
        self.answer(request, hub).into()
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

    fn close(&mut self, session: &mut Session<'_, Self>, _ended: Ended<'_>) {
        self.gate.close(session.id());
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

/// Returns the answer to a request for a WebSocket that the gate has decided about.
fn enter(entrance: Entrance, target: Option<Target>, subprotocol: Option<String>) -> Upgrade<Arrival> {
    let (arrival, target) = match entrance {
        Entrance::Open(arrival) => (arrival, target),
        Entrance::Bare(arrival) => (arrival, None),
        Entrance::Refused(refused) => return Upgrade::reject(refused.response()),
        Entrance::Later(entrance) => {
            return Upgrade::later(async move { enter(entrance.await, target, subprotocol) });
        }
    };
    let mut accept = Accept::with(arrival);
    if let Some(subprotocol) = subprotocol {
        accept = accept.protocol(subprotocol);
    }
    if let Some(Target { topic, subscribe }) = target {
        accept = accept.subscribe(topic, subscribe);
    }
    accept.into()
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
