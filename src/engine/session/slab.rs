//! A slab whose entries never move and whose keys go stale: the sessions of a core.
//!
//! Memory grows in chunks, so growth neither copies nor doubles what is there. Invariant: the removal of an entry
//! raises its generation, so that a key which outlived its session finds nothing.

use crate::reactor::{SESSIONS_PER_CORE_MAX, Token};

/// Entries in a chunk: some 100 KiB, too little to matter in an idle server, and enough that growth is rare.
const CHUNK: usize = 1024;

/// A slab of `T`, keyed by [`Token`].
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Vec<Entry<T>>>,
    /// The first free entry; each names the next.
    free: Option<u32>,
    occupied: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Free(Option<u32>),
    Occupied(T),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: None, occupied: 0 }
    }
}

impl<T> Slab<T> {
    /// Bytes of one entry.
    pub const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// Returns the number of entries in use.
    pub fn len(&self) -> usize {
        self.occupied
    }

    /// Returns whether no entry is in use.
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Returns the number of indexes that have ever been used; every token's index is lower.
    pub fn capacity(&self) -> u32 {
        self.chunks.last().map_or(0, |last| ((self.chunks.len() - 1) * CHUNK + last.len()) as u32)
    }

    /// Stores `value`, or gives it back if [`SESSIONS_PER_CORE_MAX`] are stored already.
    pub fn insert(&mut self, value: T) -> Result<Token, T> {
        if let Some(index) = self.free {
            let Some(entry) = self.entry_mut(index) else { return Err(value) };
            let token = Token { index, generation: entry.generation };
            if let Content::Free(next) = std::mem::replace(&mut entry.content, Content::Occupied(value)) {
                self.free = next;
            }
            self.occupied += 1;
            return Ok(token);
        }
        let index = self.capacity();
        if index as usize >= SESSIONS_PER_CORE_MAX {
            return Err(value);
        }
        let entry = Entry { generation: 0, content: Content::Occupied(value) };
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(entry),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
        self.occupied += 1;
        Ok(Token { index, generation: 0 })
    }

    /// Returns the entry, unless the token is stale.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.entry_mut(token.index)? {
            Entry { generation, content: Content::Occupied(value) } if *generation == token.generation => Some(value),
            _ => None,
        }
    }

    /// Returns the entry at an index, and its token.
    #[inline]
    pub fn at_mut(&mut self, index: u32) -> Option<(Token, &mut T)> {
        match self.entry_mut(index)? {
            Entry { generation, content: Content::Occupied(value) } => {
                Some((Token { index, generation: *generation }, value))
            }
            _ => None,
        }
    }

    /// Removes and returns the entry, unless the token is stale. The token is stale afterwards.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let free = self.free;
        let entry = self.entry_mut(token.index)?;
        if entry.generation != token.generation || matches!(entry.content, Content::Free(_)) {
            return None;
        }
        let Content::Occupied(value) = std::mem::replace(&mut entry.content, Content::Free(free)) else { return None };
        entry.generation = entry.generation.wrapping_add(1);
        self.free = Some(token.index);
        self.occupied -= 1;
        Some(value)
    }

    /// Returns the token of the entry that occupies `index` now.
    pub fn token_at(&self, index: u32) -> Option<Token> {
        let entry = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        matches!(entry.content, Content::Occupied(_)).then_some(Token { index, generation: entry.generation })
    }

    /// Returns whether every entry is either in use or on the free list exactly once.
    #[cfg(test)]
    pub fn is_sound(&self) -> bool {
        let mut seen = vec![false; self.capacity() as usize];
        let mut next = self.free;
        while let Some(index) = next {
            let entry = &self.chunks[index as usize / CHUNK][index as usize % CHUNK];
            let Content::Free(following) = entry.content else { return false };
            if std::mem::replace(&mut seen[index as usize], true) {
                return false;
            }
            next = following;
        }
        let free = seen.iter().filter(|free| **free).count();
        free + self.occupied == seen.len()
            && (0..self.capacity()).filter_map(|at| self.token_at(at)).count() == self.occupied
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_token_finds_no_session() {
        let mut slab = Slab::default();
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
    }

    #[test]
    fn entries_stay_where_they_are_while_it_grows() {
        let mut slab = Slab::default();
        let first = slab.insert(0usize).unwrap();
        let place = slab.get_mut(first).map(|value| value as *const usize);
        let tokens: Vec<_> = (1..10 * CHUNK).map(|value| slab.insert(value).unwrap()).collect();
        assert_eq!(slab.get_mut(first).map(|value| value as *const usize), place);
        for (value, token) in (1..).zip(tokens) {
            assert_eq!(slab.remove(token), Some(value));
        }
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn freed_indexes_are_used_again_before_it_grows() {
        let mut slab = Slab::default();
        let tokens: Vec<_> = (0..100).map(|value| slab.insert(value).unwrap()).collect();
        tokens.iter().for_each(|token| assert!(slab.remove(*token).is_some()));
        assert!(slab.is_empty());
        (0..100).for_each(|value| assert!(slab.insert(value).unwrap().index < 100));
        assert_eq!(slab.capacity(), 100);
    }
}
