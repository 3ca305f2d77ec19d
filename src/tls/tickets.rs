//! The keys of session tickets that several processes or hosts share, so that a client resumes a session with any.
//!
//! Reads no file and no clock: keys change when the operator changes their files. Invariant: a ticket is opened only
//! with a key that is in force, and only if it was not altered.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use rustls::server::ProducesTickets;
use thiserror::Error;
use zeroize::Zeroizing;

/// The bytes of a key file that are needed: as many as the key of AES-256 has.
pub const TICKET_KEY_BYTES_MIN: usize = 32;

/// The time for which a ticket is valid, in seconds: as long as rustls' own tickets.
const LIFETIME_S: u32 = 12 * 60 * 60;

/// The bytes of a ticket that name its key.
const NAME_BYTES: usize = 16;

const KEY_BYTES: usize = 32;

/// The reason for which a ticket key cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketKeyError {
    /// The file is too short.
    #[error(
        "It has {0} bytes; a ticket key needs at least {TICKET_KEY_BYTES_MIN} random bytes. \
         Make one with: openssl rand -out FILE 80"
    )]
    TooShort(usize),
    /// The cryptographic library failed.
    #[error("The cryptographic library failed.")]
    Crypto,
}

/// Keys that seal and open tickets. See the module.
pub struct TicketKeys {
    /// The first one seals; all open.
    keys: Vec<TicketKey>,
}

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl TicketKeys {
    /// Derives keys from the contents of key files. The first one, which should be the newest, seals tickets; the others
    /// open those that were sealed before the last rotation.
    pub fn new<'f>(files: impl Iterator<Item = &'f [u8]>) -> Result<Self, TicketKeyError> {
        Ok(Self { keys: files.map(TicketKey::derive).collect::<Result<_, _>>()? })
    }
}

impl TicketKey {
    fn derive(file: &[u8]) -> Result<Self, TicketKeyError> {
        if file.len() < TICKET_KEY_BYTES_MIN {
            return Err(TicketKeyError::TooShort(file.len()));
        }
        let mut derived = Zeroizing::new([0; NAME_BYTES + KEY_BYTES]);
        Salt::new(HKDF_SHA256, b"ringsock session tickets")
            .extract(file)
            .expand(&[b"name and key"], Derived)
            .and_then(|output| output.fill(&mut derived[..]))
            .map_err(|_| TicketKeyError::Crypto)?;
        let (name, key) = derived.split_at(NAME_BYTES);
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| TicketKeyError::Crypto)?;
        let name = name.try_into().map_err(|_| TicketKeyError::Crypto)?;
        Ok(Self { name, key })
    }
}

struct Derived;

impl KeyType for Derived {
    fn len(&self) -> usize {
        NAME_BYTES + KEY_BYTES
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    /// Returns name, nonce, ciphertext and tag.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.key.seal_in_place_append_tag(Aad::from(key.name), &mut sealed).ok()?;
        Some([&key.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = self.keys.iter().find(|key| constant_time::verify_slices_are_equal(&key.name, name).is_ok())?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let count = key.key.open_in_place(nonce, Aad::from(key.name), &mut opened).ok()?.len();
        opened.truncate(count);
        Some(opened)
    }
}

impl fmt::Debug for TicketKeys {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.keys.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(files: &[u8]) -> TicketKeys {
        let files: Vec<Vec<u8>> = files.iter().map(|byte| vec![*byte; 80]).collect();
        TicketKeys::new(files.iter().map(Vec::as_slice)).unwrap()
    }

    #[test]
    fn a_ticket_opens_with_the_same_file_elsewhere_and_after_a_rotation() {
        let ticket = keys(&[1]).encrypt(b"session").unwrap();
        for files in [&[1][..], &[2, 1], &[3, 2, 1]] {
            assert_eq!(keys(files).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        }
        assert_eq!(keys(&[3, 2]).decrypt(&ticket), None);
    }

    #[test]
    fn the_first_key_seals() {
        let ticket = keys(&[2, 1]).encrypt(b"session").unwrap();
        assert!(keys(&[2]).decrypt(&ticket).is_some() && keys(&[1]).decrypt(&ticket).is_none());
    }

    #[test]
    fn an_altered_or_shortened_ticket_does_not_open() {
        let keys = keys(&[1]);
        let ticket = keys.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut altered = ticket.clone();
            altered[at] ^= 1;
            assert_eq!(keys.decrypt(&altered), None, "byte {at}");
            assert_eq!(keys.decrypt(&ticket[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn a_short_file_is_refused() {
        let error = TicketKeys::new([&[0; 31][..]].into_iter()).unwrap_err();
        assert_eq!(error, TicketKeyError::TooShort(31));
        assert!(!keys(&[]).enabled());
    }
}
