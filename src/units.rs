//! Quantities formatted for people: bytes and times in a unit that suits them, with three significant digits at most.

use std::fmt;

/// Bytes of a mebibyte.
pub(crate) const MIB: f64 = KIB * KIB;

const KIB: f64 = 1024.0;

/// A number of bytes.
pub(crate) struct Bytes(pub f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes if bytes.abs() < KIB => format!("{bytes:.0} B"),
            bytes if bytes.abs() < MIB => format!("{} KiB", digits(bytes / KIB)),
            bytes if bytes.abs() < KIB * MIB => format!("{} MiB", digits(bytes / MIB)),
            bytes if bytes.abs() < MIB * MIB => format!("{} GiB", digits(bytes / KIB / MIB)),
            bytes => format!("{} TiB", digits(bytes / MIB / MIB)),
        };
        f.pad(&text)
    }
}

/// A time in microseconds.
pub(crate) struct Time(pub f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            us if us < 1_000.0 => format!("{us:.0} µs"),
            us if us < 1_000_000.0 => format!("{} ms", digits(us / 1e3)),
            us => format!("{} s", digits(us / 1e6)),
        };
        f.pad(&text)
    }
}

/// Formats a number with three significant digits at most, without trailing zeros: 1.23, 12.3, 123, 8.
pub(crate) fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => return format!("{number:.0}"),
    };
    let text = format!("{number:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_a_unit_that_suits_them() {
        for (bytes, shown) in [
            (0.0, "0 B"),
            (272.0, "272 B"),
            (-3.0, "-3 B"),
            (1024.0, "1 KiB"),
            (1536.0, "1.5 KiB"),
            (51_200.0, "50 KiB"),
            (8_388_608.0, "8 MiB"),
            (1.5e9, "1.4 GiB"),
            (25_276_035_072.0, "23.5 GiB"),
            (3e12, "2.73 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }

    #[test]
    fn times_are_shown_in_a_unit_that_suits_them() {
        for (us, shown) in
            [(0.4, "0 µs"), (999.0, "999 µs"), (1_234.0, "1.23 ms"), (93_640.0, "93.6 ms"), (1_234_567.0, "1.23 s")]
        {
            assert_eq!(Time(us).to_string(), shown);
        }
        assert_eq!(format!("{:>8}", Time(5.0)), "    5 µs");
    }
}
