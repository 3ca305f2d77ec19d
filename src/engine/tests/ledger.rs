//! A record of every session of a core, to see that none takes the place of another, and that none outlives its time.
//!
//! Looks at sessions between turns and never touches them. A core that has just run a turn could have ended whatever
//! was due, however long it was kept from running before.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::engine::core::view::SessionView;
use crate::engine::limits::Limits;
use crate::engine::session::Phase;
use crate::engine::wheel::ticks;
use crate::protocol::State;
use crate::reactor::Token;
use crate::reactor::sim::DELAY_MAX_TURNS;

/// Turns after which the operations in flight on an ended session's socket have completed: a watch and a send, each of
/// which may have one completion before the last.
const RELEASE_TURNS_MAX: u64 = 4 * DELAY_MAX_TURNS;

#[derive(Default)]
pub struct Ledger(BTreeMap<u32, Entry>);

/// The session that was last seen in a slot.
struct Entry {
    token: Token,
    seen: Seen,
    stage: Stage,
    /// The tick by which it must be over.
    deadline: u32,
    /// The first tick and turn at which it was in this stage, or its client extended its time by reading.
    since: u32,
    since_turn: u64,
}

/// The state that a session's time depends on. Each change restarts the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stage {
    phase: Phase,
    connection: State,
    parting: bool,
    finished: bool,
}

/// The facts about a session's client that the network knows.
#[derive(Clone, Copy)]
pub struct Seen {
    pub address: SocketAddr,
    /// Bytes that it read from the server.
    pub taken: u64,
}

/// The time of a look at a core.
#[derive(Clone, Copy)]
pub struct Moment {
    pub tick: u32,
    pub turn: u64,
}

impl Ledger {
    /// Looks at a session after its core's turn.
    pub fn look<S>(&mut self, session: &SessionView<'_, S>, seen: Seen, limits: &Limits, now: Moment) {
        let (token, deadline) = (session.token(), session.deadline());
        let stage = Stage {
            phase: session.phase(),
            connection: session.connection(),
            parting: session.is_parting(),
            finished: session.is_finished(),
        };
        let fresh = Entry { token, seen, stage, deadline, since: now.tick, since_turn: now.turn };
        let entry = self.0.entry(token.index).or_insert(fresh);
        if entry.token == token {
            assert_eq!(entry.seen.address, seen.address, "{token:?} names the sessions of two clients");
        } else {
            assert!(entry.token.generation < token.generation, "{token:?} came after {:?}", entry.token);
        }
        if entry.token != token || entry.stage != stage {
            *entry = Entry { token, seen, stage, deadline, since: now.tick, since_turn: now.turn };
        } else if stage.bound_ms(limits).is_some() && entry.deadline != deadline {
            assert!(entry.seen.taken < seen.taken, "{token:?} is given time in {stage:?}, and its client took nothing");
            (entry.seen, entry.deadline, entry.since) = (seen, deadline, now.tick);
        }
        let (lived, turns) = (now.tick - entry.since, now.turn - entry.since_turn);
        if let Some(bound_ms) = stage.bound_ms(limits) {
            assert!(
                lived <= ticks(bound_ms),
                "{token:?} has been {stage:?} for {lived} ticks; deadline {} now {} since {}",
                deadline,
                now.tick,
                entry.since
            );
        }
        assert!(stage.phase != Phase::Ended || turns <= RELEASE_TURNS_MAX, "{token:?} is never released");
        assert!(stage.phase == Phase::Ended || deadline > now.tick, "{token:?} lives beyond its deadline");
    }
}

impl Stage {
    /// Returns how long a session may be in this stage; `None` if the server does not limit it.
    fn bound_ms(self, limits: &Limits) -> Option<u64> {
        match self.phase {
            Phase::Ended => None,
            // A streamed answer may last.
            Phase::Answering => None,
            Phase::Lingering => Some(limits.close_timeout_ms),
            Phase::Upgrading => Some(limits.handshake_timeout_ms),
            _ if self.parting || self.finished => Some(limits.handshake_timeout_ms.max(limits.close_timeout_ms)),
            Phase::Open if self.connection != State::Open => Some(limits.close_timeout_ms),
            Phase::Head | Phase::Open => None,
        }
    }
}
