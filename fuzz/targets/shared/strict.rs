//! A reader of requests as strict as RFC 9112 allows: what narthex lets through, and what it sends to pods, has to be
//! something of which there are no two opinions. It panics where there could be.

/// One request, from its first byte to the end of its body.
#[allow(dead_code, reason = "not every target looks at all of it")]
pub struct Message<'a> {
    /// The first line.
    pub line: &'a [u8],
    /// Names in lower case, and values.
    pub fields: Vec<(Vec<u8>, &'a [u8])>,
    /// What follows; none if the body is not there to its end.
    pub rest: Option<&'a [u8]>,
}

/// The next request; none if its head is not there to its end.
pub fn next(mut bytes: &[u8]) -> Option<Message<'_>> {
    // Empty lines before a request (RFC 9112, section 2.2).
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.next().unwrap_or_default();
    let spaces = line.iter().filter(|byte| **byte == b' ').count();
    assert_eq!(spaces, 2, "{:?}", String::from_utf8_lossy(line));
    assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)), "{line:?}");
    let (mut length, mut chunked, mut fields) = (None, false, Vec::new());
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        assert!(
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic()),
            "{name:?}"
        );
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{value:?}");
        match name.as_slice() {
            b"content-length" => {
                assert!(length.is_none() && !chunked, "one framing");
                assert!(value.iter().all(u8::is_ascii_digit), "{value:?}");
                length = Some(text(value).parse::<u64>().expect("a length"));
            }
            b"transfer-encoding" => {
                assert!(length.is_none() && !chunked, "one framing");
                assert!(value.eq_ignore_ascii_case(b"chunked"), "{value:?}");
                chunked = true;
            }
            _ => {}
        }
        fields.push((name, value));
    }
    let rest = if chunked {
        skip_chunks(rest)
    } else {
        rest.get(usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX)..)
    };
    Some(Message { line, fields, rest })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("ASCII")
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn skip_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (size, rest) = line(bytes)?;
        let digits = size
            .split(|byte| matches!(byte, b';' | b' ' | b'\t'))
            .next()
            .unwrap_or_default();
        let size = usize::from_str_radix(text(digits), 16).expect("a chunk size");
        if size == 0 {
            bytes = rest;
            loop {
                let (field, rest) = line(bytes)?;
                bytes = rest;
                if field.is_empty() {
                    return Some(bytes);
                }
            }
        }
        let chunk = rest.get(..size.checked_add(2)?)?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends with a line");
        bytes = &rest[size + 2..];
    }
}
