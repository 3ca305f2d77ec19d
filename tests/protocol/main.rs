//! The frame layer, tested against RFC 6455 through its public API.
//!
//! Every byte string goes through [`harness::Endpoint::receive`], which splits it in many ways and demands one outcome.

mod allocator;
mod closing;
mod compression;
mod harness;
mod interop;
mod limits;
mod memory;
mod properties;
mod reads;
mod rules;
mod text;
mod wire;
