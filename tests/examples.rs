//! Tests of the examples, each run as a program and held to its promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::Error as ClientError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message as Said, Result as ClientResult};
use tokio_tungstenite::{WebSocketStream, client_async};

use program::{Process, isolate};

type Client = WebSocketStream<TcpStream>;

/// The patience of a test: everything takes milliseconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The limit of an example's lines, so that it is read at once.
const LINES_MAX: usize = 90;

/// A running example, ended when it is dropped.
struct Program {
    process: Process,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Program {
    fn start(example: &str) -> Self {
        Self::start_with(example, &[])
    }

    fn start_with(example: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(path_of(example));
        command.arg("127.0.0.1:0").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        isolate(&mut command);
        let mut process = Process(command.spawn().unwrap());
        let output = BufReader::new(process.0.stdout.take().unwrap());
        let mut program = Self { process, output, address: String::new() };
        let banner = program.line();
        let address = banner.strip_prefix("listening on ws://").unwrap_or_else(|| panic!("it began with {banner:?}"));
        program.address = address.to_owned();
        program
    }

    /// Returns the next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn command(&mut self, command: &str) {
        writeln!(self.process.0.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    async fn open(&self, path: &str) -> Client {
        self.ask(path, None).await.unwrap()
    }

    /// Opens a WebSocket as [`Program::open`], with a socket of small buffers, so that backpressure begins soon.
    async fn open_small(&self, path: &str) -> Client {
        self.ask(path, Some(16 * 1024)).await.unwrap()
    }

    async fn ask(&self, path: &str, receive_buffer_bytes: Option<u32>) -> ClientResult<Client> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.address.parse().unwrap()).await?;
        let opening = client_async(format!("ws://{}{path}", self.address), stream);
        Ok(timeout(PATIENCE, opening).await.expect("no answer in time")?.0)
    }

    /// Asks it to end by a signal.
    fn terminate(&self) {
        // SAFETY: takes integers; the process is a child that was not waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.process.0.id() as libc::pid_t, libc::SIGTERM) }, 0);
    }

    /// Waits for it to end. Returns whether it succeeded.
    fn ends_well(mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not end in time");
    }
}

/// Returns the path of the built example, which lies beside the program.
fn path_of(example: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(build);
    Path::new(env!("CARGO_BIN_EXE_ringsock")).with_file_name("examples").join(example)
}

/// Builds the examples as the tests were built, so that little more than linking is left: `cargo test` itself builds
/// only those that the requested tests need.
fn build() {
    let profile_directory = Path::new(env!("CARGO_BIN_EXE_ringsock")).parent().unwrap();
    let profile = match profile_directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "test",
        profile => profile,
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--locked", "--examples"]);
    command.args(["--profile", profile]).arg("--target-dir").arg(profile_directory.parent().unwrap());
    assert!(command.status().unwrap().success(), "the examples do not build");
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

async fn next(client: &mut Client) -> Said {
    timeout(PATIENCE, client.next()).await.expect("nothing came in time").expect("the stream ended").unwrap()
}

async fn text(client: &mut Client) -> String {
    match next(client).await {
        Said::Text(text) => text.as_str().to_owned(),
        other => panic!("not a text: {other:?}"),
    }
}

async fn say(client: &mut Client, text: &str) {
    client.send(Said::text(text)).await.unwrap();
}

/// Reads until the server closes the session, and returns the close code.
async fn close_code(client: &mut Client) -> CloseCode {
    loop {
        if let Said::Close(frame) = next(client).await {
            return frame.expect("the close frame has a code").code;
        }
    }
}

#[test]
fn every_example_is_run_here_and_has_90_lines_at_most() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = paths
        .map(|path| {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, ["ask_a_backend", "chat", "chat_with_history", "echo", "embed_in_an_app", "ticker"]);
}

#[test]
fn echo_says_what_it_hears_until_it_is_told_to_end() {
    run(async {
        let echo = Program::start("echo");
        let mut client = echo.open("/").await;
        for said in [Said::text("hello"), Said::binary(vec![0, 1, 255])] {
            client.send(said.clone()).await.unwrap();
            assert_eq!(next(&mut client).await, said);
        }
        echo.terminate();
        assert_eq!(close_code(&mut client).await, CloseCode::Away);
        drop(client);
        assert!(echo.ends_well());
    });
}

#[test]
fn chat_keeps_rooms_apart_and_tells_everyone_in_a_room_in_order() {
    run(async {
        let chat = Program::start("chat");
        let mut ada = chat.open("/rust/ada").await;
        assert_eq!(text(&mut ada).await, "ada: is here");
        let mut grace = chat.open("/cobol/grace").await;
        assert_eq!(text(&mut grace).await, "grace: is here");
        let mut bob = chat.open("/rust/bob").await;
        for guest in [&mut ada, &mut bob] {
            assert_eq!(text(guest).await, "bob: is here");
        }
        for number in 0..10 {
            say(&mut ada, &format!("message {number}")).await;
        }
        for guest in [&mut ada, &mut bob] {
            for number in 0..10 {
                assert_eq!(text(guest).await, format!("ada: message {number}"));
            }
        }
        // A message from the other room would have arrived before this one.
        say(&mut grace, "alone").await;
        assert_eq!(text(&mut grace).await, "grace: alone");
    });
}

#[test]
fn chat_refuses_who_names_no_room() {
    run(async {
        let chat = Program::start("chat");
        let Err(ClientError::Http(refused)) = chat.ask("/rust", None).await else { panic!("let in without a name") };
        assert_eq!(refused.status(), 404);
        let mut nameless = chat.open("//eve").await;
        assert_eq!(close_code(&mut nameless).await, CloseCode::Policy);
    });
}

#[test]
fn chat_keeps_a_guest_who_reads_too_slowly_and_tells_him_what_he_missed() {
    const LINES: usize = 400;
    run(async {
        let chat = Program::start("chat");
        let mut slow = chat.open_small("/rust/slow").await;
        assert_eq!(text(&mut slow).await, "slow: is here");
        let mut fast = chat.open("/rust/fast").await;
        assert_eq!(text(&mut fast).await, "fast: is here");
        // More than the sockets at both ends and the outbox hold together.
        let long = "x".repeat(60_000);
        for number in 0..LINES {
            say(&mut fast, &format!("{number} {long}")).await;
            assert!(text(&mut fast).await.starts_with(&format!("fast: {number} ")));
        }
        assert_eq!(text(&mut slow).await, "fast: is here");
        let (mut last, mut missed) = (None, 0);
        while last != Some(LINES) {
            // One of these arrives as soon as the slow guest has made room for it.
            say(&mut fast, &format!("{LINES} that was all")).await;
            let line = text(&mut slow).await;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["fast:", number, ..] => {
                    let number = number.parse().unwrap();
                    assert!(last < Some(number), "{number} came after {last:?}");
                    last = Some(number);
                }
                ["*", .., count] => missed += count.parse::<u64>().unwrap(),
                _ => panic!("it hears {line:?}"),
            }
        }
        assert!(missed > 0, "everything came");
    });
}

#[test]
fn embed_in_an_app_publishes_from_its_threads_counts_subscribers_and_drains() {
    run(async {
        let mut app = Program::start("embed_in_an_app");
        assert_eq!(app.line(), "commands: count, quit");
        app.command("count");
        assert_eq!(app.line(), "subscribers: 0");
        let mut clients = [app.open("/").await, app.open("/").await];
        for client in &mut clients {
            let mut latest = [0, 0];
            while latest.contains(&0) {
                let said = text(client).await;
                let (topic, price) = said.split_once(' ').unwrap();
                let latest = &mut latest[["prices/eur", "prices/usd"].iter().position(|name| *name == topic).unwrap()];
                let price: u64 = price.parse().unwrap();
                assert!(*latest == 0 || price == *latest + 1, "{said} came after {latest}");
                *latest = price;
            }
        }
        app.command("count");
        assert_eq!(app.line(), "subscribers: 2");
        app.command("quit");
        for client in &mut clients {
            assert_eq!(close_code(client).await, CloseCode::Away);
        }
        drop(clients);
        assert!(app.ends_well());
    });
}

/// A backend that knows one token, keeps silent about another, and ends when the test does.
fn backend() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept_waiting = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            match request.trim_end() {
                "GET /name?token=ada1 HTTP/1.0" => stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nAda\n").unwrap(),
                "GET /name?token=slow HTTP/1.0" => kept_waiting.push(stream),
                _ => stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").unwrap(),
            }
        }
    });
    address
}

fn status_of(refused: ClientResult<Client>) -> u16 {
    match refused {
        Err(ClientError::Http(response)) => response.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn ask_a_backend_lets_those_in_that_the_backend_knows_and_serves_others_meanwhile() {
    run(async {
        let backend = backend().to_string();
        let greeter = Program::start_with("ask_a_backend", &[&backend]);
        let slow = greeter.ask("/?token=slow", None);
        let others = async {
            let mut ada = greeter.open("/?token=ada1").await;
            say(&mut ada, "hello").await;
            assert_eq!(text(&mut ada).await, "Ada: hello");
            assert_eq!(status_of(greeter.ask("/?token=eve1", None).await), 403);
            assert_eq!(status_of(greeter.ask("/", None).await), 401);
        };
        // The slow one is refused once the time for a handshake is over.
        let (slow, ()) = tokio::join!(slow, others);
        assert_eq!(status_of(slow), 500);
        let nobody = Program::start_with("ask_a_backend", &["127.0.0.1:1"]);
        assert_eq!(status_of(nobody.ask("/?token=ada1", None).await), 503);
    });
}

#[test]
fn chat_with_history_sends_newcomers_the_last_lines_and_all_members_one_order() {
    run(async {
        let chat = Program::start("chat_with_history");
        let mut members = Vec::new();
        for _ in 0..8 {
            members.push(chat.open("/rust").await);
        }
        let mut seen = vec![Vec::new(); members.len()];
        // First no more lines than a history has, so that none is lost to a member whose subscription is confirmed late.
        for (rounds, lines) in [(0..12, 96), (12..20, 160)] {
            for round in rounds {
                for (number, member) in members.iter_mut().enumerate() {
                    say(member, &format!("{round} of {number}")).await;
                }
            }
            for (member, seen) in members.iter_mut().zip(&mut seen) {
                while seen.len() < lines {
                    let line = text(member).await;
                    // A line that came as news and as history is one line.
                    if !seen.contains(&line) {
                        seen.push(line);
                    }
                }
                seen.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap());
            }
        }
        assert!(seen.iter().all(|lines| *lines == seen[0]), "they agree on the number of each line");
        let mut newcomer = chat.open("/rust").await;
        for line in &seen[0][60..] {
            assert_eq!(text(&mut newcomer).await, *line);
        }
        let mut elsewhere = chat.open("/cobol").await;
        say(&mut elsewhere, "anybody?").await;
        assert_eq!(text(&mut elsewhere).await, "1 anybody?");
    });
}

#[test]
fn ticker_streams_events_until_its_client_leaves_or_it_is_told_to_end() {
    run(async {
        use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
        let ticker = Program::start("ticker");
        let mut stream = TcpStream::connect(&ticker.address).await.unwrap();
        stream.write_all(b"GET /ticks HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut lines = tokio::io::BufReader::new(stream).lines();
        let mut heard = Vec::new();
        while heard.len() < 3 {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("an event").unwrap().unwrap();
            heard.extend(line.strip_prefix("id: ").map(str::to_owned));
        }
        assert_eq!(heard, ["1", "2", "3"]);
        ticker.terminate();
        let mut rest = String::new();
        timeout(PATIENCE, lines.into_inner().read_to_string(&mut rest)).await.expect("an end").unwrap();
        assert!(rest.ends_with("\r\n0\r\n\r\n"), "the body ends as bodies do: {rest:?}");
        assert!(ticker.ends_well());
    });
}
