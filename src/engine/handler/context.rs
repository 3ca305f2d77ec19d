//! The context in which a core's handler is made.

use std::fmt;
use std::sync::Arc;

use super::ServerHandle;
use crate::engine::status::Status;

/// The context of a core whose handler is being made: the core's number, the server's status, and a handle to the
/// server. `M` is the handler's [`Mail`](super::Handler::Mail).
#[derive(Clone)]
pub struct Context<M = ()> {
    core: u16,
    status: Arc<Status>,
    server: ServerHandle<M>,
}

impl<M: Send + 'static> Context<M> {
    pub(in crate::engine) fn new(core: u16, status: Arc<Status>, server: ServerHandle<M>) -> Self {
        Self { core, status, server }
    }

    /// Returns the number of this core, from 0.
    pub fn core(&self) -> u16 {
        self.core
    }

    /// Returns the number of all cores.
    pub fn cores(&self) -> u16 {
        self.server.cores()
    }

    /// Returns the server's status, which says whether the server is ready.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Returns a handle that reaches all cores, also from tasks and other threads.
    pub fn server(&self) -> ServerHandle<M> {
        self.server.clone()
    }
}

impl<M> fmt::Debug for Context<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("core", &self.core).finish_non_exhaustive()
    }
}
