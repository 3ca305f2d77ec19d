//! Reaches topics and sessions of all cores from any thread.
//!
//! A call passes through a bounded inbox to the core that carries it out, and never waits: if the inbox is full, the
//! caller is told. Invariant: the messages of one thread to one topic keep their order, because all of them go through
//! the same core.

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::marker::PhantomData;

use crate::engine::mail::{EntryKind, MeshEntry};
use crate::engine::subscribers::Subscribers;
use crate::engine::topics::{self, TopicError};
use crate::engine::values::Sent;
use crate::engine::values::SessionId;
use crate::mesh::Injector;
use crate::protocol::{Message, Prepared};

/// Reaches the cores of a server from any thread. `M` is the [`Mail`](super::Handler::Mail) of its handlers. A clone is
/// cheap.
pub struct ServerHandle<M = ()> {
    injector: Injector<MeshEntry>,
    mail: PhantomData<fn(M)>,
}

impl<M: Send + 'static> ServerHandle<M> {
    /// Returns a handle to cores whose handlers have this type of mail.
    pub(in crate::engine) fn new(injector: Injector<MeshEntry>) -> Self {
        Self { injector, mail: PhantomData }
    }

    /// Returns the number of cores.
    pub fn cores(&self) -> u16 {
        self.injector.cores() as u16
    }

    /// Sends mail to the handler of a core, which takes it in [`Handler::mail`](super::Handler::mail). The mail of one
    /// thread to one core keeps its order. Returns [`Sent::Dropped`] if the core's inbox is full or the core has ended.
    ///
    /// Costs one allocation and, if the core sleeps, a system call.
    pub fn mail(&self, core: u16, mail: M) -> Sent {
        self.push(core, EntryKind::Mail(Box::new(mail)))
    }

    /// Publishes a message to all subscribers of the topic, and of the patterns that it matches. Returns
    /// [`Sent::Dropped`] if the inbox of the publishing core is full.
    pub fn publish<'m>(&self, topic: &str, message: impl Into<Message<'m>>) -> Result<Sent, TopicError> {
        self.publish_prepared(topic, &Prepared::new(message))
    }

    /// Publishes a prepared message, as [`ServerHandle::publish`] does, for messages that are sent elsewhere too.
    pub fn publish_prepared(&self, topic: &str, prepared: &Prepared) -> Result<Sent, TopicError> {
        topics::check_publishable(topic)?;
        let kind = EntryKind::Publish { name: topic.into(), batch: prepared.batch().clone() };
        Ok(self.push(self.core_of(topic), kind))
    }

    /// Sends a message to one session, on whichever core it lives. Returns [`Sent::Dropped`] if the inbox of that core
    /// is full; the outcome on that core is counted, but not returned.
    pub fn send(&self, session: SessionId, prepared: &Prepared) -> Sent {
        self.push(session.core, EntryKind::Send { token: session.token, prepared: prepared.clone() })
    }

    /// Counts the sessions that are subscribed to this topic or pattern itself, over all cores. Ready once every core
    /// has counted; `None` if a core could not be asked, because its inbox is full or it has ended.
    pub fn subscribers(&self, topic: &str) -> Subscribers {
        let subscribers = Subscribers::over(self.injector.cores());
        for core in 0..self.injector.cores() as u16 {
            let tally = subscribers.tally();
            self.push(core, EntryKind::Count { name: topic.into(), tally });
        }
        subscribers
    }

    fn push(&self, core: u16, kind: EntryKind) -> Sent {
        match self.injector.push(core, MeshEntry(kind)) {
            Ok(()) => Sent::Queued,
            Err(_) => Sent::Dropped,
        }
    }

    fn core_of(&self, topic: &str) -> u16 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(topic);
        (hash % self.injector.cores() as u64) as u16
    }
}

impl<M> Clone for ServerHandle<M> {
    fn clone(&self) -> Self {
        Self { injector: self.injector.clone(), mail: PhantomData }
    }
}

impl<M> fmt::Debug for ServerHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("cores", &self.injector.cores()).finish()
    }
}
