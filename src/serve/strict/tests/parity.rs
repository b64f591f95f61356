//! The reader of `http1` and its decoder say of every input what the framer says.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{feed, follow};
use crate::http1::tests::generate::{cases, mutate, mutations, pieces, pipeline};
use crate::http1::tests::{self as reader, Message};
use crate::http1::{Fault, Limits};

fn same(limits: Limits, input: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let ours = reader::feed(limits, pieces(input, cuts));
    let theirs = feed(limits, pieces(input, cuts));
    let shown = input.escape_ascii().to_string();
    prop_assert_eq!(ours.fault, theirs.fault, "{}", shown);
    prop_assert_eq!(ours.position, theirs.position, "{}", shown);
    prop_assert_eq!(ours.messages.len(), theirs.heads as usize, "{}", shown);
    let is_version = matches!(
        ours.fault,
        Some(Fault::Version | Fault::UnsupportedVersion | Fault::BareLf)
    );
    let encoded = theirs
        .passed
        .windows(3)
        .any(|three| matches!(three, b"%22" | b"%3C" | b"%3E"));
    let passes_all = theirs.fault.is_some() || theirs.passed.len() == input.len();
    if !is_version && !encoded && passes_all {
        let is_full = matches!(ours.fault, Some(Fault::HeadTooLong | Fault::TrailersTooLong));
        let accepted = reader::accepted(limits, input) + usize::from(is_full);
        prop_assert_eq!(accepted, theirs.passed.len(), "{}", shown);
    }
    let seen = follow(limits, &theirs.passed);
    let seen: Vec<_> = seen.iter().map(|seen| (seen.body, seen.end.is_some())).collect();
    let read = |message: &Message| (message.body.len() as u64, message.end.is_some());
    let read: Vec<_> = ours.messages.iter().map(read).collect();
    prop_assert_eq!(read, seen, "{}", shown);
    Ok(())
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![
        2 => Just(Limits::default()),
        1 => (20..200usize, 5..40usize, 0..6usize, 0..20usize, 0..50usize).prop_map(|(head, uri, count, ext, trailer)| {
            Limits {
                head_bytes: head,
                uri_bytes: uri,
                header_count: count,
                chunk_ext_bytes: ext,
                trailer_bytes: trailer,
            }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4 * cases()) })]

    #[test]
    fn of_good_pipelines(limits in limits(), messages in pipeline(), cuts in vec(any::<Index>(), 0..12)) {
        same(limits, &messages.concat(), &cuts)?;
    }

    #[test]
    fn of_bad_pipelines(
        limits in limits(),
        messages in pipeline(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        same(limits, &mutate(messages.concat(), &mutations), &cuts)?;
    }

    #[test]
    fn of_any_bytes(limits in limits(), input in vec(any::<u8>(), 0..200), cuts in vec(any::<Index>(), 0..12)) {
        same(limits, &input, &cuts)?;
    }
}
