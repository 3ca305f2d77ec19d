//! Tests of the program `ringsock` as an operator uses it: its help, its settings, and its errors at start.

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

use ringsock::config::KEYS;

use program::run::{PATIENCE, Run, isolated, ringsock};

/// Returns the program with at most so many descriptors.
fn ringsock_with_descriptors(limit: u32, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_ringsock")]);
    isolated(shell, arguments)
}

/// Returns the line with which `ringsock serve` refuses to start, after it has said that it waits for its address.
fn refusal_after_a_wait(arguments: &[&str]) -> String {
    let said = Run::new(ringsock(&[&["serve"], arguments].concat())).refusal();
    let [wait, refusal] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(wait.contains(" is in use.") && refusal.starts_with("ringsock: "), "{said}");
    refusal.to_owned()
}

/// Returns the one line with which `ringsock serve` refuses to start.
fn refusal(arguments: &[&str]) -> String {
    one_line(Run::new(ringsock(&[&["serve"], arguments].concat())).refusal())
}

fn one_line(refusal: String) -> String {
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    assert!(refusal.starts_with("ringsock: "), "{refusal}");
    refusal
}

/// Returns the path of a file of this test's own.
fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

/// The only flags: those of keys that are often set.
const FLAGS: [&str; 18] = [
    "listen",
    "tls-certificate",
    "tls-key",
    "tls-self-signed",
    "admin-listen",
    "cores",
    "reactor",
    "max-connections",
    "max-message-bytes",
    "ping-interval-ms",
    "dead-peer-timeout-ms",
    "compression",
    "allow-origin",
    "trusted-proxies",
    "api-key",
    "log",
    "config",
    "set",
];

fn help(flag: &str) -> String {
    let output = ringsock(&["serve", flag]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_has_the_everyday_flags_with_unit_default_variable_and_key() {
    let help = help("--help");
    let flags: Vec<&str> =
        help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '[']).next()).collect();
    assert_eq!(flags, FLAGS);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for key in KEYS.iter().filter(|key| key.flag.is_some()) {
        let flag = key.flag.as_ref().unwrap();
        assert!(FLAGS.contains(&flag.name), "{key}");
        let shown = if flag.value == "true|false" { "[=<true|false>]" } else { &format!(" <{}>", flag.value) };
        let (_, after) = help.split_once(&format!("--{}{shown} ", flag.name)).expect(flag.name);
        let entry = after.split(" --").next().unwrap();
        let default = key.default_value();
        for part in [
            format!("[default: {}]", default.trim_matches('"')),
            format!("[variable: {}]", key.variable()),
            format!("[key: {key}]"),
        ] {
            assert!(entry.contains(&part), "{part}: {entry}");
        }
        assert_eq!(key.variable(), format!("RINGSOCK_{}", flag.name.to_uppercase().replace('-', "_")));
    }
}

#[test]
fn the_short_help_fits_a_screen_and_has_every_flag() {
    let help = help("-h");
    assert!(help.lines().count() <= 40, "{} lines", help.lines().count());
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    for flag in FLAGS {
        assert!(help.contains(&format!(" --{flag} ")) || help.contains(&format!(" --{flag}[=")), "{flag}");
    }
    for heading in ["Listen:", "Cores:", "Sessions:", "Access:", "Settings:"] {
        assert!(help.lines().any(|line| line == heading), "{heading}");
    }
}

#[test]
fn a_flag_that_is_gone_is_told_the_key_that_sets_it() {
    for (flag, key) in [
        ("--ring-entries", "topics.ring-entries"),
        ("--share-port", "listen.share-port"),
        ("--proxy-protocol", "listen.proxy-protocol"),
        ("--pin", "cores.pin"),
        ("--subprotocols", "handshake.subprotocols"),
        ("--drain-delay-ms", "drain.delay-ms"),
        ("--api-insecure", "api.insecure"),
        ("--api-allow-origin", "api.allow-origin"),
        ("--compression-level", "compression.level"),
        ("--max-compression-contexts", "compression.max-contexts"),
        ("--max-heders", "limits.max-headers"),
    ] {
        let output = ringsock(&["serve", flag, "1"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(said.starts_with(&format!("error: unexpected argument '{flag}' found\n")), "{said}");
        assert!(said.contains(&format!("tip: set {key} with --set or in the file: --set {key}=")), "{said}");
    }
    // The error for a misspelt flag names the flag.
    let output = ringsock(&["serve", "--max-conections", "1"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("'--max-connections'"));
}

#[test]
fn a_file_is_checked_with_a_line_for_each_fault() {
    let check = |name: &str, text: &str| {
        let path = file(name, text);
        let output = ringsock(&["config", "check"]).arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap().replace(path.to_str().unwrap(), "FILE");
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
    };
    let good = "[[listen]]\naddress = \":9000\"\n[tokens]\nopen = true\n[limits]\nmax-message-bytes = \"64KB\"\n[timeouts]\nping-interval-ms = \"25s\"\n";
    assert_eq!(check("good.toml", good), (Some(0), "ok\n".to_owned(), String::new()));
    assert_eq!(check("empty.toml", ""), (Some(0), "ok\n".to_owned(), String::new()));
    let (code, _, said) = check("strangers.toml", "[[listen]]\naddress = \":9000\"\n");
    assert!(code == Some(0) && said.starts_with("ringsock: Other hosts reach the server on :9000."), "{said}");
    let bad = "[limits]\nmax-headers = \"many\"\nmax-heders = 3\n\n[timeout]\n";
    let said = "ringsock: FILE:2: limits.max-headers is \"many\", but must be a whole number, such as 4.\n\
                ringsock: FILE:3: limits.max-heders is not a setting. Did you mean limits.max-headers?\n\
                ringsock: FILE:5: [timeout] is not a setting. Did you mean [timeouts]?\n";
    assert_eq!(check("bad.toml", bad), (Some(1), String::new(), said.to_owned()));
    let doubtful = check("doubtful.toml", "[timeouts]\nping-interval-ms = 0\n");
    assert!(doubtful.0 == Some(0) && doubtful.2.contains("timeouts.ping-interval-ms (FILE:2) is 0"), "{doubtful:?}");
    let output = ringsock(&["config", "check", "no/such/file.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_file_of_defaults_is_accepted_and_serves() {
    let output = ringsock(&["config", "defaults"]).output().unwrap();
    let path = file("defaults.toml", &String::from_utf8(output.stdout).unwrap());
    let output = ringsock(&["config", "check"]).arg(&path).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ok\n");
    let with_file = Run::new(ringsock(&["serve", "--listen", "127.0.0.1:0", "--config", path.to_str().unwrap()]));
    let without = Run::new(ringsock(&["serve", "--listen", "127.0.0.1:0"]));
    let banner = |run: &Run| {
        let banner = run.banner();
        let lines = banner.lines().filter(|line| !line.contains("listen") && !line.contains("ready"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(banner(&with_file), banner(&without));
}

#[test]
fn values_in_force_are_shown_with_their_source() {
    let path = file("shown.toml", "[limits]\nmax-headers = 50\n");
    let mut command = ringsock(&["config", "show", "--cores", "3", "--set", "topics.ring-entries=8", "--config"]);
    command.arg(&path).env("RINGSOCK_PING_INTERVAL_MS", "20s").env("RINGSOCK_API_KEY", "s3cret");
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<String> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        format!("limits.max-headers = 50 # {}:2", path.display()).as_str(),
        "cores.count = 3 # --cores",
        "topics.ring-entries = 8 # --set",
        "timeouts.ping-interval-ms = 20000 # RINGSOCK_PING_INTERVAL_MS",
        "api.key = \"hidden\" # RINGSOCK_API_KEY",
        "admin.listen = \"none\" # RINGSOCK_ADMIN_LISTEN",
        "limits.max-head-bytes = 16384 # default",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line}: {shown:#?}");
    }
    // There is no issuer, no role, and no key of a program.
    let of_access = |key: &&ringsock::config::Key| ["issuer", "role", "api-key"].contains(&key.section);
    assert_eq!(shown.len(), KEYS.len() - KEYS.iter().filter(of_access).count());
    let output = ringsock(&["config", "show", "--set", "limits.max-headers=0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = ringsock(&["--version"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!("ringsock ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_port_in_use_is_refused_and_shared_only_when_asked_for() {
    let first = Run::new(ringsock(&["serve", "--listen", "127.0.0.1:0", "--set", "listen.share-port=true"]));
    let address = first.address();
    let said = refusal_after_a_wait(&["--listen", &address]);
    assert!(said.contains(&format!("Cannot listen on {address}: Address already in use")), "{said}");
    let second = Run::new(ringsock(&["serve", "--listen", &address, "--set", "listen.share-port=true"]));
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
    let path = file("precedence.toml", "[limits]\nmax-headers = 50\n");
    let headers = |variable: Option<&str>, flag: &[&str], config: bool| {
        let mut command = ringsock(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(flag);
        if let Some(variable) = variable {
            command.env("RINGSOCK_LIMITS__MAX_HEADERS", variable);
        }
        if config {
            command.arg("--config").arg(&path);
        }
        let banner = Run::new(command).banner();
        let (before, _) = banner.split_once(" headers").unwrap();
        before.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(headers(Some("40"), &["--set", "limits.max-headers=30"], true), 30);
    assert_eq!(headers(Some("40"), &[], true), 40);
    assert_eq!(headers(None, &[], true), 50);
    assert_eq!(headers(None, &[], false), 64);
}

#[test]
fn empty_variables_and_those_that_kubernetes_sets_change_nothing() {
    let mut command = ringsock(&["serve", "--listen", "127.0.0.1:0", "--cores", "1"]);
    command.envs(KEYS.iter().map(|key| (key.variable(), "")));
    command.envs([("RINGSOCK_CONFIG", ""), ("RINGSOCK_LOG", " "), ("RINGSOCK_ADMIN_LISTEN", "none\n")]);
    // The variables of a Service named ringsock, as in the documentation of Kubernetes.
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
        ("RINGSOCK_CORES", "two", "must be a whole number"),
        ("RINGSOCK_REACTOR", "kqueue", "must be auto, uring or epoll"),
        ("RINGSOCK_LISTEN__PROXY_PROTOCOL", "yes", "must be true or false"),
        ("RINGSOCK_ADMIN_LISTEN", "nowhere", "has no port. Write nowhere:9000."),
        ("RINGSOCK_LIMITS__MAX_HEADERS", "1000", "must be from 1 to 256"),
        ("RINGSOCK_ALLOW_ORIGIN", "https://a/", "is not a valid origin"),
        ("RINGSOCK_TRUSTED_PROXIES", "proxy", "neither an address nor a network"),
        ("RINGSOCK_TOPICS__OVERFLOW", "block", "unknown policy \"block\""),
        ("RINGSOCK_LOG", "ringsock=loudly", "must be a filter"),
        ("RINGSOCK_CONFIG", "no/such/file.toml", "cannot be read"),
        ("RINGSOCK_API_KEY", "a b", "visible ASCII"),
        ("RINGSOCK_MAX_HEADERS", "40", "That of limits.max-headers is RINGSOCK_LIMITS__MAX_HEADERS."),
        ("RINGSOCK_LIMITS__MAX_HEDERS", "40", "That of limits.max-headers is RINGSOCK_LIMITS__MAX_HEADERS."),
    ] {
        let said = refusal(name, value);
        assert!(said.contains(name) && said.contains(reason), "{said}");
    }
    assert!(!refusal("RINGSOCK_API_KEY", "s3cret s3cret").contains("s3cret"));
    // The same for the other command that reads them.
    let mut tune = ringsock(&["tune"]);
    tune.env("RINGSOCK_CORES", "two");
    assert!(one_line(Run::new(tune).refusal()).contains("RINGSOCK_CORES"));
}

#[test]
fn a_bad_flag_or_value_is_named_in_the_first_line() {
    for (arguments, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--max-message-bytes", "many"], "--max-message-bytes"),
        (&["--max-connections", "-1"], "-1"),
        (&["--max-message-bytes", "2GiB"], "must be from 1 to 1073741824 (1GiB)"),
        (&["--log", "ringsock=loudly"], "must be a filter"),
        (
            &["--allow-origin", "https://chat.example/"],
            "\"https://chat.example/\" is not a valid origin. Give a scheme",
        ),
        (&["--trusted-proxies", "127.0.0.1, 10.0.0.1/8"], "\"10.0.0.1/8\" is neither an address nor a network."),
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
    let said = refusal(&["--set", "limits.max-headers=1000"]);
    assert_eq!(said, "ringsock: --set: limits.max-headers is \"1000\", but must be from 1 to 256.\n");
    let said = refusal(&["--listen", "256.0.0.1:80"]);
    assert!(said.contains("\"256.0.0.1:80\" is not an address to listen on"), "{said}");
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_both_values() {
    let said = refusal(&["--ping-interval-ms", "4000", "--dead-peer-timeout-ms", "2000"]);
    let named = "ringsock: timeouts.ping-interval-ms (--ping-interval-ms) is 4000, but must be below \
                 timeouts.dead-peer-timeout-ms (--dead-peer-timeout-ms), which is 2000, or clients";
    assert!(said.starts_with(named), "{said}");
    // One of both is enough to contradict the other's default.
    let said = refusal(&["--dead-peer-timeout-ms", "20000"]);
    assert!(said.contains("ping-interval-ms is 25000") && said.contains("which is 20000"), "{said}");
    let said = refusal(&["--set", "cores.stall-timeout-ms=100"]);
    assert!(
        said.starts_with("ringsock: cores.stall-timeout-ms (--set) is 100, but must be 0 or at least 1000"),
        "{said}"
    );
    let said = refusal(&["--set", "timeouts.assembly-timeout-ms=0"]);
    assert!(said.starts_with("ringsock: timeouts.assembly-timeout-ms (--set) is 0, but must be above 0"), "{said}");
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
    assert!(said[0].contains("an idle client is cut off after 2000 ms"), "{said:?}");
    let said = warnings(&["--set", "timeouts.close-timeout-ms=6000", "--set", "drain.timeout-ms=5000"]);
    assert!(said.len() == 1 && said[0].contains("close_timeout_ms is 6000"), "{said:?}");
    assert_eq!(warnings(&["--ping-interval-ms", "0", "--dead-peer-timeout-ms", "0"]), [""; 0]);
    let said = warnings(&["--listen", "0.0.0.0:0"]);
    assert!(said.len() == 1 && said[0].contains("a stranger can receive the messages of every topic"), "{said:?}");
    assert_eq!(warnings(&["--listen", "0.0.0.0:0", "--set", "tokens.open=true"]), [""; 0]);
}

#[test]
fn wrong_admission_rules_are_refused_at_the_start() {
    let said = refusal(&["--set", "listen.proxy-protocol=true"]);
    assert!(
        said.contains("PROXY headers are accepted from trusted proxies only, and proxies.trusted is none"),
        "{said}"
    );
    let said = refusal(&["--set", "limits.max-handshake-burst-per-address=0"]);
    assert_eq!(
        said,
        "ringsock: --set: limits.max-handshake-burst-per-address is \"0\", but must be from 1 to 1000000.\n"
    );
    let flags = ["--allow-origin", "same-host,https://chat.example", "--trusted-proxies", "10.0.0.0/8, ::1"];
    let all = [&["serve", "--listen", "127.0.0.1:0", "--set", "listen.proxy-protocol=true"], &flags[..]].concat();
    let banner = Run::new(ringsock(&all)).banner();
    assert!(banner.contains("origins      same-host, https://chat.example\n"), "{banner}");
    assert!(banner.contains("proxies      10.0.0.0/8, ::1, each with a PROXY header\n"), "{banner}");
}

#[test]
fn the_start_says_who_may_publish_by_http_and_never_shows_the_key() {
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
    let (banner, answer) = shown(ringsock(&[&listen[..], &["--set", "api.insecure=true"]].concat()));
    assert!(banner.contains("/api/publish, for every program of this host\n"), "{banner}");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut command = ringsock(&[&listen[..], &["--config"]].concat());
    command.arg(file("key.toml", &format!("[api]\nkey = \"{KEY}\"\n")));
    assert!(shown(command).1.starts_with("HTTP/1.1 200 "));

    let help = ringsock(&["serve", "--help"]).env("RINGSOCK_API_KEY", KEY).output().unwrap();
    assert!(help.status.success() && !String::from_utf8(help.stdout).unwrap().contains(KEY));
    let said = refusal(&["--api-key", &format!("{KEY} {KEY}")]);
    assert!(said.contains("api.key must be 1 to 256 visible ASCII characters") && !said.contains(KEY), "{said}");
    let said = refusal(&["--api-key", KEY, "--set", "api.insecure=true"]);
    assert!(said.contains("Give one of them.") && !said.contains(KEY), "{said}");
    let said = refusal(&["--listen", "0.0.0.0:0", "--set", "api.insecure=true"]);
    assert!(said.contains("listen.address is 0.0.0.0:0. Listen there, or give an api.key instead."), "{said}");
}

#[test]
fn a_file_that_is_not_there_or_not_understood_is_refused_by_name() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let said = refusal(&["--config", directory]);
    assert!(said.contains(directory) && said.contains("cannot be read"), "{said}");
    let said = refusal(&["--config", "no/such/file.toml"]);
    assert!(said.contains("no/such/file.toml cannot be read: No such file"), "{said}");
    for (name, content, wrong) in [
        (
            "unknown.toml",
            "[limits]\nmax-mesage-bytes = 1\n",
            "unknown.toml:2: limits.max-mesage-bytes is not a setting.",
        ),
        ("type.toml", "[cores]\ncount = \"two\"\n", "type.toml:2: cores.count is \"two\", but must be a whole number"),
        ("syntax.toml", "[cores]\n\ncount 2\n", "syntax.toml:3: "),
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
    // The descriptors of the metrics listener are reserved.
    let said = refusal("127.0.0.1:0");
    assert!(said.contains("1000 connections need 1256 file descriptors, but the limit is 512."), "{said}");
    assert!(said.contains("at most 256 connections"), "{said}");
}

/// Occupies the default address for metrics with this value, unless another process has it for good.
fn hold_the_default_address() -> Option<TcpListener> {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind("127.0.0.1:9001") {
            Ok(holder) => return Some(holder),
            Err(_) if Instant::now() > end => return None,
            // A server that is tried elsewhere on this machine ends soon.
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
    for words in ["WARN", "No metrics: 127.0.0.1:9001 is in use", "admin_listen"] {
        assert!(warning.contains(words), "{warning}");
    }
}
