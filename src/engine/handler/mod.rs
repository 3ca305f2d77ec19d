//! The application's side of a core: the trait that an application implements, and the views that its calls are given.
//!
//! Never decides anything about a connection: a view passes each request on to the core's parts.

mod context;
mod hub;
pub(in crate::engine) mod reply;
pub(in crate::engine) mod run;
pub(in crate::engine) mod server_handle;
mod session;
mod upgrade;

pub use context::Context;
pub use reply::{Body, ClientGone, Reply, StreamedReply};
pub use server_handle::ServerHandle;
pub use upgrade::{Accept, Upgrade, UpgradeRequest};

use crate::engine::parts::Parts;
use crate::engine::session::{Sessions, Slot};
use crate::engine::values::Ended;
use crate::protocol::Message;
use crate::protocol::http::{Request, Response};
use crate::reactor::{Sockets, Token};

/// The application's side of a core. Each core has a handler of its own and makes all calls on its own thread, so a
/// handler needs no locks, and neither it nor its state need be `Send`. A call must not block: all other sessions of
/// the core wait meanwhile.
///
/// For one session the calls come in this order: [`upgrade`](Self::upgrade), [`open`](Self::open), any others,
/// [`close`](Self::close).
///
/// A call that panics ends its session with close code 1011, and nothing else. The handler is called again for other
/// sessions, so it should not leave its own state half changed.
pub trait Handler: Sized + 'static {
    /// The application's state of one session.
    type State: Default + 'static;

    /// The application's messages from core to core; `()` if there are none. See [`Handler::mail`].
    type Mail: Send + 'static;

    /// Decides about a request for a WebSocket. It comes from an allowed origin, and its address keeps the limits. The
    /// default accepts it.
    ///
    /// Unless the decision comes later, the next call of this handler is [`Handler::open`] for the accepted session, or
    /// there is none.
    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Self::State> {
        let _ = request;
        Upgrade::accept()
    }

    /// Answers any other request, at once or later. The default answers 404.
    fn request(&mut self, request: &Request<'_>, hub: &mut Hub<'_, Self>) -> Reply {
        let _ = (request, hub);
        Response::text(404, "There is nothing here.\n").into()
    }

    /// Decides about a request with `Expect: 100-continue`, whose client holds the body back. An answer refuses the
    /// request at once, and the server never reads its body. With `None`, the default, the server reads the body and
    /// then calls [`Handler::request`].
    fn before_body(&mut self, request: &Request<'_>, hub: &mut Hub<'_, Self>) -> Option<Response> {
        let _ = (request, hub);
        None
    }

    /// Begins a session: it is open, and nothing has been received yet.
    fn open(&mut self, session: &mut Session<'_, Self>) {
        let _ = session;
    }

    /// Takes a message of the session's client. It borrows its bytes for the time of the call; text is valid UTF-8.
    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>);

    /// Takes a ping. Its pong has been sent.
    fn ping(&mut self, session: &mut Session<'_, Self>, payload: &[u8]) {
        let _ = (session, payload);
    }

    /// Takes a pong, whether the server sent a ping or not.
    fn pong(&mut self, session: &mut Session<'_, Self>, payload: &[u8]) {
        let _ = (session, payload);
    }

    /// Confirms a subscription on every core: the session misses no message that is published from now on.
    fn subscribed(&mut self, session: &mut Session<'_, Self>, topic: &str) {
        let _ = (session, topic);
    }

    /// Tells that messages of a topic were dropped because the session does not keep up; see
    /// [`Overflow`](super::Overflow).
    fn dropped(&mut self, session: &mut Session<'_, Self>, topic: &str, messages: u64) {
        let _ = (session, topic, messages);
    }

    /// Ends the backpressure that [`Sent::Backpressure`](super::Sent::Backpressure) or
    /// [`Sent::Dropped`](super::Sent::Dropped) began: less than half of the outbox's limit waits by now, or published
    /// messages can be delivered again.
    fn drain(&mut self, session: &mut Session<'_, Self>) {
        let _ = session;
    }

    /// Answers the timer that [`Session::wake_after`] has set. The session is open.
    fn wake(&mut self, session: &mut Session<'_, Self>) {
        let _ = session;
    }

    /// Ends a session, once for each that was opened, however it ended. Nothing can be sent any more.
    fn close(&mut self, session: &mut Session<'_, Self>, ended: Ended<'_>) {
        let _ = (session, ended);
    }

    /// Takes mail from a handler of any core ([`Session::mail`], [`Hub::mail`]) or from another thread
    /// ([`ServerHandle::mail`]), in the order in which each of them sent it. A panic is counted and ends no session.
    fn mail(&mut self, mail: Self::Mail, hub: &mut Hub<'_, Self>) {
        let _ = (mail, hub);
    }
}

/// A session: one open WebSocket, as a handler sees it during a call. [`Session::handle`] and [`Session::id`] are for
/// later.
pub struct Session<'a, H: Handler> {
    pub(in crate::engine) slot: &'a mut Slot<H::State>,
    pub(in crate::engine) token: Token,
    pub(in crate::engine) parts: &'a mut Parts,
    pub(in crate::engine) sockets: &'a mut dyn Sockets,
}

/// A core, as its handler sees it during a call that is for no session: topics, mail, counters, and sessions by their
/// ids.
pub struct Hub<'a, H: Handler> {
    pub(in crate::engine) sessions: &'a mut Sessions<Slot<H::State>>,
    pub(in crate::engine) parts: &'a mut Parts,
    pub(in crate::engine) sockets: &'a mut dyn Sockets,
}
