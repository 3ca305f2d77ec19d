//! A drain as the operator sets it.

use std::time::{Duration, Instant};

use crate::client::{Client, Heard};
use crate::{Server, on_each_reactor};

#[test]
fn a_core_that_has_drained_is_not_taken_for_stalled_while_another_drains_on() {
    on_each_reactor(|reactor| {
        let flags = ["--drain-timeout-ms", "5500", "--close-timeout-ms", "60000", "--stall-timeout-ms", "3000"];
        let mut server = Server::start(reactor, &flags);
        // It never answers, so its core takes the whole time, and the other one none.
        let mut deaf = Client::open(&server.address);
        let begun = Instant::now();
        server.signal(libc::SIGTERM);
        assert_eq!(deaf.hear(), Heard::Close(1001));
        let status = server.ended();
        assert!(status.success(), "{status}: {}", server.log.iter().collect::<String>());
        assert!(begun.elapsed() >= Duration::from_millis(5_400), "{:?}", begun.elapsed());
    });
}
