//! The way into a core from threads that are none: one bounded queue for each core.
//!
//! Any number of threads push; each one's entries keep their order. A full queue gives the entry back at once.

use std::sync::Arc;

use super::shared::Shared;

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

    /// Hands an entry to a core and wakes it if it sleeps; gives the entry back if the queue is full, or if the core has
    /// ended or was never there. Costs a system call if it sleeps.
    pub fn push(&self, core: u16, entry: T) -> Result<(), T> {
        let (Some(queue), Some(park)) =
            (self.shared.queues.get(usize::from(core)), self.shared.parks.get(usize::from(core)))
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
    fn a_core_that_has_ended_takes_nothing_and_keeps_nothing() {
        let mut cores = Mesh::<std::sync::Arc<()>>::build(1, Capacity { ring_entries: 1, door_entries: 4 });
        let (door, entry) = (cores[0].door(), std::sync::Arc::new(()));
        assert!(door.push(0, std::sync::Arc::clone(&entry)).is_ok());
        cores.clear();
        assert_eq!(std::sync::Arc::strong_count(&entry), 1, "what was there is dropped");
        assert!(door.push(0, entry).is_err());
    }

    #[test]
    fn each_of_many_threads_is_heard_in_its_order() {
        const EACH: usize = if cfg!(miri) { 50 } else { 2_000 };
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
            let Some(entry) = core.pop_door() else {
                // The others may be waiting for this processor.
                std::thread::yield_now();
                continue;
            };
            assert_eq!(entry / 4, next[entry % 4]);
            next[entry % 4] += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
