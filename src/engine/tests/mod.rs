//! Tests of the engine over the simulated reactor: each promise on its own, and a simulation of a whole process that
//! must keep all of them at once.
//!
//! A test builds a [`world::World`], whose clock only the test moves, and talks to it through [`client::Client`]s. When
//! a world is dropped, it checks the conditions that hold after every test: see [`world::World::end`].

mod board;
mod client;
mod cluster;
mod dice;
mod handler;
mod ledger;
mod letter;
mod limits;
mod log;
mod mail;
mod secure;
mod trace;
mod world;

mod accepting;
mod admission;
mod answers;
mod backpressure;
mod bodies;
mod closing;
mod compression;
mod drain;
mod input;
mod overflow;
mod panics;
mod races;
mod rates;
mod reasons;
mod reload;
mod requests;
mod simulation;
mod taking;
mod tasks;
mod timeouts;
mod tls;
mod topics;
mod upgrades;
mod wakes;
