//! The processor of each core's thread.
//!
//! A thread that stays on its processor finds its caches warm. But a processor that two processes have pinned a thread
//! to is shared while others idle. So by default a server pins its cores only if it has as many as there are processors
//! it may use: each core then has its own, and other processes on the host share all of them.

use core_affinity::CoreId;

/// The rule for pinning cores to processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pinning {
    /// Pins if there are as many cores as processors that the process may use.
    #[default]
    Auto,
    /// Always pins. With fewer cores than processors, processors on separate physical cores come first.
    Always,
    /// Never pins.
    Never,
}

/// Returns the processor of each core, or none for cores that run where the kernel puts them.
pub(in crate::engine) fn processors(pin: Pinning, cores: usize) -> Vec<Option<CoreId>> {
    // In the order of their numbers; none if the kernel does not list them.
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    assign(pin, cores, allowed.iter().map(|processor| processor.id), siblings)
        .into_iter()
        .map(|processor| processor.map(|id| CoreId { id }))
        .collect()
}

/// Pins this thread to a processor, if one is given. If that is not allowed, the kernel places the thread.
pub(in crate::engine) fn pin(core: usize, processor: Option<CoreId>) {
    if processor.is_some_and(|processor| !core_affinity::set_for_current(processor)) {
        tracing::debug!(core, "The core's thread could not be pinned to a processor.");
    }
}

fn assign(
    pin: Pinning,
    cores: usize,
    allowed: impl Iterator<Item = usize>,
    siblings: impl Fn(usize) -> Option<String>,
) -> Vec<Option<usize>> {
    let mut allowed: Vec<usize> = allowed.collect();
    let pins = match pin {
        Pinning::Auto => cores == allowed.len(),
        Pinning::Always => !allowed.is_empty(),
        Pinning::Never => false,
    };
    if !pins {
        return vec![None; cores];
    }
    if cores < allowed.len() {
        let mut seen = Vec::new();
        // The sort is stable, so that the numbers stay in order otherwise.
        allowed.sort_by_cached_key(|processor| {
            let shared = siblings(*processor);
            let is_second = shared.is_some() && seen.contains(&shared);
            seen.push(shared);
            is_second
        });
    }
    allowed.iter().copied().map(Some).cycle().take(cores).collect()
}

/// Returns the processors that share a physical core with this one, as the kernel writes them.
fn siblings(processor: usize) -> Option<String> {
    std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assigns four processors on two physical cores: 0 and 1 on one, 4 and 5 on the other.
    fn on_four(pin: Pinning, cores: usize) -> Vec<Option<usize>> {
        assign(pin, cores, [0, 1, 4, 5].into_iter(), |processor| Some(format!("{}", processor / 4)))
    }

    #[test]
    fn cores_are_pinned_by_themselves_only_if_each_has_a_processor_of_its_own() {
        for cores in [1, 2, 3, 5, 8] {
            assert_eq!(on_four(Pinning::Auto, cores), vec![None; cores]);
        }
        let all = [Some(0), Some(1), Some(4), Some(5)];
        assert_eq!(on_four(Pinning::Auto, 4), all);
        assert_eq!(on_four(Pinning::Never, 4), [None; 4]);
        assert_eq!(on_four(Pinning::Always, 4), all);
    }

    #[test]
    fn on_request_fewer_cores_share_no_physical_core_and_more_share_all_alike() {
        assert_eq!(on_four(Pinning::Always, 2), [Some(0), Some(4)]);
        assert_eq!(on_four(Pinning::Always, 3), [Some(0), Some(4), Some(1)]);
        assert_eq!(on_four(Pinning::Always, 6), [0, 1, 4, 5, 0, 1].map(Some));
        let unknown = assign(Pinning::Always, 2, [2, 3].into_iter(), |_| None);
        assert_eq!(unknown, [Some(2), Some(3)], "without a word on siblings they come in order");
    }

    #[test]
    fn where_the_kernel_does_not_tell_nothing_is_pinned() {
        for pin in [Pinning::Auto, Pinning::Always, Pinning::Never] {
            assert_eq!(assign(pin, 2, std::iter::empty(), |_| None), [None; 2]);
        }
    }
}
