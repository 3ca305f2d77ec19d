//! Bounds of a sysctl's value, field by field. A value that exceeds the goal is left alone.

/// The bound of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// At least this; more does no harm.
    AtLeast(i64),
    /// At most this; less does no harm.
    AtMost(i64),
    /// Between the first and the second; the third is the value to set otherwise.
    Between(i64, i64, i64),
    /// Any value; this one is set if there is none.
    Any(i64),
}

impl Bound {
    /// Returns a bound that allows a single value.
    pub(super) fn exactly(value: i64) -> Self {
        Self::Between(value, value, value)
    }

    /// Returns the value to set if the current one is unknown.
    fn target(self) -> i64 {
        match self {
            Self::AtLeast(value) | Self::AtMost(value) | Self::Between(_, _, value) | Self::Any(value) => value,
        }
    }

    /// Returns the value, changed no more than needed.
    fn adjust(self, value: i64) -> i64 {
        let holds = match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Between(least, most, _) => (least..=most).contains(&value),
            Self::Any(_) => true,
        };
        if holds { value } else { self.target() }
    }
}

/// Returns the value to set if the current one is unknown.
pub(super) fn target(bounds: &[Bound]) -> String {
    join(bounds.iter().map(|bound| bound.target()))
}

/// Returns the current value, changed no more than needed, or the target if the value cannot be parsed.
pub(super) fn adjust(bounds: &[Bound], current: &str) -> String {
    let fields: Result<Vec<i64>, _> = current.split_whitespace().map(str::parse).collect();
    match fields {
        Ok(fields) if fields.len() == bounds.len() => {
            join(bounds.iter().zip(fields).map(|(bound, field)| bound.adjust(field)))
        }
        _ => target(bounds),
    }
}

/// Returns a value with single spaces between fields; the kernel separates them by tabs.
pub(super) fn normalized(value: &str) -> String {
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
            assert_eq!(adjust(&[bound], current), wanted, "{bound:?} of {current}");
        }
    }

    #[test]
    fn each_field_is_compared_by_itself() {
        let bounds = [Bound::AtLeast(4096), Bound::AtMost(16_384), Bound::AtLeast(4_194_304)];
        assert_eq!(adjust(&bounds, "4096\t131072\t33554432\n"), "4096 16384 33554432");
        assert_eq!(adjust(&bounds, "8192 8192 1000"), "8192 8192 4194304");
        assert_eq!(target(&bounds), "4096 16384 4194304");
    }

    #[test]
    fn a_value_that_is_not_understood_gives_way_to_the_target() {
        for current in ["", "many", "1", "1 2 3 4", "1 2 99999999999999999999"] {
            assert_eq!(adjust(&[Bound::AtLeast(1), Bound::Any(2), Bound::AtMost(3)], current), "1 2 3", "{current}");
        }
    }
}
