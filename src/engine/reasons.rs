//! Why connections end and messages are dropped, as it is counted.
//!
//! Every connection has one [`End`]: the first thing that made its end certain. What happens on the way there (a peer
//! that resets a connection that is being failed, say) changes nothing.

use crate::protocol::reasons;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both ends sent a Close frame.
    ClosingHandshake,
    /// A request was answered for the last time: the client wanted no more, or the handler rejected its upgrade.
    Answered,
    /// A request was refused.
    Refused,
    /// There was no room for it.
    TurnedAway,
    /// The client went before it had a WebSocket, perhaps after requests that were answered. Whether it ended its stream or
    /// reset the connection makes no difference: health checks do both.
    LeftBeforeUpgrade,
    /// The peer of a WebSocket ended its stream without a closing handshake.
    EndOfStream,
    /// The socket of a WebSocket failed, most often because the peer reset it; or the kernel refused to serve a socket.
    SocketError,
    /// No whole request came in time: none at all, a part of one, or none after the last answer.
    HandshakeTimeout,
    /// The peer was silent for too long.
    DeadPeer,
    /// Nothing left for too long.
    SendTimeout,
    /// The closing handshake, or the end of an answered request, took too long.
    CloseTimeout,
    /// The peer broke the protocol.
    Violation,
    /// A call to its handler, or a task of it, panicked.
    HandlerPanic,
    /// It asked for nothing when the server began to drain.
    Shutdown,
    /// It was left when the drain timeout was over.
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
    CutOff = "cut_off",
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The outbox was full.
    OutboxFull,
    /// The session was closing.
    Closing,
    /// The session was gone when a message from elsewhere reached its core.
    SessionGone,
    /// Published, and the subscriber was closed because it did not keep up.
    TopicClose,
    /// Published, and the subscriber, which did not keep up, wants the newest dropped.
    TopicNewest,
    /// Published, and the subscriber, which did not keep up, wants the oldest dropped.
    TopicOldest,
    /// Published, and the subscriber, which did not keep up, wants only the latest.
    TopicLatest,
    /// Published, and the ring to another core with subscribers was full.
    RingFull,
    /// Published, and too much waited to be delivered.
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
