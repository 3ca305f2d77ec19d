//! The same records for our layer and for rustls' connection: the same plaintext, alerts and ends come out.
//!
//! Each layer has a session of its own, so a script says what the client seals, and is sealed for each.

use proptest::prelude::*;
use rustls::version::TLS13;

use super::client::{Pair, Sealer, client_config, settings};
use crate::tls::{Acceptor, RecordLayer};

#[derive(Clone, Debug)]
enum Act {
    /// A record of this type with so many bytes of content and of padding.
    Record(u8, usize, usize),
    Content(u8, Vec<u8>, usize),
    /// A KeyUpdate with this request, in pieces that end at these places.
    KeyUpdate(u8, Vec<usize>),
    /// A record of data with a bit flipped at this place.
    Flipped(usize, u8),
    /// Bytes that are not sealed.
    Raw(Vec<u8>),
    Repeated,
    Dropped,
    /// The server sends data.
    Answer(usize),
}

#[derive(Debug, PartialEq)]
struct Outcome {
    plaintext: Vec<u8>,
    is_closed: bool,
    has_failed: bool,
    received: Vec<(u8, Vec<u8>)>,
}

fn sealer(records: RecordLayer) -> Sealer {
    let (settings, trusted) = settings(records);
    let mut pair = Pair::new(&Acceptor::new(&settings).unwrap(), client_config(&trusted, &[&TLS13]));
    pair.shake_hands(100_000).unwrap();
    pair.into_sealer()
}

fn perform(sealer: &mut Sealer, acts: &[Act], piece: usize) -> Outcome {
    let mut outcome = Outcome { plaintext: vec![], is_closed: false, has_failed: false, received: vec![] };
    for act in acts {
        let bytes = match act {
            Act::Record(kind, content, padding) => sealer.seal(*kind, &vec![b'x'; *content], *padding),
            Act::Content(kind, content, padding) => sealer.seal(*kind, content, *padding),
            Act::KeyUpdate(request, ends) => {
                let message = [24, 0, 0, 1, *request];
                let mut bytes = Vec::new();
                let mut from = 0;
                for end in ends.iter().copied().chain([message.len()]) {
                    bytes.extend(sealer.seal(22, &message[from..end.max(from)], 0));
                    from = end.max(from);
                }
                sealer.update();
                bytes
            }
            Act::Flipped(at, bit) => {
                let mut bytes = sealer.seal(23, b"some data", 3);
                let at = 5 + at % (bytes.len() - 5);
                bytes[at] ^= 1 << (bit % 8);
                bytes
            }
            Act::Raw(bytes) => bytes.clone(),
            Act::Repeated => sealer.seal(23, b"twice", 0).repeat(2),
            Act::Dropped => {
                sealer.seal(23, b"lost", 0);
                vec![]
            }
            Act::Answer(bytes) => {
                sealer.pair.server_writes(&[&vec![b'a'; *bytes]]);
                continue;
            }
        };
        for piece in bytes.chunks(piece) {
            match sealer.pair.server_reads(piece) {
                Ok((plaintext, is_closed)) => {
                    outcome.plaintext.extend(plaintext);
                    outcome.is_closed |= is_closed;
                }
                Err(_) => {
                    outcome.has_failed = true;
                    outcome.received = sealer.received();
                    return outcome;
                }
            }
        }
    }
    sealer.pair.server_writes(&[b"the last word"]);
    sealer.pair.server.close(&mut sealer.pair.from_server).unwrap();
    outcome.received = sealer.received();
    outcome
}

/// Performs a script with both layers, and compares the outcomes. Where rustls ends without an alert, ours may say why.
fn compare(acts: &[Act], piece: usize) {
    let ours = perform(&mut sealer(RecordLayer::Own), acts, piece);
    let oracle = perform(&mut sealer(RecordLayer::Rustls), acts, piece);
    let told = |outcome: &Outcome| outcome.received.last().is_some_and(|(kind, _)| *kind == 21);
    if oracle.has_failed && !told(&oracle) && told(&ours) {
        let (alert, before) = ours.received.split_last().unwrap();
        // A KeyUpdate that was due goes before the alert.
        let before: Vec<_> = before.iter().filter(|(kind, _)| *kind != 22).cloned().collect();
        let oracle =
            Outcome { received: oracle.received.into_iter().filter(|(kind, _)| *kind != 22).collect(), ..oracle };
        assert!(ours.has_failed, "{acts:?}");
        assert_eq!(alert.1[0], 2, "{acts:?}");
        assert_eq!((&ours.plaintext, before), (&oracle.plaintext, oracle.received), "{acts:?}");
    } else {
        assert_eq!(ours, oracle, "{acts:?} in pieces of {piece}");
    }
}

#[test]
fn each_rule_of_an_open_session_is_that_of_rustls() {
    use Act::{Answer, Content, Dropped, Flipped, KeyUpdate, Raw, Record, Repeated};
    let update = |request| KeyUpdate(request, vec![]);
    let data = || Content(23, b"data".to_vec(), 0);
    let cases: Vec<Vec<Act>> = vec![
        vec![],
        vec![data(), Record(23, 16_384, 0), Record(23, 0, 0), Record(23, 16_383, 1), data()],
        vec![Record(23, 10, 16_374), Record(23, 0, 16_384), data()],
        vec![Record(23, 16_385, 0)],
        vec![Record(23, 16_384, 1)],
        vec![Record(23, 10, 16_375)],
        vec![Record(0, 0, 40)],
        vec![Record(0, 0, 0)],
        vec![Record(23, 0, 0); 32].into_iter().chain([data()]).collect(),
        vec![Record(23, 0, 0); 33],
        vec![data(), Raw(vec![20, 3, 3, 0, 1, 1])],
        vec![Raw(vec![21, 3, 3, 0, 2, 1, 0])],
        vec![Raw(vec![21, 3, 3, 0, 2, 2, 40])],
        vec![Raw(b"GET / HTTP/1.1".to_vec())],
        vec![Raw(vec![23, 4, 3, 0, 1, 1])],
        vec![Raw(vec![23, 3, 3, 0, 0])],
        vec![Raw(vec![22, 3, 3, 0, 0])],
        vec![Raw(vec![23, 3, 3, 0, 16]), Raw(vec![0; 16])],
        vec![Record(20, 1, 0)],
        vec![Record(24, 1, 0)],
        vec![Record(25, 1, 0)],
        vec![Record(255, 1, 0)],
        vec![Content(21, vec![1, 0], 0), data()],
        vec![Content(21, vec![2, 0], 0)],
        vec![Content(21, vec![1, 90], 0); 4].into_iter().chain([data()]).collect(),
        vec![Content(21, vec![1, 90], 0); 5],
        vec![Content(21, vec![1, 40], 0)],
        vec![Content(21, vec![2, 40], 0)],
        vec![Content(21, vec![3, 40], 0)],
        vec![Content(21, vec![2], 0)],
        vec![Content(21, vec![2, 40, 0], 0)],
        vec![Content(21, vec![], 0)],
        vec![Content(22, vec![], 0), data()],
        vec![Content(22, vec![20, 0, 0, 2, 1, 2], 0)],
        vec![Content(22, vec![5, 0, 0, 0], 0)],
        vec![Content(22, vec![24, 0, 0, 1, 2], 0)],
        vec![Content(22, vec![24, 0, 0, 0], 0)],
        vec![Content(22, vec![24, 0, 0, 2, 0, 0], 0)],
        vec![Content(22, vec![24, 0, 0, 1, 0, 24, 0, 0, 1, 0], 0)],
        vec![Content(22, vec![24, 0, 0], 0), data()],
        vec![update(0), data()],
        vec![update(1), data(), Answer(3)],
        vec![update(1), update(1), update(0), data(), Answer(3), update(1), Answer(20_000), data()],
        vec![update(0); 32].into_iter().chain([data()]).collect(),
        vec![update(0); 33],
        vec![update(1); 33],
        vec![update(0); 20].into_iter().chain([data()]).chain(vec![update(1); 20]).collect(),
        vec![KeyUpdate(1, vec![1]), data()],
        vec![KeyUpdate(0, vec![1, 2, 3, 4]), data(), KeyUpdate(1, vec![4])],
        vec![KeyUpdate(0, vec![0, 3, 3]), data()],
        vec![Flipped(0, 0)],
        vec![data(), Repeated],
        vec![Dropped, data()],
        vec![Answer(1), Answer(16_384), Answer(16_385), Answer(100_000)],
    ];
    for acts in cases {
        for piece in [1, 5, 21, 40_000] {
            compare(&acts, piece);
        }
    }
}

#[test]
fn a_record_that_is_too_long_is_refused_by_its_header() {
    for bytes in [16_641u16, 18_432, 18_433, 65_535] {
        let mut sealer = sealer(RecordLayer::Own);
        let [high, low] = bytes.to_be_bytes();
        sealer.pair.server_reads(&[23, 3, 3, high, low]).unwrap_err();
        assert_eq!(sealer.received(), [(21, vec![2, 22])], "record_overflow");
    }
}

#[test]
fn floods_of_different_kinds_do_not_excuse_each_other() {
    let mut sealer = sealer(RecordLayer::Own);
    let mut records = 0;
    loop {
        let update = sealer.seal(22, &[24, 0, 0, 1, 0], 0);
        sealer.update();
        let empty = sealer.seal(23, &[], 0);
        records += 2;
        if sealer.pair.server_reads(&[update, empty].concat()).is_err() {
            break;
        }
        assert!(records < 100, "each kind starts the count of the other anew");
    }
    assert_eq!(sealer.received(), [(21, vec![2, 10])]);
}

#[test]
fn after_a_fault_nothing_is_opened() {
    let mut sealer = sealer(RecordLayer::Own);
    sealer.pair.server_reads(b"no record").unwrap_err();
    let record = sealer.seal(23, b"data", 0);
    sealer.pair.server_reads(&record).unwrap_err();
}

fn acts() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![5 => Just(23u8), 1 => Just(22u8), 1 => Just(21u8), 1 => any::<u8>()];
    let bytes = prop_oneof![4 => 0usize..300, 1 => 16_300usize..16_390];
    prop_oneof![
        4 => (bytes.clone(), 0usize..40).prop_map(|(content, padding)| Act::Record(23, content, padding)),
        1 => (kind.clone(), bytes.clone(), 0usize..200).prop_map(|(kind, content, padding)| Act::Record(kind, content, padding)),
        1 => (kind, prop::collection::vec(any::<u8>(), 0..8), 0usize..40)
            .prop_map(|(kind, content, padding)| Act::Content(kind, content, padding)),
        2 => (0u8..3, prop::collection::vec(0usize..5, 0..3)).prop_map(|(request, ends)| Act::KeyUpdate(request, ends)),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(at, bit)| Act::Flipped(at, bit)),
        1 => prop::collection::vec(any::<u8>(), 1..30).prop_map(Act::Raw),
        1 => Just(Act::Repeated),
        1 => Just(Act::Dropped),
        2 => bytes.prop_map(Act::Answer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn scripts_at_random_have_the_same_outcome(acts in prop::collection::vec(acts(), 1..12), piece in 1usize..3000) {
        // Ours refuses another handshake message at its first byte, and rustls when it is whole: see the rules above.
        let is_split = |act: &Act| matches!(act, Act::Content(22, content, _) if content.len() < 8)
            || matches!(act, Act::Record(22, ..));
        if !acts.iter().any(is_split) {
            compare(&acts, piece);
        }
    }
}
