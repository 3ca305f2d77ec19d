//! The number of a topic's subscribers over all cores, of which each core counts its own.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The sum over the cores that have answered.
#[derive(Debug, Default)]
struct Count {
    sum: AtomicUsize,
    unanswered: AtomicUsize,
    missing: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// One core's part of a count. If it is dropped without an answer, the count is incomplete.
#[derive(Debug)]
pub(in crate::engine) struct Tally {
    count: Arc<Count>,
    answered: bool,
}

impl Tally {
    pub(in crate::engine) fn add(mut self, subscribers: usize) {
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

/// The pending number of a topic's subscribers, from [`ServerHandle::subscribers`](super::ServerHandle::subscribers).
/// Tasks of a core await it, other threads [wait](Self::wait). It is `None` if a core could not be asked.
#[derive(Debug)]
#[must_use = "nothing is known before it is awaited"]
pub struct Subscribers(Arc<Count>);

impl Subscribers {
    /// Begins a count over so many cores.
    pub(super) fn over(cores: usize) -> Self {
        Self(Arc::new(Count { missing: AtomicUsize::new(cores), ..Count::default() }))
    }

    /// Returns one core's part of the count.
    pub(super) fn tally(&self) -> Tally {
        Tally { count: Arc::clone(&self.0), answered: false }
    }

    /// Blocks this thread until every core has counted. Must not be called on a core's thread, which has to count too.
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
