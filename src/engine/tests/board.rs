//! The messages published on all cores of a process, in order, and the messages that each subscriber must receive.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::engine::SessionId;

#[derive(Default)]
pub struct Board {
    published: RefCell<Vec<Published>>,
    subscriptions: RefCell<BTreeMap<(String, String), Subscription>>,
}

struct Published {
    topic: String,
    text: String,
}

/// The subscription of one session to a topic or pattern. Its times are the number of messages published by then.
#[derive(Clone, Copy, Default)]
pub struct Subscription {
    joined: usize,
    confirmed: Option<usize>,
    dropped: u64,
}

/// The messages that a subscriber which stayed to the end did not receive.
pub struct Missing {
    /// Messages that were published after the subscription was confirmed.
    pub promised: u64,
    /// Messages that were published before. Those already on their way when it subscribed may arrive or be reported
    /// dropped.
    pub early: u64,
    /// The messages that the handler was told were dropped.
    pub told: u64,
}

impl Board {
    pub fn publish(&self, topic: &str, text: &str) {
        self.published.borrow_mut().push(Published { topic: topic.to_owned(), text: text.to_owned() });
    }

    pub fn join(&self, id: SessionId, topic: &str) {
        let joined = Subscription { joined: self.published.borrow().len(), ..Subscription::default() };
        self.subscriptions.borrow_mut().insert((id.to_string(), topic.to_owned()), joined);
    }

    pub fn confirm(&self, id: SessionId, topic: &str) {
        let now = self.published.borrow().len();
        self.with(id, topic, |subscription| {
            assert!(subscription.confirmed.replace(now).is_none(), "{id} was told of {topic} twice");
        });
    }

    pub fn drop_for(&self, id: SessionId, topic: &str, messages: u64) {
        self.with(id, topic, |subscription| subscription.dropped += messages);
    }

    fn with(&self, id: SessionId, topic: &str, change: impl FnOnce(&mut Subscription)) {
        if let Some(subscription) = self.subscriptions.borrow_mut().get_mut(&(id.to_string(), topic.to_owned())) {
            change(subscription);
        }
    }

    /// Returns the messages of a topic or pattern that this session should have received and did not; `None` if it is
    /// not subscribed. Fails on a message that it received twice, or that was never published.
    pub fn missing(
        &self,
        id: &str,
        topic: &str,
        heard: &[String],
        is_wanted: impl Fn(&str) -> bool,
    ) -> Option<Missing> {
        let subscription = *self.subscriptions.borrow().get(&(id.to_owned(), topic.to_owned()))?;
        let mut rest: BTreeMap<&str, usize> = BTreeMap::new();
        heard.iter().for_each(|text| *rest.entry(text).or_default() += 1);
        let mut missing = Missing { promised: 0, early: 0, told: subscription.dropped };
        let matches = |published: &Published| match topic.strip_suffix('*') {
            Some(stem) => published.topic.starts_with(stem),
            None => published.topic == topic,
        };
        let published = self.published.borrow();
        let all = published.iter().enumerate();
        // This includes a session's own messages, if they were published before it subscribed.
        let is_due = |at: usize, message: &Published| at < subscription.joined || is_wanted(&message.text);
        for (at, message) in all.filter(|(at, message)| matches(message) && is_due(*at, message)) {
            match rest.get_mut(&*message.text).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None if subscription.confirmed.is_some_and(|confirmed| at >= confirmed) => missing.promised += 1,
                None => missing.early += 1,
            }
        }
        assert!(rest.values().all(|count| *count == 0), "{id} heard of {topic} what was not for it, or twice");
        Some(missing)
    }
}
