//! Key sets: any document.
//!
//! Rules: only public keys come out, of the algorithm that was asked for, and no more of them and no longer ids than
//! the limits allow (RFC 7517).

use ringsock::service::auth::{Algorithm, KEY_SET_BYTES_MAX, KEYS_MAX, parse_key_set};
use serde_json::Value;

use crate::input::Input;

/// Checks an input.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = usize::from(input.byte());
    let algorithm = Algorithm::NAMES.get(choice).map(|(_, algorithm)| *algorithm);
    let document = input.rest();
    let Ok(keys) = parse_key_set(document, algorithm) else { return };
    assert!(document.len() <= KEY_SET_BYTES_MAX && (1..=KEYS_MAX).contains(&keys.len()));
    let set: Value = serde_json::from_slice(document).expect("what is accepted is JSON");
    let written = set["keys"].as_array().expect("it has keys");
    assert!(written.len() <= KEYS_MAX && keys.len() <= written.len());
    for key in &keys {
        assert!(!key.algorithm().name().starts_with("HS"), "a secret");
        assert!(algorithm.is_none_or(|algorithm| key.algorithm() == algorithm));
        assert!(key.id().is_none_or(|id| (1..=256).contains(&id.len())));
        let of_its_id = written.iter().filter(|one| one["kid"].as_str() == key.id());
        assert!(of_its_id.clone().count() > 0 && of_its_id.clone().any(|one| one["kty"] != "oct"), "{key:?}");
    }
    let again = parse_key_set(document, algorithm).expect("it was accepted before");
    assert_eq!(format!("{keys:?}"), format!("{again:?}"));
}
