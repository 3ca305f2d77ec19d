//! The facts about tokens that all cores of a server share: those that were used, those that are revoked, and tickets.
//!
//! Owns the locks. Each is held for a look-up, and only when a session begins, renews its token or is revoked: never
//! for a message. Invariant: it outlives reloads, so nothing that was used or revoked is forgotten by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::grants::Grant;
use super::issuers::Issuers;
use super::revocations::{Revocation, Revocations, RevocationsFull, TokenFacts};
use super::single_use::{SingleUse, Use};
use super::tickets::{TICKET_BYTES, Tickets};
use crate::outbound::Outbound;

/// The rights that a ticket stands for.
#[derive(Clone, Debug)]
pub(super) struct TicketRights {
    pub(super) subject: Option<Box<str>>,
    pub(super) grants: Vec<Grant>,
    /// The time at which it was issued, in seconds since 1970.
    pub(super) issued_at_s: u64,
    /// The end of the session in seconds since 1970, if it has one.
    pub(super) expires_at_s: Option<u64>,
}

/// Facts about tokens that the cores of a server share.
#[derive(Debug, Default)]
pub struct AccessState {
    used: Mutex<SingleUse>,
    revocations: Mutex<Revocations>,
    tickets: Mutex<Tickets<TicketRights>>,
    issuers: Issuers,
    counts: AccessCounts,
}

/// Counters of access.
#[derive(Debug, Default)]
pub struct AccessCounts {
    /// Tokens that were refused, for whatever reason.
    pub(super) refused: Arc<AtomicU64>,
    /// Single-use tokens that were refused because no more could be remembered.
    pub(super) used_full: Arc<AtomicU64>,
    /// Sessions that ended with their tokens.
    pub(super) expired: Arc<AtomicU64>,
    /// Sessions that a revocation has ended.
    pub(super) revoked: Arc<AtomicU64>,
}

impl AccessCounts {
    /// Returns all counters, each with the name of its metric, without `_total`, and its meaning.
    pub fn all(&self) -> [(&'static str, &'static str, Arc<AtomicU64>); 4] {
        let (refused, full) =
            ("Tokens, keys and tickets that were refused.", "Of these, single-use tokens that found no room.");
        let (expired, revoked) = ("Sessions that ended with their tokens.", "Sessions that a revocation has ended.");
        [
            ("ringsock_tokens_refused", refused, Arc::clone(&self.refused)),
            ("ringsock_tokens_single_use_full", full, Arc::clone(&self.used_full)),
            ("ringsock_sessions_expired", expired, Arc::clone(&self.expired)),
            ("ringsock_sessions_revoked", revoked, Arc::clone(&self.revoked)),
        ]
    }
}

impl AccessState {
    /// Returns the facts of a server whose issuers are called on this thread.
    pub fn new(outbound: Outbound) -> Self {
        Self { issuers: Issuers::new(outbound), ..Self::default() }
    }

    /// Returns the issuers, and what is known from them.
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Returns the counters.
    pub fn counts(&self) -> &AccessCounts {
        &self.counts
    }

    pub(super) fn take(&self, issuer: &str, token_id: &str, until_s: u64, now_s: u64) -> Use {
        let outcome = lock(&self.used).take(issuer, token_id, until_s, now_s);
        if outcome == Use::Full {
            self.counts.used_full.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    pub(super) fn is_revoked(&self, token: TokenFacts<'_>) -> bool {
        lock(&self.revocations).concern(token)
    }

    pub(super) fn revoke(&self, revocation: &Revocation, until_s: u64, now_s: u64) -> Result<(), RevocationsFull> {
        lock(&self.revocations).add(revocation, until_s, now_s)
    }

    pub(super) fn issue_ticket(&self, random: [u8; TICKET_BYTES], rights: TicketRights, now_ms: u64) -> Option<String> {
        lock(&self.tickets).issue(random, rights, now_ms)
    }

    pub(super) fn redeem_ticket(&self, text: &str, now_ms: u64) -> Option<TicketRights> {
        lock(&self.tickets).redeem(text, now_ms)
    }
}

/// Locks a value. No code that runs under these locks can leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
