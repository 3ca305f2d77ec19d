//! A run of `ringsock`: its output, and its end.

use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Process, isolate};

/// The patience for a start or a refusal, which takes some 50 ms; the rest is for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns an unused address of this host, so that nobody takes its ports while they are free for a moment.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 8 + NEXT.fetch_add(1, Ordering::Relaxed) % 8;
    let [_, second, third, fourth] = number.to_be_bytes();
    // The lower half of the network is for addresses that tests name.
    Ipv4Addr::new(127, second | 128, third, fourth)
}

/// Returns the program, with no setting from outside, and without metrics, since several run at once.
pub fn ringsock(arguments: &[&str]) -> Command {
    let mut command = isolated(Command::new(env!("CARGO_BIN_EXE_ringsock")), arguments);
    command.env("RINGSOCK_ADMIN_LISTEN", "none");
    command
}

pub fn isolated(mut command: Command, arguments: &[&str]) -> Command {
    isolate(&mut command);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running program, ended when it is dropped.
pub struct Run {
    pub process: Process,
    pub output: Receiver<String>,
    pub errors: Receiver<String>,
}

impl Run {
    pub fn new(mut command: Command) -> Self {
        let mut process = Process(command.spawn().unwrap());
        let output = lines(process.0.stdout.take().unwrap());
        let errors = lines(process.0.stderr.take().unwrap());
        Self { process, output, errors }
    }

    /// Returns its output up to the line that says that it is ready.
    pub fn banner(&self) -> String {
        let mut banner = String::new();
        while !banner.contains("ringsock is ready on ") {
            let Ok(line) = self.output.recv_timeout(PATIENCE) else {
                panic!("it is not ready, but said:\n{banner}{}", self.errors.iter().collect::<String>());
            };
            banner.push_str(&line);
        }
        banner
    }

    /// Returns the address that it is ready on.
    pub fn address(&self) -> String {
        let banner = self.banner();
        let (_, address) = banner.split_once("ws://").unwrap();
        address.split('/').next().unwrap().to_owned()
    }

    /// Returns its whole log, and its end. The lines logged before the banner are there: both were written by then, but
    /// no more is known about when each arrives here.
    pub fn log(self) -> Vec<String> {
        drop(self.process);
        self.errors.iter().collect()
    }

    /// Returns the message with which it refuses to start.
    pub fn refusal(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.process.0.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it did not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        assert!(!status.success(), "it refused with {status}");
        assert_eq!(self.output.iter().collect::<String>(), "", "a refusal is no output");
        self.errors.iter().collect()
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line + "\n")));
    });
    receiver
}
