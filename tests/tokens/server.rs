//! A server with an issuer, roles and keys, its tokens, and clients.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use ringsock::service::auth::{Algorithm, Signer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::program::http::{Answer, HttpClient};
use crate::program::{Process, between, serve_prepared};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const FEEDER: &str = "feeder-feeder-feeder-feeder-feeder";

/// The longest wait of a test for something that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
[cores]
count = 2

[admin]
listen = "127.0.0.1:0"

[api]
key = "operator"

[[issuer]]
name = "shop"
key = "0123456789abcdef0123456789abcdef"
roles = ["user"]

[[role]]
name = "user"
grants = ["subscribe:news", "subscribe,publish:users/{sub}/*"]

[[role]]
name = "feeder"
grants = ["publish:news"]

[[api-key]]
name = "feeder"
key = "feeder-feeder-feeder-feeder-feeder"
roles = ["feeder"]
"#;

/// A running server. It ends when it is dropped.
pub struct Server {
    process: Process,
    pub address: String,
    admin: String,
    /// The file with its log.
    pub log: PathBuf,
    config: PathBuf,
}

impl Server {
    /// Starts a server with more sections of configuration.
    pub fn start(more: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = |kind: &str| {
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tokens-{}-{number}.{kind}", std::process::id()))
        };
        let (config, log) = (path("toml"), path("log"));
        fs::write(&config, format!("{CONFIG}{more}")).unwrap();
        let stderr = Stdio::from(fs::File::create(&log).unwrap());
        let flags = ["--config", config.to_str().unwrap(), "--log", "trace"];
        let (process, banner) = serve_prepared(&flags, |command| {
            command.stderr(stderr);
        });
        let address = between(&banner, "ready on ws://", "/");
        Self { process, address, admin: between(&banner, "metrics      http://", "/"), log, config }
    }

    /// Lets the server read another configuration, which has these sections beside the common ones in which `from` is
    /// replaced. Returns once it has.
    pub fn reload(&self, (from, to): (&str, &str), more: &str) {
        let reloads = || {
            self.metric("ringsock_config_reloads_total{result=\"applied\"}")
                + self.metric("ringsock_config_reloads_total{result=\"refused\"}")
        };
        let before = reloads();
        fs::write(&self.config, format!("{}{more}", CONFIG.replace(from, to))).unwrap();
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
        self.process.0.wait().unwrap()
    }

    /// Returns the value of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        let mut client = HttpClient::new(&self.admin);
        client.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = client.answer().body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    /// Returns the answer to a request for a WebSocket with these headers.
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

    /// Opens a session.
    pub async fn open(&self, path: &str, headers: &[(&'static str, &str)]) -> Client {
        self.try_open(path, headers).await.unwrap()
    }

    /// Opens a session with a token in the header.
    pub async fn open_with(&self, path: &str, token: &str) -> Client {
        self.open(path, &[("Authorization", &format!("Bearer {token}"))]).await
    }

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

    /// Returns the next message as text, or the close code as `close CODE`.
    pub async fn next(&mut self) -> String {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.expect("nothing came in time");
            return match next {
                Some(Ok(Message::Close(Some(close)))) => format!("close {}", u16::from(close.code)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(message)) => message.into_text().unwrap().to_string(),
                other => format!("{other:?}"),
            };
        }
    }

    /// Sends a text and expects it back.
    pub async fn echo(&mut self, text: &str) {
        self.send(text).await;
        assert_eq!(self.next().await, text);
    }
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns a token of the issuer for a minute, with these claims beside `exp`.
pub fn token(claims: Value) -> String {
    token_for(60, claims)
}

/// Returns a token of the issuer for some seconds.
pub fn token_for(seconds: u64, mut claims: Value) -> String {
    let members = claims.as_object_mut().unwrap();
    members.entry("iat").or_insert(json!(now_s()));
    members.insert("exp".to_owned(), json!(now_s() + seconds));
    signed(&claims)
}

/// Returns a token of the issuer with these claims alone.
pub fn signed(claims: &Value) -> String {
    let members = claims.as_object().unwrap();
    Signer::new(Algorithm::Hs256, SECRET.as_bytes()).unwrap().sign(None, members).unwrap()
}

/// Returns a token for a subject.
pub fn token_of(subject: &str) -> String {
    token(json!({ "sub": subject }))
}
