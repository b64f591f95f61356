//! A reader that knows the head before reads the next one as a new reader does.

use super::generate::cases;
use crate::http1::{Fault, Limits, RequestHead, RequestReader, ResponseHead, ResponseLimits, ResponseReader};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const LINES: &[&str] = &[
    "Host: a.test\r\n",
    "User-Agent: curl/8.1\r\n",
    "Accept: */*\r\n",
    "Cookie: a=b; c=d\r\n",
    "Cookie: a=b; c=e\r\n",
    "X-A:1\r\n",
    "X-A: 1\r\n",
    "X-A: 12\r\n",
    "x-a: 1\r\n",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\r\n",
    "X-Blank: \t a \t\r\n",
    "X-Empty:\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 6\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X-Lf: 1\n",
    "X Y: 1\r\n",
    "X-Nul: \0\r\n",
];

/// Heads of which each repeats most of the lines of the one before.
fn heads() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    let line = || any::<Index>().prop_map(|index| *index.get(LINES));
    let edit = prop_oneof![
        6 => Just(None),
        1 => (any::<Index>(), line()).prop_map(|(at, line)| Some((at, Some(line)))),
        1 => any::<Index>().prop_map(|at| Some((at, None))),
    ];
    (vec(line(), 0..5), vec(edit, 1..8)).prop_map(|(more, edits)| {
        let mut lines = vec![LINES[0], LINES[1], LINES[2]];
        lines.extend(more);
        let mut heads = vec![lines.clone()];
        for edit in edits {
            match edit {
                Some((at, Some(line))) => lines.insert(at.index(lines.len() + 1), line),
                Some((at, None)) if !lines.is_empty() => drop(lines.remove(at.index(lines.len()))),
                _ => {}
            }
            heads.push(lines.clone());
        }
        heads
    })
}

/// What a reader makes of a head whose first bytes come alone.
fn in_two<H: Default>(
    head: &[u8],
    cut: usize,
    mut read: impl FnMut(&[u8], &mut H) -> Result<bool, Fault>,
) -> Result<Option<H>, Fault> {
    let mut out = H::default();
    if read(&head[..cut], &mut out)? {
        return Ok(Some(out));
    }
    Ok(read(head, &mut out)?.then_some(out))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_is_known_of_the_head_before_changes_nothing(
        heads in heads(),
        cuts in vec(prop_oneof![3 => Just(None), 1 => any::<Index>().prop_map(Some)], 9),
        targets in vec("/[a-z]{0,9}", 9),
        most in 3..9usize,
    ) {
        let limits = Limits { header_count: most, ..Limits::default() };
        let mut knows = RequestReader::new(limits);
        for ((lines, cut), target) in heads.iter().zip(&cuts).zip(&targets) {
            let head = format!("GET {target} HTTP/1.1\r\n{}\r\n", lines.concat()).into_bytes();
            let cut = cut.map_or(head.len(), |cut| cut.index(head.len()));
            let mut new = RequestReader::new(limits);
            let wanted = in_two::<RequestHead>(&head, cut, |bytes, head| new.read(bytes, head));
            let found = in_two::<RequestHead>(&head, cut, |bytes, head| knows.read(bytes, head));
            prop_assert_eq!(&found, &wanted, "{}", head.escape_ascii());
            if wanted.is_err() {
                break;
            }
        }
        let limits = ResponseLimits { header_count: most, ..ResponseLimits::new(4096) };
        let mut knows = ResponseReader::new(limits);
        for ((lines, cut), reason) in heads.iter().zip(&cuts).zip(&targets) {
            let head = format!("HTTP/1.1 200 {reason}\r\n{}\r\n", lines.concat()).into_bytes();
            let cut = cut.map_or(head.len(), |cut| cut.index(head.len()));
            let mut new = ResponseReader::new(limits);
            let wanted = in_two::<ResponseHead>(&head, cut, |bytes, head| new.read(bytes, head, false));
            let found = in_two::<ResponseHead>(&head, cut, |bytes, head| knows.read(bytes, head, false));
            prop_assert_eq!(&found, &wanted, "{}", head.escape_ascii());
            if wanted.is_err() {
                break;
            }
        }
    }
}
