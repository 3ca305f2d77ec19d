//! A server put together: where it listens, its limits, its cores, and a second, small one that tells of it. Start, drain,
//! join.
//!
//! The administrator's listener is a server of its own: what it costs and whom it lets in has nothing to do with the
//! first one's limits and counters, and it serves until the first one has ended.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use thiserror::Error;

use crate::address::{self, Address, AddressError, Endpoint, Place};
use crate::engine::{
    AdmissionPolicy, Contradiction, Controller, Cores, Counters, Handler, Limits, Pin, Pulse, ReactorKind,
    ServerHandle, Setup, Signals, StartError, Status, Stopped, descriptors_per_core,
};
use crate::protocol::{Origins, TrustedProxies};
use crate::reactor::Inherited;
use crate::service::{Admin, Metrics};

/// A server; see [`Server::builder`].
#[derive(Debug)]
pub struct Server {
    cores: Cores,
    status: Arc<Status>,
    admin: Option<Cores>,
    log_lines_dropped: Option<Arc<AtomicU64>>,
    signals: Option<Signals>,
}

impl Server {
    /// A server that listens on 127.0.0.1:9000 with one core for each processor, unless told otherwise.
    pub fn builder() -> Builder {
        Builder {
            listen: Ok(vec![Address::Ip((Ipv4Addr::LOCALHOST, 9000).into())]),
            cores: thread::available_parallelism().map_or(1, usize::from),
            pin: Pin::Auto,
            reactor: ReactorKind::Auto,
            limits: Limits::default(),
            admission: AdmissionPolicy::default(),
            share_port: false,
            stall_timeout_ms: STALL_TIMEOUT_MS,
            handle_signals: true,
            admin: None,
            inherited: Vec::new(),
            log_lines_dropped: None,
        }
    }

    /// The first TCP address that it listens on; the port is the kernel's choice if 0 was asked for. Without any, 0.0.0.0
    /// and port 0: it listens on Unix sockets alone.
    pub fn address(&self) -> SocketAddr {
        let first = self.addresses().iter().find_map(Endpoint::socket_address);
        first.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Everything that it listens on.
    pub fn addresses(&self) -> &[Endpoint] {
        self.cores.endpoints()
    }

    /// The first TCP address at which it tells of itself, if it does.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_addresses().iter().find_map(Endpoint::socket_address)
    }

    /// Everything on which it tells of itself.
    pub fn admin_addresses(&self) -> &[Endpoint] {
        self.admin.as_ref().map_or(&[], Cores::endpoints)
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

    /// What it has counted, for Prometheus.
    pub fn metrics(&self) -> Metrics {
        let metrics = Metrics::new(self.counters(), self.status(), self.reactor(), self.limits());
        match &self.log_lines_dropped {
            Some(lines) => metrics.with_log_lines_dropped(Arc::clone(lines)),
            None => metrics,
        }
    }

    /// Whether it serves.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Publishes to topics and sends to sessions, from any thread.
    pub fn handle(&self) -> ServerHandle {
        self.cores.handle()
    }

    /// Drains it from any thread.
    pub fn controller(&self) -> Controller {
        self.cores.controller()
    }

    /// Serves until drained. Everything else that ends a server is an error, after which the process should end too: a
    /// core that died or hangs cannot be replaced.
    pub fn join(self) -> Result<(), Error> {
        self.join_observed(|_| ())
    }

    /// As [`Server::join`], and tells several times a second how the server fares. `observe` must not wait: it is called by
    /// the thread that supervises the cores.
    pub fn join_observed(self, observe: impl FnMut(Pulse)) -> Result<(), Error> {
        let stopped = self.cores.supervise(observe);
        if let Some(admin) = self.admin {
            // Nobody waits for its last answers if the process is about to end with an error.
            let at_once = stopped != Stopped::Drained;
            end(admin, at_once);
        }
        if let Some(signals) = self.signals {
            signals.release();
        }
        match stopped {
            Stopped::Drained => Ok(()),
            Stopped::Forced => Err(Error::Forced),
            Stopped::CoreDied { core, reason } => Err(Error::CoreDied { core, reason }),
            Stopped::CoreStalled { core, stalled_ms } => Err(Error::CoreStalled { core, stalled_ms }),
        }
    }
}

/// The name in LISTEN_FDNAMES of sockets for the administrator's listener.
pub const ADMIN_SOCKET: &str = "admin";

/// How long a core may make no turn before the server gives itself up. Default 10 s: a handler that blocks for so long
/// is stuck, and until then only readiness is withdrawn.
pub const STALL_TIMEOUT_MS: u64 = 10_000;

/// Why a server ended, or never began.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// What was to be listened on is not an address, or not together with the others.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// PROXY headers are expected of nobody.
    #[error(
        "PROXY headers are only taken from trusted proxies, and there are none. Name the proxies' addresses \
         (--trusted-proxies), or do without PROXY headers (--proxy-protocol false)."
    )]
    ProxyProtocolWithoutProxies,
    /// Limits that cannot hold together.
    #[error(transparent)]
    Limits(#[from] Contradiction),
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

/// Where to tell of a server.
#[derive(Clone, Debug)]
struct AdminAddress {
    address: Result<Address, AddressError>,
    /// Whether the server is not to start without it, even if the address is only in use.
    required: bool,
}

/// Settings of a server. Every setter replaces a default.
#[derive(Clone, Debug)]
pub struct Builder {
    listen: Result<Vec<Address>, AddressError>,
    cores: usize,
    pin: Pin,
    reactor: ReactorKind,
    limits: Limits,
    admission: AdmissionPolicy,
    share_port: bool,
    stall_timeout_ms: u64,
    handle_signals: bool,
    admin: Option<AdminAddress>,
    inherited: Vec<Inherited>,
    log_lines_dropped: Option<Arc<AtomicU64>>,
}

impl Builder {
    /// Where to listen, in one of the forms of [`Address`] or several set apart by commas, such as `127.0.0.1:9000`,
    /// `localhost:9000`, `:9000` for all addresses of this host, or `unix:/run/ringsock.sock`. Port 0 lets the kernel
    /// choose. Default 127.0.0.1:9000.
    pub fn listen(mut self, addresses: impl ToString) -> Self {
        self.listen = Address::list(&addresses.to_string());
        self
    }

    /// As [`Builder::listen`], for addresses that have been read already.
    pub fn listen_on(mut self, addresses: impl IntoIterator<Item = Address>) -> Self {
        self.listen = Ok(addresses.into_iter().collect());
        self
    }

    /// How many cores. Default: one for each processor this process may use.
    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }

    /// Whether cores are pinned to processors. Default: if there are as many as processors that this process may use.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = pin;
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

    /// How long a core may make no turn before the server gives itself up, in milliseconds; 0 is for ever, and less than
    /// [`STALL_TIMEOUT_MS_MIN`](crate::engine::STALL_TIMEOUT_MS_MIN) is refused.
    pub fn stall_timeout_ms(mut self, stall_timeout_ms: u64) -> Self {
        self.stall_timeout_ms = stall_timeout_ms;
        self
    }

    /// Whether signals that end a process ([`ENDING`](crate::engine::ENDING), SIGTERM and SIGINT among them) drain the server.
    /// Default: yes; an application with signal handling of its own says no and uses [`Server::controller`].
    pub fn handle_signals(mut self, handle_signals: bool) -> Self {
        self.handle_signals = handle_signals;
        self
    }

    /// Has [`Admin`] tell of the server on a listener of its own: `/metrics`, `/health` and `/readyz`. It runs on one thread
    /// at the lowest priority, with limits of its own ([`Admin::limits`]), and has no password: keep the address private.
    /// Default: none.
    pub fn admin_listen(mut self, address: impl ToString) -> Self {
        self.admin = Some(AdminAddress { address: address.to_string().parse(), required: true });
        self
    }

    /// As [`Builder::admin_listen`], but if the address is in use, the server logs a warning and does without.
    pub fn admin_listen_if_free(mut self, address: impl ToString) -> Self {
        self.admin = Some(AdminAddress { address: address.to_string().parse(), required: false });
        self
    }

    /// Has metrics tell of the lines that the application's log has dropped, which it counts there. Default: none.
    pub fn log_lines_dropped(mut self, lines: Arc<AtomicU64>) -> Self {
        self.log_lines_dropped = Some(lines);
        self
    }

    /// Sockets that whoever started the process has passed ([`Passed::take`](crate::reactor::Passed::take)). Those named `admin` take the place of
    /// [`Builder::admin_listen`], and all others that of [`Builder::listen`]; where there are none of a kind, the addresses
    /// are listened on. Default: none.
    pub fn inherited(mut self, sockets: Vec<Inherited>) -> Self {
        self.inherited = sockets;
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
        if self.admission.proxy_protocol && self.admission.trusted_proxies.is_empty() {
            return Err(Error::ProxyProtocolWithoutProxies);
        }
        self.limits.check(self.stall_timeout_ms)?;
        self.limits.doubts().iter().for_each(|doubt| tracing::warn!("{doubt}"));
        // First of all, so that no signal is lost that comes meanwhile.
        let signals =
            self.handle_signals.then(Signals::catch).transpose().map_err(|source| StartError::Signals { source })?;
        let started = self.put_together(status, signals.clone(), handler);
        let Some(signals) = signals else { return started };
        match started {
            Ok(server) => {
                signals.pass_on_to(server.controller());
                Ok(server)
            }
            Err(error) => {
                signals.release();
                Err(error)
            }
        }
    }

    /// Starts the server and serves until it is drained.
    pub fn run<H: Handler>(self, handler: impl Fn(usize) -> H + Send + Sync + 'static) -> Result<(), Error> {
        self.start(handler)?.join()
    }

    fn put_together<H: Handler>(
        self,
        status: Arc<Status>,
        signals: Option<Signals>,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<Server, Error> {
        let (for_admin, inherited): (Vec<_>, Vec<_>) =
            self.inherited.into_iter().partition(|socket| socket.name == ADMIN_SOCKET);
        // What was passed takes the place of what was asked for.
        let admin = match (&self.admin, for_admin.is_empty()) {
            (None, true) => None,
            (Some(admin), true) => {
                Some(AdminListener { places: admin.places()?, inherited: for_admin, required: admin.required })
            }
            (_, false) => Some(AdminListener { places: Vec::new(), inherited: for_admin, required: true }),
        };
        let setup = Setup {
            places: if inherited.is_empty() { address::places(&self.listen?)? } else { Vec::new() },
            inherited,
            cores: self.cores,
            pin: self.pin,
            reactor: self.reactor,
            limits: self.limits,
            admission: self.admission,
            share_port: self.share_port,
            awaits_address: true,
            stall_timeout_ms: self.stall_timeout_ms,
            in_background: false,
            descriptors_reserved: admin.as_ref().map_or(0, AdminListener::descriptors),
            signals: signals.clone(),
        };
        let cores = Cores::start(setup, Arc::clone(&status), handler)?;
        let log_lines_dropped = self.log_lines_dropped;
        let mut server = Server { cores, status, admin: None, log_lines_dropped, signals: signals.clone() };
        let Some(admin) = admin else { return Ok(server) };
        let required = admin.required;
        match start_admin(admin, signals, server.metrics()) {
            Ok(admin) => server.admin = Some(admin),
            // Sessions may be there already, which are told as soon as the server knows of the signal.
            Err(StartError::Cancelled) => {}
            Err(StartError::Listen { endpoint, source }) if !required && source.kind() == ErrorKind::AddrInUse => {
                tracing::warn!(
                    "No metrics: {endpoint} is in use, perhaps by another ringsock. Give this one an --admin-listen \
                     address of its own, or none."
                );
            }
            Err(error) => {
                server.cores.stop();
                return Err(Error::Start(error));
            }
        }
        Ok(server)
    }
}

impl AdminAddress {
    fn places(&self) -> Result<Vec<Place>, AddressError> {
        address::places(std::slice::from_ref(self.address.as_ref().map_err(AddressError::clone)?))
    }
}

/// What the administrator's server listens on.
struct AdminListener {
    places: Vec<Place>,
    inherited: Vec<Inherited>,
    required: bool,
}

impl AdminListener {
    /// Descriptors that it may take.
    fn descriptors(&self) -> usize {
        let listeners = self.places.iter().map(|place| place.endpoints.len()).sum::<usize>() + self.inherited.len();
        Admin::limits().connections_max + descriptors_per_core(listeners)
    }
}

/// One core on epoll, which has the smaller footprint and is allowed everywhere.
fn start_admin(listener: AdminListener, signals: Option<Signals>, metrics: Metrics) -> Result<Cores, StartError> {
    let setup = Setup {
        places: listener.places,
        inherited: listener.inherited,
        cores: 1,
        pin: Pin::Never,
        reactor: ReactorKind::Epoll,
        limits: Admin::limits(),
        admission: AdmissionPolicy::default(),
        share_port: false,
        awaits_address: listener.required,
        stall_timeout_ms: 0,
        in_background: true,
        descriptors_reserved: 0,
        signals,
    };
    Cores::start(setup, Arc::default(), move |_core| Admin::new(metrics.clone()))
}

/// Drains cores that serve nobody of importance.
fn end(cores: Cores, at_once: bool) {
    let controller = cores.controller();
    if at_once {
        controller.stop()
    } else {
        controller.drain()
    }
    let stopped = cores.supervise(|_| ());
    if !matches!(stopped, Stopped::Drained | Stopped::Forced) {
        tracing::warn!(?stopped, "The administrator's listener had ended before the server.");
    }
}
