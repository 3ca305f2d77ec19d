//! A server with hooks.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use crate::configured::{Client, Configured};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const SECTIONS: &str = r#"
[hooks]
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"#;

/// A running server.
pub struct Server(Configured);

impl Server {
    /// Starts a server with more keys of the section of hooks, and with what follows these.
    pub fn start(more: &str) -> Self {
        Self(Configured::start("hooks", "debug", &format!("{SECTIONS}{more}")))
    }

    /// Gives the server other keys of the section of hooks, and returns once it has them.
    pub fn reload(&self, more: &str) {
        let applied = "ringsock_config_reloads_total{result=\"applied\"}";
        let before = self.metric(applied);
        self.0.reload(&format!("{SECTIONS}{more}"));
        assert_eq!(self.metric(applied), before + 1, "it has refused them");
    }

    /// Returns the status of a request for a WebSocket, and the time that it took.
    pub fn time(&self, path: &str) -> (u16, Duration) {
        let begun = Instant::now();
        (self.ask(path, "").status, begun.elapsed())
    }

    /// Waits until a session hears what is published to its topic on any core.
    pub async fn wait_until_heard(&self, topic: &str, session: &mut Client) {
        loop {
            self.post(&format!("/api/publish?topic={topic}"), "X-API-Key: operator\r\n", "ready");
            if session.next_within(Duration::from_millis(100)).await.is_some() {
                break;
            }
        }
        // A message that came late has another one behind it.
        while session.next_within(Duration::from_millis(100)).await.is_some() {}
    }

    /// Opens a session.
    pub async fn open(&self, path: &str) -> Client {
        self.open_with(path, &[]).await
    }

    /// Opens a session with headers.
    pub async fn open_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Client {
        self.open_with_headers(path, headers).await
    }
}

impl Deref for Server {
    type Target = Configured;

    fn deref(&self) -> &Configured {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Configured {
        &mut self.0
    }
}
