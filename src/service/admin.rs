//! What is for whoever runs the server and for nobody else: its metrics, and whether it is well.
//!
//! Meant for a listener of its own. Speaks no WebSocket. Invariant: however often it is asked, metrics are put into
//! text at most once in 100 ms.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::health;
use super::metrics::Metrics;
use crate::engine::{Handler, Hub, Limits, Session, Upgrade, UpgradeRequest};
use crate::protocol::Message;
use crate::protocol::http::{HeadLimits, Request, Response};

/// How long a text is good for: far shorter than any interval of scraping, far longer than it takes to make it.
const FRESH: Duration = Duration::from_millis(100);

/// The handler of an administrator's listener.
#[derive(Debug)]
pub struct Admin {
    metrics: Metrics,
    text: Option<(Instant, Bytes)>,
}

impl Admin {
    /// A handler that tells what `metrics` say.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, text: None }
    }

    /// Limits of a listener that only a few scrapers and a person use. A client that asks and does not read holds one of
    /// 64 places for 2.5 s.
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

    fn metrics(&mut self) -> Response {
        let fresh = self.text.as_ref().filter(|(made, _)| made.elapsed() < FRESH);
        let text = match fresh {
            Some((_, text)) => text.clone(),
            None => match self.metrics.text() {
                Ok(text) => self.text.insert((Instant::now(), Bytes::from(text))).1.clone(),
                Err(_) => return Response::text(500, "The metrics could not be put into text.\n"),
            },
        };
        Response::new(200).with_body(Metrics::CONTENT_TYPE, text)
    }
}

impl Handler for Admin {
    type State = ();

    fn upgrade(&mut self, _: &UpgradeRequest<'_>) -> Upgrade<()> {
        Upgrade::reject(Response::text(404, "There is no WebSocket here. It is where --listen says.\n"))
    }

    fn request(&mut self, request: &Request<'_>, _hub: &mut Hub<'_>) -> Response {
        let response = match request.path() {
            "/" => Response::text(200, "ringsock: /metrics for Prometheus, /health and /readyz for load balancers.\n"),
            "/metrics" => self.metrics(),
            path => match health::answer(path, self.metrics.status()) {
                Some(response) => response,
                None => return Response::text(404, "There is nothing here. Try /metrics, /health or /readyz.\n"),
            },
        };
        health::to_readers(request, response)
    }

    fn before_body(&mut self, request: &Request<'_>, hub: &mut Hub<'_>) -> Option<Response> {
        Some(self.request(request, hub))
    }

    fn message(&mut self, _: &mut Session<'_, ()>, _: Message<'_>) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{Counters, ReactorKind};

    #[test]
    fn the_text_is_made_once_in_100_ms_however_often_it_is_asked_for() {
        let cores: Vec<Arc<Counters>> = vec![Arc::default()];
        let mut admin = Admin::new(Metrics::new(&cores, Arc::default(), ReactorKind::Epoll, &Limits::default()));
        let first = admin.metrics();
        cores[0].accepted.add(1);
        let made = admin.text.as_ref().unwrap().0;
        let second = admin.metrics();
        if made.elapsed() < FRESH {
            assert_eq!(first.body(), second.body());
        }
        std::thread::sleep(FRESH);
        let third = admin.metrics();
        assert_eq!((third.status(), second.body() == third.body()), (200, false));
        let text = String::from_utf8(third.body().to_vec()).unwrap();
        assert!(text.contains("\nringsock_connections_accepted_total{core=\"0\"} 1\n"), "{text}");
    }
}
