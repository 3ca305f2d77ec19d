//! What the sessions of one core share, and how bytes get from a session to its socket.
//!
//! Invariant: between two sessions the reply buffer is empty. What a session says during its own callbacks is gathered
//! there and leaves in one `send(2)` when the callbacks are over; only what the socket does not take then goes into an
//! outbox, which is sent through the reactor at the end of the turn.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use crate::engine::admission::clients::Clients;
use crate::engine::counters::Counters;
use crate::engine::limits::Limits;
use crate::engine::mail::Parcel;
use crate::engine::session::acknowledged::Acknowledged;
use crate::engine::session::outbox::Outbox;
use crate::engine::session::{Phase, Slot};
use crate::engine::tasks::Tasks;
use crate::engine::topics::cut::Cut;
use crate::engine::topics::{Topics, round_bytes_max};
use crate::engine::wheel::Wheel;
use crate::mesh::Mesh;
use crate::protocol::deflate::{Compress, Compression, Compressors, WindowBits};
use crate::protocol::handshake::Extension;
use crate::protocol::handshake::{Answer, answer};
use crate::protocol::{AssemblyPool, CONTROL_PAYLOAD_MAX, FrameHeader, Message, Opcode, Prepared};
use crate::protocol::{write_compressed_frame, write_frame};
use crate::reactor::{Sockets, Token};

/// A payload from this size on goes to the socket straight from where it lies. Below, copying it into the reply buffer
/// costs less than a system call for each message of a batch.
const DIRECT_BYTES_MIN: usize = 8 * 1024;

/// The reply buffer is sent when it holds this much, even if more is to come: it stays within the second-level cache.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Pongs are handed to the socket when the reply holds this much: of a flood of pings no more than this waits for a peer
/// that does not read, however many of them one read brought.
const REPLY_BYTES_BEHIND_PONG_MAX: usize = 4 * 1024;

/// Bytes that compressed messages may become in a turn before others have to wait for the next one. A message is inflated
/// whole, so a turn exceeds this by one message at most.
const INFLATED_BYTES_PER_TURN_MAX: u64 = 1024 * 1024;

/// Compressed bytes that never wait: they become a megabyte at most, which takes less than a millisecond.
const LIGHT_BYTES_MAX: usize = 1024;

/// Bytes read at a time from a session that may have to wait with them, since they are kept meanwhile.
pub(super) const POSTPONED_BYTES_MAX: usize = 64 * 1024;

/// See the module.
pub(super) struct Common {
    pub(super) core: u16,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    /// Those of every core, to be read.
    pub(super) counters_of_all: Arc<[Arc<Counters>]>,
    pub(super) clients: Clients,
    pub(super) wheel: Wheel,
    pub(super) acknowledged: Acknowledged,
    pub(super) pool: AssemblyPool,
    /// Made when a message is first to be compressed.
    pub(super) compressors: Option<Box<Compressors>>,
    /// Sessions that may keep compression streams of their own.
    pub(super) compression_contexts: usize,
    pub(super) tasks: Tasks,
    /// Bytes that messages may still become in this turn.
    pub(super) inflation_left: u64,
    /// Someone waits for the next turn with what would become more.
    postponed: bool,
    /// Someone has waited for this one.
    waiting: bool,
    pub(super) topics: Topics,
    pub(super) mesh: Mesh<Parcel>,
    /// Room for the topics that a message goes to; empty between calls.
    pub(super) targets: Vec<u32>,
    /// Sessions that published and are not read for the time being.
    pub(super) held: Vec<Token>,
    /// Who published last in this turn, and how much in a row.
    pub(super) publishing: Option<(Token, u32)>,
    /// When somebody last said anything but what was published.
    pub(super) others_spoke: Option<u32>,
    pub(super) cut: Cut,
    /// Sessions that wait for the latest message of a topic that is just being delivered.
    pub(super) catching_up: VecDeque<Token>,
    /// The time of this turn.
    pub(super) tick: u32,
    /// What the session at hand has said and not sent.
    pub(super) reply: Vec<u8>,
    /// Sessions with something in their outbox that is not in flight.
    pub(super) dirty: Vec<Token>,
    /// Sessions that were cut off while reading and go on next turn.
    pub(super) resumed: Vec<Token>,
}

impl Common {
    pub(super) fn new(
        core: u16,
        limits: Limits,
        counters: Arc<Counters>,
        counters_of_all: Arc<[Arc<Counters>]>,
        clients: Clients,
        tasks: Tasks,
        mesh: Mesh<Parcel>,
    ) -> Self {
        let mut reply = vec![0; REPLY_BYTES_MAX];
        // Written once, so that its memory is there from the start.
        reply.clear();
        Self {
            core,
            topics: Topics::new(mesh.is_alone(), round_bytes_max(limits.outbox_bytes_max)),
            limits,
            counters,
            counters_of_all,
            clients,
            wheel: Wheel::default(),
            acknowledged: Acknowledged::default(),
            pool: AssemblyPool::default(),
            compressors: None,
            compression_contexts: 0,
            inflation_left: 0,
            postponed: false,
            waiting: false,
            mesh,
            targets: Vec::new(),
            held: Vec::new(),
            catching_up: VecDeque::new(),
            publishing: None,
            others_spoke: None,
            cut: Cut::default(),
            tasks,
            tick: 0,
            reply,
            dirty: Vec::new(),
            resumed: Vec::new(),
        }
    }

    /// Writes a message frame for the session at hand.
    #[inline]
    pub(super) fn write_message<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        message: Message<'_>,
        compress: Compress,
    ) {
        let window = self.window_of(slot);
        let compressors = self.compressors.as_ref().filter(|_| window.is_some());
        if compressors.is_some_and(|with| with.should_compress(compress, message.len())) {
            return self.write_compressed(slot, token, sockets, message);
        }
        self.write_payload(slot, token, sockets, message.kind().opcode(), false, message.as_bytes());
    }

    /// At the start of a turn: those who waited come before those who come now, but after what costs little.
    pub(super) fn begin_inflating(&mut self) {
        self.waiting = std::mem::take(&mut self.postponed);
        self.inflation_left = if self.waiting { 0 } else { INFLATED_BYTES_PER_TURN_MAX };
    }

    /// Now those who waited may go on.
    pub(super) fn go_on_inflating(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.inflation_left = INFLATED_BYTES_PER_TURN_MAX;
        }
    }

    /// After a session consumed its input.
    #[inline]
    pub(super) fn note_inflating(&mut self) {
        self.inflation_left = self.inflation_left.saturating_sub(self.pool.take_inflated_bytes());
    }

    /// Whether a session has to wait for the next turn with so many bytes of input, because they might become many and
    /// enough has been inflated in this one: a bomb, or an honest large message, never keeps others waiting for long.
    pub(super) fn postpones<S>(&mut self, slot: &Slot<S>, bytes: usize) -> bool {
        let postponed = self.inflation_left == 0
            && slot.phase == Phase::Open
            && slot.connection.compression().is_some()
            && slot.connection.assembled_bytes() + bytes > LIGHT_BYTES_MAX;
        self.postponed |= postponed;
        postponed
    }

    /// What is answered to a client's offers of compression; `None` when it is left out.
    pub(super) fn answer_compression<'a>(&self, offers: impl Iterator<Item = Extension<'a>>) -> Option<Answer> {
        let compression = self.limits.compression.as_ref()?;
        if compression.context_takeover && self.compression_contexts >= self.limits.compression_contexts_max {
            return answer(offers, &Compression { context_takeover: false, ..compression.clone() });
        }
        answer(offers, compression)
    }

    fn write_compressed<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        message: Message<'_>,
    ) {
        let Some(mut compressors) = self.compressors.take() else { return };
        let opcode = message.kind().opcode();
        match slot.connection.compress(message.as_bytes(), &mut compressors) {
            Some(compressed) => {
                self.counters.messages_compressed.add(1);
                self.write_payload(slot, token, sockets, opcode, true, compressed);
            }
            None => self.write_payload(slot, token, sockets, opcode, false, message.as_bytes()),
        }
        self.compressors = Some(compressors);
    }

    /// The window that a session is sent compressed messages with; `None` when it is not. The compressors are there then.
    #[inline]
    pub(super) fn window_of<S>(&mut self, slot: &Slot<S>) -> Option<WindowBits> {
        let window = slot.connection.compresses_with();
        if window.is_some() && self.compressors.is_none() {
            self.compressors =
                self.limits.compression.as_ref().map(|compression| Box::new(Compressors::new(compression)));
        }
        window
    }

    /// Writes a message that was prepared for many.
    pub(super) fn write_prepared<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        prepared: &Prepared,
    ) {
        self.window_of(slot);
        let frame = prepared.frame(&mut slot.connection, self.compressors.as_deref_mut());
        if frame.len() >= DIRECT_BYTES_MIN && slot.outbox.is_none() {
            return self.send_directly(slot, token, sockets, frame);
        }
        self.reply.extend_from_slice(frame);
        if self.reply.len() >= REPLY_BYTES_MAX {
            self.flush(slot, token, sockets);
        }
    }

    #[inline]
    fn write_payload<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        opcode: Opcode,
        compressed: bool,
        payload: &[u8],
    ) {
        if payload.len() >= DIRECT_BYTES_MIN && slot.outbox.is_none() {
            let payload_bytes = payload.len() as u64;
            FrameHeader { fin: true, opcode, compressed, mask: None, payload_bytes }.write(&mut self.reply);
            return self.send_directly(slot, token, sockets, payload);
        }
        if compressed {
            write_compressed_frame(&mut self.reply, opcode, payload, None);
        } else {
            write_frame(&mut self.reply, opcode, payload, None);
        }
        if self.reply.len() >= REPLY_BYTES_MAX {
            self.flush(slot, token, sockets);
        }
    }

    /// Sends what was said before together with many bytes, from where they lie.
    fn send_directly<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets, payload: &[u8]) {
        slot.told.note_sent();
        let parts = [IoSlice::new(&self.reply), IoSlice::new(payload)];
        let sent = match sockets.send_now(slot.socket, &parts) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                slot.broken = true;
                self.reply.clear();
                return;
            }
        };
        let head = self.reply.len();
        if sent < head + payload.len() {
            let mut outbox = Box::<Outbox>::default();
            outbox.push(&self.reply[sent.min(head)..]);
            outbox.push(&payload[sent.saturating_sub(head)..]);
            self.hold_back(slot, token, outbox);
        }
        self.reply.clear();
    }

    /// Writes a ping.
    pub(super) fn write_ping(&mut self, token: Token, payload: &[u8]) {
        let payload = &payload[..payload.len().min(CONTROL_PAYLOAD_MAX)];
        let before = self.reply.len();
        write_frame(&mut self.reply, Opcode::Ping, payload, None);
        self.acknowledged.discount(token.index, self.reply.len() - before);
        self.counters.pings_sent.add(1);
    }

    /// Answers a ping. While the peer does not read, pongs are bounded by the outbox.
    pub(super) fn write_pong<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        payload: &[u8],
    ) {
        if slot.outbox.is_none() {
            write_frame(&mut self.reply, Opcode::Pong, payload, None);
            if self.reply.len() >= REPLY_BYTES_BEHIND_PONG_MAX {
                self.flush(slot, token, sockets);
            }
            return;
        }
        self.flush(slot, token, sockets);
        if slot.outbox.as_mut().is_some_and(|outbox| outbox.pong(payload)) {
            self.counters.pongs_coalesced.add(1);
        }
        self.mark_dirty(slot, token);
    }

    /// Sends what the session at hand has said. Costs one system call if that was anything.
    #[inline]
    pub(super) fn flush<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets) {
        if self.reply.is_empty() {
            return;
        }
        if let Some(outbox) = &mut slot.outbox {
            outbox.push(&self.reply);
            self.reply.clear();
            return self.mark_dirty(slot, token);
        }
        slot.told.note_sent();
        let sent = match sockets.send_now(slot.socket, &[IoSlice::new(&self.reply)]) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                slot.broken = true;
                self.reply.len()
            }
        };
        if sent < self.reply.len() {
            let mut outbox = Box::<Outbox>::default();
            outbox.push(&self.reply[sent..]);
            self.hold_back(slot, token, outbox);
        }
        self.reply.clear();
    }

    /// Whether more waits for the session at hand than may. What was only gathered so far is given to the socket before
    /// that is said: the end of backpressure is noticed when something leaves the outbox, so it has to be there.
    #[inline]
    pub(super) fn is_full<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets) -> bool {
        let bytes_max = self.limits.outbox_bytes_max;
        if slot.outbox_bytes() + self.reply.len() > bytes_max {
            self.flush(slot, token, sockets);
        }
        slot.outbox_bytes() > bytes_max
    }

    /// Marks a session as having something to send at the end of the turn.
    pub(super) fn mark_dirty<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if !slot.dirty && !slot.sending {
            slot.dirty = true;
            self.dirty.push(token);
        }
    }

    /// Has a session read on in the next turn.
    pub(super) fn resume_next_turn<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if !slot.resuming {
            slot.resuming = true;
            self.resumed.push(token);
        }
    }

    /// Has a session read on that was kept from it: it could not be heard meanwhile, nor complete a message.
    pub(super) fn read_again<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        self.excuse_silence(slot);
        self.resume_next_turn(slot, token);
    }

    pub(super) fn hold_back<S>(&mut self, slot: &mut Slot<S>, token: Token, mut outbox: Box<Outbox>) {
        self.begin_waiting(&mut outbox, token);
        slot.outbox = Some(outbox);
        self.mark_dirty(slot, token);
    }
}
