//! Tests of the facts that a backend is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::{Backend, Mode};
use crate::program::client::Client;
use crate::program::run::PATIENCE;
use crate::server::Server;

fn start(backend: &Backend, more: &str) -> Server {
    Server::start(&format!("facts = \"{}\"\n{more}", backend.url("/facts")))
}

/// Returns the facts of all calls so far, in the order in which they came.
fn told(backend: &Backend) -> Vec<Value> {
    let calls = backend.calls();
    calls.iter().flat_map(|call| call.json()["facts"].as_array().unwrap().clone()).collect()
}

/// Waits until there are so many facts.
fn wait_for(backend: &Backend, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let facts = told(backend);
        if facts.len() >= count {
            return facts;
        }
        assert!(begun.elapsed() < PATIENCE, "{facts:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn without(fact: &Value, names: &[&str]) -> Value {
    let mut fact = fact.clone();
    names.iter().for_each(|name| drop(fact.as_object_mut().unwrap().remove(*name)));
    fact
}

#[tokio::test]
async fn a_session_is_told_from_its_first_to_its_last_moment() {
    let backend = Backend::start(Mode::Status(204));
    let server = start(&backend, "");
    let client = server.open("/topics/a%20b").await;
    wait_for(&backend, 3);
    let other = server.open("/topics/a%20b").await;
    wait_for(&backend, 5);
    client.close().await;
    wait_for(&backend, 7);
    drop(other);
    let facts = wait_for(&backend, 10);
    let events: Vec<&str> = facts.iter().map(|fact| fact["event"].as_str().unwrap()).collect();
    assert_eq!(
        events,
        [
            "connected",
            "subscribed",
            "occupied",
            "connected",
            "subscribed",
            "unsubscribed",
            "disconnected",
            "unsubscribed",
            "vacated",
            "disconnected"
        ]
    );
    assert!(facts.iter().zip(1..).all(|(fact, sequence)| fact["sequence"] == sequence));
    let session = facts[0]["session"].as_str().unwrap();
    let always = ["sequence", "time_ms", "duration_ms"];
    assert_eq!(
        without(&facts[0], &always),
        json!({ "event": "connected", "session": session, "address": "127.0.0.1" })
    );
    assert_eq!(without(&facts[2], &always), json!({ "event": "occupied", "topic": "a b" }));
    assert_eq!(
        without(&facts[6], &always),
        json!({ "event": "disconnected", "session": session, "address": "127.0.0.1", "reason": "closed" })
    );
    assert_eq!(facts[9]["reason"], "lost");
    assert!(facts[6]["duration_ms"].is_u64());
    let calls = backend.calls();
    assert!(calls.iter().all(|call| call.json()["epoch"] == calls[0].json()["epoch"]));
    assert!(calls.iter().all(|call| call.headers["webhook-signature"].starts_with("v1,")));
}

#[tokio::test]
async fn the_subject_that_a_backend_gives_is_in_the_facts() {
    let backend = Backend::start(Mode::Answer(r#"{"allow":true,"subject":"ann"}"#.to_owned()));
    let more = format!("connect = \"{}\"\nfact-kinds = [\"connected\"]\n", backend.url("/connect"));
    let server = start(&backend, &more);
    let _client = server.open("/echo").await;
    let call = backend.wait_for_calls("/facts", 1)[0].json();
    assert_eq!((&call["facts"][0]["subject"], &call["facts"][0]["event"]), (&json!("ann"), &json!("connected")));
}

#[tokio::test]
async fn over_an_outage_the_queue_is_bounded_and_each_loss_is_counted() {
    let backend = Backend::start(Mode::Status(500));
    let server = start(&backend, "fact-queue = 50\nfact-kinds = [\"connected\", \"disconnected\"]\n");
    for round in 0..80 {
        if round == 40 {
            backend.down();
        }
        server.open("/echo").await.close().await;
    }
    server.wait_for("ringsock_facts_total", 160);
    assert_eq!(server.metric("ringsock_facts_lost_total{reason=\"full\"}"), 110);
    backend.forget();
    backend.set(Mode::Status(200));
    backend.up();
    server.wait_for("ringsock_facts_delivered_total", 50);
    // Those that happen afterwards are told as well.
    server.open("/echo").await.close().await;
    let facts = wait_for(&backend, 52);
    let sequences: Vec<u64> = facts.iter().map(|fact| fact["sequence"].as_u64().unwrap()).collect();
    let distinct: BTreeSet<u64> = sequences.iter().copied().collect();
    let in_order: Vec<u64> = distinct.iter().copied().collect();
    let mut firsts = sequences.clone();
    firsts.dedup();
    assert!(firsts.len() >= in_order.len() && distinct.contains(&162));
    assert_eq!(distinct, (1..=50).chain([161, 162]).collect(), "the gap in the numbers is what was counted");
}

#[tokio::test]
async fn while_sessions_come_and_go_and_the_backend_fails_in_every_way_each_missing_fact_is_counted() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 80;
    let backend = Backend::start(Mode::Status(204));
    let more = "fact-queue = 120\ntimeout-ms = 100\nfact-kinds = [\"connected\", \"disconnected\"]\n";
    let server = start(&backend, more);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    // It leaves without a word.
                    let _ = Client::open(&server.address, "/echo");
                }
            });
        }
        for mode in [Mode::Status(500), Mode::Hang, Mode::Slam, Mode::Status(204), Mode::Endless, Mode::Status(404)] {
            std::thread::sleep(Duration::from_millis(80));
            backend.set(mode);
        }
        backend.down();
        std::thread::sleep(Duration::from_millis(80));
        backend.set(Mode::Status(204));
        backend.up();
    });
    let all = (2 * CLIENTS * ROUNDS) as u64;
    server.wait_for("ringsock_facts_total", all);
    let lost = server.metric("ringsock_facts_lost_total{reason=\"full\"}");
    server.wait_for("ringsock_facts_delivered_total", all - lost);
    assert_eq!(server.metric("ringsock_facts_waiting"), 0);
    // Each comes at least once, and for the first time in the order of the numbers.
    let (mut seen, mut highest) = (BTreeSet::new(), 0);
    for fact in told(&backend) {
        let sequence = fact["sequence"].as_u64().unwrap();
        if seen.insert(sequence) {
            assert!(sequence > highest, "{sequence} comes after {highest}");
            highest = sequence;
        }
    }
    assert_eq!(all - seen.len() as u64, lost, "of {all}");
}

#[tokio::test]
async fn a_batch_that_is_tried_again_has_its_id_and_its_facts() {
    let backend = Backend::start(Mode::Status(503));
    let server = start(&backend, "fact-kinds = [\"connected\"]\n");
    let _client = server.open("/echo").await;
    let calls = backend.wait_for_calls("/facts", 4);
    assert!(calls.iter().all(|call| call.headers["webhook-id"] == calls[0].headers["webhook-id"]));
    assert!(calls.iter().all(|call| call.body == calls[0].body));
    let pauses: Vec<Duration> = calls.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    // 100, 200 and 400 ms, less the jitter of up to a half.
    for (pause, at_least_ms) in pauses.iter().zip([50, 100, 200]) {
        assert!(*pause >= Duration::from_millis(at_least_ms), "{pauses:?}");
    }
    backend.set(Mode::Status(204));
    server.wait_for("ringsock_facts_delivered_total", 1);
    assert!(server.log().contains("Facts are delivered again."));
}

#[tokio::test]
async fn a_server_that_drains_tells_the_last_facts_and_counts_those_that_it_could_not() {
    let backend = Backend::start(Mode::Status(204));
    let mut server =
        start(&backend, "fact-kinds = [\"disconnected\"]\n[drain]\ndelay-ms = 0\nspread-ms = 0\ntimeout-ms = 1000\n");
    let clients = [server.open("/echo").await, server.open("/echo").await];
    server.signal(libc::SIGTERM);
    for client in clients {
        client.close().await;
    }
    assert!(server.end().success());
    assert_eq!(told(&backend).len(), 2);
    assert!(!server.log().contains("are lost"));

    let mut server =
        start(&backend, "fact-kinds = [\"connected\"]\n[drain]\ndelay-ms = 0\nspread-ms = 0\ntimeout-ms = 1000\n");
    backend.down();
    let client = server.open("/echo").await;
    server.signal(libc::SIGTERM);
    client.close().await;
    assert!(server.end().success());
    assert!(server.log().contains("before the server ended are lost: 1."), "{}", server.log());
}

#[tokio::test]
async fn facts_of_many_sessions_are_whole_and_in_order() {
    let backend = Backend::start(Mode::Status(204));
    let server = start(&backend, "");
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let client = server.open("/topics/crowd").await;
        tasks.push(client);
    }
    for client in tasks {
        client.close().await;
    }
    let facts = wait_for(&backend, 82);
    let sequences: Vec<u64> = facts.iter().map(|fact| fact["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=82).collect::<Vec<_>>());
    let mut events: BTreeMap<&str, u64> = BTreeMap::new();
    facts.iter().for_each(|fact| *events.entry(fact["event"].as_str().unwrap()).or_default() += 1);
    let expected = [
        ("connected", 20),
        ("disconnected", 20),
        ("occupied", 1),
        ("subscribed", 20),
        ("unsubscribed", 20),
        ("vacated", 1),
    ];
    assert_eq!(events, expected.into());
}
