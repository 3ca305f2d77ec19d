//! The assertions of the fuzz targets, one module each, apart from libFuzzer: the same checks replay the corpora in
//! `scripts/test`.
//!
//! Every `check` takes any bytes at all. It panics if, and only if, ringsock violates one of the rules that its module
//! names. See docs/fuzzing.md.

pub mod close;
pub mod deflate;
pub mod differential;
pub mod discovery;
pub mod frame_stream;
pub mod handshake;
pub mod hook_answer;
pub mod http_body;
pub mod introspection;
pub mod key_set;
pub mod message;
pub mod request_head;
pub mod tls_records;
pub mod token;

mod ending;
mod head;
mod input;
mod sent;

#[path = "../../tests/protocol/allocator.rs"]
mod allocator;
#[allow(dead_code, reason = "the protocol's tests use all of it")]
#[path = "../../tests/protocol/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the protocol's tests use all of it")]
#[path = "../../tests/protocol/wire.rs"]
mod wire;

/// A target's name, and its check of an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; the corpora are directories of these names.
pub const TARGETS: &[Target] = &[
    ("close", close::check),
    ("deflate", deflate::check),
    ("differential", differential::check),
    ("discovery", discovery::check),
    ("frame_stream", frame_stream::check),
    ("handshake", handshake::check),
    ("hook_answer", hook_answer::check),
    ("http_body", http_body::check),
    ("introspection", introspection::check),
    ("key_set", key_set::check),
    ("message", message::check),
    ("request_head", request_head::check),
    ("tls_records", tls_records::check),
    ("token", token::check),
];
