//! Tests of a process that is stopped as a whole and continued later: by SIGSTOP here, by a paused container, a
//! debugger or a snapshot of the machine elsewhere.

use std::fs;
use std::io::{ErrorKind, Read};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::client::Client;
use crate::program::on_each_reactor;
use crate::program::run::{PATIENCE, Run, ringsock};

fn serve(reactor: &str, flags: &[&str]) -> Run {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--cores", "2", "--max-connections", "100", "--reactor", reactor];
    Run::new(ringsock(&[&serve, flags].concat()))
}

fn signal(server: &Run, name: &str) {
    let id = server.process.0.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

/// Stops the process, waits until all of it is stopped, and continues it after this time.
fn pause(server: &Run, time: Duration) {
    signal(server, "STOP");
    let id = server.process.0.id();
    let begun = Instant::now();
    let stands = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'));
    let all_stand = || {
        let mut threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
        threads.all(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).is_ok_and(stands))
    };
    while !all_stand() {
        assert!(begun.elapsed() < PATIENCE, "it does not stop");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(time);
    signal(server, "CONT");
}

#[test]
fn a_pause_longer_than_every_timeout_costs_no_session() {
    // All timeouts that a pause could cause are shorter than it, as a pause of minutes is longer than the defaults.
    let timeouts = ["handshake", "assembly", "send", "dead-peer", "close"];
    let timeouts = timeouts.map(|name| format!("--set=timeouts.{name}-timeout-ms=6000"));
    let mut flags: Vec<&str> = timeouts.iter().map(String::as_str).collect();
    flags.extend(["--set=cores.stall-timeout-ms=6000", "--ping-interval-ms", "1500"]);
    on_each_reactor(|reactor| {
        let server = serve(reactor, &flags);
        let address = server.address();
        let mut talking = Client::open(&address, "/echo");
        let mut slow = Client::open(&address, "/echo");
        slow.frame(0x01, b"half a message");
        let mut closing = Client::open(&address, "/echo");
        talking.echo("before");
        let mut asking = Client(std::net::TcpStream::connect(&address).unwrap());
        asking.0.set_read_timeout(Some(PATIENCE)).unwrap();
        talking.echo("all have been accepted");

        signal(&server, "STOP");
        asking.ask(&address, "/echo");
        slow.frame(0x80, b" and the other");
        closing.frame(0x88, &1000u16.to_be_bytes());
        pause(&server, Duration::from_secs(9));

        talking.echo("after");
        let whole = (0x81, b"half a message and the other".to_vec());
        let mut frames = std::iter::repeat_with(|| slow.next().unwrap());
        assert_eq!(frames.find(|frame| frame.0 != 0x89), Some(whole), "{reactor}");
        let mut frames = std::iter::repeat_with(|| closing.next().unwrap());
        assert_eq!(frames.find(|frame| frame.0 != 0x89), Some((0x88, 1000u16.to_be_bytes().to_vec())), "{reactor}");
        let mut head = [0; 13];
        asking.0.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101 ", "{reactor}");
        talking.echo("still there");
        drop((talking, asking, slow));
        signal(&server, "TERM");
        ends_in_order(server);
    });
}

#[test]
fn pauses_that_come_again_and_again_end_no_server() {
    on_each_reactor(|reactor| {
        let server = serve(reactor, &["--set", "cores.stall-timeout-ms=3000"]);
        let mut client = Client::open(&server.address(), "/echo");
        for round in 0..6 {
            pause(&server, Duration::from_secs(1));
            client.echo(&format!("round {round}"));
        }
        drop(client);
        signal(&server, "TERM");
        ends_in_order(server);
    });
}

#[test]
fn a_pause_while_it_drains_leaves_everyone_the_time_to_say_goodbye() {
    on_each_reactor(|reactor| {
        let server = serve(reactor, &["--set", "drain.timeout-ms=3000", "--set", "timeouts.close-timeout-ms=3000"]);
        let mut client = Client::open(&server.address(), "/echo");
        client.echo("before");
        signal(&server, "TERM");
        assert_eq!(
            client.next().unwrap(),
            (0x88, [&1001u16.to_be_bytes()[..], b"The server is shutting down."].concat())
        );
        pause(&server, Duration::from_secs(5));
        client.frame(0x88, &1001u16.to_be_bytes());
        assert_eq!(client.next().unwrap_err().kind(), ErrorKind::UnexpectedEof, "{reactor}: it was reset");
        ends_in_order(server);
    });
}

/// Demands that a server that was told to end succeeds, and has logged no complaint.
fn ends_in_order(mut server: Run) {
    assert!(server.process.0.wait().unwrap().success());
    let log = server.log();
    let complaints: Vec<_> =
        log.iter().filter(|line| line.contains("WARN") || line.starts_with("ringsock: ")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
