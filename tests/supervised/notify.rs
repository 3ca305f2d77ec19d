//! Tests of notifications to the supervisor: over a socket like that of systemd, on which datagrams arrive or do not.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::client::{Client, Heard};
use crate::{PATIENCE, Server, on_each_reactor, ringsock};

/// Returns a path of this test's own, at which there is no file.
fn path(name: &str) -> PathBuf {
    // The name of a socket has 107 bytes at most.
    let path = std::env::temp_dir().join(format!("ringsock-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn told_at(name: &str, reactor: &str, flags: &[&str]) -> Command {
    let mut command = ringsock(&["--listen", "127.0.0.1:0", "--reactor", reactor]);
    command.args(flags).env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "1000000");
    command
}

/// Waits for a datagram that contains this line. Returns how many others with `between` came before.
fn await_line(socket: &UnixDatagram, line: &str, between: &str) -> usize {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 1024];
    let mut count = 0;
    loop {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("{line:?} did not come: {error}"),
        };
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        if text.lines().any(|told| told == line) {
            return count;
        }
        count += usize::from(text.lines().any(|told| told == between));
    }
}

#[test]
fn the_supervisor_is_told_that_it_is_ready_that_it_is_alive_and_that_it_ends() {
    let is_told = |socket: &UnixDatagram, name: &str, reactor: &str| {
        let mut server = Server::run(told_at(name, reactor, &["--set", "drain.delay-ms=6000"]));
        await_line(socket, "READY=1", "");
        for _ in 0..3 {
            await_line(socket, "WATCHDOG=1", "");
        }
        server.signal(libc::SIGTERM);
        await_line(socket, "STOPPING=1", "");
        await_line(socket, "EXTEND_TIMEOUT_USEC=10000000", "");
        // The extension is requested again in time, while watchdog messages continue: twice a second, less on a busy
        // machine.
        assert!(await_line(socket, "EXTEND_TIMEOUT_USEC=10000000", "WATCHDOG=1") >= 2);
        assert!(server.ended().success());
    };
    on_each_reactor(|reactor| {
        let file = path(&format!("notify-{reactor}"));
        let in_file = UnixDatagram::bind(&file).unwrap();
        let unique = format!("ringsock-{}-{reactor}", std::process::id());
        let without_file = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&unique).unwrap()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| is_told(&in_file, file.to_str().unwrap(), reactor));
            is_told(&without_file, &format!("@{unique}"), reactor);
        });
        std::fs::remove_file(&file).unwrap();
    });
}

#[test]
fn a_supervisor_that_cannot_be_told_changes_nothing() {
    let full = path("full");
    let unread = UnixDatagram::bind(&full).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"something", &full).is_ok() {}
    let gone = path("gone");
    let gone_later = path("gone-later");
    let listened = UnixDatagram::bind(&gone_later).unwrap();
    let too_long = format!("/{}", "a".repeat(200));
    let names = [full.to_str().unwrap(), gone.to_str().unwrap(), gone_later.to_str().unwrap(), &too_long, "@", ""];
    for name in names {
        let mut server = Server::run(told_at(name, "auto", &[]));
        if name == gone_later.to_str().unwrap() {
            await_line(&listened, "READY=1", "");
            std::fs::remove_file(&gone_later).unwrap();
        }
        let mut client = Client::open(&server.address);
        client.say("well?");
        assert_eq!(client.hear(), Heard::Text("well?".to_owned()));
        server.signal(libc::SIGTERM);
        client.is_told();
        assert!(server.ended().success(), "{name}");
    }
    drop(unread);
    std::fs::remove_file(&full).unwrap();
}

#[test]
fn a_supervisor_that_was_busy_is_told_later_that_it_is_ready() {
    let name = path("busy");
    let busy = UnixDatagram::bind(&name).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"something", &name).is_ok() {}
    let mut server = Server::run(told_at(name.to_str().unwrap(), "auto", &[]));
    await_line(&busy, "READY=1", "");
    server.signal(libc::SIGTERM);
    await_line(&busy, "STOPPING=1", "");
    assert!(server.ended().success());
    std::fs::remove_file(&name).unwrap();
}

#[test]
fn a_core_that_makes_no_turns_is_no_sign_of_life() {
    use ringsock::{Handler, Message, Session};

    /// Blocks its core with a message until it is told to continue.
    struct Blocking {
        go_on: std::sync::Arc<std::sync::Barrier>,
    }

    impl Handler for Blocking {
        type State = ();
        type Mail = ();

        fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
            self.go_on.wait();
            session.send(message);
        }
    }

    let builder = ringsock::Server::builder().listen("127.0.0.1:0").cores(1).handle_signals(false);
    let go_on = std::sync::Arc::new(std::sync::Barrier::new(2));
    let blocking = std::sync::Arc::clone(&go_on);
    let server = builder.stall_timeout_ms(0).start(move |_core| Blocking { go_on: blocking.clone() }).unwrap();
    let endpoint = server.address().to_string();
    let controller = server.controller();
    let (pulses, seen) = std::sync::mpsc::channel();
    let supervised = std::thread::spawn(move || {
        server.join_observed(|pulse| {
            let _ = pulses.send(pulse.cores_turn);
        })
    });
    let mut client = Client::open(&endpoint);
    let await_pulse = |wanted: bool| {
        let end = Instant::now() + PATIENCE;
        while seen.recv_timeout(PATIENCE).unwrap() != wanted {
            assert!(Instant::now() < end, "no pulse says {wanted}");
        }
    };
    await_pulse(true);
    client.say("block");
    await_pulse(false);
    go_on.wait();
    assert_eq!(client.hear(), Heard::Text("block".to_owned()));
    await_pulse(true);
    controller.drain();
    client.is_told();
    supervised.join().unwrap().unwrap();
}
