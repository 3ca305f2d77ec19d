//! A client that sends requests and checks each answer, in order. Its last request may be refused.

use std::collections::VecDeque;

use super::Weather;
use super::tally::Tally;
use crate::engine::tests::client::{Client, get, post, post_chunks, post_chunks_head, upgrade_request};
use crate::engine::tests::dice::Dice;
use crate::engine::tests::handler::piece;

pub struct Asker {
    client: Client,
    pieces: VecDeque<Vec<u8>>,
    /// The expected statuses, each with the expected body, if it is known.
    due: VecDeque<(u16, Option<String>)>,
    done: bool,
}

/// The number of requests that are the last on their connection.
pub const LAST_COUNT: usize = 22;

/// Returns the last request of a client, and the status of its answer.
pub fn last(number: usize) -> (&'static str, Vec<u8>, u16) {
    let upgrade = |target: &str| upgrade_request(target, &[]).0;
    let without = |line: &str| {
        let request = String::from_utf8(upgrade("/")).expect("a request is ASCII");
        request.split_inclusive("\r\n").filter(|it| !it.starts_with(line)).collect::<String>().into_bytes()
    };
    match number {
        0 => ("a page", get("/last", "Connection: close\r\n"), 200),
        1 => ("lines without CR", b"GET / HTTP/1.1\nHost: localhost\n\n".to_vec(), 400),
        2 => ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        3 => ("a method in lower case", b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 400),
        4 => ("HTTP of the future", b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(), 505),
        5 => ("a long target", get(&format!("/{}", "a".repeat(9_000)), ""), 414),
        6 => ("many headers", get("/", &"A: b\r\n".repeat(70)), 431),
        7 => ("a large head", get("/", &format!("A: {}\r\n", "b".repeat(17_000))), 431),
        8 => ("a body", get("/", "Content-Length: 5\r\n"), 400),
        9 => ("no key", without("Sec-WebSocket-Key"), 400),
        10 => ("no version", without("Sec-WebSocket-Version"), 400),
        11 => ("no host", without("Host"), 400),
        12 => ("a page whose handler panics", get("/panic", ""), 500),
        13 => ("an upgrade whose handler panics", upgrade("/panic"), 500),
        14 => ("an upgrade whose state panics", upgrade("/panic-in-default"), 500),
        15 => ("an upgrade with a bad header", upgrade("/bad-header"), 500),
        16 => ("an upgrade that is rejected", upgrade("/reject"), 403),
        17 => ("a body that is too large", post("/", "", &vec![b'a'; 70_000]), 413),
        18 => ("chunks that are none", [post_chunks_head("/", ""), b"5\nhello\r\n".to_vec()].concat(), 400),
        19 => ("chunks that are too large", [post_chunks_head("/", ""), b"11170\r\n".to_vec()].concat(), 413),
        20 => ("a transfer coding", post("/", "Transfer-Encoding: gzip, chunked\r\n", b""), 400),
        _ => ("an upgrade that is rejected soon", upgrade("/soon-reject"), 403),
    }
}

impl Asker {
    pub fn new(mut client: Client, dice: &mut Dice, tally: &mut Tally) -> Self {
        client.ignore_continue();
        let (mut bytes, mut due) = (Vec::new(), VecDeque::new());
        for number in 0..dice.below(6) {
            if dice.once_in(6) {
                let path = format!("/soon-page-{number}");
                bytes.extend(get(&path, ""));
                due.push_back((200, Some(path)));
                tally.add("requests", "answered later, 200", 1);
            } else if dice.once_in(6) {
                let (pieces, length) = (dice.below(20), dice.choose(&[0, 10, 9_000]));
                bytes.extend(get(&format!("/stream/{pieces}/{length}"), ""));
                due.push_back((200, Some((0..pieces).map(|number| piece(number, length)).collect())));
                tally.add("requests", "answered piece by piece, 200", 1);
            } else if dice.once_in(5) {
                bytes.extend(get("/large", ""));
                due.push_back((200, None));
            } else if dice.once_in(4) {
                // A body that looks like a request, and must be echoed unchanged.
                let body = get("/hidden", "").repeat(1 + dice.below(30));
                let headers = dice.choose(&["", "Expect: 100-continue\r\n"]);
                if dice.once_in(2) {
                    bytes.extend(post_chunks("/", headers, body.chunks(1 + dice.below(body.len()))));
                    tally.add("requests", "with a body in chunks, 200", 1);
                } else {
                    bytes.extend(post("/", headers, &body));
                    tally.add("requests", "with a body, 200", 1);
                }
                due.push_back((200, String::from_utf8(body).ok()));
            } else {
                bytes.extend(get(&format!("/page-{number}"), ""));
                due.push_back((200, Some(format!("/page-{number}"))));
            }
        }
        let (name, request, status) = last(dice.below(LAST_COUNT));
        tally.add("requests", format_args!("{name}, {status}"), 1);
        bytes.extend(request);
        due.push_back((status, None));
        let mut pieces = VecDeque::new();
        super::honest::cut(bytes, dice, false, &mut pieces);
        Self { client, pieces, due, done: false }
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    pub fn act(&mut self, dice: &mut Dice, weather: Weather, tally: &mut Tally) {
        if self.done {
            return;
        }
        for _ in 0..=dice.below(3) {
            if let Some(piece) = self.pieces.pop_front() {
                self.client.write(&piece);
            }
        }
        while let Some(answer) = self.client.answer() {
            let due = self.due.pop_front();
            let as_due = due
                .is_some_and(|(status, body)| status == answer.status && body.is_none_or(|body| body == answer.body));
            assert!(as_due || weather.may_refuse_with(answer.status), "{answer:?} is not what was asked for");
            if !as_due {
                self.due.clear();
            }
            tally.add("requests", "answers in order", u64::from(as_due));
        }
        let peer = &self.client.peer;
        if peer.was_reset() || peer.is_at_end() {
            assert!(!weather.fair || weather.draining || self.due.is_empty(), "a request was not answered");
            self.done = true;
        }
    }
}
