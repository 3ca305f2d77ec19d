//! The keys of an issuer, wherever they come from.
//!
//! Never fetches any. Invariant: reading them takes no lock.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::Guard;

use super::key::Key;
use super::key_source::KeySource;

/// The keys of an issuer.
#[derive(Clone, Debug)]
pub enum IssuerKeys {
    /// It has none: it is asked about each token.
    None,
    /// Those of the configuration.
    Fixed(Arc<[Key]>),
    /// Those of a set that is fetched.
    Fetched(Arc<KeySource>),
}

impl IssuerKeys {
    /// Returns the keys in force.
    pub(super) fn in_force(&self) -> impl Deref<Target = [Key]> + '_ {
        match self {
            Self::None => InForce::Fixed(&[]),
            Self::Fixed(keys) => InForce::Fixed(keys),
            Self::Fetched(source) => InForce::Fetched(source.keys()),
        }
    }

    /// Returns the set that is fetched, if it is.
    pub(super) fn source(&self) -> Option<&Arc<KeySource>> {
        match self {
            Self::Fetched(source) => Some(source),
            Self::None | Self::Fixed(_) => None,
        }
    }
}

impl From<Vec<Key>> for IssuerKeys {
    fn from(keys: Vec<Key>) -> Self {
        Self::Fixed(keys.into())
    }
}

impl<const N: usize> From<[Key; N]> for IssuerKeys {
    fn from(keys: [Key; N]) -> Self {
        Self::Fixed(keys.into())
    }
}

enum InForce<'k> {
    Fixed(&'k [Key]),
    Fetched(Guard<Arc<Arc<[Key]>>>),
}

impl Deref for InForce<'_> {
    type Target = [Key];

    fn deref(&self) -> &[Key] {
        match self {
            Self::Fixed(keys) => keys,
            Self::Fetched(keys) => keys,
        }
    }
}
