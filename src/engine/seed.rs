//! The value that a core is made from, beside its handler, its reactor and its runtime.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::SystemTime;

use crate::engine::admission::Admission;
use crate::engine::counters::Counters;
use crate::engine::current::Following;
use crate::engine::limits::Limits;
use crate::engine::mail::MeshEntry;
use crate::engine::rates::SharedRates;
use crate::mesh::Mesh;
use crate::reactor::Listener;
use crate::tls::Acceptor;

/// See the module. The supervisor makes one for each core, and passes it to the core's thread.
#[derive(Debug)]
pub struct Seed {
    /// The number of the core, from 0.
    pub core: u16,
    /// The core's listeners, which it closes when it drains.
    pub listeners: Vec<Listener>,
    /// The limits of its sessions, which a reload replaces.
    pub limits: Following<Limits>,
    /// The counters of every core of the server, in the order of their numbers; this one counts in its own.
    pub counters_of_all: Arc<[Arc<Counters>]>,
    /// Connections of the whole process, over all cores.
    pub connections: Arc<AtomicUsize>,
    /// The admission policy, and the counts of each address over all cores.
    pub admission: Arc<Admission>,
    /// The units that subjects and addresses have spent, over all cores.
    pub rates: Arc<SharedRates>,
    /// The core's end of the mesh.
    pub mesh: Mesh<MeshEntry>,
    /// The clock for the dates of answers.
    pub clock: fn() -> SystemTime,
    /// The server's end of TLS, for the listeners that speak it.
    pub acceptor: Option<Arc<Acceptor>>,
    /// A clock in microseconds that never goes back, for what a turn may spend on handshakes of TLS.
    pub monotonic_us: fn() -> u64,
}
