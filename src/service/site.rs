//! The paths of `ringsock serve`: an echo, a page to try it from, and what a load balancer asks.

use std::sync::Arc;

use super::health;
use crate::engine::{Handler, Session, Status, Upgrade, UpgradeRequest};
use crate::protocol::Message;
use crate::protocol::http::{Refusal, Request, Response};

/// The page at `/`, complete in itself.
const PAGE: &str = include_str!("page.html");

/// What the page may do: run its own script and style, and talk to any WebSocket server, since it is made for trying.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The handler of one core.
#[derive(Debug)]
pub struct Site {
    status: Arc<Status>,
}

impl Site {
    /// A handler that tells load balancers what `status` says.
    pub fn new(status: Arc<Status>) -> Self {
        Self { status }
    }
}

impl Handler for Site {
    type State = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<()> {
        match request.path() {
            "/echo" => Upgrade::accept(),
            _ => Upgrade::reject(not_found()),
        }
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        if let Some(response) = health::answer(request.path(), &self.status) {
            return health::to_readers(request, response);
        }
        match request.path() {
            "/" => {
                let page = Response::html(200, PAGE).with_header("Content-Security-Policy", PAGE_POLICY);
                health::to_readers(request, page)
            }
            "/echo" => upgrade_required(request.method()),
            _ => not_found(),
        }
    }

    fn message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        session.send(message);
    }
}

/// A request for a WebSocket path that asks for no WebSocket. The method is judged first: no upgrade would save a POST.
fn upgrade_required(method: &str) -> Response {
    Response::from(&match method {
        "GET" | "HEAD" => Refusal::UpgradeRequired,
        _ => Refusal::MethodNotAllowed { allow: "GET" },
    })
}

fn not_found() -> Response {
    Response::text(404, "There is nothing here. Try / in a browser, or a WebSocket on /echo.\n")
}
