//! Rows 21 and 22: handlers that panic, hang, and kill their core.

use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::{figure, in_time, on_each_reactor, patience, scaled};

#[test]
fn row_21_a_panic_costs_its_own_session_and_is_counted() {
    const HONEST: usize = 1_000;
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        let mut honest = Peer::open_many(server.address, HONEST);
        let panics = scaled(10_000);
        let mut left = panics;
        while left > 0 {
            let now = left.min(250);
            left -= now;
            let mut victims = Peer::open_many(server.address, now);
            for victim in &mut victims {
                victim.say("before");
                victim.say("panic");
            }
            for victim in &mut victims {
                assert_eq!(victim.next(), Next::Frame(0x81, b"before".to_vec()));
                assert_eq!(victim.read_close(), Ok(Some(1011)));
            }
        }
        let alive = honest.iter_mut().filter_map(|peer| {
            peer.say("alive?");
            (peer.next() == Next::Frame(0x81, b"alive?".to_vec())).then_some(())
        });
        let dropped = HONEST - alive.count();
        let counted: usize = honest[0].ask("count handler_panics").parse().unwrap();
        figure(
            21,
            format!("{panics} panics among {HONEST} sessions: {dropped} honest ones dropped, {counted} counted"),
            format!("0, {panics}"),
        );
        assert_eq!((dropped, counted), (0, panics));
    });
}

#[test]
fn row_22_a_core_that_hangs_makes_the_server_not_ready_until_it_goes_on() {
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        let mut inside = Peer::open(server.address);
        let hanging = inside.ask("core");
        // The requests use a connection of the other core, so that each is answered.
        let mut outside = until_some(|| {
            let mut peer = Peer::connect(server.address);
            peer.write(b"GET /core HTTP/1.1\r\nHost: localhost\r\n\r\n");
            (peer.read_body().as_ref() != Some(&hanging)).then_some(peer)
        });
        let mut other = until_some(|| {
            let mut peer = Peer::open(server.address);
            (peer.ask("core") != hanging).then_some(peer)
        });
        await_readiness(&mut outside, 200);
        let begun = Instant::now();
        inside.say("hang");
        let unready = await_readiness(&mut outside, 503);
        // At full scale it hangs long enough to count as hung for a while.
        thread::sleep(Duration::from_millis(scaled(3_000) as u64));
        other.say("continue");
        assert_eq!(inside.ask("back?"), "back?");
        let hung = begun.elapsed();
        let ready = await_readiness(&mut outside, 200);
        figure(
            22,
            format!("a core hangs for {hung:.1?}: not ready after {unready:.2?}, ready again {ready:.2?} after it"),
            "2 s, 1 s",
        );
        // A core counts as stalled after 1.5 s and is checked every 250 ms.
        in_time(unready <= Duration::from_secs(2));
        in_time(ready <= Duration::from_secs(1));
    });
}

/// Tries until there is a result: the kernel chooses the core of a connection at random.
fn until_some<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    std::iter::repeat_with(&mut attempt).flatten().next().unwrap()
}

/// Sends requests over this connection until this status comes. Returns how long that took.
fn await_readiness(peer: &mut Peer, status: u16) -> Duration {
    let begun = Instant::now();
    loop {
        peer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = peer.read_status();
        if answer == Some(status) {
            return begun.elapsed();
        }
        assert!(answer.is_some() && begun.elapsed() < patience(), "{answer:?}, but never {status}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn row_22_a_core_that_hangs_for_good_ends_the_process() {
    on_each_reactor(|reactor| {
        let mut server = Server::misbehaving(reactor, 3_000, None);
        let begun = Instant::now();
        let mut inside = Peer::open(server.address);
        inside.say("stall 600000");
        let (status, _) = server.await_end();
        let (took, log) = (begun.elapsed(), server.log());
        figure(22, format!("a core hangs for good: {status} after {took:.2?}: {log}"), "3 s + 1 s, not 0");
        assert_eq!(status.code(), Some(1));
        assert!(log.contains("has made no turn for") && log.lines().count() == 1, "{log}");
        assert!(took >= Duration::from_secs(3));
        in_time(took <= Duration::from_secs(4));
    });
}

#[test]
fn row_22_a_core_that_dies_ends_the_process() {
    on_each_reactor(|reactor| {
        let mut server = Server::misbehaving(reactor, 0, None);
        let mut inside = Peer::open(server.address);
        inside.say("die");
        let (status, took) = server.await_end();
        let log = server.log();
        figure(22, format!("a core dies: {status} after {took:.2?}: {log}"), "2 s, not 0");
        assert_eq!(status.code(), Some(1));
        assert!(log.contains("died: it panicked: a task of the handler's own"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        in_time(took <= Duration::from_secs(2));
    });
}
