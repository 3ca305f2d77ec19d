//! The mesh as it is, out of the crate; under `--cfg loom` only what there are models of. See scripts/loom.

#[cfg(not(loom))]
#[path = "../../../src/mesh/mod.rs"]
pub mod mesh;

#[cfg(all(test, loom))]
#[path = "../../../src/mesh/park.rs"]
mod park;
