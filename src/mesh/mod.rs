//! The mesh between cores: a bounded ring from each core to each other, and an inbox per core for threads outside.
//!
//! Owns the rings, the inboxes and the sleep of the cores that read them. Never waits, never allocates once it is built
//! (except an inbox, at its first entry), and never looks at an entry. Invariant: a core pops each entry pushed to it
//! without any other event, because a sleeping core is woken (see `park`); an entry that does not fit is given back at
//! once.

mod inbox;
mod injector;
mod park;
mod shared;

use std::sync::Arc;
use std::task::Waker;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use inbox::Inbox;
pub use injector::Injector;
use shared::Shared;

/// The capacities of the queues between cores (rings), and from other threads to cores (inboxes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshCapacity {
    /// Entries from one core to another. Default 1024: some milliseconds of many small topics, 40 KiB for each pair of
    /// cores and direction.
    pub ring_entries: usize,
    /// Entries from other threads to one core. Default 4096: threads come in bursts and do not share a ring's pace.
    pub inbox_entries: usize,
}

impl Default for MeshCapacity {
    fn default() -> Self {
        Self { ring_entries: 1024, inbox_entries: 4096 }
    }
}

/// One core's end of every ring; `T` is the type of the entries.
#[derive(Debug)]
pub struct Mesh<T> {
    core: u16,
    /// The links by the number of the other core; `None` for this core itself.
    links: Vec<Option<Link<T>>>,
    /// The cores to wake at the next [`Mesh::wake_others`].
    pushed: Vec<u16>,
    /// The core to pop from first next time, so that none is preferred.
    next: usize,
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Link<T> {
    to: Producer<T>,
    from: Consumer<T>,
    /// The number of entries pushed so far.
    sent: u64,
    /// The core is in `Mesh::pushed`.
    pushed: bool,
}

impl<T> Mesh<T> {
    /// Builds a mesh and returns the end of each core, in the order of the cores.
    pub fn build(cores: usize, capacity: MeshCapacity) -> Vec<Self> {
        let shared = Arc::new(Shared::new(cores, capacity.inbox_entries));
        let mut ends: Vec<Self> = (0..cores)
            .map(|core| Self {
                core: core as u16,
                links: (0..cores).map(|_| None).collect(),
                pushed: Vec::with_capacity(cores),
                next: 0,
                shared: Arc::clone(&shared),
            })
            .collect();
        for one in 0..cores {
            for other in one + 1..cores {
                let (to_other, from_one) = RingBuffer::new(capacity.ring_entries.max(1));
                let (to_one, from_other) = RingBuffer::new(capacity.ring_entries.max(1));
                ends[one].links[other] = Some(Link { to: to_other, from: from_other, sent: 0, pushed: false });
                ends[other].links[one] = Some(Link { to: to_one, from: from_one, sent: 0, pushed: false });
            }
        }
        ends
    }

    /// Sets the waker of this core. Until then no other core wakes it.
    pub fn wake_by(&self, waker: Waker) {
        self.shared.parks[usize::from(self.core)].wake_by(waker);
    }

    /// Returns an injector for threads outside the cores.
    pub fn injector(&self) -> Injector<T> {
        Injector::new(Arc::clone(&self.shared))
    }

    /// Returns the numbers of the other cores.
    pub fn others(&self) -> impl Iterator<Item = u16> + use<T> {
        let core = self.core;
        (0..self.links.len() as u16).filter(move |other| *other != core)
    }

    /// Returns whether there are no other cores.
    pub fn is_alone(&self) -> bool {
        self.links.len() <= 1
    }

    /// Pushes an entry to another core, or gives it back if the ring is full. [`Mesh::wake_others`] wakes the other
    /// core. Costs no system call.
    pub fn push(&mut self, to: u16, entry: T) -> Result<(), T> {
        let Some(Some(link)) = self.links.get_mut(usize::from(to)) else { return Err(entry) };
        link.to.push(entry).map_err(|PushError::Full(entry)| entry)?;
        link.sent += 1;
        if !std::mem::replace(&mut link.pushed, true) {
            self.pushed.push(to);
        }
        Ok(())
    }

    /// Returns the number of entries that the ring to another core has room for.
    pub fn room(&self, to: u16) -> usize {
        self.links.get(usize::from(to)).and_then(Option::as_ref).map_or(0, |link| link.to.slots())
    }

    /// Returns whether the ring to another core is more than half full.
    pub fn is_crowded(&self, to: u16) -> bool {
        let link = self.links.get(usize::from(to)).and_then(Option::as_ref);
        link.is_some_and(|link| link.to.slots() < link.to.buffer().capacity() / 2)
    }

    /// Returns the number of entries pushed to another core so far.
    pub fn sent(&self, to: u16) -> u64 {
        self.links.get(usize::from(to)).and_then(Option::as_ref).map_or(0, |link| link.sent)
    }

    /// Returns how many of the entries pushed to another core that core has popped.
    pub fn popped_by(&self, to: u16) -> u64 {
        let link = self.links.get(usize::from(to)).and_then(Option::as_ref);
        link.map_or(0, |link| link.sent - (link.to.buffer().capacity() - link.to.slots()) as u64)
    }

    /// Pops the next entry from another core, and returns that core's number with it. The other cores take turns.
    pub fn pop(&mut self) -> Option<(u16, T)> {
        let cores = self.links.len();
        for step in 0..cores {
            let from = (self.next + step) % cores;
            if let Some(entry) = self.links[from].as_mut().and_then(|link| link.from.pop().ok()) {
                self.next = (from + 1) % cores;
                return Some((from as u16, entry));
            }
        }
        None
    }

    /// Pops the next entry from this core's inbox.
    pub fn pop_inbox(&mut self) -> Option<T> {
        self.own_inbox().pop()
    }

    /// Returns whether an entry waits to be popped.
    pub fn has_entries(&self) -> bool {
        self.links.iter().flatten().any(|link| !link.from.is_empty()) || self.own_inbox().has_entries()
    }

    /// Returns how many entries from outside have found the inbox of this core full.
    pub fn refused(&self) -> u64 {
        self.own_inbox().refused()
    }

    fn own_inbox(&self) -> &Inbox<T> {
        &self.shared.inboxes[usize::from(self.core)]
    }

    /// Wakes the cores that entries were pushed to, if they sleep. Costs one system call for each sleeping core.
    pub fn wake_others(&mut self) {
        for to in self.pushed.drain(..) {
            if let Some(Some(link)) = self.links.get_mut(usize::from(to)) {
                link.pushed = false;
            }
            self.shared.parks[usize::from(to)].wake();
        }
    }

    /// Schedules another core for the next [`Mesh::wake_others`], although nothing was pushed to it: that core waits
    /// for room in a ring that this core has popped from.
    pub fn wake_later(&mut self, core: u16) {
        let link = self.links.get_mut(usize::from(core)).and_then(Option::as_mut);
        if link.is_some_and(|link| !std::mem::replace(&mut link.pushed, true)) {
            self.pushed.push(core);
        }
    }

    /// Announces that this core is about to sleep, and returns whether it may, because no entry waits. Other cores wake
    /// it for each entry until it calls [`awake`](Mesh::awake).
    pub fn may_sleep(&self) -> bool {
        self.shared.parks[usize::from(self.core)].may_sleep(|| self.has_entries())
    }

    /// Announces that this core runs again, so that no other core has to wake it.
    pub fn awake(&self) {
        self.shared.parks[usize::from(self.core)].awake();
    }
}

impl<T> Drop for Mesh<T> {
    fn drop(&mut self) {
        self.own_inbox().close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn mesh(cores: usize, ring_entries: usize) -> Vec<Mesh<u64>> {
        Mesh::build(cores, MeshCapacity { ring_entries, inbox_entries: 4 })
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn entries_arrive_in_order_and_the_senders_take_turns() {
        let mut cores = mesh(3, 8);
        for entry in 0..3 {
            cores[0].push(2, entry).unwrap();
            cores[1].push(2, 10 + entry).unwrap();
        }
        let popped: Vec<_> = std::iter::from_fn(|| cores[2].pop()).collect();
        assert_eq!(popped, [(0, 0), (1, 10), (0, 1), (1, 11), (0, 2), (1, 12)]);
    }

    #[test]
    fn a_full_ring_gives_the_entry_back_and_no_other_is_affected() {
        let mut cores = mesh(3, 2);
        assert_eq!((cores[0].push(1, 1), cores[0].push(1, 2), cores[0].push(1, 3)), (Ok(()), Ok(()), Err(3)));
        assert!(cores[0].is_crowded(1) && !cores[0].is_crowded(2));
        assert_eq!(cores[0].push(2, 3), Ok(()));
        assert_eq!(cores[1].pop(), Some((0, 1)));
        assert_eq!((cores[0].room(1), cores[0].sent(1), cores[0].popped_by(1)), (1, 2, 1));
    }

    #[test]
    fn a_core_cannot_push_to_itself_or_to_one_that_is_not_there() {
        let mut cores = mesh(2, 2);
        assert_eq!((cores[0].push(0, 1), cores[0].push(2, 1)), (Err(1), Err(1)));
        assert_eq!(cores[0].others().collect::<Vec<_>>(), [1]);
        assert!(!cores[0].is_alone() && mesh(1, 1)[0].is_alone());
    }

    #[test]
    fn a_busy_core_is_never_woken_and_a_sleeping_one_once_for_a_batch() {
        let mut cores = mesh(2, 8);
        let wakes = Arc::new(Count::default());
        cores[1].wake_by(Waker::from(Arc::clone(&wakes)));
        cores[0].push(1, 1).unwrap();
        cores[0].wake_others();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "it does not sleep");
        assert!(!cores[1].may_sleep(), "there is something to pop");
        cores[1].pop();
        assert!(cores[1].may_sleep());
        (0..3).for_each(|entry| cores[0].push(1, entry).unwrap());
        cores[0].wake_others();
        cores[0].push(1, 3).unwrap();
        cores[0].wake_others();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        cores[1].awake();
        while cores[1].pop().is_some() {}
        assert!(cores[1].may_sleep());
        cores[0].wake_later(1);
        cores[0].wake_others();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_million_entries_cross_between_threads_in_order_and_nobody_sleeps_for_ever() {
        const ENTRIES: u64 = if cfg!(miri) { 1_000 } else { 1_000_000 };
        let cores = mesh(2, 64);
        let threads: Vec<_> = cores.into_iter().map(|core| thread::spawn(move || exchange(core, ENTRIES))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Far longer than an exchange takes, so only a lost wake-up reaches it.
    const LOST_AFTER: Duration = Duration::from_secs(60);

    /// Sends `entries` to the other core and receives as many, sleeping whenever there is nothing to do.
    fn exchange(mut mesh: Mesh<u64>, entries: u64) {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        mesh.wake_by(Waker::from(Arc::new(Unpark(thread::current()))));
        let other = 1 - mesh.core;
        let (mut sent, mut received) = (0, 0);
        while sent < entries || received < entries {
            let mut idle = true;
            while sent < entries && mesh.push(other, sent).is_ok() {
                (sent, idle) = (sent + 1, false);
            }
            while let Some((from, entry)) = mesh.pop() {
                assert_eq!((from, entry), (other, received));
                (received, idle) = (received + 1, false);
                // The other core may be waiting for room.
                mesh.wake_later(from);
            }
            mesh.wake_others();
            if idle && mesh.may_sleep() {
                // The other core wakes this one for room too. This core checks for room, as for entries, after it has
                // announced its sleep.
                if sent == entries || mesh.room(other) == 0 {
                    let asleep = Instant::now();
                    thread::park_timeout(LOST_AFTER);
                    assert!(asleep.elapsed() < LOST_AFTER, "nobody woke it: {sent} sent, {received} received");
                }
                mesh.awake();
            }
        }
    }
}
