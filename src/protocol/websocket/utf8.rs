//! UTF-8 validation across fragments and reads: text is refused at the first byte that cannot belong to it.

use super::violation::Violation;

/// Validates text that arrives in pieces. Keeps only the bytes of a character that a piece cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    pending: [u8; 4],
    pending_bytes: u8,
}

impl Utf8 {
    /// Validates the next piece. A prefix that no continuation can make valid is refused at once (RFC 3629 4: the
    /// ranges of second bytes).
    pub fn check(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let piece = self.complete_character(piece)?;
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let cut = &piece[error.valid_up_to()..];
                self.pending[..cut.len()].copy_from_slice(cut);
                self.pending_bytes = cut.len() as u8;
                Ok(())
            }
            Err(_) => Err(Violation::NotUtf8),
        }
    }

    /// Returns whether the text so far ends between characters.
    pub fn is_complete(&self) -> bool {
        self.pending_bytes == 0
    }

    /// Takes bytes of `piece` until the pending character is complete, and returns the rest.
    fn complete_character<'p>(&mut self, mut piece: &'p [u8]) -> Result<&'p [u8], Violation> {
        while self.pending_bytes > 0 {
            let [first, rest @ ..] = piece else { break };
            piece = rest;
            let end = usize::from(self.pending_bytes) + 1;
            self.pending[end - 1] = *first;
            self.pending_bytes = match std::str::from_utf8(&self.pending[..end]) {
                Ok(_) => 0,
                Err(error) if error.error_len().is_none() => end as u8,
                Err(_) => return Err(Violation::NotUtf8),
            };
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Validates `bytes` cut at each of `cuts`. Returns `Ok(false)` if they end within a character.
    fn verdict(bytes: &[u8], cuts: &[usize]) -> Result<bool, Violation> {
        let mut utf8 = Utf8::default();
        let mut from = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            utf8.check(&bytes[from..cut])?;
            from = cut;
        }
        Ok(utf8.is_complete())
    }

    #[test]
    fn agrees_with_the_standard_library_on_a_million_random_strings_and_splits() {
        let mut random = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for _ in 0..1_000_000 {
            let mut bytes = [0u8; 12];
            let length = (next() % 12) as usize;
            for byte in &mut bytes[..length] {
                // Bytes at the borders of UTF-8's ranges make valid and nearly valid sequences likely.
                const EDGES: [u8; 16] =
                    [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5];
                *byte = EDGES[(next() % 16) as usize];
            }
            let bytes = &bytes[..length];
            let first = (next() % (length as u64 + 1)) as usize;
            let second = first + (next() % ((length - first) as u64 + 1)) as usize;
            let valid = std::str::from_utf8(bytes).is_ok();
            assert_eq!(verdict(bytes, &[first, second]) == Ok(true), valid, "{bytes:02x?} at {first}, {second}");
        }
    }

    #[test]
    fn refuses_at_the_first_byte_that_cannot_belong_to_text() {
        for wrong in [&b"\xC0"[..], b"\xF5", b"\xE0\x9F", b"\xED\xA0", b"\xF0\x8F", b"\xF4\x90", b"a\x80"] {
            let mut utf8 = Utf8::default();
            let (last, before) = wrong.split_last().unwrap();
            for byte in before {
                assert_eq!(utf8.check(&[*byte]), Ok(()));
            }
            assert_eq!(utf8.check(&[*last]), Err(Violation::NotUtf8), "{wrong:02x?}");
        }
    }

    #[test]
    fn long_text_may_be_cut_anywhere() {
        let text = "κόσμε🦀".repeat(40);
        for cut in 0..text.len() {
            assert_eq!(verdict(text.as_bytes(), &[cut]), Ok(true));
        }
    }
}
