//! The part of a mesh that all cores, and the threads outside, refer to.

use super::park::Park;
use super::queue::Queue;

/// See the module. Cores are found by their numbers.
#[derive(Debug)]
pub(super) struct Shared<T> {
    pub(super) parks: Vec<Park>,
    pub(super) queues: Vec<Queue<T>>,
}

impl<T> Shared<T> {
    pub(super) fn new(cores: usize, queue_entries: usize) -> Self {
        Self {
            parks: (0..cores).map(|_| Park::default()).collect(),
            queues: (0..cores).map(|_| Queue::new(queue_entries)).collect(),
        }
    }
}
