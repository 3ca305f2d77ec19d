//! Axes of a plot: the position of a value, and the values that are labelled.

/// The scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal differences are equally far apart; starts at 0.
    Linear,
    /// Equal factors are equally far apart.
    Logarithmic,
    /// Percentiles by their nines: 90, 99 and 99.9 are equally far apart, which leaves room for the tail.
    Nines,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub scale: Scale,
    /// The quantity and its unit.
    pub title: &'static str,
    /// Formats a label.
    pub written: fn(f64) -> String,
    /// The values to label; if empty, the axis chooses them.
    pub ticks: Vec<f64>,
}

/// The percentiles that are labelled.
const NINES: [f64; 7] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];

/// The number of ticks that an axis has room for.
const TICKS_MAX: f64 = 6.0;

impl Scale {
    /// Returns the position of a value, without unit. The logarithm of 0 is replaced by that of a very small value.
    pub fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.max(1e-9).log10(),
            Self::Nines => -(1.0 - value / 100.0).max(1e-9).log10(),
        }
    }

    /// Returns the first and the last value of an axis that has room for all values.
    pub fn range(self, values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        match self {
            Self::Linear if high > 0.0 => Some((0.0, high * 1.06)),
            Self::Logarithmic if high > 0.0 => Some((low.max(high / 1e9) / 1.15, high * 1.15)),
            Self::Nines if high > 0.0 => Some((0.0, high)),
            _ => None,
        }
    }
}

impl Axis {
    pub fn new(scale: Scale, title: &'static str, written: fn(f64) -> String) -> Self {
        Self { scale, title, written, ticks: Vec::new() }
    }

    /// Returns the values to label from `low` to `high`.
    pub fn ticks(&self, low: f64, high: f64) -> Vec<f64> {
        let ticks = match self.scale {
            _ if !self.ticks.is_empty() => self.ticks.clone(),
            Scale::Linear => round_steps(high),
            Scale::Logarithmic => powers(low, high),
            Scale::Nines => NINES.to_vec(),
        };
        let (first, last) = (self.scale.place(low), self.scale.place(high));
        // A small tolerance, because 0.1 is inexact in binary. It applies to positions, not values: above 99.9999 a
        // small difference in value is a large one in position.
        let hair = (last - first) * 1e-6;
        ticks.into_iter().filter(|tick| (first - hair..=last + hair).contains(&self.scale.place(*tick))).collect()
    }
}

/// Returns values from 0 to `high`, in steps of 1, 2, 2.5 or 5 times a power of ten.
fn round_steps(high: f64) -> Vec<f64> {
    let rough = high / TICKS_MAX;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (0..=(high / step) as usize).map(|number| number as f64 * step).collect()
}

/// Returns powers of ten, and also their double and fivefold if there are few of them.
fn powers(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let times: &[f64] = if last - first <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    (first..=last).flat_map(|power| times.iter().map(move |times| times * 10f64.powi(power))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_stand_equally_far_apart_by_their_nines() {
        let places = [0.0, 90.0, 99.0, 99.9].map(|percent| Scale::Nines.place(percent));
        for (place, expected) in places.into_iter().zip([0.0, 1.0, 2.0, 3.0]) {
            assert!((place - expected).abs() < 1e-9, "{place}");
        }
        let axis = Axis::new(Scale::Nines, "", |_| String::new());
        assert_eq!(axis.ticks(0.0, 99.995), [50.0, 90.0, 99.0, 99.9, 99.99]);
        assert_eq!(axis.ticks(0.0, 99.999_85).last(), Some(&99.999), "the next has no place on it");
        assert_eq!(axis.ticks(0.0, 99.999_9).last(), Some(&99.999_9));
    }

    #[test]
    fn ticks_are_round_and_few() {
        let linear = Axis::new(Scale::Linear, "", |_| String::new());
        assert_eq!(linear.ticks(0.0, 92_310.0), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0]);
        assert_eq!(linear.ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        for high in [0.003, 7.0, 10.0, 99.0, 123_456.0, 1e9] {
            let ticks = linear.ticks(0.0, high);
            assert!((4..=8).contains(&ticks.len()), "{high}: {ticks:?}");
        }
        let logarithmic = Axis::new(Scale::Logarithmic, "", |_| String::new());
        assert_eq!(logarithmic.ticks(80.0, 2_500.0), [100.0, 200.0, 500.0, 1_000.0, 2_000.0]);
        assert_eq!(logarithmic.ticks(3.0, 20_000.0), [10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn nothing_to_show_has_no_range() {
        for scale in [Scale::Linear, Scale::Logarithmic, Scale::Nines] {
            assert_eq!(scale.range([0.0, 0.0].into_iter()), None);
            assert_eq!(scale.range([].into_iter()), None);
        }
    }
}
