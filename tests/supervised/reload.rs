//! Tests of reloads: a configuration that is read again while sessions are open, right or wrong.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringsock::engine::STALL_TIMEOUT_MS;
use ringsock::{Handler, Limits, Message, Reload, ReloadError, Session};

use crate::client::{Client, Heard};
use crate::{PATIENCE, Server, on_each_reactor, ringsock};

/// Reloads of the test under load, half of them of a configuration that is wrong.
const RELOADS: usize = 100;

/// Sessions that send and hear messages meanwhile.
const SESSIONS: usize = 8;

/// The time within which the next session sees new limits. A busy machine may take longer now and then.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// A configuration file of this test's own, deleted when it is dropped.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = Self(std::env::temp_dir().join(format!("ringsock-reload-{}-{number}.toml", std::process::id())));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn flags<'a>(&'a self, others: &[&'a str]) -> Vec<&'a str> {
        [&["--config", self.0.to_str().unwrap()], others].concat()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn limits(message_bytes_max: usize) -> String {
    format!("[limits]\nmax-message-bytes = {message_bytes_max}\n")
}

/// Returns whether a new session may send so many bytes.
fn may_send(address: &str, bytes: usize) -> bool {
    let mut client = Client::open(address);
    let message = "x".repeat(bytes);
    client.say(&message);
    match client.hear() {
        Heard::Text(echo) if echo == message => true,
        Heard::Close(1009) => false,
        other => panic!("{other:?}"),
    }
}

/// Echoes until it is told to stop. Returns the number of messages.
fn echo(mut client: Client, stop: &AtomicBool) -> u32 {
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            return count;
        }
        client.say("still here");
        assert_eq!(client.hear(), Heard::Text("still here".to_owned()), "after {count} messages");
        // Other tests run beside this one.
        thread::sleep(Duration::from_millis(1));
    }
    0
}

fn metrics(admin: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_hundred_reloads_under_load_drop_no_session_and_the_next_session_sees_the_new_limits() {
    on_each_reactor(|reactor| {
        let file = ConfigFile::new(&limits(80));
        let mut command = ringsock(&["--listen", "127.0.0.1:0", "--reactor", reactor]);
        command.args(file.flags(&["--set", "admin.listen=127.0.0.1:0"]));
        let (server, seen) = Server::run_and_see(command);
        let admin = seen.split("metrics      http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let clients: Vec<_> = (0..SESSIONS).map(|_| Client::open(&server.address)).collect();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let echoing: Vec<_> = clients.into_iter().map(|client| scope.spawn(|| echo(client, &stop))).collect();
            let mut allowed = true;
            let mut delays: Vec<Duration> = (0..RELOADS)
                .filter_map(|round| {
                    let is_good = round % 2 == 0;
                    match round % 6 {
                        1 => file.write("[limits]\nmax-message-bytes = "),
                        3 => fs::remove_file(&file.0).unwrap(),
                        5 => file.write("[limits]\nmax-message-bytes = 40\nmax-headers = 0\n"),
                        _ => file.write(&limits(if allowed { 40 } else { 80 })),
                    }
                    let begun = Instant::now();
                    server.signal(libc::SIGHUP);
                    if !is_good {
                        server.await_log("The configuration was not reloaded");
                        assert_eq!(may_send(&server.address, 60), allowed, "a wrong one changes nothing");
                        return None;
                    }
                    allowed = !allowed;
                    while may_send(&server.address, 60) != allowed {
                        assert!(begun.elapsed() < PATIENCE, "round {round}");
                    }
                    Some(begun.elapsed())
                })
                .collect();
            delays.sort_unstable();
            println!("{reactor}: new limits were seen after {:?} (median), {:?} (longest)", delays[25], delays[49]);
            assert!(delays[25] < SEEN_WITHIN);
            stop.store(true, Ordering::Relaxed);
            let echoed: Vec<u32> = echoing.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(echoed.iter().all(|count| *count > 0), "{echoed:?}");
        });
        let text = metrics(&admin);
        for line in [
            "ringsock_config_reloads_total{result=\"applied\"} 50\n",
            "ringsock_config_reloads_total{result=\"refused\"} 50\n",
            "ringsock_config_last_reload_successful 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    });
}

#[test]
fn it_says_what_was_applied_and_what_needs_a_restart_and_shows_no_secret() {
    let file = ConfigFile::new("[api]\nkey = \"first-secret\"\n");
    let server = Server::start("auto", &file.flags(&["--max-connections", "100"]));
    let publish = |key: &str| {
        let mut client = Client::connect(&server.address);
        let request =
            format!("POST /api/publish?topic=a HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: 1\r\n\r\na");
        client.write(request.as_bytes());
        client.head().unwrap()[9..12].to_owned()
    };
    assert_eq!((publish("first-secret"), publish("second-secret")), ("200".to_owned(), "401".to_owned()));
    file.write(
        "[api]\nkey = \"second-secret\"\n[cores]\ncount = 3\npin = \"never\"\n[limits]\nmax-connections = 50\n\
         max-headers = 7\n[handshake]\nsubprotocols = [\"chat\"]\n",
    );
    server.signal(libc::SIGHUP);
    let said = server.await_output("reloaded");
    assert_eq!(
        said,
        "ringsock has reloaded its configuration: limits.max-headers = 7, handshake.subprotocols = \"chat\", \
         api.key = \"hidden\"\n",
        "flags still override the file"
    );
    let warning = server.await_log("restart");
    // A flag of the test has the number of cores.
    assert!(warning.contains("A restart is needed for new values of cores.pin."), "{warning}");
    assert_eq!((publish("first-secret"), publish("second-secret")), ("401".to_owned(), "200".to_owned()));
    let mut client = Client::connect(&server.address);
    client.write(
        b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
    );
    let head = client.head().unwrap();
    assert!(head.contains("chat"), "{head}");
    server.signal(libc::SIGHUP);
    assert!(server.await_output("reloaded").contains("nothing changed"));
    // It is named again as long as it waits.
    server.await_log("cores.pin");
}

#[test]
fn a_wrong_value_is_named_as_at_the_start_and_nothing_else_of_the_file_is_applied() {
    let file = ConfigFile::new(&limits(80));
    let server = Server::start("auto", &file.flags(&[]));
    file.write("[limits]\nmax-message-bytes = 40\nmax-headers = 1000000\n");
    server.signal(libc::SIGHUP);
    let error = server.await_log("not reloaded");
    let named = format!("{}:3: limits.max-headers is 1000000", file.0.display());
    assert!(error.contains("ERROR") && error.contains(&named), "{error}");
    assert!(may_send(&server.address, 60));
    file.write("[limits]\nmax-message-bytes = 40\nmax-connections = 1000000000\n");
    server.signal(libc::SIGHUP);
    let error = server.await_log("not reloaded");
    assert!(error.contains("1000000000 connections need"), "{error}");
    assert!(may_send(&server.address, 60));
}

#[test]
fn a_new_filter_of_the_log_holds_at_once() {
    for format in ["text", "json"] {
        let file = ConfigFile::new(&format!("[log]\nfilter = \"error\"\nformat = \"{format}\"\n"));
        let server = Server::start("auto", &file.flags(&[]));
        drop(Client::open(&server.address));
        file.write(&format!("[log]\nfilter = \"ringsock::sessions=debug\"\nformat = \"{format}\"\n"));
        server.signal(libc::SIGHUP);
        server.await_output("log.filter = \"ringsock::sessions=debug\"");
        let mut client = Client::open(&server.address);
        client.say("hello");
        client.hear();
        let line = server.await_log("The session is open.");
        assert!(line.contains("127.0.0.1"), "the address of the client is known: {line}");
    }
}

#[test]
fn the_supervisor_is_told_when_a_reload_begins_and_ends() {
    let path = std::env::temp_dir().join(format!("ringsock-{}-reload", std::process::id()));
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let file = ConfigFile::new("");
    let mut command = ringsock(&["--listen", "127.0.0.1:0"]);
    command.args(file.flags(&[])).env("NOTIFY_SOCKET", &path);
    let server = Server::run(command);
    let told = || {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert!(told().starts_with("READY=1\n"));
    for (text, status) in [
        ("[limits]\nmax-connections = 77\n", "STATUS=Serving at most 77 connections.\n"),
        ("wrong", "STATUS=Serving at most 77 connections. The last reload was refused.\n"),
        ("", "connections.\n"),
    ] {
        file.write(text);
        server.signal(libc::SIGHUP);
        let begin = told();
        let time = begin.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{begin}"));
        assert!(time.trim().parse::<u64>().unwrap() > 0);
        let end = told();
        assert!(end.starts_with("READY=1\n") && end.ends_with(status), "{end}");
    }
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_reload_during_a_drain_changes_nothing() {
    let file = ConfigFile::new("[drain]\ndelay-ms = 500\n");
    let mut server = Server::start("auto", &file.flags(&[]));
    let mut client = Client::open(&server.address);
    server.signal(libc::SIGTERM);
    server.await_log("Draining");
    file.write("[drain]\ndelay-ms = 600000\n");
    server.signal(libc::SIGHUP);
    server.await_log("SIGHUP has no effect while the server drains.");
    client.is_told();
    assert!(server.ended().success());
}

/// Echoes, for an application with its own settings.
struct Echo;

impl Handler for Echo {
    type State = ();
    type Mail = ();

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        session.send(message);
    }
}

#[test]
fn an_application_reloads_its_server_and_a_wrong_reload_changes_nothing() {
    let server =
        ringsock::Server::builder().listen("127.0.0.1:0").cores(2).handle_signals(false).start(|_| Echo).unwrap();
    let (address, controller) = (server.address().to_string(), server.controller());
    let metrics = server.metrics();
    let supervised = thread::spawn(move || server.join());
    let mut open = Client::open(&address);
    let limited = |bytes: u64| {
        let mut limits = Limits::clone(&controller.limits());
        limits.messages.message_bytes_max = bytes;
        limits
    };
    controller.reload(Reload::default().limits(limited(40))).unwrap();
    while may_send(&address, 60) {}
    // None of these is applied, not even its right part.
    let mut contradicting = limited(100);
    contradicting.ping_interval_ms = contradicting.dead_peer_timeout_ms;
    let mut with_other_mesh = limited(100);
    with_other_mesh.mesh.ring_entries += 1;
    let mut with_too_many = limited(100);
    with_too_many.connections_max = usize::MAX - 1;
    assert!(matches!(controller.reload(Reload::default().limits(contradicting)), Err(ReloadError::Limits(_))));
    assert!(matches!(controller.reload(Reload::default().limits(with_other_mesh)), Err(ReloadError::Mesh)));
    assert!(matches!(controller.reload(Reload::default().limits(with_too_many)), Err(ReloadError::Connections(_))));
    let hasty = Reload::default().limits(limited(100)).stall_timeout_ms(1);
    assert!(matches!(controller.reload(hasty), Err(ReloadError::Limits(_))));
    drop(controller.check_reload(Reload::default().limits(limited(100)).stall_timeout_ms(STALL_TIMEOUT_MS)).unwrap());
    assert!(!may_send(&address, 60));
    // Origins hold from the next request on.
    controller.reload(Reload::default().origins("https://chat.example".parse().unwrap())).unwrap();
    let status = |origin: &str| {
        let mut client = Client::connect(&address);
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n"
        );
        client.write(request.as_bytes());
        client.head().unwrap()[9..12].to_owned()
    };
    assert_eq!((status("https://chat.example"), status("https://a.example")), ("101".to_owned(), "403".to_owned()));
    let text = metrics.text().unwrap();
    assert!(text.contains("ringsock_config_reloads_total{result=\"applied\"} 2\n"), "{text}");
    assert!(text.contains("ringsock_config_reloads_total{result=\"refused\"} 4\n"), "{text}");
    open.say("still here");
    assert_eq!(open.hear(), Heard::Text("still here".to_owned()));
    controller.drain();
    open.is_told();
    supervised.join().unwrap().unwrap();
    assert!(matches!(controller.reload(Reload::default()), Err(ReloadError::Draining)));
}
