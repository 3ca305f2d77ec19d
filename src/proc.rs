//! The formats of the kernel's text files in /proc.
//!
//! Owns the parsing of their lines. Never opens a file: callers read below `/` or another root. Invariant: a value that
//! is missing or malformed is `None`.

/// Returns the text that follows `name` at the start of a line.
pub(crate) fn rest_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

/// Returns the word that follows `name` at the start of a line.
pub(crate) fn word_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    rest_after(text, name)?.split_whitespace().next()
}

/// Returns the number that follows `name` at the start of a line.
pub(crate) fn number_after(text: &str, name: &str) -> Option<u64> {
    word_after(text, name)?.parse().ok()
}

/// Returns the value of a line such as `Slab:  1234 kB`, in bytes.
pub(crate) fn bytes_after(text: &str, name: &str) -> Option<u64> {
    number_after(text, name)?.checked_mul(1024)
}

/// Returns the first two numbers of a `schedstat`: a thread's time on a processor and its time waiting for one, in
/// nanoseconds.
#[cfg(feature = "cli")]
pub(crate) fn sched_stat(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_the_beginning_of_its_line() {
        let text = "A: 1\nVmRSS:\t  12 kB\nMax open files            unlimited  1024 files";
        assert_eq!(bytes_after(text, "VmRSS:"), Some(12 * 1024));
        assert_eq!((word_after(text, "A:"), number_after(text, "A:")), (Some("1"), Some(1)));
        assert_eq!(word_after(text, "Max open files"), Some("unlimited"));
        assert_eq!(number_after(text, "Max open files"), None);
        assert_eq!((rest_after(text, "A"), rest_after(text, "B")), (Some(": 1"), None));
        assert_eq!(bytes_after("", "VmRSS:"), None);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn scheduler_statistics_begin_with_two_numbers() {
        assert_eq!(sched_stat("123 45 6\n"), Some((123, 45)));
        for malformed in ["", "1", "bash\n", "1 x"] {
            assert_eq!(sched_stat(malformed), None, "{malformed}");
        }
    }
}
