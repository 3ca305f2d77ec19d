//! Tests that the simulated kernel notices callers who break a reactor's contract.

use super::*;

/// Runs a wrong call on the accepted, watched `socket`, and asserts the words of the recorded violation.
fn assert_violation(words: &str, wrong: impl FnOnce(&mut Sim, &Network, Socket)) {
    let (mut sim, network, _peer, socket) = with_fault(Faults::default());
    sim.watch(socket, TOKEN);
    assert!(network.violations().is_empty());
    wrong(&mut sim, &network, socket);
    let violations = network.violations();
    assert!(violations.len() == 1 && violations[0].contains(words), "{violations:?}");
}

fn end(sim: &mut Sim, socket: Socket) {
    sim.unwatch(socket, TOKEN);
    while !turn(sim).iter().any(|it| matches!(it, Completion::WatchEnded { token: TOKEN, .. })) {}
    sim.close(socket);
}

#[test]
fn closing_under_a_watch_is_found_out() {
    assert_violation("closed while a watch is in flight", |sim, _, socket| sim.close(socket));
    assert_violation("closed while a watch is in flight", |sim, _, socket| {
        sim.unwatch(socket, TOKEN);
        sim.close(socket);
    });
}

#[test]
fn closing_under_a_send_is_found_out() {
    assert_violation("closed while a send is in flight", |sim, _, socket| {
        sim.unwatch(socket, TOKEN);
        turn(sim);
        sim.send(socket, TOKEN, chunks(b"x"));
        sim.close(socket);
    });
}

#[test]
fn closing_a_listener_that_accepts_is_found_out() {
    assert_violation("closed while accepting is in flight", |sim, network, _| {
        let listener = network.listen();
        sim.accept(listener);
        sim.close(listener);
    });
}

#[test]
fn closing_twice_is_found_out() {
    assert_violation("which is not open", |sim, _, socket| {
        end(sim, socket);
        sim.close(socket);
    });
}

#[test]
fn using_a_closed_socket_is_found_out() {
    let calls: [fn(&mut Sim, Socket); 7] = [
        |sim, socket| drop(sim.recv(socket, &mut [0; 8])),
        |sim, socket| drop(sim.send_now(socket, &[])),
        |sim, socket| sim.shutdown(socket, Shutdown::Both),
        |sim, socket| sim.discard_on_close(socket),
        |sim, socket| sim.watch(socket, TOKEN),
        |sim, socket| sim.unwatch(socket, TOKEN),
        |sim, socket| sim.send(socket, TOKEN, chunks(b"x")),
    ];
    for call in calls {
        assert_violation("which is not an open connection", |sim, _, socket| {
            end(sim, socket);
            call(sim, socket);
        });
    }
}

#[test]
fn a_stale_token_on_a_reused_descriptor_is_found_out() {
    assert_violation("but was used by", |sim, network, socket| {
        end(sim, socket);
        let _peer = network.connect();
        let reused = sim.accept_now(LISTENER).expect("it waits");
        assert_eq!(reused, socket);
        sim.watch(reused, Token { generation: TOKEN.generation + 1, ..TOKEN });
        sim.send(socket, TOKEN, chunks(b"for somebody else"));
    });
}

#[test]
fn a_slot_with_two_sockets_is_found_out() {
    assert_violation("but its slot has", |sim, network, _| {
        let _peer = network.connect();
        let second = sim.accept_now(LISTENER).expect("it waits");
        sim.watch(second, TOKEN);
    });
}

#[test]
fn two_sends_at_once_are_found_out() {
    assert_violation("while another is in flight", |sim, _, socket| {
        sim.send(socket, TOKEN, chunks(b"x"));
        sim.send(socket, TOKEN, chunks(b"y"));
    });
    assert_violation("send_now on descriptor", |sim, _, socket| {
        sim.send(socket, TOKEN, chunks(b"x"));
        let _ = sim.send_now(socket, &[IoSlice::new(b"y")]);
    });
}

#[test]
fn a_send_of_too_many_parts_is_found_out() {
    assert_violation("65 parts", |sim, _, socket| {
        sim.send(socket, TOKEN, Chunks::Many(vec![Bytes::new(); Chunks::PARTS_MAX + 1]));
    });
}

#[test]
fn two_watches_at_once_are_found_out() {
    assert_violation("watched already", |sim, _, socket| sim.watch(socket, TOKEN));
}

#[test]
fn ending_a_watch_that_was_known_to_be_over_is_found_out() {
    assert_violation("which is not watched", |sim, _, socket| {
        sim.unwatch(socket, TOKEN);
        turn(sim);
        turn(sim);
        sim.unwatch(socket, TOKEN);
    });
}

#[test]
fn accepting_twice_at_once_is_found_out() {
    assert_violation("accepting already", |sim, network, _| {
        let listener = network.listen();
        sim.accept(listener);
        sim.accept(listener);
    });
}

#[test]
fn accepting_from_what_does_not_listen_is_found_out() {
    assert_violation("accept on", |sim, _, socket| sim.accept(socket));
    assert_violation("stop_accepting on", |sim, _, socket| sim.stop_accepting(socket));
    assert_violation("accept_now on", |sim, _, socket| drop(sim.accept_now(socket)));
    assert_violation("accept_spare on", |sim, _, socket| drop(sim.accept_spare(socket)));
}

#[test]
fn a_recv_into_nothing_is_found_out() {
    assert_violation("has no buffer", |sim, _, socket| drop(sim.recv(socket, &mut [])));
}

// The simulation as a whole.
