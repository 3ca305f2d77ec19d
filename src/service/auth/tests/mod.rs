//! Tests of tokens, with keys that are made for them.

mod hostile;
mod issuers;
mod key_sets;
mod keys;
mod published;
mod verifying;
