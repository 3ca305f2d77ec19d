//! The outages of an issuer, and which of them the log tells.
//!
//! Has no clock. Invariant: an outage is told once, however many calls fail in it, and of several in a minute only the
//! first one is.

/// The shortest time between two outages that are told: an issuer that answers every other call would fill the log.
const TOLD_MS_MIN: u64 = 60 * 1000;

/// The outages of an issuer.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// The reason for which the last call failed, if it did.
    reason: Option<Box<str>>,
    /// The present outage was told.
    is_told: bool,
    told_at_ms: Option<u64>,
}

impl Outages {
    /// Returns the reason for which the last call failed, if it did.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Notes that a call failed. Returns whether an outage has begun that is to be told.
    pub(super) fn note_failure(&mut self, reason: String, now_ms: u64) -> bool {
        let has_begun = self.reason.replace(reason.into()).is_none();
        let is_told = has_begun && self.told_at_ms.is_none_or(|told_at_ms| now_ms >= told_at_ms + TOLD_MS_MIN);
        if is_told {
            self.is_told = true;
            self.told_at_ms = Some(now_ms);
        }
        is_told
    }

    /// Notes that a call succeeded. Returns whether an outage has ended that was told.
    pub(super) fn note_success(&mut self) -> bool {
        self.reason = None;
        std::mem::take(&mut self.is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_and_its_end_are_told_once_and_one_that_follows_soon_is_not() {
        let mut outages = Outages::default();
        let fail = |outages: &mut Outages, now_ms| outages.note_failure("no".to_owned(), now_ms);
        assert!(fail(&mut outages, 0) && !fail(&mut outages, 1) && !fail(&mut outages, 2 * TOLD_MS_MIN));
        assert_eq!(outages.reason(), Some("no"));
        assert!(outages.note_success() && !outages.note_success());
        assert_eq!(outages.reason(), None);
        assert!(fail(&mut outages, 2 * TOLD_MS_MIN) && outages.note_success());
        assert!(!fail(&mut outages, 3 * TOLD_MS_MIN - 1) && !outages.note_success());
        assert!(fail(&mut outages, 3 * TOLD_MS_MIN));
    }
}
