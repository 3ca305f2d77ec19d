//! The reasons for which connections end and messages are dropped, as they are counted.
//!
//! Each connection has one [`End`]: the first event that made its end certain. Later events, such as the reset of a
//! connection that is being failed, change nothing.

use crate::protocol::reasons;
use crate::tls::FaultKind;

/// The reason why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both ends sent a Close frame.
    ClosingHandshake,
    /// The last request was answered: the client wanted no more, or the handler rejected its upgrade.
    Answered,
    /// A request was refused.
    Refused,
    /// There was no room for the connection.
    TurnedAway,
    /// The client left before it had a WebSocket, perhaps after requests that were answered. It may have ended its
    /// stream or reset the connection: health checks do both.
    LeftBeforeUpgrade,
    /// The peer of a WebSocket ended its stream without a closing handshake.
    EndOfStream,
    /// The socket of a WebSocket failed, mostly because the peer reset it, or the kernel refused to serve a socket.
    SocketError,
    /// No complete request came in time: nothing, a part of one, or nothing after the last answer.
    HandshakeTimeout,
    /// The peer was silent for too long.
    DeadPeer,
    /// Nothing was sent for too long.
    SendTimeout,
    /// The closing handshake, or the end of an answered request, took too long.
    CloseTimeout,
    /// The peer broke the protocol.
    Violation,
    /// A call to the session's handler, or a task of the session, panicked.
    HandlerPanic,
    /// The connection waited for a request when the server began to drain.
    Shutdown,
    /// The handshake of TLS failed, or a session of TLS did.
    TlsFailure,
    /// The connection had not ended when the drain timeout was over.
    CutOff,
}

reasons! {
    End:
    ClosingHandshake = "closing_handshake",
    Answered = "answered",
    Refused = "refused",
    TurnedAway = "turned_away",
    LeftBeforeUpgrade = "left_before_upgrade",
    EndOfStream = "end_of_stream",
    SocketError = "socket_error",
    HandshakeTimeout = "handshake_timeout",
    DeadPeer = "dead_peer",
    SendTimeout = "send_timeout",
    CloseTimeout = "close_timeout",
    Violation = "violation",
    HandlerPanic = "handler_panic",
    Shutdown = "shutdown",
    TlsFailure = "tls_failure",
    CutOff = "cut_off",
}

reasons! {
    FaultKind:
    Malformed = "malformed",
    NothingInCommon = "nothing_in_common",
    NoProtocol = "no_protocol",
    PeerCertificate = "client_certificate",
    PeerAlert = "peer_alert",
    PeerMisbehaved = "peer_misbehaved",
    BadRecord = "bad_record",
    Internal = "internal",
}

/// The reason why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The outbox was full.
    OutboxFull,
    /// The session was closing.
    Closing,
    /// The session had ended when a message from elsewhere reached its core.
    SessionGone,
    /// A published message was dropped: the subscriber did not keep up, and was closed.
    TopicClose,
    /// A published message was dropped: the subscriber did not keep up, and its policy drops the newest.
    TopicNewest,
    /// A published message was dropped: the subscriber did not keep up, and its policy drops the oldest.
    TopicOldest,
    /// A published message was dropped: the subscriber did not keep up, and its policy keeps only the latest.
    TopicLatest,
    /// A published message was dropped: the ring to another core with subscribers was full.
    RingFull,
    /// A published message was dropped: too much waited to be delivered.
    BacklogFull,
}

reasons! {
    DropReason:
    OutboxFull = "outbox_full",
    Closing = "closing",
    SessionGone = "session_gone",
    TopicClose = "topic_close",
    TopicNewest = "topic_newest",
    TopicOldest = "topic_oldest",
    TopicLatest = "topic_latest",
    RingFull = "ring_full",
    BacklogFull = "backlog_full",
}
