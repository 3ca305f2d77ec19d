//! Everything at once: honest and hostile clients, a misbehaving handler, faults of the kernel and jumps of the clock,
//! by the thousand.
//!
//! A seed decides everything. `RINGSOCK_SEEDS` says how many are tried; a failure prints its seed, and
//! `RINGSOCK_SEED` replays that one alone.

mod honest;
mod hostile;

use std::ops::Range;

use self::honest::{Honest, Weather};
use self::hostile::Hostile;
use super::client::Client;
use super::dice::Dice;
use super::world::World;
use crate::engine::{AdmissionPolicy, Limits};
use crate::reactor::sim::Faults;

/// Seeds tried when nobody says how many: some twenty seconds.
const SEEDS: u64 = 2_000;

/// Steps in which honest clients must have come to an end once everyone behaves.
const CALM_STEPS_MAX: usize = 30_000;

/// What a read may leave behind: see `SCRATCH_BYTES`.
const READ_BYTES: usize = 256 * 1024;
/// What is gathered before it is given to the socket: see `REPLY_BYTES_MAX`.
const REPLY_BYTES: usize = 64 * 1024;
/// The longest message, or answer, with its head.
const MESSAGE_BYTES: usize = 66_000;
/// Pongs, pings and a Close frame.
const CONTROL_BYTES: usize = 20 * 127;

/// Of clients that share addresses, and of a proxy that speaks for itself.
const PROXY_HEADERS: [&[u8]; 4] = [
    b"PROXY TCP4 192.0.2.1 127.0.0.1 50000 443\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 50000 443\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x01\x02\x03\x04",
    b"PROXY UNKNOWN\r\n",
];

#[test]
fn a_storm_that_costs_only_time_loses_no_byte() {
    for seed in seeds() {
        Storm::new(seed, true).run();
    }
}

#[test]
fn a_storm_that_breaks_connections_breaks_nothing_else() {
    for seed in seeds() {
        Storm::new(seed, false).run();
    }
}

fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|digits| digits.parse().expect("a number"));
    match number("RINGSOCK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGSOCK_SEEDS").unwrap_or(SEEDS),
    }
}

struct Storm {
    seed: u64,
    dice: Dice,
    world: World,
    /// Nothing breaks, and nobody is sent away.
    fair: bool,
    /// Everyone comes through a proxy, which says who they are.
    proxied: bool,
    honest: Vec<Honest>,
    hostile: Vec<Hostile>,
    outbox_max: usize,
}

impl Storm {
    fn new(seed: u64, fair: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut limits = Limits { outbox_bytes_max: dice.choose(&[500, 20_000, 256 * 1024]), ..Limits::default() };
        if !fair {
            limits.connections_max = dice.choose(&[3, usize::MAX]);
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
        }
        let outbox_max = limits.outbox_bytes_max.max(REPLY_BYTES) + MESSAGE_BYTES + CONTROL_BYTES;
        let mut faults = if fair { Faults::harmless() } else { Faults::chaos() };
        if dice.once_in(2) {
            // A report that nothing brought about makes good a wake-up that was lost.
            faults.spurious_readable = 0;
        }
        let mut policy = AdmissionPolicy::default();
        let proxied = dice.once_in(3);
        if proxied {
            policy.trusted_proxies = "127.0.0.0/8".parse().expect("a network");
            policy.proxy_protocol = true;
        }
        let world = World::guarded(policy, limits, seed, faults);
        Self { seed, dice, world, fair, proxied, honest: Vec::new(), hostile: Vec::new(), outbox_max }
    }

    fn run(mut self) {
        if !self.fair && self.dice.once_in(4) {
            self.world.network.descriptor_limit(3 + self.dice.below(4));
        }
        for _ in 0..30 + self.dice.below(100) {
            self.arrivals();
            self.step(false);
        }
        let drains = self.dice.once_in(2);
        if drains {
            self.world.core.drain();
        }
        let mut steps = 0;
        while !self.honest.iter().all(Honest::is_done) {
            self.step(true);
            steps += 1;
            assert!(steps < CALM_STEPS_MAX, "an honest client waits for ever");
        }
        self.world.log.gate.open();
        self.world.network.descriptor_limit(usize::MAX);
        self.world.end();
        assert!(!drains || self.world.core.is_done());
    }

    fn arrivals(&mut self) {
        if self.dice.once_in(8) && self.honest.len() < 6 {
            let client = self.arrival();
            if self.proxied {
                client.write(self.dice.choose(&PROXY_HEADERS));
            }
            let longest = self.dice.choose(&[1_000, 20_000]);
            self.honest.push(Honest::new(client, &mut self.dice, longest));
        }
        if self.dice.once_in(6) && self.hostile.len() < 12 {
            let client = self.arrival();
            if self.proxied && !self.dice.once_in(4) {
                client.write(self.dice.choose(&PROXY_HEADERS));
            }
            self.hostile.push(Hostile::new(client, &mut self.dice));
        }
    }

    /// A client of its own address, or one of those few that limits for addresses are met by.
    fn arrival(&mut self) -> Client {
        match self.dice.below(4) {
            0 => self.world.connect_from("127.1.0.1"),
            1 => self.world.connect_from("127.1.0.2"),
            _ => self.world.connect(),
        }
    }

    fn step(&mut self, calm: bool) {
        let weather = Weather { fair: self.fair, calm, draining: self.world.core.is_draining() };
        self.honest.iter_mut().for_each(|client| client.act(&mut self.dice, weather));
        if !calm {
            self.hostile.iter_mut().for_each(|client| client.act(&mut self.dice));
        }
        if self.dice.once_in(10) {
            self.resume_someone();
        }
        if self.dice.once_in(200) {
            self.world.log.gate.open();
        }
        for _ in 0..=self.dice.below(3) {
            self.world.turn();
            self.check();
        }
        // In fair weather nobody has to be waited for, and a ping would make good a wake-up that was lost.
        if !(calm && self.fair) {
            self.pass_time();
        }
    }

    fn pass_time(&mut self) {
        self.world.skip(self.dice.below(15) as u64);
        if self.dice.once_in(60) && !self.honest.iter().any(Honest::is_asking) {
            // Honest clients never keep the server waiting for long.
            self.honest.iter().for_each(Honest::resume_reading);
            self.world.settle();
            self.world.skip(self.dice.below(4_000) as u64);
        }
    }

    fn resume_someone(&mut self) {
        let opened = self.world.log.opened.borrow().clone();
        if !opened.is_empty() {
            self.world.resume(self.dice.choose(&opened));
        }
    }

    fn check(&mut self) {
        self.world.check();
        for index in 0..self.world.core.sessions.capacity() {
            let (outbox, backlog) = self.world.bytes_in_slot(index);
            assert!(outbox <= self.outbox_max, "{outbox} bytes wait to be sent to one session");
            assert!(backlog <= READ_BYTES, "{backlog} bytes of one session were received and not consumed");
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kind = if self.fair { "costs_only_time" } else { "breaks_connections" };
            eprintln!("To replay: RINGSOCK_SEED={} cargo test --lib {kind}", self.seed);
        }
    }
}
