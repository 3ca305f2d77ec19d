//! The injector: threads outside the cores push entries into the inboxes of cores through it.
//!
//! Never waits for a core. Invariant: the entries of each thread keep their order, and a full inbox gives an entry
//! back at once.

use std::sync::Arc;

use super::shared::Shared;

/// Pushes entries into the inboxes of cores, from any thread. Cloning it is cheap.
#[derive(Debug)]
pub struct Injector<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Injector<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared }
    }

    /// Returns the number of cores.
    pub fn cores(&self) -> usize {
        self.shared.parks.len()
    }

    /// Pushes an entry into the inbox of a core, and wakes the core if it sleeps, which costs a system call. Gives the
    /// entry back if the inbox is full, if the core has ended, or if there is no such core.
    pub fn push(&self, core: u16, entry: T) -> Result<(), T> {
        let (Some(queue), Some(park)) =
            (self.shared.inboxes.get(usize::from(core)), self.shared.parks.get(usize::from(core)))
        else {
            return Err(entry);
        };
        queue.push(entry)?;
        park.wake();
        Ok(())
    }
}

impl<T> Clone for Injector<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Mesh, MeshCapacity};

    fn mesh(cores: usize, inbox_entries: usize) -> Vec<Mesh<usize>> {
        Mesh::build(cores, MeshCapacity { ring_entries: 1, inbox_entries })
    }

    #[test]
    fn a_pushed_entry_reaches_the_core_it_is_for() {
        let mut cores = mesh(2, 4);
        let injector = cores[0].injector();
        assert_eq!(injector.cores(), 2);
        assert_eq!((injector.push(1, 7), injector.push(1, 8), injector.push(2, 9)), (Ok(()), Ok(()), Err(9)));
        assert!(cores[1].has_entries() && !cores[0].has_entries());
        assert_eq!((cores[1].pop_inbox(), cores[1].pop_inbox(), cores[1].pop_inbox()), (Some(7), Some(8), None));
    }

    #[test]
    fn a_full_queue_gives_the_entry_back() {
        let cores = mesh(1, 2);
        let injector = cores[0].injector();
        assert_eq!((injector.push(0, 1), injector.clone().push(0, 2), injector.push(0, 3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(cores[0].refused(), 1);
    }

    #[test]
    fn a_core_that_has_ended_takes_nothing_and_keeps_nothing() {
        let mut cores = Mesh::<std::sync::Arc<()>>::build(1, MeshCapacity { ring_entries: 1, inbox_entries: 4 });
        let (injector, entry) = (cores[0].injector(), std::sync::Arc::new(()));
        assert!(injector.push(0, std::sync::Arc::clone(&entry)).is_ok());
        cores.clear();
        assert_eq!(std::sync::Arc::strong_count(&entry), 1, "what was there is dropped");
        assert!(injector.push(0, entry).is_err());
    }

    #[test]
    fn each_of_many_threads_is_heard_in_its_order() {
        const EACH: usize = if cfg!(miri) { 50 } else { 2_000 };
        let mut core = mesh(1, 16).pop().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let injector = core.injector();
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        while injector.push(0, number * 4 + thread).is_err() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        while next.iter().sum::<usize>() < 4 * EACH {
            let Some(entry) = core.pop_inbox() else {
                // The other threads may be waiting for this processor.
                std::thread::yield_now();
                continue;
            };
            assert_eq!(entry / 4, next[entry % 4]);
            next[entry % 4] += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
