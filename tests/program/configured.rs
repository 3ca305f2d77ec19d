//! A server with a configuration of a test, and sessions of its clients.
//!
//! Knows no section of a configuration but those that every test needs: two cores, metrics, and the key of the API.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::program::http::{Answer, HttpClient};
use crate::program::run::PATIENCE;
use crate::program::{Process, between, serve_prepared};

/// The sections of every server.
const COMMON: &str = r#"
[cores]
count = 2

[admin]
listen = "127.0.0.1:0"

[api]
key = "operator"
"#;

/// A running server. It ends when it is dropped.
pub struct Configured {
    process: Process,
    pub address: String,
    admin: String,
    log: PathBuf,
    config: PathBuf,
}

impl Configured {
    /// Starts a server with these sections beside the common ones, and with this log. `name` tells its files from those
    /// of other tests.
    pub fn start(name: &str, log_filter: &str, sections: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = |kind: &str| {
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}.{kind}", std::process::id()))
        };
        let (config, log) = (path("toml"), path("log"));
        fs::write(&config, format!("{COMMON}{sections}")).unwrap();
        let stderr = Stdio::from(fs::File::create(&log).unwrap());
        let flags = ["--config", config.to_str().unwrap(), "--log", log_filter];
        let (process, banner) = serve_prepared(&flags, |command| {
            command.stderr(stderr);
        });
        let address = between(&banner, "ready on ws://", "/");
        Self { process, address, admin: between(&banner, "metrics      http://", "/"), log, config }
    }

    /// Lets the server read these sections instead of its own, and returns once it has, whether it takes them or not.
    pub fn reload(&self, sections: &str) {
        let reloads = || {
            self.metric("ringsock_config_reloads_total{result=\"applied\"}")
                + self.metric("ringsock_config_reloads_total{result=\"refused\"}")
        };
        let before = reloads();
        fs::write(&self.config, format!("{COMMON}{sections}")).unwrap();
        self.signal(libc::SIGHUP);
        let begun = Instant::now();
        while reloads() == before {
            assert!(begun.elapsed() < PATIENCE, "it has not reloaded");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.process.0.id()).unwrap();
        // SAFETY: takes integers and touches no memory.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits until the server has ended.
    pub fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Returns the value of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        let mut client = HttpClient::new(&self.admin);
        client.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = client.answer().body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    /// Waits until a metric has a value or a greater one.
    pub fn wait_for(&self, name: &str, value: u64) {
        let begun = Instant::now();
        while self.metric(name) < value {
            assert!(begun.elapsed() < PATIENCE, "{name} is {} and not {value}", self.metric(name));
            // The text is made ten times a second at most.
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the answer to a request for a WebSocket with these headers, each with its line end.
    pub fn ask(&self, path: &str, headers: &str) -> Answer {
        let mut client = HttpClient::new(&self.address);
        client.write(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        ));
        client.answer()
    }

    /// Returns the answer to a POST.
    pub fn post(&self, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut client = HttpClient::new(&self.address);
        let length = body.len();
        client.write(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{headers}\r\n{body}"));
        let answer = client.answer();
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}")))
    }

    /// Opens a session with headers.
    pub async fn open_with_headers(&self, path: &str, headers: &[(&'static str, &str)]) -> Client {
        self.try_open(path, headers).await.unwrap()
    }

    /// Opens a session with headers, or returns why it was not opened.
    pub async fn try_open(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Ok(Client(connect_async(request).await?.0))
    }
}

/// An open session.
pub struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Ends the session in order.
    pub async fn close(mut self) {
        let _ = self.0.close(None).await;
        while timeout(PATIENCE, self.0.next()).await.expect("it does not end").is_some_and(|next| next.is_ok()) {}
    }

    /// Returns the next message as text, or the close code as `close CODE`.
    pub async fn next(&mut self) -> String {
        let next = self.next_with_reason().await;
        match next.strip_prefix("close ").and_then(|close| close.split_once(' ')) {
            Some((code, _)) if code.parse::<u16>().is_ok() => format!("close {code}"),
            _ => next,
        }
    }

    /// Returns the next message as text, or the close code and the reason as `close CODE REASON`.
    pub async fn next_with_reason(&mut self) -> String {
        self.next_within(PATIENCE).await.expect("nothing came in time")
    }

    /// Returns the same, or `None` if nothing comes.
    pub async fn next_within(&mut self, patience: Duration) -> Option<String> {
        loop {
            let next = timeout(patience, self.0.next()).await.ok()?;
            return Some(match next {
                Some(Ok(Message::Close(Some(close)))) => format!("close {} {}", u16::from(close.code), close.reason),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(message)) => message.into_text().unwrap().to_string(),
                other => format!("{other:?}"),
            });
        }
    }

    /// Sends a text and expects it back.
    pub async fn echo(&mut self, text: &str) {
        self.send(text).await;
        assert_eq!(self.next().await, text);
    }
}
