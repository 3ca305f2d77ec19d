//! A client that subscribes to topics and publishes to them. It always receives the messages of each publisher and
//! topic in order and none twice; and if it stays, every message that it misses was reported as dropped.

use std::collections::{BTreeMap, VecDeque};

use super::Weather;
use super::honest::cut;
use super::tally::Tally;
use crate::engine::tests::board::Board;
use crate::engine::tests::client::{Client, Frame, masked};
use crate::engine::tests::dice::Dice;
use crate::protocol::Opcode;
use crate::protocol::handshake::Offer;

const TOPICS: [&str; 4] = ["t/0", "t/1", "t/2", "u"];
const POLICIES: [&str; 4] = ["close", "newest", "oldest", "latest"];

/// The most messages that one client publishes.
const PUBLISHED_MAX: usize = 60;

/// Bytes that are added to some messages, so that outboxes fill.
const PADDING_BYTES_MAX: usize = 900;

pub struct Member {
    number: usize,
    client: Client,
    open: bool,
    over: bool,
    /// The name of its session, once it was told.
    id: Option<String>,
    /// Its subscriptions that it has not ended, and whether each is without echo.
    joined: BTreeMap<String, (bool, &'static str)>,
    pieces: VecDeque<Vec<u8>>,
    to_publish: usize,
    said: usize,
    heard: Vec<String>,
    /// The last message received of each topic and publisher.
    last: BTreeMap<(String, usize), usize>,
}

impl Member {
    pub fn new(number: usize, mut client: Client, dice: &mut Dice) -> Self {
        if dice.once_in(2) {
            client.offer(Offer::new(&super::compression(dice)));
        }
        let mut pieces = VecDeque::new();
        cut(client.request("/"), dice, false, &mut pieces);
        Self {
            number,
            client,
            open: false,
            over: false,
            id: None,
            joined: BTreeMap::new(),
            pieces,
            to_publish: dice.below(PUBLISHED_MAX),
            said: 0,
            heard: Vec::new(),
            last: BTreeMap::new(),
        }
    }

    /// Returns whether it has finished publishing. It stays until all clients have.
    pub fn is_done(&self) -> bool {
        self.over || (self.open && self.id.is_some() && self.to_publish == 0 && self.pieces.is_empty())
    }

    pub fn resume_reading(&self) {
        self.client.peer.resume_reading();
    }

    pub fn act(&mut self, dice: &mut Dice, weather: Weather, tally: &mut Tally) {
        if self.over {
            return;
        }
        if weather.calm || dice.once_in(8) {
            self.client.peer.resume_reading();
        } else if dice.once_in(12) {
            self.client.peer.stop_reading();
        }
        self.hear(weather, tally);
        if self.over {
            return;
        }
        if self.open && self.id.is_some() && self.pieces.is_empty() {
            self.say_something(dice, weather);
        }
        for _ in 0..=dice.below(3) {
            if let Some(piece) = self.pieces.pop_front() {
                self.client.write(&piece);
            }
        }
    }

    pub fn hear(&mut self, weather: Weather, tally: &mut Tally) {
        if !self.open {
            match self.client.verdict() {
                None => return self.notice_the_end(),
                Some(101) => {
                    self.open = true;
                    self.pieces.push_back(masked(Opcode::Text, b"/who"));
                }
                Some(status) => {
                    assert!(weather.may_refuse_with(status), "refused with {status}");
                    self.over = true;
                    return;
                }
            }
        }
        for frame in self.client.frames() {
            match frame {
                Frame::Text(text) => self.hear_text(text, tally),
                Frame::Ping(payload) => self.pieces.push_back(masked(Opcode::Pong, &payload)),
                Frame::Close(code, reason) => {
                    // Its handler panicked if it was told to, and a slow subscriber may be closed.
                    let may = weather.may_close_with(code) || matches!(code, 1011 | 1013);
                    assert!(may, "closed with {code}: {reason}");
                    tally.add("members", format_args!("closed with {code}"), 1);
                    self.over = true;
                    self.client.peer.finish();
                    return;
                }
                other => panic!("{other:?} is not for a member"),
            }
        }
        self.notice_the_end();
    }

    fn hear_text(&mut self, text: String, tally: &mut Tally) {
        if let Some(id) = text.strip_prefix("you are ") {
            self.id = Some(id.to_owned());
            return;
        }
        let mut words = text.split(' ');
        let topic = words.next().expect("a topic").to_owned();
        let [publisher, number] = [0; 2].map(|_: usize| words.next().expect("a number").parse().expect("a number"));
        let before = self.last.insert((topic, publisher), number);
        // A message of a topic that it left may arrive by another subscription that matches it.
        let has_left = self.joined.keys().any(|topic| topic.starts_with("left "));
        assert!(has_left || before < Some(number), "{text} came after {before:?}");
        self.heard.push(text);
        tally.add("members", "messages heard", 1);
    }

    fn notice_the_end(&mut self) {
        let peer = &self.client.peer;
        self.over |= peer.was_reset() || peer.is_at_end();
    }

    fn say_something(&mut self, dice: &mut Dice, weather: Weather) {
        let mut bytes = Vec::new();
        let mut say = |text: String| bytes.extend(masked(Opcode::Text, text.as_bytes()));
        if self.joined.is_empty() || (!weather.calm && dice.once_in(40)) {
            let policy = dice.choose(&POLICIES);
            let silent = dice.once_in(4);
            let how = if silent { format!("{policy}-silent") } else { policy.to_owned() };
            // A pattern and a topic that it matches would correctly bring a message twice.
            let pattern = if self.joined.is_empty() { dice.once_in(4) } else { self.joined.contains_key("t/*") };
            let topic = if pattern { "t/*" } else { dice.choose(&TOPICS) };
            // The options also hold for earlier messages, so it never changes them.
            if !self.joined.contains_key(topic) {
                self.joined.insert(topic.to_owned(), (silent, policy));
                say(format!("/join {topic} {how}"));
            }
        } else if !weather.calm && dice.once_in(60) {
            let topic = self.joined.pop_first().map(|(topic, _)| topic).unwrap_or_default();
            say(format!("/leave {topic}"));
            // It receives no further message of the topic in order, and may subscribe again.
            self.joined.insert(format!("left {topic}"), (false, ""));
        } else if !weather.calm && dice.once_in(150) {
            say(format!("/panic-in {}", dice.choose(&["subscribed", "dropped"])));
        }
        for _ in 0..dice.below(6).min(self.to_publish) {
            let topic = dice.choose(&TOPICS);
            let padding = if dice.once_in(3) { dice.below(PADDING_BYTES_MAX) } else { 0 };
            say(format!("/publish {topic} {topic} {} {} {}", self.number, self.said, "x".repeat(padding)));
            self.said += 1;
            self.to_publish -= 1;
        }
        cut(bytes, dice, false, &mut self.pieces);
    }

    /// Checks, once nothing is under way any more, that every missing message was dropped. `lost` messages were dropped
    /// on the way to all subscribers of a core.
    pub fn check(&self, board: &Board, lost: u64, tally: &mut Tally) {
        let (false, Some(id)) = (self.over, &self.id) else { return };
        if self.joined.keys().any(|topic| topic.starts_with("left ")) {
            return;
        }
        for (topic, (silent, policy)) in &self.joined {
            let heard: Vec<_> = self.heard.iter().filter(|text| matches(topic, text)).cloned().collect();
            let own = |text: &str| text.split(' ').nth(1) == Some(&self.number.to_string());
            let Some(missing) = board.missing(id, topic, &heard, |text| !(*silent && own(text))) else { continue };
            let (promised, early, told) = (missing.promised, missing.early, missing.told);
            let name = format!("{id}, member {} of {topic} ({policy})", self.number);
            assert!(promised <= told + lost, "{name} did not hear {promised}, and was told of {told} + {lost}");
            assert!(lost > 0 || told <= promised + early, "{name} heard some of {told} that are said to be dropped");
            tally.add("members", "subscriptions that add up", 1);
            tally.add("members", "messages that were dropped for a slow member", told);
        }
    }
}

fn matches(topic: &str, text: &str) -> bool {
    let of = text.split(' ').next().unwrap_or_default();
    topic.strip_suffix('*').map_or(of == topic, |stem| of.starts_with(stem))
}
