//! The parts that tests of programs share: a program gets no setting from outside, and ends with its test.
//!
//! Invariant: each program begins with the default effect of every signal, whatever the tests were started with: the
//! background jobs of a script ignore SIGINT, and programs under nohup ignore SIGHUP.

pub mod client;
pub mod http;
pub mod run;
pub mod sink;
pub mod thread;
pub mod withheld;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Signals that tests send to programs, or that end them.
const SIGNALS: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGPWR,
];

/// Keeps environment settings and ignored signals from a program, and makes it end with the thread that starts it,
/// whatever happens to the test.
pub fn isolate(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGSOCK_")) {
        command.env_remove(name);
    }
    let begin = || {
        for signal in SIGNALS {
            // SAFETY: takes integers; SIG_DFL names no function.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // SAFETY: takes integers and touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock taken.
    unsafe { command.pre_exec(begin) };
}

/// Runs a test on each reactor that this host allows, all at once, since it mostly waits.
pub fn on_each_reactor(test: impl Fn(&str) + Sync) {
    let has_uring = ringsock::reactor::uring::Uring::new().is_ok();
    std::thread::scope(|scope| {
        if has_uring {
            scope.spawn(|| test("uring"));
        }
        test("epoll");
    });
}

/// A running program, ended when it is dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `ringsock serve`. Returns once it is ready, with its output until then.
pub fn serve(flags: &[&str]) -> (Process, String) {
    serve_prepared(flags, |_| {})
}

/// Starts a prepared command in the same way.
pub fn serve_prepared(flags: &[&str], prepare: impl FnOnce(&mut Command)) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut command);
    prepare(&mut command);
    command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut output = BufReader::new(process.0.stdout.take().unwrap());
    let (mut banner, mut line) = (String::new(), String::new());
    while !line.contains("ready on ws") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it ended after\n{banner}");
        banner.push_str(&line);
    }
    (process, banner)
}

/// Returns the part of the banner between these two texts.
pub fn between(banner: &str, from: &str, to: &str) -> String {
    let (_, rest) = banner.split_once(from).unwrap_or_else(|| panic!("no {from} in\n{banner}"));
    rest.split(to).next().unwrap().to_owned()
}
