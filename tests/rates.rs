//! Tests of rates as clients of the program meet them, on each reactor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::time::{Duration, Instant};

use program::client::Client;
use program::{between, on_each_reactor, serve};

/// Messages per second, and the burst, which is that of a second.
const RATE: usize = 50;

/// Messages that a client sends at once.
const MESSAGES: usize = 200;

/// How much later than its time a message may come on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

#[test]
fn a_flood_comes_out_at_the_rate_complete_and_in_order() {
    on_each_reactor(|reactor| {
        let rate = format!("rates.session-messages-per-second={RATE}");
        let flags = ["--admin-listen", "none", "--reactor", reactor, "--set", &rate, "--set", "rates.burst-ms=1000"];
        let (_process, banner) = serve(&flags);
        let address = between(&banner, "ready on ws://", "/");
        let (mut flooder, mut other) = (Client::open(&address, "/topics/a"), Client::open(&address, "/echo"));
        let begun = Instant::now();
        (0..MESSAGES).for_each(|number| flooder.say(&number.to_string()));
        for number in 0..MESSAGES {
            let frame = flooder.next().unwrap();
            assert_eq!(frame, (0x81, number.to_string().into_bytes()));
            let elapsed = begun.elapsed();
            let allowed = RATE as f64 * elapsed.as_secs_f64() + RATE as f64 + 1.0;
            assert!(number as f64 + 1.0 <= allowed, "message {number} came after {elapsed:?}");
            let due = Duration::from_secs_f64(number.saturating_sub(RATE) as f64 / RATE as f64);
            assert!(elapsed <= due + SLACK, "message {number} came after {elapsed:?}");
        }
        // Echoes know no rate.
        (0..MESSAGES).for_each(|number| other.echo(&number.to_string()));
    });
}

#[test]
fn a_flood_that_goes_on_is_closed_with_1008_after_the_patience() {
    let flags = [
        ["--admin-listen", "none"],
        ["--set", "rates.session-messages-per-second=10"],
        ["--set", "rates.burst-ms=1000"],
        ["--set", "rates.patience-ms=1000"],
    ];
    let (_process, banner) = serve(&flags.concat());
    let address = between(&banner, "ready on ws://", "/");
    let mut flooder = Client::open(&address, "/topics/a");
    let begun = Instant::now();
    (0..MESSAGES).for_each(|number| flooder.say(&number.to_string()));
    let closed = std::iter::from_fn(|| flooder.next().ok()).find(|(first, _)| *first == 0x88);
    let (_, payload) = closed.expect("a Close frame");
    assert_eq!(payload[..2], 1008u16.to_be_bytes());
    // A timer is accurate to 50 ms.
    assert!((Duration::from_millis(900)..SLACK).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn subscriptions_of_one_address_above_its_rate_are_refused_with_1013() {
    let flags = [
        ["--admin-listen", "none"],
        ["--set", "rates.address-subscriptions-per-second=1"],
        ["--set", "rates.burst-ms=3000"],
    ];
    let (_process, banner) = serve(&flags.concat());
    let address = between(&banner, "ready on ws://", "/");
    let mut clients: Vec<Client> = (0..8).map(|_| Client::open(&address, "/topics/a")).collect();
    let last = clients.last_mut().unwrap();
    let (first, payload) = last.next().unwrap();
    assert_eq!((first, &payload[..2]), (0x88, &1013u16.to_be_bytes()[..]));
    // A message of another client reaches those who have subscribed.
    clients[0].echo("hello");
}
