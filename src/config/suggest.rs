//! The nearest word to one that is not known.

/// Above this similarity (Jaro-Winkler, from 0 to 1) a word is taken for a misspelling of another: a swapped, missing
/// or wrong letter of a short word is within it.
const SIMILARITY_MIN: f64 = 0.85;

/// Returns the candidate that is most similar to `word`, if one is similar enough to be meant.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let rated = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(similarity, _)| *similarity >= SIMILARITY_MIN).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_that_was_meant() {
        let words = ["max-headers", "max-head-bytes", "max-message-bytes", "ring-entries"];
        for (wrong, meant) in
            [("max-heders", "max-headers"), ("max-mesage-bytes", "max-message-bytes"), ("ring-entrys", "ring-entries")]
        {
            assert_eq!(nearest(wrong, words), Some(meant));
        }
        assert_eq!(nearest("colour", words), None);
    }
}
