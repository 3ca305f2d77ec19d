//! The contexts of the keys that a thread has used lately.
//!
//! A context is what the cryptographic library makes of a key before it uses it: 600 bytes and 0.2 µs, so an idle
//! session keeps none, and a busy one should not pay for it with each record. Invariant: a context is used for the key
//! that it was made of, which is compared as a whole.

use std::cell::RefCell;

use aws_lc_rs::aead::{Algorithm, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

/// Contexts that a thread keeps: those of both directions of 256 busy sessions, in some 400 KB.
const CONTEXTS: usize = 512;

thread_local! {
    static KEPT: RefCell<Vec<Option<Context>>> = const { RefCell::new(Vec::new()) };
}

struct Context {
    key: Zeroizing<Vec<u8>>,
    aead: LessSafeKey,
}

/// Calls with the context of a key.
pub(super) fn with<T>(
    algorithm: &'static Algorithm,
    key: &[u8],
    call: impl FnOnce(&LessSafeKey) -> Result<T, Unspecified>,
) -> Result<T, Unspecified> {
    KEPT.with_borrow_mut(|kept| {
        if kept.is_empty() {
            kept.resize_with(CONTEXTS, || None);
        }
        let place = &mut kept[place_of(key)];
        if let Some(context) = place
            && *context.key == *key
            && context.aead.algorithm() == algorithm
        {
            return call(&context.aead);
        }
        let aead = LessSafeKey::new(UnboundKey::new(algorithm, key)?);
        call(&place.insert(Context { key: Zeroizing::new(key.to_vec()), aead }).aead)
    })
}

/// Forgets the context of a key that is not used any more.
pub(super) fn forget(key: &[u8]) {
    // While a thread ends, its contexts may be gone before its sessions.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && let Some(place) = kept.get_mut(place_of(key))
            && place.as_ref().is_some_and(|context| *context.key == *key)
        {
            *place = None;
        }
    });
}

/// Returns the place of a key, whose bytes are as good as random.
fn place_of(key: &[u8]) -> usize {
    key.first_chunk::<2>().map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)) % CONTEXTS)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, Nonce};

    use super::*;

    fn seal(algorithm: &'static Algorithm, key: &[u8]) -> Vec<u8> {
        let mut sealed = b"some data".to_vec();
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        with(algorithm, key, |aead| aead.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)).unwrap();
        sealed
    }

    #[test]
    fn keys_and_ciphers_that_share_a_place_are_told_apart() {
        let (one, mut other) = ([7; 32], [7; 32]);
        other[31] = 8;
        assert_eq!(place_of(&one), place_of(&other));
        let expected = [seal(&AES_256_GCM, &one), seal(&AES_256_GCM, &other), seal(&CHACHA20_POLY1305, &one)];
        assert!(expected[0] != expected[1] && expected[0] != expected[2]);
        for _ in 0..3 {
            let again = [seal(&AES_256_GCM, &one), seal(&AES_256_GCM, &other), seal(&CHACHA20_POLY1305, &one)];
            assert_eq!(again, expected);
        }
    }

    #[test]
    fn a_key_that_is_forgotten_leaves_no_context() {
        let is_kept = |key: &[u8]| KEPT.with_borrow(|kept| kept[place_of(key)].is_some());
        seal(&AES_128_GCM, &[9; 16]);
        assert!(is_kept(&[9; 16]));
        forget(&[10; 16]);
        assert!(is_kept(&[9; 16]));
        forget(&[9; 16]);
        assert!(!is_kept(&[9; 16]));
    }
}
