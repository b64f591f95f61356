//! Heads of responses, and agreement with httparse as hyper's client uses it.

use super::generate::{cases, mutate, mutations_of, pieces};
use crate::http1::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A head as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    version: u8,
    status: u16,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    framing: Framing,
    has_both_framings: bool,
    length: usize,
}

/// The head, if it is complete.
type Outcome = Result<Option<Read>, Fault>;

fn limits() -> ResponseLimits {
    ResponseLimits::new(64 << 10)
}

fn feed<'a>(limits: ResponseLimits, is_head: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = ResponseReader::new(limits);
    let (mut input, mut head) = (Vec::new(), ResponseHead::default());
    for piece in pieces {
        input.extend_from_slice(piece);
        match reader.read(&input, &mut head, is_head) {
            Ok(false) => {}
            Ok(true) => {
                assert_eq!(reader.position(), Position::Between);
                let fields = head.lines.iter().map(|line| {
                    assert_eq!(line.known, Name::of(line.name.of(&input)));
                    (line.name.of(&input).to_vec(), line.value.of(&input).to_vec())
                });
                return Ok(Some(Read {
                    version: head.version,
                    status: head.status,
                    fields: fields.collect(),
                    framing: head.framing,
                    has_both_framings: head.has_both_framings,
                    length: head.length,
                }));
            }
            Err(fault) => {
                assert_eq!(reader.read(&input, &mut head, is_head), Err(fault), "a fault stays");
                return Err(fault);
            }
        }
    }
    Ok(None)
}

#[track_caller]
fn split(limits: ResponseLimits, is_head: bool, input: &[u8]) -> Outcome {
    let whole = feed(limits, is_head, [input]);
    let shown = input.escape_ascii();
    for cut in 1..input.len() {
        let (a, b) = input.split_at(cut);
        assert_eq!(feed(limits, is_head, [a, b]), whole, "cut at {cut}: {shown}");
    }
    assert_eq!(feed(limits, is_head, input.chunks(1)), whole, "byte-wise: {shown}");
    whole
}

#[track_caller]
fn good(input: &str) -> Read {
    let behind = format!("{input}body");
    let read = split(limits(), false, behind.as_bytes());
    let read = read.unwrap_or_else(|fault| panic!("{fault}: {input:?}"));
    let read = read.unwrap_or_else(|| panic!("not complete: {input:?}"));
    assert_eq!(read.length, input.len(), "{input:?}");
    read
}

#[track_caller]
fn bad(input: &str, fault: Fault) {
    let input = format!("{input}\r\n\r\n");
    assert_eq!(split(limits(), false, input.as_bytes()), Err(fault), "{input:?}");
}

#[test]
fn status_lines() {
    for (line, version, status) in [
        ("HTTP/1.1 200 OK", 11, 200),
        ("HTTP/1.1 200 ", 11, 200),
        ("HTTP/1.1 200", 11, 200),
        ("HTTP/1.0 404 Not Found", 10, 404),
        ("HTTP/1.1 999 \u{e4}\t!", 11, 999),
        ("HTTP/1.1 100 Continue", 11, 100),
        ("\r\n\r\n\r\n\nHTTP/1.1 200 OK", 11, 200),
    ] {
        for end in ["\r\n", "\n"] {
            let read = good(&format!("{line}{end}{end}"));
            assert_eq!((read.version, read.status), (version, status), "{line:?}");
            assert_eq!(read.fields, []);
        }
    }
    for line in [
        "garbage",
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1",
        "HTTP/11 200 OK",
    ] {
        bad(line, Fault::Version);
    }
    for line in [
        "HTTP/1.1  200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 ",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 \x7f",
    ] {
        bad(line, Fault::Status);
    }
    bad("HTTP/1.1 200 OK\r", Fault::BareCr);
    bad("\r\r", Fault::BareCr);
}

#[test]
fn the_reason_is_named() {
    for (input, reason) in [
        ("HTTP/1.1 200 All is well\r\n\r\n", "All is well"),
        ("HTTP/1.1 200 \n\n", ""),
        ("HTTP/1.1 200\r\n\r\n", ""),
    ] {
        let mut head = ResponseHead::default();
        let mut reader = ResponseReader::new(limits());
        assert_eq!(reader.read(input.as_bytes(), &mut head, false), Ok(true));
        assert_eq!(head.reason.of(input.as_bytes()), reason.as_bytes());
    }
}

#[test]
fn fields() {
    let read = good("HTTP/1.1 200 OK\r\nA: b\r\nC \t:\t d \u{e4} \t\nempty:\r\nBlank: \t\r\ne:f\n\r\n");
    let wanted: [(&[u8], &[u8]); 5] = [
        (b"A", b"b"),
        (b"C", "d \u{e4}".as_bytes()),
        (b"empty", b""),
        (b"Blank", b""),
        (b"e", b"f"),
    ];
    let fields: Vec<_> = read.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(fields, wanted);
    for (line, fault) in [
        (" a: b", Fault::Fold),
        ("a: b\r\n c", Fault::Fold),
        ("a: b\n\tc", Fault::Fold),
        (": b", Fault::FieldName),
        ("a", Fault::FieldName),
        ("a b: c", Fault::FieldName),
        ("a b", Fault::FieldName),
        ("a\u{e4}: b", Fault::FieldName),
        ("a(: b", Fault::FieldName),
        ("a: \0", Fault::FieldValue),
        ("a: b\x7f", Fault::FieldValue),
        ("a: b\rc", Fault::BareCr),
        ("a: b\r\n\rc", Fault::BareCr),
    ] {
        bad(&format!("HTTP/1.1 200 OK\r\n{line}"), fault);
    }
}

#[test]
fn framing() {
    let framing = |status: &str, fields: &str, is_head| {
        let head = format!("HTTP/1.{status} X\r\n{fields}\r\n");
        split(limits(), is_head, head.as_bytes()).map(|read| read.unwrap().framing)
    };
    let (length, chunked) = ("Content-Length: 5\r\n", "Transfer-encoding: CHUNKED \r\n");
    let both = format!("{length}{chunked}");
    for (status, fields, wanted) in [
        ("1 200", "", Ok(Framing::UntilClose)),
        ("0 200", "", Ok(Framing::UntilClose)),
        ("1 200", length, Ok(Framing::Length(5))),
        ("0 200", length, Ok(Framing::Length(5))),
        ("1 200", "content-length: 0\r\n", Ok(Framing::Length(0))),
        (
            "1 200",
            "content-length: 000000000000000000000000007\r\n",
            Ok(Framing::Length(7)),
        ),
        (
            "1 200",
            "content-length: 18446744073709551615\r\n",
            Ok(Framing::Length(u64::MAX)),
        ),
        ("1 200", "content-length: 18446744073709551616\r\n", Err(Fault::Length)),
        ("1 200", chunked, Ok(Framing::Chunked)),
        ("0 200", chunked, Err(Fault::CodingInOldVersion)),
        ("1 200", &both, Ok(Framing::Chunked)),
        ("1 200", "Content-Length: 5, 5\r\n", Err(Fault::Length)),
        ("1 200", "Content-Length: +5\r\n", Err(Fault::Length)),
        ("1 200", "Content-Length:\r\n", Err(Fault::Length)),
        (
            "1 200",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Err(Fault::LengthRepeated),
        ),
        (
            "1 200",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Err(Fault::LengthRepeated),
        ),
        ("1 200", "Transfer-Encoding: gzip\r\n", Err(Fault::Coding)),
        ("1 200", "Transfer-Encoding: gzip, chunked\r\n", Err(Fault::Coding)),
        ("1 200", "Transfer-Encoding: chunked, chunked\r\n", Err(Fault::Coding)),
        ("1 200", "Transfer-Encoding:\r\n", Err(Fault::Coding)),
        (
            "1 200",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Err(Fault::CodingRepeated),
        ),
        ("1 204", length, Ok(Framing::None)),
        ("1 304", length, Ok(Framing::None)),
        ("1 304", chunked, Ok(Framing::None)),
        ("0 304", chunked, Ok(Framing::None)),
        ("1 100", "", Ok(Framing::None)),
        ("1 101", "", Ok(Framing::None)),
        ("1 103", "Link: <a>\r\n", Ok(Framing::None)),
        ("1 205", "", Ok(Framing::UntilClose)),
        ("1 304", "Content-Length: 5, 5\r\n", Err(Fault::Length)),
    ] {
        assert_eq!(framing(status, fields, false), wanted, "{status} {fields:?}");
        let of_head = wanted.or_else(|fault| match fault {
            Fault::CodingInOldVersion => Ok(Framing::None),
            _ => Err(fault),
        });
        assert_eq!(
            framing(status, fields, true),
            of_head.map(|_| Framing::None),
            "HEAD: {status} {fields:?}"
        );
    }
    assert!(good(&format!("HTTP/1.1 200 OK\r\n{chunked}{length}\r\n")).has_both_framings);
    assert!(!good(&format!("HTTP/1.1 200 OK\r\n{chunked}\r\n")).has_both_framings);
    assert!(!good(&format!("HTTP/1.1 200 OK\r\n{length}\r\n")).has_both_framings);
}

#[test]
fn head_limits() {
    let limits = ResponseLimits {
        head_bytes: 30,
        header_count: 2,
        ..limits()
    };
    let exact = b"HTTP/1.1 200 OK\r\na: b5678\r\n\r\n";
    assert_eq!(exact.len(), 29);
    assert!(split(limits, false, exact).unwrap().is_some());
    assert!(
        split(limits, false, b"\nHTTP/1.1 200 OK\r\na: b5678\r\n\r\n")
            .unwrap()
            .is_some()
    );
    let more = b"\r\nHTTP/1.1 200 OK\r\na: b5678\r\n\r\n";
    assert_eq!(split(limits, false, more), Err(Fault::HeadTooLong));
    assert_eq!(split(limits, false, &[b'\n'; 40]), Err(Fault::HeadTooLong));
    let few = b"HTTP/1.1 200\na:\nb:\n\n";
    assert!(split(limits, false, few).unwrap().is_some());
    let many = b"HTTP/1.1 200\na:\nb:\nc:\n\n";
    assert_eq!(split(limits, false, many), Err(Fault::TooManyFields));
}

#[test]
fn a_reader_goes_on_from_head_to_head() {
    let (mut reader, mut head) = (ResponseReader::new(limits()), ResponseHead::default());
    let input =
        b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 204 No\r\n\r\n";
    let mut at = 0;
    for (status, framing, lines) in [
        (103, Framing::None, 1),
        (200, Framing::Length(1), 1),
        (204, Framing::None, 0),
    ] {
        assert_eq!(reader.read(&input[at..], &mut head, false), Ok(true));
        assert_eq!((head.status, head.framing, head.lines.len()), (status, framing, lines));
        at += head.length + usize::from(status == 200);
    }
    assert_eq!(at, input.len());
    let counted = allocation_counter::measure(|| {
        assert_eq!(reader.read(input, &mut head, false), Ok(true));
    });
    assert_eq!(counted.count_total, 0);
    assert!(size_of::<ResponseReader>() <= 112, "{}", size_of::<ResponseReader>());
}

/// What httparse makes of a head as hyper's client uses it, and hyper and narthex of what it finds; without the framing
/// where that is `Err(())`. None if it is not complete.
fn oracle(limits: ResponseLimits, is_head: bool, input: &[u8]) -> Result<Option<Read>, ()> {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut response = httparse::Response::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    let length = match config.parse_response(&mut response, input) {
        Err(_) => return Err(()),
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(length)) => length,
    };
    let (version, status) = (response.version.unwrap() + 10, response.code.unwrap());
    let fields: Vec<_> = response
        .headers
        .iter()
        .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()))
        .collect();
    let named = |name: &str| -> Vec<&[u8]> {
        let named = fields
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| &**value).collect()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    let number = |value: &[u8]| {
        let digits = value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        number.filter(|_| digits)
    };
    let is_chunked = !codings.is_empty();
    let sound = match (&lengths[..], &codings[..]) {
        ([_, _, ..], _) | (_, [_, _, ..]) => false,
        ([length], []) => number(length).is_some(),
        ([length], [coding]) => number(length).is_some() && coding.eq_ignore_ascii_case(b"chunked"),
        ([], [coding]) => coding.eq_ignore_ascii_case(b"chunked"),
        ([], []) => true,
    };
    let has_body = !is_head && !matches!(status, 100..=199 | 204 | 304);
    let old = has_body && is_chunked && version == 10;
    if length > limits.head_bytes || status < 100 || fields.len() > limits.header_count || !sound || old {
        return Err(());
    }
    let framing = match lengths.first() {
        _ if !has_body => Framing::None,
        _ if is_chunked => Framing::Chunked,
        Some(length) => Framing::Length(number(length).unwrap()),
        None => Framing::UntilClose,
    };
    Ok(Some(Read {
        version,
        status,
        framing,
        has_both_framings: is_chunked && !lengths.is_empty(),
        fields,
        length,
    }))
}

fn agree(limits: ResponseLimits, is_head: bool, input: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let shown = input.escape_ascii().to_string();
    let ours = feed(limits, is_head, pieces(input, cuts));
    prop_assert_eq!(&feed(limits, is_head, [input]), &ours, "{}", shown);
    prop_assert_eq!(&feed(limits, is_head, input.chunks(1)), &ours, "{}", shown);
    match (ours, oracle(limits, is_head, input)) {
        (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs, "{}", shown),
        (Err(_), Err(())) => {}
        // These are found before the head is complete.
        (
            Err(
                Fault::Length
                | Fault::LengthRepeated
                | Fault::Coding
                | Fault::CodingRepeated
                | Fault::TooManyFields
                | Fault::HeadTooLong
                | Fault::Status,
            ),
            Ok(None),
        ) => {}
        (ours, theirs) => prop_assert!(false, "{:?} {:?} {}", ours, theirs, shown),
    }
    Ok(())
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let end = || select(vec!["\r\n", "\r\n", "\r\n", "\n"]);
    let line = prop_oneof![
        8 => "HTTP/1\\.1 [1-9][0-9]{2}( [ -~\t\u{80}-\u{ff}]{0,10})?",
        2 => "HTTP/1\\.0 (200|204|304|100|404) [A-Z]{0,3}",
        1 => "HTTP/[12]\\.[012] [0-9]{2,4} X",
    ];
    let value = vec(
        prop_oneof![8 => 0x20u8..0x7f, 1 => Just(b'\t'), 1 => 0x80u8..=0xff],
        0..60,
    );
    let field = prop_oneof![
        6 => ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}[ \t]{0,2}", value)
            .prop_map(|(name, value)| [name.as_bytes(), b":", &value].concat()),
        4 => select(vec![
            "Content-Length: 5",
            "content-length:\t00012 ",
            "CONTENT-LENGTH : 5",
            "Content-Length: 5, 5",
            "Content-Length:",
            "Transfer-Encoding: chunked",
            "transfer-encoding:Chunked\t",
            "Transfer-Encoding: gzip, chunked",
            "Set-Cookie: a=b",
            "Connection: close",
            " folded",
        ])
        .prop_map(|line| line.as_bytes().to_vec()),
    ];
    (
        "(\r\n|\n){0,2}",
        line,
        end(),
        vec((field, end()), 0..7),
        end(),
        "[a-z\r\n]{0,5}",
    )
        .prop_map(|(empty, line, line_end, fields, end, rest)| {
            let mut head = [empty.as_bytes(), line.as_bytes(), line_end.as_bytes()].concat();
            for (field, end) in fields {
                head.extend_from_slice(&field);
                head.extend_from_slice(end.as_bytes());
            }
            head.extend_from_slice(end.as_bytes());
            head.extend_from_slice(rest.as_bytes());
            head
        })
}

const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    "\r\n ",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 3\n",
    "HTTP/1.1 200 OK\r\n",
    " : ",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4 * cases()) })]

    #[test]
    fn httparse_agrees(
        head in response(),
        mutations in mutations_of(WORDS),
        mutated in any::<bool>(),
        is_head in any::<bool>(),
        tight in any::<bool>(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let tight_limits = ResponseLimits { header_count: 4, ..ResponseLimits::new(150) };
        let limits = if tight { tight_limits } else { limits() };
        let input = if mutated { mutate(head, &mutations) } else { head };
        agree(limits, is_head, &input, &cuts)?;
    }
}
