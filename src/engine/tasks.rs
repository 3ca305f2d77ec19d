//! Tasks: asynchronous work of handlers on the core's own runtime, and its commands to sessions.
//!
//! A task never touches a session directly. It leaves a command, and the core carries that out in its next turn. A task
//! awaits the outcome of each command, so the number of waiting commands is bounded by the number of tasks.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::engine::values::Sent;
use crate::engine::values::SessionId;
use crate::protocol::{CloseCode, Message};
use crate::reactor::Token;

/// A task in the form that the runtime takes.
pub type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

/// The function that runs tasks on this core: with monoio, or with a test's own executor.
pub type Spawner = Box<dyn Fn(BoxedTask)>;

/// The tasks of one core.
pub(super) struct Tasks {
    spawner: Spawner,
    shared: Rc<Shared>,
}

/// The state that tasks and their core share.
struct Shared {
    commands: RefCell<Vec<Command>>,
    /// The waker of the core's own future, while it sleeps.
    waker: RefCell<Option<Waker>>,
    live: Cell<usize>,
}

/// A command of a task to its core.
pub(super) enum Command {
    /// Send a message.
    Send { token: Token, message: OwnedMessage, outcome: Promise<Sent> },
    /// Begin the closing handshake.
    Close { token: Token, code: CloseCode, reason: String },
    /// Resume reading.
    Resume { token: Token },
    /// Append a piece to the body of the answer of this number, and keep the promise once there is room for the next.
    Write { token: Token, answer: u32, bytes: Bytes, written: Promise<()> },
    /// Make a call with the handler and the session, whose type only the core knows.
    Run { token: Token, call: Box<dyn Any> },
    /// The task of a session panicked.
    Panicked { token: Token },
    /// Check for the decision on an upgrade, whose type only the core knows.
    Look,
}

/// A message that waits for its core.
pub(super) enum OwnedMessage {
    Text(String),
    Binary(Vec<u8>),
}

impl OwnedMessage {
    pub(super) fn borrow(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => OwnedMessage::Text(text.to_owned()),
            Message::Binary(bytes) => OwnedMessage::Binary(bytes.to_vec()),
        }
    }
}

/// The core's end of an outcome that a task awaits. If it is dropped without being kept, the task gets `None`.
pub(super) struct Promise<T>(Rc<Outcome<T>>);

/// The task's end of an outcome.
struct Outcome<T> {
    stage: Cell<Stage<T>>,
    waker: RefCell<Option<Waker>>,
}

enum Stage<T> {
    Open,
    Kept(T),
    Broken,
}

impl<T> Promise<T> {
    fn new() -> (Self, Rc<Outcome<T>>) {
        let outcome = Rc::new(Outcome { stage: Cell::new(Stage::Open), waker: RefCell::new(None) });
        (Self(Rc::clone(&outcome)), outcome)
    }

    pub(super) fn keep(self, value: T) {
        self.0.stage.set(Stage::Kept(value));
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Stage::Kept(value) = self.0.stage.replace(Stage::Broken) {
            self.0.stage.set(Stage::Kept(value));
        }
        if let Some(waker) = self.0.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl<T> Outcome<T> {
    /// Waits until the promise is kept, or is broken (`None`).
    async fn wait(&self) -> Option<T> {
        poll_fn(|context| match self.stage.replace(Stage::Open) {
            Stage::Kept(value) => Poll::Ready(Some(value)),
            Stage::Broken => Poll::Ready(None),
            Stage::Open => {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

impl Tasks {
    pub(super) fn new(spawner: Spawner) -> Self {
        let shared = Shared { commands: RefCell::new(Vec::new()), waker: RefCell::new(None), live: Cell::new(0) };
        Self { spawner, shared: Rc::new(shared) }
    }

    /// Returns the number of tasks that have not ended.
    pub(super) fn live(&self) -> usize {
        self.shared.live.get()
    }

    /// Returns whether commands wait; if not, the next one wakes `waker`.
    pub(super) fn has_commands_or_wake(&self, waker: &Waker) -> bool {
        *self.shared.waker.borrow_mut() = Some(waker.clone());
        !self.shared.commands.borrow().is_empty()
    }

    /// Returns whether commands wait.
    pub(super) fn has_commands(&self) -> bool {
        !self.shared.commands.borrow().is_empty()
    }

    /// Takes the commands that wait.
    pub(super) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut self.shared.commands.borrow_mut())
    }

    pub(super) fn handle<H>(&self, id: SessionId) -> SessionHandle<H> {
        SessionHandle { id, shared: Rc::clone(&self.shared), handler: PhantomData }
    }

    /// Returns the task's end of the answer of this number, and the core's hold on it.
    pub(super) fn body(&self, token: Token, answer: u32) -> (BodyPipe, Promise<Infallible>) {
        let (promise, left) = Promise::new();
        (BodyPipe { shared: Rc::clone(&self.shared), token, answer, left }, promise)
    }

    /// Runs a session's task; if it panics, the session ends.
    pub(super) fn spawn_for(&self, id: SessionId, task: impl Future<Output = ()> + 'static) {
        let shared = Rc::clone(&self.shared);
        self.spawn(async move {
            if caught(task).await.is_none() {
                shared.command(Command::Panicked { token: id.token });
            }
        });
    }

    /// Runs a future to its end and passes on its output; `None` if it panicked.
    pub(super) fn spawn_then<T>(
        &self,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(Option<T>) + 'static,
    ) {
        let shared = Rc::clone(&self.shared);
        self.spawn(async move {
            then(caught(future).await);
            shared.command(Command::Look);
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let shared = Rc::clone(&self.shared);
        shared.live.set(shared.live.get() + 1);
        (self.spawner)(Box::pin(async move {
            task.await;
            shared.live.set(shared.live.get() - 1);
            shared.wake();
        }));
    }
}

impl Shared {
    fn command(&self, command: Command) {
        self.commands.borrow_mut().push(command);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Carries the body of one answer from its task to the core, piece by piece.
pub(super) struct BodyPipe {
    shared: Rc<Shared>,
    token: Token,
    answer: u32,
    left: Rc<Outcome<Infallible>>,
}

impl BodyPipe {
    /// Passes a piece to the core, and waits until there is room for the next one. Returns `None` once the answer is
    /// over.
    pub(super) async fn write(&self, bytes: Bytes) -> Option<()> {
        let (written, outcome) = Promise::new();
        self.shared.command(Command::Write { token: self.token, answer: self.answer, bytes, written });
        outcome.wait().await
    }

    /// Waits until the answer is over, or should come to its end.
    pub(super) async fn should_end(&self) {
        let _ = self.left.wait().await;
    }
}

/// A handle to a session, for tasks of its core. It may outlive the session, and then reaches none: `send` returns
/// [`Sent::Dropped`], and the other calls do nothing. The core carries each call out in its next turn. `H` is the
/// handler.
pub struct SessionHandle<H> {
    id: SessionId,
    shared: Rc<Shared>,
    handler: PhantomData<fn(H)>,
}

impl<H> SessionHandle<H> {
    /// Returns the name of the session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Sends a message, as [`Session::send`](super::Session::send) does, and returns the outcome.
    pub async fn send(&self, message: impl Into<Message<'_>>) -> Sent {
        let message = message.into();
        let (promise, outcome) = Promise::new();
        self.shared.command(Command::Send {
            token: self.id.token,
            message: OwnedMessage::from(message),
            outcome: promise,
        });
        // A core that ends breaks its promises.
        outcome.wait().await.unwrap_or(Sent::Dropped)
    }

    /// Makes the core run `call`, see [`Command::Run`], and returns its result; `None` if it was dropped.
    pub(super) async fn run_by<T, C: 'static>(&self, call: impl FnOnce(Promise<T>) -> C) -> Option<T> {
        let (promise, outcome) = Promise::new();
        self.shared.command(Command::Run { token: self.id.token, call: Box::new(call(promise)) });
        outcome.wait().await
    }

    /// Resumes reading from a session that its handler paused, as [`Session::resume`](super::Session::resume) does.
    pub fn resume(&self) {
        self.shared.command(Command::Resume { token: self.id.token });
    }

    /// Begins the closing handshake, as [`Session::close`](super::Session::close) does.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.shared.command(Command::Close { token: self.id.token, code, reason: reason.to_owned() });
    }
}

impl<H> Clone for SessionHandle<H> {
    fn clone(&self) -> Self {
        Self { id: self.id, shared: Rc::clone(&self.shared), handler: PhantomData }
    }
}

impl<H> fmt::Debug for SessionHandle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Returns a future's output, or `None` if it panicked: monoio would let the panic end the core's thread.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
