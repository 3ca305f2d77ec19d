//! The application of the tests: it echoes, does what its clients tell it, and writes down what it saw.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::task::Poll;

use crate::engine::{Ended, Handler, Sent, Session, SessionHandle, SessionId, Upgrade, UpgradeRequest};
use crate::protocol::http::{Request, Response};
use crate::protocol::{CloseCode, Message};

/// What the application saw, in order.
#[derive(Default)]
pub struct Log {
    pub opened: RefCell<Vec<SessionId>>,
    pub closed: RefCell<Vec<Closed>>,
    /// The client's address, at each upgrade that was asked for and at each session that was opened.
    pub addresses: RefCell<Vec<Option<IpAddr>>>,
    /// Messages that were not commands.
    pub messages: RefCell<Vec<(SessionId, Vec<u8>)>>,
    pub pings: RefCell<Vec<Vec<u8>>>,
    pub pongs: RefCell<Vec<Vec<u8>>>,
    /// What became of what was sent.
    pub sent: RefCell<Vec<Sent>>,
    /// Sessions that were told to go on, and how many bytes waited then.
    pub drained: RefCell<Vec<(SessionId, usize)>>,
    /// Handles that sessions gave away.
    pub handles: RefCell<Vec<SessionHandle>>,
    /// That something could be sent from `Handler::close`.
    pub sent_after_end: Cell<bool>,
    /// Decisions that take time wait for it.
    pub gate: Gate,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub id: SessionId,
    pub code: Option<u16>,
    pub reason: String,
    pub clean: bool,
}

impl Log {
    /// How the session ended that ended last.
    pub fn last_closed(&self) -> Closed {
        self.closed.borrow().last().cloned().expect("a session has ended")
    }

    /// Code, reason and cleanness of every end so far.
    pub fn ends(&self) -> Vec<(Option<u16>, String, bool)> {
        self.closed.borrow().iter().map(|closed| (closed.code, closed.reason.clone(), closed.clean)).collect()
    }
}

/// What lets tasks through once it is opened.
#[derive(Clone, Default)]
pub struct Gate {
    opened: Rc<Cell<bool>>,
    awaited: Rc<Cell<bool>>,
}

impl Gate {
    pub fn open(&self) {
        self.opened.set(true);
    }

    /// Whether nobody waits at it in vain.
    pub fn is_clear(&self) -> bool {
        self.opened.get() || !self.awaited.get()
    }

    async fn pass(self) {
        self.awaited.set(true);
        poll_fn(|_| if self.opened.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// What it keeps for a session.
#[derive(Default)]
pub struct Member {
    /// The callback that is to panic.
    panic_in: String,
    /// Dropping it panics.
    bomb: bool,
}

impl Member {
    fn bomb() -> Self {
        Self { panic_in: String::new(), bomb: true }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // A test that fails drops what is left, and a second panic would end all tests.
        if self.bomb && !std::thread::panicking() {
            burst();
        }
    }
}

/// A panic without the noise of one.
pub fn burst() -> ! {
    resume_unwind(Box::new("the application failed"))
}

/// Sends `count` messages of `bytes` each, numbered, and notes what became of them.
fn flood(session: &mut Session<'_, Member>, log: &Log, count: usize, bytes: usize) {
    for number in 0..count {
        let sent = session.send(&numbered(number, bytes));
        log.sent.borrow_mut().push(sent);
    }
}

/// A message that can be told from the others.
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

    fn panic_if_told(&self, session: &mut Session<'_, Member>, callback: &str) {
        if session.state().panic_in == callback {
            burst();
        }
    }

    /// Does what a message says. Anything else is echoed.
    fn obey(&mut self, session: &mut Session<'_, Member>, command: &str) -> bool {
        let words: Vec<&str> = command.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().expect("a number");
        let (log, handle) = (Rc::clone(&self.log), session.handle());
        match words[0] {
            "/panic" => burst(),
            "/panic-in" => session.state().panic_in = words[1].to_owned(),
            "/bomb" => session.state().bomb = true,
            "/say-and-panic" => {
                session.send("the last word");
                burst()
            }
            "/pause" => session.pause(),
            "/ping" => session.ping(words[1].as_bytes()),
            "/close" => session.close(CloseCode::new(number(1) as u16).expect("a code"), words[2]),
            "/close-and-send" => {
                session.close(CloseCode::NORMAL, "");
                let sent = session.send("too late");
                log.sent.borrow_mut().push(sent);
            }
            "/flood" => flood(session, &log, number(1), number(2)),
            "/handle" => log.handles.borrow_mut().push(handle),
            "/task-send" => session.spawn(async move {
                let sent = handle.send("from a task").await;
                log.sent.borrow_mut().push(sent);
            }),
            "/task-close" => session.spawn(async move { handle.close(CloseCode::AWAY, "a task said so") }),
            "/pause-until-task" => {
                session.pause();
                session.spawn(async move {
                    log.gate.clone().pass().await;
                    handle.resume();
                });
            }
            "/task-panic" => session.spawn(async { burst() }),
            "/task-panic-later" => session.spawn(async move {
                log.gate.clone().pass().await;
                burst()
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
        let gate = self.log.gate.clone();
        let later = |decide: fn() -> Upgrade<Member>| {
            Upgrade::later(async move {
                gate.pass().await;
                decide()
            })
        };
        let no = || Upgrade::reject(Response::text(403, "No.\n"));
        let panicking_in = |callback: &str| Member { panic_in: callback.to_owned(), bomb: false };
        match request.path() {
            "/reject" => no(),
            "/panic" => burst(),
            "/panic-in-open" => Upgrade::accept_with(panicking_in("open")),
            "/protocol" => match request.choose_protocol(&["superchat", "chat"]) {
                Some(protocol) => Upgrade::accept().protocol(protocol.to_owned()),
                None => no(),
            },
            "/unknown-protocol" => Upgrade::accept().protocol("unheard-of"),
            "/bad-header" => Upgrade::accept().header("X-Split", "a\r\nb"),
            "/bomb-and-bad-header" => Upgrade::accept_with(Member::bomb()).header("X-Split", "a\r\nb"),
            "/later" => later(Upgrade::accept),
            "/later-twice" => later(|| Upgrade::later(async { Upgrade::accept() })),
            "/later-reject" => later(|| Upgrade::reject(Response::text(403, "No.\n"))),
            "/later-panic" => later(|| burst()),
            "/later-unknown-protocol" => later(|| Upgrade::accept().protocol("unheard-of")),
            "/later-bomb" => later(|| Upgrade::accept_with(Member::bomb())),
            _ => Upgrade::accept(),
        }
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        match request.path() {
            "/panic" => burst(),
            "/large" => Response::text(200, "x".repeat(40_000)),
            path => Response::text(200, path.to_owned()),
        }
    }

    fn open(&mut self, session: &mut Session<'_, Member>) {
        self.log.opened.borrow_mut().push(session.id());
        self.log.addresses.borrow_mut().push(session.client_address());
        self.panic_if_told(session, "open");
    }

    fn message(&mut self, session: &mut Session<'_, Member>, message: Message<'_>) {
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
        self.log.pings.borrow_mut().push(payload.to_vec());
        self.panic_if_told(session, "ping");
    }

    fn pong(&mut self, session: &mut Session<'_, Member>, payload: &[u8]) {
        self.log.pongs.borrow_mut().push(payload.to_vec());
        self.panic_if_told(session, "pong");
    }

    fn drain(&mut self, session: &mut Session<'_, Member>) {
        self.log.drained.borrow_mut().push((session.id(), session.buffered_amount()));
        self.panic_if_told(session, "drain");
    }

    fn close(&mut self, session: &mut Session<'_, Member>, ended: Ended<'_>) {
        let Ended { code, reason, clean } = ended;
        let (id, code, reason) = (session.id(), code.map(|code| code.number()), reason.to_owned());
        self.log.closed.borrow_mut().push(Closed { id, code, reason, clean });
        // An assertion in a callback would be one more panic that the engine catches.
        let sent = session.send("a word after the end");
        self.log.sent_after_end.set(self.log.sent_after_end.get() || sent != Sent::Dropped);
        self.panic_if_told(session, "close");
    }
}
