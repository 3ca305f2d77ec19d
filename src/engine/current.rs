//! A value that many threads use and that a reload replaces.
//!
//! Owns the value in force and its version. Invariants: a follower learns of a new value by reading one number, and
//! takes the lock only when there is a new one; a value that somebody still uses lives on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The value in force. A clone is another handle to the same value.
#[derive(Debug)]
pub struct Current<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    /// Raised under the lock, after the value was replaced.
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

/// The view that one thread has of a [`Current`] value. It stays as it is until [`Following::refresh`].
#[derive(Debug)]
pub struct Following<T> {
    shared: Arc<Shared<T>>,
    version: u64,
    value: Arc<T>,
}

impl<T> Current<T> {
    /// Returns a value that is in force.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Shared { version: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) }))
    }

    /// Returns the value in force.
    pub fn value(&self) -> Arc<T> {
        Arc::clone(&self.0.lock())
    }

    /// Replaces the value.
    pub fn replace(&self, value: T) {
        let mut current = self.0.lock();
        *current = Arc::new(value);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// Returns a view of the value, for a thread that looks often.
    pub fn follow(&self) -> Following<T> {
        let value = self.0.lock();
        Following {
            shared: Arc::clone(&self.0),
            version: self.0.version.load(Ordering::Acquire),
            value: Arc::clone(&value),
        }
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        // No code that runs under the lock can panic midway.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Following<T> {
    /// Takes the value in force. Returns whether it was replaced since the last call; if not, the call costs a load.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        if self.shared.version.load(Ordering::Acquire) == self.version {
            return false;
        }
        self.take();
        true
    }

    /// Returns the value as of the last refresh.
    #[inline]
    pub fn value(&self) -> &T {
        &self.value
    }

    #[cold]
    fn take(&mut self) {
        let value = self.shared.lock();
        self.version = self.shared.version.load(Ordering::Acquire);
        self.value = Arc::clone(&value);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_follower_keeps_its_value_until_it_asks_for_the_new_one() {
        let current = Current::new(1);
        let mut following = current.follow();
        assert!(!following.refresh());
        current.clone().replace(2);
        current.replace(3);
        assert_eq!((*following.value(), *current.value()), (1, 3));
        assert!(following.refresh());
        assert_eq!((*following.value(), following.refresh()), (3, false));
        assert!(!current.follow().refresh(), "a new follower has the value in force");
    }

    #[test]
    fn values_are_seen_in_order_and_the_last_one_by_all() {
        const LAST: u64 = if cfg!(miri) { 50 } else { 10_000 };
        let current = Current::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                let mut following = current.follow();
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < LAST {
                        if following.refresh() {
                            assert!(*following.value() >= seen, "{seen}");
                        }
                        seen = *following.value();
                        thread::yield_now();
                    }
                });
            }
            (1..=LAST).for_each(|value| current.replace(value));
        });
    }

    #[test]
    fn a_value_that_was_replaced_is_dropped_with_its_last_user() {
        let old = Arc::new(());
        let current = Current::new(Arc::clone(&old));
        let mut following = current.follow();
        current.replace(Arc::default());
        assert_eq!(Arc::strong_count(&old), 2);
        following.refresh();
        assert_eq!(Arc::strong_count(&old), 1);
    }
}
