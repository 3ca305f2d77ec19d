//! The drain of a core: it closes its listeners, closes every session, and in the end cuts off those that are left.
//!
//! The stages are those of [`Drain`], and only the clock leads from one to the next. Decides which session is closed
//! when, but closes no socket: `ending` knows how a connection ends, and `accept` how a listener closes.
//!
//! Invariant: once the spread is over every session has been told to close, and no turn tells more than
//! [`CLOSES_PER_TURN_MAX`].

use super::Core;
use super::drain::{ClosingSessions, Drain, HURRY_MS};
use crate::engine::handler::Handler;
use crate::engine::reasons::End;
use crate::engine::session::Phase;
use crate::protocol::CloseCode;
use crate::reactor::{Reactor, Token};

/// Sessions that are told to close in a turn: some two milliseconds of work.
const CLOSES_PER_TURN_MAX: usize = 1024;

/// Slots that are searched in a turn for sessions to close: some microseconds if most are free.
const SLOTS_PER_TURN_MAX: u32 = 16 * 1024;

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Begins to drain: serves for the drain delay, then accepts no connection any more, closes every session with 1001
    /// within the drain spread, and cuts off the remaining ones after the drain timeout. See [`Core::is_done`].
    pub fn drain(&mut self) {
        self.parts.keep_limits();
        self.draining.get_or_insert(Drain::Requested);
    }

    /// Begins to drain without delay and spread, or continues so, and gives sessions little time to end. A second call
    /// changes nothing.
    pub fn hurry(&mut self, now_ms: u64) {
        self.parts.hurry_drain(HURRY_MS);
        match &mut self.draining {
            None => self.drain(),
            Some(Drain::Requested) => {}
            Some(Drain::Delayed { until_ms }) => *until_ms = 0,
            Some(Drain::Closing(closing)) => {
                closing.told_by_ms = closing.told_by_ms.min(now_ms);
                closing.deadline_ms = closing.deadline_ms.min(now_ms + HURRY_MS);
            }
        }
    }

    /// Returns whether a draining core has no connection left.
    pub fn is_done(&self) -> bool {
        self.has_stopped_accepting() && self.sessions.is_empty() && self.listeners.is_empty()
    }

    /// Returns whether the core drains, so that clients should reconnect elsewhere.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Returns whether no connection is accepted any more.
    pub(super) fn has_stopped_accepting(&self) -> bool {
        matches!(self.draining, Some(Drain::Closing(_)))
    }

    /// Returns whether the next turn has a step of the drain to take at once.
    pub(super) fn has_closes_due(&self) -> bool {
        let slots = self.sessions.end();
        match &self.draining {
            Some(Drain::Closing(closing)) => {
                closing.looked_at < slots || (closing.next < slots && closing.told < closing.due(self.now_ms))
            }
            Some(Drain::Requested) => true,
            _ => false,
        }
    }

    /// Returns when the next step is due, in milliseconds; `None` once no connection is left.
    pub(super) fn drain_wakes_ms(&self) -> Option<u64> {
        match self.draining.as_ref()? {
            _ if self.is_done() => None,
            Drain::Requested => Some(self.now_ms),
            Drain::Delayed { until_ms } => Some(*until_ms),
            Drain::Closing(closing) => {
                let share_ms = closing.next_share_ms(self.sessions.end());
                Some(share_ms.unwrap_or(u64::MAX).min(closing.deadline_ms))
            }
        }
    }

    /// Takes the steps that are due.
    pub(super) fn advance_drain(&mut self) {
        if matches!(self.draining, Some(Drain::Requested)) {
            let until_ms = self.now_ms.saturating_add(self.parts.limits().drain_delay_ms);
            self.draining = Some(Drain::Delayed { until_ms });
        }
        if matches!(self.draining, Some(Drain::Delayed { until_ms }) if self.now_ms >= until_ms) {
            self.begin_closing();
        }
        let Some(Drain::Closing(closing)) = &self.draining else { return };
        // A session is cut off only after it was told to close, however short the drain timeout is.
        if self.now_ms >= closing.deadline_ms && !self.has_closes_due() {
            return self.cut_off_remaining();
        }
        self.check_unused_connections();
        self.close_a_share();
    }

    fn begin_closing(&mut self) {
        let counters = self.parts.counters();
        let sessions = counters.upgraded.read().saturating_sub(counters.sessions_closed.read());
        self.draining = Some(Drain::Closing(ClosingSessions::begin(self.now_ms, sessions, self.parts.limits())));
        self.close_listeners();
    }

    /// Checks each connection without a session once, so that those without a request are closed now or later.
    fn check_unused_connections(&mut self) {
        let Some(Drain::Closing(closing)) = &mut self.draining else { return };
        let from = closing.looked_at;
        let until = self.sessions.end().min(from.saturating_add(CLOSES_PER_TURN_MAX as u32));
        closing.looked_at = closing.looked_at.max(until);
        for index in from..until {
            let Some((token, slot)) = self.sessions.at_mut(index) else { continue };
            if slot.phase() == Phase::Head {
                // A request may have arrived and not been read yet.
                self.read(token);
                self.check_deadlines(token);
            } else if slot.phase() == Phase::Answering {
                self.ask_stream_to_end(token);
            }
        }
    }

    /// Closes a connection on which no request has begun.
    pub(super) fn close_unused(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.linger_when_sent(End::Shutdown);
        self.flush_and_check_end(token);
    }

    /// Closes as many sessions as are due and a turn allows.
    fn close_a_share(&mut self) {
        let slots = self.sessions.end();
        let Some(Drain::Closing(closing)) = &self.draining else { return };
        let due = closing.due(self.now_ms).saturating_sub(closing.told).min(CLOSES_PER_TURN_MAX as u64);
        let (from, mut told) = (closing.next, 0);
        let until = slots.min(from.saturating_add(SLOTS_PER_TURN_MAX));
        let mut index = from;
        while index < until && told < due {
            if let Some((token, slot)) = self.sessions.at_mut(index)
                && slot.is_open()
            {
                self.call(token, |_, session| session.close(CloseCode::GOING_AWAY, "The server is shutting down."));
                self.flush_and_check_end(token);
                told += 1;
            }
            index += 1;
        }
        let now_ms = self.now_ms;
        if let Some(Drain::Closing(closing)) = &mut self.draining {
            closing.next = index;
            closing.told += told;
            if told > 0 {
                closing.share_ms = now_ms;
            }
        }
    }

    /// Cuts off all remaining sessions. Repeats that a drain timeout later, for those with operations in flight.
    fn cut_off_remaining(&mut self) {
        for index in 0..self.sessions.end() {
            if let Some(token) = self.sessions.token_at(index) {
                self.cut_off(token, End::CutOff);
            }
        }
        let again_ms = self.now_ms.saturating_add(self.parts.limits().drain_timeout_ms);
        let slots = self.sessions.end();
        if let Some(Drain::Closing(closing)) = &mut self.draining {
            (closing.looked_at, closing.next) = (slots, slots);
            closing.deadline_ms = again_ms;
        }
    }
}
