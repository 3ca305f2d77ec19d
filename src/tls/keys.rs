//! The keys of one direction of a TLS 1.3 session, and how the next ones follow from them.
//!
//! Seals and opens single records. Knows neither the rules of what a record may contain nor the order of a handshake.
//! Invariant: no number is used twice with one key (RFC 8446 5.3), since each record takes the next one.

use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{self, KeyType, Prk};
use zeroize::Zeroize;

use super::contexts;

/// The bytes of a record's header: type, version, length.
pub(super) const HEADER_BYTES: usize = 5;

/// The bytes of the tag behind a record's ciphertext, in every suite.
pub(super) const TAG_BYTES: usize = 16;

/// The bytes of the nonce, in every suite.
const NONCE_BYTES: usize = 12;

/// The bytes of the longest traffic secret: an output of SHA-384.
const SECRET_BYTES_MAX: usize = 48;

/// The bytes of the longest key: that of AES-256 and of ChaCha20.
const KEY_BYTES_MAX: usize = 32;

/// A cipher suite of TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    Aes128GcmSha256,
    Aes256GcmSha384,
    ChaCha20Poly1305Sha256,
}

impl Suite {
    /// Returns the suite that a handshake has agreed on; `None` if it is none of TLS 1.3.
    pub(super) fn of(suite: rustls::CipherSuite) -> Option<Self> {
        match suite {
            rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Self::Aes128GcmSha256),
            rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Self::Aes256GcmSha384),
            rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Self::ChaCha20Poly1305Sha256),
            _ => None,
        }
    }

    fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128GcmSha256 => &aead::AES_128_GCM,
            Self::Aes256GcmSha384 => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305Sha256 => &aead::CHACHA20_POLY1305,
        }
    }

    fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128GcmSha256 | Self::ChaCha20Poly1305Sha256 => hkdf::HKDF_SHA256,
            Self::Aes256GcmSha384 => hkdf::HKDF_SHA384,
        }
    }

    fn secret_bytes(self) -> usize {
        self.hkdf().len()
    }

    /// Returns how many records may be sealed with one key: half of what RFC 8446 5.5 allows for AES-GCM.
    pub(super) fn records_max(self) -> u64 {
        match self {
            Self::Aes128GcmSha256 | Self::Aes256GcmSha384 => 1 << 23,
            Self::ChaCha20Poly1305Sha256 => u64::MAX >> 1,
        }
    }
}

/// The keys of one direction. See the module.
pub(super) struct Keys {
    secret: [u8; SECRET_BYTES_MAX],
    key: [u8; KEY_BYTES_MAX],
    iv: [u8; NONCE_BYTES],
    /// The number of the next record, counted from 0 for each key.
    number: u64,
}

impl Keys {
    /// Derives the keys of a traffic secret (RFC 8446 7.3). `number` is that of the next record. Returns `None` if the
    /// secret does not have the length of the suite's hash.
    pub(super) fn new(suite: Suite, secret: &[u8], number: u64) -> Option<Self> {
        let mut keys = Self { secret: [0; SECRET_BYTES_MAX], key: [0; KEY_BYTES_MAX], iv: [0; NONCE_BYTES], number };
        if secret.len() != suite.secret_bytes() {
            return None;
        }
        keys.secret[..secret.len()].copy_from_slice(secret);
        keys.derive(suite).ok()?;
        Some(keys)
    }

    /// Replaces the keys by those that follow (RFC 8446 7.2).
    pub(super) fn update(&mut self, suite: Suite) -> Result<(), Unspecified> {
        let mut next = [0; SECRET_BYTES_MAX];
        let bytes = suite.secret_bytes();
        expand_label(suite, &self.secret[..bytes], b"traffic upd", &mut next[..bytes])?;
        self.secret = next;
        next.zeroize();
        self.forget_context();
        // Nothing is sealed or opened with the old key and a number that it had.
        self.number = u64::MAX;
        self.derive(suite)?;
        self.number = 0;
        Ok(())
    }

    /// Forgets the context of the key: of the longest and the shortest that it may be.
    fn forget_context(&self) {
        contexts::forget(&self.key);
        contexts::forget(&self.key[..KEY_BYTES_MAX / 2]);
    }

    fn derive(&mut self, suite: Suite) -> Result<(), Unspecified> {
        let secret = &self.secret[..suite.secret_bytes()];
        expand_label(suite, secret, b"key", &mut self.key[..suite.aead().key_len()])?;
        expand_label(suite, secret, b"iv", &mut self.iv)
    }

    /// Returns the number of the next record.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    #[cfg(test)]
    pub(super) fn set_number(&mut self, number: u64) {
        self.number = number;
    }

    /// Opens a record whose ciphertext and tag begin at `at` in `buffer` and take the rest of it, and moves the
    /// plaintext to the front of `buffer`. Returns its length, or `None` if the record was not sealed with these keys.
    pub(super) fn open(
        &mut self,
        suite: Suite,
        header: [u8; HEADER_BYTES],
        buffer: &mut [u8],
        at: usize,
    ) -> Option<usize> {
        let nonce = self.nonce();
        let open =
            |aead: &LessSafeKey| aead.open_within(nonce, Aad::from(header), buffer, at..).map(|opened| opened.len());
        let opened = contexts::with(suite.aead(), self.key(suite), open).ok()?;
        self.number = self.number.checked_add(1)?;
        Some(opened)
    }

    /// Seals `buffer` from `at` on in place, and appends the tag.
    pub(super) fn seal(
        &mut self,
        suite: Suite,
        header: [u8; HEADER_BYTES],
        buffer: &mut Vec<u8>,
        at: usize,
    ) -> Result<(), Unspecified> {
        let nonce = self.nonce();
        self.number = self.number.checked_add(1).ok_or(Unspecified)?;
        let seal = |aead: &LessSafeKey| aead.seal_in_place_separate_tag(nonce, Aad::from(header), &mut buffer[at..]);
        let tag = contexts::with(suite.aead(), self.key(suite), seal)?;
        buffer.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn key(&self, suite: Suite) -> &[u8] {
        &self.key[..suite.aead().key_len()]
    }

    /// Returns the nonce of the next record (RFC 8446 5.3): the initialization vector, and its number in the last eight
    /// bytes.
    fn nonce(&self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_BYTES - 8..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.forget_context();
        self.secret.zeroize();
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl fmt::Debug for Keys {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A number of bytes to derive.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// Derives a secret from another one by HKDF-Expand-Label with an empty context (RFC 8446 7.1).
fn expand_label(suite: Suite, secret: &[u8], label: &[u8], output: &mut [u8]) -> Result<(), Unspecified> {
    const PREFIX: &[u8] = b"tls13 ";
    let bytes = u16::try_from(output.len()).map_err(|_| Unspecified)?.to_be_bytes();
    let label_bytes = [u8::try_from(PREFIX.len() + label.len()).map_err(|_| Unspecified)?];
    Prk::new_less_safe(suite.hkdf(), secret)
        .expand(&[&bytes, &label_bytes, PREFIX, label, &[0]], Bytes(output.len()))?
        .fill(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    /// The record keys of RFC 8448, section 3: "derive write traffic keys for application data", server and client.
    #[test]
    fn derives_the_keys_of_the_example_in_rfc_8448() {
        let secret = hex("a11af9f05531f856ad47116b45a95032 8204b4f44bfb6b3a4b4f1f3fcb631643");
        let keys = Keys::new(Suite::Aes128GcmSha256, &secret, 0).unwrap();
        assert_eq!(keys.key[..16], hex("9f02283b6c9c07efc26bb9f2ac92e356"));
        assert_eq!(keys.iv[..], hex("cf782b88dd83549aadf1e984"));
        let secret = hex("9e40646ce79a7f9dc05af8889bce6552 875afa0b06df0087f792ebb7c17504a5");
        let keys = Keys::new(Suite::Aes128GcmSha256, &secret, 0).unwrap();
        assert_eq!(keys.key[..16], hex("17422dda596ed5d9acd890e3c63f5051"));
        assert_eq!(keys.iv[..], hex("5b78923dee08579033e523d9"));
    }

    #[test]
    fn a_record_opens_with_the_same_keys_and_number_alone() {
        for suite in [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256] {
            let secret = vec![7; suite.secret_bytes()];
            let keys = |number| Keys::new(suite, &secret, number).unwrap();
            let header = [23, 3, 3, 0, 5 + TAG_BYTES as u8];
            let mut record = b"..hello".to_vec();
            keys(9).seal(suite, header, &mut record, 2).unwrap();
            assert_eq!(record.len(), 7 + TAG_BYTES);
            let open = |mut keys: Keys, header| {
                let mut buffer = record.clone();
                keys.open(suite, header, &mut buffer, 2).map(|count| buffer[..count].to_vec())
            };
            assert_eq!(open(keys(9), header).as_deref(), Some(&b"hello"[..]));
            assert_eq!(open(keys(8), header), None);
            assert_eq!(open(keys(9), [22, 3, 3, 0, header[4]]), None);
            let mut later = keys(9);
            later.update(suite).unwrap();
            later.set_number(9);
            assert_eq!(open(later, header), None);
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let keys = Keys::new(Suite::Aes128GcmSha256, &[171; 32], 3).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys { number: 3, .. }");
    }
}
