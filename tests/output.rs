//! Tests of the commands that print and end: with a reader that leaves, a full disk, and a terminal that a person has
//! stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read, Write, pipe};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use program::sink::{Fate, Sink};
use program::{Process, between, isolate, serve};
use serde_json::Value;

/// Commands that print something and end.
const REPORTS: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["serve", "--help"],
    &["bench", "--help"],
    &["tune", "--connections", "10"],
    &["tune", "--connections", "10", "--json"],
    &["tune", "--connections", "10", "--write-sysctl", "-"],
];

fn ringsock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut command);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Returns a pipe whose reader has gone.
fn gone() -> Stdio {
    pipe().unwrap().1.into()
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{name}"))
}

fn server() -> (Process, String) {
    let (process, banner) = serve(&["--admin-listen", "none", "--cores", "1"]);
    let url = format!("ws://{}/echo", between(&banner, "ready on ws://", "/echo"));
    (process, url)
}

fn short_bench(url: &str) -> Command {
    ringsock(&["bench", "echo", "--url", url, "-c", "2", "--duration", "0.5", "--warm-up", "0.1"])
}

fn said(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

const UNPRINTED: &str = "ringsock: Standard output cannot be written: No space left on device (os error 28). Free space \
                         there, or redirect it.\n";

#[test]
fn a_reader_that_has_seen_enough_changes_no_exit_code() {
    for arguments in REPORTS {
        let read = ringsock(arguments).output().unwrap();
        let unread = ringsock(arguments).stdout(gone()).output().unwrap();
        assert_eq!((unread.status, said(&unread)), (read.status, said(&read)), "{arguments:?}");
    }
}

#[test]
fn a_report_for_which_there_is_no_room_is_a_failure_in_one_sentence() {
    for arguments in REPORTS {
        let output = ringsock(arguments).stdout(full()).output().unwrap();
        let code = if arguments[0] == "tune" { 2 } else { 1 };
        assert_eq!((output.status.code(), said(&output)), (Some(code), UNPRINTED), "{arguments:?}");
    }
}

#[test]
fn a_program_that_cannot_begin_ends_though_nobody_reads_why() {
    let sink = Sink::spoilt(Fate::Unread, file("unread"));
    for (arguments, code) in [
        (&["serve", "--nonsense"][..], 2),
        (&["serve", "--set", "limits.max-headers=1000"], 2),
        (&["serve", "--config", "no/such/file.toml"], 1),
        (&["bench", "echo", "--url", "wss://localhost"], 1),
        (&["tune", "--config", "no/such/file.toml"], 2),
    ] {
        let status = ringsock(arguments).stderr(sink.stdio()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_bench_without_a_reader_still_writes_its_files() {
    let (_process, url) = server();
    let (json, html) = (file("bench.json"), file("bench.html"));
    for (stdout, code, said_of_it) in [(gone(), 0, ""), (full(), 1, UNPRINTED)] {
        let _ = (fs::remove_file(&json), fs::remove_file(&html));
        let mut bench = short_bench(&url);
        bench.arg("--json").arg(&json).arg("--html").arg(&html).stdout(stdout);
        let output = bench.output().unwrap();
        assert_eq!((output.status.code(), said(&output)), (Some(code), said_of_it));
        let outcome: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
        assert!(outcome["received"].as_u64().unwrap() > 0, "{outcome}");
        assert!(fs::read_to_string(&html).unwrap().ends_with("</html>\n"));
    }
}

#[test]
fn a_bench_is_not_held_up_by_a_terminal_that_was_stopped() {
    let (_process, url) = server();
    let (mut keyboard, terminal) = terminal();
    // Ctrl-S: a program that writes to the terminal waits for Ctrl-Q.
    keyboard.write_all(b"\x13").unwrap();
    let mut bench = short_bench(&url);
    let mut process = Process(bench.env("TERM", "xterm").stdout(Stdio::piped()).stderr(terminal).spawn().unwrap());
    let mut table = String::new();
    process.0.stdout.take().unwrap().read_to_string(&mut table).unwrap();
    assert!(process.0.wait().unwrap().success(), "{table}");
    assert!(table.contains("faults       none"), "{table}");
}

#[test]
fn a_file_that_reaches_its_limit_of_size_is_an_error_and_not_the_end() {
    let mut shell = Command::new("sh");
    isolate(&mut shell);
    // The limit is in blocks of 512 bytes.
    shell.args(["-c", "ulimit -f 1 && exec \"$0\" tune --connections 10 >\"$1\"", env!("CARGO_BIN_EXE_ringsock")]);
    let output = shell.arg(file("limited")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(
        said(&output),
        UNPRINTED.replace("No space left on device (os error 28)", "File too large (os error 27)")
    );
}

/// Opens a pseudoterminal: the side of the person, and that of the program.
fn terminal() -> (File, OwnedFd) {
    // SAFETY: takes integers and touches no memory.
    let keyboard = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    assert!(keyboard >= 0, "{}", Error::last_os_error());
    // SAFETY: the descriptor was opened above, and nothing else owns it.
    let keyboard = unsafe { File::from_raw_fd(keyboard) };
    // SAFETY: takes an integer and touches no memory.
    assert_eq!(unsafe { libc::unlockpt(keyboard.as_raw_fd()) }, 0);
    let mut number: libc::c_int = 0;
    // SAFETY: the kernel writes one integer, which is borrowed exclusively.
    assert_eq!(unsafe { libc::ioctl(keyboard.as_raw_fd(), libc::TIOCGPTN, &raw mut number) }, 0);
    let terminal = OpenOptions::new().read(true).write(true).open(format!("/dev/pts/{number}")).unwrap();
    (keyboard, terminal.into())
}
