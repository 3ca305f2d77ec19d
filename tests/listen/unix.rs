//! Tests of Unix sockets.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::program::client::Client;
use super::program::run::PATIENCE;
use super::{REACTORS, drain, drain_beside, get, line, refusal, serve};

/// Returns a path of this test's own, at which there is no file.
fn path(name: &str) -> PathBuf {
    // It is short: the path of a socket has 107 bytes at most.
    let directory = std::env::temp_dir().join(format!("ringsock-listen-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    let _ = fs::remove_file(&path);
    path
}

fn address(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Returns how many connections each core has, as the server reports over a connection of its own.
fn connections_of_cores(path: &Path) -> Vec<u64> {
    let answer = get(connect(path), "/api/cores");
    let counts = answer.split("\"connections\":").skip(1);
    counts.map(|rest| rest.split(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_unix_socket_is_served_and_drained_like_any_other() {
    for reactor in REACTORS {
        let path = path(&format!("served-{reactor}"));
        let mut run = serve(&["--listen", &address(&path), "--reactor", reactor, "--cores", "2"]);
        let banner = run.banner();
        assert_eq!(line(&banner, "listen "), address(&path));
        let shown = path.display();
        assert!(banner.contains(&format!("ready on ws+unix:{shown}:/echo (curl --unix-socket {shown} ")), "{banner}");
        assert!(get(connect(&path), "/health").starts_with("HTTP/1.1 200 "));
        let mut clients: Vec<_> = (0..20).map(|_| Client::over(connect(&path), "localhost", "/echo")).collect();
        clients.iter_mut().for_each(|client| client.echo("hello"));
        drain_beside(&mut run, &mut clients);
        assert!(!path.exists(), "the file goes with the server");
    }
}

#[test]
fn a_large_message_comes_back_through_a_unix_socket() {
    for reactor in REACTORS {
        let path = path(&format!("large-{reactor}"));
        let _run = {
            let run = serve(&["--listen", &address(&path), "--reactor", reactor, "--max-message-bytes", "4194304"]);
            run.banner();
            run
        };
        let mut client = Client::over(connect(&path), "localhost", "/echo");
        let message: Vec<u8> = (0..4 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut frame = vec![0x82, 0xFF];
        frame.extend((message.len() as u64).to_be_bytes());
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        let mut writer = client.0.try_clone().unwrap();
        let sent = message.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&[frame, sent].concat()).unwrap();
        });
        let mut echo = vec![0; 10 + message.len()];
        client.0.read_exact(&mut echo).unwrap();
        writing.join().unwrap();
        assert!(echo[10..] == message, "the message came changed");
    }
}

#[test]
fn every_core_has_its_part_of_the_connections_of_a_unix_socket() {
    for reactor in REACTORS {
        let path = path(&format!("cores-{reactor}"));
        let run = serve(&["--listen", &address(&path), "--reactor", reactor, "--cores", "2"]);
        run.banner();
        let mut clients = Vec::new();
        // The kernel chooses the first core, so this continues until each has been the first.
        while connections_of_cores(&path).iter().filter(|count| **count > 1).count() < 2 {
            assert!(clients.len() < 2_000, "all connections are one core's");
            clients.push(Client::over(connect(&path), "localhost", "/echo"));
        }
        clients.iter_mut().for_each(|client| client.echo("hello"));
    }
}

#[test]
fn a_socket_has_the_mode_that_was_asked_for() {
    for (setting, expected) in [("", 0o660), ("?mode=600", 0o600), ("?mode=0666", 0o666)] {
        let path = path("mode");
        let run = serve(&["--listen", &format!("{}{setting}", address(&path))]);
        run.banner();
        assert_eq!(mode(&path), expected);
        assert!(get(connect(&path), "/health").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn the_socket_of_a_server_that_was_killed_is_taken_over() {
    for reactor in REACTORS {
        let path = path(&format!("killed-{reactor}"));
        let serve_there = || serve(&["--listen", &address(&path), "--reactor", reactor]);
        let run = serve_there();
        run.banner();
        drop(run);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket(), "a killed server deletes nothing");
        // A ring's listener outlives its process for a while, in which the server retries.
        let mut run = serve_there();
        run.banner();
        assert!(get(connect(&path), "/health").starts_with("HTTP/1.1 200 "));
        drain(&mut run);
        assert!(!path.exists());
    }
}

#[test]
fn the_socket_of_another_server_that_lives_is_refused_and_left_alone() {
    let path = path("live");
    let other = UnixListener::bind(&path).unwrap();
    let refused = refusal(&["--listen", &address(&path)]);
    assert!(refused.contains(&format!("Cannot listen on {}: Address already in use", address(&path))), "{refused}");
    // The probe has connected, and no more.
    other.set_nonblocking(true).unwrap();
    while other.accept().is_ok() {}
    connect(&path);
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_left_alone() {
    let path = path("precious");
    fs::write(&path, "precious").unwrap();
    let refused = refusal(&["--listen", &address(&path)]);
    assert!(refused.contains("the path names a file that is not a socket. Move that file away"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_directory_that_is_not_there_is_refused_by_what_is_missing() {
    let refused = refusal(&["--listen", "unix:/no/such/directory/socket"]);
    assert!(
        refused.contains("No such file or directory") && refused.contains("The directory does not exist"),
        "{refused}"
    );
    let refused = refusal(&["--listen", &format!("{}?group=no-such-group", address(&path("group")))]);
    assert!(refused.contains("the host has no group \"no-such-group\""), "{refused}");
}

#[test]
fn a_socket_without_a_file_is_served_by_its_name() {
    let name = format!("ringsock-test-{}", std::process::id());
    let run = serve(&["--listen", &format!("unix:@{name},127.0.0.1:0")]);
    let banner = run.banner();
    assert!(line(&banner, "listen ").starts_with(&format!("unix:@{name}, 127.0.0.1:")), "{banner}");
    let named = SocketAddr::from_abstract_name(&name).unwrap();
    let stream = UnixStream::connect_addr(&named).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::over(stream, "localhost", "/echo").echo("hello");
    let refused = refusal(&["--listen", &format!("unix:@{name}")]);
    assert!(refused.contains("Address already in use"), "{refused}");
}

#[test]
fn metrics_may_be_given_through_a_unix_socket() {
    let path = path("metrics");
    let run = serve(&["--listen", "127.0.0.1:0", "--admin-listen", &address(&path)]);
    let banner = run.banner();
    assert_eq!(line(&banner, "metrics "), format!("http+unix:{}:/metrics", path.display()));
    assert!(get(connect(&path), "/metrics").contains("ringsock_connections_accepted_total"));
}

#[test]
fn publishing_without_a_key_is_allowed_on_a_unix_socket() {
    let path = path("api");
    let run = serve(&["--listen", &address(&path), "--set", "api.insecure=true"]);
    let banner = run.banner();
    assert!(banner.contains("/api/publish, for every program of this host\n"), "{banner}");
    let request = "POST /api/publish?topic=a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut stream = connect(&path);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_proxy_at_a_unix_socket_is_believed_only_if_it_is_trusted() {
    for (proxies, third) in [("unix", 429), ("127.0.0.1", 101), ("none", 101)] {
        let path = path("proxy");
        let flags = ["--trusted-proxies", proxies, "--set", "limits.max-connections-per-address=2"];
        let run = serve(&[&["--listen", &address(&path)], &flags[..]].concat());
        run.banner();
        let mut streams = Vec::new();
        for expected in [101, 101, third] {
            let mut stream = connect(&path);
            let request = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                X-Forwarded-For: 203.0.113.7\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(status, format!("HTTP/1.1 {expected}").as_bytes(), "trusted: {proxies}");
            streams.push(stream);
        }
    }
}
