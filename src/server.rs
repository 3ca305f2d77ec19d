//! The server as a whole: its builder, start, drain and join.
//!
//! Owns the composition: addresses, limits, cores, signals and the administrator's listener, which is a small server of
//! its own. Never handles a connection itself. Invariant: the administrator's listener shares no limits and no counters
//! with the main server, and serves until the main server has ended.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use prometheus_client::collector::Collector;
use thiserror::Error;

use crate::address::{self, Address, AddressError, Endpoint, Listen, ListenTls, Place};
use crate::engine::{
    AdmissionPolicy, Context, Controller, Cores, Counters, Handler, Heartbeat, Limits, LimitsError, Pinning,
    ReactorKind, STALL_TIMEOUT_MS, ServerHandle, Setup, Signals, StartError, Status, Stopped, descriptors_per_core,
};
use crate::protocol::{Origins, TrustedProxies};
use crate::reactor::InheritedSocket;
use crate::service::{Admin, ExtraCounter, ExtraGauge, Extras, Metrics};
use crate::tls::Acceptor;

/// A server, whose cores run from [`Builder::start`] on. [`Server::join`] supervises them; a server that is dropped
/// instead serves on, but can no longer be drained.
///
/// `M` is the handler's [`Mail`](Handler::Mail).
#[derive(Debug)]
#[must_use = "the server is supervised and ends in order only with `join`"]
pub struct Server<M = ()> {
    cores: Cores<M>,
    status: Arc<Status>,
    admin: Option<Cores>,
    extras: Extras,
    signals: Option<Signals>,
    tls: Option<Arc<Acceptor>>,
}

impl Server {
    /// Returns a builder with the defaults: the server listens on 127.0.0.1:9000, with one core for each processor.
    pub fn builder() -> Builder {
        Builder {
            listen: Ok(vec![Listen::default()]),
            cores: thread::available_parallelism().map_or(1, usize::from),
            pin: Pinning::Auto,
            reactor: ReactorKind::Auto,
            limits: Limits::default(),
            admission: AdmissionPolicy::default(),
            share_port: false,
            stall_timeout_ms: STALL_TIMEOUT_MS,
            handle_signals: true,
            drain_on_hangup: true,
            admin: None,
            inherited: Vec::new(),
            extras: Extras::default(),
            tls: None,
        }
    }
}

impl<M: Send + 'static> Server<M> {
    /// Returns the first TCP address that the server listens on, with the port that the kernel chose if 0 was
    /// requested. Returns 0.0.0.0:0 if the server listens on Unix sockets only.
    pub fn address(&self) -> SocketAddr {
        let first = self.addresses().iter().find_map(Endpoint::socket_address);
        first.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Returns all addresses that the server listens on.
    pub fn addresses(&self) -> &[Endpoint] {
        self.cores.endpoints()
    }

    /// Returns the first TCP address of the administrator's listener, if any.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_addresses().iter().find_map(Endpoint::socket_address)
    }

    /// Returns all addresses of the administrator's listener.
    pub fn admin_addresses(&self) -> &[Endpoint] {
        self.admin.as_ref().map_or(&[], Cores::endpoints)
    }

    /// Returns the reactor in use.
    pub fn reactor(&self) -> ReactorKind {
        self.cores.reactor()
    }

    /// Returns the limits in force: [`connections_max`](Limits::connections_max) is what the process has descriptors
    /// for. [`Controller::reload`] replaces them.
    pub fn limits(&self) -> Arc<Limits> {
        self.cores.limits().value()
    }

    /// Returns the counters of all cores, in the order of their numbers.
    pub fn counters(&self) -> &[Arc<Counters>] {
        self.cores.counters()
    }

    /// Returns the server's metrics, for Prometheus.
    pub fn metrics(&self) -> Metrics {
        let metrics = Metrics::new(self.counters(), self.status(), self.reactor(), self.cores.limits().clone());
        let metrics = metrics.with_extras(self.extras.clone());
        match &self.tls {
            Some(acceptor) => metrics.with_tls(Arc::clone(acceptor)),
            None => metrics,
        }
    }

    /// Returns the server's status, which says whether it is ready.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Returns a handle that publishes to topics and sends to sessions, from any thread.
    pub fn handle(&self) -> ServerHandle<M> {
        self.cores.handle()
    }

    /// Returns a handle that drains, stops or reloads the server, from any thread.
    pub fn controller(&self) -> Controller {
        self.cores.controller()
    }

    /// Blocks this thread until the server has drained: after [`Controller::drain`], or after a signal.
    ///
    /// # Errors
    /// [`Error::Forced`], [`Error::CoreDied`] or [`Error::CoreStalled`]. The process should end too, because a core
    /// that died or hangs cannot be replaced.
    pub fn join(self) -> Result<(), Error> {
        self.join_observed(|_| ())
    }

    /// Serves like [`Server::join`], and calls `observe` on this thread several times a second, with the state of the
    /// server. `observe` must not block, because the cores are not supervised meanwhile.
    pub fn join_observed(self, observe: impl FnMut(Heartbeat)) -> Result<(), Error> {
        let stopped = self.cores.supervise(observe);
        if let Some(admin) = self.admin {
            // If the process is about to end with an error, the listener's last answers are not waited for.
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

/// The name in LISTEN_FDNAMES for the sockets of the administrator's listener.
pub const ADMIN_SOCKET: &str = "admin";

/// The reason why a server did not start, or ended without being drained.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Invalid or conflicting listen addresses: the caller's fault.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// PROXY headers are required, but no proxy is trusted: the caller's fault.
    #[error(
        "PROXY headers are accepted from trusted proxies only, and none is configured. Name the proxies' addresses \
         (trusted_proxies), or turn PROXY headers off (proxy_protocol)."
    )]
    ProxyProtocolWithoutProxies,
    /// A listener speaks TLS, but there is no certificate: the caller's fault.
    #[error("A listener speaks TLS (tls), and no certificate is configured. Set certificates, or turn TLS off there.")]
    TlsWithoutCertificate,
    /// Limits that contradict each other: the caller's fault.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The host refused what the server needs: an address, memory, descriptors, threads.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The drain timeout expired, or a second signal came, before every session was told.
    #[error("The server stopped before all sessions were told that it ends.")]
    Forced,
    /// A core died.
    #[error("Core {core} died: {reason}. The server ends, because the core's clients would get no answer.")]
    CoreDied {
        /// The core's number.
        core: usize,
        /// The panic message or error, as far as known.
        reason: String,
    },
    /// A core hangs.
    #[error("Core {core} has made no turn for {stalled_ms} ms: a handler blocks it. The server ends.")]
    CoreStalled {
        /// The core's number.
        core: usize,
        /// The time since its last turn.
        stalled_ms: u64,
    },
}

/// The address of the administrator's listener.
#[derive(Clone, Debug)]
struct AdminAddress {
    address: Result<Address, AddressError>,
    /// True if the server refuses to start if the address is in use.
    required: bool,
}

/// The settings of a server. Each setter replaces a default.
#[derive(Clone, Debug)]
pub struct Builder {
    listen: Result<Vec<Listen>, AddressError>,
    cores: usize,
    pin: Pinning,
    reactor: ReactorKind,
    limits: Limits,
    admission: AdmissionPolicy,
    share_port: bool,
    stall_timeout_ms: u64,
    handle_signals: bool,
    drain_on_hangup: bool,
    admin: Option<AdminAddress>,
    inherited: Vec<InheritedSocket>,
    extras: Extras,
    tls: Option<Arc<Acceptor>>,
}

impl Builder {
    /// Sets the addresses to listen on: one or several forms of [`Address`], separated by commas, such as
    /// `127.0.0.1:9000`, `localhost:9000`, `:9000` for all addresses of this host, or `unix:/run/ringsock.sock`. With
    /// port 0 the kernel chooses a port. Default 127.0.0.1:9000.
    pub fn listen(mut self, addresses: impl ToString) -> Self {
        self.listen = Address::list(&addresses.to_string()).map(|list| list.into_iter().map(Listen::from).collect());
        self
    }

    /// Sets the addresses to listen on, like [`Builder::listen`], from parsed addresses, or from [`Listen`]s, which
    /// have settings of their own.
    pub fn listen_on(mut self, addresses: impl IntoIterator<Item = impl Into<Listen>>) -> Self {
        self.listen = Ok(addresses.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the number of cores, each a thread; 0 counts as 1. Default: one for each processor that this process may
    /// use.
    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }

    /// Sets whether cores are pinned to processors. Default: pinned if there are as many cores as processors.
    pub fn pin(mut self, pin: Pinning) -> Self {
        self.pin = pin;
        self
    }

    /// Sets the reactor. Default: io_uring, or epoll with a warning if io_uring is not available.
    pub fn reactor(mut self, reactor: ReactorKind) -> Self {
        self.reactor = reactor;
        self
    }

    /// Sets the limits of the server and of each session. Limits that contradict each other are refused at the start
    /// ([`LimitsError`]).
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the origins whose web pages may open a WebSocket; others get 403. Default: the server's own host.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.admission.origins = origins;
        self
    }

    /// Sets the proxies whose X-Forwarded-For or PROXY header is trusted to name the client. Default: none.
    pub fn trusted_proxies(mut self, trusted_proxies: TrustedProxies) -> Self {
        self.admission.trusted_proxies = trusted_proxies;
        self
    }

    /// Sets whether every connection from a trusted proxy begins with a PROXY header. Default: no.
    pub fn proxy_protocol(mut self, proxy_protocol: bool) -> Self {
        self.admission.proxy_protocol = proxy_protocol;
        self
    }

    /// Sets the certificates and keys of the listeners that speak TLS ([`Listen::tls`]). They can be replaced while the
    /// server runs, with [`TlsAcceptor::replace`](crate::TlsAcceptor::replace). Default: none.
    pub fn tls(mut self, acceptor: Arc<Acceptor>) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Sets whether other processes of this user may listen on the same address and share its connections. Default: no.
    pub fn share_port(mut self, share_port: bool) -> Self {
        self.share_port = share_port;
        self
    }

    /// Sets how long a core may go without a turn before the server stops with [`Error::CoreStalled`], in milliseconds.
    /// Default: 10,000. 0 turns the check off; 1 to 999 are refused, because an idle core makes a turn every 500 ms.
    pub fn stall_timeout_ms(mut self, stall_timeout_ms: u64) -> Self {
        self.stall_timeout_ms = stall_timeout_ms;
        self
    }

    /// Sets whether the signals that end a process by default (SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGALRM, SIGXCPU and
    /// SIGPWR) drain the server. Default: yes; an application that handles signals itself turns this off and uses
    /// [`Server::controller`].
    pub fn handle_signals(mut self, handle_signals: bool) -> Self {
        self.handle_signals = handle_signals;
        self
    }

    /// Sets whether SIGHUP is one of the signals that drain the server. Default: yes; an application that reloads its
    /// settings on SIGHUP ([`Controller::reload`]) turns this off and handles the signal itself.
    pub fn drain_on_hangup(mut self, drain_on_hangup: bool) -> Self {
        self.drain_on_hangup = drain_on_hangup;
        self
    }

    /// Adds the administrator's listener, which serves `/metrics`, `/health` and `/readyz`, at an address as
    /// [`Builder::listen`] takes it. It runs on one thread at the lowest priority, with limits of its own (64
    /// connections), and has no password: keep the address private. Default: none.
    pub fn admin_listen(mut self, address: impl ToString) -> Self {
        self.admin = Some(AdminAddress { address: address.to_string().parse(), required: true });
        self
    }

    /// Adds the administrator's listener, but starts without it, with a warning, if its address is in use.
    pub fn admin_listen_if_free(mut self, address: impl ToString) -> Self {
        self.admin = Some(AdminAddress { address: address.to_string().parse(), required: false });
        self
    }

    /// Adds a counter of the application to the metrics, under a name without `_total`, such as `app_orders`. Default:
    /// none.
    pub fn counter(mut self, name: &'static str, help: &'static str, value: Arc<AtomicU64>) -> Self {
        self.extras.counters.push(ExtraCounter { name, help, value });
        self
    }

    /// Adds a gauge of the application to the metrics, with a value for each text of a label, which `values` returns
    /// whenever the metrics are read. Default: none.
    pub fn gauge(
        mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    ) -> Self {
        self.extras.gauges.push(ExtraGauge { name, help, label, values: Arc::new(values) });
        self
    }

    /// Adds metrics of other parts of the program.
    #[cfg(feature = "unstable")]
    pub fn collector(mut self, collector: Arc<dyn Collector>) -> Self {
        self.extras.collectors.push(collector);
        self
    }

    /// Sets listening sockets that the parent process passed, as
    /// [`InheritedSockets::take`](crate::reactor::InheritedSockets::take) finds them. Sockets named `admin` replace
    /// [`Builder::admin_listen`], all others replace [`Builder::listen`]; without sockets of a kind, the server listens
    /// on the configured addresses. Default: none.
    pub fn inherited(mut self, sockets: Vec<InheritedSocket>) -> Self {
        self.inherited = sockets;
        self
    }

    /// Starts the server, with one handler for each core, which `handler` makes on the core's thread. Returns once all
    /// cores accept connections.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::ProxyProtocolWithoutProxies`] and [`Error::Limits`] name settings that are invalid;
    /// [`Error::Start`] says what the host refused.
    pub fn start<H: Handler>(
        self,
        handler: impl Fn(&Context<H::Mail>) -> H + Send + Sync + 'static,
    ) -> Result<Server<H::Mail>, Error> {
        let of_listeners = self.listen.iter().flatten().any(|listen| listen.proxy_protocol);
        if (self.admission.proxy_protocol || of_listeners) && self.admission.trusted_proxies.is_empty() {
            return Err(Error::ProxyProtocolWithoutProxies);
        }
        if self.listen.iter().flatten().any(|listen| listen.tls == ListenTls::On) && self.tls.is_none() {
            return Err(Error::TlsWithoutCertificate);
        }
        self.limits.check(self.stall_timeout_ms)?;
        self.limits.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        // Signals are caught first, so that none is lost during the start.
        let catch = || Signals::catch(self.drain_on_hangup);
        let signals = self.handle_signals.then(catch).transpose().map_err(|source| StartError::Signals { source })?;
        let started = self.compose(signals.clone(), handler);
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

    /// Starts the server and serves until it is drained: [`Builder::start`] and [`Server::join`].
    ///
    /// # Errors
    /// The errors of both.
    pub fn run<H: Handler>(
        self,
        handler: impl Fn(&Context<H::Mail>) -> H + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.start(handler)?.join()
    }

    fn compose<H: Handler>(
        self,
        signals: Option<Signals>,
        handler: impl Fn(&Context<H::Mail>) -> H + Send + Sync + 'static,
    ) -> Result<Server<H::Mail>, Error> {
        let status: Arc<Status> = Arc::default();
        let (for_admin, inherited): (Vec<_>, Vec<_>) =
            self.inherited.into_iter().partition(|socket| socket.name == ADMIN_SOCKET);
        // Inherited sockets replace configured addresses.
        let admin = match (&self.admin, for_admin.is_empty()) {
            (None, true) => None,
            (Some(admin), true) => {
                Some(AdminListener { places: admin.places()?, inherited: for_admin, required: admin.required })
            }
            (_, false) => Some(AdminListener { places: Vec::new(), inherited: for_admin, required: true }),
        };
        let listen = self.listen?;
        let mut admission = self.admission;
        // Inherited sockets have no settings of their own.
        let speaks_tls = self.tls.is_some() && listen.iter().all(|listen| listen.tls != ListenTls::Off);
        let mut inherited = inherited;
        inherited.iter_mut().for_each(|socket| socket.tls = speaks_tls);
        admission.proxy_protocol |= !inherited.is_empty() && listen.iter().any(|listen| listen.proxy_protocol);
        let setup = Setup {
            places: if inherited.is_empty() {
                address::places_with_settings(&listen, self.tls.is_some())?
            } else {
                Vec::new()
            },
            inherited,
            cores: self.cores,
            pin: self.pin,
            reactor: self.reactor,
            limits: self.limits,
            admission,
            share_port: self.share_port,
            awaits_address: true,
            stall_timeout_ms: self.stall_timeout_ms,
            in_background: false,
            descriptors_reserved: admin.as_ref().map_or(0, AdminListener::descriptors),
            signals: signals.clone(),
            acceptor: self.tls.clone(),
        };
        let cores = Cores::start(setup, Arc::clone(&status), handler)?;
        let (extras, tls) = (self.extras, self.tls);
        let mut server = Server { cores, status, admin: None, extras, signals: signals.clone(), tls };
        let Some(admin) = admin else { return Ok(server) };
        let required = admin.required;
        match start_admin(admin, signals, server.metrics()) {
            Ok(admin) => server.admin = Some(admin),
            // Sessions may be open already; they are told once the server handles the signal.
            Err(StartError::Cancelled) => {}
            Err(StartError::Listen { endpoint, source }) if !required && source.kind() == ErrorKind::AddrInUse => {
                tracing::warn!(
                    "No metrics: {endpoint} is in use, perhaps by another ringsock. Give this one another address \
                     (admin_listen), or none."
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

/// The addresses and sockets of the administrator's listener.
struct AdminListener {
    places: Vec<Place>,
    inherited: Vec<InheritedSocket>,
    required: bool,
}

impl AdminListener {
    /// Returns how many descriptors the listener and its connections may take.
    fn descriptors(&self) -> usize {
        let listeners = self.places.iter().map(|place| place.endpoints.len()).sum::<usize>() + self.inherited.len();
        Admin::limits().connections_max + descriptors_per_core(listeners)
    }
}

/// Starts the administrator's listener: one core on epoll, which takes the least memory and is allowed everywhere.
fn start_admin(listener: AdminListener, signals: Option<Signals>, metrics: Metrics) -> Result<Cores, StartError> {
    let setup = Setup {
        places: listener.places,
        inherited: listener.inherited,
        cores: 1,
        pin: Pinning::Never,
        reactor: ReactorKind::Epoll,
        limits: Admin::limits(),
        admission: AdmissionPolicy::default(),
        share_port: false,
        awaits_address: listener.required,
        stall_timeout_ms: 0,
        in_background: true,
        descriptors_reserved: 0,
        signals,
        acceptor: None,
    };
    Cores::start(setup, Arc::default(), move |_core| Admin::new(metrics.clone()))
}

/// Drains or stops the administrator's listener and waits for its end.
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
