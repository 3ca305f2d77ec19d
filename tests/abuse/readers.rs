//! Row 16: subscribers that never read, beside others that do.
//!
//! There are no topics yet; a handler on the library's own interface sends each message to all subscribers of its core,
//! and closes with 1013 whoever is so slow that a message was dropped for it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::join_all;
use ringsock::engine::SessionHandle;
use ringsock::protocol::CloseCode;
use ringsock::{Sent, Session};

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::{figure, on_each_reactor, scaled};

const PAYLOAD_BYTES: usize = 1024;

/// Messages in one go: an honest subscriber that is about to read has room for more.
const AT_ONCE: usize = 50;

/// A message: its number, over and over.
fn message(number: usize) -> Vec<u8> {
    (number as u64).to_be_bytes().repeat(PAYLOAD_BYTES / 8)
}

/// The handler's part: the subscribers of one core. `subscribe` and `publish COUNT` are its commands, both answered.
#[derive(Default)]
pub struct Fanout {
    subscribers: Rc<RefCell<Vec<SessionHandle>>>,
    next: Rc<Cell<usize>>,
    slow: Rc<Cell<usize>>,
}

impl Fanout {
    pub fn subscribe(&self, session: &mut Session<'_, ()>) {
        self.subscribers.borrow_mut().push(session.handle());
        session.send("subscribed");
    }

    /// Sends so many messages to all, and then says how many subscribers were too slow since the beginning.
    pub fn publish(&self, session: &mut Session<'_, ()>, count: usize) {
        let (subscribers, next, slow) = (Rc::clone(&self.subscribers), Rc::clone(&self.next), Rc::clone(&self.slow));
        let publisher = session.handle();
        session.spawn(async move {
            for number in next.get()..next.get() + count {
                let message = message(number);
                let handles = subscribers.borrow().clone();
                let sent = join_all(handles.iter().map(|subscriber| subscriber.send(&message[..]))).await;
                let late: Vec<_> = handles.iter().zip(sent).filter(|(_, sent)| *sent == Sent::Dropped).collect();
                for (subscriber, _) in &late {
                    subscriber.close(CloseCode::TRY_AGAIN_LATER, "too slow");
                    subscribers.borrow_mut().retain(|other| other.id() != subscriber.id());
                }
                slow.set(slow.get() + late.len());
            }
            next.set(next.get() + count);
            publisher.send(&*slow.get().to_string()).await;
        });
    }
}

#[test]
fn row_16_readers_that_never_read_are_closed_with_1013_and_the_others_miss_nothing() {
    let half = scaled(1_000);
    // A tenth of what it will be with topics, which send a message to all at the price of one.
    let messages = scaled(10_000);
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        let mut publishers = one_on_each_core(&server);
        let mut readers = Peer::open_many(server.address, half);
        let mut silent = Peer::open_many_by(server.address, half, Peer::connect_narrow);
        let cores: Vec<usize> = readers.iter_mut().map(|peer| peer.ask("core").parse().unwrap()).collect();
        readers.iter_mut().chain(&mut silent).for_each(|peer| assert_eq!(peer.ask("subscribe"), "subscribed"));
        let before = server.memory();
        server.forget_peak();
        let (mut slow, mut told) = (0, 0);
        for first in (0..messages).step_by(AT_ONCE) {
            let count = AT_ONCE.min(messages - first);
            publishers.iter_mut().for_each(|publisher| publisher.say(&format!("publish {count}")));
            for (reader, core) in readers.iter_mut().zip(&cores) {
                for number in first..first + count {
                    let read = reader.next_message();
                    assert!(read == message(number), "a reader on core {core} missed {number}");
                }
            }
            slow = publishers.iter_mut().map(hear).sum();
            if slow == half && told == 0 {
                // All are closing, and none has been given up yet: some read at last.
                told = silent.iter_mut().take(SAMPLE).filter_map(closed_with).filter(|code| *code == 1013).count();
            }
        }
        let grown = server.peak().saturating_sub(before);
        let bound = (half * 256 * 1024 + (32 << 20)) as u64;
        figure(
            16,
            format!(
                "{} subscribers, {messages} × 1 KiB: {half} readers got all in order, {slow} of {half} others closed, \
                 {told} of {} told 1013, peak memory + {:.1} MiB",
                2 * half,
                SAMPLE.min(half),
                grown as f64 / f64::from(1 << 20)
            ),
            format!("all, all, all, {} MiB", bound >> 20),
        );
        assert_eq!((slow, told), (half, SAMPLE.min(half)));
        assert!(grown <= bound);
    });
}

/// Silent readers that read in the end: as many as can before they are given up.
const SAMPLE: usize = 50;

fn hear(publisher: &mut Peer) -> usize {
    match publisher.next() {
        Next::Frame(0x81, text) => String::from_utf8(text).unwrap().parse().unwrap(),
        other => panic!("a publisher was answered with {other:?}"),
    }
}

/// The code with which a session is closed, after all that came before.
fn closed_with(peer: &mut Peer) -> Option<u16> {
    loop {
        match peer.next() {
            Next::Frame(0x88, payload) => return payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
            Next::Frame(..) => {}
            _ => return None,
        }
    }
}

fn one_on_each_core(server: &Server) -> [Peer; 2] {
    let mut found = [None, None];
    while found.iter().any(Option::is_none) {
        let mut peer = Peer::open(server.address);
        let core: usize = peer.ask("core").parse().unwrap();
        found[core].get_or_insert(peer);
    }
    found.map(Option::unwrap)
}
