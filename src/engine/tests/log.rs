//! The log of the tests' application: its calls, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::task::Poll;

use super::board::Board;
use super::handler::App;
use super::letter::Post;
use crate::engine::{ClientGone, Sent, Session, SessionHandle, SessionId, TopicError};

/// The calls that the application received, in order.
#[derive(Default)]
pub struct Log {
    pub opened: RefCell<Vec<SessionId>>,
    pub closed: RefCell<Vec<Closed>>,
    /// The client's address, at each upgrade and at each opened session.
    pub addresses: RefCell<Vec<Option<IpAddr>>>,
    /// Messages that were not commands.
    pub messages: RefCell<Vec<(SessionId, Vec<u8>)>>,
    pub pings: RefCell<Vec<Vec<u8>>>,
    pub pongs: RefCell<Vec<Vec<u8>>>,
    /// The outcome of each message that was sent.
    pub sent: RefCell<Vec<Sent>>,
    /// Sessions whose backpressure ended, and how many bytes waited then.
    pub drained: RefCell<Vec<(SessionId, usize)>>,
    /// Handles that sessions gave away.
    pub handles: RefCell<Vec<SessionHandle<App>>>,
    /// A message could be sent from `Handler::close`.
    pub sent_after_end: Cell<bool>,
    /// Confirmed subscriptions.
    pub subscribed: RefCell<Vec<(SessionId, String)>>,
    /// Messages of a topic that were dropped for a session.
    pub dropped: RefCell<Vec<(SessionId, String, u64)>>,
    /// The errors of subscriptions and publications.
    pub topic_errors: RefCell<Vec<TopicError>>,
    /// The messages published on all cores of the process.
    pub board: Rc<Board>,
    /// The mail of all cores of the process.
    pub post: Rc<Post>,
    /// The ends of bodies that tasks wrote.
    pub streamed: RefCell<Vec<Result<(), ClientGone>>>,
    /// Mail that was to be recorded.
    pub notes: RefCell<Vec<String>>,
    /// Sessions that were woken.
    pub woken: RefCell<Vec<SessionId>>,
    /// The outcomes of calls that tasks asked for.
    pub ran: RefCell<Vec<Option<u32>>>,
    /// Pending decisions wait for it.
    pub gate: Gate,
    /// Calls before `open`, after `close`, repeated, or for a session with the state of another.
    pub disorder: RefCell<Vec<String>>,
    /// The number of the application's panics, by place.
    pub panics: RefCell<BTreeMap<&'static str, u64>>,
    live: RefCell<HashSet<SessionId>>,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub id: SessionId,
    pub code: Option<u16>,
    pub reason: String,
    pub clean: bool,
}

impl Log {
    /// Returns the log of one core of the process that has this board and this mail.
    pub fn of(board: &Rc<Board>, post: &Rc<Post>) -> Self {
        Self { board: Rc::clone(board), post: Rc::clone(post), ..Self::default() }
    }

    /// Records a call for a session, which must come between `open` and `close` and find the session's own state.
    pub fn note_call(&self, session: &mut Session<'_, App>, callback: &str) {
        let id = session.id();
        let in_order = match callback {
            "open" => self.live.borrow_mut().insert(id) && session.state().id.replace(id).is_none(),
            "close" => self.live.borrow_mut().remove(&id),
            _ => self.live.borrow().contains(&id),
        };
        if !in_order || session.state().id != Some(id) {
            let state = session.state().id;
            self.disorder
                .borrow_mut()
                .push(format!("{callback} of {id} came out of order, with the state of {state:?}"));
        }
    }

    /// Panics, and records where.
    pub fn fail(&self, place: &'static str) -> ! {
        self.note_panic(place);
        burst()
    }

    pub fn note_panic(&self, place: &'static str) {
        *self.panics.borrow_mut().entry(place).or_default() += 1;
    }

    /// Returns the end of the session that ended last.
    pub fn last_closed(&self) -> Closed {
        self.closed.borrow().last().cloned().expect("a session has ended")
    }

    /// Returns the code, reason and cleanness of every end so far.
    pub fn ends(&self) -> Vec<(Option<u16>, String, bool)> {
        self.closed.borrow().iter().map(|closed| (closed.code, closed.reason.clone(), closed.clean)).collect()
    }
}

/// A gate that lets tasks pass once it is opened.
#[derive(Clone, Default)]
pub struct Gate {
    opened: Rc<Cell<bool>>,
    awaited: Rc<Cell<bool>>,
}

impl Gate {
    pub fn open(&self) {
        self.opened.set(true);
    }

    /// Returns whether no task waits at it.
    pub fn is_clear(&self) -> bool {
        self.opened.get() || !self.awaited.get()
    }

    pub async fn pass(self) {
        self.awaited.set(true);
        poll_fn(|_| if self.opened.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Panics without printing a message.
pub fn burst() -> ! {
    resume_unwind(Box::new("the application failed"))
}
