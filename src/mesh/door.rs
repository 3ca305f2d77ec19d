//! The way into a core from threads that are none: one bounded queue for each core.
//!
//! Any number of threads push; each one's entries keep their order. A full queue gives the entry back at once.

use std::fmt;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::Shared;

/// A queue for each core.
pub(super) struct Queues<T>(Vec<ArrayQueue<T>>);

impl<T> Queues<T> {
    pub(super) fn new(cores: usize, entries: usize) -> Self {
        Self((0..cores).map(|_| ArrayQueue::new(entries.max(1))).collect())
    }

    pub(super) fn pop(&self, core: u16) -> Option<T> {
        self.0[usize::from(core)].pop()
    }

    pub(super) fn has_entries(&self, core: u16) -> bool {
        !self.0[usize::from(core)].is_empty()
    }
}

impl<T> fmt::Debug for Queues<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ArrayQueue::len)).finish()
    }
}

/// Pushes entries to cores, from any thread. Cloning it is cheap.
#[derive(Debug)]
pub struct Door<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Door<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared }
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.shared.parks.len()
    }

    /// Hands an entry to a core and wakes it if it sleeps; gives the entry back if the queue is full or there is no such
    /// core. Costs a system call if it sleeps.
    pub fn push(&self, core: u16, entry: T) -> Result<(), T> {
        let (Some(queue), Some(park)) =
            (self.shared.queues.0.get(usize::from(core)), self.shared.parks.get(usize::from(core)))
        else {
            return Err(entry);
        };
        queue.push(entry)?;
        park.wake();
        Ok(())
    }
}

impl<T> Clone for Door<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Capacity, Mesh};

    fn mesh(cores: usize, door_entries: usize) -> Vec<Mesh<usize>> {
        Mesh::build(cores, Capacity { ring_entries: 1, door_entries })
    }

    #[test]
    fn what_is_pushed_reaches_the_core_it_is_for() {
        let mut cores = mesh(2, 4);
        let door = cores[0].door();
        assert_eq!(door.cores(), 2);
        assert_eq!((door.push(1, 7), door.push(1, 8), door.push(2, 9)), (Ok(()), Ok(()), Err(9)));
        assert!(cores[1].has_entries() && !cores[0].has_entries());
        assert_eq!((cores[1].pop_door(), cores[1].pop_door(), cores[1].pop_door()), (Some(7), Some(8), None));
    }

    #[test]
    fn a_full_queue_gives_the_entry_back() {
        let cores = mesh(1, 2);
        let door = cores[0].door();
        assert_eq!((door.push(0, 1), door.clone().push(0, 2), door.push(0, 3)), (Ok(()), Ok(()), Err(3)));
    }

    #[test]
    fn each_of_many_threads_is_heard_in_its_order() {
        const EACH: usize = if cfg!(miri) { 50 } else { 20_000 };
        let mut core = mesh(1, 16).pop().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let door = core.door();
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        while door.push(0, number * 4 + thread).is_err() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        while next.iter().sum::<usize>() < 4 * EACH {
            let Some(entry) = core.pop_door() else { continue };
            assert_eq!(entry / 4, next[entry % 4]);
            next[entry % 4] += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
