//! Storage for many small values of one type, each named by a number, in chunks that are freed once they are empty.
//!
//! Invariant: a value never moves, and its number names it until it is removed. Unlike the slab of sessions, an arena
//! has no generations: the holder of a number must forget it in time.

use std::collections::BTreeSet;

/// Values in a chunk: some tens of kilobytes, so that little memory is allocated and unused.
const CHUNK: usize = 1024;

/// The number that names nothing.
pub(super) const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Option<Chunk<T>>>,
    /// Chunks with room, or without memory. The first is filled before the next, so that the last become empty.
    roomy: BTreeSet<u32>,
    occupied: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    entries: Vec<Entry<T>>,
    /// The first free entry; each names the next.
    free: u32,
    occupied: u32,
}

#[derive(Debug)]
enum Entry<T> {
    Free(u32),
    Occupied(T),
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), roomy: BTreeSet::new(), occupied: 0 }
    }
}

impl<T> Arena<T> {
    /// Bytes of one entry.
    pub(super) const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// Returns the number of values.
    pub(super) fn len(&self) -> usize {
        self.occupied
    }

    /// Stores `value` and returns its number.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let at = match self.roomy.first() {
            Some(at) => *at,
            None => {
                self.chunks.push(None);
                self.roomy.insert(self.chunks.len() as u32 - 1);
                self.chunks.len() as u32 - 1
            }
        };
        let chunk = self.chunks[at as usize].get_or_insert_with(|| Chunk {
            entries: Vec::with_capacity(CHUNK),
            free: NONE,
            occupied: 0,
        });
        let place = match chunk.entries.get_mut(chunk.free as usize) {
            Some(entry) => {
                let place = chunk.free;
                if let Entry::Free(next) = std::mem::replace(entry, Entry::Occupied(value)) {
                    chunk.free = next;
                }
                place
            }
            None => {
                chunk.entries.push(Entry::Occupied(value));
                chunk.entries.len() as u32 - 1
            }
        };
        chunk.occupied += 1;
        if chunk.occupied as usize == CHUNK {
            self.roomy.remove(&at);
        }
        self.occupied += 1;
        at * CHUNK as u32 + place
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        match self.chunks.get(number as usize / CHUNK)?.as_ref()?.entries.get(number as usize % CHUNK)? {
            Entry::Occupied(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.chunks.get_mut(number as usize / CHUNK)?.as_mut()?.entries.get_mut(number as usize % CHUNK)? {
            Entry::Occupied(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// Removes and returns a value. Its number may name another value later.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let at = number / CHUNK as u32;
        let place = self.chunks.get_mut(at as usize)?;
        let chunk = place.as_mut()?;
        let entry = chunk.entries.get_mut(number as usize % CHUNK)?;
        if matches!(entry, Entry::Free(_)) {
            return None;
        }
        let Entry::Occupied(value) = std::mem::replace(entry, Entry::Free(chunk.free)) else { return None };
        chunk.free = number % CHUNK as u32;
        chunk.occupied -= 1;
        self.roomy.insert(at);
        self.occupied -= 1;
        if chunk.occupied == 0 {
            *place = None;
            self.forget_last_chunks();
        }
        Some(value)
    }

    fn forget_last_chunks(&mut self) {
        while self.chunks.pop_if(|chunk| chunk.is_none()).is_some() {
            self.roomy.remove(&(self.chunks.len() as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunks_are_given_back_once_they_are_empty() {
        let mut arena = Arena::default();
        let numbers: Vec<_> = (0..10 * CHUNK).map(|value| arena.insert(value)).collect();
        assert_eq!((arena.len(), arena.chunks.len()), (10 * CHUNK, 10));
        numbers.iter().skip(CHUNK).for_each(|number| assert!(arena.remove(*number).is_some()));
        assert_eq!((arena.len(), arena.chunks.len()), (CHUNK, 1));
        numbers.iter().take(CHUNK).for_each(|number| assert!(arena.remove(*number).is_some()));
        assert_eq!((arena.len(), arena.chunks.len(), arena.roomy.len()), (0, 0, 0));
    }

    #[test]
    fn room_in_the_first_chunks_is_used_first() {
        let mut arena = Arena::default();
        let numbers: Vec<_> = (0..3 * CHUNK).map(|value| arena.insert(value)).collect();
        arena.remove(numbers[2 * CHUNK + 1]);
        arena.remove(numbers[7]);
        assert_eq!(arena.insert(0), numbers[7]);
        assert_eq!(arena.insert(0), numbers[2 * CHUNK + 1]);
    }

    proptest! {
        #[test]
        fn it_holds_what_was_stored_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..5000),
        ) {
            let (mut arena, mut model, mut next) = (Arena::default(), HashMap::new(), 0);
            for (insert, which) in steps {
                if insert || model.is_empty() {
                    let number = arena.insert(next);
                    prop_assert!(model.insert(number, next).is_none());
                    next += 1;
                } else {
                    let number = *which.get(&model.keys().copied().collect::<Vec<_>>());
                    prop_assert_eq!(arena.remove(number), model.remove(&number));
                    prop_assert_eq!((arena.remove(number), arena.get(number)), (None, None));
                }
                prop_assert_eq!(arena.len(), model.len());
            }
            prop_assert!(model.iter().all(|(number, value)| arena.get(*number) == Some(value)));
        }
    }
}
