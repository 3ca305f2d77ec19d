//! The bytes that wait to be sent to one session, in order.
//!
//! An outbox exists only while something waits. Bytes in flight belong to the reactor until they are sent, and are only
//! counted here. Shared frames are referred to and never copied. The session's own frames are kept in pieces that never
//! move, because a buffer that doubles would take twice the memory and leave as much behind in the allocator.
//! Invariant: the session's own bytes take hardly more memory than their number.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::engine::topics::{Overflow, TopicKey};
use crate::engine::wheel::NEVER;
use crate::protocol::{CONTROL_PAYLOAD_MAX, HEADER_BYTES_MAX, Opcode, write_frame};
use crate::reactor::Chunks;

/// Pongs that may wait at a time. Further pings are answered by the latest pong alone (RFC 6455 5.5.3). A peer that
/// waits for each of a handful of pongs gets them all, and a flood costs at most this many.
pub const PONGS_WAITING_MAX: u8 = 16;

/// The size of a piece, unless more was queued at once: what the kernel takes in a few segments, so that one send of 64
/// pieces carries a megabyte.
const PIECE_BYTES: usize = 16 * 1024;

/// The first piece of an outbox, in bytes. It grows to a whole piece, so that a few pongs take no more than they need.
const PIECE_BYTES_FIRST: usize = 512;

/// The cost of a reference to shared frames beside their bytes, including what it may cost to keep them for one slow
/// session alone. It counts like bytes, so that many small messages cannot take many times their limit in memory.
const SHARED_BYTES: usize = 128;

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Outbox {
    pieces: Pieces,
    queued_bytes: usize,
    in_flight_bytes: usize,
    /// Contents that are almost never there.
    rare: Option<Box<Rare>>,
    /// The tick at which bytes were last sent, or at which waiting began.
    pub(in crate::engine) progress: u32,
    /// The tick since which the oldest shared frames in flight have waited; [`NEVER`] if there are none.
    in_flight_since: u32,
    pongs: u8,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            pieces: Pieces::None,
            queued_bytes: 0,
            in_flight_bytes: 0,
            rare: None,
            progress: 0,
            in_flight_since: NEVER,
            pongs: 0,
        }
    }
}

/// Contents of an outbox that are almost never there.
#[derive(Debug, Default)]
struct Rare {
    /// The payload of the latest ping without a queued pong.
    latest_ping: Option<Vec<u8>>,
    /// Bytes that TLS has sealed and the socket did not take. They go first.
    sealed: Vec<u8>,
    /// The rest of a piece whose beginning was sealed, before all other pieces: it cannot be dropped any more.
    begun: Bytes,
}

/// The bytes of one send over TLS.
#[derive(Debug)]
pub(in crate::engine) enum Taken {
    /// Bytes for [`Transport::send`](crate::transport::Transport::send).
    Plain(Chunks),
    /// Bytes that are sealed already.
    Sealed(Chunks),
}

/// The queue, in order: mostly one piece.
#[derive(Debug)]
enum Pieces {
    None,
    One(Piece),
    Many(VecDeque<Piece>),
}

#[derive(Debug)]
enum Piece {
    Own(Vec<u8>),
    Shared(SharedFrames),
}

/// Frames that are sent to many sessions.
#[derive(Debug)]
pub(in crate::engine) struct SharedFrames {
    pub(in crate::engine) frames: Bytes,
    pub(in crate::engine) messages: u32,
    /// The topic of the frames.
    pub(in crate::engine) topic: TopicKey,
    /// The policy by which they may be dropped while they wait.
    pub(in crate::engine) overflow: Overflow,
    /// The tick at which they were queued.
    pub(in crate::engine) since: u32,
}

impl SharedFrames {
    fn cost(&self) -> usize {
        self.frames.len() + SHARED_BYTES
    }
}

impl Outbox {
    /// Returns the bytes that were not sent yet, including the cost of keeping them.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.queued_bytes + self.in_flight_bytes
    }

    /// Returns whether nothing waits.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.bytes() == 0 && self.rare.as_ref().is_none_or(|rare| rare.latest_ping.is_none())
    }

    /// Returns the tick since which the oldest shared frames have waited; [`NEVER`] if there are none.
    pub(in crate::engine) fn shared_since(&self) -> u32 {
        let queued = self.pieces.iter().find_map(|piece| match piece {
            Piece::Shared(shared) => Some(shared.since),
            Piece::Own(_) => None,
        });
        self.in_flight_since.min(queued.unwrap_or(NEVER))
    }

    /// Queues whole frames, after the pongs to all earlier pings, since nothing may follow a Close frame.
    pub(in crate::engine) fn push(&mut self, frames: &[u8]) {
        self.queue_latest_pong();
        self.queue(frames);
    }

    /// Queues bytes that TLS has sealed, before all others: those were not sealed yet.
    pub(in crate::engine) fn push_sealed(&mut self, sealed: &[u8]) {
        if !sealed.is_empty() {
            self.queued_bytes += sealed.len();
            self.rare.get_or_insert_default().sealed.extend_from_slice(sealed);
        }
    }

    /// Queues frames that are shared with other sessions.
    pub(in crate::engine) fn share(&mut self, shared: SharedFrames) {
        self.queue_latest_pong();
        self.queued_bytes += shared.cost();
        self.pieces.push(Piece::Shared(shared));
    }

    /// Queues a pong. If enough pongs wait, it replaces the latest one instead. Returns whether one was replaced.
    pub(in crate::engine) fn pong(&mut self, payload: &[u8]) -> bool {
        debug_assert!(payload.len() <= CONTROL_PAYLOAD_MAX);
        if self.pongs < PONGS_WAITING_MAX {
            self.pongs += 1;
            self.queue_pong(payload);
            return false;
        }
        let latest_ping = &mut self.rare.get_or_insert_default().latest_ping;
        let replaced = latest_ping.is_some();
        *latest_ping = Some(payload.to_vec());
        replaced
    }

    /// Drops waiting frames of topics with the policy [`Overflow::DropOldest`]: those queued up to `since_max`, and
    /// more until at most `bytes_max` remain. Returns the number of messages for each topic.
    pub(in crate::engine) fn drop_oldest(&mut self, bytes_max: usize, since_max: u32) -> Vec<(TopicKey, u32)> {
        let mut excess = self.bytes().saturating_sub(bytes_max);
        let mut dropped: Vec<(TopicKey, u32)> = Vec::new();
        self.drop_shared(|shared| {
            let drop = shared.overflow == Overflow::DropOldest && (excess > 0 || shared.since <= since_max);
            if drop {
                excess = excess.saturating_sub(shared.cost());
                match dropped.iter_mut().find(|(topic, _)| *topic == shared.topic) {
                    Some((_, messages)) => *messages += shared.messages,
                    None => dropped.push((shared.topic, shared.messages)),
                }
            }
            drop
        });
        dropped
    }

    /// Drops the waiting frames of a topic with the policy [`Overflow::Latest`]. Returns the number of messages.
    pub(in crate::engine) fn drop_topic(&mut self, topic: TopicKey) -> u32 {
        let mut messages = 0;
        self.drop_shared(|shared| {
            let drop = shared.overflow == Overflow::Latest && shared.topic == topic;
            messages += if drop { shared.messages } else { 0 };
            drop
        });
        messages
    }

    /// Takes as much as one send may carry; `None` if nothing waits. The bytes count as in flight until
    /// [`Outbox::note_sent`].
    pub(in crate::engine) fn take(&mut self) -> Option<Chunks> {
        self.queue_latest_pong();
        self.pongs = 0;
        self.in_flight_since = NEVER;
        let (since, cost) = (&mut self.in_flight_since, &mut self.queued_bytes);
        let chunks = match std::mem::replace(&mut self.pieces, Pieces::None) {
            Pieces::None => return None,
            Pieces::One(piece) => Chunks::One(piece.into_bytes(since, cost)),
            Pieces::Many(mut pieces) => {
                let count = pieces.len().min(Chunks::PARTS_MAX);
                let taken = pieces.drain(..count).map(|piece| piece.into_bytes(since, cost)).collect();
                if !pieces.is_empty() {
                    self.pieces = Pieces::Many(pieces);
                }
                Chunks::Many(taken)
            }
        };
        self.in_flight_bytes += chunks.len();
        Some(chunks)
    }

    /// Takes what one send over TLS may carry: bytes that are sealed, or at most so many that are not. `None` if
    /// nothing waits. The bytes count as in flight until [`Outbox::note_sent`].
    pub(in crate::engine) fn take_to_seal(&mut self, bytes_max: usize) -> Option<Taken> {
        if let Some(rare) = &mut self.rare
            && !rare.sealed.is_empty()
        {
            let sealed = std::mem::take(&mut rare.sealed);
            self.queued_bytes -= sealed.len();
            self.in_flight_bytes += sealed.len();
            return Some(Taken::Sealed(Chunks::One(Bytes::from(sealed))));
        }
        self.queue_latest_pong();
        self.pongs = 0;
        // The rest of a piece that was begun is as old as its beginning.
        if self.rare.as_ref().is_none_or(|rare| rare.begun.is_empty()) {
            self.in_flight_since = NEVER;
        }
        let mut taken = Vec::new();
        let mut room = bytes_max;
        while room > 0
            && taken.len() < Chunks::PARTS_MAX
            && let Some(mut bytes) = self.take_next()
        {
            if bytes.len() > room {
                let begun = bytes.split_off(room);
                self.queued_bytes += begun.len();
                self.rare.get_or_insert_default().begun = begun;
            }
            room -= bytes.len();
            taken.push(bytes);
        }
        self.in_flight_bytes += taken.iter().map(Bytes::len).sum::<usize>();
        if taken.is_empty() { None } else { Some(Taken::Plain(Chunks::Many(taken))) }
    }

    /// Records that more bytes are in flight than were taken, because they were sealed.
    pub(in crate::engine) fn note_sealed(&mut self, more: usize) {
        self.in_flight_bytes += more;
    }

    /// Takes the first bytes that are not sealed, and subtracts their cost from the queue.
    fn take_next(&mut self) -> Option<Bytes> {
        if let Some(rare) = &mut self.rare
            && !rare.begun.is_empty()
        {
            self.queued_bytes -= rare.begun.len();
            return Some(std::mem::take(&mut rare.begun));
        }
        let (piece, rest) = match std::mem::replace(&mut self.pieces, Pieces::None) {
            Pieces::None => return None,
            Pieces::One(piece) => (piece, Pieces::None),
            Pieces::Many(mut pieces) => {
                let piece = pieces.pop_front()?;
                (piece, if pieces.is_empty() { Pieces::None } else { Pieces::Many(pieces) })
            }
        };
        self.pieces = rest;
        Some(piece.into_bytes(&mut self.in_flight_since, &mut self.queued_bytes))
    }

    /// Records that `bytes` of those in flight were sent.
    pub(in crate::engine) fn note_sent(&mut self, bytes: usize, tick: u32) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        self.progress = tick;
        if self.in_flight_bytes == 0 {
            self.in_flight_since = NEVER;
        }
    }

    fn drop_shared(&mut self, mut is_dropped: impl FnMut(&SharedFrames) -> bool) {
        let mut bytes = 0;
        self.pieces.retain(|piece| match piece {
            Piece::Shared(shared) if is_dropped(shared) => {
                bytes += shared.cost();
                false
            }
            _ => true,
        });
        self.queued_bytes -= bytes;
    }

    fn queue_latest_pong(&mut self) {
        if let Some(rare) = &mut self.rare
            && let Some(payload) = rare.latest_ping.take()
        {
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
        if let Some(Piece::Own(last)) = self.pieces.last_mut() {
            // Only the first piece grows, and never beyond the size of a whole one.
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES.saturating_sub(last.len())));
            let capacity = (last.len() + now.len()).next_power_of_two().min(PIECE_BYTES);
            last.reserve_exact(capacity.saturating_sub(last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
        if !bytes.is_empty() {
            let least = if self.pieces.is_empty() { PIECE_BYTES_FIRST } else { PIECE_BYTES };
            let mut piece = Vec::with_capacity(least.max(bytes.len()));
            piece.extend_from_slice(bytes);
            self.pieces.push(Piece::Own(piece));
        }
    }
}

impl Piece {
    /// Returns the bytes to send, and subtracts their cost from the queue.
    fn into_bytes(self, shared_since: &mut u32, queued_bytes: &mut usize) -> Bytes {
        match self {
            Piece::Own(bytes) => {
                *queued_bytes -= bytes.len();
                Bytes::from(bytes)
            }
            Piece::Shared(shared) => {
                *queued_bytes -= shared.cost();
                *shared_since = shared.since.min(*shared_since);
                shared.frames
            }
        }
    }
}

impl Pieces {
    fn is_empty(&self) -> bool {
        matches!(self, Pieces::None)
    }

    fn iter(&self) -> impl Iterator<Item = &Piece> {
        let (one, many) = match self {
            Pieces::None => (None, None),
            Pieces::One(piece) => (Some(piece), None),
            Pieces::Many(pieces) => (None, Some(pieces)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn last_mut(&mut self) -> Option<&mut Piece> {
        match self {
            Pieces::None => None,
            Pieces::One(piece) => Some(piece),
            Pieces::Many(pieces) => pieces.back_mut(),
        }
    }

    fn push(&mut self, piece: Piece) {
        *self = match std::mem::replace(self, Pieces::None) {
            Pieces::None => Pieces::One(piece),
            Pieces::One(first) => Pieces::Many(VecDeque::from([first, piece])),
            Pieces::Many(mut pieces) => {
                pieces.push_back(piece);
                Pieces::Many(pieces)
            }
        };
    }

    fn retain(&mut self, mut is_kept: impl FnMut(&Piece) -> bool) {
        let is_over = match self {
            Pieces::None => return,
            Pieces::One(piece) => !is_kept(piece),
            Pieces::Many(pieces) => {
                pieces.retain(is_kept);
                pieces.is_empty()
            }
        };
        if is_over {
            *self = Pieces::None;
        }
    }
}
