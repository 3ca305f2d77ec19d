//! Rates of publishing and subscribing: of each session, of all sessions of one subject, and of all of one address.
//!
//! Owns what each sender has spent, and decides when it may go on; never stops a session itself. A message that has
//! arrived always passes: what it is above the rate is waited for before the next one is read. Invariants: without a
//! rate nothing is stored and nothing is counted; what a session takes here ends with it.

mod kind;
mod rate;
mod shared;

pub use shared::SharedRates;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use kind::{KindRates, room_at_ms, spend};
use rate::Spent;
use shared::Sender;

use crate::engine::limits::Limits;
use crate::engine::wheel::ticks;

/// The number of sessions that were slowed down from which on those that have calmed down are forgotten.
const EPISODES_KEPT: usize = 64;

/// The units that a session has published: 16 bytes, and none for a core without such a rate.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    messages: Spent,
    bytes: Spent,
}

/// A time in which a session publishes above its rate again and again.
#[derive(Clone, Copy, Debug)]
struct Episode {
    since: u32,
    /// The tick at which the session was read again; `None` while it is not read.
    released: Option<u32>,
}

/// The decision about a session that has published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Pace {
    /// It keeps its rates.
    Kept,
    /// It is not to be read before this time.
    Slowed { until_ms: u64 },
    /// It has been above its rates for longer than it is put up with.
    Persists,
}

/// The rates of a core, and the units that its sessions have spent.
#[derive(Debug)]
pub(in crate::engine) struct Rates {
    session: KindRates,
    subject: KindRates,
    address: KindRates,
    patience: u32,
    limits_publishing: bool,
    limits_subscribing: bool,
    /// By the index of the session, as everything below.
    published: Vec<Published>,
    subscribed: Vec<Spent>,
    subjects: Vec<Option<Arc<str>>>,
    episodes: HashMap<u32, Episode>,
    episodes_kept: usize,
    shared: Arc<SharedRates>,
}

impl Rates {
    /// Returns the rates of a core, which shares subjects and addresses with others.
    pub(in crate::engine) fn new(limits: &Limits, shared: Arc<SharedRates>) -> Self {
        let mut rates = Self {
            session: KindRates::default(),
            subject: KindRates::default(),
            address: KindRates::default(),
            patience: 0,
            limits_publishing: false,
            limits_subscribing: false,
            published: Vec::new(),
            subscribed: Vec::new(),
            subjects: Vec::new(),
            episodes: HashMap::new(),
            episodes_kept: EPISODES_KEPT,
            shared,
        };
        rates.replace(limits);
        rates
    }

    /// Replaces the rates. Every sender has a whole burst then. Subjects of sessions that opened while there was no
    /// rate for subjects stay unknown.
    pub(in crate::engine) fn replace(&mut self, limits: &Limits) {
        let burst_ms = limits.rate_burst_ms;
        self.session = KindRates::new(&limits.session_rates, burst_ms);
        self.subject = KindRates::new(&limits.subject_rates, burst_ms);
        self.address = KindRates::new(&limits.address_rates, burst_ms);
        self.patience = ticks(limits.rate_patience_ms);
        let all = [self.session, self.subject, self.address];
        self.limits_publishing = all.iter().any(|kind| kind.messages.is_some() || kind.bytes.is_some());
        self.limits_subscribing = all.iter().any(|kind| kind.subscriptions.is_some());
        (self.published, self.subscribed, self.episodes) = (Vec::new(), Vec::new(), HashMap::new());
        if self.subject == KindRates::default() {
            self.subjects = Vec::new();
        }
    }

    /// Returns whether publishing is limited at all.
    #[inline]
    pub(in crate::engine) fn limits_publishing(&self) -> bool {
        self.limits_publishing
    }

    /// Returns whether subscribing is limited at all.
    #[inline]
    pub(in crate::engine) fn limits_subscribing(&self) -> bool {
        self.limits_subscribing
    }

    /// Records the subject of a session that opens.
    pub(in crate::engine) fn set_subject(&mut self, index: u32, subject: Arc<str>) {
        if self.subject != KindRates::default() {
            *at(&mut self.subjects, index) = Some(subject);
        }
    }

    /// Forgets a session that has ended.
    #[inline]
    pub(in crate::engine) fn forget(&mut self, index: u32) {
        if self.limits_publishing || self.limits_subscribing {
            self.forget_limited(index);
        }
    }

    fn forget_limited(&mut self, index: u32) {
        let at = index as usize;
        self.published.get_mut(at).into_iter().for_each(|published| *published = Published::default());
        self.subscribed.get_mut(at).into_iter().for_each(|subscribed| *subscribed = Spent::default());
        self.subjects.get_mut(at).into_iter().for_each(|subject| *subject = None);
        self.episodes.remove(&index);
    }

    /// Counts a message of a session at this address, if that is known to be its own.
    pub(in crate::engine) fn note_published(
        &mut self,
        index: u32,
        address: Option<IpAddr>,
        bytes: usize,
        now_ms: u64,
        tick: u32,
    ) -> Pace {
        let bytes = bytes as u64;
        let mut until_ms = now_ms;
        if self.session.messages.is_some() || self.session.bytes.is_some() {
            let published = at(&mut self.published, index);
            until_ms = until_ms.max(spend(self.session.messages, &mut published.messages, 1, now_ms));
            until_ms = until_ms.max(spend(self.session.bytes, &mut published.bytes, bytes, now_ms));
        }
        for (sender, rates) in self.senders(index, address) {
            until_ms = until_ms.max(self.shared.publish(sender, rates, bytes, now_ms));
        }
        if until_ms <= now_ms { Pace::Kept } else { self.slow(index, until_ms, tick) }
    }

    /// Returns the time from which a session keeps its rates again; a time that has passed if it does.
    pub(in crate::engine) fn keeps_rates_at_ms(&self, index: u32, address: Option<IpAddr>, now_ms: u64) -> u64 {
        let published = self.published.get(index as usize).copied().unwrap_or_default();
        let own = room_at_ms(self.session.messages, published.messages, now_ms).max(room_at_ms(
            self.session.bytes,
            published.bytes,
            now_ms,
        ));
        let of_all = self.senders(index, address).map(|(sender, rates)| self.shared.room_at_ms(sender, rates, now_ms));
        of_all.fold(own, u64::max)
    }

    /// Records that a session that was slowed down is read again.
    pub(in crate::engine) fn note_released(&mut self, index: u32, tick: u32) {
        if let Some(episode) = self.episodes.get_mut(&index) {
            episode.released = Some(tick);
        }
    }

    /// Counts a subscription of a session, unless there were too many recently.
    pub(in crate::engine) fn admit_subscription(&mut self, index: u32, address: Option<IpAddr>, now_ms: u64) -> bool {
        if let Some(rate) = self.session.subscriptions {
            let subscribed = at(&mut self.subscribed, index);
            if !rate.has_room(*subscribed, now_ms) {
                return false;
            }
            *subscribed = rate.spend(*subscribed, 1, now_ms);
        }
        let mut senders = self.senders(index, address);
        senders.all(|(sender, rates)| self.shared.admit_subscription(sender, rates, now_ms))
    }

    /// Decides about a session that has published more than it may.
    fn slow(&mut self, index: u32, until_ms: u64, tick: u32) -> Pace {
        let goes_on = |episode: &Episode| episode.released.is_none_or(|released| tick <= released + 1);
        let since = self.episodes.get(&index).filter(|episode| goes_on(episode)).map_or(tick, |episode| episode.since);
        if tick.saturating_sub(since) >= self.patience {
            return Pace::Persists;
        }
        if self.episodes.len() >= self.episodes_kept {
            self.episodes.retain(|_, episode| goes_on(episode));
            self.episodes_kept = EPISODES_KEPT.max(2 * self.episodes.len());
        }
        self.episodes.insert(index, Episode { since, released: None });
        Pace::Slowed { until_ms }
    }

    /// Returns the senders that a session is a part of, each with its rates, if it has any.
    fn senders(&self, index: u32, address: Option<IpAddr>) -> impl Iterator<Item = (Sender, KindRates)> + use<> {
        let has_rates = |rates: &KindRates| *rates != KindRates::default();
        let subject = Some(self.subject).filter(has_rates).zip(self.subjects.get(index as usize).cloned().flatten());
        let address = Some(self.address).filter(has_rates).zip(address);
        let subject = subject.map(|(rates, subject)| (Sender::Subject(subject), rates));
        subject.into_iter().chain(address.map(|(rates, address)| (Sender::of_address(address), rates)))
    }
}

/// Returns the value at an index of a list that grows.
fn at<T: Clone + Default>(list: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if list.len() <= index {
        list.resize(index + 1, T::default());
    }
    &mut list[index]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::limits::SenderRates;

    const TICK_MS: u64 = crate::engine::wheel::TICK_MS;

    fn rates(limits: &Limits) -> Rates {
        Rates::new(limits, Arc::default())
    }

    fn of_messages(messages_per_second: u32) -> SenderRates {
        SenderRates { messages_per_second, ..SenderRates::default() }
    }

    /// Limits with a burst of a second, and a patience of 5.
    fn limits() -> Limits {
        Limits { rate_burst_ms: 1_000, rate_patience_ms: 5_000, ..Limits::default() }
    }

    #[test]
    fn what_is_stored_of_a_session_is_sixteen_bytes_and_nothing_without_a_rate() {
        assert_eq!(size_of::<Published>(), 16);
        let mut off = rates(&Limits::default());
        assert!(!off.limits_publishing() && !off.limits_subscribing());
        off.set_subject(1_000, "ann".into());
        assert_eq!(off.note_published(1_000, None, 1 << 20, 0, 0), Pace::Kept);
        assert!(off.admit_subscription(1_000, None, 0));
        off.forget(1_000);
        assert_eq!((off.published.capacity(), off.subscribed.capacity(), off.subjects.capacity()), (0, 0, 0));
    }

    #[test]
    fn a_session_that_ended_leaves_nothing_to_the_next_one_with_its_index() {
        let mut rates = rates(&Limits {
            session_rates: SenderRates { subscriptions_per_second: 1, ..of_messages(1) },
            subject_rates: of_messages(100),
            ..limits()
        });
        rates.set_subject(3, "ann".into());
        assert!(matches!(rates.note_published(3, None, 1, 10_000, 200), Pace::Slowed { until_ms: 11_000 }));
        assert!(rates.admit_subscription(3, None, 10_000) && !rates.admit_subscription(3, None, 10_000));
        rates.forget(3);
        assert_eq!(rates.keeps_rates_at_ms(3, None, 10_000), 10_000);
        assert!(rates.admit_subscription(3, None, 10_000));
        assert!(rates.subjects[3].is_none() && rates.episodes.is_empty());
    }

    #[test]
    fn the_sessions_of_a_subject_and_of_an_address_share_a_rate_over_all_cores() {
        let limits = Limits { subject_rates: of_messages(2), address_rates: of_messages(3), ..limits() };
        let shared = Arc::<SharedRates>::default();
        let mut cores = [Rates::new(&limits, Arc::clone(&shared)), Rates::new(&limits, shared)];
        let address = "192.0.2.1".parse().ok();
        cores[0].set_subject(0, "ann".into());
        cores[1].set_subject(9, "ann".into());
        assert_eq!(cores[0].note_published(0, None, 1, 10_000, 200), Pace::Kept);
        assert_eq!(cores[1].note_published(9, None, 1, 10_000, 200), Pace::Slowed { until_ms: 10_500 });
        assert_eq!(cores[0].keeps_rates_at_ms(0, None, 10_000), 10_500);
        // Another subject, and none, have their own.
        cores[0].set_subject(1, "bob".into());
        assert_eq!(cores[0].note_published(1, None, 1, 10_000, 200), Pace::Kept);
        (0..9).for_each(|_| assert_eq!(cores[0].note_published(2, None, 1, 10_000, 200), Pace::Kept));
        // The /64 of an IPv6 address is one client, as everywhere.
        let of_network = |last: u16| format!("2001:db8::{last}").parse().ok();
        assert_eq!(cores[0].note_published(2, of_network(1), 1, 10_000, 200), Pace::Kept);
        assert_eq!(cores[0].note_published(3, of_network(2), 1, 10_000, 200), Pace::Kept);
        assert!(matches!(cores[1].note_published(4, of_network(3), 1, 10_000, 200), Pace::Slowed { .. }));
        assert_eq!(cores[1].note_published(4, address, 1, 10_000, 200), Pace::Kept);
    }

    #[test]
    fn a_sender_that_persists_is_given_up_and_one_that_calms_down_is_not() {
        let limits = Limits { session_rates: of_messages(10), ..limits() };
        // The flooder always has a message waiting, the other one a little later than it is read again.
        for (pause_ms, given_up) in [(0, true), (150, false)] {
            let mut rates = rates(&limits);
            let (mut now_ms, mut persists) = (10_000, false);
            while now_ms < 60_000 && !persists {
                let tick = (now_ms / TICK_MS) as u32;
                match rates.note_published(0, None, 1, now_ms, tick) {
                    Pace::Kept => {}
                    Pace::Slowed { until_ms } => {
                        now_ms = until_ms.next_multiple_of(TICK_MS);
                        rates.note_released(0, (now_ms / TICK_MS) as u32);
                        now_ms += pause_ms;
                    }
                    Pace::Persists => persists = true,
                }
            }
            assert_eq!(persists, given_up, "{pause_ms}");
            assert!(!given_up || (15_000..15_200).contains(&now_ms), "{now_ms}");
        }
    }

    #[test]
    fn new_rates_give_everyone_a_whole_burst() {
        let mut rates = rates(&Limits { session_rates: of_messages(1_000_000), ..limits() });
        (0..1_500_000).for_each(|_| assert_ne!(rates.note_published(0, None, 1, 1_000_000, 20_000), Pace::Persists));
        assert!(rates.keeps_rates_at_ms(0, None, 1_000_000) > 1_000_000);
        rates.replace(&Limits { session_rates: of_messages(2), ..limits() });
        assert_eq!(rates.keeps_rates_at_ms(0, None, 1_000_000), 1_000_000);
        assert_eq!(rates.note_published(0, None, 1, 1_000_000, 20_000), Pace::Kept);
        assert_eq!(rates.note_published(0, None, 1, 1_000_000, 20_000), Pace::Slowed { until_ms: 1_000_500 });
    }

    #[test]
    fn episodes_that_are_over_are_forgotten() {
        let mut rates = rates(&Limits { session_rates: of_messages(1), ..limits() });
        for index in 0..10_000 {
            let now_ms = 10_000 + u64::from(index) * 200;
            let tick = (now_ms / TICK_MS) as u32;
            assert!(matches!(rates.note_published(index, None, 1, now_ms, tick), Pace::Slowed { .. }));
            rates.note_released(index, tick);
        }
        assert!(rates.episodes.len() <= EPISODES_KEPT, "{}", rates.episodes.len());
    }
}
