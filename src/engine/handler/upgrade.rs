//! A client's request for a WebSocket, and the handler's answer to it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use crate::engine::session::SessionLimits;
use crate::engine::topics::Subscribe;
use crate::protocol::handshake::{self, Handshake};
use crate::protocol::http::{Request, Response};
use crate::tls::ClientCertificate;

/// A request for an upgrade that follows the rules of RFC 6455 4.2.1. It dereferences to the [`Request`], with method,
/// path, query and headers.
pub struct UpgradeRequest<'a> {
    pub(in crate::engine) request: &'a Request<'a>,
    pub(in crate::engine) handshake: &'a Handshake<'a>,
    pub(in crate::engine) peer: &'a dyn Fn() -> Option<SocketAddr>,
    /// The client's address, if it is known from elsewhere than the connection.
    pub(in crate::engine) client: Option<IpAddr>,
    pub(in crate::engine) limits: &'a SessionLimits,
    pub(in crate::engine) is_secure: bool,
    pub(in crate::engine) certificate: Option<&'a ClientCertificate>,
}

impl<'a> UpgradeRequest<'a> {
    /// Returns the client's address: as a trusted proxy announces it in a PROXY header or in X-Forwarded-For, or else
    /// that of the connection; `None` if it has ended already, or came through a Unix socket and no trusted proxy has
    /// announced an address. An IPv4 address in IPv6 form is returned in its IPv4 form.
    ///
    /// Limits for addresses use this address, and so should code that distinguishes clients. It costs a system call,
    /// unless there are such limits or trusted proxies.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.client.or_else(|| (self.peer)().map(|peer| peer.ip().to_canonical()))
    }

    /// Returns the address of the connection's other end, which may be a proxy; `None` if it has ended already, or came
    /// through a Unix socket. Costs a system call.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        (self.peer)()
    }

    /// Returns whether the connection speaks TLS with this server, and not with a proxy in front of it.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns the certificate that the client has shown in its TLS handshake, if the server asked for one. It was
    /// verified at the handshake, by the settings that are in force, and the client has its key. It is forgotten once
    /// the session is open, so take what is needed of it.
    pub fn client_certificate(&self) -> Option<&'a ClientCertificate> {
        self.certificate
    }

    /// Returns the server's limits for a session, so that [`Accept::limits`] can change some of them.
    pub fn session_limits(&self) -> SessionLimits {
        self.limits.clone()
    }

    /// Returns the subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.handshake.protocols()
    }

    /// Returns the first of `supported`, in the server's order of preference, that the client offers.
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
#[non_exhaustive]
pub enum Upgrade<S> {
    /// Answers with 101.
    Accept(Accept<S>),
    /// Answers with this response.
    Reject(Response),
    /// Answers once the future is ready, within the handshake timeout. It runs on this core and may await anything that
    /// monoio can; it must own the parts of the request that it needs.
    Later(Pin<Box<dyn Future<Output = Upgrade<S>>>>),
}

impl<S: Default> Upgrade<S> {
    /// Accepts with a default state. [`Accept`] says more than that.
    pub fn accept() -> Self {
        Accept::new().into()
    }
}

impl<S> Upgrade<S> {
    /// Accepts with this state.
    pub fn accept_with(state: S) -> Self {
        Accept::with(state).into()
    }

    /// Rejects with this response.
    pub fn reject(response: Response) -> Self {
        Self::Reject(response)
    }

    /// Decides later. The decision takes its state along, so that nothing about it has to be kept in the handler.
    pub fn later<U: Into<Upgrade<S>>>(decision: impl Future<Output = U> + 'static) -> Self {
        Self::Later(Box::pin(async move { decision.await.into() }))
    }
}

impl<S> From<Accept<S>> for Upgrade<S> {
    fn from(accept: Accept<S>) -> Self {
        Self::Accept(accept)
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

/// The details of an accepted upgrade.
#[derive(Debug)]
pub struct Accept<S> {
    pub(in crate::engine) state: S,
    pub(in crate::engine) protocol: Option<Cow<'static, str>>,
    pub(in crate::engine) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(in crate::engine) limits: Option<Box<SessionLimits>>,
    pub(in crate::engine) subject: Option<Arc<str>>,
    pub(in crate::engine) subscriptions: Vec<(Cow<'static, str>, Subscribe)>,
}

impl<S: Default> Accept<S> {
    /// Accepts with a default state.
    pub fn new() -> Self {
        Self::with(S::default())
    }
}

impl<S: Default> Default for Accept<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Accept<S> {
    /// Accepts with this state.
    pub fn with(state: S) -> Self {
        Self { state, protocol: None, headers: Vec::new(), limits: None, subject: None, subscriptions: Vec::new() }
    }

    /// Chooses the subprotocol, which must be one that the client offered.
    pub fn protocol(mut self, protocol: impl Into<Cow<'static, str>>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }

    /// Adds a header to the 101.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Subscribes the session to a topic or pattern as it opens, before [`Handler::open`](super::Handler::open). So the
    /// topics that a decision grants need no place in the handler or in the session's state. If the engine refuses the
    /// subscription, for example because its core has too many topics, the session is closed with 1013.
    pub fn subscribe(mut self, topic: impl Into<Cow<'static, str>>, subscribe: Subscribe) -> Self {
        self.subscriptions.push((topic.into(), subscribe));
        self
    }

    /// Gives this session limits of its own; [`UpgradeRequest::session_limits`] returns those of the server. Sessions
    /// of equal limits share them, so that they cost nothing for each session. A core keeps at most 256 different ones.
    /// Further ones, and limits that contradict each other, are answered with 500 and an error in the log.
    pub fn limits(mut self, limits: SessionLimits) -> Self {
        self.limits = Some(Box::new(limits));
        self
    }

    /// Names the identity of the client, such as a user. All sessions of one subject share the rates of
    /// [`Limits::subject_rates`](crate::Limits::subject_rates). Without such rates it is not kept.
    pub fn subject(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Returns whether the chosen subprotocol, if any, was offered.
    pub(in crate::engine) fn chooses_offered(&self, offered: impl FnOnce(&str) -> bool) -> bool {
        self.protocol.as_deref().is_none_or(offered)
    }
}
