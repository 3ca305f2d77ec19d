//! One seed: a process of some cores, their clients, and all faults and events.
//!
//! The dice make every choice. Invariant: the clock is the same for all cores and moves only here, and everything that
//! must hold between turns holds after every turn of a core.

use std::net::{Ipv4Addr, SocketAddr};

use super::asker::Asker;
use super::honest::Honest;
use super::hostile::Hostile;
use super::member::Member;
use super::tally::Tally;
use super::{Weather, compression};
use super::{asker, endings};
use crate::engine::core::view::SessionView;
use crate::engine::session::Phase;
use crate::engine::tests::client::Client;
use crate::engine::tests::dice::Dice;
use crate::engine::tests::handler::{App, PANICS};
use crate::engine::tests::letter::Errand;
use crate::engine::tests::world::{Process, World};
use crate::engine::topics::round_bytes_max;
use crate::engine::{AdmissionPolicy, DropReason, Handler, Limits, SenderRates, Sent};
use crate::reactor::Reactor;
use crate::reactor::sim::{DELAY_MAX_TURNS, Faults, Kind};

const CORES_MAX: usize = 4;

/// The steps within which honest clients must have ended once no client misbehaves.
const CALM_STEPS_MAX: usize = 60_000;

/// The most turns in which a core gets no processor.
const STALL_TURNS_MAX: usize = 60;

/// The bytes that a read may leave: see `SCRATCH_BYTES`.
const READ_BYTES: usize = 256 * 1024;
/// The longest message that the application sends.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The longest answer to a request: a body at its limit, with its head.
const ANSWER_BYTES: usize = 66_000;
/// Pongs, pings and a Close frame, and the header of a message.
/// The longest published message, as a frame.
const PUBLISHED_BYTES_MAX: usize = 1_000;
const CONTROL_BYTES: usize = 20 * 127 + 10;

/// The PROXY headers of clients that share addresses, and of a proxy that speaks for itself.
const PROXY_HEADERS: [&[u8]; 4] = [
    b"PROXY TCP4 192.0.2.1 127.0.0.1 50000 443\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 50000 443\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x01\x02\x03\x04",
    b"PROXY UNKNOWN\r\n",
];

pub struct Storm {
    dice: Dice,
    process: Process,
    seats: Vec<Seat>,
    limits: Limits,
    /// Nothing breaks, and no client is turned away.
    fair: bool,
    /// Every client comes through a proxy, which announces its address.
    proxied: bool,
    guests: Vec<(usize, Guest)>,
    arrived: usize,
    tally: Tally,
}

/// The outcome of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A number that is the same only if everything happened in the same way.
    pub digest: u64,
    pub tally: Tally,
}

impl Outcome {
    /// Adds another outcome; the order does not matter.
    pub fn merge(&mut self, other: Outcome) {
        self.digest = self.digest.wrapping_add(other.digest);
        self.tally.merge(other.tally);
    }
}

/// A core, and the turns it misses.
struct Seat {
    world: World,
    /// The turns that it still misses.
    stalled: usize,
    draining: bool,
}

enum Guest {
    Honest(Honest),
    Asker(Asker),
    Hostile(Hostile),
    Member(Member),
}

impl Storm {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let fair = dice.once_in(2);
        let limits = limits(fair, &mut dice);
        let mut faults = if fair { Faults::harmless() } else { Faults::chaos() };
        if dice.once_in(2) {
            // A spurious report replaces a wake-up that was lost.
            faults.spurious_readable = 0;
        }
        let mut policy = AdmissionPolicy::default();
        let proxied = dice.once_in(3);
        if proxied {
            policy.trusted_proxies = "127.0.0.0/8, unix".parse().expect("a network");
            policy.proxy_protocol = true;
        }
        let cores = 1 + dice.below(CORES_MAX);
        let mut process = Process::new(cores, policy, &limits);
        if seed.is_multiple_of(3) {
            process.listeners = vec![Kind::Tcp, Kind::Unix];
        }
        let seats = (0..cores).map(|core| {
            let seed = seed.wrapping_mul(CORES_MAX as u64).wrapping_add(core as u64);
            let world = World::within(&process, core as u16, App::new, limits.clone(), seed, faults);
            Seat { world, stalled: 0, draining: false }
        });
        let seats = seats.collect();
        let mut tally = Tally::default();
        announce(&mut tally);
        tally.add("simulation", if fair { "seeds in fair weather" } else { "seeds in foul weather" }, 1);
        tally.add("simulation", format_args!("processes of {cores} cores"), 1);
        Self { dice, process, seats, limits, fair, proxied, guests: Vec::new(), arrived: 0, tally }
    }

    pub fn run(mut self) -> Outcome {
        for seat in &self.seats {
            if !self.fair && self.dice.once_in(4) {
                seat.world.network.descriptor_limit(2 + self.process.listeners.len() + self.dice.below(4));
            }
        }
        for _ in 0..40 + self.dice.below(200) {
            self.arrivals();
            self.step(false);
        }
        if self.dice.once_in(2) {
            (0..self.seats.len()).for_each(|at| self.drain(at));
        }
        let mut steps = 0;
        while !self.guests.iter().all(|(_, guest)| guest.is_done()) {
            self.step(true);
            steps += 1;
            assert!(steps < CALM_STEPS_MAX, "an honest client waits for ever");
        }
        self.lift_rates();
        self.come_to_rest();
        self.end()
    }

    /// Reloads without rates, so that nobody has to wait for time to pass. A core that drains has closed its sessions.
    fn lift_rates(&mut self) {
        let rates = SenderRates::default();
        let limits = Limits { session_rates: rates, address_rates: rates, ..self.limits.clone() };
        self.seats.iter().for_each(|seat| seat.world.limits.replace(limits.clone()));
    }

    /// Waits until everything sent has arrived, while no client sends anything new. Then checks that the published and
    /// received messages match.
    fn come_to_rest(&mut self) {
        let weather = Weather { fair: self.fair, calm: true, draining: true };
        self.seats.iter().for_each(|seat| seat.world.network.set_faults(Faults::default()));
        let mut quiet = 0;
        while quiet <= DELAY_MAX_TURNS {
            for (_, guest) in &mut self.guests {
                guest.resume_reading();
                if let Guest::Member(member) = guest {
                    member.hear(weather, &mut self.tally);
                }
            }
            let busy = self.seats.iter_mut().fold(false, |busy, seat| seat.world.turn() | busy);
            quiet = if busy { 0 } else { quiet + 1 };
        }
        let delivered: u64 = self.seats.iter().map(|seat| seat.world.counters.mail_delivered.read()).sum();
        assert_eq!(delivered, self.process.post.queued(), "queued mail is handed over, once");
        let lost = |seat: &Seat| {
            let dropped = &seat.world.counters.messages_dropped;
            dropped.read_for(&DropReason::RingFull) + dropped.read_for(&DropReason::BacklogFull)
        };
        let lost = self.seats.iter().map(lost).sum();
        for (_, guest) in &mut self.guests {
            if let Guest::Member(member) = guest {
                member.check(&self.process.board, lost, &mut self.tally);
            }
        }
    }

    /// Disconnects every client, and checks that nothing is left.
    fn end(mut self) -> Outcome {
        for seat in &mut self.seats {
            seat.world.log.gate.open();
            seat.world.network.descriptor_limit(usize::MAX);
            seat.world.end();
            assert!(!seat.draining || seat.world.core.is_done(), "a core does not end");
            let panics: u64 = seat.world.log.panics.borrow().values().sum();
            assert_eq!(panics, seat.world.counters.handler_panics.read(), "every panic is counted, once");
        }
        self.check_connections();
        for seat in &self.seats {
            let Seat { world, .. } = seat;
            let counters = world.counters.all();
            for family in &counters {
                self.tally.add("engine", family.name, family.total());
                for (reason, count) in family.counts.iter().filter(|(_, count)| *count > 0) {
                    self.process.trace.note(family.name, &[*count], reason.as_bytes());
                    self.tally.add("reasons", format_args!("{} {reason}", family.name), *count);
                }
            }
            world.network.faults_occurred().into_iter().for_each(|(name, count)| self.tally.add("faults", name, count));
            let panics = world.log.panics.borrow();
            panics.iter().for_each(|(place, count)| self.tally.add("panics", place, *count));
        }
        Outcome { digest: self.process.trace.digest(), tally: self.tally }
    }

    fn arrivals(&mut self) {
        let count = |is: fn(&Guest) -> bool| self.guests.iter().filter(|(_, guest)| is(guest)).count();
        let honest = count(|guest| matches!(guest, Guest::Honest(_)));
        let askers = count(|guest| matches!(guest, Guest::Asker(_)));
        let hostile = count(|guest| matches!(guest, Guest::Hostile(_)));
        let members = count(|guest| matches!(guest, Guest::Member(_)));
        let cores = self.seats.len();
        if self.dice.once_in(8) && honest < 4 + 2 * cores {
            self.arrive(true, |client, dice, _| {
                let longest = dice.choose(&[1_000, 20_000]);
                Guest::Honest(Honest::new(client, dice, longest))
            });
        }
        if self.dice.once_in(20) && askers < 2 * cores {
            self.arrive(true, |client, dice, tally| Guest::Asker(Asker::new(client, dice, tally)));
        }
        if self.dice.once_in(10) && members < 3 + 3 * cores {
            let number = self.arrived;
            self.arrive(true, |client, dice, _| Guest::Member(Member::new(number, client, dice)));
        }
        if self.dice.once_in(6) && hostile < 8 + 4 * cores {
            let says_so = !self.dice.once_in(4);
            self.arrive(says_so, |client, dice, _| Guest::Hostile(Hostile::new(client, dice)));
        }
    }

    /// Connects a client to one of the listeners, as the kernel chooses one (SO_REUSEPORT). Some clients share an
    /// address, each with a port of its own. Behind a proxy, `says_so` makes the proxy announce the address.
    fn arrive(&mut self, says_so: bool, guest: impl FnOnce(Client, &mut Dice, &mut Tally) -> Guest) {
        let listening = |at: &usize| !self.seats[*at].world.view().listeners().is_empty();
        let listening: Vec<usize> = (0..self.seats.len()).filter(listening).collect();
        if listening.is_empty() {
            return;
        }
        let at = self.dice.choose(&listening);
        let host = Ipv4Addr::new(127, 0, 0, 1 + self.dice.below(4) as u8);
        let address = SocketAddr::from((host, 10_000 + self.arrived as u16));
        self.arrived += 1;
        let connected = self.seats[at].world.connect_at(address);
        if self.proxied && says_so {
            connected.write(self.dice.choose(&PROXY_HEADERS));
        }
        self.guests.push((at, guest(connected, &mut self.dice, &mut self.tally)));
        self.tally.add("clients", "came", 1);
    }

    fn step(&mut self, calm: bool) {
        for (at, guest) in &mut self.guests {
            let weather = Weather { fair: self.fair, calm, draining: self.seats[*at].draining };
            guest.act(&mut self.dice, weather, &mut self.tally);
        }
        self.meddle(calm);
        for _ in 0..=self.dice.below(3 * self.seats.len()) {
            let at = self.dice.below(self.seats.len());
            self.turn(at);
        }
        // In fair weather no client must be waited for, and a ping would replace a wake-up that was lost.
        if !(calm && self.fair) {
            self.pass_time();
        }
    }

    /// Does something that the operator, the application or the machine may do at any time.
    fn meddle(&mut self, calm: bool) {
        let at = self.dice.below(self.seats.len());
        // Later on, only its own task may resume a paused session.
        if !calm && self.dice.once_in(10) {
            self.resume_someone(at);
        }
        if self.dice.once_in(200) {
            self.seats[at].world.log.gate.open();
        }
        if !calm && self.dice.once_in(20) {
            let letter = self.process.post.letter(None, at as u16, Errand::Note(String::new()));
            if self.process.handle.mail(at as u16, letter) == Sent::Queued {
                self.process.post.note_queued();
            }
        }
        if self.dice.once_in(50) {
            self.seats[at].world.core.reactor().waker().wake();
        }
        if !calm && self.dice.once_in(60) {
            self.seats[at].stalled = 1 + self.dice.below(STALL_TURNS_MAX);
            self.tally.add("simulation", "stalls of a core", 1);
        }
        if !calm && self.dice.once_in(300) {
            self.drain(at);
        }
        if !calm && self.seats[at].draining && self.dice.once_in(200) {
            self.seats[at].world.ask_to_hurry();
            self.tally.add("simulation", "hurried drains", 1);
        }
    }

    fn drain(&mut self, at: usize) {
        if !std::mem::replace(&mut self.seats[at].draining, true) {
            self.seats[at].world.ask_to_drain();
            self.tally.add("simulation", "drains", 1);
        }
    }

    fn turn(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        if seat.stalled > 0 {
            seat.stalled -= 1;
            return;
        }
        if seat.world.run() {
            seat.check(&self.limits);
            self.tally.add("simulation", "turns", 1);
        } else {
            self.tally.add("simulation", "looks at a sleeping core", 1);
        }
        self.check_connections();
    }

    fn check_connections(&self) {
        let sessions: usize = self.seats.iter().map(|seat| seat.world.core.sessions()).sum();
        assert_eq!(self.process.connections(), sessions, "the process counts other connections than its cores have");
        let limited = self.limits.connections_per_address_max > 0;
        let counted: usize = self.seats.iter().map(|seat| seat.world.view().known_clients()).sum();
        let expected = if limited { counted } else { 0 };
        assert_eq!(self.process.admission.connections() as usize, expected, "addresses count what their sessions are");
    }

    fn pass_time(&mut self) {
        let milliseconds = self.dice.below(15) as u64;
        self.skip(milliseconds);
        // Honest clients never make the server wait for long.
        if self.dice.once_in(60) && !self.guests.iter().any(|(_, guest)| guest.is_hurried()) {
            self.guests.iter().for_each(|(_, guest)| guest.resume_reading());
            self.seats.iter_mut().for_each(|seat| seat.world.settle());
            let milliseconds = self.dice.below(4_000) as u64;
            self.skip(milliseconds);
        }
    }

    fn skip(&mut self, milliseconds: u64) {
        self.seats.iter_mut().for_each(|seat| seat.world.skip(milliseconds));
    }

    fn resume_someone(&mut self, at: usize) {
        let world = &mut self.seats[at].world;
        let opened = world.log.opened.borrow().clone();
        if !opened.is_empty() {
            world.resume(self.dice.choose(&opened));
        }
    }
}

impl Seat {
    /// Checks the conditions that hold after every turn of a core.
    fn check(&mut self, limits: &Limits) {
        self.world.check();
        for session in self.world.view().sessions() {
            let (outbox, backlog) = (session.outbox_bytes(), session.unconsumed_bytes());
            let message = longest_message(&session).max(ANSWER_BYTES);
            let round = round_bytes_max(limits.outbox_bytes_max) + PUBLISHED_BYTES_MAX;
            let outbox_max = limits.outbox_bytes_max + message.max(round) + CONTROL_BYTES;
            assert!(outbox <= outbox_max, "{outbox} bytes wait to be sent to one session, {outbox_max} may");
            assert!(backlog <= READ_BYTES, "{backlog} bytes of one session were received and not consumed");
        }
    }
}

/// Returns the length of the longest message sent to a session; the longest possible if its state is gone.
fn longest_message(session: &SessionView<'_, <App as Handler>::State>) -> usize {
    let of_any = if session.phase() == Phase::Ended { MESSAGE_BYTES_MAX } else { 0 };
    session.state().map_or(of_any, |state| state.longest)
}

impl Guest {
    fn act(&mut self, dice: &mut Dice, weather: Weather, tally: &mut Tally) {
        match self {
            Guest::Honest(client) => client.act(dice, weather, tally),
            Guest::Asker(client) => client.act(dice, weather, tally),
            Guest::Hostile(client) if !weather.calm => client.act(dice, weather, tally),
            Guest::Hostile(_) => {}
            Guest::Member(client) => client.act(dice, weather, tally),
        }
    }

    /// Returns whether it has received everything that it must.
    fn is_done(&self) -> bool {
        match self {
            Guest::Honest(client) => client.is_done(),
            Guest::Asker(client) => client.is_done(),
            Guest::Hostile(_) => true,
            Guest::Member(client) => client.is_done(),
        }
    }

    fn is_hurried(&self) -> bool {
        match self {
            Guest::Honest(client) => client.is_hurried(),
            Guest::Asker(client) => !client.is_done(),
            Guest::Hostile(_) | Guest::Member(_) => false,
        }
    }

    fn resume_reading(&self) {
        match self {
            Guest::Honest(client) => client.resume_reading(),
            Guest::Member(client) => client.resume_reading(),
            Guest::Asker(_) | Guest::Hostile(_) => {}
        }
    }
}

fn limits(fair: bool, dice: &mut Dice) -> Limits {
    let mut limits = Limits { outbox_bytes_max: dice.choose(&[500, 20_000, 256 * 1024]), ..Limits::default() };
    limits.backlog_bytes_max = dice.choose(&[2_000, 16 * 1024 * 1024]);
    limits.mesh.ring_entries = dice.choose(&[1, 4, 1024]);
    limits.mesh.inbox_entries = dice.choose(&[1, 4096]);
    limits.topics_max = dice.choose(&[2, 1_000]);
    limits.drain_delay_ms = dice.choose(&[0, 0, 100, 2_000]);
    limits.drain_spread_ms = dice.choose(&[0, 0, 100, 2_000]);
    if dice.once_in(2) {
        limits.compression = Some(compression(dice));
        limits.compression_contexts_max = dice.choose(&[0, 1, 1024]);
    }
    if !fair {
        limits.connections_max = dice.choose(&[3, usize::MAX]);
        limits.outbox_age_ms_max = dice.choose(&[100, 10_000]);
        limits.handshake_timeout_ms = dice.choose(&[100, 5_000]);
        limits.close_timeout_ms = dice.choose(&[50, 5_000]);
        limits.send_timeout_ms = dice.choose(&[200, 10_000]);
        limits.assembly_timeout_ms = dice.choose(&[100, 30_000]);
        limits.ping_interval_ms = dice.choose(&[0, 100, 25_000]);
        limits.dead_peer_timeout_ms = dice.choose(&[0, 300, 60_000]);
        limits.drain_timeout_ms = dice.choose(&[200, 10_000]);
        limits.connections_per_address_max = dice.choose(&[0, 1, 4]);
        limits.handshakes_per_address_per_second_max = dice.choose(&[0, 20]);
        limits.handshake_burst_per_address_max = dice.choose(&[1, 5]);
        limits.session_rates.messages_per_second = dice.choose(&[0, 0, 50, 1_000]);
        limits.session_rates.subscriptions_per_second = dice.choose(&[0, 0, 2]);
        limits.rate_burst_ms = dice.choose(&[100, 10_000]);
        limits.address_rates.bytes_per_second = dice.choose(&[0, 0, 100_000]);
        limits.rate_patience_ms = dice.choose(&[200, 30_000]);
    }
    limits
}

/// Announces the events that must happen, so that one that never does is seen.
fn announce(tally: &mut Tally) {
    PANICS.iter().for_each(|place| tally.add("panics", place, 0));
    for number in 0..endings::COUNT {
        let ending = endings::Ending::number(number);
        tally.add("endings", format_args!("{}, answered with {}", ending.name, ending.code), 0);
    }
    for number in 0..asker::LAST_COUNT {
        let (name, _, status) = asker::last(number);
        tally.add("requests", format_args!("{name}, {status}"), 0);
    }
}
