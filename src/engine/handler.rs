//! What an application implements.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::pin::Pin;

use super::hub::Hub;
use super::session::Session;
use crate::protocol::handshake::{self, Handshake};
use crate::protocol::http::{Request, Response};
use crate::protocol::{CloseCode, Message};

/// The application's side of a core. Every core has a handler of its own, so a handler needs no locks, and its state
/// need not be `Send`.
///
/// A call that panics ends the session it was for with close code 1011 and nothing else; the handler is called again
/// for other sessions, so it should not leave its own state half changed.
pub trait Handler: Sized + 'static {
    /// What the application keeps for each session.
    type State: Default + 'static;

    /// A client asks for a WebSocket. It comes from an allowed origin, and its address keeps the limits. The default
    /// accepts everyone.
    ///
    /// Unless it is decided later, the next call of this handler is [`Handler::open`] for the session that is accepted, or
    /// there is none.
    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Self::State> {
        let _ = request;
        Upgrade::accept()
    }

    /// A client asks for anything else. The default knows nothing.
    fn request(&mut self, request: &Request<'_>, hub: &mut Hub<'_>) -> Response {
        let _ = (request, hub);
        Response::text(404, "There is nothing here.\n")
    }

    /// A client asks with `Expect: 100-continue`, and holds the body back until it is told to send it. An answer refuses the
    /// request at once, and its body is never read; with `None`, the default, the body is read, and then
    /// [`Handler::request`] is called.
    fn before_body(&mut self, request: &Request<'_>, hub: &mut Hub<'_>) -> Option<Response> {
        let _ = (request, hub);
        None
    }

    /// The session is open; nothing was received yet.
    fn open(&mut self, session: &mut Session<'_, Self::State>) {
        let _ = session;
    }

    /// A message came.
    fn message(&mut self, session: &mut Session<'_, Self::State>, message: Message<'_>);

    /// A ping came; its pong has been sent.
    fn ping(&mut self, session: &mut Session<'_, Self::State>, payload: &[u8]) {
        let _ = (session, payload);
    }

    /// A pong came, asked for or not.
    fn pong(&mut self, session: &mut Session<'_, Self::State>, payload: &[u8]) {
        let _ = (session, payload);
    }

    /// A subscription holds on every core: nothing that is published from now on is missed.
    fn subscribed(&mut self, session: &mut Session<'_, Self::State>, topic: &str) {
        let _ = (session, topic);
    }

    /// Messages of a topic were dropped because the session does not keep up: see [`Overflow`](super::Overflow).
    fn dropped(&mut self, session: &mut Session<'_, Self::State>, topic: &str, messages: u64) {
        let _ = (session, topic, messages);
    }

    /// After [`Sent::Backpressure`] or [`Sent::Dropped`]: less than half of the outbox's limit waits by now, or what was
    /// published can be delivered again.
    fn drain(&mut self, session: &mut Session<'_, Self::State>) {
        let _ = session;
    }

    /// The session has ended, once for each that was opened. Nothing can be sent any more.
    fn close(&mut self, session: &mut Session<'_, Self::State>, ended: Ended<'_>) {
        let _ = (session, ended);
    }
}

/// A request for an upgrade that keeps the rules of RFC 6455 4.2.1. Method, path, query and headers are those of the
/// [`Request`] it refers to.
pub struct UpgradeRequest<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) handshake: &'a Handshake<'a>,
    pub(super) peer: &'a dyn Fn() -> Option<SocketAddr>,
    /// What is known of the client's address beyond the connection.
    pub(super) client: Option<IpAddr>,
}

impl<'a> UpgradeRequest<'a> {
    /// The client's address: as a trusted proxy tells it in a PROXY header or in X-Forwarded-For, or else that of the
    /// connection; `None` when it is gone already, or came through a Unix socket and nobody who is trusted has named it. An
    /// IPv4 address in its IPv6 form is given in its own.
    ///
    /// This is what limits for addresses count by, and what to tell clients apart by. It costs a system call, unless
    /// there are such limits or trusted proxies.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.client.or_else(|| (self.peer)().map(|peer| peer.ip().to_canonical()))
    }

    /// The address of the connection's other end, which may be a proxy; `None` when it is gone already, or came through a
    /// Unix socket. Costs a system call.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        (self.peer)()
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.handshake.protocols()
    }

    /// The first of `supported`, the server's order of preference, that the client offers.
    pub fn choose_protocol<'s>(&self, supported: &[&'s str]) -> Option<&'s str> {
        handshake::choose_protocol(self.handshake, supported)
    }
}

impl<'a> Deref for UpgradeRequest<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Self::Target {
        self.request
    }
}

impl fmt::Debug for UpgradeRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeRequest").field("request", self.request).finish_non_exhaustive()
    }
}

/// A handler's answer to a request for an upgrade.
pub enum Upgrade<S> {
    /// Answer with 101.
    Accept(Accept<S>),
    /// Answer with this.
    Reject(Response),
    /// Answer once the future is ready, within the handshake timeout. It runs on this core and may await anything that
    /// monoio can; what it needs of the request it takes with it.
    Later(Pin<Box<dyn Future<Output = Upgrade<S>>>>),
}

impl<S: Default> Upgrade<S> {
    /// Accepts with a default state.
    pub fn accept() -> Self {
        Self::Accept(Accept { state: S::default(), protocol: None, headers: Vec::new() })
    }
}

impl<S> Upgrade<S> {
    /// Accepts with this state.
    pub fn accept_with(state: S) -> Self {
        Self::Accept(Accept { state, protocol: None, headers: Vec::new() })
    }

    /// Refuses with this answer.
    pub fn reject(response: Response) -> Self {
        Self::Reject(response)
    }

    /// Decides later.
    pub fn later(decision: impl Future<Output = Upgrade<S>> + 'static) -> Self {
        Self::Later(Box::pin(decision))
    }

    /// When accepting: names the subprotocol, which must be one that the client offered.
    pub fn protocol(mut self, protocol: impl Into<Cow<'static, str>>) -> Self {
        if let Self::Accept(accept) = &mut self {
            accept.protocol = Some(protocol.into());
        }
        self
    }

    /// When accepting: adds a header to the 101.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        if let Self::Accept(accept) = &mut self {
            accept.headers.push((name.into(), value.into()));
        }
        self
    }
}

impl<S> fmt::Debug for Upgrade<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Upgrade::Accept(_) => "Accept",
            Upgrade::Reject(_) => "Reject",
            Upgrade::Later(_) => "Later",
        })
    }
}

/// How an upgrade is accepted.
#[derive(Debug)]
pub struct Accept<S> {
    pub(super) state: S,
    pub(super) protocol: Option<Cow<'static, str>>,
    pub(super) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl<S> Accept<S> {
    /// Whether the subprotocol, if one was chosen, is one of those offered.
    pub(super) fn speaks_only(&self, offered: impl FnOnce(&str) -> bool) -> bool {
        self.protocol.as_deref().is_none_or(offered)
    }
}

/// What became of a message given to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Queued,
    /// It is on its way, but much is waiting before it: send no more until [`Handler::drain`].
    Backpressure,
    /// It is not sent: the outbox was full, or the session is closing.
    Dropped,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The peer's close code; `None` when it sent none, which `1005` stands for elsewhere, or was cut off (`1006`).
    pub code: Option<CloseCode>,
    /// The peer's words.
    pub reason: &'a str,
    /// Whether both ends sent a Close frame.
    pub clean: bool,
}
