//! The program `ringsock` as an operator meets it: its help, its settings, and what it says when it cannot start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use ringsock::config::Options;

use program::run::{PATIENCE, Run, isolated, ringsock};

/// The program with at most so many descriptors.
fn ringsock_with_descriptors(limit: u32, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_ringsock")]);
    isolated(shell, arguments)
}

/// The line that `ringsock serve` refuses to start with, after it has said that it waits for its address.
fn refusal_after_a_wait(arguments: &[&str]) -> String {
    let said = Run::new(ringsock(&[&["serve"], arguments].concat())).refusal();
    let [wait, refusal] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(wait.contains(" is in use.") && refusal.starts_with("ringsock: "), "{said}");
    refusal.to_owned()
}

/// The one line that `ringsock serve` refuses to start with.
fn refusal(arguments: &[&str]) -> String {
    one_line(Run::new(ringsock(&[&["serve"], arguments].concat())).refusal())
}

fn one_line(refusal: String) -> String {
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    assert!(refusal.starts_with("ringsock: "), "{refusal}");
    refusal
}

/// A file of this test's own.
fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn help_names_every_flag_with_its_unit_its_variable_and_its_default() {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        options: Options,
    }
    let output = ringsock(&["serve", "--help"]).env_remove("RINGSOCK_ADMIN_LISTEN").output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let flags: Vec<_> = Flags::command().get_arguments().cloned().collect();
    assert!(flags.len() >= 19, "only {} flags", flags.len());
    for flag in flags {
        let name = flag.get_long().unwrap();
        let unit = flag.get_value_names().unwrap()[0].as_str();
        let (_, after) = help.split_once(&format!("--{name} <{unit}> ")).expect(name);
        let entry = after.split(" --").next().unwrap();
        assert!(entry.contains("[default: "), "--{name}: {entry}");
        // A variable that holds a secret is named without what it is set to.
        let end = if name == "api-key" { "]" } else { "=]" };
        assert!(
            entry.contains(&format!("[env: RINGSOCK_{}{end}", name.to_uppercase().replace('-', "_"))),
            "--{name}: {entry}"
        );
        if name.ends_with("-ms") {
            assert_eq!(unit, "MS");
        }
        if name.ends_with("-bytes") {
            assert_eq!(unit, "BYTES");
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = ringsock(&["--version"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!("ringsock ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_port_in_use_is_refused_and_shared_only_when_asked_for() {
    let first = Run::new(ringsock(&["serve", "--listen", "127.0.0.1:0", "--share-port", "true"]));
    let address = first.address();
    let said = refusal_after_a_wait(&["--listen", &address]);
    assert!(said.contains(&format!("Cannot listen on {address}: Address already in use")), "{said}");
    let second = Run::new(ringsock(&["serve", "--listen", &address, "--share-port", "true"]));
    assert_eq!(second.address(), address);
}

#[test]
fn port_0_becomes_a_real_port_that_serves() {
    let server = Run::new(ringsock(&["serve", "--listen", "127.0.0.1:0", "--cores", "2"]));
    let address = server.address();
    assert!(!address.ends_with(":0"), "{address}");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let path = file("precedence.toml", "max_headers = 50\nlisten = \"127.0.0.1:0\"\n");
    let headers = |variable: Option<&str>, flag: &[&str], config: bool| {
        let mut command = ringsock(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(flag);
        if let Some(variable) = variable {
            command.env("RINGSOCK_MAX_HEADERS", variable);
        }
        if config {
            command.arg("--config").arg(&path);
        }
        let banner = Run::new(command).banner();
        let (before, _) = banner.split_once(" headers").unwrap();
        before.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(headers(Some("40"), &["--max-headers", "30"], true), 30);
    assert_eq!(headers(Some("40"), &[], true), 40);
    assert_eq!(headers(None, &[], true), 50);
    assert_eq!(headers(None, &[], false), 64);
}

#[test]
fn empty_variables_and_those_that_kubernetes_sets_change_nothing() {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        options: Options,
    }
    let mut command = ringsock(&["serve", "--listen", "127.0.0.1:0", "--cores", "1"]);
    command.envs(Flags::command().get_arguments().filter_map(|flag| Some((flag.get_env()?.to_owned(), ""))));
    command.envs([("RINGSOCK_CONFIG", ""), ("RINGSOCK_LOG", " "), ("RINGSOCK_ADMIN_LISTEN", "none\n")]);
    // For a Service named ringsock, as of the documentation of Kubernetes.
    command.envs([
        ("RINGSOCK_SERVICE_HOST", "10.0.0.1"),
        ("RINGSOCK_SERVICE_PORT", "9000"),
        ("RINGSOCK_SERVICE_PORT_HTTP", "9000"),
        ("RINGSOCK_PORT", "tcp://10.0.0.1:9000"),
        ("RINGSOCK_PORT_9000_TCP", "tcp://10.0.0.1:9000"),
        ("RINGSOCK_PORT_9000_TCP_PROTO", "tcp"),
        ("RINGSOCK_PORT_9000_TCP_PORT", "9000"),
        ("RINGSOCK_PORT_9000_TCP_ADDR", "10.0.0.1"),
    ]);
    let banner = Run::new(command).banner();
    assert!(banner.contains(" 64 headers") && banner.contains("origins      same-host\n"), "{banner}");
    assert!(banner.contains("metrics      none\n") && banner.contains("api          off\n"), "{banner}");
}

#[test]
fn a_bad_value_of_a_variable_is_refused_by_the_name_of_the_variable() {
    let refusal = |name: &str, value: &str| {
        let mut command = ringsock(&["serve", "--listen", "127.0.0.1:0"]);
        command.env(name, value);
        one_line(Run::new(command).refusal())
    };
    for (name, value, reason) in [
        ("RINGSOCK_CORES", "two", "invalid digit"),
        ("RINGSOCK_REACTOR", "kqueue", "possible values: auto, uring, epoll"),
        ("RINGSOCK_PROXY_PROTOCOL", "yes", "possible values: true, false"),
        ("RINGSOCK_ADMIN_LISTEN", "nowhere", "has no port. Write nowhere:9000."),
        ("RINGSOCK_MAX_HEADERS", "1000", "must be from 1 to 256"),
        ("RINGSOCK_ALLOW_ORIGIN", "https://a/", "is no origin"),
        ("RINGSOCK_TRUSTED_PROXIES", "proxy", "neither an address nor a network"),
        ("RINGSOCK_OVERFLOW", "block", "unknown policy \"block\""),
        ("RINGSOCK_LOG", "ringsock=loudly", "is no filter"),
        ("RINGSOCK_CONFIG", "no/such/file.toml", "cannot be read"),
        ("RINGSOCK_API_KEY", "a b", "visible ASCII"),
    ] {
        let said = refusal(name, value);
        assert!(said.contains(name) && said.contains(reason), "{said}");
    }
    assert!(!refusal("RINGSOCK_API_KEY", "s3cret s3cret").contains("s3cret"));
    // The same of the other command that reads them.
    let mut tune = ringsock(&["tune"]);
    tune.env("RINGSOCK_CORES", "two");
    assert!(one_line(Run::new(tune).refusal()).contains("RINGSOCK_CORES"));
}

#[test]
fn a_bad_flag_or_value_is_named_in_the_first_line() {
    for (arguments, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--max-headers", "many"], "--max-headers"),
        (&["--max-headers", "-1"], "-1"),
        (&["--reactor", "kqueue"], "--reactor"),
        (&["--listen", "127.0.0.1"], "--listen"),
        (&["--share-port"], "--share-port"),
        (&["--admin-listen", "127.0.0.1"], "--admin-listen"),
    ] {
        let said = Run::new(ringsock(&[&["serve"], arguments].concat())).refusal();
        let first = said.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: ") && first.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn a_value_that_cannot_work_is_refused_with_what_could() {
    let said = refusal(&["--max-headers", "1000"]);
    assert_eq!(said, "ringsock: max-headers is 1000, but must be from 1 to 256.\n");
    let said = refusal(&["--listen", "256.0.0.1:80"]);
    assert!(said.contains("\"256.0.0.1:80\" is not an address to listen on"), "{said}");
    let said = refusal(&["--log", "ringsock=loudly"]);
    assert!(said.starts_with("ringsock: log is \"ringsock=loudly\", which is no filter: "), "{said}");
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_both_values() {
    let said = refusal(&["--ping-interval-ms", "4000", "--dead-peer-timeout-ms", "2000"]);
    let named = "ringsock: ping-interval-ms is 4000, but must be below dead-peer-timeout-ms, which is 2000, or clients";
    assert!(said.starts_with(named), "{said}");
    // One of both is enough to contradict the other's default.
    let said = refusal(&["--dead-peer-timeout-ms", "20000"]);
    assert!(said.contains("ping-interval-ms is 25000") && said.contains("which is 20000"), "{said}");
    let said = refusal(&["--stall-timeout-ms", "100"]);
    assert!(said.starts_with("ringsock: stall-timeout-ms is 100, but must be 0 or at least 1000"), "{said}");
    let said = refusal(&["--assembly-timeout-ms", "0"]);
    assert!(said.starts_with("ringsock: assembly-timeout-ms is 0, but must be above 0"), "{said}");
}

#[test]
fn settings_that_may_not_be_meant_are_told_of_once() {
    let warnings = |flags: &[&str]| {
        let run = Run::new(ringsock(&[&["serve", "--listen", "127.0.0.1:0", "--log", "warn"], flags].concat()));
        run.banner();
        run.log()
    };
    let said = warnings(&["--ping-interval-ms", "0", "--dead-peer-timeout-ms", "2000"]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("a client that is only idle is cut off after 2000 ms"), "{said:?}");
    let said = warnings(&["--close-timeout-ms", "6000", "--drain-timeout-ms", "5000"]);
    assert!(said.len() == 1 && said[0].contains("close-timeout-ms is 6000"), "{said:?}");
    assert_eq!(warnings(&["--ping-interval-ms", "0", "--dead-peer-timeout-ms", "0"]), [""; 0]);
}

#[test]
fn who_may_come_in_is_settled_before_anyone_does() {
    let said = refusal(&["--allow-origin", "https://chat.example/"]);
    let named = "allow-origin does not hold: \"https://chat.example/\" is no origin. Give a scheme, a host";
    assert!(said.contains(named), "{said}");
    let said = refusal(&["--trusted-proxies", "127.0.0.1, 10.0.0.1/8"]);
    let named = "trusted-proxies does not hold: \"10.0.0.1/8\" is neither an address nor a network.";
    assert!(said.contains(named), "{said}");
    let said = refusal(&["--proxy-protocol", "true"]);
    assert!(said.contains("accepted from trusted proxies only, and none is configured"), "{said}");
    let said = refusal(&["--max-handshake-burst-per-address", "0"]);
    assert_eq!(said, "ringsock: max-handshake-burst-per-address is 0, but must be from 1 to 1000000.\n");
    let flags = ["--allow-origin", "same-host,https://chat.example", "--trusted-proxies", "10.0.0.0/8, ::1"];
    let all = [&["serve", "--listen", "127.0.0.1:0", "--proxy-protocol", "true"], &flags[..]].concat();
    let banner = Run::new(ringsock(&all)).banner();
    assert!(banner.contains("origins      same-host,https://chat.example\n"), "{banner}");
    assert!(banner.contains("proxies      10.0.0.0/8, ::1, each with a PROXY header\n"), "{banner}");
}

#[test]
fn who_may_publish_by_http_is_told_at_the_start_and_the_key_never_is() {
    const KEY: &str = "s3cret-of-this-test";
    let listen = ["serve", "--listen", "127.0.0.1:0", "--log", "trace"];
    let shown = |command: Command| {
        let server = Run::new(command);
        let banner = server.banner();
        let mut stream = TcpStream::connect(banner.split("ws://").nth(1).unwrap().split('/').next().unwrap()).unwrap();
        let request =
            format!("POST /api/publish?topic=a HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        drop(stream);
        let log = server.log().concat();
        assert!(!format!("{banner}{log}{answer}").contains(KEY), "{banner}{log}{answer}");
        (banner, answer)
    };
    let (banner, answer) = shown(ringsock(&listen));
    assert!(banner.contains("\n  api          off\n") && answer.starts_with("HTTP/1.1 404 "), "{banner}{answer}");
    let (banner, answer) = shown(ringsock(&[&listen[..], &["--api-key", KEY]].concat()));
    assert!(banner.contains("/api/publish, with the key\n") && answer.starts_with("HTTP/1.1 200 "), "{banner}{answer}");
    let (banner, answer) = shown(ringsock(&[&listen[..], &["--api-insecure", "true"]].concat()));
    assert!(banner.contains("/api/publish, for every program of this host\n"), "{banner}");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut command = ringsock(&[&listen[..], &["--config"]].concat());
    command.arg(file("key.toml", &format!("api_key = \"{KEY}\"\n")));
    assert!(shown(command).1.starts_with("HTTP/1.1 200 "));

    let help = ringsock(&["serve", "--help"]).env("RINGSOCK_API_KEY", KEY).output().unwrap();
    assert!(help.status.success() && !String::from_utf8(help.stdout).unwrap().contains(KEY));
    let said = refusal(&["--api-key", &format!("{KEY} {KEY}")]);
    assert!(said.contains("api-key has to be 1 to 256 visible ASCII characters") && !said.contains(KEY), "{said}");
    let said = refusal(&["--api-key", KEY, "--api-insecure", "true"]);
    assert!(said.contains("Give one of them.") && !said.contains(KEY), "{said}");
    let said = refusal(&["--listen", "0.0.0.0:0", "--api-insecure", "true"]);
    assert!(said.contains("listen is 0.0.0.0:0. Listen there, or give an api-key instead."), "{said}");
}

#[test]
fn a_file_that_is_not_there_or_not_understood_is_refused_by_name() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let said = refusal(&["--config", directory]);
    assert!(said.contains(directory) && said.contains("cannot be read"), "{said}");
    let said = refusal(&["--config", "no/such/file.toml"]);
    assert!(said.contains("no/such/file.toml cannot be read: No such file"), "{said}");
    for (name, content, wrong) in [
        ("unknown.toml", "cores = 2\nmax_mesage_bytes = 1\n", "line 2: unknown field `max_mesage_bytes`"),
        ("type.toml", "cores = \"two\"\n", "line 1: invalid type: string \"two\""),
        ("syntax.toml", "cores = 2\n\ncores 2\n", "line 3: "),
    ] {
        let path = file(name, content);
        let said = refusal(&["--config", path.to_str().unwrap()]);
        assert!(said.contains(name) && said.contains(wrong), "{said}");
    }
}

#[test]
fn more_connections_than_descriptors_are_refused_with_the_numbers() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--cores", "2", "--max-connections", "1000", "--admin-listen"];
    let refusal =
        |admin| one_line(Run::new(ringsock_with_descriptors(512, &[&arguments[..], &[admin]].concat())).refusal());
    let said = refusal("none");
    assert!(said.contains("1000 connections need 1128 file descriptors, but the limit is 512."), "{said}");
    assert!(said.contains("at most 384 connections"), "{said}");
    // The listener for metrics has its share put aside.
    let said = refusal("127.0.0.1:0");
    assert!(said.contains("1000 connections need 1256 file descriptors, but the limit is 512."), "{said}");
    assert!(said.contains("at most 256 connections"), "{said}");
}

/// Has the default address for metrics in use: by this value, unless somebody has it for good.
fn hold_the_default_address() -> Option<TcpListener> {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind("127.0.0.1:9001") {
            Ok(holder) => return Some(holder),
            Err(_) if Instant::now() > end => return None,
            // A server that is tried elsewhere on this machine goes soon.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn an_address_for_metrics_that_was_asked_for_is_needed_and_the_default_is_not() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refusal_after_a_wait(&["--listen", "127.0.0.1:0", "--admin-listen", &address]);
    assert!(said.contains(&format!("Cannot listen on {address}: Address already in use")), "{said}");

    let _holder = hold_the_default_address();
    // Few enough connections that any host is prepared for them, which would be another warning.
    let mut command = ringsock(&["serve", "--listen", "127.0.0.1:0", "--max-connections", "100"]);
    command.env_remove("RINGSOCK_ADMIN_LISTEN");
    let server = Run::new(command);
    let banner = server.banner();
    assert!(banner.contains("\n  metrics      none\n"), "{banner}");
    let log = server.log();
    let [warning] = &log[..] else { panic!("{log:?}") };
    for words in ["WARN", "No metrics: 127.0.0.1:9001 is in use", "--admin-listen"] {
        assert!(warning.contains(words), "{warning}");
    }
}
