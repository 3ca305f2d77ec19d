//! Tests of decisions on upgrades: immediate, later, too late, and after the client has left.

use super::world::World;

#[test]
fn a_subprotocol_that_was_offered_is_agreed_on() {
    let mut world = World::new();
    let mut client = world.connect();
    client.ask("/protocol", &["chat", "superchat"]);
    world.settle();
    let head = String::from_utf8(client.bytes()).unwrap();
    assert!(head.contains("Sec-WebSocket-Protocol: superchat\r\n"), "{head}");
}

#[test]
fn an_upgrade_that_is_rejected_gets_the_handlers_answer_and_no_session() {
    for target in ["/reject", "/later-reject"] {
        let mut world = World::new();
        world.log.gate.open();
        let mut client = world.connect();
        client.ask(target, &[]);
        world.settle();
        assert_eq!(client.answer().unwrap().body, "No.\n");
        assert!(client.is_at_end());
        assert!(world.log.opened.borrow().is_empty());
    }
}

#[test]
fn a_decision_that_cannot_be_carried_out_is_answered_with_500() {
    let targets = [
        "/panic",
        "/unknown-protocol",
        "/bad-header",
        "/bomb-and-bad-header",
        "/later-panic",
        "/later-unknown-protocol",
    ];
    for target in targets {
        let mut world = World::new();
        world.log.gate.open();
        let mut client = world.connect();
        client.ask(target, &["chat"]);
        world.settle();
        assert_eq!(client.statuses(), [500], "{target}");
        assert!(client.is_at_end());
        assert_eq!(world.counters.upgraded.read(), 0);
    }
}

#[test]
fn a_decision_may_take_its_time() {
    for target in ["/later", "/later-twice"] {
        let mut world = World::new();
        let mut client = world.connect();
        client.ask(target, &[]);
        world.advance(4_900);
        assert!(client.hears_nothing());
        world.log.gate.open();
        world.settle();
        assert!(client.is_accepted());
        client.send("hello");
        world.advance(10_000);
        assert_eq!(client.frames(), [super::client::text("hello")]);
    }
}

#[test]
fn a_session_is_subscribed_as_it_opens_to_the_topics_that_its_decision_named() {
    for target in ["/joined", "/joined-later"] {
        let mut world = World::new();
        world.log.gate.open();
        let mut client = world.connect();
        client.ask(target, &[]);
        world.settle();
        assert!(client.is_accepted());
        let id = world.log.opened.borrow()[0];
        assert_eq!(*world.log.subscribed.borrow(), [(id, "news".to_owned())], "{target}");
        assert_eq!(world.counters.subscriptions.read(), 1);
    }
}

#[test]
fn a_session_whose_named_topic_is_refused_is_closed_with_1013() {
    let mut world = World::new();
    let mut client = world.connect();
    client.ask("/joined-to-nothing", &[]);
    world.settle();
    assert!(client.is_accepted());
    assert!(client.hears_close(1013));
    assert_eq!(world.log.opened.borrow().len(), 1, "open and close are called in pairs");
}

#[test]
fn a_decision_that_comes_too_late_is_not_carried_out() {
    let mut world = World::new();
    let mut client = world.connect();
    client.ask("/later", &[]);
    world.advance(5_050);
    assert_eq!(client.statuses(), [500]);
    world.log.gate.open();
    world.settle();
    assert!(client.is_at_end());
    assert!(world.log.opened.borrow().is_empty());
}

#[test]
fn a_decision_for_a_client_that_has_gone_reaches_nobody() {
    for target in ["/later", "/later-panic", "/later-bomb"] {
        for reset in [true, false] {
            let mut world = World::new();
            let mut client = world.connect();
            client.ask(target, &[]);
            world.settle();
            if reset {
                client.peer.reset()
            } else {
                client.peer.finish()
            }
            world.settle();
            // The session that has the slot now has nothing to do with the decision.
            let mut other = world.connect();
            world.log.gate.open();
            world.settle();
            assert!(other.hears_nothing(), "{target}");
            assert!(world.log.opened.borrow().is_empty());
            assert_eq!(world.core.sessions(), 1);
        }
    }
}

#[test]
fn a_decision_for_a_draining_core_is_answered_with_503() {
    for target in ["/later", "/later-bomb"] {
        let mut world = World::new();
        let mut client = world.connect();
        client.ask(target, &[]);
        world.settle();
        world.core.drain();
        world.settle();
        world.log.gate.open();
        world.settle();
        assert_eq!(client.statuses(), [503]);
        assert!(client.is_at_end());
    }
}

#[test]
fn a_decision_that_panics_is_counted_though_its_client_has_gone_or_the_server_drains() {
    for drains in [false, true] {
        let mut world = World::new();
        let mut client = world.connect();
        client.ask("/later-panic", &[]);
        world.settle();
        if drains {
            world.core.drain();
        } else {
            client.peer.reset();
        }
        world.log.gate.open();
        world.settle();
        assert_eq!(world.counters.handler_panics.read(), 1);
    }
}
