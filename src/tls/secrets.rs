//! The traffic secrets of a handshake, which rustls tells nobody but a key log.
//!
//! rustls calls the key log on the thread that drives the handshake, during a call of it. So the secrets wait in a
//! variable of that thread until the call returns. Invariant: outside a call of [`gather`] nothing is kept.

use std::cell::RefCell;
use std::fmt;

use rustls::KeyLog;
use zeroize::Zeroizing;

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

thread_local! {
    static GATHERED: RefCell<Option<Secrets>> = const { RefCell::new(None) };
}

/// The first traffic secrets of a session, as far as they are known.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) client: Zeroizing<Vec<u8>>,
    pub(super) server: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Secrets {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Runs a call of rustls, and keeps the secrets that it produces in `secrets`.
pub(super) fn gather<T>(secrets: &mut Secrets, call: impl FnOnce() -> T) -> T {
    let outer = GATHERED.replace(Some(std::mem::take(secrets)));
    let result = call();
    *secrets = GATHERED.replace(outer).unwrap_or_default();
    result
}

/// The key log of configurations whose sessions are kept in records of our own.
#[derive(Debug)]
pub(super) struct Gatherer;

impl KeyLog for Gatherer {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        GATHERED.with_borrow_mut(|gathered| {
            let Some(secrets) = gathered else { return };
            match label {
                CLIENT => secrets.client = Zeroizing::new(secret.to_vec()),
                SERVER => secrets.server = Zeroizing::new(secret.to_vec()),
                _ => {}
            }
        });
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT | SERVER)
    }
}
