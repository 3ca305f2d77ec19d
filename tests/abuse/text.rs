//! Row 10: text that is UTF-8 or not, split into fragments and reads anywhere; the standard library is the judge.

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::wire::{CONTINUATION, FIN, KEY, TEXT, header, masked};
use crate::{Random, figure, on_each_reactor, scaled};

/// Messages of a session until one is invalid: enough that most of the work is text, not handshakes.
const MESSAGES_MAX: usize = 50;

/// Sessions in one batch.
const AT_ONCE: usize = 100;

#[test]
fn row_10_text_is_judged_as_the_standard_library_does_and_at_its_first_bad_byte() {
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let mut random = Random(10);
        let (mut good, mut bad, mut wrong) = (0, 0, 0);
        while good + bad < scaled(1_000_000) {
            let mut sessions: Vec<_> =
                Peer::open_many(server.address, AT_ONCE).into_iter().map(|peer| (peer, Vec::new())).collect();
            for (peer, expected) in &mut sessions {
                let mut bytes = Vec::new();
                for _ in 0..MESSAGES_MAX {
                    let text = random_text(&mut random);
                    match std::str::from_utf8(&text) {
                        Ok(_) => fragments(&mut bytes, &text, true, &mut random),
                        Err(error) => {
                            // Of a text that is invalid before its end, only the bytes up to the fault are sent.
                            let shown = error.error_len().map(|length| error.valid_up_to() + length + 1);
                            match shown.filter(|shown| *shown < text.len()) {
                                Some(shown) => fragments(&mut bytes, &text[..shown], false, &mut random),
                                None => fragments(&mut bytes, &text, true, &mut random),
                            }
                            expected.push(None);
                            break;
                        }
                    }
                    expected.push(Some(text));
                }
                let cut = random.below(bytes.len());
                peer.write(&bytes[..cut]);
                peer.write(&bytes[cut..]);
            }
            for (peer, expected) in &mut sessions {
                for text in expected {
                    let right = match text {
                        Some(text) => peer.next() == Next::Frame(FIN | TEXT, std::mem::take(text)),
                        None => peer.read_close() == Ok(Some(1007)),
                    };
                    (good, bad) = if text.is_some() { (good + 1, bad) } else { (good, bad + 1) };
                    wrong += usize::from(!right);
                }
            }
        }
        figure(10, format!("{good} good texts, {bad} bad ones: {wrong} wrong verdicts"), 0);
        assert_eq!(wrong, 0);
        assert!(good > 0 && bad > 0);
    });
}

/// Returns a few characters of one to four bytes; in some texts one byte is wrong, or the last character is cut.
fn random_text(random: &mut Random) -> Vec<u8> {
    let characters = 1 + random.below(24);
    let alphabet: Vec<char> = "aé€𐍈\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFF}\u{10FFFF}\0~".chars().collect();
    let mut text: Vec<u8> =
        (0..characters).map(|_| alphabet[random.below(alphabet.len())]).collect::<String>().into_bytes();
    match random.below(60) {
        0 => {
            let at = random.below(text.len());
            text[at] = random.number() as u8;
        }
        1 => drop(text.pop()),
        _ => {}
    }
    text
}

/// Writes the text in up to three fragments. An unfinished one announces more than comes.
fn fragments(bytes: &mut Vec<u8>, text: &[u8], ends: bool, random: &mut Random) {
    let mut rest = text;
    let mut opcode = TEXT;
    for _ in 0..random.below(3) {
        let (piece, after) = rest.split_at(random.below(rest.len() + 1));
        bytes.extend(masked(opcode, piece));
        (rest, opcode) = (after, CONTINUATION);
    }
    if ends {
        bytes.extend(masked(FIN | opcode, rest));
    } else {
        bytes.extend(header(FIN | opcode, Some(KEY), rest.len() as u64 + 100));
        bytes.extend(rest.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}
