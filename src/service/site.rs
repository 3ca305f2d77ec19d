//! The paths of `ringsock serve`: an echo, topics, an API for other programs, a page to try them from, and what a load
//! balancer asks.

use std::sync::Arc;

use super::api::{self, ApiAccess};
use super::cross_origin::CrossOrigin;
use super::health;
use super::methods;
use super::page::{PAGE, PAGE_POLICY};
use super::topics::{Join, OverflowRules};
use crate::engine::{Handler, Hub, Session, Status, Upgrade, UpgradeRequest};
use crate::protocol::http::{Refusal, Request, Response};
use crate::protocol::{CloseCode, Message};

/// The handler of one core.
#[derive(Debug)]
pub struct Site {
    status: Arc<Status>,
    overflow: OverflowRules,
    api: ApiAccess,
    /// Pages of other origins that may use the API.
    pages: CrossOrigin,
    /// The subprotocols that are spoken.
    subprotocols: Arc<[String]>,
    /// What the client wants whose session is opened next.
    joining: Option<Join>,
    /// The name of the topic that is just published to.
    topic: String,
}

impl Site {
    /// A handler that tells load balancers what `status` says, and lets those publish by HTTP whom `api` admits.
    pub fn new(status: Arc<Status>, overflow: OverflowRules, api: ApiAccess) -> Self {
        Self {
            status,
            overflow,
            api,
            pages: CrossOrigin::default(),
            subprotocols: Arc::default(),
            joining: None,
            topic: String::new(),
        }
    }

    /// The same handler, whose API these pages may use.
    pub fn sharing(self, pages: CrossOrigin) -> Self {
        Self { pages, ..self }
    }

    /// The same handler, which speaks these subprotocols.
    pub fn speaking(self, subprotocols: Arc<[String]>) -> Self {
        Self { subprotocols, ..self }
    }

    /// Accepts, in the first subprotocol that the client offers and that is spoken. Without one the client decides whether
    /// it goes on.
    fn accept(&self, request: &UpgradeRequest<'_>) -> Upgrade<()> {
        let is_spoken = |offered: &&str| self.subprotocols.iter().any(|own| own == offered);
        // Where none is spoken, no header is looked at.
        let chosen = (!self.subprotocols.is_empty()).then(|| request.protocols().find(is_spoken)).flatten();
        match chosen {
            Some(subprotocol) => Upgrade::accept().protocol(subprotocol.to_owned()),
            None => Upgrade::accept(),
        }
    }

    /// Publishes what a client of a topic says.
    fn publish(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        // It has subscribed to one topic, whose name is in the way of publishing.
        self.topic.clear();
        self.topic.extend(session.topics().next());
        if let Err(error) = session.publish(&self.topic, message) {
            session.close(CloseCode::POLICY, &error.to_string());
        }
    }
}

impl Handler for Site {
    type State = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<()> {
        self.joining = None;
        match (request.path(), Join::parse(request.path(), request.query())) {
            ("/echo", _) => self.accept(request),
            (_, Some(Ok(join))) => {
                // A state of its own would cost every session memory, those of the echo too.
                self.joining = Some(join);
                self.accept(request)
            }
            (_, Some(Err(error))) => Upgrade::reject(Response::text(400, format!("{error}\n"))),
            (_, None) => Upgrade::reject(not_found()),
        }
    }

    fn open(&mut self, session: &mut Session<'_, ()>) {
        let Some(join) = self.joining.take() else { return };
        if let Err(error) = session.subscribe_with(&join.topic, self.overflow.subscribe(&join)) {
            session.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
        }
    }

    fn request(&mut self, request: &Request<'_>, hub: &mut Hub<'_>) -> Response {
        if let Some(response) = health::answer(request.path(), &self.status) {
            return methods::restrict(request, methods::READ, || response);
        }
        if let Some(response) = api::answer(request, hub, &self.api, &self.pages) {
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

    fn before_body(&mut self, request: &Request<'_>, hub: &mut Hub<'_>) -> Option<Response> {
        if api::reads_body(request) {
            api::refuse_unread(request, &self.api, &self.pages)
        } else {
            Some(self.request(request, hub))
        }
    }

    fn message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        if session.subscriptions() > 0 {
            self.publish(session, message);
        } else {
            session.send(message);
        }
    }
}

/// A request for a WebSocket path that asks for no WebSocket. The method is judged first: no upgrade would save a POST.
fn upgrade_required(request: &Request<'_>) -> Response {
    methods::restrict(request, methods::READ, || Response::from(&Refusal::UpgradeRequired))
}

fn not_found() -> Response {
    Response::text(404, "There is nothing here. Try / in a browser, or a WebSocket on /echo or /topics/NAME.\n")
}
