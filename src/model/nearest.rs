//! What a word that is not known was probably meant to be.

/// How many slips of the pen a word may be away from a known one to be taken for it.
const NEAR: usize = 2;
/// Words up to this length have only one: of two letters in four nothing is left.
const SHORT: usize = 4;
/// Longer words are nobody's slip of the pen, and comparing them would take long.
const LONGEST: usize = 64;

/// The known word that an unknown one was meant to be. Case does not count.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let near = known.into_iter().filter_map(|known| {
        let distance = distance(&word, &known.to_lowercase());
        let most = if known.len() <= SHORT { 1 } else { NEAR };
        (distance <= most).then_some((distance, known))
    });
    near.min().map(|(_, known)| known)
}

/// Whether a word was meant to be a known one.
pub fn is_near(word: &str, known: &str) -> bool {
    nearest(word, [known]).is_some()
}

/// How many characters have to be put in, left out, replaced, or exchanged with their neighbour, to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, wanted) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ac", 1),
            ("kitten", "sitting", 3),
            ("wbe", "web", 1),
            ("abcd", "badc", 2),
        ] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
        let known = ["merge-slashes", "ssl-redirect", "host"];
        assert_eq!(nearest("merge-slash", known), Some("merge-slashes"));
        assert_eq!(nearest("SSL-redirect", known), Some("ssl-redirect"));
        assert_eq!(nearest("hosts", known), Some("host"));
        assert_eq!(nearest("hotel", known), None);
        assert_eq!(nearest("nosuch", known), None);
        assert!(is_near("Host", "host") && !is_near("h", "host"));
    }
}
