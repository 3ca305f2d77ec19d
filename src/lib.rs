//! ringsock: a WebSocket server for Linux, and the engine it is built on.
//!
//! Each processor core runs one pinned runtime with its own listener, its own io_uring ring and its own sessions;
//! nothing is shared between cores but bounded rings.
//!
//! ```no_run
//! use ringsock::{Handler, Message, Server, Session};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type State = ();
//!     type Mail = ();
//!
//!     fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
//!         session.send(message);
//!     }
//! }
//!
//! # #[cfg(feature = "server")]
//! fn main() -> Result<(), ringsock::server::Error> {
//!     Server::builder().listen("127.0.0.1:9000").run(|_core| Echo)
//! }
//! ```
//!
//! The layers, from the bottom up; each imports only from those below it:
//!
//! - [`protocol`]: WebSocket frames and HTTP heads, bytes in and events out. Builds alone, without the `server`
//!   feature.
//! - [`reactor`]: the calls that a core makes to the kernel: io_uring, epoll, or a simulation.
//! - [`transport`]: the one place where bytes enter and leave a client's socket.
//! - [`address`]: addresses to listen on, as operators write them.
//! - [`mesh`]: messages between cores: bounded rings, and the wake-up of a sleeping core.
//! - [`engine`]: cores, sessions, topics, limits, calls of the handler.
//! - [`service`]: the endpoints that the program `ringsock serve` offers.
//! - [`server`]: the composition of all layers.
//!
//! Beside the layers stand two parts for operators: a load generator, and a check of the host's settings.

#[cfg(feature = "server")]
pub mod address;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "cli")]
pub mod load;
#[cfg(feature = "server")]
pub mod mesh;
#[cfg(feature = "server")]
mod proc;
pub mod protocol;
#[cfg(feature = "server")]
pub mod reactor;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod transport;
#[cfg(feature = "cli")]
pub mod tune;
#[cfg(feature = "cli")]
mod units;

#[cfg(feature = "server")]
pub use engine::{
    Accept, Body, ClientGone, Context, Ended, Handler, Hub, Limits, Overflow, Reply, Sent, ServerHandle, Session,
    SessionHandle, SessionId, SessionLimits, Subscribe, TopicError, Upgrade, UpgradeRequest,
};
/// The runtime of the cores, for tasks of handlers: sockets, timers, files.
#[cfg(feature = "server")]
pub use monoio;
pub use protocol::deflate::{Compress, Compression};
pub use protocol::http::{Request, Response};
pub use protocol::{CloseCode, Message, Origins, Prepared, TrustedProxies};
#[cfg(feature = "server")]
pub use server::Server;

/// The examples of the documents, compiled as doc tests.
#[cfg(all(doctest, feature = "server"))]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/embedding.md")]
    struct Embedding;
}
