//! Row 32: connections that open and close without end, and handles that outlive their sessions.

use std::collections::VecDeque;

use ringsock::engine::SessionHandle;
use ringsock::{Sent, Session};

use crate::attacker::{Next, Peer};
use crate::misbehaving::Misbehaving;
use crate::server::Server;
use crate::{Random, figure, on_each_reactor, scaled};

/// Connections in one batch: fewer than the queue of a listener holds.
const AT_ONCE: usize = 250;

/// Handles that a core keeps of sessions of the last few batches, most of which have ended.
const KEPT_MAX: usize = 1_000;

const HAUNTED_BY: usize = 16;

/// The handler's part: the handles of a core's sessions, kept after their end. `keep NAME` and `haunt` are its
/// commands.
#[derive(Default)]
pub struct Kept(VecDeque<(SessionHandle<Misbehaving>, String)>);

impl Kept {
    /// Keeps a handle of the session under a name.
    pub fn keep(&mut self, session: &mut Session<'_, Misbehaving>, name: &str) {
        if self.0.len() == KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((session.handle(), name.to_owned()));
        session.send(name);
    }

    /// Sends each kept handle the name it was kept under, and then the number of sessions that existed.
    pub fn haunt(&mut self, session: &mut Session<'_, Misbehaving>) {
        let (kept, asker) = (self.0.clone(), session.handle());
        session.spawn(async move {
            let mut reached = 0;
            for (handle, name) in kept {
                reached += usize::from(handle.send(&*format!("to {name}")).await != Sent::Dropped);
            }
            asker.send(&*format!("reached {reached}")).await;
        });
    }
}

#[test]
fn row_32_connections_that_come_and_go_leave_nothing_and_no_handle_reaches_a_stranger() {
    // Scaled by the square root: a connection takes time, and a hundredth of a million shows most of it.
    let per_round = scaled(scaled(1_000_000)).div_ceil(3 * AT_ONCE) * AT_ONCE;
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        assert_eq!(haunted_while_there(&server), 1, "a handle reaches its own session");
        let mut random = Random(32);
        let (mut memory, mut strangers) = (Vec::new(), 0);
        for _ in 0..3 {
            for _ in 0..per_round / AT_ONCE {
                strangers += come_and_go(&server, &mut random);
            }
            assert_eq!(server.await_descriptors(server.descriptors_before()), server.descriptors_before());
            memory.push(server.memory());
        }
        let grown = memory[2].saturating_sub(memory[0]);
        let bound = (memory[0] / 50).max(4 << 20);
        figure(
            32,
            format!(
                "{} connections in 3 rounds: memory + {} KiB from round 1 to 3, {strangers} strangers reached",
                3 * per_round,
                grown >> 10
            ),
            "2 % or 4096 KiB, 0",
        );
        assert!(grown <= bound);
        assert_eq!(strangers, 0);
    });
}

/// Makes a session ask to be sent to by its own handle. Returns how many messages arrived.
fn haunted_while_there(server: &Server) -> usize {
    let mut peer = Peer::open(server.address);
    assert_eq!(peer.ask("keep me"), "me");
    assert_eq!(peer.ask("haunt"), "to me");
    match peer.next() {
        Next::Frame(0x81, text) => String::from_utf8(text).unwrap().strip_prefix("reached ").unwrap().parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Opens sessions in the slots of earlier ones whose handles were kept. Returns how many received another's message.
fn come_and_go(server: &Server, random: &mut Random) -> usize {
    let mut peers = Peer::open_many(server.address, AT_ONCE);
    // Before any of these handles is kept, all sessions of kept handles have ended.
    peers.iter_mut().take(HAUNTED_BY).for_each(|peer| peer.say("haunt"));
    let mut strangers = 0;
    for (index, peer) in peers.iter_mut().enumerate() {
        if index < HAUNTED_BY {
            strangers += usize::from(peer.next() != Next::Frame(0x81, b"reached 0".to_vec()));
        }
    }
    peers.iter_mut().enumerate().for_each(|(index, peer)| peer.say(&format!("keep {index}")));
    for (index, peer) in peers.iter_mut().enumerate() {
        strangers += usize::from(peer.next() != Next::Frame(0x81, index.to_string().into_bytes()));
    }
    for mut peer in peers {
        match random.below(3) {
            0 => peer.reset(),
            1 => {
                peer.close(1000);
                strangers += usize::from(peer.read_close() != Ok(Some(1000)));
            }
            _ => drop(peer),
        }
    }
    // All of these end before the next open.
    server.await_descriptors(server.descriptors_before());
    strangers
}
