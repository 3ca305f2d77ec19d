//! A client's request for a WebSocket, and the handler's answer to it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::pin::Pin;

use crate::protocol::handshake::{self, Handshake};
use crate::protocol::http::{Request, Response};

/// A request for an upgrade that keeps the rules of RFC 6455 4.2.1. Method, path, query and headers are those of the
/// [`Request`] it refers to.
pub struct UpgradeRequest<'a> {
    pub(in crate::engine) request: &'a Request<'a>,
    pub(in crate::engine) handshake: &'a Handshake<'a>,
    pub(in crate::engine) peer: &'a dyn Fn() -> Option<SocketAddr>,
    /// What is known of the client's address beyond the connection.
    pub(in crate::engine) client: Option<IpAddr>,
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
    pub(in crate::engine) state: S,
    pub(in crate::engine) protocol: Option<Cow<'static, str>>,
    pub(in crate::engine) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl<S> Accept<S> {
    /// Whether the subprotocol, if one was chosen, is one of those offered.
    pub(in crate::engine) fn speaks_only(&self, offered: impl FnOnce(&str) -> bool) -> bool {
        self.protocol.as_deref().is_none_or(offered)
    }
}
