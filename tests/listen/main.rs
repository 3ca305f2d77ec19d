//! Tests of listening: every form of `--listen`, on each reactor, with its output and its effects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod host;
mod inherited;
#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;
mod sections;
mod tcp;
mod unix;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use program::client::Client;
use program::run::{Run, ringsock};

const REACTORS: [&str; 2] = ["uring", "epoll"];

/// Starts `ringsock serve` with these flags.
fn serve(flags: &[&str]) -> Run {
    Run::new(ringsock(&[&["serve"], flags].concat()))
}

/// Returns the line with which it refuses to start, after one that says that it waits for an address.
fn refusal(flags: &[&str]) -> String {
    let said = serve(flags).refusal();
    let (waits, refused): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| line.contains("is in use. If a killed"));
    assert!(waits.len() <= 1 && refused.len() == 1, "{said}");
    refused[0].to_owned()
}

/// Returns the value of this line of the banner.
fn line(banner: &str, word: &str) -> String {
    let found = banner.lines().find_map(|line| line.trim_start().strip_prefix(word));
    found.unwrap_or_else(|| panic!("no {word} in\n{banner}")).trim_start().to_owned()
}

/// Requests `path` over a connection, and returns the answer once the server has closed it.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Makes it drain, and waits until it has ended successfully.
fn drain(run: &mut Run) {
    drain_beside::<TcpStream>(run, &mut []);
}

/// Makes it drain while these clients are connected: each gets a Close frame, answers, and sees its connection end.
fn drain_beside<S: Read + Write>(run: &mut Run, clients: &mut [Client<S>]) {
    let id = run.process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    for client in clients {
        let (first, payload) = client.next().unwrap();
        assert_eq!((first, &payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
        client.frame(0x88, &payload[..2]);
        assert!(client.next().is_err(), "nothing follows");
    }
    assert!(run.process.0.wait().unwrap().success());
}
