//! The workers of a run: threads of this process or, where its descriptor limit does not suffice, child processes with
//! such threads.
//!
//! Parent and child exchange JSON lines: orders on the child's input, reports on its output. Invariant: when a crew is
//! dropped, or a child's parent dies, the remaining workers close their connections and end.

use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::deliveries::Deliveries;
use super::handshake;
use super::plan::{Mode, Pace, Plan};
use super::tally::{Interval, Stage};
use super::trust::{self, TrustError};
use super::worker::{Shared, Worker};
use crate::reactor::epoll::Epoll;
use crate::reactor::uring::Uring;

/// Descriptors kept for everything but connections.
const DESCRIPTORS_SPARE: usize = 128;

/// A failure that ends a run: the host's fault, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrewError {
    /// A thread, process or ring could not be created.
    #[error("The load generator could not start: {0}.")]
    Start(#[from] io::Error),
    /// The plan's request is invalid: the caller's fault.
    #[error("The request cannot be sent. {0}")]
    Request(String),
    /// The connections cannot speak TLS: the caller's fault.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A fan-out in a closed loop that needs several processes: the caller's fault.
    #[error(
        "{connections} connections need {processes} processes, and a closed loop of fan-out works in one process only. \
         Give --rate, or at most {per_process} connections."
    )]
    FanoutAcrossProcesses {
        /// The requested connections.
        connections: usize,
        /// The processes they need.
        processes: usize,
        /// The most connections of one process.
        per_process: usize,
    },
}

/// All workers of a run.
pub(super) struct Crew {
    workers: Workers,
    reports: Receiver<Interval>,
    count: usize,
}

enum Workers {
    Threads(Threads),
    Processes(Vec<Process>),
}

/// Returns how many connections this process can hold, after raising its descriptor limit.
pub fn connections_per_process() -> usize {
    crate::reactor::raise_descriptor_limit().saturating_sub(DESCRIPTORS_SPARE).max(1)
}

impl Crew {
    /// Starts the workers, which begin to open connections. `program` creates a process that calls [`work_for_parent`].
    pub fn start(plan: Arc<Plan>, program: &mut dyn FnMut() -> io::Result<Command>) -> Result<Self, CrewError> {
        let per_process = connections_per_process();
        let processes = plan.connections.div_ceil(per_process);
        let (sender, reports) = channel();
        let closed_loop = matches!(plan.pace, Pace::InFlight(_));
        if processes > 1 && plan.mode == Mode::Fanout && closed_loop {
            return Err(CrewError::FanoutAcrossProcesses { connections: plan.connections, processes, per_process });
        }
        if processes == 1 {
            let all = 0..plan.connections;
            let count = plan.threads.min(all.len());
            return Ok(Self { workers: Workers::Threads(Threads::start(plan, all, sender)?), reports, count });
        }
        let threads = plan.threads.div_ceil(processes);
        let mut children = Vec::with_capacity(processes);
        for (number, connections) in shares(0..plan.connections, processes).enumerate() {
            children.push(Process::start(&plan, connections, number * threads, threads, program()?, sender.clone())?);
        }
        Ok(Self { workers: Workers::Processes(children), reports, count: processes * threads })
    }

    /// Returns the number of workers; workers are numbered from 0.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the channel of the workers' reports; it closes once all workers have ended.
    pub fn reports(&self) -> &Receiver<Interval> {
        &self.reports
    }

    /// Moves all workers on to a stage.
    pub fn go_to(&mut self, stage: Stage) {
        match &mut self.workers {
            Workers::Threads(threads) => threads.shared.stage.store(stage as u8, Ordering::Release),
            Workers::Processes(processes) => processes.iter_mut().for_each(|process| process.go_to(stage)),
        }
    }
}

/// Splits a range into parts of nearly equal length.
fn shares(all: Range<usize>, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let at = move |part: usize| all.start + all.len() * part / parts;
    (0..parts).map(move |part| at(part)..at(part + 1))
}

/// The workers of one process.
struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn start(plan: Arc<Plan>, connections: Range<usize>, reports: Sender<Interval>) -> Result<Self, CrewError> {
        let (request, handshake) = handshake::request(&plan).map_err(|error| CrewError::Request(error.to_string()))?;
        let connector =
            plan.tls.as_ref().map(|tls| trust::connector(&tls.trust, &plan.host, tls.resumes)).transpose()?;
        let shared = Arc::new(Shared {
            deliveries: Arc::new(Deliveries::new(&plan, connections.len())),
            plan: Arc::clone(&plan),
            request,
            handshake,
            connector,
            stage: AtomicU8::new(Stage::Open as u8),
            clock: Clock::new(),
        });
        let mut handles = Vec::new();
        let threads = plan.threads.min(connections.len());
        for (number, share) in shares(connections, threads).enumerate() {
            let (shared, reports) = (Arc::clone(&shared), reports.clone());
            let name = format!("bench-{number}");
            handles.push(thread::Builder::new().name(name).spawn(move || run_worker(number, share, shared, reports))?);
        }
        Ok(Self { shared, handles })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stage.store(Stage::Close as u8, Ordering::Release);
        for handle in self.handles.drain(..) {
            // A thread that panicked has already printed its message.
            let _ = handle.join();
        }
    }
}

/// Runs one worker. Each thread creates its own ring, which belongs to it; without io_uring it uses epoll.
fn run_worker(number: usize, share: Range<usize>, shared: Arc<Shared>, reports: Sender<Interval>) {
    let uring = if shared.plan.epoll { Err(io::ErrorKind::Unsupported.into()) } else { Uring::new() };
    let outcome = match uring {
        Ok(uring) => Worker::new(number, share, shared, uring, reports.clone()).run(),
        Err(_) => Epoll::new().and_then(|epoll| Worker::new(number, share, shared, epoll, reports.clone()).run()),
    };
    if let Err(error) = outcome {
        let mut interval = Interval { worker: number, ..Interval::default() };
        interval.counts.fault(format!("A thread of the load generator ended early: {error}."), 1);
        let _ = reports.send(interval);
    }
}

/// The first line of a child's input.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    plan: Plan,
    connections: Range<usize>,
    threads: usize,
}

/// A child process of the crew.
struct Process {
    child: Child,
    orders: ChildStdin,
}

impl Process {
    fn start(
        plan: &Plan,
        connections: Range<usize>,
        first_worker: usize,
        threads: usize,
        mut program: Command,
        reports: Sender<Interval>,
    ) -> io::Result<Self> {
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(orders), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut process = Self { child, orders };
        process.write(&Order { plan: plan.clone(), connections, threads })?;
        thread::Builder::new().name("bench-reports".to_owned()).spawn(move || {
            let mut closes = vec![false; threads];
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(mut interval) = serde_json::from_str::<Interval>(&line) {
                    if let Some(closes) = closes.get_mut(interval.worker) {
                        *closes |= interval.stage == Stage::Close;
                    }
                    interval.worker += first_worker;
                    let _ = reports.send(interval);
                }
            }
            // Reports the end of a child that died, because the run waits for a report of each worker.
            for (worker, _) in closes.iter().enumerate().filter(|(_, closes)| !**closes) {
                let mut interval =
                    Interval { worker: first_worker + worker, stage: Stage::Close, ..Interval::default() };
                interval.counts.fault("A process of the load generator ended early.", 1);
                let _ = reports.send(interval);
            }
        })?;
        Ok(process)
    }

    fn write(&mut self, order: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(order)?;
        writeln!(self.orders, "{line}")
    }

    /// Moves the child on to a stage. A write to a dead child fails silently: what it did not do is counted as missing.
    fn go_to(&mut self, stage: Stage) {
        let _ = self.write(&stage);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.go_to(Stage::Close);
        let _ = self.child.wait();
    }
}

/// Runs a child process of a crew: reads orders from `input` and writes reports to `output`, until the run is over or
/// the parent has died.
pub fn work_for_parent(input: impl BufRead + Send + 'static, mut output: impl Write) -> Result<(), CrewError> {
    let mut orders = input.lines();
    let first = orders.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))??;
    let Order { mut plan, connections, threads } = serde_json::from_str(&first).map_err(io::Error::from)?;
    crate::reactor::raise_descriptor_limit();
    plan.opening_max = (plan.opening_max * connections.len() / plan.connections.max(1)).max(1);
    plan.threads = threads;
    let (sender, reports) = channel();
    let crew = Threads::start(Arc::new(plan), connections, sender)?;
    let shared = Arc::clone(&crew.shared);
    thread::Builder::new().name("bench-orders".to_owned()).spawn(move || {
        for line in orders.map_while(Result::ok) {
            if let Ok(stage) = serde_json::from_str::<Stage>(&line) {
                shared.stage.store(stage as u8, Ordering::Release);
            }
        }
        // The parent has died, or has closed the pipe.
        shared.stage.store(Stage::Close as u8, Ordering::Release);
    })?;
    for interval in reports {
        let line = serde_json::to_string(&interval).map_err(io::Error::from)?;
        if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
            break;
        }
    }
    Ok(())
}
