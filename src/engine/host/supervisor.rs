//! The cores of a server: started together, watched, drained together. None stays behind half alive.
//!
//! The clients of a dead core would wait on a listener that nobody accepts from. So the death of a core, or a lasting
//! stall, ends the server, and the supervisor of the process restarts it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::address::{Endpoint, Place};
use crate::engine::admission::{Admission, AdmissionPolicy};
use crate::engine::core::HURRY_MS;
use crate::engine::counters::Counters;
use crate::engine::current::Current;
use crate::engine::handler::{Context, Handler, ServerHandle};
use crate::engine::host::control::ShutdownMode;
use crate::engine::host::controller::Controller;
use crate::engine::host::descriptors::connections_max;
use crate::engine::host::patience::{address_patience, await_address};
use crate::engine::host::pinning::Pinning;
use crate::engine::host::refusals::RefusalLog;
use crate::engine::host::running::Running;
use crate::engine::host::signals::Signals;
use crate::engine::host::start_error::{DESCRIPTORS_PER_CORE, StartError};
use crate::engine::host::thread_clock;
use crate::engine::host::threads::{Event, Plan, ReactorKind, Threads};
use crate::engine::host::watchdog::{StallLog, WATCH_INTERVAL_MS, Watchdog};
use crate::engine::limits::Limits;
use crate::engine::log::REFUSALS;
use crate::engine::rates::SharedRates;
use crate::engine::reasons::End;
use crate::engine::seed::Seed;
use crate::engine::status::Status;
use crate::mesh::Mesh;
use crate::reactor::{self, InheritedSocket, Opened, SocketFile};
use crate::tls::Acceptor;

/// The interval at which the cores are checked.
const WATCH_INTERVAL: Duration = Duration::from_millis(WATCH_INTERVAL_MS);

/// The time that cores may take beyond the drain timeout before they are given up.
const DRAIN_GRACE_MS: u64 = 500;

/// Returns the descriptors of a core with so many listeners.
pub fn descriptors_per_core(listeners: usize) -> usize {
    DESCRIPTORS_PER_CORE + listeners.saturating_sub(1)
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The places to listen.
    pub places: Vec<Place>,
    /// Sockets that were passed to the process, to be used instead of `places` if there are any.
    pub inherited: Vec<InheritedSocket>,
    /// The number of cores. If there are more cores than processors, they share them.
    pub cores: usize,
    /// The rule for pinning cores to processors.
    pub pin: Pinning,
    /// The reactor.
    pub reactor: ReactorKind,
    /// The limits of all sessions.
    pub limits: Limits,
    /// The rules by which clients are admitted.
    pub admission: AdmissionPolicy,
    /// Other processes of this user may listen on the same address.
    pub share_port: bool,
    /// Waits for an address that is in use, since a process that was killed may have had it.
    pub awaits_address: bool,
    /// The time that a core may stall before the server ends, in milliseconds; 0: for ever.
    pub stall_timeout_ms: u64,
    /// The cores run at the lowest priority, and take only what other threads leave them.
    pub in_background: bool,
    /// Descriptors that are kept free for other uses in this process.
    pub descriptors_reserved: usize,
    /// Signals that cancel the start.
    pub signals: Option<Signals>,
    /// The server's end of TLS, for the places that speak it.
    pub acceptor: Option<Arc<Acceptor>>,
}

/// The way a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every session was told to close, and has ended or had the time to.
    Drained,
    /// The server was stopped, or hurried while sessions were left in the end, or a core took too long to drain.
    Forced,
    /// A core ended on its own.
    CoreDied {
        /// Its number.
        core: usize,
        /// The reason, as far as it is known.
        reason: String,
    },
    /// A core made no turn for too long.
    CoreStalled {
        /// Its number.
        core: usize,
        /// The time since its last turn, in milliseconds.
        stalled_ms: u64,
    },
}

/// The state of a server, as [`Server::join_observed`](crate::Server::join_observed) reports it several times a second.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Every running core makes turns.
    pub cores_turn: bool,
    /// The time that the drain may still take; `None` while the server does not drain.
    pub drain_left: Option<Duration>,
}

/// The running cores of a server, whose handlers have this type of mail.
pub struct Cores<M = ()> {
    endpoints: Vec<Endpoint>,
    reactor: ReactorKind,
    running: Arc<Running>,
    in_background: bool,
    events: Receiver<Event>,
    controller: Controller,
    counters: Arc<[Arc<Counters>]>,
    connections: Arc<AtomicUsize>,
    handle: ServerHandle<M>,
    status: Arc<Status>,
    threads: Vec<JoinHandle<()>>,
    /// The kernel's thread ids, by core.
    thread_ids: Vec<u32>,
    stalls: StallLog,
    refusals: RefusalLog,
    /// A core was stalled at the last check.
    is_stalled: bool,
    epoch: Instant,
    /// The socket files, deleted when the server has ended.
    _files: Vec<SocketFile>,
}

impl<M: Send + 'static> Cores<M> {
    /// Starts all cores, each with a handler that `handler` makes on the core's thread. Returns once all of them run.
    pub fn start<H: Handler<Mail = M>>(
        setup: Setup,
        status: Arc<Status>,
        handler: impl Fn(&Context<M>) -> H + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let cores = setup.cores.clamp(1, usize::from(u16::MAX));
        let mut limits = setup.limits;
        let configured = (1..usize::MAX).contains(&limits.connections_max).then_some(limits.connections_max);
        let patience = if setup.awaits_address { address_patience(configured) } else { Duration::ZERO };
        let endpoints = setup.places.iter().map(|place| place.endpoints.len()).sum::<usize>();
        let listeners = if setup.inherited.is_empty() { endpoints } else { setup.inherited.len() };
        let reserved = setup.descriptors_reserved + cores * descriptors_per_core(listeners);
        limits.connections_max = connections_max(limits.connections_max, reserved)?;
        let of_listeners = setup.places.iter().any(|place| place.proxy_protocol);
        let running = Arc::new(Running {
            descriptors_reserved: reserved,
            expects_proxy_headers: of_listeners || setup.admission.proxy_protocol,
            admission: Arc::new(Admission::new(setup.admission, &limits)),
            limits: Current::new(limits),
            status: Arc::clone(&status),
            stall_timeout_ms: AtomicU64::new(setup.stall_timeout_ms),
        });
        let (sender, events) = mpsc::channel();
        let (control, wakers) = (Arc::default(), Vec::new());
        let controller = Controller { control, wakers, events: sender, running: Arc::clone(&running) };
        let is_cancelled = || setup.signals.as_ref().is_some_and(Signals::cancels_start);
        let listen = || reactor::listen(&setup.places, cores, setup.share_port);
        let opened = match &setup.inherited[..] {
            [] => await_address(patience, is_cancelled, listen).map_err(|(endpoint, source)| match is_cancelled() {
                true => StartError::Cancelled,
                false => StartError::Listen { endpoint, source },
            })?,
            inherited => reactor::share(inherited, cores).map_err(StartError::Process)?,
        };
        let Opened { listeners, endpoints, skipped, files } = opened;
        for (endpoint, error) in skipped {
            tracing::info!("Not listening on {endpoint}, which this host does not have: {error}.");
        }
        let plan = Plan {
            cores,
            pin: setup.pin,
            in_background: setup.in_background,
            control: Arc::clone(&controller.control),
            events: controller.events.clone(),
            epoch: Instant::now(),
            status: Arc::clone(&status),
            handler: Arc::new(handler),
        };
        let (reactor, threads) =
            Threads::prepare(setup.reactor, &plan).inspect_err(|_| reactor::unlisten(&listeners))?;
        let meshes = Mesh::build(cores, running.limits.value().mesh);
        let handle = ServerHandle::new(meshes[0].injector());
        let mut this = Self {
            endpoints,
            reactor,
            running,
            in_background: setup.in_background,
            events,
            controller,
            counters: (0..cores).map(|_| Arc::default()).collect(),
            connections: Arc::default(),
            handle,
            status,
            threads: Vec::new(),
            thread_ids: vec![0; cores],
            stalls: StallLog::default(),
            refusals: RefusalLog::default(),
            is_stalled: false,
            epoch: plan.epoch,
            _files: files,
        };
        let rates = Arc::<SharedRates>::default();
        let seeds = listeners.into_iter().zip(meshes).zip(0..).map(|((listeners, mesh), core)| Seed {
            core,
            listeners,
            limits: this.running.limits.follow(),
            counters_of_all: Arc::clone(&this.counters),
            connections: Arc::clone(&this.connections),
            admission: Arc::clone(&this.running.admission),
            rates: Arc::clone(&rates),
            mesh,
            clock: SystemTime::now,
            acceptor: setup.acceptor.clone(),
            monotonic_us,
        });
        this.threads = threads.serve(seeds);
        this.await_start(cores)?;
        this.status.note_settings();
        this.status.set_ready(true);
        Ok(this)
    }

    /// Returns the endpoints it listens on; if port 0 was configured, with the port that the kernel chose.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Returns the reactor in use.
    pub fn reactor(&self) -> ReactorKind {
        self.reactor
    }

    /// Returns the limits in force, which a reload replaces.
    pub fn limits(&self) -> &Current<Limits> {
        &self.running.limits
    }

    /// Returns the counters, one set for each core.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Returns the number of connections at present, over all cores.
    pub fn connections(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.connections)
    }

    /// Returns a handle that reaches topics and sessions from other threads.
    pub fn handle(&self) -> ServerHandle<M> {
        self.handle.clone()
    }

    /// Returns a handle that drains the server from other threads.
    pub fn controller(&self) -> Controller {
        self.controller.clone()
    }

    /// Ends the cores at once and tells no session: for a server whose start failed.
    pub fn stop(mut self) {
        self.status.set_ready(false);
        self.controller.control.request(ShutdownMode::Stop);
        self.controller.wake();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }

    /// Watches the cores until they have ended. Calls `observe` several times a second; it must not block.
    pub fn supervise(mut self, observe: impl FnMut(Heartbeat)) -> Stopped {
        let stopped = self.watch(observe);
        self.log_refusals(u64::MAX);
        self.status.set_ready(false);
        self.controller.control.request(ShutdownMode::Stop);
        self.controller.wake();
        // A core that is stalled or dead cannot be waited for.
        if matches!(stopped, Stopped::Drained) {
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
        stopped
    }

    fn watch(&mut self, mut observe: impl FnMut(Heartbeat)) -> Stopped {
        let mut running: BTreeSet<usize> = (0..self.threads.len()).collect();
        let mut watchdog = Watchdog::new(self.threads.len(), self.elapsed_ms());
        let mut draining: Option<Draining> = None;
        loop {
            match self.events.recv_timeout(WATCH_INTERVAL) {
                Ok(Event::ShutdownRequested(ShutdownMode::Stop, _)) => return Stopped::Forced,
                Ok(Event::ShutdownRequested(mode, signal)) => {
                    self.begin_to_drain(mode, signal, watchdog.present_ms(), &mut draining)
                }
                Ok(Event::Ended(core, Ok(()))) if draining.is_some() => {
                    running.remove(&core);
                    if running.is_empty() {
                        let cut_off =
                            || self.counters.iter().any(|counters| counters.closed.read_for(&End::CutOff) > 0);
                        let forced = draining.is_some_and(|draining| draining.mode == ShutdownMode::Hurry) && cut_off();
                        return if forced { Stopped::Forced } else { Stopped::Drained };
                    }
                }
                Ok(Event::Ended(core, result)) => {
                    let reason = result.err().unwrap_or_else(|| "it returned".to_owned());
                    return Stopped::CoreDied { core, reason };
                }
                Ok(Event::Started { .. }) | Err(RecvTimeoutError::Timeout) => {}
                // This struct holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => return Stopped::Forced,
            }
            if let Some(stopped) = self.check_cores(&mut watchdog, &running, draining.is_some()) {
                return stopped;
            }
            self.log_refusals(self.elapsed_ms());
            let left_ms = |draining: Draining| draining.ends_ms.saturating_sub(watchdog.present_ms());
            let drain_left = draining.map(|draining| Duration::from_millis(left_ms(draining)));
            observe(Heartbeat { cores_turn: !self.is_stalled, drain_left });
            if draining.is_some_and(|draining| watchdog.present_ms() >= draining.ends_ms) {
                return Stopped::Forced;
            }
        }
    }

    /// Makes the cores drain, unless they drain already, and as quickly.
    fn begin_to_drain(
        &self,
        mode: ShutdownMode,
        signal: Option<&str>,
        present_ms: u64,
        draining: &mut Option<Draining>,
    ) {
        if draining.is_some_and(|draining| draining.mode >= mode) {
            return;
        }
        // The cores keep the limits that they have from here on, as `limits` says.
        self.controller.control.request(mode);
        let limits = self.running.limits.value();
        if !self.in_background && draining.is_none() {
            let cause = signal.map(|name| format!("Received {name}. ")).unwrap_or_default();
            tracing::info!("{cause}Draining: {}", limits.drain_plan());
        }
        self.status.set_ready(false);
        self.controller.wake();
        let longest_ms = if mode == ShutdownMode::Hurry { HURRY_MS } else { limits.drain_ms_max() };
        let ends_ms = present_ms.saturating_add(longest_ms).saturating_add(DRAIN_GRACE_MS);
        *draining = Some(Draining { mode, ends_ms });
    }

    /// Returns whether a running core is stalled for good. Records whether any core is stalled at all.
    fn check_cores(&mut self, watchdog: &mut Watchdog, running: &BTreeSet<usize>, draining: bool) -> Option<Stopped> {
        let now_ms = self.elapsed_ms();
        let last_turns = running.iter().map(|core| (*core, self.counters[*core].last_turn_ms.read()));
        let silences = watchdog.look(now_ms, last_turns, |core| thread_clock::spent(self.thread_ids[core]));
        let silence = silences.iter().max_by_key(|silence| silence.silent_ms)?;
        self.is_stalled = silence.is_stall();
        let was_ready = self.status.set_ready(!silence.is_stall() && !draining);
        if silence.is_stall() && was_ready {
            self.stalls.begin(silence);
        } else if silence.is_stall() {
            self.stalls.note(silence);
        }
        if let Some((worst, others)) = self.stalls.due(now_ms) {
            let others = if others > 0 {
                format!(" There were {others} other stalls since the last one was logged.")
            } else {
                String::new()
            };
            tracing::warn!("{worst}{others}");
        }
        let given_up = silences.iter().max_by_key(|silence| silence.blamed_ms())?;
        let stall_timeout_ms = self.running.stall_timeout_ms.load(Ordering::Relaxed);
        let for_good = stall_timeout_ms > 0 && given_up.blamed_ms() > stall_timeout_ms;
        for_good.then_some(Stopped::CoreStalled { core: given_up.core, stalled_ms: given_up.silent_ms })
    }

    /// Logs, once a minute, what was refused, except by a server in the background.
    fn log_refusals(&mut self, now_ms: u64) {
        if let Some(refused) = self.refusals.due(now_ms, &self.counters).filter(|_| !self.in_background) {
            tracing::info!(target: REFUSALS, "Refused {} times in the last minute: {refused}.", refused.total());
        }
    }

    fn elapsed_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn await_start(&mut self, cores: usize) -> Result<(), StartError> {
        for _ in 0..cores {
            match self.events.recv() {
                Ok(Event::Started { core, waker, thread }) => {
                    self.controller.wakers.push(waker);
                    self.thread_ids[core] = thread;
                }
                Ok(Event::Ended(core, result)) => {
                    self.controller.control.request(ShutdownMode::Stop);
                    self.controller.wake();
                    let reason = result.err().unwrap_or_else(|| "it ended at once".to_owned());
                    return Err(StartError::Core { core, reason });
                }
                Ok(Event::ShutdownRequested(..)) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// A drain that is under way.
#[derive(Clone, Copy)]
struct Draining {
    mode: ShutdownMode,
    /// The time on the watchdog's clock at which cores that have not ended are given up.
    ends_ms: u64,
}

impl<M> fmt::Debug for Cores<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cores").field("endpoints", &self.endpoints).field("cores", &self.threads.len()).finish()
    }
}

/// Returns the microseconds since the first call.
fn monotonic_us() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(EPOCH.elapsed().as_micros()).unwrap_or(u64::MAX)
}
