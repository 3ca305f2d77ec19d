//! Those who do the work of a run: threads of this process or, where its descriptors do not suffice, processes of their
//! own, each with such threads.
//!
//! A process is told what to do in lines on its input, and says what it did in lines on its output; both are JSON.
//! Invariant: whoever is left when a crew is dropped, or when its parent dies, closes its connections and ends.

use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::handshake;
use super::plan::{Mode, Pace, Plan};
use super::rounds::Rounds;
use super::tally::{Interval, Stage};
use super::worker::{Shared, Worker};
use crate::reactor::epoll::Epoll;
use crate::reactor::uring::Uring;

/// Descriptors that are no connections.
const DESCRIPTORS_SPARE: usize = 128;

/// Why a run could not go on. The host is at fault, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrewError {
    /// No thread, no process or no ring could be had.
    #[error("The load generator could not start: {0}.")]
    Start(#[from] io::Error),
    /// What the plan says cannot be sent.
    #[error("The request cannot be sent. {0}")]
    Request(String),
    /// A fan-out in a closed loop whose parts do not hear each other.
    #[error(
        "{connections} connections need {processes} processes, and those cannot wait for each other's messages. Give --rate, or at most {per_process} connections."
    )]
    FanoutAcrossProcesses {
        /// What was asked for.
        connections: usize,
        /// How many are needed.
        processes: usize,
        /// What one of them can hold.
        per_process: usize,
    },
}

/// All workers of a run.
pub(super) struct Crew {
    hands: Hands,
    told: Receiver<Interval>,
    workers: usize,
}

enum Hands {
    Threads(Threads),
    Processes(Vec<Process>),
}

/// How many connections one process can hold, with as many descriptors as it may have.
pub fn connections_per_process() -> usize {
    crate::reactor::raise_descriptor_limit().saturating_sub(DESCRIPTORS_SPARE).max(1)
}

impl Crew {
    /// Begins to open connections. `program` starts a process that calls [`work_for_parent`].
    pub fn start(plan: Arc<Plan>, program: &mut dyn FnMut() -> io::Result<Command>) -> Result<Self, CrewError> {
        let per_process = connections_per_process();
        let processes = plan.connections.div_ceil(per_process);
        let (sender, told) = channel();
        let closed_loop = matches!(plan.pace, Pace::InFlight(_));
        if processes > 1 && plan.mode == Mode::Fanout && closed_loop {
            return Err(CrewError::FanoutAcrossProcesses { connections: plan.connections, processes, per_process });
        }
        if processes == 1 {
            let all = 0..plan.connections;
            let workers = plan.threads.min(all.len());
            return Ok(Self { hands: Hands::Threads(Threads::start(plan, all, sender)?), told, workers });
        }
        let threads = plan.threads.div_ceil(processes);
        let mut hands = Vec::with_capacity(processes);
        for (number, connections) in shares(0..plan.connections, processes).enumerate() {
            hands.push(Process::start(&plan, connections, number * threads, threads, program()?, sender.clone())?);
        }
        Ok(Self { hands: Hands::Processes(hands), told, workers: processes * threads })
    }

    /// How many workers there are; their numbers are below.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// What they tell; ends once all of them have ended.
    pub fn told(&self) -> &Receiver<Interval> {
        &self.told
    }

    /// Has all of them go on to that stage.
    pub fn go_to(&mut self, stage: Stage) {
        match &mut self.hands {
            Hands::Threads(threads) => threads.shared.stage.store(stage as u8, Ordering::Release),
            Hands::Processes(processes) => processes.iter_mut().for_each(|process| process.go_to(stage)),
        }
    }
}

/// Cuts a range into parts of nearly the same length.
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
    fn start(plan: Arc<Plan>, connections: Range<usize>, told: Sender<Interval>) -> Result<Self, CrewError> {
        let (request, handshake) = handshake::request(&plan).map_err(|error| CrewError::Request(error.to_string()))?;
        let shared = Arc::new(Shared {
            rounds: Arc::new(Rounds::new(&plan, connections.len())),
            plan: Arc::clone(&plan),
            request,
            handshake,
            stage: AtomicU8::new(Stage::Open as u8),
            clock: Clock::new(),
        });
        let mut handles = Vec::new();
        let threads = plan.threads.min(connections.len());
        for (number, share) in shares(connections, threads).enumerate() {
            let (shared, told) = (Arc::clone(&shared), told.clone());
            let name = format!("bench-{number}");
            handles.push(thread::Builder::new().name(name).spawn(move || work(number, share, shared, told))?);
        }
        Ok(Self { shared, handles })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stage.store(Stage::Close as u8, Ordering::Release);
        for handle in self.handles.drain(..) {
            // One that panicked has said so.
            let _ = handle.join();
        }
    }
}

/// A ring belongs to the thread that made it, so each makes its own; where the host refuses io_uring, epoll does.
fn work(number: usize, share: Range<usize>, shared: Arc<Shared>, told: Sender<Interval>) {
    let uring = if shared.plan.epoll { Err(io::ErrorKind::Unsupported.into()) } else { Uring::new() };
    let outcome = match uring {
        Ok(uring) => Worker::new(number, share, shared, uring, told.clone()).run(),
        Err(_) => Epoll::new().and_then(|epoll| Worker::new(number, share, shared, epoll, told.clone()).run()),
    };
    if let Err(error) = outcome {
        let mut interval = Interval { worker: number, ..Interval::default() };
        interval.counts.fault(format!("A thread of the load generator ended: {error}."), 1);
        let _ = told.send(interval);
    }
}

/// The first line on a process's input.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    plan: Plan,
    connections: Range<usize>,
    threads: usize,
}

/// A process of the crew.
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
        told: Sender<Interval>,
    ) -> io::Result<Self> {
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(orders), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut process = Self { child, orders };
        process.write(&Order { plan: plan.clone(), connections, threads })?;
        thread::Builder::new().name("bench-told".to_owned()).spawn(move || {
            let mut closes = vec![false; threads];
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(mut interval) = serde_json::from_str::<Interval>(&line) {
                    if let Some(closes) = closes.get_mut(interval.worker) {
                        *closes |= interval.stage == Stage::Close;
                    }
                    interval.worker += first_worker;
                    let _ = told.send(interval);
                }
            }
            // Nobody else would say that it is gone, and a run waits for what each worker tells.
            for (worker, _) in closes.iter().enumerate().filter(|(_, closes)| !**closes) {
                let mut interval =
                    Interval { worker: first_worker + worker, stage: Stage::Close, ..Interval::default() };
                interval.counts.fault("A process of the load generator ended before its time.", 1);
                let _ = told.send(interval);
            }
        })?;
        Ok(process)
    }

    fn write(&mut self, order: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(order)?;
        writeln!(self.orders, "{line}")
    }

    /// One that is gone cannot be told; what it did not do is counted as missing.
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

/// What a process of a crew does: reads its orders from `input`, and says on `output` what it did, until it is over or the
/// parent is gone.
pub fn work_for_parent(input: impl BufRead + Send + 'static, mut output: impl Write) -> Result<(), CrewError> {
    let mut orders = input.lines();
    let first = orders.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))??;
    let Order { mut plan, connections, threads } = serde_json::from_str(&first).map_err(io::Error::from)?;
    crate::reactor::raise_descriptor_limit();
    plan.opening_max = (plan.opening_max * connections.len() / plan.connections.max(1)).max(1);
    plan.threads = threads;
    let (sender, told) = channel();
    let crew = Threads::start(Arc::new(plan), connections, sender)?;
    let shared = Arc::clone(&crew.shared);
    thread::Builder::new().name("bench-orders".to_owned()).spawn(move || {
        for line in orders.map_while(Result::ok) {
            if let Ok(stage) = serde_json::from_str::<Stage>(&line) {
                shared.stage.store(stage as u8, Ordering::Release);
            }
        }
        // The parent is gone, or has nothing more to say.
        shared.stage.store(Stage::Close as u8, Ordering::Release);
    })?;
    for interval in told {
        let line = serde_json::to_string(&interval).map_err(io::Error::from)?;
        if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
            break;
        }
    }
    Ok(())
}
