//! Reasons as they are counted: a closed list, each with a short name.
//!
//! Never counts. Invariant: every value of a type has its own name. For an enum named with `reasons!` the compiler
//! ensures it: a variant without a name does not compile.

/// A type whose every value maps to one of a few named reasons.
pub trait Reason {
    /// The label of the metric that these names are values of.
    const LABEL: &'static str = "reason";

    /// The name of every reason, in snake case, indexed by [`Reason::index`].
    const NAMES: &'static [&'static str];

    /// Returns the index of this value in [`Reason::NAMES`].
    fn index(&self) -> usize;

    /// Returns the name of this value.
    fn name(&self) -> &'static str {
        Self::NAMES.get(self.index()).copied().unwrap_or_default()
    }
}

/// Names the variants of an enum, regardless of their fields: `reasons! { Violation: Unmasked = "unmasked", }`.
macro_rules! reasons {
    ($type:ty: $($variant:ident = $name:literal,)+) => {
        impl $crate::protocol::Reason for $type {
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn index(&self) -> usize {
                enum Place { $($variant),+ }
                match self { $(Self::$variant { .. } => Place::$variant as usize,)+ }
            }
        }
    };
}

pub(crate) use reasons;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Refusal;
    use crate::protocol::{CloseCode, Violation};

    fn names_are_distinct_and_short<R: Reason>() {
        let mut names = R::NAMES.to_vec();
        assert!(names.iter().all(|name| name.len() <= 40 && !name.is_empty()), "{names:?}");
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        assert!(names.iter().all(|name| name.bytes().all(is_plain)), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), R::NAMES.len(), "a name is given twice: {:?}", R::NAMES);
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        names_are_distinct_and_short::<Violation>();
        names_are_distinct_and_short::<Refusal>();
        names_are_distinct_and_short::<Option<CloseCode>>();
    }

    #[test]
    fn a_variant_is_found_by_its_name_whatever_it_carries() {
        let name = |violation: Violation| Violation::NAMES[violation.index()];
        assert_eq!(name(Violation::Unmasked), "unmasked");
        assert_eq!(name(Violation::MessageTooLarge { bytes: 2, max: 1 }), "message_too_large");
        assert_eq!(name(Violation::MessageTooLarge { bytes: 9, max: 3 }), "message_too_large");
        assert_eq!(Refusal::NAMES[Refusal::HeaderMissing { name: "Host" }.index()], "header_missing");
    }
}
