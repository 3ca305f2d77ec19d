//! What an application implements.

pub(in crate::engine) mod hub;
pub(in crate::engine) mod server_handle;
mod session;
mod upgrade;

pub use hub::Hub;
pub use server_handle::ServerHandle;
pub use session::Session;
pub use upgrade::{Accept, Upgrade, UpgradeRequest};

use crate::engine::values::Ended;
use crate::protocol::Message;
use crate::protocol::http::{Request, Response};

/// The application's side of a core. Every core has a handler of its own, so a handler needs no locks, and its state
/// need not be `Send`.
///
/// A call that panics ends the session it was for with close code 1011 and nothing else; the handler is called again
/// for other sessions, so it should not leave its own state half changed.
pub trait Handler: Sized + 'static {
    /// What the application keeps for each session.
    type State: Default + 'static;

    /// A client asks for a WebSocket. It comes from an allowed origin, and its address keeps the limits. The default
    /// accepts everyone.
    ///
    /// Unless it is decided later, the next call of this handler is [`Handler::open`] for the session that is accepted, or
    /// there is none.
    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Self::State> {
        let _ = request;
        Upgrade::accept()
    }

    /// A client asks for anything else. The default knows nothing.
    fn request(&mut self, request: &Request<'_>, hub: &mut Hub<'_>) -> Response {
        let _ = (request, hub);
        Response::text(404, "There is nothing here.\n")
    }

    /// A client asks with `Expect: 100-continue`, and holds the body back until it is told to send it. An answer refuses the
    /// request at once, and its body is never read; with `None`, the default, the body is read, and then
    /// [`Handler::request`] is called.
    fn before_body(&mut self, request: &Request<'_>, hub: &mut Hub<'_>) -> Option<Response> {
        let _ = (request, hub);
        None
    }

    /// The session is open; nothing was received yet.
    fn open(&mut self, session: &mut Session<'_, Self::State>) {
        let _ = session;
    }

    /// A message came.
    fn message(&mut self, session: &mut Session<'_, Self::State>, message: Message<'_>);

    /// A ping came; its pong has been sent.
    fn ping(&mut self, session: &mut Session<'_, Self::State>, payload: &[u8]) {
        let _ = (session, payload);
    }

    /// A pong came, asked for or not.
    fn pong(&mut self, session: &mut Session<'_, Self::State>, payload: &[u8]) {
        let _ = (session, payload);
    }

    /// A subscription holds on every core: nothing that is published from now on is missed.
    fn subscribed(&mut self, session: &mut Session<'_, Self::State>, topic: &str) {
        let _ = (session, topic);
    }

    /// Messages of a topic were dropped because the session does not keep up: see [`Overflow`](super::Overflow).
    fn dropped(&mut self, session: &mut Session<'_, Self::State>, topic: &str, messages: u64) {
        let _ = (session, topic, messages);
    }

    /// After [`Sent::Backpressure`](super::Sent::Backpressure) or [`Sent::Dropped`](super::Sent::Dropped): less than half of
    /// the outbox's limit waits by now, or what was
    /// published can be delivered again.
    fn drain(&mut self, session: &mut Session<'_, Self::State>) {
        let _ = session;
    }

    /// The session has ended, once for each that was opened. Nothing can be sent any more.
    fn close(&mut self, session: &mut Session<'_, Self::State>, ended: Ended<'_>) {
        let _ = (session, ended);
    }
}
