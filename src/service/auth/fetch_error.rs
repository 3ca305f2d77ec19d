//! The reasons for which an issuer's keys, or its answer about a token, could not be fetched.

use thiserror::Error;

use super::discovery::DiscoveryError;
use super::introspection::IntrospectionError;
use super::jwks::KeySetError;
use crate::outbound::CallError;

/// A call to an issuer that brought nothing. No text repeats a token, a secret or a document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There is no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A redirect, which could lead anywhere.
    #[error("it answers with a redirect ({0}), which is not followed")]
    Redirect(u16),
    /// The credentials are wrong.
    #[error("it refuses the client-id or client-secret ({0})")]
    Credentials(u16),
    /// Another status than 200.
    #[error("it answers with the status {0}")]
    Status(u16),
    /// The document names no key set.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The document is no key set.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    /// The document is no answer about a token.
    #[error(transparent)]
    Introspection(#[from] IntrospectionError),
    /// The host allows no calls.
    #[error("this host allows no calls: {reason}")]
    Host {
        /// The reason.
        reason: String,
    },
    /// The call ended without an outcome.
    #[error("the call was ended")]
    Ended,
}
