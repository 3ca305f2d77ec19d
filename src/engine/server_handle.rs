//! Reaches topics and sessions of all cores from any thread.
//!
//! What it is asked goes through a bounded queue to the core that is to do it, and never waits: if the queue is full,
//! the caller is told. Invariant: what one thread publishes to one topic keeps its order, because a topic has one core
//! that all such messages go through.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::handler::Sent;
use super::parcel::{Content, Parcel};
use super::session::SessionId;
use super::topics::{self, TopicError};
use crate::mesh::Door;
use crate::protocol::{Message, Prepared};

/// See the module. Cloning it is cheap.
#[derive(Clone)]
pub struct ServerHandle {
    door: Door<Parcel>,
}

impl ServerHandle {
    pub(super) fn new(door: Door<Parcel>) -> Self {
        Self { door }
    }

    /// Publishes a message to everyone who is subscribed to the topic, or to a pattern that it matches. Says
    /// [`Sent::Dropped`] if the queue of the core that is to publish it is full.
    pub fn publish<'m>(&self, topic: &str, message: impl Into<Message<'m>>) -> Result<Sent, TopicError> {
        self.publish_prepared(topic, &Prepared::new(message))
    }

    /// As [`ServerHandle::publish`], for a message that is sent elsewhere too.
    pub fn publish_prepared(&self, topic: &str, prepared: &Prepared) -> Result<Sent, TopicError> {
        topics::check_publishable(topic)?;
        let content = Content::Publish { name: topic.into(), batch: prepared.batch().clone() };
        Ok(self.push(self.core_of(topic), content))
    }

    /// Sends a message to one session, wherever it lives. Says [`Sent::Dropped`] if the queue of its core is full; what
    /// becomes of it there is counted, but not said.
    pub fn send(&self, session: SessionId, prepared: &Prepared) -> Sent {
        self.push(session.core, Content::Send { token: session.token, prepared: prepared.clone() })
    }

    /// How many sessions are subscribed to a topic or pattern, over all cores, without those that match it only. Ready
    /// once every core has counted; `None` if one could not be asked, because its queue is full or it has ended.
    pub fn subscribers(&self, topic: &str) -> Subscribers {
        let count = Arc::new(Count { missing: AtomicUsize::new(self.door.cores()), ..Count::default() });
        for core in 0..self.door.cores() as u16 {
            let tally = Tally { count: Arc::clone(&count), answered: false };
            self.push(core, Content::Count { name: topic.into(), tally });
        }
        Subscribers(count)
    }

    fn push(&self, core: u16, content: Content) -> Sent {
        match self.door.push(core, Parcel(content)) {
            Ok(()) => Sent::Queued,
            Err(_) => Sent::Dropped,
        }
    }

    fn core_of(&self, topic: &str) -> u16 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(topic);
        (hash % self.door.cores() as u64) as u16
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("cores", &self.door.cores()).finish()
    }
}

/// What all cores have counted together.
#[derive(Debug, Default)]
struct Count {
    sum: AtomicUsize,
    unanswered: AtomicUsize,
    missing: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// One core's part of a count. Dropped without an answer, it says that there is none.
#[derive(Debug)]
pub(super) struct Tally {
    count: Arc<Count>,
    answered: bool,
}

impl Tally {
    pub(super) fn add(mut self, subscribers: usize) {
        self.count.sum.fetch_add(subscribers, Ordering::Relaxed);
        self.answered = true;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.answered {
            self.count.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        if self.count.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = self.count.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// A number of subscribers that is being counted; see [`ServerHandle::subscribers`].
#[derive(Debug)]
#[must_use = "nothing is known before it is awaited"]
pub struct Subscribers(Arc<Count>);

impl Subscribers {
    /// Blocks this thread until it is counted. Not for a core's own thread, which has to count too.
    pub fn wait(mut self) -> Option<usize> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(subscribers) => return subscribers,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for Subscribers {
    type Output = Option<usize>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<usize>> {
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if self.0.missing.load(Ordering::Acquire) > 0 {
            return Poll::Pending;
        }
        let complete = self.0.unanswered.load(Ordering::Relaxed) == 0;
        Poll::Ready(complete.then(|| self.0.sum.load(Ordering::Relaxed)))
    }
}
