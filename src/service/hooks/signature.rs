//! Signatures of calls to a backend, as Standard Webhooks defines them: HMAC-SHA256 over `id.timestamp.body`.
//!
//! Never sends anything. Invariant: a secret is in no error and in no output.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;

/// The beginning of a written secret.
const PREFIX: &str = "whsec_";

/// The bytes of a secret, as the standard bounds them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that calls are signed with.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

/// A text that is no secret: the operator's fault. The text is not repeated, since it may be nearly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be whsec_ and 24 to 64 bytes in base64, such as whsec_ and what openssl rand -base64 32 prints")]
pub struct InvalidSecret;

impl FromStr for SigningSecret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        let secret = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidSecret)?;
        let is_long_enough = SECRET_BYTES.contains(&secret.len());
        is_long_enough.then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))).ok_or(InvalidSecret)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// Returns the value of the header `webhook-signature`, with a signature by each secret: two while one replaces the
/// other. A call that is tried again has its id, and another time and signature.
pub fn sign<'s>(
    secrets: impl IntoIterator<Item = &'s SigningSecret>,
    id: &str,
    timestamp_s: u64,
    body: &[u8],
) -> String {
    let mut header = String::new();
    for SigningSecret(key) in secrets {
        let mut context = hmac::Context::with_key(key);
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body);
        if !header.is_empty() {
            header.push(' ');
        }
        header += "v1,";
        BASE64_STANDARD.encode_string(context.sign(), &mut header);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's specification and libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP_S: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> SigningSecret {
        text.parse().unwrap()
    }

    #[test]
    fn the_published_example_has_its_signature() {
        assert_eq!(sign([&secret(SECRET)], ID, TIMESTAMP_S, BODY), SIGNATURE);
    }

    #[test]
    fn while_one_secret_replaces_another_there_is_a_signature_by_each() {
        let new = secret(&format!("{PREFIX}{}", BASE64_STANDARD.encode([7; 32])));
        let both = sign([&new, &secret(SECRET)], ID, TIMESTAMP_S, BODY);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!((first, second), (&sign([&new], ID, TIMESTAMP_S, BODY)[..], SIGNATURE));
        assert_ne!(first, second);
    }

    #[test]
    fn another_id_time_body_or_secret_has_another_signature() {
        let own = secret(SECRET);
        let other = secret(&format!("{PREFIX}{}", BASE64_STANDARD.encode([7; 24])));
        for altered in [
            sign([&own], "msg_p5jXN8AQM9LWM0D4loKWxJel", TIMESTAMP_S, BODY),
            sign([&own], ID, TIMESTAMP_S + 1, BODY),
            sign([&own], ID, TIMESTAMP_S, b"{\"test\": 2432232315}"),
            sign([&other], ID, TIMESTAMP_S, BODY),
        ] {
            assert_ne!(altered, SIGNATURE);
        }
        assert_eq!(sign([], ID, TIMESTAMP_S, BODY), "");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_a_secret_is_not_shown() {
        let of = |bytes: usize| format!("{PREFIX}{}", BASE64_STANDARD.encode(vec![1; bytes]));
        for good in [24, 32, 64] {
            assert!(of(good).parse::<SigningSecret>().is_ok(), "{good}");
        }
        for bad in ["", PREFIX, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!"] {
            assert_eq!(bad.parse::<SigningSecret>().unwrap_err(), InvalidSecret, "{bad}");
        }
        assert!(of(23).parse::<SigningSecret>().is_err() && of(65).parse::<SigningSecret>().is_err());
        assert!(!format!("{:?}{InvalidSecret}", secret(SECRET)).contains("MfKQ"));
    }
}
