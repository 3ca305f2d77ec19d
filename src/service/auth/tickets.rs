//! One-time tickets: short texts that stand for rights, for places where a token should not be written, such as a URL.
//!
//! Shared by all cores. Has neither a clock nor a source of randomness. Invariant: a ticket is redeemed once, within
//! 30 s, and its text cannot be guessed (128 bits).

use std::collections::{HashMap, VecDeque};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How long a ticket can be redeemed: a page's round trip to its backend and back on a poor network.
pub const TICKET_MS: u64 = 30 * 1000;

/// The random bytes of a ticket.
pub const TICKET_BYTES: usize = 16;

/// The most tickets at a time: 2,000 a second, more than a host accepts TLS handshakes.
pub const TICKETS_MAX: usize = 1 << 16;

/// Tickets that stand for values of the type `T`.
pub struct Tickets<T> {
    open: HashMap<[u8; TICKET_BYTES], T>,
    /// All tickets of the last 30 s with the end of each, the oldest first.
    ends: VecDeque<(u64, [u8; TICKET_BYTES])>,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self { open: HashMap::new(), ends: VecDeque::new() }
    }
}

impl<T> Tickets<T> {
    /// Issues a ticket, whose text is made from random bytes. Returns `None` if there are too many.
    pub fn issue(&mut self, random: [u8; TICKET_BYTES], value: T, now_ms: u64) -> Option<String> {
        self.forget_expired(now_ms);
        if self.ends.len() >= TICKETS_MAX || self.open.contains_key(&random) {
            return None;
        }
        self.open.insert(random, value);
        self.ends.push_back((now_ms + TICKET_MS, random));
        Some(URL_SAFE_NO_PAD.encode(random))
    }

    /// Redeems a ticket: returns its value, once.
    pub fn redeem(&mut self, text: &str, now_ms: u64) -> Option<T> {
        self.forget_expired(now_ms);
        let mut bytes = [0; TICKET_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        if length == TICKET_BYTES { self.open.remove(&bytes) } else { None }
    }

    fn forget_expired(&mut self, now_ms: u64) {
        while let Some((_, ticket)) = self.ends.front().filter(|(end_ms, _)| *end_ms <= now_ms) {
            self.open.remove(ticket);
            self.ends.pop_front();
        }
    }
}

/// Writes the number of tickets, and none of them.
impl<T> fmt::Debug for Tickets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_redeemed_once_and_within_30_s() {
        let mut tickets = Tickets::default();
        let one = tickets.issue([1; 16], "one", 0).unwrap();
        let other = tickets.issue([2; 16], "other", 10).unwrap();
        assert_eq!(one.len(), 22);
        assert_eq!(format!("{tickets:?}"), "Tickets { open: 2, .. }", "nothing shows a ticket");
        assert_eq!(tickets.redeem(&one, TICKET_MS - 1), Some("one"));
        assert_eq!(tickets.redeem(&one, TICKET_MS - 1), None);
        assert_eq!(tickets.redeem(&other, TICKET_MS + 10), None);
        assert!(tickets.open.is_empty() && tickets.ends.is_empty());
    }

    #[test]
    fn a_text_that_is_no_ticket_redeems_nothing() {
        let mut tickets = Tickets::default();
        let ticket = tickets.issue([0xff; 16], (), 0).unwrap();
        for text in ["", "x", "a.b.c", &ticket[1..], &format!("{ticket}A"), &format!("{ticket}=="), &"A".repeat(9000)] {
            assert_eq!(tickets.redeem(text, 0), None, "{text}");
        }
        // The last character has bits that no byte has: another spelling of the same ticket is none.
        assert!(ticket.ends_with('w'));
        assert_eq!(tickets.redeem(&format!("{}x", &ticket[..21]), 0), None);
        assert_eq!(tickets.redeem(&ticket, 0), Some(()));
    }

    #[test]
    fn their_number_is_bounded_also_by_those_that_were_redeemed() {
        let mut tickets = Tickets::default();
        for number in 0..TICKETS_MAX as u128 {
            assert!(tickets.issue(number.to_le_bytes(), (), 0).is_some());
        }
        assert!(tickets.issue([0xff; 16], (), TICKET_MS - 1).is_none());
        assert!(tickets.issue([0xff; 16], (), TICKET_MS).is_some());
    }
}
