//! Mail between the handlers of the tests, and the order in which it must arrive.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::engine::SessionId;

/// A sender of mail: a core, or the threads outside.
pub type From = Option<u16>;

/// A piece of mail, with its number among those of its sender to one core.
#[derive(Debug)]
pub struct Letter {
    pub from: From,
    pub number: u64,
    pub errand: Errand,
}

/// The action of a handler on its mail.
#[derive(Clone, Debug)]
pub enum Errand {
    /// Records it.
    Note(String),
    /// Panics.
    Panic,
    /// Sends a message to this session, through its own core if it lives on another.
    Visit(SessionId),
    /// Panics while it holds this session.
    Bother(SessionId),
}

/// The mail of a process, from sending to delivery.
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

    /// Counts a letter that was accepted for delivery.
    pub fn note_queued(&self) {
        *self.queued.borrow_mut() += 1;
    }

    /// Returns how many letters were accepted for delivery.
    pub fn queued(&self) -> u64 {
        *self.queued.borrow()
    }

    /// Returns whether a letter arrives after those that its sender has sent to this core before.
    pub fn is_next(&self, to: u16, letter: &Letter) -> bool {
        let before = self.latest.borrow_mut().insert((letter.from, to), letter.number);
        before.is_none_or(|before| before < letter.number)
    }
}
