//! The facts about tokens that all cores of a server share: those that were used, those that are revoked, and tickets.
//!
//! Owns the locks. Each is held for a look-up, and only when a session begins, renews its token or is revoked: never
//! for a message. Invariant: it outlives reloads, so nothing that was used or revoked is forgotten by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::grants::Grant;
use super::revocations::{Revocation, Revocations, RevocationsFull, TokenFacts};
use super::single_use::{SingleUse, Use};
use super::tickets::{TICKET_BYTES, Tickets};

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
    counts: AccessCounts,
}

/// Counters of access.
#[derive(Debug, Default)]
pub struct AccessCounts {
    /// Tokens that were refused, for whatever reason.
    pub refused: AtomicU64,
    /// Single-use tokens that were refused because no more could be remembered.
    pub used_full: AtomicU64,
    /// Sessions that ended with their tokens.
    pub expired: AtomicU64,
    /// Sessions that a revocation has ended.
    pub revoked: AtomicU64,
}

impl AccessState {
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
