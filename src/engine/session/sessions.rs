//! The sessions of a core, each under a token that goes stale once its session has ended.
//!
//! Knows nothing of what a session is. Invariant: no two sessions of a core get the same token, so that one which
//! outlived its session finds nothing, whatever became of the memory that the session had.

use super::slot::Slot;
use crate::reactor::{SESSIONS_PER_CORE_MAX, Token};
use crate::slab::Slab;

/// Bytes of user memory of an idle session, without and with a small state of the application.
const SESSION_BYTES_MAX: usize = 88;
const SESSION_WITH_STATE_BYTES_MAX: usize = 128;
const _: () = assert!(Sessions::<Slot<()>>::ENTRY_BYTES <= SESSION_BYTES_MAX);
const _: () = assert!(Sessions::<Slot<[u64; 4]>>::ENTRY_BYTES <= SESSION_WITH_STATE_BYTES_MAX);

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Sessions<S> {
    slab: Slab<Entry<S>>,
    /// The generation of the next session: each has its own, until 2³² have followed it.
    generation: u32,
}

#[derive(Debug)]
struct Entry<S> {
    generation: u32,
    session: S,
}

impl<S> Default for Sessions<S> {
    fn default() -> Self {
        Self { slab: Slab::default(), generation: 0 }
    }
}

impl<S> Sessions<S> {
    /// Bytes of one session.
    const ENTRY_BYTES: usize = Slab::<Entry<S>>::ENTRY_BYTES;

    /// Returns the number of sessions.
    pub(in crate::engine) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns whether there is no session.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.slab.len() == 0
    }

    /// Returns an index that is above that of every session. It falls when memory of the last ones is given back.
    pub(in crate::engine) fn end(&self) -> u32 {
        self.slab.end()
    }

    /// Stores a session, or gives it back if there are [`SESSIONS_PER_CORE_MAX`] already.
    #[inline]
    pub(in crate::engine) fn insert(&mut self, session: S) -> Result<Token, S> {
        // The slab fills the first room, so the index is below the number of sessions that there are at most.
        if self.slab.len() >= SESSIONS_PER_CORE_MAX {
            return Err(session);
        }
        let generation = self.generation;
        self.generation = generation.wrapping_add(1);
        Ok(Token { index: self.slab.insert(Entry { generation, session }), generation })
    }

    /// Returns the session, unless the token is stale.
    #[inline]
    pub(in crate::engine) fn get_mut(&mut self, token: Token) -> Option<&mut S> {
        let entry = self.slab.get_mut(token.index)?;
        (entry.generation == token.generation).then_some(&mut entry.session)
    }

    /// Returns the session at an index, and its token.
    #[inline]
    pub(in crate::engine) fn at_mut(&mut self, index: u32) -> Option<(Token, &mut S)> {
        let Entry { generation, session } = self.slab.get_mut(index)?;
        Some((Token { index, generation: *generation }, session))
    }

    /// Returns the session at an index, and its token, to look at.
    #[cfg(test)]
    pub(in crate::engine) fn at(&self, index: u32) -> Option<(Token, &S)> {
        let Entry { generation, session } = self.slab.get(index)?;
        Some((Token { index, generation: *generation }, session))
    }

    /// Returns the token of the session at an index.
    pub(in crate::engine) fn token_at(&self, index: u32) -> Option<Token> {
        self.slab.get(index).map(|entry| Token { index, generation: entry.generation })
    }

    /// Removes and returns the session, unless the token is stale. The token is stale afterwards.
    #[inline(always)]
    pub(in crate::engine) fn remove(&mut self, token: Token) -> Option<S> {
        let removed = self.slab.remove_if(token.index, |entry| entry.generation == token.generation);
        removed.map(|entry| entry.session)
    }

    /// Returns whether every entry is either in use or free.
    #[cfg(test)]
    pub(in crate::engine) fn is_sound(&self) -> bool {
        self.slab.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stale_token_finds_no_session() {
        let mut sessions = Sessions::default();
        let first = sessions.insert("first").unwrap();
        assert_eq!(sessions.remove(first), Some("first"));
        let second = sessions.insert("second").unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!((sessions.get_mut(first).copied(), sessions.remove(first)), (None, None));
        assert_eq!(sessions.get_mut(second), Some(&mut "second"));
        assert_eq!(sessions.at_mut(second.index), Some((second, &mut "second")));
        assert_eq!((sessions.token_at(second.index), sessions.token_at(1)), (Some(second), None));
    }

    #[test]
    fn a_core_that_had_a_million_sessions_gives_their_memory_back_and_their_tokens_stay_stale() {
        let mut sessions = Sessions::default();
        let tokens: Vec<_> = (0..1_000_000).map(|number| sessions.insert(number).unwrap()).collect();
        assert!(sessions.slab.room() >= 1_000_000);
        tokens.iter().for_each(|token| assert!(sessions.remove(*token).is_some()));
        assert!(sessions.is_empty() && sessions.slab.room() <= 2000, "{} have room", sessions.slab.room());
        (0..1_000_000).for_each(|number| assert!(sessions.insert(number).is_ok()));
        assert!(tokens.iter().all(|token| sessions.get_mut(*token).is_none()));
    }

    #[test]
    fn indexes_of_ended_sessions_are_used_again_before_there_are_new_ones() {
        let mut sessions = Sessions::default();
        let tokens: Vec<_> = (0..100).map(|number| sessions.insert(number).unwrap()).collect();
        tokens.iter().for_each(|token| assert!(sessions.remove(*token).is_some()));
        assert!(sessions.is_empty());
        (0..100).for_each(|number| assert!(sessions.insert(number).unwrap().index < 100));
        assert_eq!((sessions.len(), sessions.end()), (100, 100));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_token_is_given_twice_and_only_those_of_sessions_find_anything(
            steps in prop::collection::vec((any::<bool>(), 1..2500usize, any::<prop::sample::Index>()), 0..30),
        ) {
            let (mut sessions, mut model, mut given, mut next) =
                (Sessions::default(), BTreeMap::new(), HashSet::new(), 0);
            for (begin, count, from) in steps {
                if begin {
                    for number in next..next + count {
                        let token = sessions.insert(number).unwrap();
                        prop_assert!(given.insert(token));
                        prop_assert!(model.insert(token.index, (token, number)).is_none());
                    }
                    next += count;
                } else if !model.is_empty() {
                    let from = from.index(model.len());
                    let ended: Vec<u32> = model.keys().copied().skip(from).take(count).collect();
                    for index in ended {
                        let (token, number) = model.remove(&index).unwrap();
                        prop_assert_eq!(sessions.remove(token), Some(number));
                    }
                }
                prop_assert!(sessions.is_sound());
                prop_assert_eq!(sessions.len(), model.len());
                for token in &given {
                    let lives = model.get(&token.index).filter(|(current, _)| current == token);
                    prop_assert_eq!(sessions.get_mut(*token).copied(), lives.map(|(_, number)| *number));
                }
            }
        }
    }
}
