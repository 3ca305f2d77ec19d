//! Row 51: a log that nobody reads, while sessions send messages, and at the end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::attacker::Peer;
use crate::drain::{goodbye, second_sigterm};
use crate::honest::Honest;
use crate::server::Server;
use crate::sink::{Fate, Sink};
use crate::{figure, in_time, on_each_reactor, patience, scaled};

const SESSIONS: usize = 5_000;

/// Returns the time in which the server has something to log: 10 s at full scale.
fn lines_for() -> Duration {
    Duration::from_millis(scaled(10_000) as u64).max(Duration::from_secs(2))
}

fn sink(reactor: &str, fate: Fate) -> Sink {
    Sink::new(fate, PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("abuse-{reactor}-{fate:?}.log")))
}

#[test]
fn row_51_a_log_that_nobody_takes_delays_no_session_and_no_goodbye() {
    on_each_reactor(|reactor| {
        let mut late = 0;
        for fate in [Fate::Gone, Fate::Full, Fate::Unread, Fate::Slow] {
            let mut sink = sink(reactor, fate);
            let mut server = Server::start_with_log(reactor, sink.stdio());
            let mut honest = Honest::new(&server);
            let quiet = honest.quiet();
            sink.spoil(server.pid());
            let ((), served) = honest.during(|| server.log_that_it_cannot_accept(lines_for()));
            drop(honest);
            let dropped = || server.counters().remove("log_lines_dropped").unwrap();
            // In a pipe that is read too slowly, lines wait.
            let may_wait = matches!(fate, Fate::Unread | Fate::Slow);
            let end = Instant::now() + patience();
            while dropped() == 0 && !may_wait && Instant::now() < end {
                server.log_that_it_cannot_accept(Duration::from_millis(200));
            }
            let dropped = dropped();
            let sessions = scaled(SESSIONS);
            let mut peers = Peer::open_many(server.address, sessions);
            server.signal("TERM");
            let begun = Instant::now();
            let told = peers.iter_mut().map(goodbye).filter(|(was_told, _)| *was_told).count();
            let (status, _) = server.await_end();
            let took = begun.elapsed();
            figure(
                51,
                format!(
                    "{fate:?}: p99 {:.2?} → {:.2?}, {dropped} lines dropped; SIGTERM: {told} of {sessions} told 1001, \
                     {status} after {took:.2?}",
                    quiet.p99, served.p99
                ),
                "2 × quiet, or 10 ms; all, exit 0 within 11 s",
            );
            assert_eq!((told, status.code()), (sessions, Some(0)));
            assert!(dropped > 0 || may_wait);
            late += usize::from(served.p99 > quiet.p99_bound() || took > Duration::from_secs(11));
        }
        in_time(late == 0);
    });
}

#[test]
fn row_51_a_second_sigterm_ends_the_process_at_once_though_nobody_takes_its_log() {
    on_each_reactor(|reactor| {
        let mut sink = sink(reactor, Fate::Unread);
        let mut server = Server::start_with_log(reactor, sink.stdio());
        sink.spoil(server.pid());
        let took = second_sigterm(51, &mut server);
        in_time(took <= Duration::from_secs(1));
    });
}
