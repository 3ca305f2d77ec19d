//! Several cores of one process, whose turns the test controls one by one.

use std::rc::Rc;

use super::client::Client;
use super::handler::App;
use super::letter::{Letter, Post};
use super::world::{Process, World};
use crate::engine::{AdmissionPolicy, Limits, ServerHandle, SessionId};
use crate::reactor::sim::{DELAY_MAX_TURNS, Faults};

/// The most passes over all cores until they come to rest.
const SETTLE_PASSES_MAX: usize = 10_000;

pub struct Cluster {
    pub cores: Vec<World>,
    pub handle: ServerHandle<Letter>,
    pub post: Rc<Post>,
}

impl Cluster {
    pub fn new(cores: usize) -> Self {
        Self::with(cores, Limits::default())
    }

    pub fn with(cores: usize, limits: Limits) -> Self {
        let process = Process::new(cores, AdmissionPolicy::default(), &limits);
        let cores = (0..cores as u16)
            .map(|core| World::within(&process, core, App::new, limits.clone(), u64::from(core), Faults::default()))
            .collect();
        Self { cores, handle: process.handle.clone(), post: process.post }
    }

    /// Returns a client of a core that has subscribed to a topic, and has read the confirmation.
    pub fn member(&mut self, core: usize, topic: &str, how: &str) -> (Client, SessionId) {
        let (client, id) = self.cores[core].open_session();
        client.send(&format!("/join {topic} {how}"));
        self.settle();
        let told = self.cores[core].log.subscribed.borrow().iter().filter(|(of, _)| *of == id).count();
        assert_eq!(told, 1, "the subscription is confirmed, once");
        (client, id)
    }

    /// Runs turns until no core has anything to do.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..SETTLE_PASSES_MAX {
            let busy = self.cores.iter_mut().fold(false, |busy, core| core.turn() | busy);
            quiet = if busy { 0 } else { quiet + 1 };
            // Delayed completions may arrive as late as this.
            if quiet > DELAY_MAX_TURNS {
                return;
            }
        }
        panic!("the cores never come to rest");
    }

    /// Disconnects the clients of all cores before any core checks that none is left.
    fn end(&mut self) {
        self.cores.iter_mut().for_each(World::end);
    }

    /// Returns a count over all cores.
    pub fn sum(&self, count: impl Fn(&World) -> u64) -> u64 {
        self.cores.iter().map(count).sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}
