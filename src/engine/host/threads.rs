//! The threads of a server's cores, started in two steps. First each requests what it needs from the kernel for its
//! reactor and its runtime, and reports. Once all have it, each receives its [`Seed`] and serves.
//!
//! The kernel may refuse a ring, depending on how many exist, and a ring belongs to the thread that made it. Invariant:
//! no core serves before every core can. If one is refused what it needs, all end, and none of them leaves anything
//! behind.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use core_affinity::CoreId;

use crate::engine::core::Core;
use crate::engine::handler::{Context, Handler, ServerHandle};
use crate::engine::host::control::{Control, ShutdownMode};
use crate::engine::host::pinning::{Pinning, pin, processors};
use crate::engine::host::runtime;
use crate::engine::host::start_error::StartError;
use crate::engine::seed::Seed;
use crate::engine::status::Status;
use crate::engine::tasks::Spawner;
use crate::reactor::{self, Reactor};

/// Locked memory of a core's rings: its own queues of 4096 submissions of 64 bytes and 32,768 completions of 16. The
/// queues of its runtime add some 30 KiB.
const LOCKED_BYTES_PER_CORE: u64 = 768 * 1024;

/// The number of attempts to create the rings while other processes of the user lock the memory: for a second in all.
const RING_TRIES: u32 = 20;

/// The interval between two attempts.
const RING_TRY_INTERVAL: Duration = Duration::from_millis(50);

/// The kind of reactor that the cores use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReactorKind {
    /// io_uring, or epoll with a warning if io_uring is not available.
    #[default]
    Auto,
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl fmt::Display for ReactorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReactorKind::Auto => "auto",
            ReactorKind::Uring => "uring",
            ReactorKind::Epoll => "epoll",
        })
    }
}

/// The events that a server's cores and controllers send to its supervisor.
#[derive(Debug)]
pub(in crate::engine) enum Event {
    /// A core serves.
    Started {
        /// Its number.
        core: usize,
        /// The handle that wakes the core.
        waker: Waker,
        /// The kernel's id of its thread.
        thread: u32,
    },
    /// A core has ended.
    Ended(usize, Result<(), String>),
    /// A controller asks for the server's end, because of the signal of this name if any.
    ShutdownRequested(ShutdownMode, Option<&'static str>),
}

/// The settings that the threads of all cores share.
pub(in crate::engine) struct Plan<F> {
    pub(in crate::engine) cores: usize,
    pub(in crate::engine) pin: Pinning,
    pub(in crate::engine) in_background: bool,
    pub(in crate::engine) control: Arc<Control>,
    pub(in crate::engine) events: Sender<Event>,
    pub(in crate::engine) epoch: Instant,
    pub(in crate::engine) status: Arc<Status>,
    pub(in crate::engine) handler: Arc<F>,
}

/// Threads that are ready, and wait for their seeds.
pub(in crate::engine) struct Threads(Vec<Waiting>);

struct Waiting {
    seed: Sender<Seed>,
    thread: JoinHandle<()>,
}

impl Threads {
    /// Starts a thread for each core, and returns once all are ready: with the requested reactor, or with epoll if
    /// io_uring is only preferred and the kernel refuses it to one of them.
    pub(in crate::engine) fn prepare<H: Handler>(
        wanted: ReactorKind,
        plan: &Plan<impl Fn(&Context<H::Mail>) -> H + Send + Sync + 'static>,
    ) -> Result<(ReactorKind, Self), StartError> {
        if wanted != ReactorKind::Epoll {
            match Self::prepare_uring(plan) {
                Ok(threads) => return Ok((ReactorKind::Uring, threads)),
                Err(error @ (StartError::UringUnavailable { .. } | StartError::LockedMemory { .. }))
                    if wanted == ReactorKind::Auto =>
                {
                    tracing::warn!("{error} Using epoll.");
                }
                Err(error) => return Err(error),
            }
        }
        let threads = Self::prepare_for(ReactorKind::Epoll, plan).map_err(|error| match error {
            PrepareError::Thread { core, source } => StartError::Thread { core, source },
            PrepareError::Reactor { core, source } => StartError::EpollUnavailable { core, source },
        })?;
        Ok((ReactorKind::Epoll, threads))
    }

    fn prepare_uring<H: Handler>(
        plan: &Plan<impl Fn(&Context<H::Mail>) -> H + Send + Sync + 'static>,
    ) -> Result<Self, StartError> {
        // Without a limit, memory itself is short.
        let limit = reactor::raise_locked_memory_limit().filter(|limit| *limit != u64::MAX);
        // If the limit would allow so many rings, other processes of the user have the memory, such as one that has
        // just ended: the kernel takes rings apart some time later.
        let in_vain = limit.is_none_or(|limit| limit < plan.cores as u64 * LOCKED_BYTES_PER_CORE);
        let mut tries = if in_vain { 1 } else { RING_TRIES };
        loop {
            tries -= 1;
            let source = match Self::prepare_for(ReactorKind::Uring, plan) {
                Ok(threads) => return Ok(threads),
                Err(PrepareError::Thread { core, source }) => return Err(StartError::Thread { core, source }),
                Err(PrepareError::Reactor { source, .. }) => source,
            };
            match limit {
                Some(_) if source.raw_os_error() == Some(libc::ENOMEM) && tries > 0 => thread::sleep(RING_TRY_INTERVAL),
                Some(limit) if source.raw_os_error() == Some(libc::ENOMEM) => {
                    return Err(StartError::LockedMemory { cores: plan.cores, limit_bytes: limit, source });
                }
                _ => return Err(StartError::UringUnavailable { source }),
            }
        }
    }

    fn prepare_for<H: Handler>(
        reactor: ReactorKind,
        plan: &Plan<impl Fn(&Context<H::Mail>) -> H + Send + Sync + 'static>,
    ) -> Result<Self, PrepareError> {
        let mut threads = Self(Vec::with_capacity(plan.cores));
        let (reports, reported) = mpsc::channel();
        for (core, processor) in processors(plan.pin, plan.cores).into_iter().enumerate() {
            match spawn(core, processor, reactor, plan, reports.clone()) {
                Ok(waiting) => threads.0.push(waiting),
                Err(source) => {
                    threads.end_all();
                    return Err(PrepareError::Thread { core, source });
                }
            }
        }
        drop(reports);
        // Each thread reports once, also if it fails.
        let mut reported = reported.iter().take(plan.cores);
        let refused = reported.find_map(|(core, result)| result.err().map(|source| (core, source)));
        let Some((core, source)) = refused else { return Ok(threads) };
        threads.end_all();
        Err(PrepareError::Reactor { core, source })
    }

    /// Makes all threads serve.
    pub(in crate::engine) fn serve(self, seeds: impl Iterator<Item = Seed>) -> Vec<JoinHandle<()>> {
        let given = self.0.into_iter().zip(seeds).map(|(waiting, seed)| {
            // A thread that has died meanwhile has reported that.
            let _ = waiting.seed.send(seed);
            waiting.thread
        });
        given.collect()
    }

    /// Ends the threads, and returns once their resources are free.
    fn end_all(self) {
        let (seeds, threads): (Vec<_>, Vec<_>) =
            self.0.into_iter().map(|waiting| (waiting.seed, waiting.thread)).unzip();
        drop(seeds);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// The reason why the threads cannot serve.
enum PrepareError {
    /// A thread could not be created.
    Thread { core: usize, source: io::Error },
    /// The kernel refused a core a part of its reactor or its runtime.
    Reactor { core: usize, source: io::Error },
}

fn spawn<H: Handler>(
    core: usize,
    processor: Option<CoreId>,
    reactor: ReactorKind,
    plan: &Plan<impl Fn(&Context<H::Mail>) -> H + Send + Sync + 'static>,
    reports: Sender<(usize, io::Result<()>)>,
) -> io::Result<Waiting> {
    let (seed, seeds) = mpsc::channel();
    let (in_background, epoch) = (plan.in_background, plan.epoch);
    let (control, handler) = (Arc::clone(&plan.control), Arc::clone(&plan.handler));
    let (events, status) = (plan.events.clone(), Arc::clone(&plan.status));
    let channels = ThreadChannels { core, reports, seeds, events, status, stage: Cell::new(Stage::Preparing) };
    // The kernel keeps 15 bytes of a name.
    let name = if in_background { format!("ringsock-back-{core}") } else { format!("ringsock-core-{core}") };
    let thread = thread::Builder::new().name(name).spawn(move || {
        if in_background {
            yield_to_others(core);
        }
        pin(core, processor);
        let ran = catch_unwind(AssertUnwindSafe(|| match reactor {
            ReactorKind::Epoll => runtime::run_on_epoll(|reactor| channels.accept(reactor, &*handler), &control, epoch),
            _ => runtime::run_on_uring(|reactor| channels.accept(reactor, &*handler), &control, epoch),
        }));
        channels
            .end(ran.unwrap_or_else(|panic| Err(io::Error::other(format!("it panicked: {}", message_of(&*panic))))));
    })?;
    Ok(Waiting { seed, thread })
}

/// The channels through which a thread reports that it is ready, and receives its seed.
struct ThreadChannels {
    core: usize,
    reports: Sender<(usize, io::Result<()>)>,
    seeds: Receiver<Seed>,
    events: Sender<Event>,
    status: Arc<Status>,
    stage: Cell<Stage>,
}

#[derive(Clone, Copy)]
enum Stage {
    Preparing,
    Waiting,
    Serving,
}

// The receivers may be gone. In that case the server was given up, and this thread ends like the others.
impl ThreadChannels {
    /// Reports that the thread is ready, and makes its core once the seed arrives; `None` if none does.
    fn accept<H: Handler, R: Reactor>(
        &self,
        reactor: R,
        handler: &impl Fn(&Context<H::Mail>) -> H,
    ) -> Option<Core<H, R>> {
        self.stage.set(Stage::Waiting);
        let _ = self.reports.send((self.core, Ok(())));
        let seed = self.seeds.recv().ok()?;
        self.stage.set(Stage::Serving);
        let waker = reactor.waker();
        let spawner: Spawner = Box::new(|task| drop(monoio::spawn(task)));
        let server = ServerHandle::new(seed.mesh.injector());
        let context = Context::new(seed.core, Arc::clone(&self.status), server);
        let core = Core::new(seed, handler(&context), reactor, spawner);
        // The core has started only now, since making the handler may fail.
        let _ = self.events.send(Event::Started { core: self.core, waker, thread: reactor::thread_id() });
        Some(core)
    }

    /// Reports how the thread ended.
    fn end(&self, result: io::Result<()>) {
        match (self.stage.get(), result) {
            (Stage::Serving, result) => {
                let _ = self.events.send(Event::Ended(self.core, result.map_err(|error| error.to_string())));
            }
            (Stage::Preparing, result) => drop(self.reports.send((self.core, result))),
            (Stage::Waiting, _) => {}
        }
    }
}

/// Lowers this thread's priority. If that is not allowed, the thread keeps the usual one.
fn yield_to_others(core: usize) {
    if let Err(error) = reactor::yield_to_others() {
        tracing::debug!(core, %error, "The priority of a background core could not be lowered.");
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
