//! The order, the cost and the dropping of the bytes that wait in an outbox.

use super::*;

fn bytes_of(chunks: &Chunks) -> Vec<u8> {
    chunks.parts().concat()
}

const fn topic(index: u32) -> TopicKey {
    TopicKey { index, generation: 1 }
}

fn shared(frames: &'static str, topic: TopicKey, overflow: Overflow, since: u32) -> SharedFrames {
    SharedFrames { frames: Bytes::from_static(frames.as_bytes()), messages: 1, topic, overflow, since }
}

#[test]
fn bytes_in_flight_count_until_they_are_sent() {
    let mut outbox = Outbox::default();
    outbox.push(b"one ");
    outbox.push(b"two");
    assert_eq!(bytes_of(&outbox.take().unwrap()), b"one two");
    outbox.push(b"three");
    assert_eq!(outbox.bytes(), 12);
    outbox.note_sent(7, 1);
    assert_eq!(outbox.bytes(), 5);
    assert_eq!(bytes_of(&outbox.take().unwrap()), b"three");
    outbox.note_sent(5, 2);
    assert!(outbox.is_empty());
}

#[test]
fn many_bytes_are_taken_a_send_at_a_time_and_take_no_more_memory_than_their_number() {
    let mut outbox = Outbox::default();
    let said: Vec<u8> = (0..3_000_000u32).map(|n| (n >> 8) as u8).collect();
    said.chunks(70_001).for_each(|part| outbox.push(part));
    let capacity: usize = outbox
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Own(bytes) => bytes.capacity(),
            Piece::Shared(_) => 0,
        })
        .sum();
    assert!(capacity <= said.len() + PIECE_BYTES, "{capacity}");
    let mut sent = Vec::new();
    while let Some(chunks) = outbox.take() {
        assert!(chunks.parts().len() <= Chunks::PARTS_MAX);
        outbox.note_sent(chunks.len(), 0);
        sent.extend(bytes_of(&chunks));
    }
    assert!(sent == said && outbox.is_empty());
}

#[test]
fn bytes_queued_at_once_are_one_part_of_a_send() {
    let mut outbox = Outbox::default();
    let large = vec![b'x'; 10 * PIECE_BYTES];
    outbox.push(&large);
    let Some(Chunks::One(part)) = outbox.take() else { panic!("one part") };
    assert!(part == large);
    outbox.push(b"a few");
    outbox.push(&large);
    outbox.push(&large);
    assert_eq!(outbox.take().unwrap().parts().len(), 3, "the first piece is filled before another begins");
}

#[test]
fn a_few_bytes_take_little_memory() {
    let mut outbox = Outbox::default();
    outbox.push(b"a few");
    let Pieces::One(Piece::Own(bytes)) = &outbox.pieces else { panic!("{outbox:?}") };
    assert_eq!(bytes.capacity(), PIECE_BYTES_FIRST);
}

#[test]
fn shared_frames_are_sent_in_order_and_not_copied() {
    let mut outbox = Outbox::default();
    let frames = Bytes::from(vec![b'x'; 100]);
    outbox.push(b"before");
    outbox.share(SharedFrames { frames: frames.clone(), ..shared("", topic(0), Overflow::Close, 0) });
    outbox.push(b"after");
    let Some(Chunks::Many(parts)) = outbox.take() else { panic!("several parts") };
    assert_eq!((&parts[0][..], parts[1].as_ptr(), &parts[2][..]), (&b"before"[..], frames.as_ptr(), &b"after"[..]));
    outbox.share(SharedFrames { frames: frames.clone(), ..shared("", topic(0), Overflow::Close, 0) });
    let Some(Chunks::One(part)) = outbox.take() else { panic!("one part") };
    assert_eq!(part.as_ptr(), frames.as_ptr());
    assert_eq!(outbox.bytes(), 211);
}

#[test]
fn the_oldest_that_may_be_dropped_go_first_and_only_as_many_as_must() {
    let mut outbox = Outbox::default();
    let oldest = |frames, index, since| shared(frames, topic(index), Overflow::DropOldest, since);
    outbox.share(oldest("in flight", 1, 0));
    outbox.take();
    outbox.push(b"own ");
    outbox.share(shared("kept ", topic(1), Overflow::Latest, 3));
    outbox.share(oldest("first ", 1, 3));
    outbox.share(oldest("second ", 2, 4));
    outbox.share(oldest("third", 1, 5));
    outbox.share(oldest("fourth", 1, 6));
    assert_eq!(outbox.drop_oldest(outbox.bytes(), 2), []);
    let both = [(topic(1), 1), (topic(2), 1)];
    assert_eq!(outbox.drop_oldest(outbox.bytes() - 7 - SHARED_BYTES, 2), both, "the first alone is not enough");
    assert_eq!(outbox.drop_oldest(outbox.bytes(), 5), [(topic(1), 1)], "it has waited for too long");
    assert_eq!(outbox.drop_oldest(0, 2), [(topic(1), 1)]);
    assert_eq!(outbox.bytes(), 9 + 9 + SHARED_BYTES);
    outbox.note_sent(9, 1);
    assert_eq!(bytes_of(&outbox.take().unwrap()), b"own kept ");
}

#[test]
fn waiting_frames_of_one_topic_can_be_dropped() {
    let mut outbox = Outbox::default();
    let latest = |frames, index| shared(frames, topic(index), Overflow::Latest, 0);
    (0..6).for_each(|n| outbox.share(latest(["0", "1", "2", "3", "4", "5"][n], n as u32 % 2)));
    assert_eq!(outbox.drop_topic(topic(1)), 3);
    assert_eq!(bytes_of(&outbox.take().unwrap()), b"024");
    outbox.note_sent(3, 0);
    outbox.share(latest("alone", 7));
    assert_eq!(outbox.drop_topic(topic(7)), 1);
    assert!(outbox.is_empty() && outbox.take().is_none());
}

#[test]
fn the_age_is_that_of_the_oldest_shared_frames_in_flight_or_queued() {
    let mut outbox = Outbox::default();
    outbox.push(b"own");
    assert_eq!(outbox.shared_since(), NEVER);
    outbox.share(shared("a", topic(0), Overflow::Close, 5));
    outbox.share(shared("b", topic(0), Overflow::Close, 6));
    assert_eq!(outbox.shared_since(), 5);
    let bytes = outbox.take().unwrap().len();
    outbox.share(shared("c", topic(0), Overflow::Close, 7));
    assert_eq!(outbox.shared_since(), 5);
    outbox.note_sent(bytes - 1, 8);
    assert_eq!(outbox.shared_since(), 5);
    outbox.note_sent(1, 8);
    assert_eq!(outbox.shared_since(), 7);
}

#[test]
fn the_latest_pong_comes_before_what_is_said_after_its_ping() {
    let mut outbox = Outbox::default();
    (0..100u32).for_each(|n| {
        outbox.pong(&n.to_be_bytes());
    });
    outbox.push(b"the last word");
    let sent = bytes_of(&outbox.take().unwrap());
    assert!(sent.ends_with(b"\0\0\0\x63the last word"));
}

#[test]
fn a_flood_of_pings_waits_as_sixteen_pongs_and_the_latest() {
    let mut outbox = Outbox::default();
    let lost = (0..1000u32).filter(|n| outbox.pong(&n.to_be_bytes())).count();
    assert_eq!(lost, 1000 - 17);
    let sent = bytes_of(&outbox.take().unwrap());
    assert_eq!(sent.len(), 17 * 6);
    assert_eq!(sent[16 * 6 + 2..], 999u32.to_be_bytes());
}
