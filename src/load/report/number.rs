//! Numbers formatted for people.

use std::fmt;

use crate::units::digits;

/// A share from 0 to 1, displayed in percent.
pub(super) struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 * 100.0 {
            0.0 => "0 %".to_owned(),
            // A small share is not displayed as 0.
            percent if percent < 0.01 => "<0.01 %".to_owned(),
            percent => format!("{} %", digits(percent)),
        };
        f.pad(&text)
    }
}

/// A whole number, displayed with thousands separators.
pub(super) struct Grouped(pub f64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.0}", self.0.max(0.0));
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// Formats a number in few characters, for an axis.
pub(super) fn short(number: f64) -> String {
    let (scaled, unit) = match number {
        _ if number >= 1e9 => (number / 1e9, "G"),
        _ if number >= 1e6 => (number / 1e6, "M"),
        _ if number >= 1e3 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    format!("{}{unit}", plain(scaled))
}

/// Formats microseconds in few characters, for an axis.
pub(super) fn short_time(us: f64) -> String {
    match us {
        0.0 => "0".to_owned(),
        _ if us < 1e3 => format!("{} µs", plain(us)),
        _ if us < 1e6 => format!("{} ms", plain(us / 1e3)),
        _ => format!("{} s", plain(us / 1e6)),
    }
}

/// Formats a number with up to two decimals.
pub(super) fn plain(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Formats seconds since 1970 as a date in UTC.
pub(super) fn date(unix_s: u64) -> String {
    // Counts days in years that begin in March, so that a leap day is the last (Howard Hinnant, "chrono-compatible
    // low-level algorithms").
    let days = unix_s / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (unix_s / 3600 % 24, unix_s / 60 % 60);
    format!("{year}-{month:02}-{day_of_month:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_counts_are_shown_as_people_write_them() {
        for (part, shown) in [(0.0, "0 %"), (1e-6, "<0.01 %"), (0.0123, "1.23 %"), (1.0, "100 %")] {
            assert_eq!(Percent(part).to_string(), shown);
        }
        for (number, shown) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(Grouped(number).to_string(), shown);
        }
    }

    #[test]
    fn an_axis_has_short_numbers() {
        let shown = [0.0, 0.25, 500.0, 1_500.0, 18_000.0, 2e6].map(short);
        assert_eq!(shown, ["0", "0.25", "500", "1.5k", "18k", "2M"]);
        assert_eq!([0.0, 250.0, 1_500.0, 2e6].map(short_time), ["0", "250 µs", "1.5 ms", "2 s"]);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_s, shown) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (1_735_689_600, "2025-01-01 00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(unix_s), shown);
        }
    }
}
