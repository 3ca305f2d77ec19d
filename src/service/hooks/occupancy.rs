//! The number of subscribers of each topic on this server, over all cores, for the facts that a topic is occupied or
//! vacated.
//!
//! Never locks: its owner does. Invariant: a topic that is here has at least one subscriber.

use std::collections::HashMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Occupancy {
    subscribers: HashMap<Box<str>, u64>,
}

impl Occupancy {
    /// Adds a subscriber. Returns whether it is the first one of its topic.
    pub fn add(&mut self, topic: &str) -> bool {
        match self.subscribers.get_mut(topic) {
            Some(count) => {
                *count += 1;
                false
            }
            None => {
                self.subscribers.insert(topic.into(), 1);
                true
            }
        }
    }

    /// Removes a subscriber. Returns whether it was the last one of its topic.
    pub fn remove(&mut self, topic: &str) -> bool {
        let Some(count) = self.subscribers.get_mut(topic) else { return false };
        *count -= 1;
        let is_vacated = *count == 0;
        if is_vacated {
            self.subscribers.remove(topic);
            // A crowd that has left leaves no memory behind.
            if self.subscribers.capacity() > 1024 && self.subscribers.len() < self.subscribers.capacity() / 4 {
                self.subscribers.shrink_to_fit();
            }
        }
        is_vacated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_subscriber_and_the_last_one_are_noticed() {
        let mut occupancy = Occupancy::default();
        assert!(occupancy.add("a") && !occupancy.add("a") && occupancy.add("b"));
        assert!(!occupancy.remove("a") && occupancy.remove("a") && !occupancy.remove("a"));
        assert!(occupancy.add("a"), "it is occupied again");
        assert!(occupancy.remove("b") && !occupancy.remove("never"));
    }

    #[test]
    fn many_topics_leave_no_memory_behind() {
        let mut occupancy = Occupancy::default();
        (0..100_000).for_each(|topic| assert!(occupancy.add(&topic.to_string())));
        (0..100_000).for_each(|topic| assert!(occupancy.remove(&topic.to_string())));
        assert!(occupancy.subscribers.is_empty() && occupancy.subscribers.capacity() <= 2048);
    }
}
