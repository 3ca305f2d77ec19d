//! Tests of an address that stays in use for a while, because the kernel has not freed it after a process was killed.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::program::client::Client;
use crate::program::run::{PATIENCE, Run, own_address, ringsock};

fn serve(flags: &[&str]) -> Run {
    Run::new(ringsock(&[&["serve", "--cores", "2", "--max-connections", "1000"], flags].concat()))
}

/// Waits for the line that says that the server waits.
fn await_line(server: &Run, address: &str) {
    let line = server.errors.recv_timeout(PATIENCE).unwrap();
    assert!(line.contains("WARN") && line.contains(&format!("{address} is in use")), "{line}");
    assert!(line.contains("trying again for 5 s"), "{line}");
}

#[test]
fn an_address_that_becomes_free_is_taken() {
    for admin in [false, true] {
        let holder = TcpListener::bind((own_address(), 0)).unwrap();
        let address = holder.local_addr().unwrap().to_string();
        let flags = if admin {
            ["--listen", "127.0.0.1:0", "--admin-listen", &address]
        } else {
            ["--admin-listen", "none", "--listen", &address]
        };
        let server = serve(&flags);
        await_line(&server, &address);
        drop(holder);
        assert!(server.banner().contains(&format!("//{address}/")));
    }
}

#[test]
fn a_server_that_waits_for_its_address_can_be_told_to_end() {
    let holder = TcpListener::bind((own_address(), 0)).unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let mut server = serve(&["--listen", &address]);
    await_line(&server, &address);
    let id = server.process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = server.process.0.wait().unwrap();
    assert!(status.signal() == Some(libc::SIGTERM) || status.success(), "{status}");
}

#[test]
fn a_server_that_was_killed_can_be_started_again_at_once() {
    for reactor in ["auto", "epoll"] {
        let mut server = serve(&["--listen", &format!("{}:0", own_address()), "--reactor", reactor]);
        let address = server.address();
        for _ in 0..5 {
            let _clients: Vec<Client> = (0..100).map(|_| Client::open(&address, "/echo")).collect();
            server.process.0.kill().unwrap();
            server.process.0.wait().unwrap();
            server = serve(&["--listen", &address, "--reactor", reactor]);
            assert_eq!(server.address(), address);
        }
        Client::open(&address, "/echo").echo("served again");
    }
}
