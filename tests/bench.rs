//! Tests of `ringsock bench` as a newcomer uses it: against the server, and against servers that break their promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use program::http::{HttpClient, request};
use program::run::own_address;
use program::{Process, between, isolate, serve};
use ringsock::load::{ACHIEVED_MIN, SLOW_US};
use ringsock::{Ended, Handler, Message, Response, Server, Session, Upgrade, UpgradeRequest};
use serde_json::Value;

/// The patience of a test: a second is measured; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `ringsock bench` with these arguments. Returns how it ended, and its JSON.
fn bench(name: &str, arguments: &[&str]) -> (Output, Value) {
    let json = file(&format!("bench-{name}.json"));
    let mut command = command(arguments);
    let output = command.arg("--json").arg(&json).output().unwrap();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output, serde_json::from_str(&text).unwrap())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut command);
    command.arg("bench").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Starts a server, and returns its URL.
fn server() -> (Process, String) {
    let (process, banner) = serve(&["--admin-listen", "none", "--cores", "2"]);
    (process, format!("ws://{}", between(&banner, "ready on ws://", "/echo")))
}

const SHORT: [&str; 4] = ["--duration", "0.5", "--warm-up", "0.1"];

fn count(json: &Value, name: &str) -> u64 {
    json[name].as_u64().unwrap_or_else(|| panic!("no {name} in {json}"))
}

#[track_caller]
fn is_faultless(output: &Output, json: &Value) {
    assert!(output.status.success(), "{}", said(output));
    assert_eq!(json["faults"], serde_json::json!({}));
    assert!(said(output).contains("none"), "{}", said(output));
}

#[test]
fn an_echo_is_measured_in_a_closed_loop_on_each_reactor() {
    let (process, url) = server();
    let pid = process.0.id().to_string();
    for reactor in [&["--threads", "2"][..], &["--epoll"]] {
        let url = format!("{url}/echo");
        let arguments = [&["echo", "--url", &url, "-c", "20", "-f", "4", "--pid", &pid][..], &SHORT, reactor].concat();
        let (output, json) = bench("echo", &arguments);
        is_faultless(&output, &json);
        assert_eq!((count(&json, "open"), count(&json, "connections")), (20, 20));
        assert!(count(&json, "received") > 0);
        let latency = &json["latency_us"];
        let percentiles: Vec<_> =
            ["p50", "p90", "p99", "p99_9", "max"].map(|name| latency[name].as_f64().unwrap()).into();
        assert!(percentiles[0] > 0.0 && percentiles.is_sorted(), "{latency}");
        assert!(json["server"]["cpu_us"].as_f64().unwrap() > 0.0);
        let busy = json["load"]["busy_percent"].as_f64().unwrap();
        assert!(busy > 0.0 && busy < 105.0 && said(&output).contains("% busy"), "{}", said(&output));
        assert!(json["samples"].as_array().unwrap().len() >= 2);
    }
}

#[test]
fn large_and_tiny_messages_come_back_whole() {
    let (_process, url) = server();
    let url = format!("{url}/echo");
    for size in ["1", "125", "126", "65535", "65536"] {
        let arguments = [&["echo", "--url", &url, "-c", "3", "-s", size, "-f", "3", "--text"][..], &SHORT].concat();
        let (output, json) = bench("sizes", &arguments);
        is_faultless(&output, &json);
        assert!(count(&json, "received") > 0, "{size}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let (_process, url) = server();
    let url = format!("{url}/echo");
    let (output, json) =
        bench("rate", &["echo", "--url", &url, "-c", "10", "--rate", "500", "--duration", "2", "--threads", "2"]);
    is_faultless(&output, &json);
    // All due messages return, except for those under way at the end, which are as old as the slowest at most.
    let (received, per_second) = (count(&json, "received") as f64, json["per_second"].as_f64().unwrap());
    let slowest_s = json["latency_us"]["max"].as_f64().unwrap() / 1e6;
    let edges_s = 0.1 + slowest_s;
    assert!((received / 500.0 - received / per_second).abs() < edges_s, "{received} at {per_second}/s, {slowest_s} s");
    assert!(json["samples"].as_array().unwrap().iter().any(|sample| sample["stage"] == "measure"), "{json}");
}

#[test]
fn a_load_that_measures_itself_says_so() {
    let (_process, url) = server();
    let url = format!("{url}/echo");
    let note = |rate: &str| {
        let arguments = [&["echo", "--url", &url, "-c", "10", "--rate", rate][..], &SHORT].concat();
        let (output, json) = bench(&format!("limit-{rate}"), &arguments);
        (said(&output).contains("NOTE"), json["load"].clone())
    };
    // No server achieves it, even if the load has a processor of its own.
    let (noted, load) = note("100000000");
    assert!(noted, "{load}");
    assert!(load["late_us"]["p99"].as_f64().unwrap() > 10_000.0, "{load}");
    let (_, load) = note("100");
    assert!(load["busy_percent"].as_f64().unwrap() < 50.0, "{load}");
}

#[test]
fn a_fan_out_reaches_everyone_in_order() {
    let (_process, url) = server();
    for (name, path, more) in [
        ("one", "/topics/one", &["--publishers", "1"][..]),
        ("three", "/topics/three", &["--publishers", "3", "--threads", "2", "-f", "2"]),
        ("quiet", "/topics/quiet?echo=false", &["--publishers", "2", "--no-echo"]),
        ("open-loop", "/topics/open", &["--publishers", "2", "--rate", "200"]),
    ] {
        let url = format!("{url}{path}");
        let arguments = [&["fanout", "--url", &url, "-c", "30", "-s", "100"][..], &SHORT, more].concat();
        let (output, json) = bench(&format!("fanout-{name}"), &arguments);
        is_faultless(&output, &json);
        assert!(count(&json, "received") > 0, "{json}");
    }
}

#[test]
fn handshakes_are_counted() {
    let (_process, url) = server();
    let (output, json) =
        bench("connect", &[&["connect", "--url", &format!("{url}/echo"), "-c", "8"][..], &SHORT].concat());
    is_faultless(&output, &json);
    assert!(json["per_second"].as_f64().unwrap() > 0.0, "{json}");
    assert!(json["latency_us"]["p50"].as_f64().unwrap() > 0.0);
}

#[test]
fn all_idle_connections_answer_in_the_end_also_those_of_further_processes() {
    let (process, url) = server();
    let json = file("bench-idle.json");
    // 300 descriptors of which 128 are reserved: three processes.
    let mut shell = Command::new("sh");
    isolate(&mut shell);
    shell.args(["-c", "ulimit -n 300 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringsock"), "bench", "idle"]);
    shell.args(["--url", &format!("{url}/echo"), "-c", "500", "--source", "127.9.0.0/28", "--duration", "1"]);
    shell.args(["--pid", &process.0.id().to_string(), "--json"]).arg(&json);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    is_faultless(&output, &json);
    assert_eq!((count(&json, "open"), count(&json, "answered")), (500, 500));
    assert!(json["server"]["bytes_per_connection"].is_number());
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("10,000,000 connections: "), "{shown}");
}

#[test]
fn a_process_of_a_bench_that_is_killed_is_a_fault_and_holds_nobody_up() {
    const CONNECTIONS: u64 = 500;
    let server = Server::builder().listen("127.0.0.1:0").cores(1).start(|_core| Liar { heard: 0 }).unwrap();
    // 300 descriptors of which 128 are reserved: three processes beside the one that is started here.
    let mut shell = Command::new("sh");
    isolate(&mut shell);
    shell.args(["-c", "ulimit -n 300 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringsock"), "bench", "idle"]);
    shell.args([
        "--url",
        &format!("ws://{}/lost", server.address()),
        "-c",
        &CONNECTIONS.to_string(),
        "--duration",
        "1",
    ]);
    // The messages that this server loses on purpose must not be awaited.
    shell.args(["--settle", "1"]);
    shell.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process(shell.spawn().unwrap());
    let pid = process.0.id();
    let sessions = || server.counters().iter().map(|counters| counters.connections()).sum::<u64>();
    let begun = Instant::now();
    while sessions() < CONNECTIONS {
        assert!(begun.elapsed() < PATIENCE, "{} connections", sessions());
        std::thread::sleep(Duration::from_millis(5));
    }
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let child = children.split_whitespace().next().unwrap();
    assert!(Command::new("kill").args(["-KILL", child]).status().unwrap().success());
    let mut text = String::new();
    process.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(process.0.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("A process of the load generator ended early."), "{text}");
}

#[test]
fn a_mixed_load_echoes_and_comes_and_goes() {
    let (_process, url) = server();
    let url = format!("{url}/echo");
    let arguments =
        ["mixed", "--url", &url, "-c", "50", "--active", "20", "--churn", "100", "--duration", "1", "--warm-up", "0"];
    let (output, json) = bench("mixed", &arguments);
    is_faultless(&output, &json);
    let mut measured = json["samples"].as_array().unwrap().iter().filter(|sample| sample["stage"] == "measure");
    let come_again = measured.any(|sample| sample["opened_per_second"].as_f64().unwrap() > 0.0);
    assert!(count(&json, "received") > 0 && come_again, "{json}");
}

#[test]
fn the_report_shows_plots_and_needs_nothing_else() {
    let (process, url) = server();
    let html = file("bench.html");
    let pid = process.0.id().to_string();
    let url = format!("{url}/echo");
    let arguments =
        ["echo", "--url", &url, "-c", "5", "--duration", "1.2", "--pid", &pid, "--html", html.to_str().unwrap()];
    let output = command(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(page.matches("<svg ").count(), 6);
    assert!(page.contains("Latency by percentile") && page.contains("ringsock bench echo --url"));
    assert!(page.contains("every answer was right") && page.contains(&format!("ringsock (process {pid})")));
    for foreign in ["src=", "href=", "@import", "<script"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn an_interrupted_bench_says_what_it_has() {
    says_what_it_has_after("INT");
}

#[test]
fn a_bench_without_its_terminal_writes_its_results_so_far() {
    says_what_it_has_after("HUP");
}

/// Waits until this figure has reached so much, over all cores of a server.
fn await_sum(url: &str, figure: &str, wanted: u64) {
    let end = Instant::now() + PATIENCE;
    let mut client = HttpClient::new(url.trim_start_matches("ws://"));
    loop {
        client.write(request("GET /api/cores", ""));
        let told: Value = serde_json::from_str(&client.answer().body).unwrap();
        let cores = told["cores"].as_array().unwrap();
        if cores.iter().map(|core| core[figure].as_u64().unwrap()).sum::<u64>() >= wanted {
            return;
        }
        assert!(Instant::now() < end, "never {wanted}: {told}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send_signal(process: &Process, signal: &str) {
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

fn says_what_it_has_after(signal: &str) {
    let (_process, url) = server();
    let json = file(&format!("bench-interrupted-{signal}.json"));
    let echo = format!("{url}/echo");
    let mut command = command(&["echo", "--url", &echo, "-c", "5", "--warm-up", "0", "--duration", "600"]);
    let mut process = Process(command.arg("--json").arg(&json).spawn().unwrap());
    // This is long after the first measured message.
    await_sum(&url, "messages_received", 10_000);
    send_signal(&process, signal);
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut text = String::new();
    process.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(status.success() && text.contains("interrupted"), "{status}: {text}");
    let json: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert!(json["interrupted"] == true && count(&json, "received") > 0);
}

/// A server that answers as the path says: something else, nothing, everything twice, or a refusal.
struct Liar {
    heard: u64,
}

#[derive(Clone, Copy, Default)]
enum Lie {
    #[default]
    Changed,
    Lost,
    Twice,
    Closed,
}

impl Handler for Liar {
    type State = Lie;
    type Mail = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Lie> {
        Upgrade::accept_with(match request.target() {
            "/changed" => Lie::Changed,
            "/lost" => Lie::Lost,
            "/twice" => Lie::Twice,
            "/closed" => Lie::Closed,
            _ => return Upgrade::reject(Response::text(403, "Nobody may.")),
        })
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        self.heard += 1;
        if !self.heard.is_multiple_of(10) {
            session.send(message);
            return;
        }
        match *session.state() {
            Lie::Changed => {
                let mut changed = message.as_bytes().to_vec();
                changed.last_mut().unwrap().clone_from(&b'!');
                session.send(Message::Binary(&changed));
            }
            Lie::Lost => {}
            Lie::Twice => {
                session.send(message);
                session.send(message);
            }
            Lie::Closed => session.close(ringsock::CloseCode::TRY_AGAIN_LATER, "too much"),
        }
    }
}

#[test]
fn a_wrong_answer_is_a_failure_and_not_throughput() {
    let server = Server::builder().listen("127.0.0.1:0").cores(1).start(|_core| Liar { heard: 0 }).unwrap();
    for (path, fault) in [
        ("/changed", "changed, lost, repeated or reordered"),
        ("/lost", "changed, lost, repeated or reordered"),
        ("/twice", "changed, lost, repeated or reordered"),
        ("/closed", "closed a connection with 1013: \"too much\""),
        ("/forbidden", "403"),
    ] {
        let url = format!("ws://{}{path}", server.address());
        let arguments = [&["echo", "--url", &url, "-c", "2", "-f", "3"][..], &SHORT].concat();
        let (output, json) = bench("liar", &arguments);
        assert_eq!(output.status.code(), Some(1), "{path}: {}", said(&output));
        let faults = json["faults"].as_object().unwrap();
        assert!(faults.keys().any(|what| what.contains(fault)), "{path}: {faults:?}");
        assert!(said(&output).contains("FAULT"), "{}", said(&output));
    }
    drop(server);
}

#[test]
fn clients_that_are_cut_off_reconnect() {
    let server = Server::builder().listen("127.0.0.1:0").cores(1).start(|_core| Liar { heard: 0 }).unwrap();
    let url = format!("ws://{}/closed", server.address());
    for pace in [&["-f", "1"][..], &["--rate", "300"]] {
        let arguments = [&["echo", "--url", &url, "-c", "2", "--duration", "2", "--warm-up", "0"], pace].concat();
        let begun = Instant::now();
        let (output, json) = bench("comes-again", &arguments);
        let most = 2 * (10 * begun.elapsed().as_secs() + 10);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        // Both are cut off within 20 messages, reconnect, and are not retried more than ten times a second.
        let closes: u64 = json["faults"].as_object().unwrap().values().map(|times| times.as_u64().unwrap()).sum();
        assert!((3..=most).contains(&closes) && count(&json, "received") > closes, "{json}");
    }
}

/// A server that answers no client, or only some, or greets, as the path says.
struct Reluctant {
    opened: usize,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Manners {
    #[default]
    Silent,
    /// Answers every second connection.
    Half,
    /// Sends so many messages before it answers.
    Greets(usize),
    /// Publishes to all subscribers but one.
    Forgets,
}

impl Handler for Reluctant {
    type State = (Manners, usize);
    type Mail = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Self::State> {
        let manners = match request.path() {
            "/half" => Manners::Half,
            "/greets" => Manners::Greets(1),
            "/greets-twice" => Manners::Greets(2),
            "/forgets" => Manners::Forgets,
            _ => Manners::Silent,
        };
        Upgrade::accept_with((manners, 0))
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        self.opened += 1;
        session.state().1 = self.opened;
        match session.state().0 {
            Manners::Greets(times) => {
                (0..times).for_each(|_| _ = session.send("welcome"));
                let _ = session.subscribe("greeted");
            }
            Manners::Forgets if self.opened != 3 => drop(session.subscribe("forgetful")),
            _ => {}
        }
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        match *session.state() {
            (Manners::Silent, _) => {}
            (Manners::Half, number) if number % 2 == 1 => {}
            (Manners::Forgets, _) => drop(session.publish("forgetful", message)),
            // A fan-out message needs room for a stamp, which an echo of these tests does not have.
            (Manners::Greets(_), _) if message.len() >= 32 => drop(session.publish("greeted", message)),
            _ => drop(session.send(message)),
        }
    }
}

fn reluctant() -> Server {
    Server::builder().listen("127.0.0.1:0").cores(1).start(|_core| Reluctant { opened: 0 }).unwrap()
}

/// Faults are counted where a message was due and did not come.
#[track_caller]
fn is_missed(output: &Output, json: &Value, fault: &str, times: std::ops::RangeInclusive<u64>) {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    let faults = json["faults"].as_object().unwrap();
    let (_, counted) = faults.iter().find(|(what, _)| what.contains(fault)).unwrap_or_else(|| panic!("{faults:?}"));
    assert!(times.contains(&counted.as_u64().unwrap()), "{faults:?}");
    assert!(said(output).contains("FAULT") && !said(output).contains("none"), "{}", said(output));
}

const NO_ANSWER: &str = "had not arrived by the end of the run";

#[test]
fn connections_that_do_not_answer_in_the_end_are_told_and_end_a_bench_with_1() {
    let server = reluctant();
    for (path, least) in [("/silent", 20), ("/half", 10)] {
        let url = format!("ws://{}{path}", server.address());
        let arguments = [&["idle", "--url", &url, "-c", "20", "--settle", "1"][..], &SHORT].concat();
        let (output, json) = bench("idle-unanswered", &arguments);
        is_missed(&output, &json, "did not answer at the end", least..=20);
        let answered = count(&json, "answered");
        let missing = json["faults"].as_object().unwrap().values().next().and_then(Value::as_u64);
        assert_eq!(missing, Some(20 - answered), "each is told once");
        assert!(said(&output).contains(&format!("{answered} of 20 at the end")), "{}", said(&output));
    }
}

#[test]
fn messages_that_are_never_answered_are_faults_in_every_mode() {
    let server = reluctant();
    let run = |name: &str, path: &str, arguments: &[&str]| {
        let url = format!("ws://{}{path}", server.address());
        let all = [arguments, &["--url", &url, "--settle", "1"], &SHORT].concat();
        bench(&format!("unanswered-{name}"), &all)
    };
    let (output, json) = run("echo", "/silent", &["echo", "-c", "6", "-f", "2"]);
    is_missed(&output, &json, NO_ANSWER, 12..=12);
    let (output, json) = run("half", "/half", &["echo", "-c", "6", "--threads", "2"]);
    is_missed(&output, &json, NO_ANSWER, 3..=6);
    let (output, json) = run("rate", "/half", &["echo", "-c", "6", "--rate", "200"]);
    is_missed(&output, &json, NO_ANSWER, 1..=1000);
    let (output, json) = run("mixed", "/silent", &["mixed", "-c", "10", "--active", "50", "--churn", "20"]);
    is_missed(&output, &json, NO_ANSWER, 5..=5);
    let (output, json) = run("fanout", "/silent", &["fanout", "-c", "4"]);
    is_missed(&output, &json, NO_ANSWER, 4..=4);
    let (output, json) = run("sweep", "/half", &["sweep", "--steps", "4,6", "--rate", "100"]);
    is_missed(&output, &json, NO_ANSWER, 1..=1000);
    assert_eq!(json["steps"].as_array().unwrap().len(), 2, "{json}");
    drop(server);
    // A server of its own, whose third connection gets no message.
    let server = reluctant();
    let url = format!("ws://{}/forgets", server.address());
    let arguments = [&["fanout", "-c", "5", "--rate", "50", "--settle", "1", "--url", &url][..], &SHORT].concat();
    let (output, json) = bench("unanswered-forgotten", &arguments);
    is_missed(&output, &json, NO_ANSWER, 1..=1000);
}

#[test]
fn handshakes_that_are_never_answered_are_faults() {
    // It accepts, and reads nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let arguments = [&["connect", "--url", &url, "-c", "4", "--settle", "1"][..], &SHORT].concat();
    let (output, json) = bench("unanswered-handshakes", &arguments);
    is_missed(&output, &json, "handshake was not answered", 4..=4);
}

#[test]
fn a_bench_that_is_interrupted_before_it_has_measured_anything_ends_with_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let mut process = Process(command(&["echo", "--url", &url, "-c", "2"]).spawn().unwrap());
    // It handles signals from its first connection on.
    let _peer = listener.accept().unwrap();
    send_signal(&process, "INT");
    let status = process.0.wait().unwrap();
    let mut text = String::new();
    process.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("interrupted before anything was measured") && !text.contains("none"), "{text}");
}

#[test]
fn a_server_that_greets_is_no_fault_once_that_is_said() {
    let run = |server: &Server, name: &str, path: &str, arguments: &[&str]| {
        let url = format!("ws://{}{path}", server.address());
        bench(&format!("greets-{name}"), &[arguments, &["--url", &url], &SHORT].concat())
    };
    let tasks = [
        ("echo", &["echo", "-c", "5", "-s", "20"][..]),
        ("rate", &["echo", "-c", "5", "-s", "20", "--rate", "100"]),
        ("mixed", &["mixed", "-c", "10", "-s", "20", "--active", "50", "--churn", "50"]),
        ("idle", &["idle", "-c", "5", "-s", "20"]),
        ("fanout", &["fanout", "-c", "5", "-s", "40", "--publishers", "2"]),
        ("sweep", &["sweep", "-s", "20", "--steps", "3,5", "--rate", "100"]),
    ];
    let greets = |name: &str, task: &[&str]| {
        let server = &reluctant();
        let (output, json) = run(server, name, "/greets", &[task, &["--skip-greetings"]].concat());
        is_faultless(&output, &json);
        // An unannounced greeting is a fault, whatever comes after it.
        let (output, _) = run(server, name, "/greets", task);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", said(&output));
        let (output, json) = run(server, name, "/greets-twice", &[task, &["--skip-greetings", "2"]].concat());
        is_faultless(&output, &json);
    };
    // All run at once, since each mostly waits.
    std::thread::scope(|scope| {
        tasks.iter().for_each(|(name, task)| drop(scope.spawn(|| greets(name, task))));
    });
    let server = &reluctant();
    // The option hides nothing: an answer instead of a greeting is missed, and so is a changed one.
    let (output, json) =
        run(server, "none", "/half", &["idle", "-c", "4", "-s", "20", "--skip-greetings", "--settle", "1"]);
    is_missed(&output, &json, "did not answer at the end", 4..=4);
    let (output, json) =
        run(server, "more", "/greets-twice", &["echo", "-c", "3", "-s", "20", "--skip-greetings", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        json["faults"]
            .as_object()
            .unwrap()
            .keys()
            .any(|what| what.contains("unexpected message") || what.contains("not the expected one"))
    );
}

/// A server that serves so many connections well: beyond them it is slow, or turns clients away.
struct Limited {
    open: usize,
}

const STRENGTH: usize = 25;

impl Handler for Limited {
    type State = ();
    type Mail = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<()> {
        match request.target() {
            "/full" if self.open >= STRENGTH => Upgrade::reject(Response::text(503, "Full.")),
            _ => Upgrade::accept(),
        }
    }

    fn open(&mut self, _: &mut Session<'_, Self>) {
        self.open += 1;
    }

    fn close(&mut self, _: &mut Session<'_, Self>, _: Ended<'_>) {
        self.open -= 1;
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        if self.open <= STRENGTH {
            session.send(message);
            return;
        }
        let (handle, message) = (session.handle(), message.as_bytes().to_vec());
        session.spawn(async move {
            // Far above the latency of a busy host.
            monoio::time::sleep(Duration::from_millis(150)).await;
            handle.send(Message::Binary(&message)).await;
        });
    }
}

const STEPS: [&str; 10] =
    ["sweep", "--steps", "5,10,20,40,60", "--rate", "200", "--duration", "1", "--warm-up", "0.3", "--url"];

/// Asserts that the knee is at the first step beyond the server's capacity: at 40, or earlier if the host prevented one
/// of the earlier steps from being served well. Returns whether it prevented none.
fn is_found(json: &Value) -> bool {
    let number = |value: &Value| value.as_f64().unwrap();
    let calm = json["steps"].as_array().unwrap()[..3].iter().all(|step| {
        let achieved = number(&step["achieved_per_second"]) / number(&json["offered_per_second"]);
        number(&step["latency_us"]["p99"]) <= SLOW_US && achieved >= ACHIEVED_MIN
    });
    let knee = number(&json["knee"]["connections"]);
    assert!(knee == 40.0 || knee < 40.0 && !calm, "{json}");
    calm
}

#[test]
fn a_sweep_finds_the_knee_where_it_is() {
    let server = Server::builder().listen("127.0.0.1:0").cores(1).start(|_core| Limited { open: 0 }).unwrap();
    let url = format!("ws://{}/slow", server.address());
    let (output, json) = bench("sweep-slow", &[&STEPS[..], &[&url]].concat());
    is_faultless(&output, &json);
    if is_found(&json) {
        assert_eq!((&json["knee"]["served"], &json["knee"]["sign"]), (&20.into(), &"slow".into()));
        assert!(said(&output).contains("20 are served well"), "{}", said(&output));
    }
    let p50s = json["steps"].as_array().unwrap().iter().map(|step| step["latency_us"]["p50"].as_f64().unwrap());
    let slow: Vec<bool> = p50s.map(|p50_us| p50_us > 140_000.0).collect();
    assert_eq!(slow[3..], [true, true]);
}

#[test]
fn a_sweep_counts_who_is_turned_away_as_errors() {
    let server = Server::builder().listen("127.0.0.1:0").cores(1).start(|_core| Limited { open: 0 }).unwrap();
    let url = format!("ws://{}/full", server.address());
    let (output, json) = bench("sweep-full", &[&STEPS[..], &[&url]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    if is_found(&json) {
        assert_eq!(json["knee"]["sign"], "errors");
    }
    let errors: Vec<_> =
        json["steps"].as_array().unwrap().iter().map(|step| step["error_rate"].as_f64().unwrap()).collect();
    assert_eq!(errors[..3], [0.0; 3]);
    // 15 of 40 and 35 of 60 are turned away, and their share of the messages is missing.
    assert!((errors[3] - 0.375).abs() < 0.05 && (errors[4] - 0.583).abs() < 0.05, "{errors:?}");
    assert!(json["faults"].as_object().unwrap().keys().any(|what| what.contains("503")), "{json}");
}

#[test]
fn a_sweep_offers_half_of_what_the_server_carries() {
    let (process, url) = server();
    let (pid, html) = (process.0.id().to_string(), file("sweep.html"));
    let url = format!("{url}/echo");
    let steps = ["sweep", "--steps", "10,20", "--duration", "0.5", "--warm-up", "0.2", "--pid", &pid, "--url", &url];
    let (output, json) = bench("sweep", &[&steps[..], &["--html", html.to_str().unwrap()]].concat());
    is_faultless(&output, &json);
    let offered = json["offered_per_second"].as_f64().unwrap();
    let saturated = &json["saturated"];
    assert!((offered / saturated["per_second"].as_f64().unwrap() - 0.5).abs() < 0.01, "{json}");
    assert_eq!(saturated["connections"], 20);
    for step in json["steps"].as_array().unwrap() {
        assert!(step["achieved_per_second"].as_f64().unwrap() > 0.0 && step["error_rate"] == 0.0, "{json}");
        assert!(step["server"]["cpu_percent"].as_f64().unwrap() > 0.0);
    }
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("Latency over connections") && page.contains("Server memory"), "{page}");
}

#[test]
fn an_interrupted_sweep_says_what_it_has() {
    let (_process, url) = server();
    let json = file("bench-sweep-interrupted.json");
    let echo = format!("{url}/echo");
    let mut command = command(&["sweep", "--steps", "5,6,7", "--rate", "100", "--duration", "2", "--url", &echo]);
    let process = command.arg("--json").arg(&json).spawn().unwrap();
    let mut process = Process(process);
    // The connections of the second step, and the one that asks.
    await_sum(&url, "connections", 7);
    send_signal(&process, "INT");
    assert!(process.0.wait().unwrap().success());
    let json: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let steps = json["steps"].as_array().unwrap().len();
    assert!(json["interrupted"] == true && (1..3).contains(&steps), "{json}");
}

#[test]
fn says_that_nobody_listens() {
    let free = std::net::TcpListener::bind((own_address(), 0)).unwrap().local_addr().unwrap();
    let (output, json) = bench("nobody", &["echo", "--url", &format!("ws://{free}/"), "-c", "3"]);
    assert_eq!(output.status.code(), Some(1));
    let faults = json["faults"].as_object().unwrap();
    assert!(faults.keys().any(|what| what.contains("refused")), "{faults:?}");
    let (output, json) = bench("nobody-swept", &["sweep", "--url", &format!("ws://{free}/"), "--steps", "2,3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(json["steps"] == serde_json::json!([]) && said(&output).contains("no rate to offer"), "{json}");
}

#[test]
fn refuses_what_cannot_work_in_one_sentence() {
    for (arguments, reason) in [
        (&["echo", "-c", "0"][..], "connections is 0"),
        (&["echo", "--url", "https://localhost/"], "ws:// or wss://"),
        (&["echo", "--rate", "0"], "rate is 0"),
        (&["fanout", "-s", "10"], "size of at least 32"),
        (&["fanout", "-c", "3", "--publishers", "5"], "5 publishers"),
        (&["echo", "--source", "::1"], "IPv6"),
        (&["echo", "--header", "nonsense"], "no colon"),
        (&["echo", "--envelope", "nothing"], "for the message"),
        (&["echo", "--duration=-1"], "not a number of seconds"),
        (&["echo", "-H", "Host: other"], "cannot be sent"),
        (&["sweep", "--steps", "5,3"], "do not increase"),
        (&["sweep", "--rate", "0"], "rate is 0"),
    ] {
        let output = command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.starts_with("ringsock: ") && errors.lines().count() == 1, "{errors}");
        assert!(errors.contains(reason), "{arguments:?}: {errors}");
    }
}
