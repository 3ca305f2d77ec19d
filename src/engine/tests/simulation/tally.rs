//! The number of events over many seeds, by name, to show that each event happens.

use std::collections::BTreeMap;
use std::fmt;

/// The columns of a printed line.
const COLUMNS: usize = 120;

/// Counts by group and name. A name that was announced and never happened has a count of zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(&'static str, String), u64>);

impl Tally {
    pub fn add(&mut self, group: &'static str, name: impl fmt::Display, count: u64) {
        *self.0.entry((group, name.to_string())).or_default() += count;
    }

    pub fn merge(&mut self, other: Tally) {
        for (key, count) in other.0 {
            *self.0.entry(key).or_default() += count;
        }
    }

    /// Returns the names that never happened.
    pub fn dead(&self) -> Vec<String> {
        let dead = self.0.iter().filter(|(_, count)| **count == 0);
        dead.map(|((group, name), _)| format!("{group}: {name}")).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        let mut column = 0;
        for ((group, name), count) in &self.0 {
            if *group != last {
                write!(f, "\n{group}:")?;
                (last, column) = (group, group.len() + 1);
            }
            let word = format!(" {name} {count},");
            if column + word.len() > COLUMNS {
                write!(f, "\n   ")?;
                column = 3;
            }
            column += word.len();
            write!(f, "{word}")?;
        }
        writeln!(f)
    }
}
