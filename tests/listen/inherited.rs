//! Tests of sockets that the parent passes to the program.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::program::client::Client;
use super::program::run::{PATIENCE, Run, isolated};
use super::{REACTORS, drain, drain_beside, get, line};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;

/// The numbers of descriptors that wait to become those from [`FIRST`] on.
const ASIDE: RawFd = 100;

/// Returns the program with these descriptors. LISTEN_PID must be its own id, which only a shell that becomes it knows.
fn with_sockets(descriptors: &[RawFd], names: &str, arguments: &[&str]) -> Command {
    let script = "LISTEN_PID=${OTHER:-$$} exec \"$0\" \"$@\"";
    let all = [&["-c", script, env!("CARGO_BIN_EXE_ringsock"), "serve"], arguments].concat();
    let mut command = isolated(Command::new("sh"), &all);
    command.env("LISTEN_FDS", descriptors.len().to_string()).env("LISTEN_FDNAMES", names);
    command.env("RINGSOCK_ADMIN_LISTEN", "none").env("RINGSOCK_MAX_CONNECTIONS", "100");
    let descriptors = descriptors.to_vec();
    let pass = move || {
        for (number, descriptor) in descriptors.iter().enumerate() {
            // SAFETY: takes integers and touches no memory.
            unsafe { libc::dup2(*descriptor, ASIDE + number as RawFd) };
        }
        for number in 0..descriptors.len() as RawFd {
            // SAFETY: takes integers and touches no memory. The copy stays open in the program.
            unsafe { libc::dup2(ASIDE + number, FIRST + number) };
            // SAFETY: takes an integer and touches no memory.
            unsafe { libc::close(ASIDE + number) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock taken.
    unsafe { command.pre_exec(pass) };
    command
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn sockets_that_are_passed_take_the_place_of_addresses() {
    for reactor in REACTORS {
        let (tcp, address) = listener();
        let path = std::env::temp_dir().join(format!("ringsock-passed-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let unix = UnixListener::bind(&path).unwrap();
        let flags = ["--listen", "127.0.0.1:0", "--reactor", reactor, "--cores", "2"];
        let mut run = Run::new(with_sockets(&[tcp.as_raw_fd(), unix.as_raw_fd()], "web:web", &flags));
        let banner = run.banner();
        assert_eq!(line(&banner, "listen "), format!("{address}, unix:{}", path.display()));
        assert!(banner.contains(&format!("ready on ws://{address}/echo")), "{banner}");
        let mut clients: Vec<_> = (0..10).map(|_| Client::open(&address.to_string(), "/echo")).collect();
        clients.iter_mut().for_each(|client| client.echo("hello"));
        let stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(get(stream, "/health").starts_with("HTTP/1.1 200 "));
        drain_beside(&mut run, &mut clients);
        assert!(path.exists(), "the file is whose who passed it");
        let log = run.errors.iter().collect::<String>();
        assert!(
            log.contains(&format!("sockets from LISTEN_FDS, {address}, unix:")) && log.contains("instead of listen."),
            "{log}"
        );
    }
}

#[test]
fn clients_that_come_between_two_servers_are_served_by_the_next() {
    for reactor in REACTORS {
        let (tcp, address) = listener();
        let mut first = Run::new(with_sockets(&[tcp.as_raw_fd()], "web", &["--reactor", reactor]));
        first.banner();
        drain_beside(&mut first, &mut [Client::open(&address.to_string(), "/echo")]);
        let waiting = TcpStream::connect(address).unwrap();
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
        let second = Run::new(with_sockets(&[tcp.as_raw_fd()], "web", &["--reactor", reactor]));
        second.banner();
        assert!(get(waiting, "/health").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_socket_named_admin_is_for_metrics() {
    let ((web, address), (admin, metrics)) = (listener(), listener());
    let sockets = [admin.as_raw_fd(), web.as_raw_fd()];
    let run = Run::new(with_sockets(&sockets, "admin:web", &[]));
    let banner = run.banner();
    assert_eq!(line(&banner, "listen "), address.to_string());
    assert_eq!(line(&banner, "metrics "), format!("http://{metrics}/metrics"));
    assert!(get(TcpStream::connect(metrics).unwrap(), "/metrics").contains("ringsock_connections_accepted_total"));
    // This alone makes the server ignore the configured addresses.
    let run = Run::new(with_sockets(&[admin.as_raw_fd()], "admin", &["--listen", "127.0.0.2:0"]));
    assert!(line(&run.banner(), "listen ").starts_with("127.0.0.2:"));
}

#[test]
fn sockets_for_another_process_are_not_taken_and_that_is_said() {
    let (tcp, _) = listener();
    let mut command = with_sockets(&[tcp.as_raw_fd()], "web", &["--listen", "127.0.0.2:0"]);
    command.env("OTHER", "1");
    let mut run = Run::new(command);
    assert!(line(&run.banner(), "listen ").starts_with("127.0.0.2:"));
    drain(&mut run);
    let log = run.errors.iter().collect::<String>();
    assert!(log.contains("LISTEN_FDS passes sockets to process 1,") && log.contains("use exec"), "{log}");
}

#[test]
fn variables_that_pass_nothing_leave_the_addresses_to_be_listened_on() {
    for names in ["", "web"] {
        let run = Run::new(with_sockets(&[], names, &["--listen", "127.0.0.2:0"]));
        assert!(line(&run.banner(), "listen ").starts_with("127.0.0.2:"));
    }
}

#[test]
fn a_passed_descriptor_that_does_not_listen_is_refused_by_its_number() {
    let (tcp, address) = listener();
    let connected = TcpStream::connect(address).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (descriptor, reason) in [
        (connected.as_raw_fd(), "does not listen"),
        (datagrams.as_raw_fd(), "is not a stream socket"),
        (file.as_raw_fd(), "is not a socket"),
    ] {
        let refused = Run::new(with_sockets(&[tcp.as_raw_fd(), descriptor], "web:odd", &[])).refusal();
        assert!(refused.contains(&format!("The descriptor 4 (odd), which LISTEN_FDS passes, {reason}.")), "{refused}");
    }
    let refused = Run::new(with_sockets(&[tcp.as_raw_fd()], "web:more", &[])).refusal();
    assert!(refused.contains("LISTEN_FDNAMES is invalid"), "{refused}");
}

#[test]
fn publishing_without_a_key_is_refused_on_a_passed_socket_that_others_can_reach() {
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let flags = ["--set", "api.insecure=true"];
    let refused = Run::new(with_sockets(&[everywhere.as_raw_fd()], "web", &flags)).refusal();
    assert!(refused.contains("but LISTEN_FDS passes 0.0.0.0:"), "{refused}");
    let (local, _) = listener();
    Run::new(with_sockets(&[local.as_raw_fd()], "web", &flags)).banner();
}
