//! The header Date of a response (RFC 9110 6.6.1).
//!
//! Owns the form of the date, which httpdate writes. Never reads a clock: the caller passes the time, and keeps the
//! date for its second. Invariant: a [`Date`] is an IMF-fixdate, so it cannot end a line.

use std::fmt;
use std::io::Write as _;
use std::str;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;

/// A time to the second as HTTP writes it, such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Date([u8; Date::BYTES]);

impl Date {
    /// The length of every date, in bytes.
    pub const BYTES: usize = 29;

    /// The last second of the year 9999, counted from 1970: years have four digits.
    const SECONDS_MAX: u64 = 253_402_300_799;

    /// Returns the date as text.
    pub fn as_str(&self) -> &str {
        // An IMF-fixdate is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(in crate::protocol) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Clamps a time to the years 1970 to 9999; no host's clock is outside them.
impl From<SystemTime> for Date {
    fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(Self::SECONDS_MAX));
        let mut text = [b' '; Self::BYTES];
        // The buffer has room for all of it.
        let written = write!(&mut text[..], "{}", HttpDate::from(time));
        debug_assert!(written.is_ok());
        Self(text)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Date").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_time_as_an_imf_fixdate() {
        let at = |seconds| Date::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0).as_str(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(784_111_777).as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(951_868_799).as_str(), "Tue, 29 Feb 2000 23:59:59 GMT");
        assert_eq!(at(Date::SECONDS_MAX).as_str(), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn takes_the_nearest_year_that_can_be_written() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let after = SystemTime::UNIX_EPOCH + Duration::from_secs(Date::SECONDS_MAX + 1);
        assert_eq!(Date::from(before).as_str(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(Date::from(after).as_str(), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
