//! The application of the tests: it echoes, follows the commands of its clients, and records its calls.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::task::Poll;

use super::board::Board;
use crate::engine::{
    Ended, Handler, Hub, Overflow, Sent, Session, SessionHandle, SessionId, Subscribe, TopicError, Upgrade,
    UpgradeRequest,
};
use crate::protocol::http::{Request, Response};
use crate::protocol::{CloseCode, Message};

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
    pub handles: RefCell<Vec<SessionHandle>>,
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
    /// Returns the log of one core of the process that has this board.
    pub fn of(board: &Rc<Board>) -> Self {
        Self { board: Rc::clone(board), ..Self::default() }
    }

    /// Records a call for a session, which must come between `open` and `close` and find the session's own state.
    fn note_call(&self, session: &mut Session<'_, Member>, callback: &str) {
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
    fn fail(&self, place: &'static str) -> ! {
        self.note_panic(place);
        burst()
    }

    fn note_panic(&self, place: &'static str) {
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

    async fn pass(self) {
        self.awaited.set(true);
        poll_fn(|_| if self.opened.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Completes after it was polled so many times.
async fn polls(count: usize) {
    let mut left = count;
    poll_fn(|_| {
        left = left.saturating_sub(1);
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The state of a session.
pub struct Member {
    /// The session that it belongs to, once the session is open.
    id: Option<SessionId>,
    /// The callback that is to panic.
    panic_in: &'static str,
    /// The callback that is to close the session.
    close_in: &'static str,
    /// The callback that is to publish its name to its topic.
    publish_in: &'static str,
    /// Dropping the state panics, which is recorded here.
    bomb: Option<Rc<Log>>,
    /// The longest message that was sent to the session.
    pub longest: usize,
}

thread_local! {
    /// The log of the next default state that is to panic.
    static FAILING_DEFAULT: RefCell<Option<Rc<Log>>> = const { RefCell::new(None) };
}

impl Default for Member {
    fn default() -> Self {
        if let Some(log) = FAILING_DEFAULT.take() {
            log.fail("default");
        }
        Self { id: None, panic_in: "", close_in: "", publish_in: "", bomb: None, longest: 0 }
    }
}

impl Member {
    fn bomb(log: &Rc<Log>) -> Self {
        let mut member = Self::default();
        member.bomb = Some(Rc::clone(log));
        member
    }

    fn panicking_in(callback: &'static str) -> Self {
        let mut member = Self::default();
        member.panic_in = callback;
        member
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // If a test fails, this is dropped while it panics, and a second panic would end all tests.
        if let Some(log) = self.bomb.take().filter(|_| !std::thread::panicking()) {
            log.fail("drop of the state");
        }
    }
}

/// The places at which the application can be told to panic.
pub const PANICS: [&str; 14] = [
    "upgrade",
    "default",
    "decision",
    "request",
    "open",
    "message",
    "ping",
    "pong",
    "drain",
    "subscribed",
    "dropped",
    "close",
    "task",
    "drop of the state",
];

/// The number of polls before an early decision.
const SOON_POLLS: usize = 5;

/// Returns the callback of this name, if there is one.
fn callback(name: &str) -> &'static str {
    PANICS.iter().copied().find(|known| *known == name).unwrap_or_default()
}

/// Panics without printing a message.
pub fn burst() -> ! {
    resume_unwind(Box::new("the application failed"))
}

/// Sends `count` numbered messages of `bytes` each, and records the outcomes.
fn flood(session: &mut Session<'_, Member>, log: &Log, count: usize, bytes: usize) {
    session.state().longest = session.state().longest.max(bytes);
    for number in 0..count {
        let sent = session.send(&numbered(number, bytes));
        log.sent.borrow_mut().push(sent);
    }
}

/// Parses the options of a subscription: `close`, `newest`, `oldest` or `latest`, with `silent` after any of them.
fn join(session: &mut Session<'_, Member>, log: &Log, topic: &str, how: &str) {
    let overflow = match how.trim_end_matches("-silent") {
        "newest" => Overflow::DropNewest,
        "oldest" => Overflow::DropOldest,
        "latest" => Overflow::Latest,
        _ => Overflow::Close,
    };
    let joined = session.subscribe_with(topic, Subscribe { overflow, echo: !how.ends_with("silent") });
    if joined == Ok(true) {
        log.board.join(session.id(), topic);
    }
    log.topic_errors.borrow_mut().extend(joined.err());
}

/// Returns a message that differs from the others.
pub fn numbered(number: usize, bytes: usize) -> Vec<u8> {
    let mut message = vec![number as u8; bytes];
    message[..4].copy_from_slice(&(number as u32).to_be_bytes());
    message
}

pub struct App {
    log: Rc<Log>,
}

impl App {
    pub fn new(log: Rc<Log>) -> Self {
        Self { log }
    }

    fn panic_if_told(&self, session: &mut Session<'_, Member>, callback: &'static str) {
        if session.state().panic_in == callback {
            self.log.fail(callback);
        }
    }

    /// Follows a command, or echoes any other message.
    fn obey(&mut self, session: &mut Session<'_, Member>, command: &str) -> bool {
        let words: Vec<&str> = command.split(' ').collect();
        // A command that a hostile client cut off or joined with another may mean anything, but must not panic.
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let number = |at: usize| word(at).parse::<usize>().unwrap_or_default();
        let (log, handle) = (Rc::clone(&self.log), session.handle());
        match words[0] {
            "/panic" => log.fail("message"),
            "/panic-in" => session.state().panic_in = callback(word(1)),
            "/publish-in" => session.state().publish_in = callback(word(1)),
            "/close-in" => session.state().close_in = callback(word(1)),
            "/bomb" => session.state().bomb = Some(log),
            "/say-and-panic" => {
                session.send("the last word");
                log.fail("message")
            }
            "/pause" => session.pause(),
            "/pause-for" => {
                session.pause();
                let count = number(1);
                session.spawn(async move {
                    polls(count).await;
                    handle.resume();
                });
            }
            "/ping" => session.ping(word(1).as_bytes()),
            "/close" => session.close(CloseCode::new(number(1) as u16).unwrap_or(CloseCode::NORMAL), word(2)),
            "/close-and-send" => {
                session.close(CloseCode::NORMAL, "");
                let sent = session.send("too late");
                log.sent.borrow_mut().push(sent);
            }
            "/flood" => flood(session, &log, number(1), number(2).max(4)),
            "/join" => join(session, &log, word(1), word(2)),
            "/leave" => {
                session.unsubscribe(word(1));
            }
            "/who" => {
                session.send(&format!("you are {}", session.id()));
            }
            "/publish" => {
                let text = command.splitn(3, ' ').nth(2).unwrap_or_default();
                match session.publish(word(1), text) {
                    Ok(sent) => {
                        log.board.publish(word(1), text);
                        log.sent.borrow_mut().push(sent);
                    }
                    Err(error) => log.topic_errors.borrow_mut().push(error),
                }
            }
            "/publish-number" => {
                let sent = session.publish(word(1), &numbered(number(2), number(3).max(4)));
                log.sent.borrow_mut().extend(sent.ok());
            }
            "/publish-many" => {
                (0..number(2)).for_each(|at| match session.publish(word(1), &numbered(at, number(3).max(4))) {
                    Ok(sent) => log.sent.borrow_mut().push(sent),
                    Err(error) => log.topic_errors.borrow_mut().push(error),
                })
            }
            "/handle" => log.handles.borrow_mut().push(handle),
            "/task-send" => session.spawn(async move {
                let sent = handle.send("from a task").await;
                log.sent.borrow_mut().push(sent);
            }),
            "/task-close" => session.spawn(async move { handle.close(CloseCode::GOING_AWAY, "a task said so") }),
            "/pause-until-task" => {
                session.pause();
                session.spawn(async move {
                    log.gate.clone().pass().await;
                    handle.resume();
                });
            }
            "/task-panic" => session.spawn(async move { log.fail("task") }),
            "/task-panic-later" => session.spawn(async move {
                log.gate.clone().pass().await;
                log.fail("task")
            }),
            "/task-send-later" => session.spawn(async move {
                log.gate.clone().pass().await;
                let sent = handle.send("from a late task").await;
                log.sent.borrow_mut().push(sent);
            }),
            _ => return false,
        }
        true
    }
}

impl Handler for App {
    type State = Member;

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Member> {
        self.log.addresses.borrow_mut().push(request.client_address());
        let log = Rc::clone(&self.log);
        let later = |decide: fn(&Rc<Log>) -> Upgrade<Member>| {
            Upgrade::later(async move {
                log.gate.clone().pass().await;
                decide(&log)
            })
        };
        let soon = |decide: fn() -> Upgrade<Member>| {
            Upgrade::later(async move {
                polls(SOON_POLLS).await;
                decide()
            })
        };
        let no = || Upgrade::reject(Response::text(403, "No.\n"));
        match request.path() {
            "/reject" => no(),
            "/panic" => self.log.fail("upgrade"),
            "/panic-in-default" => {
                FAILING_DEFAULT.set(Some(Rc::clone(&self.log)));
                Upgrade::accept()
            }
            "/panic-in-open" => Upgrade::accept_with(Member::panicking_in("open")),
            "/protocol" => match request.choose_protocol(&["superchat", "chat"]) {
                Some(protocol) => Upgrade::accept().protocol(protocol.to_owned()),
                None => no(),
            },
            "/unknown-protocol" => Upgrade::accept().protocol("unheard-of"),
            "/bad-header" => Upgrade::accept().header("X-Split", "a\r\nb"),
            "/bomb-and-bad-header" => Upgrade::accept_with(Member::bomb(&self.log)).header("X-Split", "a\r\nb"),
            "/soon" => soon(Upgrade::accept),
            "/soon-reject" => soon(|| Upgrade::reject(Response::text(403, "No.\n"))),
            "/later" => later(|_| Upgrade::accept()),
            "/later-twice" => later(|_| Upgrade::later(async { Upgrade::accept() })),
            "/later-reject" => later(|_| Upgrade::reject(Response::text(403, "No.\n"))),
            "/later-panic" => later(|log| log.fail("decision")),
            "/later-unknown-protocol" => later(|_| Upgrade::accept().protocol("unheard-of")),
            "/later-bomb" => later(|log| Upgrade::accept_with(Member::bomb(log))),
            _ => Upgrade::accept(),
        }
    }

    fn request(&mut self, request: &Request<'_>, _hub: &mut Hub<'_>) -> Response {
        match request.path() {
            "/panic" => self.log.fail("request"),
            "/large" => Response::text(200, "x".repeat(40_000)),
            path if request.body().is_empty() => Response::text(200, path.to_owned()),
            _ => Response::text(200, request.body().to_vec()),
        }
    }

    fn before_body(&mut self, request: &Request<'_>, _hub: &mut Hub<'_>) -> Option<Response> {
        match request.path() {
            "/unread" => Some(Response::text(403, "No.\n")),
            "/panic-before-body" => self.log.fail("before_body"),
            _ => None,
        }
    }

    fn open(&mut self, session: &mut Session<'_, Member>) {
        self.log.note_call(session, "open");
        self.log.opened.borrow_mut().push(session.id());
        self.log.addresses.borrow_mut().push(session.client_address());
        self.panic_if_told(session, "open");
    }

    fn message(&mut self, session: &mut Session<'_, Member>, message: Message<'_>) {
        self.log.note_call(session, "message");
        session.state().longest = session.state().longest.max(message.as_bytes().len());
        if let Message::Text(command) = message
            && self.obey(session, command)
        {
            return;
        }
        self.log.messages.borrow_mut().push((session.id(), message.as_bytes().to_vec()));
        let sent = session.send(message);
        self.log.sent.borrow_mut().push(sent);
    }

    fn ping(&mut self, session: &mut Session<'_, Member>, payload: &[u8]) {
        self.log.note_call(session, "ping");
        self.log.pings.borrow_mut().push(payload.to_vec());
        self.panic_if_told(session, "ping");
    }

    fn pong(&mut self, session: &mut Session<'_, Member>, payload: &[u8]) {
        self.log.note_call(session, "pong");
        self.log.pongs.borrow_mut().push(payload.to_vec());
        self.panic_if_told(session, "pong");
    }

    fn subscribed(&mut self, session: &mut Session<'_, Member>, topic: &str) {
        self.log.note_call(session, "subscribed");
        self.log.subscribed.borrow_mut().push((session.id(), topic.to_owned()));
        self.log.board.confirm(session.id(), topic);
        if session.state().publish_in == "subscribed" {
            let sent = session.publish(topic, "from subscribed");
            self.log.sent.borrow_mut().extend(sent.ok());
        }
        self.panic_if_told(session, "subscribed");
    }

    fn dropped(&mut self, session: &mut Session<'_, Member>, topic: &str, messages: u64) {
        self.log.note_call(session, "dropped");
        self.log.dropped.borrow_mut().push((session.id(), topic.to_owned(), messages));
        self.log.board.drop_for(session.id(), topic, messages);
        if session.state().close_in == "dropped" {
            session.close(CloseCode::new(4000).unwrap_or(CloseCode::NORMAL), "dropped");
        }
        self.panic_if_told(session, "dropped");
    }

    fn drain(&mut self, session: &mut Session<'_, Member>) {
        self.log.note_call(session, "drain");
        self.log.drained.borrow_mut().push((session.id(), session.buffered_amount()));
        self.panic_if_told(session, "drain");
    }

    fn close(&mut self, session: &mut Session<'_, Member>, ended: Ended<'_>) {
        self.log.note_call(session, "close");
        let Ended { code, reason, clean } = ended;
        let (id, code, reason) = (session.id(), code.map(|code| code.number()), reason.to_owned());
        self.log.closed.borrow_mut().push(Closed { id, code, reason, clean });
        // An assertion in a callback would be one more panic that the engine catches.
        let sent = session.send("a word after the end");
        self.log.sent_after_end.set(self.log.sent_after_end.get() || sent != Sent::Dropped);
        self.panic_if_told(session, "close");
    }
}
