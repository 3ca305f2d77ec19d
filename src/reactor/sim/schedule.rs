//! The due completions, and the order in which they come.
//!
//! Never interprets a completion. Invariant: completions of one operation never overtake each other, and none comes
//! more than [`DELAY_MAX_TURNS`] turns late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::RawFd;

use super::faults::{Fault, FaultInjector};
use crate::reactor::Completion;

/// The most turns by which a completion may be late.
pub const DELAY_MAX_TURNS: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct Schedule {
    turn: u64,
    due: Vec<Due>,
}

/// An operation in flight, with its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Accept(RawFd),
    Watch(RawFd),
    Send(RawFd),
}

#[derive(Debug)]
struct Due {
    /// The first turn that may return it.
    turn: u64,
    operation: Operation,
    completion: Completion,
}

impl Schedule {
    pub fn turn(&self) -> u64 {
        self.turn
    }

    pub fn begin_turn(&mut self) {
        self.turn += 1;
    }

    pub fn post(&mut self, operation: Operation, completion: Completion, faults: &mut FaultInjector) {
        let late = faults.occurs(Fault::Delay);
        let delay = if late { faults.random.up_to(DELAY_MAX_TURNS as usize) as u64 } else { 0 };
        self.due.push(Due { turn: self.turn + delay, operation, completion });
    }

    /// Takes the completions that may come in this turn, each with its descriptor.
    pub fn take_due(&mut self, faults: &mut FaultInjector) -> Vec<(RawFd, Completion)> {
        let mut held = BTreeSet::new();
        let mut order = Vec::new();
        let mut ready: BTreeMap<Operation, VecDeque<Completion>> = BTreeMap::new();
        for due in std::mem::take(&mut self.due) {
            if due.turn > self.turn || held.contains(&due.operation) {
                held.insert(due.operation);
                self.due.push(due);
            } else {
                order.push(due.operation);
                ready.entry(due.operation).or_default().push_back(due.completion);
            }
        }
        // The operations are shuffled, never the completions of one operation.
        if faults.occurs(Fault::Reorder) {
            faults.random.shuffle(&mut order);
        }
        let next = |operation: Operation| {
            let completion = ready.get_mut(&operation).and_then(VecDeque::pop_front)?;
            Some((operation.descriptor(), completion))
        };
        order.into_iter().filter_map(next).collect()
    }

    /// Drops the completions of a descriptor.
    pub fn forget(&mut self, fd: RawFd) {
        self.due.retain(|due| due.operation.descriptor() != fd);
    }
}

impl Operation {
    fn descriptor(self) -> RawFd {
        let (Operation::Accept(fd) | Operation::Watch(fd) | Operation::Send(fd)) = self;
        fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Token;
    use crate::reactor::sim::Faults;

    /// Posts ten completions of two sends each, and returns the turns and the order in which they come.
    fn run(seed: u64, faults: Faults) -> Vec<(u64, RawFd, usize)> {
        let mut faults = FaultInjector::new(seed, faults);
        let mut schedule = Schedule::default();
        for step in 0..10 {
            for fd in [3, 4] {
                let token = Token { index: fd as u32, generation: 0 };
                let completion = Completion::Sent { token, result: Ok(step), more: true };
                schedule.post(Operation::Send(fd), completion, &mut faults);
            }
        }
        let mut trace = Vec::new();
        for _ in 0..=DELAY_MAX_TURNS {
            for (fd, completion) in schedule.take_due(&mut faults) {
                let Completion::Sent { result: Ok(step), .. } = completion else { panic!("{completion:?}") };
                trace.push((schedule.turn(), fd, step));
            }
            schedule.begin_turn();
        }
        assert!(schedule.due.is_empty());
        trace
    }

    fn is_in_order(trace: &[(u64, RawFd, usize)]) -> bool {
        [3, 4].iter().all(|fd| {
            let steps = trace.iter().filter(|(_, it, _)| it == fd).map(|(_, _, step)| *step);
            steps.eq(0..10)
        })
    }

    #[test]
    fn without_faults_everything_comes_at_once_and_in_order() {
        let trace = run(1, Faults::default());
        assert!(trace.iter().map(|(turn, fd, step)| (turn, step, fd)).is_sorted());
        assert!(trace.iter().all(|(turn, _, _)| *turn == 0));
    }

    #[test]
    fn delayed_completions_come_late_but_before_long() {
        let faults = Faults { delay: 500, ..Faults::default() };
        for seed in 0..100 {
            let trace = run(seed, faults);
            assert!(is_in_order(&trace));
            assert!(trace.iter().any(|(turn, _, _)| *turn > 0));
        }
    }

    #[test]
    fn reordered_completions_of_one_operation_stay_in_order() {
        let faults = Faults { reorder: 1000, ..Faults::default() };
        for seed in 0..100 {
            let trace = run(seed, faults);
            assert!(is_in_order(&trace));
            assert_ne!(trace, run(seed, Faults::default()));
        }
    }
}
