//! The admission of clients, over all cores of a server: its policy, and the connections and handshakes of each
//! address.
//!
//! Owns the one table that cores share. It is used when a connection opens, requests a WebSocket or closes, never for a
//! message, and not at all while both limits are off. Mutexes are acceptable there: each is held for one lookup in a
//! map, only one of [`SHARDS`] is locked, and the cost disappears beside the system calls of accepting and closing.
//! Counts kept by each core would be exact only for a client that always meets the same core.
//!
//! A reload replaces the rules; each core takes the new ones when a client comes. Connections that were not counted
//! before a limit was set stay uncounted.
//!
//! Invariants: a connection that was counted is uncounted once. Memory is bounded: there are at most as many counts as
//! connections, and handshakes of at most [`ADDRESSES_REMEMBERED_MAX`] addresses are remembered.

pub(in crate::engine) mod clients;
pub(in crate::engine) mod handshakes;

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::mem;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::current::{Current, Following};
use crate::engine::limits::{Limits, SenderRates};
use crate::protocol::http::Refusal;
use crate::protocol::{Origins, TrustedProxies};

/// Parts of the table with a lock each: many more than cores, so that two cores seldom compete for one.
const SHARDS: usize = 64;

/// Addresses whose handshakes are remembered: 131,072, some 8 MiB. An address that returns before its bucket is full
/// again is still known, unless more other addresses came meanwhile. In that case, the addresses that were silent for
/// longest are forgotten and begin with a full burst. So an attacker with millions of addresses gains only what so many
/// addresses would give anyway, and locks nobody out.
const ADDRESSES_REMEMBERED_MAX: usize = 128 * 1024;

/// The rules by which clients are admitted.
#[derive(Clone, Debug, Default)]
pub struct AdmissionPolicy {
    /// Pages that may open a WebSocket.
    pub origins: Origins,
    /// Proxies that are trusted to name their clients.
    pub trusted_proxies: TrustedProxies,
    /// Connections from trusted proxies begin with a PROXY header, whatever their listener says. A connection without
    /// one is refused.
    pub proxy_protocol: bool,
}

/// The rules in force: the policy of a server, and its limits for addresses.
#[derive(Debug)]
pub(in crate::engine) struct Rules {
    pub(in crate::engine) policy: AdmissionPolicy,
    connections_max: u32,
    bucket: Option<TokenBucket>,
    /// There are rates of publishing or subscribing for addresses.
    has_rates: bool,
}

impl Rules {
    fn new(policy: AdmissionPolicy, limits: &Limits) -> Self {
        let bucket =
            TokenBucket::new(limits.handshakes_per_address_per_second_max, limits.handshake_burst_per_address_max);
        let has_rates = limits.address_rates != SenderRates::default();
        Self { policy, connections_max: limits.connections_per_address_max, bucket, has_rates }
    }

    /// Returns whether the addresses of clients matter.
    pub(in crate::engine) fn needs_addresses(&self) -> bool {
        self.connections_max > 0 || self.bucket.is_some() || self.has_rates || !self.policy.trusted_proxies.is_empty()
    }
}

/// The rules of a server, and the counts of each address that its cores share.
#[derive(Debug)]
pub struct Admission {
    rules: Current<Rules>,
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

impl Admission {
    /// Returns the admission of a server without clients.
    pub fn new(policy: AdmissionPolicy, limits: &Limits) -> Self {
        Self {
            rules: Current::new(Rules::new(policy, limits)),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Replaces the rules. If the rate of handshakes differs, every address begins with a whole burst.
    pub(in crate::engine) fn replace_rules(&self, policy: AdmissionPolicy, limits: &Limits) {
        let rules = Rules::new(policy, limits);
        let forgets = rules.bucket != self.rules.value().bucket;
        self.rules.replace(rules);
        if forgets {
            self.shards.iter().for_each(|shard| lock(shard).forget_handshakes());
        }
    }

    /// Returns the policy in force.
    pub(in crate::engine) fn policy(&self) -> AdmissionPolicy {
        self.rules.value().policy.clone()
    }

    /// Returns a core's view of the rules.
    pub(in crate::engine) fn follow_rules(&self) -> Following<Rules> {
        self.rules.follow()
    }

    /// Counts a connection of this address until [`Admission::uncount_connection`], unless the address has too many.
    /// Returns whether it is counted: without a limit it is not.
    pub(in crate::engine) fn count_connection(&self, rules: &Rules, address: IpAddr) -> Result<bool, Refusal> {
        if rules.connections_max == 0 {
            return Ok(false);
        }
        let network = Network::of(address);
        let mut shard = self.shard(network);
        let count = shard.connections.entry(network).or_default();
        if *count >= rules.connections_max {
            return Err(Refusal::TooManyConnections);
        }
        *count += 1;
        Ok(true)
    }

    /// Uncounts a connection that was counted, because it is closed.
    pub(in crate::engine) fn uncount_connection(&self, address: IpAddr) {
        let network = Network::of(address);
        if let Entry::Occupied(mut count) = self.shard(network).connections.entry(network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Counts a request for a WebSocket from this address, unless there were too many recently.
    pub(in crate::engine) fn count_handshake(
        &self,
        rules: &Rules,
        address: IpAddr,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let Some(bucket) = &rules.bucket else { return Ok(()) };
        let network = Network::of(address);
        if self.shard(network).admit(network, bucket, now_ms) { Ok(()) } else { Err(Refusal::TooManyHandshakes) }
    }

    fn shard(&self, network: Network) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(network) as usize % SHARDS])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // No code that runs under the lock can panic midway.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The addresses that count as one client: an IPv4 address, or an IPv6 /64, the least that one subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    pub(in crate::engine) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The rate at which handshakes may come: a token bucket, stored as the time at which it will be full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TokenBucket {
    /// The tokens of one handshake, as the time to refill them.
    interval_us: u64,
    /// The time to refill an empty bucket.
    refill_us: u64,
}

impl TokenBucket {
    fn new(per_second: u32, burst: u32) -> Option<Self> {
        let interval_us = 1_000_000_u64.checked_div(per_second.into())?.max(1);
        Some(Self { interval_us, refill_us: interval_us * u64::from(burst.max(1)) })
    }

    /// Returns when a bucket will be full after a handshake now; `None` if it has too few tokens.
    fn take(&self, full_at_us: u64, now_us: u64) -> Option<u64> {
        let full_at_us = full_at_us.max(now_us) + self.interval_us;
        (full_at_us <= now_us + self.refill_us).then_some(full_at_us)
    }
}

#[derive(Debug, Default)]
struct Shard {
    /// The number of connections of each address that has any.
    connections: HashMap<Network, u32>,
    /// The time at which the bucket will be full, for each address with a handshake since `began_us`.
    recent: HashMap<Network, u64>,
    /// The same, for the addresses with a handshake in the period before and none since.
    earlier: HashMap<Network, u64>,
    began_us: u64,
}

impl Shard {
    /// Takes a handshake's tokens out of a bucket, if it has enough.
    fn admit(&mut self, network: Network, bucket: &TokenBucket, now_ms: u64) -> bool {
        let now_us = now_ms * 1_000;
        if now_us.saturating_sub(self.began_us) >= bucket.refill_us {
            // Buckets that were unused for so long are full, as those of unknown addresses are.
            self.forget_earlier(now_us);
        }
        let full_at_us = self.recent.get(&network).or_else(|| self.earlier.get(&network));
        let Some(full_at_us) = bucket.take(full_at_us.copied().unwrap_or(0), now_us) else { return false };
        if self.recent.len() >= ADDRESSES_REMEMBERED_MAX / SHARDS / 2 && !self.recent.contains_key(&network) {
            self.forget_earlier(now_us);
        }
        self.recent.insert(network, full_at_us);
        true
    }

    fn forget_earlier(&mut self, now_us: u64) {
        self.earlier = mem::take(&mut self.recent);
        self.began_us = now_us;
    }

    fn forget_handshakes(&mut self) {
        (self.recent, self.earlier) = (HashMap::new(), HashMap::new());
    }
}

#[cfg(test)]
impl Admission {
    /// Returns the number of counted connections.
    pub(in crate::engine) fn connections(&self) -> u32 {
        self.lock_all().map(|shard| shard.connections.values().sum::<u32>()).sum()
    }

    /// Returns the most connections that one address has.
    pub(in crate::engine) fn connections_of_busiest(&self) -> u32 {
        self.lock_all().filter_map(|shard| shard.connections.values().copied().max()).max().unwrap_or(0)
    }

    /// Returns whether no connection is counted.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.lock_all().all(|shard| shard.connections.is_empty())
    }

    fn addresses_remembered(&self) -> usize {
        self.lock_all().map(|shard| shard.recent.len() + shard.earlier.len()).sum()
    }

    fn lock_all(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(|shard| shard.lock().expect("no test panics under the lock"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::ops::Deref;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// An admission with the rules that one core follows.
    struct Tested {
        admission: Admission,
        rules: Arc<Rules>,
    }

    impl Tested {
        fn count_connection(&self, address: IpAddr) -> Result<(), Refusal> {
            self.admission.count_connection(&self.rules, address).map(|_| ())
        }

        fn count_handshake(&self, address: IpAddr, now_ms: u64) -> Result<(), Refusal> {
            self.admission.count_handshake(&self.rules, address, now_ms)
        }

        /// Replaces the rules, and takes the new ones.
        fn reload(&mut self, connections: u32, per_second: u32, burst: u32) {
            self.admission.replace_rules(self.admission.policy(), &limits(connections, per_second, burst));
            self.rules = self.admission.rules.value();
        }
    }

    impl Deref for Tested {
        type Target = Admission;

        fn deref(&self) -> &Admission {
            &self.admission
        }
    }

    fn admission(connections: u32, per_second: u32, burst: u32) -> Tested {
        let admission = Admission::new(AdmissionPolicy::default(), &limits(connections, per_second, burst));
        let rules = admission.rules.value();
        Tested { admission, rules }
    }

    fn limits(connections: u32, per_second: u32, burst: u32) -> Limits {
        Limits {
            connections_per_address_max: connections,
            handshakes_per_address_per_second_max: per_second,
            handshake_burst_per_address_max: burst,
            ..Limits::default()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let admission = admission(2, 0, 1);
        let other = address("127.0.0.2");
        assert_eq!(admission.count_connection(HOME), Ok(()));
        assert_eq!(admission.count_connection(HOME), Ok(()));
        assert_eq!(admission.count_connection(HOME), Err(Refusal::TooManyConnections));
        assert_eq!(admission.count_connection(other), Ok(()));
        admission.uncount_connection(HOME);
        assert_eq!(admission.count_connection(HOME), Ok(()));
        assert_eq!((admission.connections(), admission.connections_of_busiest()), (3, 2));
        [HOME, HOME, other].into_iter().for_each(|address| admission.uncount_connection(address));
        assert!(admission.is_empty());
    }

    #[test]
    fn the_limit_is_exact_whatever_core_a_connection_meets() {
        let admission = admission(100, 0, 1);
        let most = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let held = (0..20).take_while(|_| admission.count_connection(HOME).is_ok()).count();
                        most.fetch_max(admission.connections(), Ordering::Relaxed);
                        (0..held).for_each(|_| admission.uncount_connection(HOME));
                    }
                });
            }
        });
        assert!(admission.is_empty());
        assert!(most.load(Ordering::Relaxed) <= 100, "{most:?}");
    }

    #[test]
    fn handshakes_come_in_a_burst_and_then_at_their_pace() {
        let admission = admission(0, 2, 3);
        let admitted = |now_ms| (0..10).filter(|_| admission.count_handshake(HOME, now_ms).is_ok()).count();
        assert_eq!(admitted(10_000), 3);
        assert_eq!(admitted(10_499), 0);
        assert_eq!(admitted(10_500), 1);
        assert_eq!(admitted(11_500), 2);
        assert_eq!(admitted(60_000), 3, "what is not used is not saved beyond the burst");
        assert_eq!(admission.count_handshake(address("127.0.0.2"), 60_000), Ok(()));
        // Cores read the clock at different times.
        assert_eq!(admitted(59_990), 0);
    }

    #[test]
    fn a_refused_client_is_not_kept_out_for_longer_by_trying_again() {
        let admission = admission(0, 1, 1);
        assert!(admission.count_handshake(HOME, 5_000).is_ok());
        assert!((5_001..6_000).all(|now_ms| admission.count_handshake(HOME, now_ms).is_err()));
        assert!(admission.count_handshake(HOME, 6_000).is_ok());
    }

    #[test]
    fn ipv6_counts_by_the_64_and_ipv4_in_its_ipv6_form_as_ipv4() {
        let admission = admission(1, 0, 1);
        assert_eq!(admission.count_connection(address("2001:db8::1")), Ok(()));
        assert!(admission.count_connection(address("2001:db8::ffff:1")).is_err());
        assert_eq!(admission.count_connection(address("2001:db8:0:1::1")), Ok(()));
        assert_eq!(admission.count_connection(address("::ffff:127.0.0.1")), Ok(()));
        assert!(admission.count_connection(HOME).is_err());
        // The first 64 bits of this address are zero too.
        assert_eq!(admission.count_connection(address("::1")), Ok(()));
    }

    #[test]
    fn millions_of_addresses_take_no_more_than_their_memory_and_lock_nobody_out() {
        let admission = admission(0, 1, 2);
        for network in 0..1_000_000_u128 {
            let stranger = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (network << 64)));
            assert!(admission.count_handshake(stranger, 1_000 + network as u64 / 10_000).is_ok());
        }
        let remembered = admission.addresses_remembered();
        assert!(remembered <= ADDRESSES_REMEMBERED_MAX, "{remembered}");
        // Another client is still admitted meanwhile, at the limited rate.
        let admitted = (0..10).filter(|_| admission.count_handshake(HOME, 1_100).is_ok()).count();
        assert_eq!(admitted, 2);
        // Once all buckets are full, no address needs to be remembered.
        for step in 1..=2 {
            for network in 0..10_000_u128 {
                let stranger = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db9 << 96) + (network << 64)));
                let _ = admission.count_handshake(stranger, 1_100 + step * 2_000);
            }
        }
        assert!(admission.addresses_remembered() <= 20_000);
    }

    #[test]
    fn a_bucket_outlives_the_change_from_recent_to_earlier() {
        let admission = admission(0, 1, 10);
        for now_ms in (1_000..60_000).step_by(100) {
            let _ = admission.count_handshake(HOME, now_ms);
        }
        // The bucket is empty by now, whatever was moved in between.
        assert!(admission.count_handshake(HOME, 59_900).is_err());
    }

    #[test]
    fn a_new_limit_of_connections_holds_from_the_next_one_on() {
        let mut admission = admission(3, 0, 1);
        (0..3).for_each(|_| assert_eq!(admission.count_connection(HOME), Ok(())));
        admission.reload(2, 0, 1);
        admission.uncount_connection(HOME);
        assert_eq!(admission.count_connection(HOME), Err(Refusal::TooManyConnections));
        admission.reload(0, 0, 1);
        assert_eq!(admission.admission.count_connection(&admission.rules, HOME), Ok(false));
        (0..2).for_each(|_| admission.uncount_connection(HOME));
        assert!(admission.is_empty(), "what was counted before is uncounted");
    }

    #[test]
    fn a_new_rate_of_handshakes_gives_every_address_a_whole_burst_and_an_equal_one_changes_nothing() {
        let mut admission = admission(0, 1, 1_000);
        let admitted =
            |admission: &Tested, now_ms| (0..2_000).filter(|_| admission.count_handshake(HOME, now_ms).is_ok()).count();
        assert_eq!(admitted(&admission, 5_000), 1_000);
        admission.reload(7, 1, 1_000);
        assert_eq!(admitted(&admission, 5_000), 0);
        admission.reload(7, 1, 10);
        assert_eq!(admitted(&admission, 5_000), 10, "the times that the larger burst took do not count");
        assert_eq!(admitted(&admission, 6_000), 1);
    }

    #[test]
    fn limits_that_are_off_leave_the_table_alone() {
        let admission = admission(0, 0, 1);
        assert!(!admission.rules.needs_addresses());
        assert!((0..1_000).all(|_| admission.count_connection(HOME).is_ok()));
        assert!((0..1_000).all(|_| admission.count_handshake(HOME, 0).is_ok()));
        assert!(admission.is_empty());
        assert_eq!(admission.addresses_remembered(), 0);
        admission.uncount_connection(HOME);
    }
}
