//! ringsock: a WebSocket server for Linux, and the engine it is made of.

pub mod protocol;
