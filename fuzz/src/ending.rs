//! One close code for each error: the behaviour of a connection once its peer has violated a rule.

use ringsock::protocol::{Close, Connection, Role, State, Violation};

use crate::harness::{Endpoint, Received};

/// The key of a client's frames.
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Fails `connection` because of `violation`, and looks at all it writes and reads from then on.
pub fn check(role: Role, mut connection: Connection, violation: &Violation) {
    let state = connection.state();
    let mask = (role == Role::Client).then_some(KEY);
    let reason = violation.to_string();
    assert!(reason.starts_with(char::is_uppercase) && reason.ends_with('.'), "no sentence: {reason}");
    let code = violation.close_code();
    assert!(matches!(code.number(), 1002 | 1007 | 1008 | 1009), "{code} for {violation:?}");
    let mut out = Vec::new();
    connection.fail(&mut out, Close::new(code, &reason), mask);
    assert_eq!(connection.state(), State::Closed);
    assert_eq!(connection.assembling_since(), None, "a failed connection holds a buffer");
    let written = out.len();
    assert!(!connection.close(&mut out, None, mask));
    connection.fail(&mut out, Close::new(code, &reason), mask);
    assert_eq!(out.len(), written, "more than one Close frame was written");
    let peer = match role {
        Role::Server => Endpoint::client(),
        Role::Client => Endpoint::server(),
    };
    let heard = peer.reader().read_in_pieces(&out, &[]);
    match (state, &heard.events[..]) {
        (State::CloseSent | State::Closed, []) => {}
        (State::Open | State::CloseReceived, [Received::Close(Some((number, _)))]) => {
            assert_eq!(*number, code.number())
        }
        _ => panic!("a connection in {state:?} that {violation:?} failed said {heard:?}"),
    }
}
