//! The application of the tests: it echoes, follows the commands of its clients, and records its calls.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::letter::{Errand, Letter};
use super::log::{Closed, Log};
use crate::engine::{
    Accept, Body, ClientGone, Ended, Handler, Hub, Overflow, Reply, Sent, Session, SessionId, Subscribe, Upgrade,
    UpgradeRequest,
};
use crate::protocol::http::{Request, Response};
use crate::protocol::{CloseCode, Message};

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
    pub id: Option<SessionId>,
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
pub const PANICS: [&str; 19] = [
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
    "mail",
    "run",
    "answer",
    "body",
    "wake",
    "drop of the state",
];

/// The number of polls before an early decision.
const SOON_POLLS: usize = 5;

/// Returns the callback of this name, if there is one.
fn callback(name: &str) -> &'static str {
    PANICS.iter().copied().find(|known| *known == name).unwrap_or_default()
}

/// Sends `count` numbered messages of `bytes` each, and records the outcomes.
fn flood(session: &mut Session<'_, App>, log: &Log, count: usize, bytes: usize) {
    session.state().longest = session.state().longest.max(bytes);
    for number in 0..count {
        let sent = session.send(&numbered(number, bytes));
        log.sent.borrow_mut().push(sent);
    }
}

/// Parses the options of a subscription: `close`, `newest`, `oldest` or `latest`, with `silent` after any of them.
fn join(session: &mut Session<'_, App>, log: &Log, topic: &str, how: &str) {
    let overflow = match how.trim_end_matches("-silent") {
        "newest" => Overflow::DropNewest,
        "oldest" => Overflow::DropOldest,
        "latest" => Overflow::Latest,
        _ => Overflow::Close,
    };
    let joined = session.subscribe_with(topic, Subscribe::new().overflow(overflow).echo(!how.ends_with("silent")));
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

/// Accepts with limits of the session's own: `/limited/MESSAGE/OUTBOX/PING/DEAD`, where `-` keeps the server's.
fn limited(request: &UpgradeRequest<'_>) -> Upgrade<Member> {
    let numbers: Vec<Option<u64>> = request.path().split('/').skip(2).map(|number| number.parse().ok()).collect();
    let mut limits = request.session_limits();
    limits.message_bytes_max = numbers[0].unwrap_or(limits.message_bytes_max);
    limits.outbox_bytes_max = numbers[1].map_or(limits.outbox_bytes_max, |bytes| bytes as usize);
    limits.ping_interval_ms = numbers[2].unwrap_or(limits.ping_interval_ms);
    limits.dead_peer_timeout_ms = numbers[3].unwrap_or(limits.dead_peer_timeout_ms);
    limits.compression &= request.query() != Some("plain");
    Accept::new().limits(limits).into()
}

/// Writes a body of so many numbered pieces, and records how that ended.
async fn stream(mut body: Body, log: Rc<Log>, pieces: usize, bytes: usize) {
    let mut outcome = Ok(());
    for number in 0..pieces {
        outcome = body.write(piece(number, bytes)).await;
        if outcome.is_err() {
            break;
        }
    }
    log.streamed.borrow_mut().push(outcome);
}

/// Returns the piece of this number, of so many bytes.
pub fn piece(number: usize, bytes: usize) -> String {
    let digits = number.to_string();
    digits.repeat(bytes.div_ceil(digits.len()))[..bytes].to_owned()
}

pub struct App {
    log: Rc<Log>,
}

impl App {
    pub fn new(log: Rc<Log>) -> Self {
        Self { log }
    }

    fn panic_if_told(&self, session: &mut Session<'_, Self>, callback: &'static str) {
        if session.state().panic_in == callback {
            self.log.fail(callback);
        }
    }

    fn post(&self, session: &mut Session<'_, Self>, to: u16, errand: Errand) {
        let letter = self.log.post.letter(Some(session.core()), to, errand);
        self.note_mailed(session.mail(to, letter));
    }

    fn note_mailed(&self, sent: Sent) {
        if sent == Sent::Queued {
            self.log.post.note_queued();
        }
        self.log.sent.borrow_mut().push(sent);
    }

    fn answer_to_task(&self, session: &mut Session<'_, Self>) -> u32 {
        self.log.note_call(session, "run");
        session.send("from a task");
        session.id().token.index
    }

    /// Does what mail says with a session of this core; forwards mail for a session of another core.
    fn visit(&self, id: SessionId, errand: Errand, hub: &mut Hub<'_, Self>, with: fn(&Log, &mut Session<'_, Self>)) {
        if id.core == hub.core() {
            let _ = hub.session(id, |session| {
                self.log.note_call(session, "visit");
                with(&self.log, session);
            });
        } else {
            let letter = self.log.post.letter(Some(hub.core()), id.core, errand);
            self.note_mailed(hub.mail(id.core, letter));
        }
    }

    /// Follows a command, or echoes any other message.
    fn obey(&mut self, session: &mut Session<'_, Self>, command: &str) -> bool {
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
            "/mail" => self.post(session, number(1) as u16, Errand::Note(word(2).to_owned())),
            "/mail-panic" => self.post(session, number(1) as u16, Errand::Panic),
            "/visit" => self.post(session, number(1) as u16, Errand::Visit(session.id())),
            "/bother" => self.post(session, number(1) as u16, Errand::Bother(session.id())),
            "/wake" => session.wake_after(number(1) as u64),
            "/subject" => session.set_subject(word(1)),
            "/wake-and-panic" => {
                session.state().panic_in = "wake";
                session.wake_after(number(1) as u64);
            }
            "/cancel-wake" => session.cancel_wake(),
            "/task-run" => session.spawn(async move {
                let ran = handle.run(|app, session| app.answer_to_task(session)).await;
                log.ran.borrow_mut().push(ran);
            }),
            "/task-run-later" => session.spawn(async move {
                log.gate.clone().pass().await;
                let ran = handle.run(|app, session| app.answer_to_task(session)).await;
                log.ran.borrow_mut().push(ran);
            }),
            "/task-run-panic" => session.spawn(async move {
                let ran = handle.run(|app, _| -> u32 { app.log.fail("run") }).await;
                log.ran.borrow_mut().push(ran);
            }),
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
    type Mail = Letter;

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
                Some(protocol) => Accept::new().protocol(protocol.to_owned()).into(),
                None => no(),
            },
            "/unknown-protocol" => Accept::new().protocol("unheard-of").into(),
            "/bad-header" => Accept::new().header("X-Split", "a\r\nb").into(),
            "/bomb-and-bad-header" => Accept::with(Member::bomb(&self.log)).header("X-Split", "a\r\nb").into(),
            "/soon" => soon(Upgrade::accept),
            "/soon-reject" => soon(|| Upgrade::reject(Response::text(403, "No.\n"))),
            "/later" => later(|_| Upgrade::accept()),
            "/later-twice" => later(|_| Upgrade::later(async { Upgrade::accept() })),
            "/later-reject" => later(|_| Upgrade::reject(Response::text(403, "No.\n"))),
            "/joined" => Accept::new().subscribe("news", Subscribe::new()).into(),
            "/joined-later" => later(|_| Accept::new().subscribe("news", Subscribe::new()).into()),
            "/joined-to-nothing" => Accept::new().subscribe("", Subscribe::new()).into(),
            "/later-panic" => later(|log| log.fail("decision")),
            "/later-unknown-protocol" => later(|_| Accept::new().protocol("unheard-of").into()),
            "/later-bomb" => later(|log| Upgrade::accept_with(Member::bomb(log))),
            path if path.starts_with("/limited/") => limited(request),
            path if path.starts_with("/subject/") => Accept::new().subject(path).into(),
            _ => Upgrade::accept(),
        }
    }

    fn request(&mut self, request: &Request<'_>, _hub: &mut Hub<'_, Self>) -> Reply {
        let log = Rc::clone(&self.log);
        let ok = |body: &str| Response::text(200, body.to_owned());
        match request.path() {
            "/panic" => self.log.fail("request"),
            "/large" => ok(&"x".repeat(40_000)).into(),
            "/answer-later" => Reply::later(async move {
                log.gate.clone().pass().await;
                Response::text(200, "later")
            }),
            "/answer-later-panic" => Reply::later(async move {
                polls(SOON_POLLS).await;
                if SOON_POLLS > 0 {
                    log.fail("answer");
                }
                Response::new(200)
            }),
            "/stream-later" => Reply::later(async move {
                polls(SOON_POLLS).await;
                Reply::stream(Response::new(200), |body| stream(body, log, 3, 100))
            }),
            "/stream-panic" => Reply::stream(Response::new(200), |mut body| async move {
                let _ = body.write("half of it").await;
                log.fail("body")
            }),
            "/stream-silently" => Reply::stream(Response::new(200), |body| async move {
                body.should_end().await;
                log.streamed.borrow_mut().push(Err(ClientGone));
            }),
            path if path.starts_with("/soon-page") => {
                let page = ok(path);
                Reply::later(async move {
                    polls(SOON_POLLS).await;
                    page
                })
            }
            path if path.starts_with("/stream/") => {
                let mut numbers = path.split('/').skip(2).map(|number| number.parse().unwrap_or_default());
                let (pieces, bytes) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
                Reply::stream(Response::new(200), move |body| stream(body, log, pieces, bytes))
            }
            path if request.body().is_empty() => ok(path).into(),
            _ => Response::text(200, request.body().to_vec()).into(),
        }
    }

    fn before_body(&mut self, request: &Request<'_>, _hub: &mut Hub<'_, Self>) -> Option<Response> {
        match request.path() {
            "/unread" => Some(Response::text(403, "No.\n")),
            "/panic-before-body" => self.log.fail("before_body"),
            _ => None,
        }
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        self.log.note_call(session, "open");
        self.log.opened.borrow_mut().push(session.id());
        self.log.addresses.borrow_mut().push(session.client_address());
        self.panic_if_told(session, "open");
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
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

    fn ping(&mut self, session: &mut Session<'_, Self>, payload: &[u8]) {
        self.log.note_call(session, "ping");
        self.log.pings.borrow_mut().push(payload.to_vec());
        self.panic_if_told(session, "ping");
    }

    fn pong(&mut self, session: &mut Session<'_, Self>, payload: &[u8]) {
        self.log.note_call(session, "pong");
        self.log.pongs.borrow_mut().push(payload.to_vec());
        self.panic_if_told(session, "pong");
    }

    fn subscribed(&mut self, session: &mut Session<'_, Self>, topic: &str) {
        self.log.note_call(session, "subscribed");
        self.log.subscribed.borrow_mut().push((session.id(), topic.to_owned()));
        self.log.board.confirm(session.id(), topic);
        if session.state().publish_in == "subscribed" {
            let sent = session.publish(topic, "from subscribed");
            self.log.sent.borrow_mut().extend(sent.ok());
        }
        self.panic_if_told(session, "subscribed");
    }

    fn dropped(&mut self, session: &mut Session<'_, Self>, topic: &str, messages: u64) {
        self.log.note_call(session, "dropped");
        self.log.dropped.borrow_mut().push((session.id(), topic.to_owned(), messages));
        self.log.board.drop_for(session.id(), topic, messages);
        if session.state().close_in == "dropped" {
            session.close(CloseCode::new(4000).unwrap_or(CloseCode::NORMAL), "dropped");
        }
        self.panic_if_told(session, "dropped");
    }

    fn drain(&mut self, session: &mut Session<'_, Self>) {
        self.log.note_call(session, "drain");
        self.log.drained.borrow_mut().push((session.id(), session.buffered_amount()));
        self.panic_if_told(session, "drain");
    }

    fn wake(&mut self, session: &mut Session<'_, Self>) {
        self.log.note_call(session, "wake");
        self.log.woken.borrow_mut().push(session.id());
        self.panic_if_told(session, "wake");
    }

    fn mail(&mut self, letter: Letter, hub: &mut Hub<'_, Self>) {
        if !self.log.post.is_next(hub.core(), &letter) {
            self.log.disorder.borrow_mut().push(format!("{letter:?} comes out of order"));
        }
        match letter.errand {
            Errand::Note(text) => self.log.notes.borrow_mut().push(text),
            Errand::Panic => self.log.fail("mail"),
            Errand::Visit(id) => self.visit(id, letter.errand, hub, |_, session| {
                session.send("from a task");
            }),
            Errand::Bother(id) => self.visit(id, letter.errand, hub, |log, session| {
                session.send("the last word");
                log.fail("mail")
            }),
        }
    }

    fn close(&mut self, session: &mut Session<'_, Self>, ended: Ended<'_>) {
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
