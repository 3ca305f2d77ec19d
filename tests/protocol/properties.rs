//! Properties of whole streams: any messages, any fragments, any cuts; and any bytes at all.

use proptest::prelude::*;
use ringsock::protocol::{Close, CloseCode, FrameHeader, MaskKey, Opcode, Role, write_close, write_frame};

use crate::harness::*;
use crate::wire::*;

/// Returns frames that a client may send: a message in fragments with pings before each, or a control frame.
fn sent() -> impl Strategy<Value = (Vec<Received>, Vec<u8>)> {
    let payload = prop_oneof![
        ".{0,40}".prop_map(|text| (TEXT, text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (BINARY, bytes)),
    ];
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..5);
    let pings = prop::collection::vec(prop::option::of("[a-z]{0,9}"), 6);
    (payload, cuts, pings, any::<[MaskKey; 2]>()).prop_map(|(payload, cuts, pings, keys)| {
        let (opcode, payload) = payload;
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(payload.len());
        let (mut received, mut bytes, mut start) = (Vec::new(), Vec::new(), 0);
        for (index, (&cut, sent_ping)) in cuts.iter().zip(pings).enumerate() {
            if let Some(sent_ping) = sent_ping {
                bytes.extend(masked_with(keys[0], FIN | PING, sent_ping.as_bytes()));
                received.push(ping(sent_ping.as_bytes()));
            }
            let opcode = if index == 0 { opcode } else { CONTINUATION };
            let fin = if index + 1 == cuts.len() { FIN } else { 0 };
            bytes.extend(masked_with(keys[1], fin | opcode, &payload[start..cut]));
            start = cut;
        }
        received.push(match opcode {
            TEXT => text(&String::from_utf8_lossy(&payload)),
            _ => binary(&payload),
        });
        (received, bytes)
    })
}

proptest! {
    #[test]
    fn the_messages_that_were_sent_are_those_that_arrive(
        stream in prop::collection::vec(sent(), 0..6),
    ) {
        let (received, bytes): (Vec<_>, Vec<_>) = stream.into_iter().unzip();
        prop_assert_eq!(receive(&bytes.concat()), idle(received.concat()));
    }

    #[test]
    fn arbitrary_bytes_wait_or_end_in_one_violation_or_close(bytes: Vec<u8>) {
        for endpoint in [Endpoint::server(), Endpoint::client()] {
            endpoint.receive(&bytes);
            endpoint.having_sent_close().receive(&bytes);
        }
    }

    /// Frames with plausible headers get further than arbitrary bytes do.
    #[test]
    fn arbitrary_frames_have_one_outcome_however_they_are_cut(
        frames in prop::collection::vec(
            (
                prop::sample::select(vec![0u8, 1, 2, 8, 9, 10, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]),
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..20),
                    "\\PC{0,8}".prop_map(String::into_bytes),
                    (995u16..1020, "[a-zä]{0,3}").prop_map(|(code, reason)| close_payload(code, &reason)),
                ],
            ),
            0..12,
        ),
        message_bytes_max in 0u64..40,
        empty_fragments_max in 0u32..3,
    ) {
        let mut endpoint = Endpoint::server().with_message_bytes_max(message_bytes_max);
        endpoint.limits.empty_fragments_max = empty_fragments_max;
        let bytes: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect();
        let open = endpoint.receive(&bytes);
        let largest = open.events.iter().filter_map(|event| match event {
            Received::Text(text) => Some(text.len() as u64),
            Received::Binary(bytes) => Some(bytes.len() as u64),
            _ => None,
        });
        prop_assert!(largest.max().unwrap_or(0) <= message_bytes_max);
        let closes = open.events.iter().filter(|event| matches!(event, Received::Close(_))).count();
        prop_assert_eq!(closes, usize::from(open.end == End::Closed));

        // After our own Close frame the same bytes end in the same way, and only the peer's Close is reported.
        let mut crossing = endpoint.having_sent_close().receive(&bytes);
        prop_assert_eq!(&crossing.end, &open.end);
        let mut expected = open.events;
        expected.retain(|event| matches!(event, Received::Close(_)));
        prop_assert_eq!(std::mem::take(&mut crossing.events), expected);
    }

    #[test]
    fn written_frames_are_read_back_and_follow_the_rfc(
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            prop::collection::vec(any::<u8>(), 65_500..65_537),
        ],
        key: MaskKey,
        opcode in prop::sample::select(vec![Opcode::Binary, Opcode::Ping, Opcode::Pong]),
    ) {
        let payload = match opcode {
            Opcode::Binary => &payload[..],
            _ => &payload[..payload.len().min(125)],
        };
        let expected = match opcode {
            Opcode::Binary => binary(payload),
            Opcode::Ping => ping(payload),
            _ => pong(payload),
        };
        let first = FIN | opcode as u8;
        for (mask, receiver, bytes) in [
            (Some(key), Endpoint::server(), masked_with(key, first, payload)),
            (None, Endpoint::client(), plain(first, payload)),
        ] {
            // The frame is appended: the buffer's content stays.
            let mut out = b"before".to_vec();
            write_frame(&mut out, opcode, payload, mask);
            prop_assert_eq!(&out[6..], &bytes);
            prop_assert_eq!(&out[..6], b"before");
            prop_assert_eq!(receiver.receive(&bytes), idle([expected.clone()]));
        }
    }

    #[test]
    fn a_close_frame_is_read_as_it_was_written(
        code in (1000u16..5000).prop_filter_map("not to be sent", CloseCode::new),
        reason in "\\PC{0,30}",
        key: MaskKey,
    ) {
        let mut out = Vec::new();
        write_close(&mut out, Some(Close::new(code, &reason)), Some(key));
        prop_assert_eq!(receive(&out), closed([close(code.number(), &reason)]));
    }

    #[test]
    fn a_fragments_header_is_read_as_it_was_written(
        fin: bool,
        payload_bytes in prop_oneof![0u64..200, 65_000u64..66_000, 0u64..1 << 63],
        key: MaskKey,
    ) {
        for (role, mask) in [(Role::Server, Some(key)), (Role::Client, None)] {
            let frame = FrameHeader { fin, opcode: Opcode::Continuation, compressed: false, mask, payload_bytes };
            let mut out = Vec::new();
            frame.write(&mut out);
            prop_assert_eq!(&out, &header(if fin { FIN } else { 0 }, mask, payload_bytes));
            prop_assert_eq!(FrameHeader::parse(&out, role, false), Ok(Some((frame, out.len()))));
        }
    }
}
