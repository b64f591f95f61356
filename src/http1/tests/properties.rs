//! Properties over random messages, and agreement with httparse and hyper.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::generate::{cases, mutate, mutations, pieces, pipeline};
use super::hyper::{count, hyper_hears};
use super::{Message, accepted, feed};
use crate::http1::{Limits, Position, RequestHead, RequestReader};

/// Holds what httparse finds in the head of a message against what we found.
fn httparse_agrees(message: &Message) -> Result<(), TestCaseError> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let shown = message.head.escape_ascii().to_string();
    prop_assert_eq!(
        request.parse(&message.head),
        Ok(httparse::Status::Complete(message.head.len())),
        "{}",
        shown
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    prop_assert_eq!(request.method, Some(&*text(&message.method)), "{}", shown);
    if !message.was_encoded {
        prop_assert_eq!(request.path, Some(&*text(&message.target)), "{}", shown);
    }
    prop_assert_eq!(request.version, Some(message.version - 10), "{}", shown);
    let theirs = request.headers.iter();
    let theirs: Vec<_> = theirs
        .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()))
        .collect();
    prop_assert_eq!(&theirs, &message.fields, "{}", shown);
    Ok(())
}

/// Holds what hyper makes of the accepted bytes against what we did.
fn hyper_agrees(limits: Limits, input: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let outcome = feed(limits, [input]);
    let mut known = accepted(limits, input);
    if outcome.fault.is_some() && outcome.position == Position::Head {
        // hyper may answer a head that it finds malformed itself.
        known = outcome.messages.last().map_or(0, |last| last.end.unwrap_or(0));
    }
    let passed = encoded(&outcome.messages, &input[..known]);
    let heard = hyper_hears(&pieces(&passed, cuts));
    let shown = passed.escape_ascii().to_string();
    let ours = outcome.messages.iter();
    let ours: Vec<_> = ours
        .map(|message| (message.body.len() as u64, message.end.is_some()))
        .collect();
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

/// The input with the targets as they are passed on.
fn encoded(messages: &[Message], input: &[u8]) -> Vec<u8> {
    let mut passed = Vec::new();
    let mut at = 0;
    for message in messages {
        let head = &message.head;
        if message.was_encoded {
            let line = head.windows(message.method.len() + 1);
            let method = [&message.method[..], b" "].concat();
            let target = line.into_iter().position(|w| w == method).unwrap() + method.len();
            let end = target + memchr::memchr(b' ', &head[target..]).unwrap();
            passed.extend_from_slice(&head[..target]);
            passed.extend_from_slice(&message.target);
            passed.extend_from_slice(&head[end..]);
        } else {
            passed.extend_from_slice(head);
        }
        at += head.len();
        let end = message.end.unwrap_or(input.len()).max(at).min(input.len());
        passed.extend_from_slice(&input[at..end]);
        at = end;
    }
    passed.extend_from_slice(&input[at..]);
    passed
}

const TIGHT: Limits = Limits {
    head_bytes: 150,
    uri_bytes: 20,
    header_count: 4,
    chunk_ext_bytes: 12,
    trailer_bytes: 40,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn valid_pipelines_pass(messages in pipeline(), cuts in vec(any::<Index>(), 0..12)) {
        let input = messages.concat();
        let whole = feed(Limits::default(), [&input[..]]);
        prop_assert_eq!(whole.fault, None, "{}", input.escape_ascii());
        prop_assert_eq!(whole.messages.len(), messages.len());
        prop_assert_eq!(whole.position, Position::Between);
        prop_assert_eq!(&feed(Limits::default(), pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&feed(Limits::default(), input.chunks(1)), &whole);
        let mut end = 0;
        for (message, seen) in messages.iter().zip(&whole.messages) {
            end += message.len();
            prop_assert_eq!(seen.end, Some(end));
            httparse_agrees(seen)?;
        }
    }

    #[test]
    fn splits_do_not_matter(
        messages in pipeline(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..12),
        tight in any::<bool>(),
    ) {
        let limits = if tight { TIGHT } else { Limits::default() };
        let input = mutate(messages.concat(), &mutations);
        let whole = feed(limits, [&input[..]]);
        prop_assert_eq!(&feed(limits, pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&feed(limits, input.chunks(1)), &whole);
        prop_assert_eq!(&feed(limits, input.chunks(7)), &whole);
        for message in &whole.messages {
            httparse_agrees(message)?;
        }
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
        let mut reader = RequestReader::new(limits);
        let _ = reader.read(&input, &mut RequestHead::default());
        prop_assert_eq!(&feed(limits, [&input[..]]), &feed(limits, input.chunks(1)));
    }

    #[test]
    fn hyper_agrees_on_valid_pipelines(messages in pipeline(), cuts in vec(any::<Index>(), 0..6)) {
        hyper_agrees(Limits::default(), &messages.concat(), &cuts)?;
    }

    #[test]
    fn hyper_agrees_on_what_is_left_of_bad_ones(
        messages in pipeline(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        hyper_agrees(Limits::default(), &mutate(messages.concat(), &mutations), &cuts)?;
    }
}
