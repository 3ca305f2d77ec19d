//! A handler's answer to a request that is for no WebSocket: at once, later, or piece by piece.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::engine::tasks::BodyPipe;
use crate::protocol::http::Response;

/// A handler's answer to a request.
#[non_exhaustive]
pub enum Reply {
    /// Answers with this response.
    Now(Response),
    /// Answers once the future is ready, within the handshake timeout. It runs on this core and may await anything that
    /// monoio can. Later requests of the connection wait meanwhile.
    Later(Pin<Box<dyn Future<Output = Reply>>>),
    /// Answers with a body that a task writes piece by piece.
    Stream(StreamedReply),
}

impl Reply {
    /// Answers later.
    pub fn later<R: Into<Reply>>(answer: impl Future<Output = R> + 'static) -> Self {
        Self::Later(Box::pin(async move { answer.await.into() }))
    }

    /// Answers with the head of `response`, and with a body that the task made by `task` writes: in chunks, or up to
    /// the end of the connection for a client of HTTP/1.0. The body ends when the task does. A task that panics cuts
    /// the connection off, so that the client notices that the body is incomplete.
    ///
    /// Use it for server-sent events and for answers that are too large to be kept in memory. It has no time limit; a
    /// client that takes nothing for [`Limits::send_timeout_ms`](crate::Limits::send_timeout_ms) is cut off.
    pub fn stream<T: Future<Output = ()> + 'static>(
        response: Response,
        task: impl FnOnce(Body) -> T + 'static,
    ) -> Self {
        Self::Stream(StreamedReply { response, task: Box::new(|body| Box::pin(task(body))) })
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reply::Now(_) => "Now",
            Reply::Later(_) => "Later",
            Reply::Stream(_) => "Stream",
        })
    }
}

/// A response whose body a task writes; see [`Reply::stream`].
pub struct StreamedReply {
    pub(in crate::engine) response: Response,
    pub(in crate::engine) task: BodyTask,
}

/// Makes the task that writes a body.
pub(in crate::engine) type BodyTask = Box<dyn FnOnce(Body) -> Pin<Box<dyn Future<Output = ()>>>>;

impl fmt::Debug for StreamedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedReply").field("response", &self.response).finish_non_exhaustive()
    }
}

/// The body of an answer, as its task writes it.
pub struct Body {
    pipe: BodyPipe,
}

impl Body {
    pub(in crate::engine) fn new(pipe: BodyPipe) -> Self {
        Self { pipe }
    }

    /// Sends a piece of the body, and waits while more than
    /// [`Limits::outbox_bytes_max`](crate::Limits::outbox_bytes_max) wait for the client. An empty piece sends nothing.
    ///
    /// # Errors
    /// [`ClientGone`] if the client has left: end the task then.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<(), ClientGone> {
        self.pipe.write(bytes.into()).await.ok_or(ClientGone)
    }

    /// Waits until the client has left, or until the server drains. A task that writes an endless body ends it then;
    /// otherwise the connection is cut off once the drain timeout is over.
    ///
    /// A client's departure is known once its host says so. It is not while more bytes wait behind the request than the
    /// socket's buffer holds, or if the client's host has vanished: a task that writes now and then, such as a comment
    /// of server-sent events, learns of both.
    pub async fn should_end(&self) {
        self.pipe.should_end().await;
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// Says that the client of a streamed answer has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The client of this answer has left. End the task that writes the answer.")]
#[non_exhaustive]
pub struct ClientGone;
