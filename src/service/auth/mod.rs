//! Identities: tokens and their keys, roles and grants, tickets and revocations.
//!
//! Owns the decision who somebody is and what that one may do. Only `gate` touches sessions, only `admission` and
//! `issuers` read a clock, and only `calls` reaches others; for all other files times, random bytes and documents are
//! arguments. Invariant: a fault of a token, of whatever kind, lets nobody in; nothing that is refused is told more
//! than that.

mod admission;
mod algorithm;
mod allowed;
mod answers;
mod arrival_number;
mod calls;
mod discovery;
mod error;
mod fetch_error;
mod gate;
mod grants;
mod http;
mod identity;
mod introspection;
mod introspector;
mod issuer_keys;
mod issuers;
mod json;
mod jwks;
mod key;
mod key_source;
mod outage;
mod places;
mod refresh;
mod revocations;
mod roles;
mod rules;
mod settings;
mod signing;
mod single_use;
mod state;
#[cfg(test)]
mod tests;
mod tickets;
mod token;
mod verifier;

pub(in crate::service) use admission::{Admission, Refused, Target};
pub use algorithm::Algorithm;
pub use allowed::Allowed;
pub use arrival_number::ArrivalNumber;
pub use discovery::{DISCOVERY_BYTES_MAX, DiscoveryError, discovery_url, parse_discovery};
pub use error::TokenError;
pub use gate::Arrival;
pub(in crate::service) use gate::{Entrance, Gate, Gated, Passage};
pub use grants::{GRANTS_MAX, Grant, GrantError, GrantSet, GrantSets, Verb};
pub(in crate::service) use http::{REVOKE, TICKETS, issue_ticket, revoke};
pub use introspection::{INTROSPECTION_BYTES_MAX, Introspection, IntrospectionError, parse_introspection};
pub use introspector::Introspector;
pub use issuer_keys::IssuerKeys;
pub use issuers::{IssuerCounts, Issuers};
pub(in crate::service) use json::object as json_object;
pub use jwks::{KEY_SET_BYTES_MAX, KEYS_MAX, KeySetError, parse_key_set};
pub use key::{Key, KeyError, SECRET_BYTES_MIN};
pub use key_source::{KeyPlace, KeySource};
pub use refresh::{Refresh, UnknownKey};
pub use revocations::{Revocation, Revocations, RevocationsFull, TokenFacts};
pub use roles::{ANONYMOUS, GrantTemplate, Roles};
pub use rules::{AccessFault, AccessRules, KEY_FILE_BYTES_MAX};
pub use settings::{
    AccessSettings, ApiKeySettings, CertificateName, IssuerSettings, KeyFile, Refuse, RoleSettings, Secret, TokenPlace,
    TokenPlaces, TokenSettings,
};
pub use signing::{Signer, SigningError};
pub use single_use::{SingleUse, Use};
pub use state::{AccessCounts, AccessState};
pub use tickets::{TICKET_BYTES, Tickets};
pub(in crate::service) use token::ID_BYTES_MAX as SUBJECT_BYTES_MAX;
pub use token::TOKEN_BYTES_MAX;
pub use verifier::{Claims, Issuer, TokenRules, Verifier};
