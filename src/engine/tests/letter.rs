//! Mail between the handlers of the tests, and the order in which it has to come.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::engine::SessionId;

/// A sender of mail: a core, or threads outside.
pub type From = Option<u16>;

/// A piece of mail, with its number among those of its sender to one core.
#[derive(Debug)]
pub struct Letter {
    pub from: From,
    pub number: u64,
    pub errand: Errand,
}

/// The thing that a handler is to do with its mail.
#[derive(Clone, Debug)]
pub enum Errand {
    /// Writes it down.
    Note(String),
    /// Fails.
    Panic,
    /// Sends a message to this session, through its own core if it lives on another.
    Visit(SessionId),
    /// Fails while it holds this session.
    Bother(SessionId),
}

/// The mail of a process, from its sending to its delivery.
#[derive(Default)]
pub struct Post {
    numbers: RefCell<BTreeMap<(From, u16), u64>>,
    latest: RefCell<BTreeMap<(From, u16), u64>>,
    queued: RefCell<u64>,
}

impl Post {
    /// Returns a letter with the next number.
    pub fn letter(&self, from: From, to: u16, errand: Errand) -> Letter {
        let mut numbers = self.numbers.borrow_mut();
        let number = numbers.entry((from, to)).or_default();
        *number += 1;
        Letter { from, number: *number, errand }
    }

    /// Counts a letter that was taken on its way.
    pub fn note_queued(&self) {
        *self.queued.borrow_mut() += 1;
    }

    /// Returns how many were taken on their way.
    pub fn queued(&self) -> u64 {
        *self.queued.borrow()
    }

    /// Returns whether a letter comes to a core after those that its sender has sent before.
    pub fn is_next(&self, to: u16, letter: &Letter) -> bool {
        let before = self.latest.borrow_mut().insert((letter.from, to), letter.number);
        before.is_none_or(|before| before < letter.number)
    }
}
