//! Calls into a handler, with one of its sessions, from a task of the core.

use super::{Handler, Session};
use crate::engine::tasks::SessionHandle;

/// A call that a task asked for, while it waits for its core.
pub(in crate::engine) struct Call<H: Handler>(BoxedCall<H>);

type BoxedCall<H> = Box<dyn FnOnce(&mut H, &mut Session<'_, H>)>;

impl<H: Handler> Call<H> {
    pub(in crate::engine) fn make(self, handler: &mut H, session: &mut Session<'_, H>) {
        (self.0)(handler, session);
    }
}

impl<H: Handler> SessionHandle<H> {
    /// Calls `call` in the core's next turn, with the handler and the session, and returns its result; `None` if the
    /// session has ended or is closing by then. A panic of `call` ends the session with 1011, and returns `None` too.
    pub async fn run<T: 'static>(&self, call: impl FnOnce(&mut H, &mut Session<'_, H>) -> T + 'static) -> Option<T> {
        self.run_by(|promise| {
            Call::<H>(Box::new(move |handler, session| {
                let returned = call(handler, session);
                promise.keep(returned);
            }))
        })
        .await
    }
}
