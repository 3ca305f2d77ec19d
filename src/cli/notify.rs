//! The words by which `ringsock serve` tells its supervisor how it fares: sd_notify(3).
//!
//! It owns the socket that NOTIFY_SOCKET names and what has been told so far. Invariant: it never waits and never fails; what the
//! socket does not take is told again at the next opportunity, or left out. The crate sd-notify knows the words and the
//! watchdog's variables. Its own sending waits for a reader and knows no abstract sockets, so the way there is ours.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use ringsock::engine::Pulse;
use sd_notify::NotifyState;

/// The time between two looks of the server's supervisor: a word to the watchdog may come so much later than it was due.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The time for which a drain asks its supervisor to be patient, again and again: a process that hangs is not waited for
/// much longer.
const EXTENSION: Duration = Duration::from_secs(10);

/// The way to a supervisor that wants to be told. See the module.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    supervisor: SocketAddr,
    status: String,
    told: Told,
    /// The watchdog's patience, and when it was last told that the cores make turns.
    watchdog: Option<(Duration, Instant)>,
    extended: Option<Instant>,
}

/// The last that the supervisor has been told of the server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Ready,
    Stopping,
}

impl Notifier {
    /// Returns a way to the supervisor if it asks to be told (NOTIFY_SOCKET) and there is one.
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        match Self::to(&name) {
            Ok(notifier) => Some(notifier),
            Err(error) => {
                tracing::warn!("The supervisor cannot be told at {}: {error} (NOTIFY_SOCKET).", name.display());
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
        Ok(Self { socket, supervisor, status: String::new(), told: Told::Nothing, watchdog, extended: None })
    }

    /// Tells that the server is ready, and what it does.
    pub fn ready(&mut self, status: String) {
        self.status = status;
        self.tell_ready();
    }

    /// Tells what has changed since it was last called, as it is due.
    pub fn observe(&mut self, pulse: Pulse) {
        match pulse.drain_left {
            None if self.told < Told::Ready => self.tell_ready(),
            None => {}
            Some(left) => self.tell_drain(left),
        }
        if let Some((patience, last)) = self.watchdog
            && pulse.cores_turn
            && last.elapsed() + LOOK_INTERVAL >= patience / 2
            && self.tell(&[NotifyState::Watchdog])
        {
            self.watchdog = Some((patience, Instant::now()));
        }
    }

    fn tell_ready(&mut self) {
        if self.tell(&[NotifyState::Ready, NotifyState::Status(&self.status)]) {
            self.told = Told::Ready;
        }
    }

    fn tell_drain(&mut self, left: Duration) {
        let status =
            format!("Draining: sessions are told that the server ends; at most {:.1} s left.", left.as_secs_f64());
        if self.told < Told::Stopping && self.tell(&[NotifyState::Stopping, NotifyState::Status(&status)]) {
            self.told = Told::Stopping;
        }
        let due = self.extended.is_none_or(|last| last.elapsed() >= EXTENSION / 2);
        if due
            && self.tell(&[NotifyState::ExtendTimeoutUsec(EXTENSION.as_micros() as u32), NotifyState::Status(&status)])
        {
            self.extended = Some(Instant::now());
        }
    }

    /// Returns whether the supervisor's socket has taken the words.
    fn tell(&self, states: &[NotifyState<'_>]) -> bool {
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        self.socket.send_to_addr(text.as_bytes(), &self.supervisor).is_ok()
    }
}
