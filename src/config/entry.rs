//! One value of a layer: its key, the value as it was written, and its source.

use super::key::Key;
use super::raw_value::RawValue;
use super::source::Source;

/// One value of a layer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) raw: RawValue,
    pub(super) source: Source,
}
