//! The limits of single sessions, where they differ from the server's.
//!
//! Sessions of equal limits share one profile, which a session names by its number. Invariant: number 0 is the server's
//! own profile; any other one lives as long as a session has it.

use crate::engine::limits::Limits;

/// The limit of different profiles on one core: an application has some kinds of sessions, not a kind for each session.
/// It bounds the search for an equal one.
pub const SESSION_PROFILES_MAX: usize = 256;

/// The limits of one session; see [`Limits`] for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLimits {
    /// Bytes of one message, over all its fragments.
    pub message_bytes_max: u64,
    /// Bytes that wait to be sent to the session.
    pub outbox_bytes_max: usize,
    /// The silence after which a ping is sent, in milliseconds; 0 sends none.
    pub ping_interval_ms: u64,
    /// The silence after which the peer counts as dead, in milliseconds; 0 never.
    pub dead_peer_timeout_ms: u64,
    /// Messages are compressed, if the server compresses and the client offers it.
    pub compression: bool,
}

impl From<&Limits> for SessionLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            message_bytes_max: limits.messages.message_bytes_max,
            outbox_bytes_max: limits.outbox_bytes_max,
            ping_interval_ms: limits.ping_interval_ms,
            dead_peer_timeout_ms: limits.dead_peer_timeout_ms,
            compression: limits.compression.is_some(),
        }
    }
}

impl SessionLimits {
    /// Returns the server's limits with these in their place.
    pub(in crate::engine) fn within(&self, server: &Limits) -> Limits {
        let mut limits = server.clone();
        limits.messages.message_bytes_max = self.message_bytes_max;
        limits.outbox_bytes_max = self.outbox_bytes_max;
        limits.ping_interval_ms = self.ping_interval_ms;
        limits.dead_peer_timeout_ms = self.dead_peer_timeout_ms;
        limits
    }
}

/// The limits that sessions of one kind share.
#[derive(Debug)]
pub(in crate::engine) struct Profile {
    limits: SessionLimits,
    messages: crate::protocol::MessageLimits,
    /// Sessions that have it. The server's own is not counted.
    sessions: u32,
}

impl Profile {
    fn new(limits: SessionLimits, server: &Limits) -> Self {
        let messages =
            crate::protocol::MessageLimits { message_bytes_max: limits.message_bytes_max, ..server.messages.clone() };
        Self { limits, messages, sessions: 0 }
    }

    #[inline]
    pub(in crate::engine) fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    #[inline]
    pub(in crate::engine) fn messages(&self) -> &crate::protocol::MessageLimits {
        &self.messages
    }
}

/// The profiles of a core.
#[derive(Debug)]
pub(in crate::engine) struct Profiles {
    server: Profile,
    /// From number 1 on.
    others: Vec<Profile>,
    /// The smallest limit of an outbox in any profile that is used.
    outbox_bytes_least: usize,
}

impl Profiles {
    pub(in crate::engine) fn new(server: &Limits) -> Self {
        let outbox_bytes_least = server.outbox_bytes_max;
        Self { server: Profile::new(SessionLimits::from(server), server), others: Vec::new(), outbox_bytes_least }
    }

    /// Replaces the server's own profile. Sessions with limits of their own keep them.
    pub(in crate::engine) fn replace_server(&mut self, server: &Limits) {
        self.server = Profile::new(SessionLimits::from(server), server);
        self.find_least_outbox();
    }

    /// Returns the profile of this number.
    #[inline]
    pub(in crate::engine) fn at(&self, number: u32) -> &Profile {
        if number == 0 { &self.server } else { self.others.get(number as usize - 1).unwrap_or(&self.server) }
    }

    /// Returns the server's own limits.
    pub(in crate::engine) fn of_server(&self) -> &SessionLimits {
        &self.server.limits
    }

    /// Returns the number of a profile with these limits, for one more session; `None` if there are too many.
    pub(in crate::engine) fn acquire(&mut self, limits: &SessionLimits, server: &Limits) -> Option<u32> {
        if *limits == self.server.limits {
            return Some(0);
        }
        let same = self.others.iter().position(|profile| profile.sessions > 0 && profile.limits == *limits);
        let at = same.or_else(|| self.others.iter().position(|profile| profile.sessions == 0));
        let at = at.or_else(|| (self.others.len() < SESSION_PROFILES_MAX).then_some(self.others.len()))?;
        if same.is_none() {
            let profile = Profile::new(limits.clone(), server);
            match self.others.get_mut(at) {
                Some(unused) => *unused = profile,
                None => self.others.push(profile),
            }
        }
        self.others[at].sessions += 1;
        self.outbox_bytes_least = self.outbox_bytes_least.min(limits.outbox_bytes_max);
        Some(at as u32 + 1)
    }

    /// Returns the bytes that may wait for any session, whatever its limits.
    #[inline]
    pub(in crate::engine) fn outbox_bytes_least(&self) -> usize {
        self.outbox_bytes_least
    }

    /// Gives back the profile of a session that has ended.
    #[inline]
    pub(in crate::engine) fn release(&mut self, number: u32) {
        if number > 0 {
            self.release_own(number as usize - 1);
        }
    }

    fn release_own(&mut self, at: usize) {
        let Some(profile) = self.others.get_mut(at) else { return };
        profile.sessions -= 1;
        if profile.sessions == 0 {
            self.find_least_outbox();
        }
    }

    fn find_least_outbox(&mut self) {
        let used = self.others.iter().filter(|profile| profile.sessions > 0);
        let least = used.map(|profile| profile.limits.outbox_bytes_max).min();
        self.outbox_bytes_least = self.server.limits.outbox_bytes_max.min(least.unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(message_bytes_max: u64) -> SessionLimits {
        SessionLimits { message_bytes_max, ..SessionLimits::from(&Limits::default()) }
    }

    #[test]
    fn sessions_of_equal_limits_share_a_profile_until_the_last_has_ended() {
        let server = Limits::default();
        let mut profiles = Profiles::new(&server);
        assert_eq!(profiles.acquire(&SessionLimits::from(&server), &server), Some(0));
        let (first, second, other) = (
            profiles.acquire(&sized(1), &server),
            profiles.acquire(&sized(1), &server),
            profiles.acquire(&sized(2), &server),
        );
        assert_eq!((first, second, other), (Some(1), Some(1), Some(2)));
        assert_eq!(profiles.at(1).messages().message_bytes_max, 1);
        profiles.release(1);
        assert_eq!(profiles.acquire(&sized(3), &server), Some(3), "one session still has the first");
        profiles.release(1);
        assert_eq!(profiles.acquire(&sized(4), &server), Some(1), "its place is used again");
        assert_eq!(profiles.at(1).limits(), &sized(4));
    }

    #[test]
    fn the_smallest_outbox_is_that_of_the_profiles_in_use() {
        let server = Limits::default();
        let mut profiles = Profiles::new(&server);
        let with_outbox =
            |outbox_bytes_max| SessionLimits { outbox_bytes_max, ..SessionLimits::from(&Limits::default()) };
        assert_eq!(profiles.outbox_bytes_least(), server.outbox_bytes_max);
        let large = profiles.acquire(&with_outbox(1 << 30), &server).unwrap();
        assert_eq!(profiles.outbox_bytes_least(), server.outbox_bytes_max);
        let small = profiles.acquire(&with_outbox(10), &server).unwrap();
        assert_eq!(profiles.outbox_bytes_least(), 10);
        profiles.release(small);
        assert_eq!(profiles.outbox_bytes_least(), server.outbox_bytes_max);
        profiles.release(large);
        assert_eq!(profiles.outbox_bytes_least(), server.outbox_bytes_max);
    }

    #[test]
    fn the_servers_profile_is_replaced_and_those_of_sessions_stay() {
        let server = Limits::default();
        let mut profiles = Profiles::new(&server);
        let own = SessionLimits { outbox_bytes_max: 10, ..sized(1) };
        let number = profiles.acquire(&own, &server).unwrap();
        let new = Limits { outbox_bytes_max: 5_000, ping_interval_ms: 1, ..Limits::default() };
        profiles.replace_server(&new);
        assert_eq!(profiles.of_server(), &SessionLimits::from(&new));
        assert_eq!((profiles.at(number).limits(), profiles.outbox_bytes_least()), (&own, 10));
        profiles.release(number);
        assert_eq!(profiles.outbox_bytes_least(), 5_000);
    }

    #[test]
    fn there_are_no_more_profiles_than_the_limit() {
        let server = Limits::default();
        let mut profiles = Profiles::new(&server);
        let numbers: Vec<_> =
            (0..SESSION_PROFILES_MAX as u64).map(|at| profiles.acquire(&sized(at), &server)).collect();
        assert!(numbers.iter().all(Option::is_some));
        assert_eq!(profiles.acquire(&sized(9_999), &server), None);
        profiles.release(7);
        assert_eq!(profiles.acquire(&sized(9_999), &server), Some(7));
    }
}
