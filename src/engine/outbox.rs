//! What waits to be sent to one session, in order.
//!
//! It exists only while something waits. What has been handed to the reactor is only counted here: it lives there until
//! it has left.

use bytes::Bytes;

use crate::protocol::{CONTROL_PAYLOAD_MAX, Opcode, write_frame};
use crate::reactor::Chunks;

/// Pongs that may wait at a time; further pings are answered by the latest pong alone (RFC 6455 5.5.3). Peers that wait
/// for each of a handful of pongs get them; a flood costs at most this many.
pub const PONGS_WAITING_MAX: u8 = 16;

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Vec<u8>,
    in_flight_bytes: usize,
    pongs: u8,
    /// The payload of the latest ping that no pong was queued for.
    latest_ping: Option<Vec<u8>>,
    /// Tick at which something last left, or waiting began.
    pub(super) progress: u32,
}

impl Outbox {
    /// Bytes that have not left.
    pub fn bytes(&self) -> usize {
        self.queue.len() + self.in_flight_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0 && self.latest_ping.is_none()
    }

    /// Queues whole frames, behind the pong of every ping that came before: nothing follows a Close frame.
    pub fn push(&mut self, frames: &[u8]) {
        self.queue_latest_pong();
        self.queue.extend_from_slice(frames);
    }

    /// Queues a pong, unless enough of them wait: then the latest replaces the one before it. Says whether one was lost.
    pub fn pong(&mut self, payload: &[u8]) -> bool {
        debug_assert!(payload.len() <= CONTROL_PAYLOAD_MAX);
        if self.pongs < PONGS_WAITING_MAX {
            self.pongs += 1;
            write_frame(&mut self.queue, Opcode::Pong, payload, None);
            return false;
        }
        let replaced = self.latest_ping.is_some();
        self.latest_ping.get_or_insert_default().clear();
        self.latest_ping.get_or_insert_default().extend_from_slice(payload);
        replaced
    }

    /// Takes what waits; `None` when nothing does. What is taken counts as in flight until [`Outbox::left`].
    pub fn take(&mut self) -> Option<Chunks> {
        self.queue_latest_pong();
        self.pongs = 0;
        if self.queue.is_empty() {
            return None;
        }
        self.in_flight_bytes += self.queue.len();
        Some(Chunks::One(Bytes::from(std::mem::take(&mut self.queue))))
    }

    /// Notes that `bytes` of what was taken have left.
    pub fn left(&mut self, bytes: usize, tick: u32) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        self.progress = tick;
    }

    fn queue_latest_pong(&mut self) {
        if let Some(payload) = self.latest_ping.take() {
            write_frame(&mut self.queue, Opcode::Pong, &payload, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(chunks: &Chunks) -> Vec<u8> {
        chunks.parts().concat()
    }

    #[test]
    fn what_is_taken_counts_until_it_has_left() {
        let mut outbox = Outbox::default();
        outbox.push(b"one ");
        outbox.push(b"two");
        assert_eq!(bytes_of(&outbox.take().unwrap()), b"one two");
        outbox.push(b"three");
        assert_eq!(outbox.bytes(), 12);
        outbox.left(7, 1);
        assert_eq!(outbox.bytes(), 5);
        assert_eq!(bytes_of(&outbox.take().unwrap()), b"three");
        outbox.left(5, 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_latest_pong_comes_before_what_is_said_after_its_ping() {
        let mut outbox = Outbox::default();
        (0..100u32).for_each(|n| {
            outbox.pong(&n.to_be_bytes());
        });
        outbox.push(b"the last word");
        let sent = bytes_of(&outbox.take().unwrap());
        assert!(sent.ends_with(b"\0\0\0\x63the last word"));
    }

    #[test]
    fn a_flood_of_pings_waits_as_sixteen_pongs_and_the_latest() {
        let mut outbox = Outbox::default();
        let lost = (0..1000u32).filter(|n| outbox.pong(&n.to_be_bytes())).count();
        assert_eq!(lost, 1000 - 17);
        let sent = bytes_of(&outbox.take().unwrap());
        assert_eq!(sent.len(), 17 * 6);
        assert_eq!(sent[16 * 6 + 2..], 999u32.to_be_bytes());
    }
}
