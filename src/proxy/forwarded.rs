//! `Forwarded` (RFC 7239): what each proxy says of the request it got.

use crate::message::{Fields, Name};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// One element of the list: what one proxy says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Element<'h> {
    /// `for`: who asked it.
    node: Option<Cow<'h, str>>,
    /// `proto`: by which scheme.
    pub proto: Option<Cow<'h, str>>,
    /// `host`: for which host.
    pub host: Option<Cow<'h, str>>,
}

impl Element<'_> {
    /// The address in `for`; none where that is missing, hidden or unknown.
    pub fn address(&self) -> Option<IpAddr> {
        address(self.node.as_deref()?)
    }
}

/// An address as proxies write it: alone, or with a port, which may be hidden (RFC 7239, section 6).
pub fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse();
    let ip = ip.or_else(|_| text.parse().map(|both: SocketAddr| both.ip()));
    let ip = ip.ok().or_else(|| {
        let (node, port) = text.rsplit_once(":_")?;
        let hidden = !port.is_empty()
            && port
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']'));
        hidden.then(|| bare.unwrap_or(node).parse().ok())?
    });
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// The elements, those of the nearest proxy first. What does not follow the grammar ends them: nobody who is trusted
/// wrote what stands to its left.
pub fn elements(fields: &Fields) -> impl Iterator<Item = Element<'_>> {
    let lines = fields.get_all(&Name::Forwarded).rev();
    let texts = lines.flat_map(|line| split(line.to_str().unwrap_or("\"")));
    texts.map_while(|text| text.and_then(element))
}

/// A line's elements, the last first. None is for a line whose quotes do not close.
fn split(line: &str) -> impl Iterator<Item = Option<&str>> {
    let mut rest = quotes_close(line).then_some(line);
    let mut broken = rest.is_none();
    std::iter::from_fn(move || {
        if std::mem::take(&mut broken) {
            return Some(None);
        }
        let line = rest?;
        let comma = last_comma(line);
        let (before, last) = match comma {
            Some(comma) => (line.get(..comma), line.get(comma + 1..)),
            None => (None, Some(line)),
        };
        rest = before;
        last.map(Some)
    })
    // RFC 9110, section 5.6.1: a list may have empty elements.
    .filter(|text| text.is_none_or(|text| !text.trim_matches([' ', '\t']).is_empty()))
}

fn quotes_close(line: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in line.bytes() {
        (quoted, escaped) = step(byte, quoted, escaped);
    }
    !quoted
}

fn step(byte: u8, quoted: bool, escaped: bool) -> (bool, bool) {
    match byte {
        _ if escaped => (quoted, false),
        b'\\' if quoted => (quoted, true),
        b'"' => (!quoted, false),
        _ => (quoted, false),
    }
}

/// The last comma outside of quotes.
fn last_comma(line: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut found) = (false, false, None);
    for (place, byte) in line.bytes().enumerate() {
        if byte == b',' && !quoted {
            found = Some(place);
        }
        (quoted, escaped) = step(byte, quoted, escaped);
    }
    found
}

/// One element: pairs of a name and a value, each name once. None where it is malformed.
fn element(text: &str) -> Option<Element<'_>> {
    let mut found = Element::default();
    let mut rest = text.trim_matches([' ', '\t']);
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t']);
        let (value, after) = value(after)?;
        let place = match name.to_ascii_lowercase().as_str() {
            "for" => Some(&mut found.node),
            "proto" => Some(&mut found.proto),
            "host" => Some(&mut found.host),
            _ if name.bytes().all(is_token) && !name.is_empty() => None,
            _ => return None,
        };
        if let Some(place) = place
            && place.replace(value).is_some()
        {
            return None;
        }
        let after = after.trim_matches([' ', '\t']);
        if after.is_empty() {
            return Some(found);
        }
        rest = after.strip_prefix(';')?.trim_matches([' ', '\t']);
        if rest.is_empty() {
            return Some(found);
        }
    }
}

/// A token or quoted string, and what stands behind it. Addresses with a port, and IPv6 addresses, are taken without
/// their quotes too, as many proxies write them.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|byte: char| !byte.is_ascii() || !is_token(byte as u8) && !":[]".contains(byte));
        let (value, after) = text.split_at(end.unwrap_or(text.len()));
        return (!value.is_empty()).then_some((Cow::Borrowed(value), after));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (value, after) = (quoted.get(..end)?, quoted.get(end + 1..)?);
    if !value.contains('\\') {
        return Some((Cow::Borrowed(value), after));
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' {
            characters.next()?
        } else {
            character
        });
    }
    Some((Cow::Owned(plain), after))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Vec<String> {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(&Name::Forwarded, line);
        }
        let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
        elements(&headers)
            .map(|one| {
                let address = one.address().map(|address| address.to_string());
                [
                    text(address.as_deref()),
                    text(one.proto.as_deref()),
                    text(one.host.as_deref()),
                ]
                .join(" ")
            })
            .collect()
    }

    #[test]
    fn each_form_of_the_specification_is_read() {
        for (lines, wanted) in [
            (
                &["for=192.0.2.60;proto=http;by=203.0.113.43"][..],
                &["192.0.2.60 http -"][..],
            ),
            (&["For=\"[2001:db8:cafe::17]:4711\""], &["2001:db8:cafe::17 - -"]),
            (
                &["for=\"[2001:db8:cafe::17]\" ; PROTO=HTTPS"],
                &["2001:db8:cafe::17 HTTPS -"],
            ),
            (&["for=\"192.0.2.43:47011\""], &["192.0.2.43 - -"]),
            (&["for=192.0.2.43:47011"], &["192.0.2.43 - -"]),
            (&["for=\"192.0.2.43:_port\""], &["192.0.2.43 - -"]),
            (&["for=\"[::ffff:192.0.2.1]\""], &["192.0.2.1 - -"]),
            (
                &["for=192.0.2.43, for=198.51.100.17"],
                &["198.51.100.17 - -", "192.0.2.43 - -"],
            ),
            (
                &["for=192.0.2.43", "for=198.51.100.17"],
                &["198.51.100.17 - -", "192.0.2.43 - -"],
            ),
            (&[", for=192.0.2.43 ,, "], &["192.0.2.43 - -"]),
            (&["for=unknown, for=_SEVKISEK;proto=https"], &["- https -", "- - -"]),
            (
                &["proto=https;host=\"a.test:8443\";secret=_x"],
                &["- https a.test:8443"],
            ),
            (&["proto=https;"], &["- https -"]),
            (&["host=\"a, b\\\"c\";proto=http"], &["- http a, b\"c"]),
        ] {
            assert_eq!(read(lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn what_is_malformed_ends_the_list() {
        for (lines, wanted) in [
            (&["for=192.0.2.1, proto, for=10.0.0.1"][..], &["10.0.0.1 - -"][..]),
            (
                &["for=192.0.2.1, for=1.1.1.1;for=2.2.2.2, for=10.0.0.1"],
                &["10.0.0.1 - -"],
            ),
            (&["for=192.0.2.1", "for=\"10.0.0.1", "proto=http"], &["- http -"]),
            (&["for=192.0.2.1, =https"], &[]),
            (&["for=a b"], &[]),
            (&["proto=\"https\"x"], &[]),
            (&["proto="], &[]),
            (&["\"for=192.0.2.1"], &[]),
        ] {
            assert_eq!(read(lines), wanted, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_harms(line in "[ -~]{0,80}") {
            read(&[&line]);
        }
    }
}
