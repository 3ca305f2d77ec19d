//! Tests of system calls and memory that the host refuses: the server uses epoll, or says what it lacks.

use std::io::{Write, stdout};
use std::process::Command;

use crate::program::client::Client;
use crate::program::run::{PATIENCE, Run, ringsock};
use crate::program::withheld::{limit_locked_memory, refuse_system_calls};

fn serve(arguments: &[&str]) -> Command {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--max-connections", "100"];
    ringsock(&[&serve, arguments].concat())
}

fn refusal(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> String {
    let mut command = serve(arguments);
    prepare(&mut command);
    let said = Run::new(command).refusal();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// Demands that a server with `--reactor auto` serves on epoll, and gives the reason in its only warning.
fn falls_back(arguments: &[&str], prepare: impl FnOnce(&mut Command), why: &[&str]) {
    let mut command = serve(arguments);
    prepare(&mut command);
    let server = Run::new(command);
    let banner = server.banner();
    assert!(banner.contains("reactor      epoll"), "{banner}");
    let (_, address) = banner.split_once("ws://").unwrap();
    Client::open(address.split('/').next().unwrap(), "/echo").echo("served all the same");
    // The host may lack other things, which are reported once the server is ready.
    let log: Vec<String> = server.log().into_iter().filter(|line| !line.contains("Run ringsock tune")).collect();
    let [warning] = &log[..] else { panic!("{log:?}") };
    for words in ["WARN", "Using epoll"].iter().chain(why) {
        assert!(warning.contains(words), "no {words} in {warning}");
    }
}

#[test]
fn a_ring_that_can_be_made_and_not_used_leaves_epoll() {
    for call in [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register] {
        for (errno, named) in [(libc::EPERM, "Operation not permitted"), (libc::ENOSYS, "Function not implemented")] {
            let refuse = |command: &mut Command| refuse_system_calls(command, &[call], errno);
            falls_back(&["--cores", "2"], refuse, &["io_uring is not available", named, "io_uring_enter"]);
            let said = refusal(&["--cores", "2", "--reactor", "uring"], refuse);
            for words in ["ringsock: io_uring is not available", named, "seccomp", "the reactor epoll"] {
                assert!(said.contains(words), "no {words} in {said}");
            }
        }
    }
}

/// Returns whether this kernel counts rings as locked memory; some before 6.14 do not.
fn rings_are_locked() -> bool {
    let mut command = serve(&["--cores", "1"]);
    limit_locked_memory(&mut command, 0);
    let locked = Run::new(command).banner().contains("reactor      epoll");
    if !locked {
        // Written past the test harness, which would capture it.
        writeln!(stdout().lock(), "NOT TESTED: this kernel does not count rings as locked memory").unwrap();
    }
    locked
}

#[test]
fn too_little_memory_to_lock_leaves_epoll_and_is_named() {
    if !rings_are_locked() {
        return;
    }
    // One ring of one core does not fit; one of ten does, and all together do not.
    for (kib, cores) in [(64, "1"), (64, "2"), (1024, "10"), (4096, "10")] {
        let limit = |command: &mut Command| limit_locked_memory(command, kib * 1024);
        let shown = if kib < 1024 { format!("{kib} KiB") } else { format!("{} MiB", kib / 1024) };
        falls_back(&["--cores", cores], limit, &["RLIMIT_MEMLOCK", "LimitMEMLOCK", &shown]);
        let said = refusal(&["--cores", cores, "--reactor", "uring"], limit);
        for words in ["ringsock: The rings of io_uring", &format!("({cores})"), "RLIMIT_MEMLOCK", &shown] {
            assert!(said.contains(words), "no {words} in {said}");
        }
    }
}

#[test]
fn without_epoll_or_threads_the_server_says_so_and_ends() {
    let mut calls = vec![libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_eventfd2];
    #[cfg(target_arch = "x86_64")]
    calls.push(libc::SYS_epoll_wait);
    for call in calls {
        let refuse = |command: &mut Command| refuse_system_calls(command, &[call], libc::EPERM);
        let said = refusal(&["--cores", "2", "--reactor", "epoll"], refuse);
        assert!(said.contains("cannot use epoll: Operation not permitted") && said.contains("eventfd2"), "{said}");
    }
    let refuse =
        |command: &mut Command| refuse_system_calls(command, &[libc::SYS_clone3, libc::SYS_clone], libc::EAGAIN);
    for reactor in ["uring", "epoll"] {
        let said = refusal(&["--cores", "2", "--reactor", reactor], refuse);
        // The first threads that it starts are those of the log.
        assert!(said.contains("The log cannot be written: Resource temporarily"), "{said}");
        assert!(said.contains("TasksMax"), "{said}");
    }
}

#[test]
fn a_server_starts_without_system_calls_that_it_can_do_without() {
    let calls = [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_getaffinity,
        libc::SYS_prlimit64,
        libc::SYS_getrandom,
        libc::SYS_setpriority,
        libc::SYS_epoll_pwait2,
    ];
    for reactor in ["auto", "epoll"] {
        let mut command = serve(&["--cores", "2", "--reactor", reactor]);
        refuse_system_calls(&mut command, &calls, libc::EPERM);
        let server = Run::new(command);
        Client::open(&server.address(), "/echo").echo("served all the same");
    }
}

#[test]
fn a_server_that_may_not_accept_says_so_once() {
    const TRIES: usize = 4;
    let mut command = serve(&["--cores", "1", "--reactor", "epoll", "--log", "debug"]);
    refuse_system_calls(&mut command, &[libc::SYS_accept4, libc::SYS_accept], libc::EPERM);
    let server = Run::new(command);
    let address = server.address();
    let _clients = [(); 3].map(|()| std::net::TcpStream::connect(&address).unwrap());
    let (mut tries, mut warnings) = (0, Vec::new());
    while tries < TRIES {
        let line = server.errors.recv_timeout(PATIENCE).unwrap();
        tries += usize::from(line.contains("Accepting failed"));
        if line.contains("cannot accept connections") {
            warnings.push(line);
        }
    }
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("WARN") && warning.contains("Operation not permitted"), "{warning}");
}
