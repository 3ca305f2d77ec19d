//! What waits to be sent to one session, in order.
//!
//! It exists only while something waits. What has been handed to the reactor is only counted here: it lives there until
//! it has left. Invariant: it takes hardly more memory than bytes wait, because it grows by pieces that stay where they
//! are; a buffer that doubles would take twice as much, and leave as much behind in the allocator.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::protocol::{CONTROL_PAYLOAD_MAX, HEADER_BYTES_MAX, Opcode, write_frame};
use crate::reactor::Chunks;

/// Pongs that may wait at a time; further pings are answered by the latest pong alone (RFC 6455 5.5.3). Peers that wait
/// for each of a handful of pongs get them; a flood costs at most this many.
pub const PONGS_WAITING_MAX: u8 = 16;

/// Bytes of a piece: as much as the kernel takes in a few segments, so that one send of 64 pieces carries a megabyte.
const PIECE_BYTES: usize = 16 * 1024;

/// The first piece of an outbox, which grows to a whole one: a few pongs take no more than they need.
const PIECE_BYTES_FIRST: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Vec<u8>>,
    queued_bytes: usize,
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
        self.queued_bytes + self.in_flight_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0 && self.latest_ping.is_none()
    }

    /// Queues whole frames, behind the pong of every ping that came before: nothing follows a Close frame.
    pub fn push(&mut self, frames: &[u8]) {
        self.queue_latest_pong();
        self.queue(frames);
    }

    /// Queues a pong, unless enough of them wait: then the latest replaces the one before it. Says whether one was lost.
    pub fn pong(&mut self, payload: &[u8]) -> bool {
        debug_assert!(payload.len() <= CONTROL_PAYLOAD_MAX);
        if self.pongs < PONGS_WAITING_MAX {
            self.pongs += 1;
            self.queue_pong(payload);
            return false;
        }
        let replaced = self.latest_ping.is_some();
        self.latest_ping.get_or_insert_default().clear();
        self.latest_ping.get_or_insert_default().extend_from_slice(payload);
        replaced
    }

    /// Takes what waits, as much as one send may carry; `None` when nothing does. What is taken counts as in flight until
    /// [`Outbox::left`].
    pub fn take(&mut self) -> Option<Chunks> {
        self.queue_latest_pong();
        self.pongs = 0;
        let count = self.pieces.len().min(Chunks::PARTS_MAX);
        let mut taken = self.pieces.drain(..count).map(Bytes::from);
        let chunks = match count {
            0 => return None,
            1 => Chunks::One(taken.next()?),
            _ => Chunks::Many(taken.collect()),
        };
        self.queued_bytes -= chunks.len();
        self.in_flight_bytes += chunks.len();
        Some(chunks)
    }

    /// Notes that `bytes` of what was taken have left.
    pub fn left(&mut self, bytes: usize, tick: u32) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        self.progress = tick;
    }

    fn queue_latest_pong(&mut self) {
        if let Some(payload) = self.latest_ping.take() {
            self.queue_pong(&payload);
        }
    }

    fn queue_pong(&mut self, payload: &[u8]) {
        let mut frame = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
        write_frame(&mut frame, Opcode::Pong, payload, None);
        self.queue(&frame);
    }

    fn queue(&mut self, mut bytes: &[u8]) {
        self.queued_bytes += bytes.len();
        while !bytes.is_empty() {
            let room = self.pieces.back().map_or(0, |last| PIECE_BYTES - last.len());
            if room == 0 {
                let first = if self.pieces.is_empty() { PIECE_BYTES_FIRST } else { PIECE_BYTES };
                self.pieces.push_back(Vec::with_capacity(first.max(bytes.len().min(PIECE_BYTES))));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.pieces.back_mut() {
                // Only the first piece grows, and never beyond a whole one.
                let capacity = (last.len() + now.len()).next_power_of_two().min(PIECE_BYTES);
                last.reserve_exact(capacity.saturating_sub(last.len()));
                last.extend_from_slice(now);
            }
            bytes = later;
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
    fn much_is_taken_a_send_at_a_time_and_takes_no_more_memory_than_it_has_bytes() {
        let mut outbox = Outbox::default();
        let said: Vec<u8> = (0..3_000_000u32).map(|n| (n >> 8) as u8).collect();
        said.chunks(70_001).for_each(|part| outbox.push(part));
        let capacity: usize = outbox.pieces.iter().map(Vec::capacity).sum();
        assert!(capacity <= said.len() + PIECE_BYTES, "{capacity}");
        let mut sent = Vec::new();
        while let Some(chunks) = outbox.take() {
            assert!(chunks.parts().len() <= Chunks::PARTS_MAX);
            outbox.left(chunks.len(), 0);
            sent.extend(bytes_of(&chunks));
        }
        assert!(sent == said && outbox.is_empty());
    }

    #[test]
    fn a_few_bytes_take_little_memory() {
        let mut outbox = Outbox::default();
        outbox.push(b"a few");
        assert_eq!(outbox.pieces[0].capacity(), PIECE_BYTES_FIRST);
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
