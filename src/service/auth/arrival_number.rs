//! The number under which the decision about a client waits until its session opens.
//!
//! Owns the decisions that wait on this core's thread, so that the state of a session is a number: every session keeps
//! its state for life, and 4 bytes of each idle one are enough for this. Invariant: a decision waits for as long as its
//! number lives.

use std::cell::RefCell;
use std::collections::HashMap;

use super::gate::Arrival;

thread_local! {
    static WAITING: RefCell<Waiting> = RefCell::default();
}

#[derive(Default)]
struct Waiting {
    /// The last number that was given.
    last: u32,
    arrivals: HashMap<u32, Arrival>,
}

/// See the module. 0 is the number of no decision.
#[derive(Debug, Default)]
pub struct ArrivalNumber(u32);

impl ArrivalNumber {
    /// Lets a decision wait under a number. One that says nothing needs none.
    pub(in crate::service) fn of(arrival: Arrival) -> Self {
        if arrival.is_plain() {
            return Self::default();
        }
        WAITING.with_borrow_mut(|waiting| {
            loop {
                waiting.last = waiting.last.wrapping_add(1);
                if waiting.last != 0 && !waiting.arrivals.contains_key(&waiting.last) {
                    break;
                }
            }
            waiting.arrivals.insert(waiting.last, arrival);
            Self(waiting.last)
        })
    }

    /// Takes the decision, once.
    pub(in crate::service) fn take(&mut self) -> Arrival {
        match std::mem::take(&mut self.0) {
            0 => Arrival::default(),
            number => WAITING.with_borrow_mut(|waiting| waiting.arrivals.remove(&number)).unwrap_or_default(),
        }
    }
}

impl Drop for ArrivalNumber {
    /// Forgets the decision about a client that has left before its session opened.
    fn drop(&mut self) {
        if self.0 != 0 {
            // While a thread ends, its decisions may be gone before its sessions.
            let _ = WAITING.try_with(|waiting| {
                // The arrival is dropped after the table is free again.
                let arrival = waiting.try_borrow_mut().ok().and_then(|mut waiting| waiting.arrivals.remove(&self.0));
                drop(arrival);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CloseCode;

    fn waiting() -> usize {
        WAITING.with_borrow(|waiting| waiting.arrivals.len())
    }

    #[test]
    fn a_decision_is_taken_once_and_one_of_a_client_that_has_left_is_forgotten() {
        let closing = || Arrival::closing(CloseCode::NORMAL, "bye".to_owned());
        let (mut one, other) = (ArrivalNumber::of(closing()), ArrivalNumber::of(closing()));
        assert_eq!(waiting(), 2);
        assert!(!one.take().is_plain() && one.take().is_plain());
        assert_eq!(waiting(), 1);
        drop((one, other));
        assert_eq!(waiting(), 0);
    }

    #[test]
    fn a_session_without_a_decision_has_no_number_and_a_number_takes_4_bytes() {
        assert!(ArrivalNumber::of(Arrival::default()).take().is_plain() && waiting() == 0);
        assert_eq!(size_of::<ArrivalNumber>(), 4);
    }
}
