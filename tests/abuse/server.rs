//! A server in a process of its own, so that its memory, CPU, descriptors and exit can be measured from outside.
//!
//! It ends with the value that stands for it, and with the thread that started it, whatever becomes of the test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::misbehaving;

/// A start takes some 50 ms; the rest is for a machine that is busy with other things.
const START_MAX: Duration = Duration::from_secs(20);

/// What descriptors and memory may take to settle: several of the server's 50 ms ticks and 500 ms sleeps.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Without a change for so long, nothing is going to change: far longer than any step of a start or an end.
const AT_REST: Duration = Duration::from_millis(300);

pub struct Server {
    process: Child,
    pub address: SocketAddr,
    log: Receiver<String>,
}

impl Server {
    /// `ringsock serve` on two cores.
    pub fn start(reactor: &str, flags: &[&str]) -> Self {
        Self::start_with_descriptors(reactor, flags, None)
    }

    /// The same with so many descriptors.
    pub fn start_with_descriptors(reactor: &str, flags: &[&str], descriptors: Option<u64>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "none", "--cores", "2"]);
        command.args(["--reactor", reactor]).args(flags);
        Self::run(command, descriptors)
    }

    /// This test's own program with the handler of [`misbehaving`].
    pub fn misbehaving(reactor: &str, stall_timeout_ms: u64, descriptors: Option<u64>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", misbehaving::TEST, "--nocapture"]);
        command.env(misbehaving::VARIABLE, format!("{reactor} {stall_timeout_ms}"));
        Self::run(command, descriptors)
    }

    fn run(mut command: Command, descriptors: Option<u64>) -> Self {
        command.env_remove("RINGSOCK_CONFIG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: between fork and exec `prepare` only makes system calls; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || prepare(descriptors)) };
        let mut process = command.spawn().unwrap();
        let (sender, log) = channel();
        let errors = BufReader::new(process.stderr.take().unwrap());
        thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let address = await_address(&mut process);
        match address {
            Some(address) => Self { process, address, log },
            None => {
                let _ = process.kill();
                panic!("the server did not start: {}", log.iter().collect::<Vec<_>>().join("\n"));
            }
        }
    }

    /// Descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Memory it occupies, in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// CPU time its threads have used, kernel included; in nanoseconds in the kernel's books, unlike `stat`.
    pub fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let spent = threads.map(|thread| {
            let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(spent.sum())
    }

    /// Descriptors it has open once it has opened all it needs: a core opens some after the server has said that it is
    /// ready.
    pub fn descriptors_at_rest(&self) -> usize {
        let mut seen = (self.descriptors(), Instant::now());
        while seen.1.elapsed() < AT_REST {
            thread::sleep(Duration::from_millis(20));
            let now = self.descriptors();
            if now != seen.0 {
                seen = (now, Instant::now());
            }
        }
        seen.0
    }

    /// Waits until it has as many descriptors open as before; gives the number when it still has others.
    pub fn await_descriptors(&self, before: usize) -> usize {
        let end = Instant::now() + SETTLE_MAX;
        while self.descriptors() != before && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        self.descriptors()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s $0 $1", name, &pid]).status().unwrap().success());
    }

    /// How it ended, and after how long; `None` if it still runs.
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

    /// What it has logged since it was last asked.
    pub fn log(&self) -> String {
        self.log.try_iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address in the line that says that it is ready.
fn await_address(process: &mut Child) -> Option<SocketAddr> {
    let mut output = BufReader::new(process.stdout.take()?);
    let (sender, found) = channel();
    thread::spawn(move || {
        let ready = output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("ready on ws://")?;
            address.split('/').next()?.parse().ok()
        });
        let _ = sender.send(ready);
        // Read on, so that it never waits for a reader.
        output.lines().for_each(drop);
    });
    found.recv_timeout(START_MAX).ok().flatten()
}

/// In the child, before its program: ends it with the thread that started it, limits its descriptors, and gives it
/// memory in small pages, since the first byte in a huge one would count for 2 MiB.
fn prepare(descriptors: Option<u64>) -> std::io::Result<()> {
    // SAFETY: takes integers and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: as above; the unused arguments have to be zero.
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
