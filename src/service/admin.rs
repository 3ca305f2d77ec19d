//! The administrator's endpoints: `/metrics`, `/health` and `/readyz`.
//!
//! Meant for a listener of its own. Speaks no WebSocket. Invariant: metrics are rendered at most once in 100 ms,
//! however often they are requested; the text for all cores and the text per core count separately.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::metrics::Metrics;
use super::query::parameter;
use super::{health, methods};
use crate::engine::{Handler, Hub, Limits, Reply, Session, Upgrade, UpgradeRequest};
use crate::protocol::Message;
use crate::protocol::http::{HeadLimits, Request, Response};

/// How long a rendered text is reused: far shorter than any scrape interval, far longer than rendering takes.
const FRESH: Duration = Duration::from_millis(100);

/// The handler of an administrator's listener.
#[derive(Debug)]
pub struct Admin {
    metrics: Metrics,
    server_text: Cached,
    per_core_text: Cached,
}

/// The text rendered last, and when.
type Cached = Option<(Instant, Bytes)>;

impl Admin {
    /// Creates a handler that serves `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, server_text: None, per_core_text: None }
    }

    /// Returns limits for a listener that only a few scrapers and a person use. A client that asks and does not read
    /// holds one of 64 places for 2.5 s.
    pub fn limits() -> Limits {
        Limits {
            head: HeadLimits { request_line_bytes_max: 1024, head_bytes_max: 8 * 1024, headers_max: 64 },
            body_bytes_max: 0,
            handshake_timeout_ms: 2_000,
            outbox_bytes_max: 64 * 1024,
            close_timeout_ms: 500,
            drain_timeout_ms: 500,
            connections_max: 64,
            ..Limits::default()
        }
    }

    fn metrics(&mut self, query: Option<&str>, now: Instant) -> Response {
        let is_per_core = match parameter(query, "per") {
            Ok(None) => false,
            Ok(Some(value)) if value == "core" => true,
            Ok(Some(_)) => return Response::text(400, "Invalid value of per. Use /metrics?per=core.\n"),
            Err(error) => return Response::text(400, format!("{error}\n")),
        };
        let cached = if is_per_core { &mut self.per_core_text } else { &mut self.server_text };
        let fresh = cached.as_ref().filter(|(made, _)| now.saturating_duration_since(*made) < FRESH);
        let text = match fresh {
            Some((_, text)) => text.clone(),
            None => match if is_per_core { self.metrics.text_per_core() } else { self.metrics.text() } {
                Ok(text) => cached.insert((now, Bytes::from(text))).1.clone(),
                Err(_) => return Response::text(500, "The metrics could not be rendered.\n"),
            },
        };
        Response::new(200).with_body(Metrics::CONTENT_TYPE, text)
    }

    fn answer(&mut self, request: &Request<'_>) -> Response {
        let response = match request.path() {
            "/" => Response::text(
                200,
                "ringsock: /metrics for Prometheus, /metrics?per=core for each core, /health and /readyz for load \
                 balancers.\n",
            ),
            "/metrics" => {
                return methods::restrict(request, methods::READ, || self.metrics(request.query(), Instant::now()));
            }
            "*" => return methods::options(methods::READ),
            path => match health::answer(path, self.metrics.status()) {
                Some(response) => response,
                None => return Response::text(404, "Not found. Try /metrics, /health or /readyz.\n"),
            },
        };
        methods::restrict(request, methods::READ, || response)
    }
}

impl Handler for Admin {
    type State = ();
    type Mail = ();

    fn upgrade(&mut self, _: &UpgradeRequest<'_>) -> Upgrade<()> {
        Upgrade::reject(Response::text(404, "This listener serves no WebSocket. Use an address that --listen names.\n"))
    }

    fn request(&mut self, request: &Request<'_>, _: &mut Hub<'_, Self>) -> Reply {
        self.answer(request).into()
    }

    fn before_body(&mut self, request: &Request<'_>, _: &mut Hub<'_, Self>) -> Option<Response> {
        Some(self.answer(request))
    }

    fn message(&mut self, _: &mut Session<'_, Self>, _: Message<'_>) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{Counters, Current, ReactorKind};

    #[test]
    fn the_text_is_made_once_in_100_ms_however_often_it_is_asked_for() {
        let cores: Vec<Arc<Counters>> = vec![Arc::default()];
        let mut admin =
            Admin::new(Metrics::new(&cores, Arc::default(), ReactorKind::Epoll, Current::new(Limits::default())));
        let made = Instant::now();
        let first = admin.metrics(None, made);
        cores[0].accepted.add(1);
        let second = admin.metrics(None, made + FRESH - Duration::from_nanos(1));
        assert_eq!(first.body(), second.body());
        let third = admin.metrics(None, made + FRESH);
        assert_eq!((third.status(), second.body() == third.body()), (200, false));
        let text = String::from_utf8(third.body().to_vec()).unwrap();
        assert!(text.contains("\nringsock_connections_accepted_total 1\n"), "{text}");
    }

    #[test]
    fn each_core_is_told_of_on_request_and_other_parameters_are_ignored() {
        let cores: Vec<Arc<Counters>> = vec![Arc::default(), Arc::default()];
        let mut admin =
            Admin::new(Metrics::new(&cores, Arc::default(), ReactorKind::Epoll, Current::new(Limits::default())));
        let mut told = |query: &str| {
            let answer = admin.metrics(Some(query), Instant::now());
            (answer.status(), String::from_utf8(answer.body().to_vec()).unwrap())
        };
        for query in ["per=core", "a=b&per=core&_=1", "per=%63ore"] {
            let (status, text) = told(query);
            assert_eq!((status, text.contains("ringsock_connections{core=\"1\"} 0\n")), (200, true), "{query}");
        }
        for query in ["", "_=1", "name[]=ringsock_ready", "core=0"] {
            let (status, text) = told(query);
            assert_eq!((status, text.contains("\nringsock_connections 0\n")), (200, true), "{query}");
        }
        for query in ["per=", "per=Core", "per=node", "per=core&per=core"] {
            assert_eq!(told(query).0, 400, "{query}");
        }
    }
}
