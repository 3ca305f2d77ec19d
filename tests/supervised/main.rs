//! Tests of the program under a supervisor: its end, and its notifications.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod client;
mod drain;
mod notify;
#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;
mod reload;
mod signals;
mod terminal;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use program::{Process, isolate, on_each_reactor};

/// The patience for a step of some milliseconds, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time within which a further signal counts as a part of the first.
const SAME_EVENT: Duration = Duration::from_millis(50);

/// A running `ringsock serve`, ended when it is dropped.
struct Server {
    process: Process,
    /// Its address, as `address:port`.
    address: String,
    /// The lines on its standard output after that which says that it is ready.
    output: Receiver<String>,
    /// The lines on its standard error.
    log: Receiver<String>,
}

impl Server {
    /// Starts it with these flags and waits until it is ready.
    fn start(reactor: &str, flags: &[&str]) -> Self {
        let mut command = ringsock(&["--listen", "127.0.0.1:0", "--reactor", reactor]);
        command.args(flags);
        Self::run(command)
    }

    /// Runs a command that starts it and waits until it is ready.
    fn run(command: Command) -> Self {
        Self::run_and_see(command).0
    }

    /// Runs such a command, and also returns its output before the line that says that it is ready.
    fn run_and_see(mut command: Command) -> (Self, String) {
        let mut process = Process(command.spawn().unwrap());
        let output = lines(process.0.stdout.take().unwrap());
        let log = process.0.stderr.take().map_or_else(|| channel().1, lines);
        let mut seen = String::new();
        loop {
            match output.recv_timeout(PATIENCE) {
                Ok(line) => match line.split_once("ringsock is ready on ws://") {
                    Some((_, rest)) => {
                        let address = rest.split('/').next().unwrap().to_owned();
                        return (Self { process, address, output, log }, seen);
                    }
                    None => seen.push_str(&line),
                },
                Err(_) => panic!("it is not ready, but said:\n{seen}{}", log.try_iter().collect::<String>()),
            }
        }
    }

    fn id(&self) -> i32 {
        self.process.0.id() as i32
    }

    /// Waits for a line of its log that contains this text, and returns that line.
    fn await_log(&self, words: &str) -> String {
        await_line(&self.log, words)
    }

    /// Waits for a line of its output that contains this text, and returns that line.
    fn await_output(&self, words: &str) -> String {
        await_line(&self.output, words)
    }

    fn signal(&self, signal: i32) {
        // SAFETY: takes integers; the process is a child that was not waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.id(), signal) }, 0);
    }

    /// Waits for its end.
    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("it did not end, but said:\n{}", self.log.try_iter().collect::<String>());
    }
}

fn await_line(lines: &Receiver<String>, words: &str) -> String {
    let end = Instant::now() + PATIENCE;
    let mut seen = String::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(words) => return line,
            Ok(line) => seen.push_str(&line),
            Err(_) => panic!("it never said {words:?}, but\n{seen}"),
        }
    }
}

/// Returns `ringsock serve` on two cores, without settings from outside and without metrics.
fn ringsock(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut command);
    command.args(["serve", "--admin-listen", "none", "--cores", "2"]).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line + "\n")));
    });
    receiver
}
