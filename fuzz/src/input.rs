//! A fuzzer's bytes: decisions are taken from the front, the rest is data.

/// The bytes not used yet. When they run out, every decision is 0 and all data are empty.
#[derive(Clone, Debug)]
pub struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    pub fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn number(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    pub fn choose<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()].clone()
    }

    /// Returns the next `count` bytes, or as many as there are.
    pub fn take(&mut self, count: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Returns as many bytes as the next byte says.
    pub fn short(&mut self) -> &'d [u8] {
        let count = usize::from(self.byte());
        self.take(count)
    }

    /// Returns a string of as many bytes as the next byte says, or fewer if they are no text.
    pub fn text(&mut self) -> &'d str {
        let bytes = self.short();
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }

    pub fn rest(&mut self) -> &'d [u8] {
        self.take(usize::MAX)
    }
}

/// The pieces in which a byte string is read: their sizes, taken in turn.
#[derive(Clone, Debug)]
pub struct Split([usize; 4]);

impl Split {
    /// Returns mostly small pieces; sizes above 127 stand for larger ones, up to the largest read of a server.
    pub fn new(input: &mut Input<'_>) -> Self {
        Self(std::array::from_fn(|_| match usize::from(input.byte()) {
            size @ 0..=127 => size + 1,
            size => (size - 127) * 512,
        }))
    }

    /// Returns the borders of the pieces.
    pub fn cuts(&self, length: usize) -> Vec<usize> {
        let ends = self.0.iter().cycle().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        ends.take_while(|end| *end < length).collect()
    }
}

/// Returns the borders of single bytes; in the middle of a long string, only some hundred, so that it does not take
/// long.
pub fn every_byte(length: usize) -> Vec<usize> {
    const SINGLE: usize = 1024;
    const MIDDLE: usize = 509;
    let end = length.saturating_sub(SINGLE);
    (1..length.min(SINGLE)).chain((SINGLE..end).step_by(MIDDLE)).chain(end.max(SINGLE)..length).collect()
}
