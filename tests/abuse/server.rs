//! A server in a process of its own, so that its memory, CPU time, descriptors and exit code can be measured.
//!
//! Ends when its value is dropped, and with the thread that started it, whatever happens to the test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use ringsock::Limits;

use crate::attacker::Peer;
use crate::sink::set_limit;
use crate::usage::{Spent, Usage};
use crate::{is_full_scale, misbehaving, patience, table};

/// The time without a change after which nothing changes any more: far longer than any step of a start or an end.
const AT_REST: Duration = Duration::from_millis(300);

/// The number of sleeps after which a core has finished its start.
const SLEEPS_AT_REST: u64 = 2;

/// Settings that limit how long a server waits for its clients. Below full scale it waits for as long as a test does,
/// unless the attack tests them: an attacker may get no processor for a while.
const PATIENT: [&str; 7] = [
    "RINGSOCK_TIMEOUTS__HANDSHAKE_TIMEOUT_MS",
    "RINGSOCK_TIMEOUTS__ASSEMBLY_TIMEOUT_MS",
    "RINGSOCK_TIMEOUTS__SEND_TIMEOUT_MS",
    "RINGSOCK_TIMEOUTS__CLOSE_TIMEOUT_MS",
    "RINGSOCK_DRAIN__TIMEOUT_MS",
    "RINGSOCK_CORES__STALL_TIMEOUT_MS",
    "RINGSOCK_TOPICS__OUTBOX_AGE_MS",
];

/// Signals that an attack may send to a server.
const SIGNALS: [i32; 6] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// Longer than the server caches a text of its metrics.
pub const STALE: Duration = Duration::from_millis(150);

pub struct Server {
    process: Child,
    pub address: SocketAddr,
    log: Receiver<String>,
    seen: String,
    admin: SocketAddr,
    before: Usage,
}

impl Server {
    /// Starts `ringsock serve` on two cores.
    pub fn start(reactor: &str, flags: &[&str]) -> Self {
        Self::serve(reactor, "2", flags, None)
    }

    /// Starts it on one core.
    pub fn start_on_one_core(reactor: &str, flags: &[&str]) -> Self {
        Self::serve(reactor, "1", flags, None)
    }

    /// Starts it with so many descriptors.
    pub fn start_with_descriptors(reactor: &str, flags: &[&str], descriptors: Option<u64>) -> Self {
        Self::serve(reactor, "2", flags, descriptors)
    }

    /// Starts it at this address.
    pub fn start_at(reactor: &str, address: &str) -> Self {
        Self::run(Self::command_at(address, reactor, "2", &[]), None, Stdio::piped())
    }

    /// Starts it at an address that another server has, too.
    pub fn start_beside(reactor: &str, address: SocketAddr) -> Self {
        let flags = ["--set", "listen.share-port=true"];
        Self::run(Self::command_at(&address.to_string(), reactor, "2", &flags), None, Stdio::piped())
    }

    /// Starts it with a file of settings, which has its addresses.
    pub fn start_with_file(reactor: &str, file: &str) -> Self {
        Self::run(Self::command_anywhere(reactor, "2", &["--config", file]), None, Stdio::piped())
    }

    /// Starts it with its log written to `log`, including the messages at debug level.
    pub fn start_with_log(reactor: &str, log: Stdio) -> Self {
        Self::run(Self::command(reactor, "2", &["--log", "debug"]), None, log)
    }

    /// Starts it with whichever reactor works, on a host that withholds something.
    pub fn start_withheld(withhold: impl FnOnce(&mut Command)) -> Self {
        let mut command = Self::command("auto", "2", &[]);
        withhold(&mut command);
        Self::run(command, None, Stdio::piped())
    }

    fn serve(reactor: &str, cores: &str, flags: &[&str], descriptors: Option<u64>) -> Self {
        Self::run(Self::command(reactor, cores, flags), descriptors, Stdio::piped())
    }

    fn command(reactor: &str, cores: &str, flags: &[&str]) -> Command {
        Self::command_at("127.0.0.1:0", reactor, cores, flags)
    }

    fn command_at(address: &str, reactor: &str, cores: &str, flags: &[&str]) -> Command {
        let mut command = Self::command_anywhere(reactor, cores, flags);
        command.args(["--listen", address]);
        command
    }

    /// Returns a command whose flags or settings say where it listens.
    fn command_anywhere(reactor: &str, cores: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGSOCK_")) {
            command.env_remove(name);
        }
        if !is_full_scale() {
            // A row's flags override the environment.
            let patience_ms = patience().as_millis().to_string();
            command.envs(PATIENT.map(|name| (name, &patience_ms)));
            command.env("RINGSOCK_PING_INTERVAL_MS", "0").env("RINGSOCK_DEAD_PEER_TIMEOUT_MS", "0");
        }
        // The counters are read at the admin listener.
        command.args(["serve", "--admin-listen", "127.0.0.1:0", "--cores", cores]);
        command.args(["--reactor", reactor]).args(flags);
        command
    }

    /// Starts this test's own program with the handler of [`misbehaving`].
    pub fn misbehaving(reactor: &str, stall_timeout_ms: u64, descriptors: Option<u64>) -> Self {
        Self::own(reactor, stall_timeout_ms, handshake_timeout_ms(), 2, descriptors)
    }

    /// Starts that with a shorter handshake timeout.
    pub fn judging(reactor: &str, handshake_timeout_ms: u64) -> Self {
        Self::own(reactor, 0, handshake_timeout_ms, 2, None)
    }

    /// Starts that on one core.
    pub fn on_one_core(reactor: &str) -> Self {
        Self::own(reactor, 0, handshake_timeout_ms(), 1, None)
    }

    fn own(
        reactor: &str,
        stall_timeout_ms: u64,
        handshake_timeout_ms: u64,
        cores: usize,
        descriptors: Option<u64>,
    ) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", misbehaving::TEST, "--nocapture"]);
        command.env(misbehaving::VARIABLE, format!("{reactor} {stall_timeout_ms} {handshake_timeout_ms} {cores}"));
        Self::run(command, descriptors, Stdio::piped())
    }

    fn run(mut command: Command, descriptors: Option<u64>, log: Stdio) -> Self {
        command.env_remove("RINGSOCK_CONFIG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        // SAFETY: between fork and exec `prepare` only makes system calls; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || prepare(descriptors)) };
        let mut process = command.spawn().unwrap();
        let (sender, log) = channel();
        if let Some(errors) = process.stderr.take() {
            let errors = BufReader::new(errors);
            thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        }
        match await_addresses(&mut process) {
            Some((admin, address)) => {
                let before = Usage::default();
                let mut server = Self { process, address, log, seen: String::new(), admin, before };
                server.await_rest();
                server.before = server.usage();
                server
            }
            None => {
                let _ = process.kill();
                panic!("the server did not start: {}", log.iter().collect::<Vec<_>>().join("\n"));
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Withholds descriptors from it for so long, while clients wait at both of its listeners. On epoll each core that
    /// fails to accept logs that ten times a second; the admin listener is always on epoll.
    pub fn log_that_it_cannot_accept(&self, how_long: Duration) {
        let limit = set_limit(self.pid(), libc::RLIMIT_NOFILE, 3);
        let waiting: Vec<Peer> = [self.address, self.admin].into_iter().cycle().take(16).map(Peer::connect).collect();
        thread::sleep(how_long);
        set_limit(self.pid(), libc::RLIMIT_NOFILE, limit);
        drop(waiting);
    }

    /// Returns the number of open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Returns the number of io_uring rings among them.
    pub fn rings(&self) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let names = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
        names.filter(|name| name.to_string_lossy().contains("io_uring")).count()
    }

    /// Returns the resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Returns the CPU time of its threads, including the kernel, in nanoseconds, which is more exact than `stat`.
    pub fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let spent = threads.map(|thread| {
            let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(spent.sum())
    }

    /// Returns the number of open descriptors before any client came.
    pub fn descriptors_before(&self) -> usize {
        self.before.descriptors
    }

    /// Returns the most resident memory since [`Server::forget_peak`], in bytes.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Resets the peak of resident memory (proc(5), `clear_refs`).
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    /// Returns the clocks of its threads, to be read without searching for them again.
    pub fn clocks(&self) -> Vec<fs::File> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        threads.filter_map(|thread| fs::File::open(thread.ok()?.path().join("schedstat")).ok()).collect()
    }

    /// Returns everything that it uses.
    fn usage(&self) -> Usage {
        let counters = self.counters();
        // The connection that asked must have ended.
        self.await_descriptors(self.before.descriptors);
        Usage { memory: self.memory(), descriptors: self.descriptors(), cpu: self.cpu(), counters }
    }

    /// Returns its counters from `/metrics`.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let end = Instant::now() + patience();
        loop {
            let mut peer = Peer::connect(self.admin);
            peer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let counters: BTreeMap<_, _> = peer.read_body().unwrap_or_default().lines().filter_map(counter).collect();
            // A core that has had no descriptors may still turn a client away.
            if !counters.is_empty() || Instant::now() > end {
                return counters;
            }
        }
    }

    /// Waits until it has opened all descriptors it needs: a core opens some after the server is ready, as soon as it
    /// gets a processor.
    fn await_rest(&mut self) {
        let (mut since, mut slept) = (Instant::now(), self.sleeps());
        let end = since + patience();
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
            let (now, sleeps) = (self.descriptors(), self.sleeps());
            let are_settled = slept.iter().zip(&sleeps).all(|(before, now)| *now >= before + SLEEPS_AT_REST);
            if now != self.before.descriptors || sleeps.len() != slept.len() {
                (self.before.descriptors, since, slept) = (now, Instant::now(), sleeps);
            } else if are_settled && since.elapsed() >= AT_REST {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    /// Returns how often each of its cores has slept, including the background core.
    fn sleeps(&self) -> Vec<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let sleeps = tasks.filter_map(|task| {
            let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let thread = value("Name:")?;
            let is_core = thread.starts_with("ringsock-core") || thread.starts_with("ringsock-back");
            is_core.then(|| value("voluntary_ctxt_switches:")?.parse().ok()).flatten()
        });
        sleeps.collect()
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits until it has as many open descriptors as before. Returns the number if it still has others.
    pub fn await_descriptors(&self, before: usize) -> usize {
        let end = Instant::now() + patience();
        while self.descriptors() != before && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        self.descriptors()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s $0 $1", name, &pid]).status().unwrap().success());
    }

    /// Stops all of its threads, until it is sent CONT.
    pub fn pause(&self) {
        self.signal("STOP");
        let end = Instant::now() + patience();
        let is_stopped = |status: String| status.lines().any(|line| line.starts_with("State:\tT"));
        let tasks = || fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().map(|task| task.unwrap().path());
        while !tasks().all(|task| fs::read_to_string(task.join("status")).is_ok_and(is_stopped)) {
            assert!(Instant::now() < end, "the server does not stop");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for its end. Returns how it ended, and after how long.
    pub fn await_end(&mut self) -> (ExitStatus, Duration) {
        self.await_exit(patience().max(Duration::from_secs(60))).expect("it still runs")
    }

    /// Returns how it ended, and after how long; `None` if it still runs.
    pub fn await_exit(&mut self, longest: Duration) -> Option<(ExitStatus, Duration)> {
        let begun = Instant::now();
        while begun.elapsed() < longest {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some((status, begun.elapsed()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Returns its log since the last call, to the end, since it has ended.
    pub fn log(&mut self) -> String {
        let lines = self.log.iter().collect::<Vec<_>>().join("\n");
        self.seen.push_str(&lines);
        lines
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let runs = self.process.try_wait().is_ok_and(|ended| ended.is_none());
        let after = runs.then(|| {
            self.await_descriptors(self.before.descriptors);
            let end = Instant::now() + patience();
            // A connection that has just ended is counted a moment later.
            loop {
                thread::sleep(STALE);
                let after = self.usage();
                if after.uncounted().is_empty() || Instant::now() > end {
                    break after;
                }
            }
        });
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.log();
        let panics = self.seen.matches("panicked at").count();
        table::spent(Spent::new(std::mem::take(&mut self.before), after, panics));
    }
}

/// Parses a line of Prometheus' text: the name and labels of a counter, and its count.
fn counter(line: &str) -> Option<(String, u64)> {
    let (name, count) = line.strip_prefix("ringsock_")?.rsplit_once(' ')?;
    let (name, labels) = name.split_once("_total")?;
    Some((format!("{name}{labels}"), count.parse().ok()?))
}

/// Returns the handshake timeout of a misbehaving server, unless the attack tests it.
fn handshake_timeout_ms() -> u64 {
    if is_full_scale() { Limits::default().handshake_timeout_ms } else { patience().as_millis() as u64 }
}

/// Returns its admin address and its address, from the lines up to the one that says that it is ready.
fn await_addresses(process: &mut Child) -> Option<(SocketAddr, SocketAddr)> {
    let mut output = BufReader::new(process.stdout.take()?);
    let (sender, found) = channel();
    thread::spawn(move || {
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let mut address = |of: &str, before: &str| {
            let mut said = lines.by_ref().filter(|line| line.contains(of));
            said.find_map(|line| line.split_once(before)?.1.split('/').next()?.parse::<SocketAddr>().ok())
        };
        let addresses = address("metrics", "http://").zip(address("ready on", "ws://"));
        let _ = sender.send(addresses);
        // Reads on, so that the server never waits for a reader.
        output.lines().for_each(drop);
    });
    found.recv_timeout(patience()).ok().flatten()
}

/// Prepares the child before its program starts: it ends with the thread that started it, its descriptors are limited,
/// and its memory comes in small pages, since the first byte in a huge one would count for 2 MiB. Signals have their
/// default effect, even where the tests run under nohup or in the background of a script.
fn prepare(descriptors: Option<u64>) -> std::io::Result<()> {
    for signal in SIGNALS {
        // SAFETY: takes integers; SIG_DFL names no function.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: takes integers and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: as above; the unused arguments must be zero.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if let Some(limit) = descriptors {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the kernel reads one rlimit struct.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}
