//! A server put together: where it listens, its limits, its cores. Start, drain, join.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use thiserror::Error;

use crate::engine::{
    AdmissionPolicy, Controller, Cores, Counters, Handler, Limits, ReactorKind, Setup, StartError, Status, Stopped,
};
use crate::protocol::{Origins, TrustedProxies};

/// A server; see [`Server::builder`].
#[derive(Debug)]
pub struct Server {
    cores: Cores,
    status: Arc<Status>,
}

impl Server {
    /// A server that listens on 127.0.0.1:9000 with one core for each processor, unless told otherwise.
    pub fn builder() -> Builder {
        Builder {
            listen: "127.0.0.1:9000".to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            reactor: ReactorKind::Auto,
            limits: Limits::default(),
            admission: AdmissionPolicy::default(),
            share_port: false,
            stall_timeout_ms: STALL_TIMEOUT_MS,
            handle_signals: true,
        }
    }

    /// Where it listens; the port is the kernel's choice if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.cores.address()
    }

    /// The reactor in use.
    pub fn reactor(&self) -> ReactorKind {
        self.cores.reactor()
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        self.cores.limits()
    }

    /// Counters, one set for each core.
    pub fn counters(&self) -> &[Arc<Counters>] {
        self.cores.counters()
    }

    /// Whether it serves.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Drains it from any thread.
    pub fn controller(&self) -> Controller {
        self.cores.controller()
    }

    /// Serves until drained. Everything else that ends a server is an error, after which the process should end too: a
    /// core that died or hangs cannot be replaced.
    pub fn join(self) -> Result<(), Error> {
        match self.cores.supervise() {
            Stopped::Drained => Ok(()),
            Stopped::Forced => Err(Error::Forced),
            Stopped::CoreDied { core, reason } => Err(Error::CoreDied { core, reason }),
            Stopped::CoreStalled { core, stalled_ms } => Err(Error::CoreStalled { core, stalled_ms }),
        }
    }
}

/// How long a core may make no turn before the server gives itself up. Default 10 s: a handler that blocks for so long
/// is stuck, and until then only readiness is withdrawn.
pub const STALL_TIMEOUT_MS: u64 = 10_000;

/// Why a server ended, or never began.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// What was to be listened on is not an address.
    #[error(
        "{address:?} is not an address to listen on. Give an IP address or host name and a port, such as 127.0.0.1:9000."
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// PROXY headers are expected of nobody.
    #[error(
        "PROXY headers are only taken from trusted proxies, and there are none. Name the proxies' addresses \
         (--trusted-proxies), or do without PROXY headers (--proxy-protocol false)."
    )]
    ProxyProtocolWithoutProxies,
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The drain timeout was over, or a second signal came, before everyone was told.
    #[error("The server stopped before everyone was told.")]
    Forced,
    /// A core died.
    #[error("Core {core} died: {reason}. The server ends, because its clients would wait for ever.")]
    CoreDied {
        /// Its number.
        core: usize,
        /// What is known of the reason.
        reason: String,
    },
    /// A core hangs.
    #[error("Core {core} has made no turn for {stalled_ms} ms; a handler blocks it. The server ends.")]
    CoreStalled {
        /// Its number.
        core: usize,
        /// For how long.
        stalled_ms: u64,
    },
}

/// Settings of a server. Every setter replaces a default.
#[derive(Clone, Debug)]
pub struct Builder {
    listen: String,
    cores: usize,
    reactor: ReactorKind,
    limits: Limits,
    admission: AdmissionPolicy,
    share_port: bool,
    stall_timeout_ms: u64,
    handle_signals: bool,
}

impl Builder {
    /// Where to listen: `address:port` or `host:port`. Port 0 lets the kernel choose. Default 127.0.0.1:9000.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = address.to_string();
        self
    }

    /// How many cores. Default: one for each processor this process may use.
    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }

    /// Which reactor. Default: io_uring, or epoll with a warning.
    pub fn reactor(mut self, reactor: ReactorKind) -> Self {
        self.reactor = reactor;
        self
    }

    /// The limits of all sessions.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Which web pages may open a WebSocket; others are answered with 403. Default: those served by the same host.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.admission.origins = origins;
        self
    }

    /// Which proxies are believed when they tell whom they speak for, in X-Forwarded-For or a PROXY header. Default: none.
    pub fn trusted_proxies(mut self, trusted_proxies: TrustedProxies) -> Self {
        self.admission.trusted_proxies = trusted_proxies;
        self
    }

    /// Whether every connection from a trusted proxy begins with a PROXY header. Default: no.
    pub fn proxy_protocol(mut self, proxy_protocol: bool) -> Self {
        self.admission.proxy_protocol = proxy_protocol;
        self
    }

    /// Whether other processes of this user may listen on the same address and share its connections. Default: no.
    pub fn share_port(mut self, share_port: bool) -> Self {
        self.share_port = share_port;
        self
    }

    /// How long a core may make no turn before the server gives itself up, in milliseconds; 0 is for ever.
    pub fn stall_timeout_ms(mut self, stall_timeout_ms: u64) -> Self {
        self.stall_timeout_ms = stall_timeout_ms;
        self
    }

    /// Whether SIGTERM and SIGINT drain the server. Default: yes; an application with signal handling of its own says no
    /// and uses [`Server::controller`].
    pub fn handle_signals(mut self, handle_signals: bool) -> Self {
        self.handle_signals = handle_signals;
        self
    }

    /// Starts the server; every core makes its own handler. Returns once all cores accept connections.
    pub fn start<H: Handler>(self, handler: impl Fn(usize) -> H + Send + Sync + 'static) -> Result<Server, Error> {
        self.start_with_status(Arc::default(), handler)
    }

    /// As [`Builder::start`], for handlers that tell clients whether the server is ready.
    pub fn start_with_status<H: Handler>(
        self,
        status: Arc<Status>,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<Server, Error> {
        let resolved = self.listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let address = resolved.ok_or(Error::Address { address: self.listen })?;
        if self.admission.proxy_protocol && self.admission.trusted_proxies.is_empty() {
            return Err(Error::ProxyProtocolWithoutProxies);
        }
        let setup = Setup {
            address,
            cores: self.cores,
            reactor: self.reactor,
            limits: self.limits,
            admission: self.admission,
            share_port: self.share_port,
            stall_timeout_ms: self.stall_timeout_ms,
            handle_signals: self.handle_signals,
        };
        let cores = Cores::start(setup, Arc::clone(&status), handler)?;
        Ok(Server { cores, status })
    }

    /// Starts the server and serves until it is drained.
    pub fn run<H: Handler>(self, handler: impl Fn(usize) -> H + Send + Sync + 'static) -> Result<(), Error> {
        self.start(handler)?.join()
    }
}
