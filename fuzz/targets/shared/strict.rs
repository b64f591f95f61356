//! A reader of requests as strict as RFC 9112 allows: what narthex lets through, and what it sends to pods, has to be
//! something of which there are no two opinions. It panics where there could be.

use narthex::testing::http1::is_forbidden;

/// A field of a head or a trailer section: its name as it came, and its value.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// One request, from its first byte to the end of its body.
#[allow(dead_code, reason = "not every target looks at all of it")]
pub struct Message<'a> {
    /// The first line.
    pub line: &'a [u8],
    /// Its fields, in order.
    pub fields: Vec<Field<'a>>,
    /// As much of its body as is there.
    pub body: Vec<u8>,
    /// The fields behind the body.
    pub trailers: Vec<Field<'a>>,
    /// What follows; absent if the body is not there to its end.
    pub rest: Option<&'a [u8]>,
}

/// The next request; absent if its head is not there to its end.
pub fn next(mut bytes: &[u8]) -> Option<Message<'_>> {
    // Empty lines before a request (RFC 9112, section 2.2).
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (mut head, rest) = (&bytes[..end + 2], &bytes[end + 4..]);
    let line = next_line(&mut head).expect("a line");
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        panic!("{:?}", String::from_utf8_lossy(line))
    };
    assert!(is_token(method), "{method:?}");
    assert!(
        !target.is_empty() && target.iter().all(u8::is_ascii_graphic),
        "{target:?}"
    );
    assert!(matches!(version, b"HTTP/1.0" | b"HTTP/1.1"), "{version:?}");
    let (mut length, mut chunked, mut hosts, mut fields) = (None, false, 0, Vec::new());
    while let Some(line) = next_line(&mut head) {
        let (name, value) = field(line);
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => {
                assert!(length.is_none() && !chunked, "one framing");
                assert!(value.iter().all(u8::is_ascii_digit), "{value:?}");
                length = Some(text(value).parse::<u64>().expect("a length"));
            }
            b"transfer-encoding" => {
                assert!(length.is_none() && !chunked, "one framing");
                assert!(value.eq_ignore_ascii_case(b"chunked"), "{value:?}");
                assert_eq!(version, b"HTTP/1.1");
                chunked = true;
            }
            b"host" => hosts += 1,
            _ => {}
        }
        fields.push((name, value));
    }
    assert!(
        hosts == 1 || hosts == 0 && version == b"HTTP/1.0",
        "one host, not {hosts}"
    );
    let mut message = Message {
        line,
        fields,
        body: Vec::new(),
        trailers: Vec::new(),
        rest: None,
    };
    if chunked {
        message.rest = chunks(rest, &mut message);
    } else {
        let length = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
        message.body = rest[..length.min(rest.len())].into();
        message.rest = rest.get(length..);
    }
    Some(message)
}

/// Takes a line with its CRLF, neither half of which may stand alone.
fn next_line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = &bytes[..end];
    assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n')), "{line:?}");
    *bytes = &bytes[end + 2..];
    Some(line)
}

fn field(line: &[u8]) -> Field<'_> {
    let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    assert!(is_token(name), "{name:?}");
    let is_text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
    assert!(value.iter().all(is_text), "{value:?}");
    (name, value)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("ASCII")
}

/// Reads the chunks at the beginning of `bytes` into `message`; what follows them, if all of them are there.
fn chunks<'a>(mut bytes: &'a [u8], message: &mut Message<'a>) -> Option<&'a [u8]> {
    loop {
        let line = next_line(&mut bytes)?;
        let digits = line
            .split(|byte| matches!(byte, b';' | b' ' | b'\t'))
            .next()
            .unwrap_or_default();
        assert!(
            !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit),
            "{line:?}"
        );
        let size = usize::from_str_radix(text(digits), 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        message.body.extend_from_slice(&bytes[..size.min(bytes.len())]);
        let end = bytes.get(size..size.checked_add(2)?)?;
        assert_eq!(end, b"\r\n", "a chunk ends with a line");
        bytes = &bytes[size + 2..];
    }
    loop {
        let line = next_line(&mut bytes)?;
        if line.is_empty() {
            return Some(bytes);
        }
        let (name, value) = field(line);
        assert!(!is_forbidden(name), "{name:?} behind a body");
        message.trailers.push((name, value));
    }
}
