//! The mesh, outside of the crate; under `--cfg loom` only the parts that have models. See scripts/loom.

#[cfg(not(loom))]
#[path = "../../../src/mesh/mod.rs"]
pub mod mesh;

#[cfg(all(test, loom))]
#[path = "../../../src/mesh/park.rs"]
mod park;
