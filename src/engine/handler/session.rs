//! A session, for the time of a handler's call.
//!
//! Each method acts at once on the session and on the core's shared parts; none calls a handler.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Handler, Session};
use crate::engine::parts::Parts;
use crate::engine::reasons::DropReason;
use crate::engine::session::{Phase, Slot};
use crate::engine::tasks::SessionHandle;
use crate::engine::topics::{Subscribe, TopicError};
use crate::engine::values::{Sent, SessionId};
use crate::protocol::deflate::Compress;
use crate::protocol::{Close, CloseCode, Message, Prepared, State};
use crate::reactor::{Sockets, Token};

impl<H: Handler> Session<'_, H> {
    /// Returns the name of this session.
    pub fn id(&self) -> SessionId {
        SessionId { core: self.parts.core(), token: self.token }
    }

    /// Returns the application's state for this session.
    pub fn state(&mut self) -> &mut H::State {
        self.slot.state_mut()
    }

    /// Sends a message. Never blocks: bytes that do not fit into the socket wait in the outbox, and messages that do
    /// not fit into the outbox are dropped.
    ///
    /// Costs one copy of the payload; a large one goes to the socket directly and costs none.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        self.send_with(message, Compress::IfLarge)
    }

    /// Sends a message as [`Session::send`] does, with a choice whether to compress it.
    pub fn send_with<'m>(&mut self, message: impl Into<Message<'m>>, compress: Compress) -> Sent {
        let message = message.into();
        self.send_by(|parts, slot, token, sockets| parts.write_message(slot, token, sockets, message, compress))
    }

    /// Sends a message as [`Session::send`] does. A prepared one is encoded and compressed only once for many sessions.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Sent {
        self.send_by(|parts, slot, token, sockets| parts.write_prepared(slot, token, sockets, prepared))
    }

    #[inline]
    fn send_by(&mut self, write: impl FnOnce(&mut Parts, &mut Slot<H::State>, Token, &mut dyn Sockets)) -> Sent {
        let full = self.is_full();
        let closing = !self.slot.is_open();
        if full || closing {
            if full {
                self.slot.note_backpressure();
            }
            let reason = if closing { DropReason::Closing } else { DropReason::OutboxFull };
            self.parts.counters().messages_dropped.add(&reason);
            return Sent::Dropped;
        }
        self.parts.counters().messages_sent.add(1);
        write(self.parts, self.slot, self.token, self.sockets);
        if self.is_full() {
            self.slot.note_backpressure();
            return Sent::Backpressure;
        }
        Sent::Queued
    }

    fn is_full(&mut self) -> bool {
        self.parts.is_full(self.slot, self.token, self.sockets)
    }

    /// Subscribes to a topic, or to all topics that begin with the text before the `*` of a pattern. Returns whether
    /// the subscription is new. [`Handler::subscribed`] is called once every core knows of it: from then on the session
    /// misses no message. A session that is subscribed to a topic and to patterns that match it gets its messages once
    /// for each.
    ///
    /// Costs some 24 bytes, and for the first subscriber some 80 and the name. A session that ends need not unsubscribe
    /// before.
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, TopicError> {
        self.subscribe_with(topic, Subscribe::default())
    }

    /// Subscribes as [`Session::subscribe`] does, with options for messages that this session cannot take, and for its
    /// own messages. Subscribing again changes the options.
    pub fn subscribe_with(&mut self, topic: &str, subscribe: Subscribe) -> Result<bool, TopicError> {
        if !self.slot.is_open() {
            return Err(TopicError::SessionClosing);
        }
        if !subscribe.echo {
            self.slot.want_no_echo();
        }
        if self.parts.rates.limits_subscribing()
            && !self.is_subscribed(topic)
            && !self.parts.admits_subscription(self.token)
        {
            return Err(TopicError::SubscribesTooOften);
        }
        let limits = self.parts.limits().subscriptions();
        let subscribed =
            self.parts.topics.subscribe(topic, (self.token, self.slot.membership_mut()), subscribe, limits)?;
        if subscribed {
            self.parts.log_subscribed(self.token, topic);
        }
        Ok(subscribed)
    }

    /// Ends a subscription. Returns whether there was one. Messages in the outbox still arrive; later ones do not.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let left = self.parts.topics.unsubscribe(topic, (self.token.index, self.slot.membership_mut()));
        let Some(member) = left else { return false };
        self.parts.note_left(member);
        self.parts.log_unsubscribed(self.token, topic);
        true
    }

    /// Returns whether the session is subscribed to this topic or pattern.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.parts.topics.is_subscribed(topic, (self.token.index, self.slot.membership()))
    }

    /// Returns the subscriptions of the session, the latest first.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.parts.topics.of_session(self.slot.membership())
    }

    /// Returns the number of subscriptions of the session.
    pub fn subscriptions(&self) -> usize {
        self.parts.topics.subscriptions(self.slot.membership()).count as usize
    }

    /// Returns how many sessions of this core are subscribed to a topic or pattern.
    /// [`ServerHandle`](super::ServerHandle) asks all cores.
    pub fn subscribers_here(&self, topic: &str) -> usize {
        self.parts.topics.count(topic)
    }

    /// Publishes a message to all subscribers of the topic, and of the patterns that it matches, on every core. They
    /// include this session, unless its subscription excludes its own messages. Each subscriber gets the messages of
    /// this session to the topic in this order.
    ///
    /// [`Sent::Backpressure`] means that more is under way than can be delivered: this session is throttled until that
    /// is over and [`Handler::drain`] is called. [`Sent::Dropped`] means that the message was dropped, for some
    /// subscribers at least. Costs one copy of the payload.
    ///
    /// A session that publishes above its rates is read more slowly, and closed with 1008 if it goes on: see
    /// [`Limits::session_rates`](crate::Limits::session_rates).
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> Result<Sent, TopicError> {
        self.publish_with(topic, message, Compress::IfLarge)
    }

    /// Publishes as [`Session::publish`] does, with a choice whether to compress the message.
    pub fn publish_with<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
        compress: Compress,
    ) -> Result<Sent, TopicError> {
        let sender = self.slot.wants_no_echo().then_some(self.token);
        let message = message.into();
        let sent = self.parts.publish(sender, topic, message, compress)?;
        if self.parts.rates.limits_publishing() {
            self.keep_rates(message.len());
        }
        if sent != Sent::Queued {
            self.slot.note_backpressure();
        }
        if sent != Sent::Queued || self.parts.publishers.note_published(self.token) {
            self.parts.throttle(self.slot, self.token);
        }
        Ok(sent)
    }

    /// Counts a message that is not published against the rates of its sender, as publishing counts it.
    #[cfg(feature = "services")]
    pub(crate) fn count_refused(&mut self, bytes: usize) {
        if self.parts.rates.limits_publishing() {
            self.keep_rates(bytes);
        }
    }

    /// Slows the session down, or closes it, if it publishes above its rates.
    #[cold]
    fn keep_rates(&mut self, bytes: usize) {
        if self.slot.is_open() && self.parts.keep_rates(self.slot, self.token, bytes) {
            self.parts.counters().publishers_closed.add(1);
            self.close(CloseCode::POLICY_VIOLATION, "Messages come faster than this server takes them.");
        }
    }

    /// Sends mail to the handler of a core, this one included, which takes it in [`Handler::mail`]. The mail of one
    /// core to another keeps its order. Returns [`Sent::Dropped`], counted as `mail_dropped`, if
    /// [`ring_entries`](crate::mesh::MeshCapacity::ring_entries) wait for that core already, or if there is no such
    /// core.
    ///
    /// Costs one allocation. Messages published in this call may arrive later than the mail.
    pub fn mail(&mut self, core: u16, mail: H::Mail) -> Sent {
        self.parts.mail(core, Box::new(mail))
    }

    /// Sets the session's timer: [`Handler::wake`] is called once, after so many milliseconds, if the session is open
    /// then. Replaces an earlier timer. It is accurate to 50 ms, and costs 4 bytes for each connection of the core once
    /// any session has set one.
    pub fn wake_after(&mut self, milliseconds: u64) {
        if self.slot.is_open() {
            self.parts.wake_after(self.token, milliseconds);
        }
    }

    /// Stops the session's timer.
    pub fn cancel_wake(&mut self) {
        self.parts.cancel_wake(self.token);
    }

    /// Names the identity of the client, as [`Accept::subject`](super::Accept::subject) does, where it is known only
    /// after the upgrade.
    pub fn set_subject(&mut self, subject: impl Into<Arc<str>>) {
        self.parts.rates.set_subject(self.token.index, subject.into());
    }

    /// Returns the number of the core that the session lives on.
    pub fn core(&self) -> u16 {
        self.parts.core()
    }

    /// Returns the number of cores.
    pub fn cores(&self) -> u16 {
        self.parts.counters_of_all().len() as u16
    }

    /// Sends a ping with a payload of up to 125 bytes; the rest is cut off.
    pub fn ping(&mut self, payload: &[u8]) {
        if self.slot.connection().state() == State::Open {
            self.parts.write_ping(self.token, payload);
        }
    }

    /// Begins the closing handshake: nothing can be sent after it, and further messages of the peer are dropped. At
    /// most 123 bytes of `reason` are sent. [`Handler::close`] follows once the peer has answered, or after
    /// [`Limits::close_timeout_ms`](crate::Limits::close_timeout_ms) without a sign of life.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.slot.phase() == Phase::Open
            && self.slot.connection_mut().close(&mut self.parts.reply, Some(Close::new(code, reason)), None)
        {
            self.parts.counters().closes_sent.add(&Some(code));
            self.parts.log_close_sent(self.token, Some(Close::new(code, reason)));
            self.parts.set_deadline(self.slot, self.token, self.parts.limits().close_timeout_ms);
            self.parts.leave_all(self.slot);
            // The peer's Close frame is awaited now, even if the session was paused, throttled or slowed down.
            if self.slot.unthrottle() | self.slot.unslow() {
                self.slot.pause();
            }
            self.resume();
        }
    }

    /// Returns the number of bytes that wait to be sent.
    pub fn buffered_amount(&self) -> usize {
        self.slot.outbox_bytes() + self.parts.reply.len()
    }

    /// Stops reading from this session until [`Session::resume`]; the peer notices that through TCP. Control frames are
    /// not read either, so a paused session does not count as dead.
    pub fn pause(&mut self) {
        self.slot.pause();
    }

    /// Resumes reading, from the next turn on.
    pub fn resume(&mut self) {
        if self.slot.unpause() {
            self.parts.resume_reading(self.slot, self.token);
        }
    }

    /// Returns the client's address, also behind a trusted proxy: see [`UpgradeRequest::client_address`].
    ///
    /// [`UpgradeRequest::client_address`]: super::UpgradeRequest::client_address
    pub fn client_address(&self) -> Option<IpAddr> {
        let known = self.parts.clients.address(self.token.index);
        known.or_else(|| self.peer_address().map(|peer| peer.ip().to_canonical()))
    }

    /// Returns the address of the connection's other end, which may be a proxy; `None` if it has ended already, or came
    /// through a Unix socket. Costs a system call.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.slot.transport().peer_address(self.sockets).ok()
    }

    /// Returns a handle for tasks of this core, which may outlive the call and even the session.
    pub fn handle(&self) -> SessionHandle<H> {
        self.parts.tasks.handle(self.id())
    }

    /// Runs a task on this core, beside its sessions. It may await anything that monoio can. It does
    /// not end with the session; if it panics, the session ends with 1011.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.parts.tasks.spawn_for(self.id(), task);
    }
}

impl<H: Handler> fmt::Debug for Session<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).field("phase", &self.slot.phase()).finish_non_exhaustive()
    }
}
