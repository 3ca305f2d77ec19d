//! Drains, stops and reloads a server from any thread.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::Waker;

use crate::engine::host::control::{Control, ShutdownMode};
use crate::engine::host::running::Running;
use crate::engine::host::threads::Event;
use crate::engine::limits::Limits;

/// Drains, stops and reloads a server from any thread.
#[derive(Clone, Debug)]
pub struct Controller {
    pub(super) control: Arc<Control>,
    pub(super) wakers: Vec<Waker>,
    pub(super) events: Sender<Event>,
    pub(super) running: Arc<Running>,
}

impl Controller {
    /// Begins a drain, as SIGTERM does: see [`Limits::drain_delay_ms`](crate::Limits::drain_delay_ms) and the limits
    /// that follow it. A second call changes nothing.
    pub fn drain(&self) {
        self.request(ShutdownMode::Drain, None);
    }

    /// Begins a drain, or shortens one: every session is closed with 1001 now, and has half a second to end.
    pub fn hurry(&self) {
        self.request(ShutdownMode::Hurry, None);
    }

    /// Ends the server at once, as a second signal does, even with sessions left.
    pub fn stop(&self) {
        self.request(ShutdownMode::Stop, None);
    }

    /// Returns whether the server drains or stops.
    pub fn is_draining(&self) -> bool {
        self.control.requested() != ShutdownMode::None
    }

    /// Returns the limits in force, as [`Server::limits`](crate::Server::limits) does.
    pub fn limits(&self) -> Arc<Limits> {
        self.running.limits.value()
    }

    /// Asks for the server's end, because of a signal if one is given.
    pub(in crate::engine) fn request(&self, mode: ShutdownMode, signal: Option<&'static str>) {
        // If nobody listens any more, the server has ended already.
        let _ = self.events.send(Event::ShutdownRequested(mode, signal));
    }

    pub(super) fn wake(&self) {
        self.wakers.iter().for_each(Waker::wake_by_ref);
    }
}
