//! The runtime of a core: its reactor, its monoio runtime, and the loop that drives a [`Core`].
//!
//! The loop is one future of the runtime. While there is work it waits on the core's own reactor, which costs one
//! system call a turn. When there is none it sleeps in the runtime, which then also runs the handlers' tasks.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream as Descriptor;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use monoio::net::TcpStream;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::engine::core::Core;
use crate::engine::handler::Handler;
use crate::engine::host::clock::CoreClock;
use crate::engine::host::control::{Control, ShutdownMode};
use crate::engine::host::purge::Purge;
use crate::reactor::epoll::Epoll;
use crate::reactor::uring::Uring;
use crate::reactor::{EventFd, Reactor};

/// The time that a core which had work waits on its reactor before it sleeps in the runtime. At least a tick of the
/// kernel (1 to 10 ms): for a timer that is due earlier, the processor's timer must be set, which makes a virtual
/// machine exit. With a wait of 200 µs at every turn a message cost a sixth more.
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// The interval at which the runtime runs even though there is work, for what handlers spawn in it. That costs some
/// system calls.
const RUNTIME_INTERVAL_MS: u64 = 10;

/// The longest sleep: a core shows at least this often that it is alive.
const SLEEP_MS_MAX: u64 = 500;

/// The initial operations of the runtime's own ring, which serves only tasks and the core's sleep.
const RUNTIME_ENTRIES: u32 = 256;

/// Creates an io_uring reactor, and a runtime on a ring of its own. Then runs the core that `core` returns, if any,
/// until it has drained or is stopped. Everything that the kernel may refuse is requested before `core` is called.
pub(in crate::engine) fn run_on_uring<H: Handler>(
    core: impl FnOnce(Uring) -> Option<Core<H, Uring>>,
    control: &Control,
    epoch: Instant,
) -> io::Result<()> {
    let reactor = Uring::new()?;
    let mut ring = io_uring_06::IoUring::builder();
    // No DEFER_TASKRUN: the runtime submits without waiting for events, so it would never see its completions.
    ring.setup_single_issuer().setup_coop_taskrun().setup_submit_all().setup_clamp();
    let mut runtime =
        RuntimeBuilder::<TimeDriver<IoUringDriver>>::new().uring_builder(ring).with_entries(RUNTIME_ENTRIES).build()?;
    runtime.block_on(run(reactor, core, control, epoch))
}

/// Runs a core on epoll, as [`run_on_uring`] does on io_uring.
pub(in crate::engine) fn run_on_epoll<H: Handler>(
    core: impl FnOnce(Epoll) -> Option<Core<H, Epoll>>,
    control: &Control,
    epoch: Instant,
) -> io::Result<()> {
    let reactor = Epoll::new()?;
    let mut runtime = RuntimeBuilder::<TimeDriver<LegacyDriver>>::new().with_entries(RUNTIME_ENTRIES).build()?;
    runtime.block_on(run(reactor, core, control, epoch))
}

async fn run<H: Handler, R: Reactor>(
    reactor: R,
    core: impl FnOnce(R) -> Option<Core<H, R>>,
    control: &Control,
    epoch: Instant,
) -> io::Result<()> {
    let Some(park) = reactor.park_descriptor().map(awaitable).transpose()? else {
        return Err(io::Error::other("The reactor cannot be awaited, so no runtime can drive it."));
    };
    let runtime_turn = RuntimeTurn::new()?;
    // A first turn asks the runtime's own ring for a poll and a wait, which the kernel may refuse.
    runtime_turn.run().await?;
    match core(reactor) {
        Some(core) => drive(core, &park, &runtime_turn, control, epoch).await,
        None => Ok(()),
    }
}

async fn drive<H: Handler, R: Reactor>(
    mut core: Core<H, R>,
    park: &TcpStream,
    runtime_turn: &RuntimeTurn,
    control: &Control,
    epoch: Instant,
) -> io::Result<()> {
    let elapsed_ms = || epoch.elapsed().as_millis() as u64;
    let mut clock = CoreClock::default();
    let mut purge = Purge::default();
    let mut runtime_ran_ms = 0;
    loop {
        let (now_ms, mode) = (elapsed_ms(), control.requested());
        let present_ms = clock.at(now_ms);
        match mode {
            ShutdownMode::None | ShutdownMode::Stop => {}
            ShutdownMode::Drain => core.drain(),
            ShutdownMode::Hurry => core.hurry(present_ms),
        }
        core.counters().last_turn_ms.write(now_ms);
        let more = core.turn(present_ms);
        purge.run_if_due(now_ms);
        if core.is_done() || mode == ShutdownMode::Stop {
            return Ok(());
        }
        let tasks = core.has_tasks();
        let idle = !more && !tasks && core.may_wait();
        let completed = core.enter(if idle { busy_wait(&core) } else { Duration::ZERO })?;
        core.awake();
        if !completed && !more {
            sleep(&mut core, park).await?;
        } else if tasks || now_ms >= runtime_ran_ms + RUNTIME_INTERVAL_MS {
            runtime_turn.run().await?;
        } else {
            continue;
        }
        runtime_ran_ms = elapsed_ms();
    }
}

fn busy_wait<H: Handler, R: Reactor>(core: &Core<H, R>) -> Duration {
    core.idle_ms().map_or(BUSY_WAIT, |idle_ms| BUSY_WAIT.min(Duration::from_millis(idle_ms)))
}

/// Sleeps in the runtime until the reactor, a timer or a task has work for the core.
async fn sleep<H: Handler, R: Reactor>(core: &mut Core<H, R>, park: &TcpStream) -> io::Result<()> {
    core.reactor().arm();
    // A completion from before the reactor was armed wakes nobody, so look once more.
    if core.may_wait() && !core.enter(Duration::ZERO)? {
        let idle_ms = core.idle_ms().map_or(SLEEP_MS_MAX, |idle_ms| idle_ms.min(SLEEP_MS_MAX));
        let mut readable = pin!(park.readable(false));
        let mut elapsed = pin!(monoio::time::sleep(Duration::from_millis(idle_ms)));
        poll_fn(|context| {
            let awake = core.has_commands_or_wake(context.waker())
                || readable.as_mut().poll(context).is_ready()
                || elapsed.as_mut().poll(context).is_ready();
            if awake { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        core.enter(Duration::ZERO)?;
    }
    core.awake();
    core.reactor().disarm();
    Ok(())
}

/// A way to give the runtime a turn: it waits for a descriptor that becomes readable only once the wait has begun. A
/// future that only wakes itself would not do, since monoio polls its main future again before anything else.
struct RuntimeTurn {
    event: EventFd,
    readable: TcpStream,
}

impl RuntimeTurn {
    fn new() -> io::Result<Self> {
        let event = EventFd::new()?;
        let readable = awaitable(event.descriptor())?;
        Ok(Self { event, readable })
    }

    async fn run(&self) -> io::Result<()> {
        self.event.clear();
        let mut readable = pin!(self.readable.readable(false));
        let mut begun = false;
        poll_fn(|context| {
            let polled = readable.as_mut().poll(context);
            if !std::mem::replace(&mut begun, true) {
                self.event.signal();
            }
            polled
        })
        .await
    }
}

/// Wraps a descriptor so that monoio can wait for it. A TCP stream of monoio's accepts any descriptor.
fn awaitable(descriptor: BorrowedFd<'_>) -> io::Result<TcpStream> {
    TcpStream::from_std(Descriptor::from(descriptor.as_fd().try_clone_to_owned()?))
}
