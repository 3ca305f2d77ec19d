//! The hooks of a server, for all cores: the calls of questions, and what is counted of them.
//!
//! Owns the calls and their signatures, on the thread of `outbound`. Never lets a core wait. Invariant: a question is
//! decided within the time of a call, by the backend or by the fallback.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::answer::{ANSWER_BYTES_MAX, Verdict};
use super::point::{Pass, Point, Ruling};
use super::question::{Event, Question};
use super::rules::HookRules;
use super::signature::sign;
use crate::outbound::{Answer, Call, CallError, Client, ClientError, Method, Outbound, Url};
use crate::service::wall_clock::unix_s;

/// The random bytes of the id of a call.
const ID_BYTES: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Hooks {
    outbound: Outbound,
    client: OnceLock<Client>,
    points: [Arc<Point>; 3],
    clock: Clock,
}

/// The time since the server began: it never goes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Hooks {
    /// Returns hooks whose calls are made by `outbound`.
    pub fn new(outbound: Outbound) -> Self {
        let points = Event::ALL.map(|event| Arc::new(Point::new(event)));
        Self { outbound, client: OnceLock::new(), points, clock: Clock(Instant::now()) }
    }

    /// Prepares for calls by these rules, if there are any: reads the authorities of this host, once.
    pub fn prepare(&self, rules: Option<&HookRules>) -> Result<(), ClientError> {
        if rules.is_some() && self.client.get().is_none() {
            let client = Client::new()?;
            let _ = self.client.set(client);
        }
        Ok(())
    }

    /// Returns the hooks that decide, with their counts.
    pub fn points(&self) -> &[Arc<Point>; 3] {
        &self.points
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Runs a task on the thread that makes calls.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        self.outbound.run(task)
    }

    /// Lets a question through to the backend, which has a hook for this event by these rules, or decides at once.
    pub(super) fn begin(&self, rules: &HookRules, event: Event, question: &Question<'_>) -> Result<Pass, Ruling> {
        let rules = rules.point(event).ok_or(Ruling::Unavailable)?;
        let key = if rules.fallback.remembers() { question.key() } else { String::new() };
        self.points[event as usize].begin(rules, key, self.clock.now_ms())
    }

    /// Asks the backend, and passes its ruling to `give`, on the thread that makes calls.
    pub(super) fn ask(
        self: &Arc<Self>,
        rules: &Arc<HookRules>,
        (event, pass): (Event, Pass),
        body: Vec<u8>,
        give: impl FnOnce(Ruling) + Send + 'static,
    ) {
        let (hooks, rules, began) = (Arc::clone(self), Arc::clone(rules), Instant::now());
        let task = async move {
            let answer = match rules.point(event) {
                Some(point) => hooks.call(&rules, point.url.clone(), &random_id(), body).await,
                None => return,
            };
            give(hooks.conclude(pass, event, answer, began));
        };
        // Without a thread the task is dropped, which ends the call and the question.
        if let Err(error) = self.outbound.run(task) {
            tracing::warn!("The hook {} cannot be asked: {error}.", event.name());
        }
    }

    /// Ends a call with its answer.
    fn conclude(&self, pass: Pass, event: Event, answer: Result<Answer, CallError>, began: Instant) -> Ruling {
        let read = match answer {
            Ok(Answer { status, body }) => Verdict::read(status, &body).map_err(|fault| fault.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(fault) = &read {
            tracing::debug!(hook = event.name(), %fault, "A hook gave no answer.");
        }
        let answered = read.ok().map(|verdict| verdict.given_at(unix_s()));
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        pass.end(answered, took_us, self.clock.now_ms())
    }

    /// Makes a signed call.
    pub(super) async fn call(&self, rules: &HookRules, url: Url, id: &str, body: Vec<u8>) -> Result<Answer, CallError> {
        let timestamp_s = unix_s();
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp_s.to_string()),
        ];
        if !rules.secrets().is_empty() {
            headers.push(("webhook-signature", sign(rules.secrets(), id, timestamp_s, &body)));
        }
        let Some(client) = self.client.get() else {
            return Err(CallError::NotConnected { reason: "the hooks were not prepared".to_owned() });
        };
        let timeout = Duration::from_millis(rules.timeout_ms());
        let answer_bytes_max = ANSWER_BYTES_MAX;
        client.call(Call { method: Method::Post, url, headers, body, timeout, answer_bytes_max }).await
    }
}

/// Returns random bytes; zeros if the host has none, which only makes ids equal.
pub(super) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// Returns the id of a question's call.
fn random_id() -> String {
    random::<ID_BYTES>().iter().fold("msg_".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}
