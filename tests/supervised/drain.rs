//! Tests of a drain as the operator configures it.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Heard};
use crate::{SAME_EVENT, Server, on_each_reactor};

#[test]
fn during_the_delay_it_serves_and_is_not_ready_and_a_second_signal_ends_it() {
    on_each_reactor(|reactor| {
        let mut server = Server::start(reactor, &["--set", "drain.delay-ms=600000"]);
        let mut early = Client::open(&server.address);
        let mut idle = Client::connect(&server.address);
        assert!(idle.get("/health").unwrap().contains("Connection: keep-alive"));
        server.signal(libc::SIGTERM);
        while Client::status(&server.address, "/readyz") == 200 {
            thread::sleep(Duration::from_millis(5));
        }
        let mut late = Client::open(&server.address);
        let head = idle.get("/health").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Connection: close"), "{head}");
        assert_eq!(Client::status(&server.address, "/readyz"), 503);
        for client in [&mut early, &mut late] {
            client.say("still here");
            assert_eq!(client.hear(), Heard::Text("still here".to_owned()));
        }
        thread::sleep(SAME_EVENT * 2);
        server.signal(libc::SIGTERM);
        assert_eq!(server.ended().code(), Some(1));
    });
}

#[test]
fn after_the_delay_everyone_is_told() {
    on_each_reactor(|reactor| {
        let mut server = Server::start(reactor, &["--set", "drain.delay-ms=1000"]);
        let mut clients: Vec<_> = (0..20).map(|_| Client::open(&server.address)).collect();
        let begun = Instant::now();
        server.signal(libc::SIGTERM);
        clients.iter_mut().for_each(Client::is_told);
        assert!(begun.elapsed() >= Duration::from_millis(950), "{:?}", begun.elapsed());
        assert!(server.ended().success());
    });
}

#[test]
fn goodbyes_come_one_after_the_other_while_they_are_spread() {
    const SESSIONS: u32 = 40;
    const SPREAD: Duration = Duration::from_millis(1_000);
    on_each_reactor(|reactor| {
        let mut server = Server::start(reactor, &["--set", "drain.spread-ms=1000"]);
        let clients: Vec<_> = (0..SESSIONS).map(|_| Client::open(&server.address)).collect();
        let begun = Instant::now();
        server.signal(libc::SIGTERM);
        let listening = clients.into_iter().map(|mut client| {
            thread::spawn(move || {
                client.is_told();
                begun.elapsed()
            })
        });
        let mut times: Vec<_> = listening.collect::<Vec<_>>().into_iter().map(|it| it.join().unwrap()).collect();
        times.sort_unstable();
        // No session is closed before its turn. Delays are due to the machine; the simulation shows that they are not
        // ours.
        for (number, time) in times.iter().enumerate() {
            // Two cores close their own sessions, and each begins with a share.
            let earliest = SPREAD * (number as u32).saturating_sub(8) / SESSIONS;
            assert!(*time >= earliest, "{number} after {time:?}");
        }
        assert!(server.ended().success());
    });
}

#[test]
fn a_core_that_has_drained_is_not_taken_for_stalled_while_another_drains_on() {
    on_each_reactor(|reactor| {
        let flags = [
            "--set",
            "drain.timeout-ms=5500",
            "--set",
            "timeouts.close-timeout-ms=60000",
            "--set",
            "cores.stall-timeout-ms=3000",
        ];
        let mut server = Server::start(reactor, &flags);
        // It never answers, so its core takes the whole time, and the other one none.
        let mut deaf = Client::open(&server.address);
        let begun = Instant::now();
        server.signal(libc::SIGTERM);
        assert_eq!(deaf.hear(), Heard::Close(1001));
        let status = server.ended();
        assert!(status.success(), "{status}: {}", server.log.iter().collect::<String>());
        assert!(begun.elapsed() >= Duration::from_millis(5_400), "{:?}", begun.elapsed());
    });
}
