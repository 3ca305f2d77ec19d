//! One client's connection: what a core remembers of it, and what a handler may do with it.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use super::common::Common;
use super::handler::Sent;
use super::outbox::Outbox;
use super::reasons::{DropReason, End};
use super::slab::Slab;
use super::tasks::SessionHandle;
use super::topics::{NOBODY, Subscribe, TopicError};
use super::wheel::TICK_MS;
use crate::protocol::deflate::Compress;
use crate::protocol::http::{Chunks, HeadScan, Refusal};
use crate::protocol::{Close, CloseCode, Connection, Message, Prepared, Role, State};
use crate::reactor::{Socket, Sockets, Token};

/// Names one session of this process for as long as it lives; afterwards it names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The core it lives on.
    pub core: u16,
    pub(super) token: Token,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.core, self.token.index, self.token.generation)
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Awaiting a request.
    Head,
    /// Awaiting the handler's decision on an upgrade.
    Upgrading,
    /// A WebSocket, until its closing handshake is over.
    Open,
    /// Everything was said; the peer's end of stream is awaited, so that nothing said is lost to a reset.
    Lingering,
    /// Over; what is in flight is awaited before the socket is closed.
    Ended,
}

/// Bytes that are read and thrown away after the last word to a peer, so that a reset does not overtake it. A peer that
/// sends more is cut off.
const DISCARDED_BYTES_MAX: u32 = 256 * 1024;

/// No deadline.
pub(super) const NEVER: u32 = u32::MAX;

/// What a core remembers of a connection: all there is of it while it is idle.
pub(super) struct Slot<S> {
    pub(super) socket: Socket,
    pub(super) phase: Phase,
    /// The reactor watches the socket.
    pub(super) watched: bool,
    /// A send is in flight.
    pub(super) sending: bool,
    /// It is on the list of those that have something to send this turn.
    pub(super) dirty: bool,
    /// It is on the list of those that go on reading next turn.
    pub(super) resuming: bool,
    /// An arrival was reported that has not been read to its end.
    pub(super) readable: bool,
    /// The end of the stream or an error waits in the socket, perhaps behind bytes.
    pub(super) ended: bool,
    /// The handler wants no more input.
    pub(super) paused: bool,
    /// It published more than can be delivered now: no more input until that is over.
    pub(super) held: bool,
    /// It waits for the latest message of a topic.
    pub(super) behind: bool,
    /// It is on the list of those that are looked at for that next turn.
    pub(super) catching_up: bool,
    /// It has a subscription that is not to bring what it publishes itself.
    pub(super) echoless: bool,
    /// The handler was told of backpressure and not yet of its end.
    pub(super) pressed: bool,
    /// What was sent to it.
    pub(super) told: Told,
    /// The handler was told that the session is open, and not yet that it is closed.
    pub(super) opened: bool,
    /// The connection failed or was answered for the last time: linger once all is sent.
    pub(super) parting: bool,
    /// The peer sent its end of stream.
    pub(super) finished: bool,
    /// The socket does not work any more.
    pub(super) broken: bool,
    /// Why it ends, once that is certain. What comes after it on the way to the end changes nothing.
    pub(super) end: Option<End>,
    /// Tick at which bytes last came.
    pub(super) heard: u32,
    /// Tick by which the phase, or the closing handshake, must be over.
    pub(super) deadline: u32,
    /// Bytes that may still come after the last word.
    pub(super) discardable: u32,
    /// What it is subscribed to; [`NOBODY`] if nothing.
    pub(super) membership: u32,
    pub(super) connection: Connection,
    pub(super) outbox: Option<Box<Outbox>>,
    /// Bytes that were received and not consumed.
    pub(super) backlog: Option<Box<Backlog>>,
    /// The application's, once it has given or asked for one. Neither making nor dropping one is safe from panics.
    pub(super) state: Option<S>,
}

/// What was sent to a session, as far as signs of life depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told(u8);

impl Told {
    const PINGED: u8 = 1;
    const UNTAKEN: u8 = 2;

    /// Returns whether a ping was sent since the last byte came.
    pub(super) fn is_pinged(self) -> bool {
        self.0 & Self::PINGED != 0
    }

    pub(super) fn note_ping(&mut self) {
        self.0 |= Self::PINGED;
    }

    #[inline]
    pub(super) fn note_heard(&mut self) {
        self.0 &= !Self::PINGED;
    }

    /// Whether its peer may still have to take something: more than a ping was sent since the last look at its socket found
    /// nothing there.
    pub(super) fn is_untaken(self) -> bool {
        self.0 & Self::UNTAKEN != 0
    }

    #[inline]
    pub(super) fn note_sent(&mut self) {
        self.0 |= Self::UNTAKEN;
    }

    pub(super) fn note_all_taken(&mut self) {
        self.0 &= !Self::UNTAKEN;
    }
}

/// An idle session costs at most this in user memory, a small state of the application included.
const SESSION_BYTES_MAX: usize = 128;
const _: () = assert!(Slab::<Slot<[u64; 4]>>::ENTRY_BYTES <= SESSION_BYTES_MAX);

/// Bytes that were received and not consumed: part of a request, or frames that came while input was paused.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) bytes: Vec<u8>,
    /// Where what was not consumed begins.
    pub(super) start: usize,
    /// What has to come before it is worth looking at them again.
    pub(super) awaits: Awaits,
}

/// What a backlog waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Awaits {
    /// Nothing: it was not looked at yet.
    #[default]
    Nothing,
    /// The end of a request's head, which was searched for this far, in vain.
    HeadEnd(HeadScan),
    /// The end of a request's body, which is where so many bytes are here.
    BodyEnd(usize),
    /// The end of a body in chunks. Of the bytes here so many are the request's head, and what follows has been taken out of
    /// its chunks already.
    LastChunk(usize, Chunks),
}

impl Backlog {
    /// Adds what came, and says whether it is worth looking at now. The room for a body doubles as bytes really come,
    /// whatever length its head claims, and ends where the body does; so bytes that come one by one cost no more than in
    /// one piece, and twice what may be kept is never taken.
    pub(super) fn add(&mut self, input: &[u8]) -> bool {
        let Awaits::BodyEnd(end) = self.awaits else {
            self.bytes.extend_from_slice(input);
            return true;
        };
        extend_towards(end, &mut self.bytes, input);
        self.bytes.len() >= end
    }

    /// Begins with the head of a request whose body comes in chunks.
    pub(super) fn in_chunks(head: &[u8]) -> Self {
        Self { bytes: head.to_vec(), start: 0, awaits: Awaits::LastChunk(head.len(), Chunks::default()) }
    }

    pub(super) fn is_in_chunks(&self) -> bool {
        matches!(self.awaits, Awaits::LastChunk(..))
    }

    /// Takes what came of a body out of its chunks. Gives the length of the head and the bytes of `input` that are the body's
    /// once it is whole. Room for it grows as in [`Backlog::add`].
    pub(super) fn take_chunks(
        &mut self,
        input: &[u8],
        body_bytes_max: usize,
    ) -> Result<Option<(usize, usize)>, Refusal> {
        let Awaits::LastChunk(head_bytes, chunks) = &mut self.awaits else { return Ok(None) };
        let (bytes, end) = (&mut self.bytes, head_bytes.saturating_add(body_bytes_max));
        let taken = chunks.read(input, body_bytes_max, |data| extend_towards(end, bytes, data))?;
        Ok(taken.map(|taken| (*head_bytes, taken)))
    }
}

/// Adds bytes to those that will be `end` at most. Room doubles, but not beyond `end`.
fn extend_towards(end: usize, bytes: &mut Vec<u8>, input: &[u8]) {
    let length = bytes.len() + input.len();
    if length > bytes.capacity() {
        bytes.reserve_exact(length.max(end.min(2 * length)) - bytes.len());
    }
    bytes.extend_from_slice(input);
}

impl<S> Slot<S> {
    pub(super) fn new(socket: Socket, tick: u32, deadline: u32) -> Self {
        Self {
            socket,
            phase: Phase::Head,
            watched: false,
            sending: false,
            dirty: false,
            resuming: false,
            readable: false,
            ended: false,
            paused: false,
            held: false,
            behind: false,
            catching_up: false,
            echoless: false,
            pressed: false,
            told: Told::default(),
            opened: false,
            parting: false,
            finished: false,
            broken: false,
            end: None,
            heard: tick,
            deadline,
            discardable: DISCARDED_BYTES_MAX,
            membership: NOBODY,
            connection: Connection::new(Role::Server),
            outbox: None,
            backlog: None,
            state: None,
        }
    }
}

impl<S> Slot<S> {
    /// Whether it is a WebSocket, and no Close frame was sent or received.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.connection.state() == State::Open
    }

    /// Whether it makes no difference to the session that everything has left.
    #[inline]
    pub(super) fn awaits_nothing(&self) -> bool {
        let has_input = self.readable || self.backlog.is_some();
        self.is_open() && !self.pressed && !self.behind && !has_input && !self.may_be_over()
    }

    /// Gives up an outbox that nothing waits in any more, because it was dropped.
    pub(super) fn forget_empty_outbox(&mut self) {
        if !self.sending && self.outbox.as_ref().is_some_and(|outbox| outbox.is_empty()) {
            self.outbox = None;
        }
    }

    /// Bytes that wait to leave, without those in the reply buffer.
    pub(super) fn outbox_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.bytes())
    }

    /// Whether frames may be consumed now: neither the handler nor backpressure forbids it.
    pub(super) fn takes_input(&self, outbox_bytes_max: usize) -> bool {
        !self.paused && !self.held && (self.outbox.is_none() || self.outbox_bytes() <= outbox_bytes_max)
    }
}

/// A session, as a handler sees it during a call.
pub struct Session<'a, S> {
    pub(super) slot: &'a mut Slot<S>,
    pub(super) token: Token,
    pub(super) common: &'a mut Common,
    pub(super) sockets: &'a mut dyn Sockets,
}

impl<S> Session<'_, S> {
    /// Names this session.
    pub fn id(&self) -> SessionId {
        SessionId { core: self.common.core, token: self.token }
    }

    /// What the application keeps for this session.
    pub fn state(&mut self) -> &mut S
    where
        S: Default,
    {
        self.slot.state.get_or_insert_default()
    }

    /// Sends a message. Never blocks: what does not fit into the socket waits in the outbox, and what does not fit into
    /// the outbox is dropped.
    ///
    /// Costs one copy of the payload; a large one goes to the socket directly and costs none.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        self.send_with(message, Compress::IfLarge)
    }

    /// As [`Session::send`], and says whether to compress.
    pub fn send_with<'m>(&mut self, message: impl Into<Message<'m>>, compress: Compress) -> Sent {
        let message = message.into();
        self.send_by(|common, slot, token, sockets| common.write_message(slot, token, sockets, message, compress))
    }

    /// As [`Session::send`], for a message that many sessions are sent: it is encoded and compressed only once.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Sent {
        self.send_by(|common, slot, token, sockets| common.write_prepared(slot, token, sockets, prepared))
    }

    #[inline]
    fn send_by(&mut self, write: impl FnOnce(&mut Common, &mut Slot<S>, Token, &mut dyn Sockets)) -> Sent {
        let full = self.is_full();
        let closing = !self.slot.is_open();
        if full || closing {
            self.slot.pressed |= full;
            let reason = if closing { DropReason::Closing } else { DropReason::OutboxFull };
            self.common.counters.messages_dropped.add(&reason);
            return Sent::Dropped;
        }
        self.common.counters.messages_sent.add(1);
        write(self.common, self.slot, self.token, self.sockets);
        if self.is_full() {
            self.slot.pressed = true;
            return Sent::Backpressure;
        }
        Sent::Queued
    }

    fn is_full(&mut self) -> bool {
        self.common.is_full(self.slot, self.token, self.sockets)
    }

    /// Subscribes to a topic, or to all topics that begin with what stands before the `*` of a pattern, and says whether
    /// that is new. [`Handler::subscribed`](super::Handler::subscribed) is called once every core knows of it: from then
    /// on nothing that is published is missed. Who is subscribed to a topic and to patterns that it matches is sent its
    /// messages for each.
    ///
    /// Costs some 24 bytes, and for the first subscriber some 80 and the name. Leaving is not necessary before the end.
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, TopicError> {
        self.subscribe_with(topic, Subscribe::default())
    }

    /// As [`Session::subscribe`], and says what becomes of messages that this session cannot take, and of its own. Said
    /// anew, it holds from then on.
    pub fn subscribe_with(&mut self, topic: &str, subscribe: Subscribe) -> Result<bool, TopicError> {
        if !self.slot.is_open() {
            return Err(TopicError::SessionClosing);
        }
        self.slot.echoless |= !subscribe.echo;
        let limits = self.common.limits.subscriptions();
        self.common.topics.subscribe(topic, (self.token, &mut self.slot.membership), subscribe, limits)
    }

    /// Ends a subscription, and says whether there was one. What waits in its outbox already still arrives; what has not
    /// reached it does not.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let left = self.common.topics.unsubscribe(topic, (self.token.index, &mut self.slot.membership));
        left.map(|member| self.common.note_left(member)).is_some()
    }

    /// Whether it is subscribed to a topic or pattern.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.common.topics.is_subscribed(topic, (self.token.index, self.slot.membership))
    }

    /// What it is subscribed to, the latest first.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.common.topics.of_session(self.slot.membership)
    }

    /// How many subscriptions it has.
    pub fn subscriptions(&self) -> usize {
        self.common.topics.subscriptions(self.slot.membership).count as usize
    }

    /// How many sessions of this core are subscribed to a topic or pattern. [`ServerHandle`](super::ServerHandle) asks all
    /// cores.
    pub fn subscribers_here(&self, topic: &str) -> usize {
        self.common.topics.count(topic)
    }

    /// Publishes a message to everyone who is subscribed to the topic, or to a pattern that it matches, on whatever core,
    /// this session included unless it subscribed otherwise. Each subscriber gets what this session publishes to the topic
    /// in this order.
    ///
    /// [`Sent::Backpressure`] says that more is under way than can be delivered: until that is over, and
    /// [`Handler::drain`](super::Handler::drain) is called, this session is not read. [`Sent::Dropped`] says that it, or a
    /// part of it, was dropped even so. Costs one copy of the payload.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> Result<Sent, TopicError> {
        self.publish_with(topic, message, Compress::IfLarge)
    }

    /// As [`Session::publish`], and says whether to compress.
    pub fn publish_with<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
        compress: Compress,
    ) -> Result<Sent, TopicError> {
        let sender = self.slot.echoless.then_some(self.token);
        let sent = self.common.publish(sender, topic, message.into(), compress)?;
        self.slot.pressed |= sent != Sent::Queued;
        if sent != Sent::Queued || self.common.publishes_much(self.token) {
            self.common.hold(self.slot, self.token);
        }
        Ok(sent)
    }

    /// Sends a ping with up to 125 bytes; more are cut off.
    pub fn ping(&mut self, payload: &[u8]) {
        if self.slot.connection.state() == State::Open {
            self.common.write_ping(self.token, payload);
        }
    }

    /// Begins the closing handshake: nothing can be sent after it, and what the peer still sends is dropped.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.slot.phase == Phase::Open
            && self.slot.connection.close(&mut self.common.reply, Some(Close::new(code, reason)), None)
        {
            self.common.counters.closes_sent.add(&Some(code));
            self.common.set_deadline(self.slot, self.token, self.common.limits.close_timeout_ms);
            self.common.leave_all(self.slot);
            // The peer's Close frame is awaited now, whatever the handler wanted to hear before.
            self.slot.paused |= std::mem::take(&mut self.slot.held);
            self.resume();
        }
    }

    /// Bytes that wait to be sent.
    pub fn buffered_amount(&self) -> usize {
        self.slot.outbox_bytes() + self.common.reply.len()
    }

    /// Stops reading from this session, until [`Session::resume`]; its peer will feel it through TCP. Control frames are
    /// not read either, so a paused session is not taken for dead.
    pub fn pause(&mut self) {
        self.slot.paused = true;
    }

    /// Goes on reading, from the next turn on.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.slot.paused) {
            self.common.read_again(self.slot, self.token);
        }
    }

    /// The client's address, behind a trusted proxy too: see [`UpgradeRequest::client_address`].
    ///
    /// [`UpgradeRequest::client_address`]: super::handler::UpgradeRequest::client_address
    pub fn client_address(&self) -> Option<IpAddr> {
        let known = self.common.clients.address(self.token.index);
        known.or_else(|| self.peer_address().map(|peer| peer.ip().to_canonical()))
    }

    /// The address of the connection's other end, which may be a proxy; `None` when it is gone already, or came through a
    /// Unix socket. Costs a system call.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.sockets.peer_address(self.slot.socket).ok()
    }

    /// A handle for tasks of this core, which outlives the call and, harmlessly, the session.
    pub fn handle(&self) -> SessionHandle {
        self.common.tasks.handle(self.id())
    }

    /// Runs a task on this core, beside its sessions. It may await anything that monoio can. It is not ended with the
    /// session; a task that panics ends the session with 1011.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.common.tasks.spawn_for(self.id(), task);
    }
}

impl<S> fmt::Debug for Session<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).field("phase", &self.slot.phase).finish_non_exhaustive()
    }
}

/// Milliseconds as ticks, rounded up, at least one.
pub(super) fn ticks(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(TICK_MS)).unwrap_or(NEVER / 2).clamp(1, NEVER / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up_to_ticks() {
        assert_eq!((ticks(1), ticks(50), ticks(51), ticks(0)), (1, 1, 2, 1));
        assert!(ticks(u64::MAX) < NEVER);
    }
}
