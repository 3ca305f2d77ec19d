//! The sleep of one core, and its wake-up by another thread.
//!
//! Never loses a wake-up: a core that is about to sleep looks for entries after it has announced its sleep, and a
//! thread that pushes looks for a sleeping core after it has pushed. In any order of these steps one of the two sees
//! the other (Dekker's algorithm; both need a full fence between the write and the read). loom checks it exhaustively:
//! scripts/loom.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::OnceLock;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;

/// The sleep state of one core.
#[derive(Debug, Default)]
pub(super) struct Park {
    sleeping: AtomicBool,
    waker: OnceLock<Waker>,
}

impl Park {
    /// Sets the waker; only the first call has an effect.
    pub(super) fn wake_by(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// Announces that the core is about to sleep, and returns whether it may, because there are no entries. Called by
    /// the core itself. Costs a fence.
    pub(super) fn may_sleep(&self, has_entries: impl FnOnce() -> bool) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may = !has_entries();
        if !may {
            self.awake();
        }
        may
    }

    /// Announces that the core runs again. Called by the core itself.
    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Wakes the core if it sleeps. Called by a thread that has pushed an entry. Costs a fence, and a system call if
    /// the core sleeps.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        // One wake-up is enough for several threads that push at once. A swap would do as well, but it writes even
        // where there is nothing to change, and loom does not model that it reads the latest value.
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

    /// The bound on preemptions for two pushers: three take a second, four take eight; all orders would take too long.
    const SWITCHES_MAX: usize = 3;

    struct Signal(loom::sync::Notify);

    impl Wake for Signal {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.notify();
        }
    }

    /// Runs a core that sleeps whenever it may, and `pushers` that each push one entry. A missed entry would make the
    /// core sleep for ever, which loom reports as a deadlock. Explores every order with at most `switches_max`
    /// preemptions, or every order for `None`.
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
