//! The descriptors of the process: how many connections they allow.

use crate::engine::host::start_error::StartError;
use crate::reactor;

/// Returns the connections that the process can have beside so many other descriptors; an error if more are configured.
pub(in crate::engine) fn connections_max(wanted: usize, reserved: usize) -> Result<usize, StartError> {
    let limit = reactor::raise_descriptor_limit();
    let possible = limit.saturating_sub(reserved);
    if possible == 0 {
        return Err(StartError::NoDescriptors { reserved, limit });
    }
    if wanted == usize::MAX || wanted == 0 {
        return Ok(possible);
    }
    if wanted > possible {
        let needed = wanted.saturating_add(reserved);
        return Err(StartError::TooFewDescriptors { wanted, needed, limit, possible });
    }
    Ok(wanted)
}
