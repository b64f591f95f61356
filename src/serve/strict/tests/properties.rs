//! Properties over random messages, and agreement with hyper.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Seen, feed, follow};
use crate::http1::tests::generate::{cases, mutate, mutations, pieces, pipeline};
use crate::http1::tests::hyper::{count, hyper_hears};
use crate::serve::strict::{Fault, Framer, Limits, Position};

/// Holds what hyper makes of the accepted bytes against what we did.
pub(super) fn agree(input: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    agree_with(Limits::default(), input, cuts)
}

fn agree_with(limits: Limits, input: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let accepted = &*feed(limits, [input]).passed;
    let seen = follow(limits, accepted);
    let heard = hyper_hears(&pieces(accepted, cuts));
    let shown = accepted.escape_ascii().to_string();
    let ours: Vec<_> = seen.iter().map(|Seen { body, end }| (*body, end.is_some())).collect();
    if heard.closed {
        prop_assert!(ours.starts_with(&heard.requests), "{:?}\n{}", heard, shown);
    } else {
        prop_assert_eq!(&heard.requests, &ours, "{}", shown);
    }
    // The service has but two answers; any other is hyper's own.
    let replies = count(&heard.replies, b"HTTP/1.") - count(&heard.replies, b" 100 Continue\r\n");
    let known = count(&heard.replies, b" 200 OK\r\n") + count(&heard.replies, b" 405 Method Not Allowed\r\n");
    prop_assert_eq!(replies, known, "{}", shown);
    Ok(())
}

/// hyper takes all that the loosest limits let through, and a byte more is a
/// fault of ours.
#[test]
fn limits_are_within_those_of_hyper() {
    let limits = Limits {
        head_bytes: usize::MAX,
        uri_bytes: usize::MAX,
        header_count: 100,
        chunk_ext_bytes: usize::MAX,
        trailer_bytes: usize::MAX,
    };
    let get = |path: usize, name: usize, fields: usize| {
        let path = "p".repeat(path);
        let fields = "f:\r\n".repeat(fields);
        let name = "n".repeat(name);
        format!("\r\n\r\nGET /{path} HTTP/1.1\r\nHost: a\r\n{fields}{name}:\r\n\r\n")
    };
    let chunked = |extension: usize, trailer: usize, trailers: usize| {
        let extension = "e".repeat(extension);
        let trailers = "t:\r\n".repeat(trailers);
        let trailer = "T".repeat(trailer);
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             0;{extension}\r\n{trailers}{trailer}:\r\n\r\n"
        )
    };
    let head = 65535 - (get(0, 0, 0).len() - 4);
    let cases = [
        (get(0, head, 0), get(0, head + 1, 0), Fault::HeadTooLong),
        (get(0, 1, 98), get(0, 1, 99), Fault::TooManyFields),
        (
            chunked(16382, 1, 0),
            chunked(16383, 1, 0),
            Fault::ChunkExtensionsTooLong,
        ),
        (chunked(1, 16378, 0), chunked(1, 16379, 0), Fault::TrailersTooLong),
        (chunked(1, 1, 99), chunked(1, 1, 100), Fault::TooManyFields),
    ];
    for (within, beyond, fault) in cases {
        for input in [&within, &beyond] {
            agree_with(limits, input.as_bytes(), &[]).unwrap();
        }
        let good = feed(limits, [within.repeat(2).as_bytes()]);
        assert_eq!((good.fault, good.heads), (None, 2), "{fault}");
        assert_eq!(feed(limits, [beyond.as_bytes()]).fault, Some(fault));
    }
    let limits = Limits {
        uri_bytes: 5000,
        ..limits
    };
    agree_with(limits, get(4999, 1, 0).as_bytes(), &[]).unwrap();
    agree_with(limits, get(5000, 1, 0).as_bytes(), &[]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn valid_pipelines_pass(messages in pipeline(), cuts in vec(any::<Index>(), 0..12)) {
        let input = messages.concat();
        let whole = feed(Limits::default(), [&input[..]]);
        prop_assert_eq!(whole.fault, None, "{}", input.escape_ascii());
        prop_assert_eq!(whole.heads as usize, messages.len());
        prop_assert_eq!(whole.position, Position::Between);
        prop_assert_eq!(&feed(Limits::default(), pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&feed(Limits::default(), input.chunks(1)), &whole);
        let mut end = 0;
        for (message, seen) in messages.iter().zip(follow(Limits::default(), &input)) {
            end += message.len();
            prop_assert_eq!(seen.end, Some(end));
        }
    }

    #[test]
    fn splits_do_not_matter(
        messages in pipeline(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..12),
        tight in any::<bool>(),
    ) {
        let limits = match tight {
            true => Limits {
                head_bytes: 150,
                uri_bytes: 20,
                header_count: 4,
                chunk_ext_bytes: 12,
                trailer_bytes: 40,
            },
            false => Limits::default(),
        };
        let input = mutate(messages.concat(), &mutations);
        let whole = feed(limits, [&input[..]]);
        prop_assert_eq!(&feed(limits, pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&feed(limits, input.chunks(1)), &whole);
        prop_assert_eq!(&feed(limits, input.chunks(7)), &whole);
    }

    #[test]
    fn any_bytes_are_safe(input in vec(any::<u8>(), 0..200), limit in 0..40usize) {
        let limits = Limits {
            head_bytes: limit,
            uri_bytes: limit / 2,
            header_count: limit / 8,
            chunk_ext_bytes: limit / 8,
            trailer_bytes: limit / 4,
        };
        let mut framer = Framer::new(limits);
        prop_assert!(framer.scan(&input).accepted <= input.len());
        prop_assert_eq!(&feed(limits, [&input[..]]), &feed(limits, input.chunks(1)));
    }

    #[test]
    fn hyper_agrees_on_valid_pipelines(messages in pipeline(), cuts in vec(any::<Index>(), 0..6)) {
        agree(&messages.concat(), &cuts)?;
    }

    #[test]
    fn hyper_agrees_on_what_is_left_of_bad_ones(
        messages in pipeline(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        agree(&mutate(messages.concat(), &mutations), &cuts)?;
    }
}
