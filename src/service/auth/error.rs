//! The reasons for which a token is refused.
//!
//! For the operator alone: a client is told the same for each of them ([`TokenError`]).

use thiserror::Error;

use super::grants::GRANTS_MAX;
use super::grants::GrantError;

/// A token that is not accepted. Clients get one status for all reasons; `ringsock token explain` shows the reason. No
/// text repeats a part of the token, except for names that the reader needs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Too long.
    #[error("It has {bytes} bytes, but may have {max}.")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not a signed token in compact form.
    #[error("It is no signed token: three parts in base64url without padding, separated by dots.")]
    Form,
    /// The header is no object.
    #[error("Its header is no JSON object in which each name occurs once.")]
    Header,
    /// A header parameter that names a key, changes the rules or makes it another kind of token.
    #[error("Its header has {name}, which is never accepted.")]
    HeaderParameter {
        /// The parameter.
        name: &'static str,
    },
    /// A header parameter of another type, or one that is missing.
    #[error("Its header has no valid {name}.")]
    HeaderValue {
        /// The parameter.
        name: &'static str,
    },
    /// The claims are no object.
    #[error("Its claims are no JSON object in which each name occurs once.")]
    Claims,
    /// A claim of another type or out of its range, or one that is missing.
    #[error("Its claim {name} is missing or invalid.")]
    Claim {
        /// The claim.
        name: Box<str>,
    },
    /// No issuer of the configuration has made it.
    #[error("Its iss is that of no issuer in the configuration.")]
    Issuer,
    /// The issuer has no key of this id and algorithm.
    #[error("The issuer {issuer} has no key with its kid and alg.")]
    Key {
        /// The name of the issuer in the configuration.
        issuer: Box<str>,
        /// The id of the key, if the token names one.
        id: Option<Box<str>>,
    },
    /// Too many keys could be its own.
    #[error("It has no kid, and the issuer {issuer} has more than {max} keys with its alg.")]
    KeyAmbiguous {
        /// The name of the issuer in the configuration.
        issuer: Box<str>,
        /// The limit.
        max: usize,
    },
    /// The signature is wrong.
    #[error("Its signature is not that of a key of the issuer {issuer}.")]
    Signature {
        /// The name of the issuer in the configuration.
        issuer: Box<str>,
    },
    /// Expired.
    #[error("It expired {seconds} s ago.")]
    Expired {
        /// The time since.
        seconds: u64,
    },
    /// Not valid yet.
    #[error("It is valid in {seconds} s, by its nbf or iat.")]
    Early {
        /// The time until then.
        seconds: u64,
    },
    /// It lives for too long.
    #[error("It lives for {seconds} s, but may live for {max} s (tokens.max-life-ms).")]
    LifeTooLong {
        /// The seconds from iat, or from now without one, to exp.
        seconds: u64,
        /// The limit.
        max: u64,
    },
    /// It is for another audience.
    #[error("Its aud names no audience of the issuer {issuer}.")]
    Audience {
        /// The name of the issuer in the configuration.
        issuer: Box<str>,
    },
    /// It has too many grants or roles.
    #[error("It has more than {GRANTS_MAX} grants or roles.")]
    TooManyGrants,
    /// One of its grants is invalid.
    #[error("One of its grants is invalid: {0}.")]
    Grant(#[from] GrantError),
    /// Its issuer says that it is not active.
    #[error("The issuer {issuer} says that it is not active.")]
    Inactive {
        /// The name of the issuer in the configuration.
        issuer: Box<str>,
    },
    /// Its issuer could not be asked about it, or about its key.
    #[error("The issuer {issuer} could not be asked: {reason}.")]
    NotJudged {
        /// The name of the issuer in the configuration.
        issuer: Box<str>,
        /// The reason.
        reason: Box<str>,
    },
    /// A certificate does not have the name that becomes the subject.
    #[error("The certificate has no valid name, or several, where tokens.certificate-name expects one.")]
    CertificateName,
    /// It was revoked.
    #[error("It was revoked.")]
    Revoked,
    /// It was used before.
    #[error("It was used before, and tokens.single-use is true.")]
    Used,
    /// No more used tokens can be remembered.
    #[error("So many single-use tokens are in use that no further one can be remembered.")]
    UsedFull,
    /// A text that is neither a token of an issuer nor a known key or ticket.
    #[error("It is no token of an issuer, no API key, and no ticket that is open.")]
    Unknown,
}
