//! Tests of tokens, with keys that are made for them.

mod hostile;
mod keys;
mod verifying;
