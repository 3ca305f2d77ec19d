//! Notifications of `ringsock serve` to its supervisor: sd_notify(3).
//!
//! Owns the socket that NOTIFY_SOCKET names, and the state sent so far. Invariant: never waits and never fails; what
//! the socket does not accept is sent again at the next opportunity, or left out. The crate sd-notify provides the
//! messages and the watchdog's variables; its own sending waits for a reader and knows no abstract sockets, so this
//! file sends itself.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use ringsock::engine::Heartbeat;
use sd_notify::NotifyState;

/// The interval at which the server's supervisor thread calls, by which a watchdog message may be late.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The extension that a drain requests, repeatedly: a process that hangs is not waited for much longer.
const EXTENSION: Duration = Duration::from_secs(10);

/// A connection to the supervisor. See the module.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    supervisor: SocketAddr,
    status: String,
    sent: SentState,
    /// The watchdog's timeout, and the last message that the cores make turns.
    watchdog: Option<(Duration, Instant)>,
    extended: Option<Instant>,
}

/// The last state sent to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SentState {
    Nothing,
    Ready,
    Stopping,
}

impl Notifier {
    /// Connects to the supervisor, if it requests notifications (NOTIFY_SOCKET) and can be reached.
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        match Self::to(&name) {
            Ok(notifier) => Some(notifier),
            Err(error) => {
                tracing::warn!("The supervisor cannot be notified at {}: {error} (NOTIFY_SOCKET).", name.display());
                None
            }
        }
    }

    fn to(name: &OsStr) -> io::Result<Self> {
        let supervisor = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let watchdog = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
        let watchdog = watchdog.map(|patience| (patience, Instant::now()));
        Ok(Self { socket, supervisor, status: String::new(), sent: SentState::Nothing, watchdog, extended: None })
    }

    /// Sends that the server is ready, with a status text: once it has started, and after each reload.
    pub fn ready(&mut self, status: String) {
        if self.sent == SentState::Stopping {
            return;
        }
        self.status = status;
        self.sent = SentState::Nothing;
        self.send_ready();
    }

    /// Sends that the server reloads its configuration. [`Notifier::ready`] must follow.
    pub fn reloading(&self) {
        if let (SentState::Ready, Ok(now)) = (self.sent, NotifyState::monotonic_usec_now()) {
            self.send(&[NotifyState::Reloading, now]);
        }
    }

    /// Sends the changes since the last call, and the watchdog message when due.
    pub fn observe(&mut self, heartbeat: Heartbeat) {
        match heartbeat.drain_left {
            None if self.sent < SentState::Ready => self.send_ready(),
            None => {}
            Some(left) => self.send_drain(left),
        }
        if let Some((patience, last)) = self.watchdog
            && heartbeat.cores_turn
            && last.elapsed() + LOOK_INTERVAL >= patience / 2
            && self.send(&[NotifyState::Watchdog])
        {
            self.watchdog = Some((patience, Instant::now()));
        }
    }

    fn send_ready(&mut self) {
        if self.send(&[NotifyState::Ready, NotifyState::Status(&self.status)]) {
            self.sent = SentState::Ready;
        }
    }

    fn send_drain(&mut self, left: Duration) {
        let status =
            format!("Draining: sessions are told that the server ends; at most {:.1} s left.", left.as_secs_f64());
        if self.sent < SentState::Stopping && self.send(&[NotifyState::Stopping, NotifyState::Status(&status)]) {
            self.sent = SentState::Stopping;
        }
        let due = self.extended.is_none_or(|last| last.elapsed() >= EXTENSION / 2);
        if due
            && self.send(&[NotifyState::ExtendTimeoutUsec(EXTENSION.as_micros() as u32), NotifyState::Status(&status)])
        {
            self.extended = Some(Instant::now());
        }
    }

    /// Sends states, and returns whether the supervisor's socket accepted them.
    fn send(&self, states: &[NotifyState<'_>]) -> bool {
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        self.socket.send_to_addr(text.as_bytes(), &self.supervisor).is_ok()
    }
}
