//! The sleep of one core, and who ends it.
//!
//! Two threads must never miss each other: one that is about to sleep looks for entries after it has said so, and one
//! that pushes looks whether it sleeps after it has pushed. Whatever the order, one of them sees the other (Dekker's
//! algorithm; both need a full fence between writing and looking). Checked exhaustively by loom: scripts/loom.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::OnceLock;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Park {
    sleeping: AtomicBool,
    waker: OnceLock<Waker>,
}

impl Park {
    /// Says how it is woken; the first word counts.
    pub(super) fn wake_by(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// For the core itself: whether it may sleep, since there are no entries. Costs a fence.
    pub(super) fn may_sleep(&self, has_entries: impl FnOnce() -> bool) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may = !has_entries();
        if !may {
            self.awake();
        }
        may
    }

    /// For the core itself: it does not sleep any more.
    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// For those who pushed something: ends its sleep, if it sleeps. Costs a fence, and a system call if it does.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        // Of several who come at once one is enough. A swap would do as well, but it writes even where there is nothing
        // to change, and loom does not know that it stands next to what it read.
        let ends_sleep = self.sleeping.load(Ordering::Relaxed)
            && self.sleeping.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if let Some(waker) = self.waker.get().filter(|_| ends_sleep) {
            waker.wake_by_ref();
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::task::Wake;

    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    /// Of two threads that meet a third all orders are too many: these take a second, one more takes eight.
    const SWITCHES_MAX: usize = 3;

    struct Signal(loom::sync::Notify);

    impl Wake for Signal {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.notify();
        }
    }

    /// A core that sleeps whenever it may, and `pushers` that each push one entry: if it could miss one, it would sleep
    /// for ever, which loom reports as a deadlock. In every order with so many switches that no thread had to make, or,
    /// for `None`, in every order there is.
    fn nothing_is_missed(pushers: usize, switches_max: Option<usize>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = switches_max;
        model.check(move || {
            let (park, entries) = (Arc::new(Park::default()), Arc::new(AtomicUsize::new(0)));
            let signal = std::sync::Arc::new(Signal(loom::sync::Notify::new()));
            park.wake_by(Waker::from(std::sync::Arc::clone(&signal)));
            let threads: Vec<_> = (0..pushers)
                .map(|_| {
                    let (park, entries) = (Arc::clone(&park), Arc::clone(&entries));
                    thread::spawn(move || {
                        entries.fetch_add(1, Ordering::Release);
                        park.wake();
                    })
                })
                .collect();
            let mut popped = 0;
            while popped < pushers {
                popped += entries.swap(0, Ordering::Acquire);
                if popped < pushers && park.may_sleep(|| entries.load(Ordering::Acquire) > 0) {
                    signal.0.wait();
                    park.awake();
                }
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn an_entry_pushed_by_one_is_never_slept_over() {
        nothing_is_missed(1, None);
    }

    #[test]
    fn entries_pushed_by_two_are_never_slept_over() {
        nothing_is_missed(2, Some(SWITCHES_MAX));
    }
}
