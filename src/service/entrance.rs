//! The way of a client from the gate's decision to the answer of its handshake, past the hooks that decide.
//!
//! Owns the order of the questions: connect, then subscribe. Never lets a core wait: a handshake that is asked about is
//! answered later. Invariant: a session opens only if every hook that there is has allowed it.

use std::rc::Rc;
use std::sync::Arc;

use super::auth::{AccessRules, Admission, Arrival, ArrivalNumber, Entrance, Refuse, Target};
use super::hooks::{Asker, BackendDesk, Denied, Event, HookRules, Question, Ruling, Verdict, Visit};
use crate::engine::{Accept, Upgrade};
use crate::protocol::CloseCode;
use crate::protocol::http::Response;

/// The text for a client that the fallback has denied.
pub(super) const UNAVAILABLE: &str = "This cannot be decided right now. Try again later.";

/// The text for a client that the backend has denied without giving a reason.
pub(super) const DENIED: &str = "This is not allowed.";

/// The seconds after which a client may try again: the pause of the breaker.
const RETRY_AFTER_S: &str = "5";

/// Returns the answer to a request for a WebSocket that was decided about.
pub(super) fn enter(entrance: Entrance, target: Option<Target>, subprotocol: Option<String>) -> Upgrade<ArrivalNumber> {
    let (arrival, target) = match entrance {
        Entrance::Open(arrival) => (arrival, target),
        Entrance::Bare(arrival) => (arrival, None),
        Entrance::Refused(refused) => return Upgrade::reject(refused.response()),
        Entrance::Rejected(response) => return Upgrade::reject(response),
        Entrance::Later(entrance) => {
            return Upgrade::later(async move { enter(entrance.await, target, subprotocol) });
        }
    };
    let mut accept = Accept::with(ArrivalNumber::of(arrival));
    if let Some(subprotocol) = subprotocol {
        accept = accept.protocol(subprotocol);
    }
    if let Some(Target { topic, subscribe }) = target {
        accept = accept.subscribe(topic, subscribe);
    }
    accept.into()
}

/// The questions about one client that arrives.
pub(super) struct Questions {
    pub(super) backend: BackendDesk,
    pub(super) hooks: Arc<HookRules>,
    pub(super) access: Arc<AccessRules>,
    pub(super) admission: Rc<Admission>,
    pub(super) visit: Visit,
    pub(super) topic: Option<String>,
}

impl Questions {
    /// Asks about a client that the gate would let in.
    pub(super) fn about(self, entrance: Entrance) -> Entrance {
        match entrance {
            Entrance::Open(arrival) => Entrance::Later(Box::pin(self.ask(arrival))),
            Entrance::Later(entrance) => Entrance::Later(Box::pin(async move {
                match entrance.await {
                    Entrance::Open(arrival) => self.ask(arrival).await,
                    entrance => entrance,
                }
            })),
            entrance => entrance,
        }
    }

    async fn ask(self, mut arrival: Arrival) -> Entrance {
        for event in [Event::Connect, Event::Subscribe] {
            let concerns = event == Event::Connect || self.topic.is_some();
            if !concerns || self.hooks.point(event).is_none() {
                continue;
            }
            let ruling = {
                let (subject, roles) = arrival.bearer();
                let asker = Asker { session: None, subject, roles };
                let question = Question::entering(event, asker, self.topic.as_deref(), &self.visit);
                self.backend.ask(&self.hooks, event, &question)
            };
            match ruling.ruling().await {
                Ruling::Verdict(Verdict::Allowed(allowed)) if event == Event::Connect => {
                    match arrival.settle(&self.admission, &self.access, &allowed) {
                        Ok(settled) => arrival = settled,
                        Err(refused) => return Entrance::refuse(&self.access, refused),
                    }
                }
                Ruling::Verdict(Verdict::Allowed(_)) => {}
                Ruling::Verdict(Verdict::Denied(denied)) => return self.deny(denied),
                Ruling::Unavailable => return self.put_off(),
            }
        }
        Entrance::Open(arrival)
    }

    fn deny(&self, Denied { code, reason }: Denied) -> Entrance {
        let reason = reason.unwrap_or_else(|| DENIED.to_owned());
        match self.access.tokens().refuse {
            Refuse::Status => Entrance::Rejected(Response::text(403, format!("{reason}\n"))),
            Refuse::Close => Entrance::Bare(Arrival::closing(code.unwrap_or(CloseCode::FORBIDDEN), reason)),
        }
    }

    fn put_off(&self) -> Entrance {
        match self.access.tokens().refuse {
            Refuse::Status => {
                let response = Response::text(503, format!("{UNAVAILABLE}\n"));
                Entrance::Rejected(response.with_header("Retry-After", RETRY_AFTER_S))
            }
            Refuse::Close => Entrance::Bare(Arrival::closing(CloseCode::TRY_AGAIN_LATER, UNAVAILABLE.to_owned())),
        }
    }
}
