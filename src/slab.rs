//! A store of many values of one type, each at an index, in chunks whose memory is freed once they are empty.
//!
//! Never moves a value. Knows no generations: an index is used again after its value was removed, so its holder forgets
//! it in time, or compares a generation that is part of the value. Invariant: a new value goes into the first chunk
//! with room, so that the last ones become empty, and at most one empty chunk keeps its memory.

use std::collections::BTreeSet;

/// Values in a chunk: some tens of kilobytes, too little to matter while unused, and enough that growth is rare.
const CHUNK: usize = 1024;

/// The index that no value has.
pub const NO_ENTRY: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// The first chunk that may have room; the number of chunks if there is none.
    first: u32,
    /// The chunks that may have room, including those without memory. Every chunk with room is in the set.
    with_room: BTreeSet<u32>,
    /// A chunk that keeps its memory while it is empty, so that a value which comes and goes where a chunk ends does
    /// not allocate each time.
    spare: u32,
    /// The number of values.
    occupied: usize,
}

/// A chunk. It has the memory of all its entries from the first one on, and none after it was freed.
#[derive(Debug)]
struct Chunk<T> {
    entries: Vec<Entry<T>>,
    /// The offset of the first free entry, which has that of the next.
    free: u32,
    /// The number of values.
    occupied: u32,
}

#[derive(Debug)]
enum Entry<T> {
    Free(u32),
    Occupied(T),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), first: 0, with_room: BTreeSet::new(), spare: NO_ENTRY, occupied: 0 }
    }
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: NO_ENTRY, occupied: 0 }
    }
}

impl<T> Slab<T> {
    /// Bytes of one entry.
    pub const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.occupied
    }

    /// Returns an index above every index in use. It falls when the last chunks are freed.
    pub fn end(&self) -> u32 {
        self.chunks.last().map_or(0, |last| ((self.chunks.len() - 1) * CHUNK + last.entries.len()) as u32)
    }

    /// Stores `value` and returns its index.
    #[inline(always)]
    pub fn insert(&mut self, value: T) -> u32 {
        let chunk_at = self.first;
        if let Some(chunk) = self.chunks.get_mut(chunk_at as usize)
            && let Some(entry) = chunk.entries.get_mut(chunk.free as usize)
            && let Entry::Free(next) = *entry
        {
            *entry = Entry::Occupied(value);
            chunk.occupied += 1;
            self.occupied += 1;
            return chunk_at * CHUNK as u32 + std::mem::replace(&mut chunk.free, next);
        }
        self.grow_and_insert(value)
    }

    /// Returns the value at an index.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        match self.chunks.get(index as usize / CHUNK)?.entries.get(index as usize % CHUNK)? {
            Entry::Occupied(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// Returns the value at an index, to change it.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.chunks.get_mut(index as usize / CHUNK)?.entries.get_mut(index as usize % CHUNK)? {
            Entry::Occupied(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// Removes and returns a value. Another value may get its index later.
    #[inline]
    pub fn remove(&mut self, index: u32) -> Option<T> {
        self.remove_if(index, |_| true)
    }

    /// Removes and returns a value if `is_meant` returns true for it, such as by a generation.
    #[inline]
    pub fn remove_if(&mut self, index: u32, is_meant: impl FnOnce(&T) -> bool) -> Option<T> {
        let (chunk_at, offset) = (index / CHUNK as u32, index % CHUNK as u32);
        let chunk = self.chunks.get_mut(chunk_at as usize)?;
        let entry = chunk.entries.get_mut(offset as usize)?;
        match entry {
            Entry::Occupied(value) if is_meant(value) => {}
            _ => return None,
        }
        let free = std::mem::replace(&mut chunk.free, offset);
        let removed = std::mem::replace(entry, Entry::Free(free));
        chunk.occupied -= 1;
        self.occupied -= 1;
        if free == NO_ENTRY || chunk.occupied == 0 {
            self.note_room(chunk_at);
        }
        match removed {
            Entry::Occupied(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// Stores `value` although the first chunk has no free entry.
    #[cold]
    fn grow_and_insert(&mut self, value: T) -> u32 {
        self.add_entry();
        self.insert(value)
    }

    /// Finds the first chunk with room, and adds a free entry to it if it has none.
    fn add_entry(&mut self) {
        loop {
            let chunk_at = self.first;
            if chunk_at as usize == self.chunks.len() {
                self.chunks.push(Chunk::default());
                self.with_room.insert(chunk_at);
            }
            let chunk = &mut self.chunks[chunk_at as usize];
            if chunk.free != NO_ENTRY {
                return;
            }
            if chunk.entries.len() < CHUNK {
                chunk.entries.reserve_exact(CHUNK - chunk.entries.len());
                chunk.free = chunk.entries.len() as u32;
                return chunk.entries.push(Entry::Free(NO_ENTRY));
            }
            self.with_room.remove(&chunk_at);
            self.find_first();
        }
    }

    /// Records that a chunk has room again, or is empty.
    #[cold]
    fn note_room(&mut self, chunk_at: u32) {
        self.with_room.insert(chunk_at);
        if self.chunks[chunk_at as usize].occupied == 0 {
            self.keep_or_free(chunk_at);
        }
        self.find_first();
    }

    /// Keeps the memory of an empty chunk as the spare one, or frees it if there is a spare one. Of the two, the first
    /// becomes the spare one. Forgets the last chunks if they have no memory.
    fn keep_or_free(&mut self, empty: u32) {
        let is_spare = self.chunks.get(self.spare as usize).is_some_and(Chunk::is_idle);
        let spare = if is_spare { self.spare } else { empty };
        self.spare = spare.min(empty);
        if spare != empty {
            self.chunks[spare.max(empty) as usize] = Chunk::default();
        }
        while self.chunks.pop_if(|last| last.entries.capacity() == 0).is_some() {
            self.with_room.remove(&(self.chunks.len() as u32));
        }
    }

    /// Finds the first chunk that may have room.
    fn find_first(&mut self) {
        self.first = self.with_room.first().copied().unwrap_or(self.chunks.len() as u32);
    }
}

impl<T> Chunk<T> {
    /// Returns whether the chunk has memory and no value.
    fn is_idle(&self) -> bool {
        self.occupied == 0 && self.entries.capacity() > 0
    }
}

#[cfg(test)]
impl<T> Slab<T> {
    /// Returns for how many values there is memory.
    pub fn room(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.entries.capacity()).sum()
    }

    /// Returns whether every entry is either in use or on the free list of its chunk exactly once, and whether no more
    /// than one empty chunk has memory.
    pub fn is_sound(&self) -> bool {
        self.chunks.iter().all(Chunk::is_sound)
            && self.chunks.iter().filter(|chunk| chunk.is_idle()).count() <= 1
            && self.chunks.iter().map(|chunk| chunk.occupied as usize).sum::<usize>() == self.occupied
    }
}

#[cfg(test)]
impl<T> Chunk<T> {
    fn is_sound(&self) -> bool {
        let mut is_free = vec![false; self.entries.len()];
        let mut at = self.free as usize;
        while let Some(entry) = self.entries.get(at) {
            let Entry::Free(next) = entry else { return false };
            if std::mem::replace(&mut is_free[at], true) {
                return false;
            }
            at = *next as usize;
        }
        let occupied = self.entries.iter().filter(|entry| matches!(entry, Entry::Occupied(_))).count();
        occupied == self.occupied as usize && occupied + is_free.iter().filter(|is| **is).count() == self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Returns a slab of so many full chunks, in which each value is its own index.
    fn full(chunks: usize) -> Slab<u32> {
        let mut slab = Slab::default();
        (0..(chunks * CHUNK) as u32).for_each(|index| assert_eq!(slab.insert(index), index));
        slab
    }

    #[test]
    fn an_index_whose_value_was_removed_has_none() {
        let mut slab = full(2);
        assert_eq!((slab.get(7).copied(), slab.get_mut(7).copied(), slab.remove(7)), (Some(7), Some(7), Some(7)));
        for index in [7, 2 * CHUNK as u32, NO_ENTRY] {
            assert_eq!(
                (slab.get(index).copied(), slab.get_mut(index).copied(), slab.remove(index)),
                (None, None, None)
            );
        }
        assert_eq!((slab.len(), slab.end()), (2 * CHUNK - 1, 2 * CHUNK as u32));
    }

    #[test]
    fn a_value_stays_in_its_place_while_others_come_and_go() {
        let mut slab = full(1);
        let address = slab.get(9).map(std::ptr::from_ref);
        (0..9 * CHUNK as u32).for_each(|value| assert!(slab.insert(value) >= CHUNK as u32));
        (10..10 * CHUNK as u32).for_each(|index| assert!(slab.remove(index).is_some()));
        assert_eq!(slab.get(9).map(std::ptr::from_ref), address);
    }

    #[test]
    fn room_in_the_first_chunks_is_used_first() {
        let mut slab = full(3);
        let (first, last) = (7, 2 * CHUNK as u32 + 1);
        slab.remove(last);
        slab.remove(first);
        assert_eq!((slab.insert(0), slab.insert(0)), (first, last));
    }

    #[test]
    fn all_chunks_but_one_are_freed_once_they_are_empty_in_any_order() {
        let indexes = || 0..10 * CHUNK as u32;
        let orders: [Vec<u32>; 3] =
            [indexes().collect(), indexes().rev().collect(), indexes().map(|at| at * 7 % indexes().end).collect()];
        for order in orders {
            let mut slab = full(10);
            for index in order {
                assert_eq!(slab.remove(index), Some(index));
            }
            assert!(slab.is_sound());
            assert_eq!((slab.len(), slab.room(), slab.end(), slab.chunks.len()), (0, CHUNK, CHUNK as u32, 1));
        }
    }

    #[test]
    fn a_value_that_comes_and_goes_where_a_chunk_ends_does_not_allocate_each_time() {
        let mut slab = full(4);
        let last = 4 * CHUNK as u32;
        slab.insert(0);
        let address = slab.get(last).map(std::ptr::from_ref);
        for _ in 0..3 {
            assert_eq!(slab.remove(last), Some(0));
            assert_eq!((slab.room(), slab.insert(0)), (5 * CHUNK, last));
            assert_eq!(slab.get(last).map(std::ptr::from_ref), address);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_holds_what_was_stored_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), 1..3 * CHUNK, any::<prop::sample::Index>()), 0..40),
        ) {
            let (mut slab, mut model, mut next) = (Slab::default(), BTreeMap::new(), 0);
            for (inserts, count, from) in steps {
                if inserts {
                    for value in next..next + count {
                        prop_assert!(model.insert(slab.insert(value), value).is_none());
                    }
                    next += count;
                } else if !model.is_empty() {
                    let from = from.index(model.len());
                    let indexes: Vec<u32> = model.keys().copied().skip(from).take(count).collect();
                    for index in indexes {
                        prop_assert_eq!(slab.remove(index), model.remove(&index));
                        prop_assert_eq!((slab.remove(index), slab.get(index)), (None, None));
                    }
                }
                prop_assert!(slab.is_sound());
                prop_assert_eq!(slab.len(), model.len());
                prop_assert!(model.last_key_value().is_none_or(|(last, _)| *last < slab.end()));
                prop_assert!(model.iter().all(|(index, value)| slab.get(*index) == Some(value)));
            }
        }
    }
}
