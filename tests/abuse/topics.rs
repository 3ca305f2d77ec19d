//! Rows 16, 30, 40 and 41: topics with many subscribers, with slow ones, with many publishers, and very many topics.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Next, Peer};
use crate::audience::Audience;
use crate::honest::Honest;
use crate::server::{STALE, Server};
use crate::wire::{BINARY, FIN, TEXT, masked};
use crate::{Random, figure, in_time, is_full_scale, on_each_reactor, p99, patience, scaled};

const PAYLOAD_BYTES: usize = 1024;

/// Messages in one batch: a subscriber that is about to read has room for more.
const AT_ONCE: usize = 32;

/// The time without input after which nothing more is expected, once everything is accounted for.
const SILENCE: Duration = Duration::from_millis(700);

/// Readers whose times are measured, spread over all.
const TIMED: usize = 50;

/// Returns a message that repeats its number.
fn message(number: usize) -> Vec<u8> {
    (number as u64).to_be_bytes().repeat(PAYLOAD_BYTES / 8)
}

/// Subscribers of one topic that read everything, and the publisher.
struct Readers {
    audience: Audience,
    publisher: Peer,
    published: usize,
    /// The number of messages that each has received.
    heard: Vec<usize>,
}

impl Readers {
    fn new(server: &Server, count: usize) -> Self {
        let mut audience = Audience::new();
        for _ in 0..count {
            audience.add(Peer::open_at(server.address, "/topics/t"));
        }
        // The publisher is not subscribed, so that nothing waits for it.
        let mut publisher = Peer::open_at(server.address, "/topics/t?echo=false");
        audience.await_subscriptions(count, |_, probe| publisher.write(&masked(FIN | BINARY, probe)));
        Self { audience, publisher, published: 0, heard: vec![0; count] }
    }

    /// Publishes so many messages, some at a time. Returns how long they took to each of some readers. Every subscriber
    /// receives all of them, in order.
    fn publish(&mut self, count: usize) -> Vec<Duration> {
        let mut times = Vec::new();
        let every = (self.audience.len() / TIMED).max(1);
        for first in (self.published..self.published + count).step_by(AT_ONCE) {
            let numbers = first..(first + AT_ONCE).min(self.published + count);
            let expected: Vec<_> = numbers.clone().map(message).collect();
            let frames: Vec<u8> = expected.iter().flat_map(|payload| masked(FIN | BINARY, payload)).collect();
            let sent = Instant::now();
            self.publisher.write(&frames);
            let (heard, mut missing) = (&mut self.heard, self.audience.len());
            while missing > 0 {
                let came = self.audience.hear(patience(), |reader, first_byte, payload| {
                    assert_eq!(first_byte, 0x82, "reader {reader} was sent something else");
                    let number = heard[reader];
                    assert!(payload == expected[number - first], "reader {reader} missed {number}");
                    heard[reader] += 1;
                    if heard[reader] == numbers.end {
                        missing -= 1;
                        if reader % every == 0 {
                            times.push(sent.elapsed());
                        }
                    }
                });
                assert!(came, "{missing} readers hear nothing more");
            }
        }
        self.published += count;
        times
    }
}

/// Makes slow subscribers read at last, until everything is accounted for. Returns the numbers of each one's messages,
/// and how it ended. `due` returns how many messages all of them together must find, as far as is known by then.
fn read_at_last(peers: &mut [Peer], due: impl Fn() -> usize) -> Vec<(Vec<usize>, Next)> {
    let (found, ended, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let read = |peer: &mut Peer| {
        peer.wait_at_most(SILENCE);
        let mut numbers = Vec::new();
        loop {
            match peer.next() {
                Next::Frame(0x82, payload) => {
                    let number = u64::from_be_bytes(*payload.first_chunk().unwrap()) as usize;
                    assert!(payload == message(number));
                    numbers.push(number);
                    found.fetch_add(1, Ordering::Relaxed);
                }
                Next::Frame(0x89, _) => {}
                Next::Silence if !is_over.load(Ordering::Relaxed) => {}
                end => {
                    ended.fetch_add(1, Ordering::Relaxed);
                    return (numbers, end);
                }
            }
        }
    };
    let count = peers.len();
    thread::scope(|scope| {
        let reading: Vec<_> = peers.iter_mut().map(|peer| scope.spawn(|| read(peer))).collect();
        let end = Instant::now() + patience();
        while ended.load(Ordering::Relaxed) < count && found.load(Ordering::Relaxed) != due() && Instant::now() < end {
            thread::sleep(STALE);
        }
        is_over.store(true, Ordering::Relaxed);
        reading.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Returns the number of dropped messages, for any reason.
fn dropped(server: &Server) -> usize {
    let counters = server.counters();
    let dropped = counters.iter().filter(|(name, _)| name.starts_with("messages_dropped"));
    dropped.map(|(_, count)| *count as usize).sum()
}

fn counted(server: &Server, name: &str) -> usize {
    server.counters().get(name).copied().unwrap_or(0) as usize
}

/// Measures a tenth of subscribers that never read: their effect on the others, and their end, under one policy.
fn slow_subscribers(reactor: &str, policy: &str, reason: &str) {
    let (readers, silent) = (scaled(1_800), scaled(200));
    let messages = scaled(100_000);
    // Only the policy ends a session, and a subscriber that reads at last finds how it ended.
    let patient = [
        "--dead-peer-timeout-ms",
        "0",
        "--set",
        "timeouts.send-timeout-ms=3600000",
        "--set",
        "timeouts.close-timeout-ms=3600000",
    ];
    let server = Server::start(reactor, &[&["--set", &format!("topics.overflow={policy}")][..], &patient].concat());
    let mut readers = Readers::new(&server, readers);
    // Three rounds, because one has too few samples of the slowest hundredth.
    let quiet = p99(readers.publish(messages / 20));
    // Each core has announced the topic to the other already.
    let open = |_| Peer::open_by(Peer::connect_narrow(server.address), "/topics/t");
    let mut silent: Vec<_> = (0..silent).map(open).collect();
    let (before, first) = (server.memory(), readers.published);
    server.forget_peak();
    let with_slow = p99(readers.publish(messages));
    let grown = server.peak().saturating_sub(before);
    let last = readers.published - 1;
    let dropped = || counted(&server, &format!("messages_dropped{{reason=\"{reason}\"}}"));
    let name = format!("{policy}: {} readers got all {messages} in order", readers.audience.len());
    let mut missing = 0;
    // Closed subscribers find fewer messages, and end.
    let all = silent.len() * messages;
    let ends = read_at_last(&mut silent, || if policy == "close" { all } else { all.saturating_sub(dropped()) });
    let dropped = dropped();
    for (numbers, end) in ends {
        assert!(numbers.is_sorted_by(|one, other| one < other) && numbers.first() >= Some(&first));
        missing += messages - numbers.len();
        match policy {
            "close" => assert!(matches!(&end, Next::Frame(0x88, payload) if payload[..2] == 1013u16.to_be_bytes())),
            "drop-newest" => assert_eq!(numbers.first(), Some(&first)),
            _ => assert_eq!(numbers.last(), Some(&last)),
        }
        assert!(policy == "close" || end == Next::Silence, "{end:?}");
    }
    let count = silent.len();
    let bound = (count * 256 * 1024 + (32 << 20)) as u64;
    let tally = match policy {
        "close" => format!("all of {count} slow ones closed with 1013"),
        _ => format!("{count} slow ones missed {missing}, {dropped} counted"),
    };
    figure(
        16,
        format!(
            "{name}, {tally}, peak memory + {:.1} MiB, p99 {quiet:.2?} → {with_slow:.2?}",
            grown as f64 / f64::from(1 << 20)
        ),
        format!("all, {} MiB, 2 × quiet or 10 ms", bound >> 20),
    );
    assert!(policy == "close" || missing == dropped);
    assert!(grown <= bound);
    in_time(with_slow <= (quiet * 2).max(crate::honest::FLOOR));
}

#[test]
fn row_16_subscribers_that_never_read_cost_the_others_nothing_under_any_policy() {
    on_each_reactor(|reactor| {
        for (policy, reason) in [
            ("close", "topic_close"),
            ("drop-newest", "topic_newest"),
            ("drop-oldest", "topic_oldest"),
            ("latest", "topic_latest"),
        ] {
            slow_subscribers(reactor, policy, reason);
        }
    });
}

/// Returns a publisher's message: its name, the message's number, and bytes that only these two determine.
fn said(publisher: usize, number: usize) -> Vec<u8> {
    let mut random = Random((publisher * 1_000_003 + number + 1) as u64);
    let mut payload = Vec::from((publisher as u32).to_be_bytes());
    payload.extend((number as u32).to_be_bytes());
    payload.extend((0..8).flat_map(|_| random.number().to_be_bytes()));
    payload
}

const PUBLISHERS: usize = 100;
const TOPICS: usize = 10;
/// The number of messages that each has sent and not received itself.
const WINDOW: usize = 50;

#[test]
fn row_30_what_many_publish_on_two_cores_arrives_once_and_in_order() {
    let each = scaled(1_000_000) / PUBLISHERS;
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let mut audience = Audience::new();
        for publisher in 0..PUBLISHERS {
            audience.add(Peer::open_at(server.address, &format!("/topics/topic-{}", publisher % TOPICS)));
        }
        audience.await_subscriptions(PUBLISHERS * (PUBLISHERS / TOPICS), |audience, probe| {
            (0..PUBLISHERS).for_each(|publisher| audience.say(publisher, &masked(FIN | BINARY, probe)));
        });
        thread::sleep(STALE);
        let probes = counted(&server, "messages_published");
        // The last number that each has received of each.
        let mut heard = vec![[0usize; PUBLISHERS]; PUBLISHERS];
        let (mut said_by, mut due) = ([0usize; PUBLISHERS], Vec::new());
        let begun = Instant::now();
        let total = PUBLISHERS * each * (PUBLISHERS / TOPICS);
        let mut arrived = 0;
        while arrived < total {
            for publisher in 0..PUBLISHERS {
                due.clear();
                while said_by[publisher] < each && said_by[publisher] < heard[publisher][publisher] + WINDOW {
                    due.extend(masked(FIN | BINARY, &said(publisher, said_by[publisher])));
                    said_by[publisher] += 1;
                }
                audience.say(publisher, &due);
            }
            let came = audience.hear(patience(), |listener, _, payload| {
                let publisher = u32::from_be_bytes(*payload.first_chunk().unwrap()) as usize;
                assert_eq!(publisher % TOPICS, listener % TOPICS, "{listener} heard what was for others");
                let number = heard[listener][publisher];
                assert!(
                    payload == said(publisher, number),
                    "{listener} missed {number} of {publisher}, or heard it twice"
                );
                heard[listener][publisher] += 1;
                arrived += 1;
            });
            assert!(came, "{} of {total} never came", total - arrived);
        }
        let took = begun.elapsed();
        let on_both = server.counters().get("sessions_opened").copied();
        let published = counted(&server, "messages_published") - probes;
        figure(
            30,
            format!(
                "{} messages of {PUBLISHERS} publishers on two cores: {arrived} deliveries in {took:.1?}, 0 lost, 0 twice, 0 out of order",
                PUBLISHERS * each
            ),
            "0, 0, 0",
        );
        assert_eq!(on_both, Some(PUBLISHERS as u64));
        assert_eq!(published, PUBLISHERS * each);
    });
}

#[test]
fn row_30_what_finds_a_ring_of_eight_entries_full_is_counted_to_the_message() {
    let rounds = scaled(1_000);
    const SUBSCRIBERS: usize = 100;
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &["--set", "topics.ring-entries=8", "--set", "api.insecure=true"]);
        let mut audience = Audience::new();
        for number in 0..SUBSCRIBERS {
            audience.add(Peer::open_at(server.address, &format!("/topics/own-{number}")));
        }
        // Published by HTTP, so that the publisher does not subscribe.
        let mut publishers: Vec<_> = (0..4).map(|_| Peer::connect(server.address)).collect();
        let request = |number: usize, message: &[u8]| {
            let length = message.len();
            let head = format!(
                "POST /api/publish?topic=own-{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
            );
            [head.as_bytes(), message].concat()
        };
        for publisher in &mut publishers {
            // One at a time, so that no ring is full.
            for number in 0..SUBSCRIBERS {
                audience.await_subscriptions(1, |_, probe| {
                    publisher.write(&request(number, probe));
                    assert_eq!(publisher.read_status(), Some(200));
                });
            }
        }
        thread::sleep(STALE);
        let dropped_before = dropped(&server);
        let requests: Vec<u8> = (0..SUBSCRIBERS).flat_map(|number| request(number, b"x")).collect();
        let (mut heard, mut published) = (0, 0);
        for _ in 0..rounds {
            for publisher in &mut publishers {
                publisher.write(&requests);
                (0..SUBSCRIBERS).for_each(|_| assert!(matches!(publisher.read_status(), Some(200 | 503))));
                published += SUBSCRIBERS;
            }
            while audience.hear(Duration::ZERO, |_, _, _| heard += 1) {}
        }
        // Waits until everything is accounted for, and then for a while, since nothing more may come.
        let end = Instant::now() + patience();
        while heard + dropped(&server) - dropped_before < published && Instant::now() < end {
            audience.hear(SILENCE, |_, _, _| heard += 1);
        }
        while audience.hear(SILENCE, |_, _, _| heard += 1) {}
        let dropped = dropped(&server) - dropped_before;
        let full = counted(&server, "messages_dropped{reason=\"ring_full\"}");
        figure(
            30,
            format!(
                "rings of 8 entries, {published} messages: {heard} heard, {} missing, {dropped} counted",
                published - heard
            ),
            "missing = counted, some",
        );
        assert_eq!(heard + dropped, published);
        assert!(full > 0 || !is_full_scale(), "no ring was ever full");
    });
}

/// Topics published to in one batch.
const SPREAD: usize = 64;

/// Parts in which costs are measured and compared.
const SLICES: usize = 10;

/// Messages in each part that reach all connections.
const WIDE_ROUNDS: usize = 2;

#[test]
fn row_40_very_many_topics_cost_little_memory_and_no_time() {
    let (clients, topics) = (scaled(18_000), scaled(100_000));
    on_each_reactor(|reactor| {
        let server = Server::on_one_core(reactor);
        let mut peers = Peer::open_many(server.address, clients);
        let mut publisher = Peer::open(server.address);
        // The slab of sessions and the scratch buffers are allocated by now.
        publisher.ask("join warm-up");
        let idle = server.memory();
        for (number, peer) in peers.iter_mut().enumerate() {
            let own = (0..2 * topics).skip(number).step_by(clients);
            let names: Vec<_> = own.map(|of| format!("topic-{}", of / 2)).collect();
            assert_eq!(peer.ask(&format!("join {}", names.join(","))), "joined");
        }
        let grown = server.memory().saturating_sub(idle);
        let bound = (2 * topics * 32 + topics * 96) as u64;
        for (number, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.ask(&format!("join wide-{}", number % SPREAD)), "joined");
        }
        let mut random = Random(7);
        let (mut few, mut any, mut wide) = (0.0, 0.0, 0.0);
        // Alternately, since the machine's own speed changes from second to second.
        for _ in 0..SLICES {
            let rounds = scaled(2_000) / SLICES;
            // The same few topics again and again: one alone would be a batch, with a single send for all messages.
            few += cost_of_telling(&server, &mut publisher, &mut peers, rounds, &mut |at| at % SPREAD);
            any += cost_of_telling(&server, &mut publisher, &mut peers, rounds, &mut |_| random.below(topics));
            // The kernel's cost of connections that have not been used for a while, with few topics.
            wide += cost_of_telling_all(&server, &mut publisher, &mut peers, WIDE_ROUNDS);
        }
        let mean = |cost: f64| cost / SLICES as f64;
        let (few, any, wide) = (mean(few), mean(any), mean(wide));
        let bound_us = few.max(2.0 * wide) * 1.3;
        figure(
            40,
            format!(
                "{topics} topics of 2 subscribers on {clients} connections: + {grown} B, {:.1} B a subscription if a topic \
                 takes 96; a publish to the same {SPREAD} of them {few:.2} µs of CPU, to any {any:.2} µs; two deliveries \
                 of {SPREAD} topics with {} subscribers each {:.2} µs",
                grown.saturating_sub(96 * topics as u64) as f64 / (2 * topics) as f64,
                clients / SPREAD,
                2.0 * wide,
            ),
            format!("{bound} B; {bound_us:.2} µs = × 1.3 of what the connections cost"),
        );
        // A tenth of the topics does not fill the memory that is allocated at once.
        assert!(grown <= bound || !is_full_scale());
        in_time(any <= bound_us);
    });
}

/// Returns the cost of a message to a topic, in microseconds of CPU time.
fn cost_of_telling(
    server: &Server,
    publisher: &mut Peer,
    peers: &mut [Peer],
    rounds: usize,
    topic: &mut dyn FnMut(usize) -> usize,
) -> f64 {
    let before = server.cpu();
    for round in 0..rounds {
        let chosen: Vec<_> = (0..SPREAD).map(|at| topic(round * SPREAD + at)).collect();
        let tells = chosen.iter().map(|topic| masked(FIN | TEXT, format!("tell topic-{topic} x").as_bytes()));
        publisher.write(&tells.flatten().collect::<Vec<_>>());
        for subscriber in chosen.iter().flat_map(|topic| [2 * topic, 2 * topic + 1]) {
            let heard = peers[subscriber % peers.len()].next();
            assert_eq!(heard, Next::Frame(FIN | TEXT, b"x".to_vec()));
        }
    }
    (server.cpu() - before).as_nanos() as f64 / (rounds * SPREAD) as f64 / 1_000.0
}

/// Returns the cost of a delivery to a connection that was not used for a while, in microseconds of CPU time. Each of
/// the few topics reaches its share of all connections.
fn cost_of_telling_all(server: &Server, publisher: &mut Peer, peers: &mut [Peer], rounds: usize) -> f64 {
    let before = server.cpu();
    for _ in 0..rounds {
        let tells = (0..SPREAD).map(|topic| masked(FIN | TEXT, format!("tell wide-{topic} x").as_bytes()));
        publisher.write(&tells.flatten().collect::<Vec<_>>());
        for peer in &mut *peers {
            assert_eq!(peer.next(), Next::Frame(FIN | TEXT, b"x".to_vec()));
        }
    }
    (server.cpu() - before).as_nanos() as f64 / (rounds * peers.len()) as f64 / 1_000.0
}

#[test]
fn row_41_a_message_to_very_many_keeps_nobody_else_waiting() {
    let subscribers = scaled(18_000);
    on_each_reactor(|reactor| {
        let server = Server::start_on_one_core(reactor, &[]);
        let mut readers = Audience::new();
        for _ in 0..subscribers {
            readers.add(Peer::open_at(server.address, "/topics/t"));
        }
        let mut honest = Honest::in_groups(&server);
        let quiet = honest.quiet();
        let publishes = 100;
        let payload = vec![b'x'; 128];
        let mut publisher = Peer::open_at(server.address, "/topics/t?echo=false");
        let ((), served) = honest.during(|| {
            for _ in 0..publishes {
                publisher.write(&masked(FIN | TEXT, &payload));
                let mut missing = subscribers;
                while missing > 0 {
                    assert!(readers.hear(patience(), |_, _, heard| {
                        assert!(heard == payload);
                        missing -= 1;
                    }));
                }
            }
        });
        figure(
            41,
            format!(
                "{publishes} messages to {subscribers} subscribers of one core: others' p99 {:.2?} → {:.2?} of {} echoes",
                quiet.p99, served.p99, served.echoes
            ),
            "5 ms",
        );
        in_time(served.p99 <= Duration::from_millis(5));
    });
}
