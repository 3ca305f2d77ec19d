//! How far a sysctl's value is from what is wanted, field by field. What is better than wanted stays.

/// What one field of a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// More does no harm.
    AtLeast(i64),
    /// Less does no harm.
    AtMost(i64),
    /// From the first to the second; the third is what to choose.
    Between(i64, i64, i64),
    /// Whatever it is.
    Any(i64),
}

impl Bound {
    /// This and no other.
    pub(super) fn exactly(value: i64) -> Self {
        Self::Between(value, value, value)
    }

    /// What to set where nothing is known of the present value.
    fn target(self) -> i64 {
        match self {
            Self::AtLeast(value) | Self::AtMost(value) | Self::Between(_, _, value) | Self::Any(value) => value,
        }
    }

    /// The value, changed no more than needed.
    fn bring(self, value: i64) -> i64 {
        let holds = match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Between(least, most, _) => (least..=most).contains(&value),
            Self::Any(_) => true,
        };
        if holds { value } else { self.target() }
    }
}

/// What to set where nothing is known of the present value.
pub(super) fn target(bounds: &[Bound]) -> String {
    join(bounds.iter().map(|bound| bound.target()))
}

/// The present value, changed no more than needed. One that cannot be understood gives way to the target.
pub(super) fn bring(bounds: &[Bound], current: &str) -> String {
    let fields: Result<Vec<i64>, _> = current.split_whitespace().map(str::parse).collect();
    match fields {
        Ok(fields) if fields.len() == bounds.len() => {
            join(bounds.iter().zip(fields).map(|(bound, field)| bound.bring(field)))
        }
        _ => target(bounds),
    }
}

/// A value as it is written and compared: the kernel sets fields apart by tabs.
pub(super) fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn join(fields: impl Iterator<Item = i64>) -> String {
    fields.map(|field| field.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_value_stays_and_a_worse_one_becomes_what_is_wanted() {
        for (bound, current, wanted) in [
            (Bound::AtLeast(65_535), "4096", "65535"),
            (Bound::AtLeast(65_535), "65535", "65535"),
            (Bound::AtLeast(65_535), "9223372036854775807", "9223372036854775807"),
            (Bound::AtMost(3), "5", "3"),
            (Bound::AtMost(3), "2", "2"),
            (Bound::exactly(1), "0", "1"),
            (Bound::exactly(1), "2", "1"),
            (Bound::Between(1, 3, 3), "0", "3"),
            (Bound::Between(1, 3, 3), "2", "2"),
            (Bound::Between(1, 3, 3), "8", "3"),
            (Bound::Between(0, 1, 0), "2", "0"),
            (Bound::Any(7), "-4", "-4"),
        ] {
            assert_eq!(bring(&[bound], current), wanted, "{bound:?} of {current}");
        }
    }

    #[test]
    fn each_field_is_compared_by_itself() {
        let bounds = [Bound::AtLeast(4096), Bound::AtMost(16_384), Bound::AtLeast(4_194_304)];
        assert_eq!(bring(&bounds, "4096\t131072\t33554432\n"), "4096 16384 33554432");
        assert_eq!(bring(&bounds, "8192 8192 1000"), "8192 8192 4194304");
        assert_eq!(target(&bounds), "4096 16384 4194304");
    }

    #[test]
    fn a_value_that_is_not_understood_gives_way_to_the_target() {
        for current in ["", "many", "1", "1 2 3 4", "1 2 99999999999999999999"] {
            assert_eq!(bring(&[Bound::AtLeast(1), Bound::Any(2), Bound::AtMost(3)], current), "1 2 3", "{current}");
        }
    }
}
