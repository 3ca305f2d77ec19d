//! A WebSocket server for Linux, to be embedded in a program: on each processor core one pinned thread with its own
//! io_uring ring, listener and sessions. An application implements one trait, [`Handler`], whose calls need no locks
//! and never wait for a slow client.
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
//! fn main() -> Result<(), ringsock::Error> {
//!     Server::builder().listen("127.0.0.1:9000").run(|_core| Echo)
//! }
//! ```
//!
//! The server runs until SIGTERM or Ctrl-C, closes each session with 1001, and returns. Two documents of the repository
//! go further: `docs/embedding.md`, and `examples/`, whose programs have 90 lines at most.
//!
//! # A tour by task
//!
//! **Receive and answer messages.** [`Handler::message`] takes each [`Message`] of a client together with its
//! [`Session`]. [`Session::send`] answers, and [`Session::send_prepared`] sends what was encoded once for many sessions
//! ([`Prepared`]). A session's first call is [`Handler::open`], its last one [`Handler::close`], and [`Session::close`]
//! ends it with a [`CloseCode`]. [`Handler::State`] is the application's value for one session.
//!
//! **Publish to topics.** [`Session::subscribe`] subscribes a session to a topic, or to a pattern such as `prices/*`.
//! [`Session::publish`], [`Hub::publish`] and [`ServerHandle::publish`] reach all subscribers on all cores.
//! [`Handler::subscribed`] confirms that nothing is missed from then on. [`Subscribe`] and [`Overflow`] choose which
//! messages a subscriber misses that is too slow for them.
//!
//! **Accept or refuse upgrades.** [`Handler::upgrade`] decides on each [`UpgradeRequest`], at once or by
//! [`Upgrade::later`], after an answer of a backend for instance. [`Accept`] names the subprotocol, headers, and limits
//! for this session alone ([`SessionLimits`]). Web pages of other [`Origins`] are refused before the handler is asked.
//! Behind a proxy, [`TrustedProxies`] name the client.
//!
//! **Serve HTTP.** [`Handler::request`] takes every other [`Request`] and returns a [`Response`], or a [`Reply`] that
//! comes later or is written piece by piece ([`Reply::stream`]), such as server-sent events.
//!
//! **Work beside the calls.** [`Session::wake_after`] sets the session's timer, answered by [`Handler::wake`].
//! [`Session::spawn`] runs a future on the session's core, with the runtime `monoio`, which is re-exported;
//! [`Session::handle`] reaches the session from there, and [`SessionHandle::run`] calls back into the handler.
//!
//! **Share state between cores.** State that needs one order belongs to the handler of one core. Others send it mail of
//! the application's own type: [`Session::mail`], [`Hub::mail`] and [`ServerHandle::mail`] arrive at [`Handler::mail`].
//! [`Hub::session`] calls with a session of the core by its [`SessionId`].
//!
//! **Publish from other threads.** [`Server::handle`] returns a [`ServerHandle`], which publishes, sends to single
//! sessions and counts subscribers from any thread.
//!
//! **Set limits.** Every queue, buffer and wait has a limit in [`Limits`], with a default and its reason. `send` and
//! `publish` never block: they return [`Sent`], and [`Handler::drain`] ends backpressure. [`Session::pause`] slows a
//! client down.
//!
//! **Start and end.** [`Builder`] has all settings: addresses, cores, the reactor, signals. [`Builder::start`] returns
//! once all cores accept connections, and [`Server::join`] serves. [`Server::controller`] drains or stops the server
//! from any thread, and [replaces settings](Controller::reload) of the running one. [`InheritedSockets`] and
//! [`Server::join_observed`] serve supervisors such as systemd.
//!
//! **Watch it.** [`Builder::admin_listen`] adds a listener with metrics for Prometheus and with health checks.
//! [`Server::metrics`], [`Server::counters`] and [`Server::status`] return the same to the application. Logs go to
//! `tracing`; the library prints nothing.
//!
//! # Threads
//!
//! Each core is one thread. The closure given to [`Builder::start`] makes one handler for each core on its thread, and
//! no other thread touches that handler, its sessions and their states: they need neither locks nor `Send`. A session
//! stays on its core for life. A call of a handler must not block, since all other sessions of the core wait meanwhile:
//! tasks, timers, mail and threads of the application take what lasts. A core that a call blocks for longer than
//! [`Builder::stall_timeout_ms`] ends the server with an error.
//!
//! # Ordering
//!
//! The calls for a session come in order: `open`, its messages as the client sent them, `close`. A session receives
//! what its handler sends in the order of the calls. A subscriber receives the messages of one session, or of one
//! thread, to one topic in the order in which they were published; between publishers there is no order. The mail of
//! one core or thread to another core keeps its order. Messages that are published after [`Handler::subscribed`] was
//! called arrive, unless the subscriber's [`Overflow`] policy drops them.
//!
//! # Panics
//!
//! A panic in a call ends one session with 1011, is counted, and never ends a core. The handler is called again for
//! other sessions, so it should not leave its own state half changed. A panic in `upgrade` or `request` becomes a 500;
//! one in a task ends the session of that task. This needs `panic = "unwind"`, the default of Cargo.
//!
//! # Features
//!
//! | feature | contains |
//! |---|---|
//! | `server` | everything on this page; embedders take `default-features = false, features = ["server"]` |
//! | `services` | the services of the program, for its fuzz targets and benches |
//! | `cli` (default) | the program `ringsock`, and with it `server` and `unstable` |
//! | `unstable` | the modules of the library, for the benches, tests, fuzz targets and program of its repository |
//!
//! Nothing that needs `unstable` is part of the API: it may change in any release. With `unstable` and without `server`
//! there is the module `protocol` alone: RFC 6455 without I/O, clock or threads, for either role. Without features
//! there are only values such as [`Message`] and [`CloseCode`].
//!
//! The server needs Linux 6.1 for io_uring, and takes epoll where io_uring is not available ([`ReactorKind`]).

// The modules serve the program as well. Without it, or without the server, parts of them have no user.
#![cfg_attr(not(all(feature = "server", feature = "unstable")), allow(dead_code, unused_imports))]

// Modules are no API; see the feature `unstable`. docs/architecture.md describes them.
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod address;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod address;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod engine;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod engine;
#[cfg(feature = "cli")]
pub mod load;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod mesh;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod mesh;
#[cfg(all(feature = "services", feature = "unstable"))]
pub mod outbound;
#[cfg(all(feature = "services", not(feature = "unstable")))]
mod outbound;
#[cfg(feature = "unstable")]
pub mod protocol;
#[cfg(not(feature = "unstable"))]
mod protocol;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod reactor;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod reactor;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod server;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod server;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod service;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod service;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod tls;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod tls;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod transport;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod transport;
#[cfg(feature = "cli")]
pub mod tune;

#[cfg(all(feature = "services", feature = "unstable"))]
pub mod authorities;
#[cfg(all(feature = "services", not(feature = "unstable")))]
mod authorities;
#[cfg(feature = "server")]
mod proc;
#[cfg(feature = "server")]
mod slab;
#[cfg(feature = "cli")]
mod units;

#[cfg(feature = "server")]
pub use address::{Address, AddressError, AddressFamilies, Endpoint, Listen, ListenTls, UnixAddress, UnixName};
/// The bytes of bodies, shared without a copy.
pub use bytes::Bytes;
#[cfg(feature = "server")]
pub use engine::{
    Accept, Body, CheckedReload, ClientGone, Context, Controller, CounterFamily, Counters, Ended, Handler, Heartbeat,
    Hub, InvalidSessionId, Limits, LimitsError, Overflow, Pinning, ReactorKind, Reload, ReloadError, Reply,
    SenderRates, Sent, ServerHandle, Session, SessionHandle, SessionId, SessionLimits, StartError, Status,
    StreamedReply, Subscribe, Subscribers, TopicError, Upgrade, UpgradeRequest,
};
#[cfg(feature = "server")]
pub use mesh::MeshCapacity;
/// The runtime of the cores, for tasks of handlers: sockets, timers, files.
#[cfg(feature = "server")]
pub use monoio;
pub use protocol::deflate::{Compress, Compression, WindowBits};
pub use protocol::http::{HeadLimits, Request, Response};
pub use protocol::{
    CloseCode, InvalidNetwork, InvalidOrigin, Message, MessageLimits, Origins, Prepared, TrustedProxies,
};
#[cfg(feature = "server")]
pub use reactor::{InheritError, InheritedSocket, InheritedSockets};
#[cfg(feature = "server")]
pub use server::{Builder, Error, Server};
#[cfg(feature = "server")]
pub use service::Metrics;
#[cfg(feature = "server")]
pub use tls::{
    Acceptor as TlsAcceptor, Authorities as TlsAuthorities, Certificate as TlsCertificate,
    CertificateError as TlsCertificateError, ClientCertificate as TlsClientCertificate,
    ClientCertificates as TlsClientCertificates, RecordLayer as TlsRecordLayer, Replacement as TlsReplacement,
    Settings as TlsSettings, SettingsError as TlsSettingsError, TicketKeyError as TlsTicketKeyError,
    TicketKeys as TlsTicketKeys, Tickets as TlsTickets, Versions as TlsVersions,
};

/// The examples of the documents, compiled as doc tests.
#[cfg(all(doctest, feature = "server"))]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/embedding.md")]
    struct Embedding;
    #[doc = include_str!("../docs/tls.md")]
    struct Tls;
    #[doc = include_str!("../docs/reload.md")]
    struct Reload;
}
