//! The queue of facts for a backend: numbered, bounded, sent in batches, at least once and in order.
//!
//! Never sends anything and reads no clock: its caller gives the time, and tells how each try ended. Invariants: a fact
//! has its number before it can be dropped, so that a gap in the numbers shows each loss; one batch at a time is under
//! way; each fact that was numbered is delivered, counted as lost, or still here.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

/// The most facts of a batch: some 30 KB.
pub const BATCH_MAX: usize = 100;

/// The time for which a batch is tried: an outage or a deployment of the backend.
const TRY_MS: u64 = 5 * 60 * 1000;

/// The first pause between two tries. Each one is twice as long as the one before.
const PAUSE_MS_MIN: u64 = 100;

/// The longest pause between two tries.
const PAUSE_MS_MAX: u64 = 30_000;

/// The longest pause while the server ends: its drain takes seconds.
const PAUSE_MS_ENDING: u64 = 1_000;

/// A fact with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered<F> {
    /// Its number, from 1.
    pub sequence: u64,
    /// The fact.
    pub fact: F,
}

/// Facts that are sent together. A clone is cheap.
pub type Batch<F> = Arc<[Numbered<F>]>;

/// The next step of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<F> {
    /// Send this batch, and tell how that ended.
    Send(Batch<F>),
    /// Ask again after so many milliseconds.
    Wait(u64),
    /// Ask again when there is a fact.
    Idle,
}

/// The counts of a queue. The sum of those that are delivered, lost and waiting is that of those that were numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactCounts {
    /// Facts that have got a number.
    pub numbered: u64,
    /// Facts that the backend has confirmed.
    pub delivered: u64,
    /// Facts that found the queue full.
    pub lost_full: u64,
    /// Facts that could not be delivered in time.
    pub lost_late: u64,
    /// Facts that were left when the server ended.
    pub lost_left: u64,
    /// Facts that wait, or are under way.
    pub waiting: u64,
}

impl FactCounts {
    /// Returns how many facts are lost.
    pub fn lost(&self) -> u64 {
        self.lost_full + self.lost_late + self.lost_left
    }
}

/// See the module.
#[derive(Debug)]
pub struct FactQueue<F> {
    entries_max: usize,
    waiting: VecDeque<Numbered<F>>,
    progress: Progress<F>,
    counts: FactCounts,
    is_ending: bool,
}

/// A batch, and when it was tried first.
#[derive(Debug)]
struct Trial<F> {
    batch: Batch<F>,
    since_ms: u64,
    pause_ms: u64,
}

#[derive(Debug)]
enum Progress<F> {
    Idle,
    UnderWay(Trial<F>),
    /// It has failed, and is tried again at this time.
    Pausing(Trial<F>, u64),
}

impl<F> FactQueue<F> {
    /// Returns an empty queue for so many facts, with those that are under way.
    pub fn new(entries_max: usize) -> Self {
        let (waiting, counts) = (VecDeque::new(), FactCounts::default());
        Self { entries_max, waiting, progress: Progress::Idle, counts, is_ending: false }
    }

    /// Returns the counts.
    pub fn counts(&self) -> FactCounts {
        FactCounts { waiting: self.len() as u64, ..self.counts }
    }

    /// Returns how many facts wait or are under way.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.batch_len()
    }

    /// Returns whether there is nothing left to deliver.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers a fact and adds it, or drops it if the queue is full. Returns whether it was added.
    pub fn push(&mut self, fact: F) -> bool {
        self.counts.numbered += 1;
        if self.len() >= self.entries_max {
            self.counts.lost_full += 1;
            return false;
        }
        self.waiting.push_back(Numbered { sequence: self.counts.numbered, fact });
        true
    }

    /// Returns what is to be done now.
    pub fn step(&mut self, now_ms: u64) -> Step<F> {
        match mem::replace(&mut self.progress, Progress::Idle) {
            Progress::Pausing(trial, until_ms) if now_ms < until_ms => {
                self.progress = Progress::Pausing(trial, until_ms);
                Step::Wait(until_ms - now_ms)
            }
            Progress::Pausing(trial, _) | Progress::UnderWay(trial) => self.send(trial),
            Progress::Idle if self.waiting.is_empty() => Step::Idle,
            Progress::Idle => {
                let count = self.waiting.len().min(BATCH_MAX);
                let batch = self.waiting.drain(..count).collect();
                self.send(Trial { batch, since_ms: now_ms, pause_ms: PAUSE_MS_MIN })
            }
        }
    }

    /// Notes how a try ended. `jitter` is any number: it shortens the pause after a failure by up to a half, so that
    /// servers that lost the same backend do not come back together.
    pub fn end(&mut self, is_delivered: bool, now_ms: u64, jitter: u32) {
        let mut trial = match mem::replace(&mut self.progress, Progress::Idle) {
            Progress::UnderWay(trial) => trial,
            // No try is under way.
            progress => return self.progress = progress,
        };
        let count = trial.batch.len() as u64;
        let ends_ms = trial.since_ms.saturating_add(TRY_MS);
        if is_delivered {
            self.counts.delivered += count;
        } else if now_ms >= ends_ms {
            self.counts.lost_late += count;
        } else {
            let half_ms = trial.pause_ms / 2;
            let pause_ms = half_ms + (((half_ms + 1) * u64::from(jitter)) >> 32);
            let pause_max_ms = if self.is_ending { PAUSE_MS_ENDING } else { PAUSE_MS_MAX };
            trial.pause_ms = (trial.pause_ms * 2).min(PAUSE_MS_MAX);
            // The last try is at the end of the time.
            let until_ms = now_ms.saturating_add(pause_ms.min(pause_max_ms)).min(ends_ms);
            self.progress = Progress::Pausing(trial, until_ms);
        }
    }

    /// Tries more often from now on, beginning at once, because the server ends.
    pub fn hurry(&mut self, now_ms: u64) {
        self.is_ending = true;
        if let Progress::Pausing(_, until_ms) = &mut self.progress {
            *until_ms = now_ms;
        }
    }

    /// Gives up all facts that are left, and returns their number.
    pub fn abandon(&mut self) -> u64 {
        let left = self.len() as u64;
        self.counts.lost_left += left;
        self.waiting.clear();
        self.progress = Progress::Idle;
        left
    }

    fn send(&mut self, trial: Trial<F>) -> Step<F> {
        let batch = Arc::clone(&trial.batch);
        self.progress = Progress::UnderWay(trial);
        Step::Send(batch)
    }

    fn batch_len(&self) -> usize {
        match &self.progress {
            Progress::Idle => 0,
            Progress::UnderWay(trial) | Progress::Pausing(trial, _) => trial.batch.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers<F>(step: &Step<F>) -> Vec<u64> {
        match step {
            Step::Send(batch) => batch.iter().map(|numbered| numbered.sequence).collect(),
            _ => Vec::new(),
        }
    }

    fn filled(count: usize, entries_max: usize) -> FactQueue<usize> {
        let mut queue = FactQueue::new(entries_max);
        (0..count).for_each(|fact| {
            queue.push(fact);
        });
        queue
    }

    #[test]
    fn facts_are_sent_in_batches_one_after_the_other() {
        let mut queue = filled(250, 1_000);
        for expected in [1..=100, 101..=200, 201..=250] {
            let step = queue.step(0);
            assert_eq!(numbers(&step), expected.collect::<Vec<_>>());
            queue.end(true, 0, 0);
        }
        assert_eq!((queue.step(0), queue.is_empty()), (Step::Idle, true));
        assert_eq!(queue.counts(), FactCounts { numbered: 250, delivered: 250, ..FactCounts::default() });
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_the_gap_shows_it() {
        let mut queue = filled(13, 10);
        let step = queue.step(0);
        assert_eq!(numbers(&step), (1..=10).collect::<Vec<_>>());
        assert!(!queue.push(13), "those under way take room as well");
        queue.end(true, 0, 0);
        assert!(queue.push(14));
        assert_eq!(numbers(&queue.step(0)), [15], "11 to 14 are lost");
        assert_eq!((queue.counts().lost(), queue.counts().lost_full), (4, 4));
    }

    #[test]
    fn pauses_double_up_to_thirty_seconds_and_after_five_minutes_the_batch_is_lost() {
        for (jitter, expected_ms) in [
            (u32::MAX, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]),
            (0, [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000]),
        ] {
            let mut queue = filled(1, 10);
            let (mut now_ms, mut pauses) = (1_000, Vec::new());
            loop {
                match queue.step(now_ms) {
                    Step::Send(_) => queue.end(false, now_ms, jitter),
                    Step::Wait(ms) => {
                        pauses.push(ms);
                        now_ms += ms;
                    }
                    Step::Idle => break,
                }
            }
            assert_eq!((&pauses[..10], now_ms), (&expected_ms[..], 301_000), "{jitter}");
            assert_eq!(queue.counts(), FactCounts { numbered: 1, lost_late: 1, ..FactCounts::default() });
        }
    }

    #[test]
    fn a_batch_keeps_its_facts_over_all_tries_and_later_ones_wait() {
        let mut queue = filled(2, 10);
        assert_eq!(numbers(&queue.step(0)), [1, 2]);
        queue.push(2);
        queue.end(false, 0, u32::MAX);
        assert_eq!(queue.step(99), Step::Wait(1));
        assert_eq!(numbers(&queue.step(100)), [1, 2]);
        // A sender that has forgotten to tell the end of a try tries again.
        assert_eq!(numbers(&queue.step(100)), [1, 2]);
        queue.end(true, 100, 0);
        assert_eq!(numbers(&queue.step(100)), [3]);
    }

    #[test]
    fn a_server_that_ends_tries_at_once_and_counts_what_is_left() {
        let mut queue = filled(150, 1_000);
        for now_ms in (0..60_000).step_by(100) {
            if let Step::Send(_) = queue.step(now_ms) {
                queue.end(false, now_ms, u32::MAX);
                queue.end(true, now_ms, 0);
                assert!(queue.len() == 150, "a try ends once");
            }
        }
        assert!(matches!(queue.step(60_000), Step::Wait(10_000..)));
        queue.hurry(60_000);
        assert_eq!(numbers(&queue.step(60_000)).len(), 100);
        queue.end(false, 60_000, u32::MAX);
        assert_eq!(queue.step(60_000), Step::Wait(PAUSE_MS_ENDING));
        assert_eq!((queue.abandon(), queue.counts().lost_left, queue.step(60_000)), (150, 150, Step::Idle));
        // The end of a try that comes after all changes nothing.
        queue.end(true, 60_000, 0);
        assert_eq!((queue.counts().delivered, queue.counts().lost()), (0, 150));
    }

    proptest! {
        /// Runs a backend that is down now and then, and answers now and then without being heard.
        #[test]
        fn what_is_lost_is_counted_and_the_rest_arrives_at_least_once_and_in_order(
            entries_max in 1_usize..300,
            events in prop::collection::vec((0_u64..40_000, 0_usize..120, 0_u8..4, any::<u32>()), 1..200),
            is_abandoned in any::<bool>(),
        ) {
            let mut queue = FactQueue::new(entries_max);
            let (mut now_ms, mut pushed) = (0, 0_u64);
            let mut arrived: Vec<u64> = Vec::new();
            let mut rejected: Vec<u64> = Vec::new();
            for (pause_ms, facts, fate, jitter) in events {
                now_ms += pause_ms;
                for _ in 0..facts {
                    pushed += 1;
                    if !queue.push(pushed) {
                        rejected.push(pushed);
                    }
                }
                prop_assert!(queue.len() <= entries_max);
                let Step::Send(batch) = queue.step(now_ms) else { continue };
                prop_assert!(!batch.is_empty() && batch.len() <= BATCH_MAX);
                prop_assert!(batch.iter().all(|numbered| numbered.sequence == numbered.fact));
                // 0: it never arrives. 1: it arrives, and the answer is lost. 2 and 3: it is confirmed.
                if fate > 0 {
                    arrived.extend(batch.iter().map(|numbered| numbered.sequence));
                }
                queue.end(fate > 1, now_ms, jitter);
            }
            if is_abandoned {
                queue.abandon();
            }
            let counts = queue.counts();
            prop_assert_eq!(counts.numbered, pushed);
            prop_assert_eq!(counts.delivered + counts.lost() + counts.waiting, pushed);
            prop_assert_eq!(counts.lost_full, rejected.len() as u64);
            // In order: each number that arrives for the first time is above all before it.
            let (mut highest, mut firsts) = (0, Vec::new());
            for sequence in arrived {
                if sequence > highest {
                    highest = sequence;
                    firsts.push(sequence);
                } else {
                    prop_assert!(firsts.contains(&sequence), "{} comes late", sequence);
                }
            }
            prop_assert!(firsts.len() as u64 >= counts.delivered);
            // A batch that arrived without being heard may be counted as lost: never the other way round.
            let missing = pushed - firsts.len() as u64 - counts.waiting.min(pushed - firsts.len() as u64);
            prop_assert!(missing <= counts.lost());
            prop_assert!(rejected.iter().all(|sequence| !firsts.contains(sequence)));
        }
    }
}
