//! One value of a layer: its key, the value as it was written, and its source.

use super::key::Key;
use super::source::Source;
use super::written::Written;

/// One value of a layer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) written: Written,
    pub(super) source: Source,
}
