//! The sessions of a core: a slab whose entries never move and whose keys go stale.
//!
//! Memory grows in chunks, so no growth copies what is there or doubles it. A removed entry's generation is raised, so
//! a key that outlived its session finds nobody.

use crate::reactor::{SESSIONS_PER_CORE_MAX, Token};

/// Entries added at a time: some 100 KiB, small enough to be lost in an idle server, large enough to be rare.
const CHUNK: usize = 1024;

/// A slab of `T`, keyed by [`Token`].
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Vec<Entry<T>>>,
    /// First of the free entries, each naming the next.
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
    /// What one entry costs.
    pub const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// Entries in use.
    pub fn len(&self) -> usize {
        self.occupied
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Indexes there have been so far; every token's index is below.
    pub fn capacity(&self) -> u32 {
        self.chunks.last().map_or(0, |last| ((self.chunks.len() - 1) * CHUNK + last.len()) as u32)
    }

    /// Stores `value`; gives it back when [`SESSIONS_PER_CORE_MAX`] are stored already.
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

    /// The entry, unless the token is stale.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.entry_mut(token.index)? {
            Entry { generation, content: Content::Occupied(value) } if *generation == token.generation => Some(value),
            _ => None,
        }
    }

    /// The entry at an index, and its token.
    #[inline]
    pub fn at_mut(&mut self, index: u32) -> Option<(Token, &mut T)> {
        match self.entry_mut(index)? {
            Entry { generation, content: Content::Occupied(value) } => {
                Some((Token { index, generation: *generation }, value))
            }
            _ => None,
        }
    }

    /// Takes the entry out, unless the token is stale; the token is stale from now on.
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

    /// The token of whoever occupies `index` now.
    pub fn token_at(&self, index: u32) -> Option<Token> {
        let entry = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        matches!(entry.content, Content::Occupied(_)).then_some(Token { index, generation: entry.generation })
    }

    /// Whether every entry is in use or on the list of free ones, and on that once.
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
    fn a_stale_token_finds_nobody() {
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
