//! The sessions of one core that facts are told about.
//!
//! Owns what is known of them, beside the engine's own state, so that a server without facts has none. Invariant: each
//! session that was told as connected is told as disconnected, and each subscription that was told, as ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::fact::{About, Departure};
use super::facts::Facts;
use crate::engine::{Ended, Handler, Session, SessionId};
use crate::service::wall_clock::unix_ms;

/// See the module.
#[derive(Debug)]
pub(in crate::service) struct Attendance {
    facts: Arc<Facts>,
    present: HashMap<SessionId, Visitor>,
}

#[derive(Debug)]
struct Visitor {
    about: About,
    since: Instant,
    topics: Vec<Arc<str>>,
}

impl Attendance {
    /// Returns the list of a core without sessions.
    pub(in crate::service) fn new(facts: Arc<Facts>) -> Self {
        Self { facts, present: HashMap::new() }
    }

    /// Notes a session that has opened.
    pub(in crate::service) fn open<H: Handler>(&mut self, session: &Session<'_, H>, name: Option<&str>) {
        let about = About { session: session.id(), name: name.map(Arc::from), address: session.client_address() };
        self.facts.connected(&about, unix_ms());
        self.present.insert(session.id(), Visitor { about, since: Instant::now(), topics: Vec::new() });
    }

    /// Notes the name of a session whose token came later.
    pub(in crate::service) fn name(&mut self, id: SessionId, name: Option<&str>) {
        if let (Some(visitor), Some(name)) = (self.present.get_mut(&id), name)
            && visitor.about.name.as_deref() != Some(name)
        {
            visitor.about.name = Some(name.into());
        }
    }

    /// Notes that a session is subscribed to a topic.
    pub(in crate::service) fn subscribed(&mut self, id: SessionId, topic: &str) {
        if let Some(visitor) = self.present.get_mut(&id) {
            let topic: Arc<str> = topic.into();
            self.facts.subscribed(&visitor.about, &topic, unix_ms());
            visitor.topics.push(topic);
        }
    }

    /// Notes that a session has ended, and its subscriptions with it.
    pub(in crate::service) fn close(&mut self, id: SessionId, ended: Ended<'_>) {
        let Some(Visitor { about, since, topics }) = self.present.remove(&id) else { return };
        let time_ms = unix_ms();
        topics.iter().for_each(|topic| self.facts.unsubscribed(&about, topic, time_ms));
        let departure = Departure {
            code: ended.code.map(|code| code.number()),
            is_clean: ended.clean,
            duration_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.facts.disconnected(&about, departure, time_ms);
    }
}
