//! The methods of a core's view for its handler.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Handler, Hub, Session};
use crate::engine::counters::Counters;
use crate::engine::topics::TopicError;
use crate::engine::values::{Sent, SessionId};
use crate::protocol::Message;
use crate::protocol::deflate::Compress;

impl<H: Handler> Hub<'_, H> {
    /// Publishes a message to all sessions, on any core, that are subscribed to the topic or to a pattern that it
    /// matches.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> Result<Sent, TopicError> {
        self.parts.publish(None, topic, message.into(), Compress::IfLarge)
    }

    /// Sends mail to the handler of a core, this one included: see [`Session::mail`].
    pub fn mail(&mut self, core: u16, mail: H::Mail) -> Sent {
        self.parts.mail(core, Box::new(mail))
    }

    /// Calls `call` with an open session of this core, and sends at its end what was written for the session. Returns
    /// `None` if the session has ended, is closing, or lives on another core.
    ///
    /// A panic of `call` ends the session with 1011, and returns `None`, too.
    pub fn session<T>(&mut self, id: SessionId, call: impl FnOnce(&mut Session<'_, H>) -> T) -> Option<T> {
        let token = id.token;
        if id.core != self.parts.core() {
            return None;
        }
        let Self { sessions, parts, sockets } = self;
        let slot = sessions.get_mut(token).filter(|slot| slot.is_open())?;
        // The reply buffer may hold earlier answers to the client whose request is being handled. Mail finds it empty,
        // and uses its memory.
        let of_another = (!parts.reply.is_empty()).then(|| std::mem::take(&mut parts.reply));
        let mut session = Session { slot: &mut *slot, token, parts, sockets: &mut **sockets };
        let called = catch_unwind(AssertUnwindSafe(|| call(&mut session)));
        if called.is_err() {
            parts.note_panic(Some(&mut *slot), token);
        }
        parts.flush(slot, token, *sockets);
        if let Some(of_another) = of_another {
            parts.reply = of_another;
        }
        parts.note_called(token);
        called.ok()
    }

    /// Returns how many sessions of this core are subscribed to a topic or pattern.
    pub fn subscribers_here(&self, topic: &str) -> usize {
        self.parts.topics.count(topic)
    }

    /// Returns the counters of all cores, in the order of their numbers.
    pub fn counters(&self) -> &[Arc<Counters>] {
        self.parts.counters_of_all()
    }

    /// Returns the number of this core, from 0.
    pub fn core(&self) -> u16 {
        self.parts.core()
    }

    /// Returns the number of cores.
    pub fn cores(&self) -> u16 {
        self.parts.counters_of_all().len() as u16
    }
}

impl<H: Handler> fmt::Debug for Hub<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("core", &self.parts.core()).finish_non_exhaustive()
    }
}
