//! Tests of signals from all senders.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use ringsock::engine::TERMINATION_SIGNALS;

use crate::client::{Client, Heard};
use crate::program::{Process, isolate};
use crate::{PATIENCE, SAME_EVENT, Server, lines, on_each_reactor, ringsock};

/// Opens sessions, and returns once all are closed and the server has ended successfully.
fn ends_well(server: &mut Server, end: impl FnOnce(&Server)) {
    let clients: Vec<_> = (0..8).map(|_| Client::open(&server.address)).collect();
    let told = clients.into_iter().map(|mut client| thread::spawn(move || client.is_told()));
    let told: Vec<_> = told.collect();
    end(server);
    told.into_iter().for_each(|client| client.join().unwrap());
    let status = server.ended();
    assert!(status.success(), "{status}: {}", server.log.iter().collect::<String>());
}

/// Starts the server through another program.
fn wrapped(program: &str, arguments: &[&str]) -> Command {
    let inner = ringsock(&["--listen", "127.0.0.1:0"]);
    let mut command = Command::new(program);
    isolate(&mut command);
    command.args(arguments).arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns whether the kernel drops this signal before the server receives it.
fn is_ignored(server: &Server, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << (signal - 1) != 0
}

/// Sends a signal to each thread, as no kill(1) can.
fn signal_threads(server: &Server, signal: i32) {
    for thread in fs::read_dir(format!("/proc/{}/task", server.id())).unwrap() {
        let thread: i32 = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: takes integers; the process is a child that was not waited for, and a thread that has gone is an error.
        unsafe { libc::syscall(libc::SYS_tgkill, server.id(), thread, signal) };
    }
}

#[test]
fn every_signal_that_ends_a_process_drains_the_server() {
    on_each_reactor(|reactor| {
        // SIGHUP reloads the configuration.
        for signal in TERMINATION_SIGNALS.into_iter().filter(|signal| *signal != libc::SIGHUP) {
            ends_well(&mut Server::start(reactor, &[]), |server| server.signal(signal));
        }
    });
}

#[test]
fn a_signal_to_a_single_thread_drains_the_server() {
    on_each_reactor(|reactor| {
        let mut server = Server::start(reactor, &[]);
        let mut client = Client::open(&server.address);
        // It interrupts the system call that the thread waits in.
        for round in 0..50 {
            signal_threads(&server, libc::SIGUSR1);
            client.say(&format!("round {round}"));
            assert_eq!(client.hear(), Heard::Text(format!("round {round}")));
        }
        drop(client);
        ends_well(&mut server, |server| signal_threads(server, libc::SIGTERM));
    });
}

#[test]
fn signals_that_were_ignored_from_the_start_stay_ignored_except_for_sigterm() {
    const IGNORED: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
    on_each_reactor(|reactor| {
        let mut command = ringsock(&["--listen", "127.0.0.1:0", "--reactor", reactor]);
        let ignore = || {
            for signal in IGNORED {
                // SAFETY: takes integers; SIG_IGN names no function.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            Ok(())
        };
        // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock taken.
        unsafe { command.pre_exec(ignore) };
        let mut server = Server::run(command);
        assert_eq!(IGNORED.map(|signal| is_ignored(&server, signal)), [true, true, true, false]);
        let mut client = Client::open(&server.address);
        for signal in &IGNORED[..3] {
            server.signal(*signal);
        }
        client.say("still here");
        assert_eq!(client.hear(), Heard::Text("still here".to_owned()));
        drop(client);
        ends_well(&mut server, |server| server.signal(libc::SIGTERM));
    });
}

#[test]
fn nohup_keeps_a_hangup_away() {
    let mut server = Server::run(wrapped("nohup", &[]));
    assert!(is_ignored(&server, libc::SIGHUP));
    let mut client = Client::open(&server.address);
    server.signal(libc::SIGHUP);
    client.say("still here");
    assert_eq!(client.hear(), Heard::Text("still here".to_owned()));
    drop(client);
    ends_well(&mut server, |server| server.signal(libc::SIGTERM));
}

#[test]
fn a_second_signal_ends_it_at_once_whichever_it_is() {
    on_each_reactor(|reactor| {
        for (first, second) in [(libc::SIGTERM, libc::SIGTERM), (libc::SIGQUIT, libc::SIGINT)] {
            let mut server = Server::start(
                reactor,
                &["--set", "timeouts.close-timeout-ms=600000", "--set", "drain.timeout-ms=600000"],
            );
            let mut deaf = Client::open(&server.address);
            server.signal(first);
            assert_eq!(deaf.hear(), Heard::Close(1001));
            thread::sleep(SAME_EVENT * 2);
            server.signal(second);
            assert_eq!(server.ended().code(), Some(1));
            let log: String = server.log.iter().collect();
            assert!(log.contains("before all sessions were told"), "{log}");
        }
    });
}

#[test]
fn signals_that_come_together_are_one_and_everyone_is_told() {
    on_each_reactor(|reactor| {
        // As timeout(1) does, and systemd with SendSIGHUP=yes.
        for second in [libc::SIGTERM, libc::SIGHUP] {
            let mut server =
                Server::start(reactor, &["--set", "drain.delay-ms=600000", "--set", "drain.spread-ms=600000"]);
            ends_well(&mut server, |server| {
                // The server is stopped meanwhile, so it finds both signals when it continues.
                server.signal(libc::SIGSTOP);
                server.signal(libc::SIGINT);
                server.signal(libc::SIGTERM);
                server.signal(second);
                server.signal(libc::SIGCONT);
            });
        }
    });
}

#[test]
fn a_client_that_does_not_answer_holds_a_hurried_end_up_for_half_a_second() {
    on_each_reactor(|reactor| {
        let mut server =
            Server::start(reactor, &["--set", "timeouts.close-timeout-ms=600000", "--set", "drain.timeout-ms=600000"]);
        let mut deaf = Client::open(&server.address);
        server.signal(libc::SIGSTOP);
        server.signal(libc::SIGINT);
        server.signal(libc::SIGTERM);
        server.signal(libc::SIGCONT);
        assert_eq!(deaf.hear(), Heard::Close(1001));
        assert_eq!(server.ended().code(), Some(1));
    });
}

#[test]
fn timeout_ends_it_in_order() {
    let mut command = wrapped("timeout", &["--preserve-status", "600"]);
    // It signals its process group as well.
    command.process_group(0);
    // This signal ends the time, as its timer would.
    ends_well(&mut Server::run(command), |timeout| timeout.signal(libc::SIGALRM));
}

#[test]
fn signals_that_are_sent_by_habit_or_by_accident_change_nothing() {
    on_each_reactor(|reactor| {
        let mut server = Server::start(reactor, &[]);
        let mut client = Client::open(&server.address);
        for signal in [libc::SIGXFSZ, libc::SIGPIPE, libc::SIGTTOU, libc::SIGCHLD] {
            server.signal(signal);
            client.say("well?");
            assert_eq!(client.hear(), Heard::Text("well?".to_owned()));
        }
        // One after the other, since signals that wait together are handled in any order.
        for (signal, name) in [(libc::SIGUSR1, "SIGUSR1"), (libc::SIGUSR2, "SIGUSR2")] {
            server.signal(signal);
            server.await_log(&format!("{name} has no effect"));
        }
        drop(client);
        ends_well(&mut server, |server| server.signal(libc::SIGTERM));
    });
}

#[test]
fn a_signal_at_any_moment_of_the_start_ends_it_in_order() {
    let begun = Instant::now();
    let mut server = Server::start("auto", &[]);
    let start = begun.elapsed();
    server.signal(libc::SIGTERM);
    assert!(server.ended().success());
    for step in 0..40 {
        let mut process = Process(ringsock(&["--listen", "127.0.0.1:0"]).spawn().unwrap());
        thread::sleep(start * step / 30);
        // SAFETY: takes integers; the process is a child that was not waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(process.0.id() as i32, libc::SIGTERM) }, 0);
        let status = process.0.wait().unwrap();
        // Before the program catches the signal, the kernel ends it.
        assert!(status.success() || status.signal() == Some(libc::SIGTERM), "{status} at step {step}");
    }
}

#[test]
fn a_signal_ends_the_wait_for_an_address() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let mut process = Process(ringsock(&["--listen", &address]).spawn().unwrap());
    let log = lines(process.0.stderr.take().unwrap());
    assert!(log.recv_timeout(PATIENCE).unwrap().contains("is in use"));
    // SAFETY: takes integers; the process is a child that was not waited for, so its id is its own.
    assert_eq!(unsafe { libc::kill(process.0.id() as i32, libc::SIGTERM) }, 0);
    assert!(process.0.wait().unwrap().success());
    let log: String = log.iter().collect();
    assert!(log.contains("SIGTERM: the server is not started."), "{log}");
}
