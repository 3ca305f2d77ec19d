//! Tests of the log: the output of `ringsock serve` may be closed, gone, full, stuck or slow, from the start or later,
//! and the server still serves and drains in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringsock::reactor::uring::Uring;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use program::client::Client;
use program::run::PATIENCE;
use program::sink::{Fate, Sink, close_descriptor, set_limit};
use program::thread::StoppedThread;
use program::{Process, between, isolate, serve_prepared};

/// The polling interval of a wait.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Errors,
}

/// The moment at which that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Serving,
    Draining,
}

#[test]
fn whatever_becomes_of_its_output_it_serves_and_drains_on_io_uring() {
    match Uring::new() {
        Ok(uring) => {
            drop(uring);
            serves_and_drains_whatever_becomes_of_its_output("uring");
        }
        Err(error) => println!("NOT TESTED: this host refuses io_uring ({error})"),
    }
}

#[test]
fn whatever_becomes_of_its_output_it_serves_and_drains_on_epoll() {
    serves_and_drains_whatever_becomes_of_its_output("epoll");
}

fn serves_and_drains_whatever_becomes_of_its_output(reactor: &str) {
    for stream in [Stream::Output, Stream::Errors] {
        for phase in [Phase::Start, Phase::Serving, Phase::Draining] {
            for fate in [Fate::Closed, Fate::Gone, Fate::Full, Fate::Unread, Fate::Slow] {
                // Only the process itself could close it later, and it never does.
                if fate != Fate::Closed || phase == Phase::Start {
                    serves_and_drains(reactor, stream, phase, fate);
                }
            }
        }
    }
}

fn serves_and_drains(reactor: &str, stream: Stream, phase: Phase, fate: Fate) {
    let case = format!("{reactor}-{stream:?}-{phase:?}-{fate:?}");
    let file = scratch(&case);
    let mut sink = if phase == Phase::Start { Sink::spoilt(fate, file) } else { Sink::new(fate, file) };
    let mut server = Server::start(&["--reactor", reactor], |command| {
        match stream {
            Stream::Output => command.stdout(sink.stdio()),
            Stream::Errors => command.stderr(sink.stdio()),
        };
        if fate == Fate::Closed {
            close_descriptor(command, stream as RawFd + 1);
        }
    });
    let mut session = server.session();
    session.echo("before");
    if phase == Phase::Serving {
        sink.spoil(server.pid());
        if stream == Stream::Errors {
            server.stall_core();
        }
        session.echo("after");
    }
    if phase == Phase::Draining {
        sink.spoil(server.pid());
    }
    server.signal(libc::SIGTERM);
    assert_eq!(goodbye(session), 1001, "{case}");
    assert_eq!(server.end().code(), Some(0), "{case}");
}

#[test]
fn the_reader_of_a_pipeline_that_leaves_first_at_ctrl_c_takes_nobody_with_it() {
    let (reader, writer) = pipe().unwrap();
    let mut tee = Command::new("tee");
    isolate(&mut tee);
    tee.arg(scratch("tee")).stdin(reader).stdout(Stdio::null()).process_group(0);
    let process = tee.spawn().unwrap();
    // The test's own end of the pipe is closed with the command.
    drop(tee);
    let mut tee = Process(process);
    let group = tee.0.id() as i32;
    let mut server = Server::start(&[], |command| {
        command.stdout(writer.try_clone().unwrap()).stderr(writer.try_clone().unwrap()).process_group(group);
    });
    drop(writer);
    let session = server.session();
    // Ctrl-C reaches both processes; in this order it once ended badly.
    signal(group, libc::SIGINT);
    tee.0.wait().unwrap();
    signal(-group, libc::SIGINT);
    assert_eq!(goodbye(session), 1001);
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_though_nobody_reads_its_last_lines() {
    let sink = Sink::spoilt(Fate::Unread, scratch("unread"));
    let long = ["--set", "drain.timeout-ms=600000", "--set", "timeouts.close-timeout-ms=600000"];
    let mut server = Server::start(&long, |command| {
        command.stderr(sink.stdio());
    });
    let mut session = server.session();
    server.signal(libc::SIGTERM);
    assert_eq!(close_code(&mut session), 1001);
    // The session never answers, so only the second signal can end it.
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().code(), Some(1));
}

#[test]
fn a_reader_that_reads_gets_every_line_to_the_last() {
    let (mut reader, writer) = pipe().unwrap();
    let long = ["--set", "drain.timeout-ms=600000", "--set", "timeouts.close-timeout-ms=600000"];
    let mut server = Server::start(&long, |command| {
        command.stderr(writer);
    });
    let mut session = server.session();
    server.signal(libc::SIGTERM);
    assert_eq!(close_code(&mut session), 1001);
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().code(), Some(1));
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert!(log.contains("Draining: no new connections, 1001 to every session.\n"), "{log}");
    assert!(log.ends_with("\nringsock: The server stopped before all sessions were told that it ends.\n"), "{log}");
}

#[test]
fn lines_that_a_full_disk_does_not_take_are_counted_and_told_of_once_there_is_room() {
    let path = scratch("full.log");
    let mut server = Server::start(&["--reactor", "epoll"], |command| {
        command.stderr(File::create(&path).unwrap());
    });
    let log = || fs::read_to_string(&path).unwrap();
    server.cause_lines();
    await_that("a line is in the log", || log().contains("Accepting failed"));
    // Nothing is written meanwhile, so the line that reaches the limit is written in part.
    let full_bytes = server.while_stopped(|| {
        let full_bytes = log().len() + 10;
        set_limit(server.pid(), libc::RLIMIT_FSIZE, full_bytes as u64);
        full_bytes
    });
    server.cause_lines();
    await_that("lines are counted", || server.metric("ringsock_log_lines_dropped_total") > 0);
    assert_eq!(log().len(), full_bytes);
    set_limit(server.pid(), libc::RLIMIT_FSIZE, libc::RLIM_INFINITY);
    server.cause_lines();
    await_that("it says so", || log().split_once("were dropped").is_some_and(|(_, rest)| rest.contains('\n')));
    let told: u64 = between(&log(), " lines=", "\n").parse().unwrap();
    assert_eq!(told, server.metric("ringsock_log_lines_dropped_total"), "{}", log());
    let is_whole = |line: &str| line.contains(" DEBUG ") || line.contains(" INFO ") || line.contains(" WARN ");
    assert_eq!(log().lines().filter(|line| !is_whole(line)).map(str::len).collect::<Vec<_>>(), [10], "{}", log());
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().code(), Some(0));
    assert!(log().contains("Draining"), "{}", log());
}

#[test]
fn a_life_of_a_session_is_told_at_debug_and_its_frames_at_trace_and_no_secret_is() {
    let lines = logged("trace", |address| {
        let mut session = Client::open(address, "/topics/a%20b?token=s3cret");
        session.say("s3cret");
        assert_eq!(session.next().unwrap(), (0x81, b"s3cret".to_vec()));
        session.frame(0x89, b"s3cret");
        assert_eq!(session.next().unwrap(), (0x8a, b"s3cret".to_vec()));
        session.frame(0x88, &[&1001u16.to_be_bytes()[..], b"bye"].concat());
        assert_eq!(close_code(&mut session), 1001);
        assert_eq!(session.0.read_to_end(&mut Vec::new()).unwrap(), 0);
    });
    assert!(!format!("{lines:?}").contains("s3cret"), "{lines:#?}");
    let told: Vec<Value> = lines.into_iter().filter(|line| line.get("session").is_some()).collect();
    let session = told[0]["session"].clone();
    let life = |message: &str, more: Value| {
        let mut line = json!({ "level": "DEBUG", "target": "ringsock::sessions", "session": session, "core": 0 });
        line.as_object_mut()
            .unwrap()
            .extend([("client".into(), "127.0.0.1".into()), ("message".into(), message.into())]);
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let frame = |message: &str, more: Value| {
        let mut line =
            json!({ "level": "TRACE", "target": "ringsock::frames", "session": session, "message": message });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let told: Vec<Value> = told.into_iter().map(without_time).collect();
    let expected = [
        life("The client asks for a WebSocket.", json!({ "path": "/topics/a%20b" })),
        life("The session is open.", json!({ "compressed": false })),
        life("The session has subscribed.", json!({ "topic": "a b" })),
        frame("received", json!({ "opcode": "Text", "bytes": 6 })),
        frame("sent", json!({ "topic": "a b", "messages": 1, "bytes": 8 })),
        frame("received", json!({ "opcode": "Ping", "bytes": 6 })),
        frame("sent", json!({ "opcode": "Pong", "bytes": 6 })),
        life("The client sent a Close frame.", json!({ "code": 1001, "reason": "bye" })),
        life("The server sends a Close frame.", json!({ "code": 1001, "reason": "bye" })),
        life("The session has ended.", json!({ "end": "closing_handshake" })),
    ];
    assert_eq!(told, expected);
}

#[test]
fn texts_that_a_client_chose_can_neither_end_a_line_nor_control_a_terminal() {
    for format in ["text", "json"] {
        let log = log_text("trace", format, |address| {
            let mut session = Client::open(address, "/topics/%0AFORGED%1B%5B31m%22");
            session.say("published");
            session.next().unwrap();
            session.frame(0x88, &[&4000u16.to_be_bytes()[..], b"\nFORGED\x1b[31m\""].concat());
            assert_eq!(close_code(&mut session), 4000);
        });
        assert!(log.matches("FORGED").count() >= 3, "{log}");
        assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
        assert!(log.chars().all(|char| char == '\n' || !char.is_control()), "{log:?}");
    }
}

#[test]
fn each_refusal_is_told_at_debug_and_their_sum_at_info() {
    let garble = |address: &str| {
        let mut answer = String::new();
        let mut stream = connect(address.parse().unwrap());
        stream.write_all(b"garbled\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    };
    for (level, each) in [("debug", 2), ("info", 0)] {
        let lines = logged(level, |address| (0..2).for_each(|_| garble(address)));
        let of = |level: &'static str| {
            lines.iter().filter(move |line| line["target"] == "ringsock::refusals" && line["level"] == level)
        };
        assert_eq!(of("DEBUG").count(), each, "{lines:#?}");
        assert!(
            of("DEBUG").all(|line| line["reason"] == "method_invalid" && line["client"] == "127.0.0.1"),
            "{lines:#?}"
        );
        let sums: Vec<&Value> = of("INFO").map(|line| &line["message"]).collect();
        assert_eq!(sums, ["Refused 2 times in the last minute: 2 method_invalid."]);
    }
}

#[test]
fn an_error_that_ends_the_program_is_a_line_of_json_too_whatever_the_filter() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = ["--admin-listen", "none", "--log", "off", "--set", "log.format=json"];
    // It waits for an address in use, for the time that a killed server would need.
    let output =
        Command::new(env!("CARGO_BIN_EXE_ringsock")).args(["serve", "--listen", &address]).args(flags).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let line: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!((&line["level"], &line["target"]), (&json!("ERROR"), &json!("ringsock")));
    assert!(line["message"].as_str().unwrap().contains(&address), "{line}");
}

/// Runs `ringsock serve` on one core for the time of `call`, which gets its address, and returns the lines of its log.
fn logged(filter: &str, call: impl FnOnce(&str)) -> Vec<Value> {
    let log = log_text(filter, "json", call);
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Runs `ringsock serve` on one core for the time of `call`, which gets its address, and returns its log as it is.
fn log_text(filter: &str, format: &str, call: impl FnOnce(&str)) -> String {
    let (mut reader, writer) = pipe().unwrap();
    let format = format!("log.format={format}");
    let flags = ["--admin-listen", "none", "--cores", "1", "--log", filter, "--set", &format];
    let (mut process, banner) = serve_prepared(&flags, |command| {
        command.stderr(writer);
    });
    call(&between(&banner, "ready on ws://", "/"));
    signal(process.0.id() as i32, libc::SIGTERM);
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    log
}

fn without_time(mut line: Value) -> Value {
    let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    line
}

/// `ringsock serve` on one core, ended when it is dropped.
struct Server {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    fn start(flags: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        // The address cannot be read from output that is lost. This value holds the port and never listens.
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        port.set_reuse_port(true).unwrap();
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = port.local_addr().unwrap().as_socket().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
        isolate(&mut command);
        command.args(["serve", "--listen", &address.to_string(), "--set", "listen.share-port=true", "--cores", "1"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--log", "debug"]).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        prepare(&mut command);
        let process = Process(command.spawn().unwrap());
        await_that("it is ready", || {
            TcpStream::connect(address).is_ok_and(|stream| exchange(stream, "/readyz").ends_with("ready"))
        });
        let mut admin = None;
        await_that("it tells of itself", || {
            admin = listening_ports(process.0.id()).into_iter().find(|port| *port != address.port());
            admin.is_some()
        });
        Self { process, address, admin: SocketAddr::new(address.ip(), admin.unwrap()) }
    }

    fn session(&self) -> Client {
        Client::open(&self.address.to_string(), "/echo")
    }

    /// Makes the core log, on epoll: it cannot accept connections without descriptors, and logs that.
    fn cause_lines(&self) {
        let before = self.metric("ringsock_accept_errors_total");
        await_that("accepting has failed", || {
            let limit = set_limit(self.pid(), libc::RLIMIT_NOFILE, 3);
            let waiting = connect(self.address);
            thread::sleep(LOOK_INTERVAL);
            set_limit(self.pid(), libc::RLIMIT_NOFILE, limit);
            assert!(exchange(waiting, "/").starts_with("HTTP/1.1 200 "));
            self.metric("ringsock_accept_errors_total") > before
        });
    }

    /// Makes the supervisor thread log, which is the main thread: the core's thread alone is stopped, as by a debugger,
    /// until the server has noticed that it is stalled.
    fn stall_core(&self) {
        let _core = StoppedThread::new(self.pid(), "ringsock-core-0");
        await_that("the stall is noticed", || {
            TcpStream::connect(self.admin).is_ok_and(|stream| exchange(stream, "/readyz").starts_with("HTTP/1.1 503 "))
        });
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = exchange(connect(self.admin), "/metrics");
        let values = metrics.lines().filter_map(|line| line.strip_prefix(name)?.split(' ').nth(1)?.parse::<u64>().ok());
        values.sum()
    }

    fn while_stopped<T>(&self, run: impl FnOnce() -> T) -> T {
        self.signal(libc::SIGSTOP);
        await_that("all of it has stopped", || {
            let mut tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            tasks.all(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap().contains(") T "))
        });
        let result = run();
        self.signal(libc::SIGCONT);
        result
    }

    fn pid(&self) -> u32 {
        self.process.0.id()
    }

    fn signal(&self, number: i32) {
        signal(self.pid() as i32, number);
    }

    fn end(&mut self) -> ExitStatus {
        let mut ended = None;
        await_that("it has ended", || {
            ended = self.process.0.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

/// Returns the code of the Close frame that comes next.
fn close_code(session: &mut Client) -> u16 {
    let (first, payload) = session.next().unwrap();
    assert_eq!(first, 0x88, "{payload:?}");
    u16::from_be_bytes([payload[0], payload[1]])
}

/// Returns that code, answers, and reads to the end.
fn goodbye(mut session: Client) -> u16 {
    let code = close_code(&mut session);
    session.frame(0x88, &code.to_be_bytes());
    assert_eq!(session.0.read_to_end(&mut Vec::new()).unwrap(), 0);
    code
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn exchange(mut stream: TcpStream, path: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Returns the ports on which a process listens.
fn listening_ports(pid: u32) -> Vec<u16> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links: Vec<PathBuf> = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    // In proc(5), the second column is the address in hexadecimal, the fourth the state, the tenth the inode.
    let ports = sockets.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_own = links.contains(&PathBuf::from(format!("socket:[{}]", columns[9])));
        let (_, port) = columns[1].split_once(':')?;
        (columns[3] == "0A" && is_own).then(|| u16::from_str_radix(port, 16).unwrap())
    });
    ports.collect()
}

fn signal(pid: i32, number: i32) {
    // SAFETY: takes integers and touches no memory.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}

fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Returns the path of a file of this test's own.
fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("log-{name}"))
}
