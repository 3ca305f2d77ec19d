//! The subscriptions of a core: one entry each, in the list of its topic and in the list of its session.
//!
//! Invariant: an entry is in both lists or in neither, and each list is as long as its owner says. Unsubscribing
//! searches the shorter of two lists; nothing else searches.

use std::num::NonZeroU32;

use super::policy::{Overflow, Subscribe};
use crate::reactor::SESSIONS_PER_CORE_MAX;
use crate::slab::{NO_ENTRY, Slab};

/// The subscription of one session to one topic.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Member {
    /// One more than the topic's number, so that a free entry costs no more.
    topic: NonZeroU32,
    /// The session's index, with flags in the bits above.
    session: u32,
    topic_next: u32,
    topic_previous: u32,
    session_next: u32,
    session_previous: u32,
}

/// The session's handler was told of the subscription.
const CONFIRMED: u32 = 1 << 24;
/// The subscription excludes the messages of its own session.
const NO_ECHO: u32 = 1 << 25;
/// The session waits for the topic's latest message: see [`Overflow::Latest`].
const LAGGING: u32 = 1 << 26;
const OVERFLOW_SHIFT: u32 = 27;
const OVERFLOW_MASK: u32 = 3 << OVERFLOW_SHIFT;

const _: () = assert!(SESSIONS_PER_CORE_MAX <= CONFIRMED as usize);

/// The limit for one subscription, in bytes.
const MEMBER_BYTES_MAX: usize = 32;
const _: () = assert!(Slab::<Member>::ENTRY_BYTES <= MEMBER_BYTES_MAX);

impl Member {
    pub(in crate::engine) fn topic(&self) -> u32 {
        self.topic.get() - 1
    }

    pub(in crate::engine) fn session(&self) -> u32 {
        self.session & (CONFIRMED - 1)
    }

    pub(in crate::engine) fn excludes_own(&self) -> bool {
        self.session & NO_ECHO != 0
    }

    pub(in crate::engine) fn is_lagging(&self) -> bool {
        self.session & LAGGING != 0
    }

    pub(in crate::engine) fn overflow(&self) -> Overflow {
        match (self.session & OVERFLOW_MASK) >> OVERFLOW_SHIFT {
            0 => Overflow::Close,
            1 => Overflow::DropNewest,
            2 => Overflow::DropOldest,
            _ => Overflow::Latest,
        }
    }

    /// Returns whether both are the same subscription.
    pub(in crate::engine) fn is_same_as(&self, other: &Member) -> bool {
        self.topic == other.topic && self.session() == other.session()
    }

    /// Returns the next subscription to the same topic.
    pub(in crate::engine) fn next_of_topic(&self) -> u32 {
        self.topic_next
    }

    /// Returns the next subscription of the same session.
    pub(in crate::engine) fn next_of_session(&self) -> u32 {
        self.session_next
    }

    pub(in crate::engine) fn is_confirmed(&self) -> bool {
        self.session & CONFIRMED != 0
    }

    /// Records that the handler was told of the subscription.
    pub(in crate::engine) fn confirm(&mut self) {
        self.session |= CONFIRMED;
    }

    /// Changes the options of the subscription.
    pub(super) fn subscribe_as(&mut self, subscribe: Subscribe) {
        self.session = self.session & !(OVERFLOW_MASK | NO_ECHO) | flags(subscribe);
    }

    /// Records whether the session waits for the latest message. Returns whether that is a change.
    pub(in crate::engine) fn set_lagging(&mut self, lagging: bool) -> bool {
        let was_lagging = self.is_lagging();
        self.session = if lagging { self.session | LAGGING } else { self.session & !LAGGING };
        was_lagging != lagging
    }
}

fn flags(subscribe: Subscribe) -> u32 {
    let overflow = match subscribe.overflow {
        Overflow::Close => 0,
        Overflow::DropNewest => 1,
        Overflow::DropOldest => 2,
        Overflow::Latest => 3,
    };
    overflow << OVERFLOW_SHIFT | if subscribe.echo { 0 } else { NO_ECHO }
}

/// The subscriptions of a session, or to a topic: the head and the length of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Membership {
    pub(in crate::engine) first: u32,
    pub(in crate::engine) count: u32,
}

impl Default for Membership {
    fn default() -> Self {
        Self { first: NO_ENTRY, count: 0 }
    }
}

/// The subscriptions of a core.
#[derive(Debug, Default)]
pub(in crate::engine) struct Members(Slab<Member>);

impl Members {
    pub(in crate::engine) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(in crate::engine) fn get(&self, member: u32) -> Option<&Member> {
        self.0.get(member)
    }

    pub(in crate::engine) fn get_mut(&mut self, member: u32) -> Option<&mut Member> {
        self.0.get_mut(member)
    }

    /// Finds the subscription of a session to a topic, in the shorter of the two lists.
    pub(super) fn find(&self, topic: (u32, Membership), session: (u32, Membership)) -> Option<u32> {
        let by_topic = topic.1.count <= session.1.count;
        let mut at = if by_topic { topic.1.first } else { session.1.first };
        while let Some(member) = self.0.get(at) {
            if member.topic() == topic.0 && member.session() == session.0 {
                return Some(at);
            }
            at = if by_topic { member.topic_next } else { member.session_next };
        }
        None
    }

    /// Adds a subscription at the head of both lists, so that a round under way does not reach it.
    pub(super) fn add(
        &mut self,
        topic: (u32, &mut Membership),
        session: (u32, &mut Membership),
        subscribe: Subscribe,
    ) -> Option<u32> {
        let member = self.0.insert(Member {
            topic: NonZeroU32::new(topic.0.checked_add(1)?)?,
            session: session.0 | flags(subscribe),
            topic_next: topic.1.first,
            topic_previous: NO_ENTRY,
            session_next: session.1.first,
            session_previous: NO_ENTRY,
        });
        if let Some(next) = self.0.get_mut(topic.1.first) {
            next.topic_previous = member;
        }
        if let Some(next) = self.0.get_mut(session.1.first) {
            next.session_previous = member;
        }
        *topic.1 = Membership { first: member, count: topic.1.count + 1 };
        *session.1 = Membership { first: member, count: session.1.count + 1 };
        Some(member)
    }

    /// Removes a subscription from both lists.
    pub(super) fn remove(&mut self, member: u32, topic: &mut Membership, session: &mut Membership) -> Option<Member> {
        let removed = self.0.remove(member)?;
        match self.0.get_mut(removed.topic_previous) {
            Some(previous) => previous.topic_next = removed.topic_next,
            None => topic.first = removed.topic_next,
        }
        if let Some(next) = self.0.get_mut(removed.topic_next) {
            next.topic_previous = removed.topic_previous;
        }
        match self.0.get_mut(removed.session_previous) {
            Some(previous) => previous.session_next = removed.session_next,
            None => session.first = removed.session_next,
        }
        if let Some(next) = self.0.get_mut(removed.session_next) {
            next.session_previous = removed.session_previous;
        }
        topic.count -= 1;
        session.count -= 1;
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn listed(members: &Members, membership: Membership, next: impl Fn(&Member) -> u32) -> Vec<u32> {
        let mut at = membership.first;
        let mut found = Vec::new();
        while let Some(member) = members.get(at) {
            found.push(at);
            at = next(member);
        }
        assert_eq!(found.len(), membership.count as usize);
        found
    }

    #[test]
    fn a_member_is_what_it_was_made() {
        for overflow in [Overflow::Close, Overflow::DropNewest, Overflow::DropOldest, Overflow::Latest] {
            for echo in [false, true] {
                let (mut members, mut topic, mut session) =
                    (Members::default(), Membership::default(), Membership::default());
                let index = SESSIONS_PER_CORE_MAX as u32 - 1;
                let at = members.add((7, &mut topic), (index, &mut session), Subscribe { overflow, echo }).unwrap();
                let member = members.get_mut(at).unwrap();
                assert!(!member.is_confirmed() && member.set_lagging(true) && !member.set_lagging(true));
                member.confirm();
                assert_eq!((member.topic(), member.session(), member.overflow()), (7, index, overflow));
                assert_eq!((member.excludes_own(), member.is_lagging()), (!echo, true));
                assert!(member.set_lagging(false) && !member.is_lagging() && member.is_confirmed());
                member.subscribe_as(Subscribe::default());
                assert_eq!((member.overflow(), member.excludes_own()), (Overflow::Close, false));
            }
        }
    }

    proptest! {
        #[test]
        fn both_lists_hold_exactly_those_who_joined_and_did_not_leave(
            steps in prop::collection::vec((any::<bool>(), 0..5u32, 0..7u32), 0..400),
        ) {
            let mut members = Members::default();
            let (mut topics, mut sessions) = ([Membership::default(); 5], [Membership::default(); 7]);
            let mut model = HashMap::new();
            for (join, topic, session) in steps {
                let found = members.find((topic, topics[topic as usize]), (session, sessions[session as usize]));
                prop_assert_eq!(found, model.get(&(topic, session)).copied());
                let (of_topic, of_session) = (&mut topics[topic as usize], &mut sessions[session as usize]);
                match found {
                    None if join => {
                        let member = members.add((topic, of_topic), (session, of_session), Subscribe::default());
                        model.insert((topic, session), member.unwrap());
                    }
                    Some(member) if !join => {
                        members.remove(member, of_topic, of_session);
                        model.remove(&(topic, session));
                    }
                    _ => {}
                }
                prop_assert_eq!(members.len(), model.len());
            }
            for (topic, membership) in topics.iter().enumerate() {
                let of_topic = model.iter().filter(|(key, _)| key.0 == topic as u32);
                let mut expected: Vec<_> = of_topic.map(|(_, at)| *at).collect();
                let mut found = listed(&members, *membership, Member::next_of_topic);
                expected.sort_unstable();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            for (session, membership) in sessions.iter().enumerate() {
                let of_session = model.iter().filter(|(key, _)| key.1 == session as u32);
                let mut expected: Vec<_> = of_session.map(|(_, at)| *at).collect();
                let mut found = listed(&members, *membership, Member::next_of_session);
                expected.sort_unstable();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
