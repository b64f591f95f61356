use super::*;

/// The data of a body and how far it goes, or its fault and how many bytes came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    taken: usize,
    result: Result<bool, Fault>,
    trailers: Option<Trailers>,
}

/// Feeds the pieces, of which a fault refuses the whole call it is in.
fn decode<'a>(mut decoder: Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoded = Decoded {
        data: Vec::new(),
        taken: 0,
        result: Ok(false),
        trailers: None,
    };
    for mut piece in pieces {
        while !decoder.is_done() {
            match decoder.next(piece) {
                Ok(Part { framing: 0, data: 0 }) => break,
                Ok(Part { framing, data }) => {
                    decoded.data.extend_from_slice(&piece[framing..framing + data]);
                    decoded.taken += framing + data;
                    piece = &piece[framing + data..];
                }
                Err(fault) => {
                    assert_eq!(decoder.next(b"0\r\n\r\n"), Err(fault), "a fault stays");
                    assert_eq!(decoder.end(), Err(fault));
                    decoded.result = Err(fault);
                    return decoded;
                }
            }
        }
    }
    decoded.result = Ok(decoder.is_done());
    decoded.trailers = decoder.take_trailers();
    decoded
}

/// The outcome byte by byte, after it was seen that it does not depend on the pieces.
#[track_caller]
fn split(new: impl Fn() -> Decoder, body: &[u8]) -> Decoded {
    let bytewise = decode(new(), body.chunks(1));
    let whole = decode(new(), [body]);
    assert_eq!(whole.result, bytewise.result, "{}", body.escape_ascii());
    if whole.result.is_ok() {
        assert_eq!(whole, bytewise, "{}", body.escape_ascii());
    }
    for cut in 1..body.len() {
        let (one, other) = body.split_at(cut);
        let cut = decode(new(), [one, other]);
        assert_eq!(cut.result, bytewise.result, "{}", body.escape_ascii());
        if cut.result.is_ok() {
            assert_eq!(cut, bytewise, "{}", body.escape_ascii());
        }
    }
    bytewise
}

fn request() -> Decoder {
    Decoder::new(Framing::Chunked, &Limits::default())
}

fn response() -> Decoder {
    Decoder::of_response(Framing::Chunked, &ResponseLimits::new(64 << 10))
}

#[track_caller]
fn good(new: impl Fn() -> Decoder, body: &str, data: &str) -> Option<Trailers> {
    let decoded = split(new, format!("{body}GET /").as_bytes());
    assert_eq!(decoded.result, Ok(true), "{body:?}");
    assert_eq!(decoded.data, data.as_bytes(), "{body:?}");
    assert_eq!(decoded.taken, body.len(), "{body:?}");
    decoded.trailers
}

#[track_caller]
fn bad(new: impl Fn() -> Decoder, accepted: &str, refused: &str, fault: Fault) {
    let decoded = split(new, format!("{accepted}{refused}\r\n\r\n").as_bytes());
    assert_eq!(decoded.result, Err(fault), "{accepted:?} {refused:?}");
    assert_eq!(decoded.taken, accepted.len(), "{accepted:?} {refused:?}");
}

#[test]
fn bodies_without_chunks() {
    let limits = Limits::default();
    for framing in [Framing::None, Framing::Length(0)] {
        let mut decoder = Decoder::new(framing, &limits);
        assert!(decoder.is_done());
        assert_eq!(decoder.left(), Some(0));
        assert_eq!(decoder.next(b"GET /"), Ok(Part::default()));
        assert_eq!(decoder.end(), Ok(()));
    }
    let mut decoder = Decoder::new(Framing::Length(5), &limits);
    assert_eq!(decoder.next(b""), Ok(Part::default()));
    assert_eq!(decoder.next(b"abc"), Ok(Part { framing: 0, data: 3 }));
    assert_eq!((decoder.left(), decoder.is_done()), (Some(2), false));
    assert_eq!(decoder.next(b"deGET /"), Ok(Part { framing: 0, data: 2 }));
    assert_eq!((decoder.left(), decoder.is_done()), (Some(0), true));
    let mut decoder = Decoder::new(Framing::Length(u64::MAX), &limits);
    assert_eq!(decoder.next(b"abc"), Ok(Part { framing: 0, data: 3 }));
    assert_eq!(decoder.left(), Some(u64::MAX - 3));
    let mut decoder = Decoder::of_response(Framing::UntilClose, &ResponseLimits::new(1000));
    assert_eq!(decoder.next(b"abc"), Ok(Part { framing: 0, data: 3 }));
    assert_eq!((decoder.left(), decoder.is_done()), (None, false));
    assert_eq!(decoder.end(), Ok(()));
    assert!(decoder.is_done());
}

#[test]
fn a_connection_that_ends_too_early_is_a_fault() {
    let mut decoder = Decoder::new(Framing::Length(2), &Limits::default());
    assert_eq!(decoder.next(b"a"), Ok(Part { framing: 0, data: 1 }));
    assert_eq!(decoder.end(), Err(Fault::Incomplete));
    assert_eq!(decoder.next(b"b"), Err(Fault::Incomplete));
    for body in ["", "1", "1\r\na", "1\r\na\r\n", "0\r\n", "0\r\n\r", "0\r\na: b\r\n"] {
        let mut decoder = request();
        let mut rest = body.as_bytes();
        while let Ok(Part { framing, data }) = decoder.next(rest)
            && framing + data > 0
        {
            rest = &rest[framing + data..];
        }
        assert_eq!(decoder.end(), Err(Fault::Incomplete), "{body:?}");
    }
}

#[test]
fn data_is_given_out_with_the_lines_before_it() {
    let mut decoder = request();
    let body = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\nGET";
    assert_eq!(decoder.next(body), Ok(Part { framing: 3, data: 3 }));
    assert_eq!(decoder.next(&body[6..]), Ok(Part { framing: 7, data: 2 }));
    assert_eq!(decoder.left(), None);
    assert_eq!(decoder.next(&body[15..]), Ok(Part { framing: 7, data: 0 }));
    assert!(decoder.is_done());
    assert_eq!(decoder.left(), Some(0));
    assert_eq!(decoder.take_trailers(), None);
}

#[test]
fn chunks_of_clients() {
    for (body, data) in [
        ("0\r\n\r\n", ""),
        ("000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        (
            "0000000000000005\r\nhello\r\nA\r\n0123456789\r\na\r\n\r\n34567890\r\n0\r\n\r\n",
            "hello0123456789\r\n34567890",
        ),
        ("5;a\r\nhello\r\n0;b=c;d\r\n\r\n", "hello"),
        ("5 \t; \ta \t= \tb \t; c\r\nhello\r\n0 ;d\r\n\r\n", "hello"),
        (
            "5;a=\"\"\r\nhello\r\n0;a=\"x \t;\\\"\\\\\u{e4}\" ; b=c\r\n\r\n",
            "hello",
        ),
    ] {
        assert_eq!(good(request, body, data), None);
        assert_eq!(good(response, body, data), None);
    }
    let both = |accepted, refused, fault| {
        bad(request, accepted, refused, fault);
        bad(response, accepted, refused, fault);
    };
    for (accepted, refused) in [
        ("", ""),
        ("", " 5"),
        ("", "+5"),
        ("", "-5"),
        ("", "x"),
        ("0", "x5"),
        ("5", "g"),
        ("", ";a"),
        ("0000000000000000", "5"),
        ("fFfFfFfFfFfFfFfF", "0"),
        ("5", "\n"),
        ("5", "\0"),
    ] {
        both(accepted, refused, Fault::ChunkSize);
    }
    both("5\t", "5", Fault::ChunkExtension);
    both("5 ", "a", Fault::ChunkExtension);
    both("5;a", "\0", Fault::ChunkExtension);
    both("5;a", "\n", Fault::BareLf);
    both("5;a=\"", "\n", Fault::BareLf);
    both("5\r", "x", Fault::BareCr);
    both("0\r\nX", " : y", Fault::FieldName);
    both("0\r\n", ": y", Fault::FieldName);
    both("0\r\n", " X: y", Fault::Fold);
    both("0\r\nX: y\r\n", "\tz", Fault::Fold);
    both("0\r\nX: y", "\n", Fault::BareLf);
    both("0\r\nX: y", "\0", Fault::FieldValue);
    both("0\r\nX: y\r", "\r", Fault::BareCr);
    both("0\r\nX: y\r\n\r", "\r", Fault::BareCr);
    both("0\r\n\r", "x", Fault::BareCr);
    both("4\r\nhell", "o\r\n0", Fault::ChunkEnd);
    both("4\r\nhell\r", "0", Fault::ChunkEnd);
    both("4\r\nhell", "\n0", Fault::ChunkEnd);
    for (accepted, refused) in [
        ("5 ", ""),
        ("5;", ""),
        ("5;a ", ""),
        ("5;a=", ""),
        ("5;a=", ";"),
        ("5;a=b ", ""),
        ("5;a ", "b"),
        ("5;a=b", "=c"),
        ("5;a=\"", "\r\""),
        ("5;a=\"\\", "\x7f"),
        ("5;a=\"b\"", "c"),
        ("5;a=\"b\" ", ""),
        ("5;", "\"a\""),
    ] {
        bad(request, accepted, refused, Fault::ChunkExtension);
    }
}

/// What hyper's client took: blanks behind the size and extensions of any text.
#[test]
fn chunks_of_pods_may_have_careless_lines() {
    for line in [
        "5 ",
        "5\t ",
        "5;",
        "5 ; ",
        "5;a b",
        "5;a=b=c",
        "5;=",
        "5;a=\"b",
        "5;\"a\"\u{e4} \t",
        "5;;;",
    ] {
        assert_eq!(good(response, &format!("{line}\r\nhello\r\n0 \r\n\r\n"), "hello"), None);
        let refused = split(request, format!("{line}\r\nhello\r\n0 \r\n\r\n").as_bytes());
        assert_eq!(refused.result, Err(Fault::ChunkExtension), "{line}");
    }
}

#[test]
fn trailers_are_kept() {
    let body = "0\r\nX-Sum: \t1 2\t \r\nempty:\r\nX-sum:3\r\ngrpc-status: 0\r\n\r\n";
    for new in [request, response] {
        let trailers = good(new, body, "").unwrap();
        let fields: Vec<_> = trailers.fields().collect();
        let wanted: [(&[u8], &[u8]); 4] = [
            (b"X-Sum", b"1 2"),
            (b"empty", b""),
            (b"X-sum", b"3"),
            (b"grpc-status", b"0"),
        ];
        assert_eq!(fields, wanted);
        let known: Vec<_> = trailers.lines.iter().map(|line| line.known).collect();
        use crate::http1::Name::{GrpcStatus, Other};
        assert_eq!(known, [Other, Other, Other, GrpcStatus]);
    }
}

#[test]
fn forbidden_trailers_are_a_clients_fault_and_left_out_of_a_pods() {
    let long = "X-Forwarded-By-A-Name-That-Is-Longer-Than-Most";
    for name in crate::http1::FORBIDDEN.iter().chain([&long]) {
        let accepted = format!("0\r\nX: y\r\n{}", name.to_uppercase());
        bad(request, &accepted, ": 1", Fault::TrailerForbidden);
        let trailers = good(response, &format!("{accepted}: 1\r\nz: 2\r\n\r\n"), "").unwrap();
        let fields: Vec<_> = trailers.fields().collect();
        assert_eq!(fields, [(&b"X"[..], &b"y"[..]), (b"z", b"2")]);
        assert_eq!(good(response, &format!("0\r\n{name}: 1\r\n\r\n"), ""), None);
    }
}

#[test]
fn limits() {
    let limits = Limits {
        header_count: 3,
        chunk_ext_bytes: 6,
        trailer_bytes: 20,
        ..Limits::default()
    };
    let new = || Decoder::new(Framing::Chunked, &limits);
    good(new, "1;a\r\nx\r\n0;b=c\r\n\r\n", "x");
    good(new, "0;a=bcd\r\n\r\n", "");
    let (extensions, trailers) = (Fault::ChunkExtensionsTooLong, Fault::TrailersTooLong);
    bad(new, "1;a\r\nx\r\n0;b=c", "d", extensions);
    bad(new, "1;a=\"bc", "d\"", extensions);
    good(new, "0\r\na: 456\r\nb: 12345\r\n\r\n", "");
    let decoded = decode(new(), b"0\r\na: 456\r\nb: 123456\r\n\r\n".chunks(1));
    assert_eq!(decoded.result, Err(trailers));
    bad(new, "0\r\na:\r\nb:\r\nc:\r\n", "d:", Fault::TooManyFields);
    let limits = ResponseLimits {
        head_bytes: 0,
        header_count: 3,
        chunk_ext_bytes: 6,
        trailer_bytes: 20,
    };
    let new = || Decoder::of_response(Framing::Chunked, &limits);
    good(new, "1;a\r\nx\r\n0 ; \r\n\r\n", "x");
    bad(new, "1;a\r\nx\r\n0  ; ", " ", extensions);
    // What is left out counts as well.
    bad(new, "0\r\nTE:\r\nTE:\r\nc:\r\n", "d:", Fault::TooManyFields);
}

#[test]
fn nothing_is_allocated_without_trailers() {
    let body = "5;a=b\r\nhello\r\n".repeat(200) + "0\r\n\r\n";
    let counted = allocation_counter::measure(|| {
        let mut decoder = request();
        let mut rest = body.as_bytes();
        while let Ok(Part { framing, data }) = decoder.next(rest)
            && framing + data > 0
        {
            rest = &rest[framing + data..];
        }
        assert!(decoder.is_done());
    });
    assert_eq!(counted.count_total, 0);
    assert!(size_of::<Decoder>() <= 48, "{}", size_of::<Decoder>());
}
