//! The one canonical form of a host and a path: computed once per request, used for matching *and* forwarding, and
//! the form that rules are put in too.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Why a path has no canonical form. All of these are the client's fault (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not `/…`.
    #[error("the path does not start with \"/\"")]
    NotAbsolute,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path has a \"%\" that is not followed by two hexadecimal digits")]
    BadEscape,
    /// `%00`.
    #[error("the path has an encoded NUL (%00)")]
    Nul,
    /// A control character, a space, a byte beyond ASCII, `#` or `\`, none of which RFC 3986 allows in a path.
    #[error("the path has a character that must be percent-encoded")]
    BadByte,
    /// More `..` than there are segments before it.
    #[error("the path climbs above the root with \"..\"")]
    AboveRoot,
    /// `%2F` or `%5C` while `--encoded-slash=reject`.
    #[error("the path has an encoded slash or backslash, which --encoded-slash=reject forbids")]
    EncodedSlash,
}

/// A request path in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    /// With empty segments removed: what every route sees but those that keep slashes.
    pub merged: Cow<'a, str>,
    /// With empty segments kept, where that differs.
    pub kept: Option<String>,
}

impl<'a> CanonicalPath<'a> {
    /// The form a route is matched by and forwards.
    pub fn form(&self, keep_slashes: bool) -> &str {
        match &self.kept {
            Some(kept) if keep_slashes => kept,
            _ => &self.merged,
        }
    }
}

/// Puts a request's path in canonical form (RFC 3986 §6.2.2): escapes of unreserved characters are decoded, the hex
/// digits of others are upper-case, dot segments are resolved whether encoded or not, empty segments are removed.
/// `%2F` and `%5C` stay as they are and separate nothing.
///
/// # Errors
/// Says what has no canonical form; never panics, whatever the bytes.
pub fn canonical_path(path: &str, reject_encoded_slash: bool) -> Result<CanonicalPath<'_>, PathError> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    let mut plain = true;
    let mut previous = 0;
    for &byte in bytes {
        match CLASS[usize::from(byte)] {
            ORDINARY => {}
            BAD => return Err(PathError::BadByte),
            _ => plain &= byte != b'%' && previous != b'/',
        }
        previous = byte;
    }
    if plain {
        return Ok(CanonicalPath {
            merged: Cow::Borrowed(path),
            kept: None,
        });
    }
    let decoded = decode_unreserved(bytes, reject_encoded_slash)?;
    let merged = resolve_dots(&decoded, true)?;
    let kept = if decoded.contains("//") {
        Some(resolve_dots(&decoded, false)?).filter(|kept| *kept != merged)
    } else {
        None
    };
    Ok(CanonicalPath {
        merged: Cow::Owned(merged),
        kept,
    })
}

/// Puts a rule's path in the form requests have. Characters a client has to escape are escaped here, so that
/// `/café` in a rule means what a browser sends for it.
///
/// # Errors
/// As [`canonical_path`].
pub fn canonical_rule_path(path: &str, keep_slashes: bool) -> Result<String, PathError> {
    let mut escaped = String::with_capacity(path.len());
    for &byte in path.as_bytes() {
        if CLASS[usize::from(byte)] == BAD {
            escaped.push_str(&format!("%{byte:02X}"));
        } else {
            escaped.push(char::from(byte));
        }
    }
    Ok(canonical_path(&escaped, false)?.form(keep_slashes).to_owned())
}

const ORDINARY: u8 = 0;
const SPECIAL: u8 = 1;
const BAD: u8 = 2;

/// What a byte of a path is: most need no thought; `%`, `/` and `.` may; the bad ones are no part of any URI.
static CLASS: [u8; 256] = {
    let mut class = [ORDINARY; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte <= 0x20 || byte >= 0x7f {
            class[byte] = BAD;
        }
        byte += 1;
    }
    class[b'#' as usize] = BAD;
    class[b'\\' as usize] = BAD;
    class[b'?' as usize] = BAD;
    class[b'%' as usize] = SPECIAL;
    class[b'/' as usize] = SPECIAL;
    class[b'.' as usize] = SPECIAL;
    class
};

fn decode_unreserved(bytes: &[u8], reject_encoded_slash: bool) -> Result<String, PathError> {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let high = rest.next().copied().and_then(hex_digit);
        let low = rest.next().copied().and_then(hex_digit);
        let (Some(high), Some(low)) = (high, low) else {
            return Err(PathError::BadEscape);
        };
        let value = high << 4 | low;
        match value {
            0 => return Err(PathError::Nul),
            b'/' | b'\\' if reject_encoded_slash => return Err(PathError::EncodedSlash),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(value)),
            _ => out.push_str(&format!("%{value:02X}")),
        }
    }
    Ok(out)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986 §5.2.4 on an absolute path, except that climbing above the root is an error instead of being ignored.
fn resolve_dots(path: &str, merge: bool) -> Result<String, PathError> {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_directory = false;
    for segment in path.split('/').skip(1) {
        ends_in_directory = matches!(segment, "" | "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop().ok_or(PathError::AboveRoot)?;
            }
            "" if merge => {}
            _ => segments.push(segment),
        }
    }
    // A kept empty segment at the end already stands for the closing slash.
    if ends_in_directory && !merge && segments.last() == Some(&"") && path.ends_with('/') {
        segments.pop();
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if ends_in_directory || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// Why a host is not one. A request with such a Host is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// A character no host name has (RFC 3986 §3.2.2, narrowed to what DNS and `_` allow), or an empty label.
    #[error("the host is not a DNS name, an IPv4 address or a bracketed IPv6 address")]
    Invalid,
    /// Not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Over 253 characters (RFC 1035 §2.3.4).
    #[error("the host is longer than 253 characters")]
    TooLong,
}

/// A host in canonical form: lower-case, without port and without the trailing dot; IPv6 in brackets, as RFC 5952
/// writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalHost<'a> {
    pub name: Cow<'a, str>,
    /// The port, where one was given.
    pub port: Option<u16>,
}

/// Reads `uri-host [ ":" port ]` (RFC 9110 §7.2).
///
/// # Errors
/// Says what is wrong with it; never panics, whatever the text.
pub fn canonical_host(text: &str) -> Result<CanonicalHost<'_>, HostError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(HostError::Invalid)?;
        let address: Ipv6Addr = address.parse().map_err(|_| HostError::Invalid)?;
        let port = match after.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if after.is_empty() => None,
            None => return Err(HostError::Invalid),
        };
        return Ok(CanonicalHost {
            name: Cow::Owned(format!("[{address}]")),
            port,
        });
    }
    // Most hosts come without a port, and are looked at once.
    match named(text, None) {
        Err(HostError::Invalid | HostError::TooLong) if text.contains(':') => {}
        done => return done,
    }
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    named(name, parse_port(port)?)
}

/// Reads a host without its port.
fn named(name: &str, port: Option<u16>) -> Result<CanonicalHost<'_>, HostError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > 253 {
        return Err(HostError::TooLong);
    }
    // Before the first byte and behind the last one a dot would be one of two.
    let (mut seen, mut previous, mut twice) = (0, DOT, 0);
    for &byte in name.as_bytes() {
        let class = HOST_CLASSES[usize::from(byte)];
        seen |= class;
        twice |= class & previous;
        previous = class;
    }
    if seen & NOT_HOST != 0 || twice & DOT != 0 || previous == DOT {
        return Err(HostError::Invalid);
    }
    Ok(CanonicalHost {
        name: if seen & UPPER != 0 {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        },
        port,
    })
}

/// Classes of bytes in names of hosts.
const UPPER: u8 = 1;
const DOT: u8 = 2;
const NOT_HOST: u8 = 4;

static HOST_CLASSES: [u8; 256] = {
    let mut classes = [NOT_HOST; 256];
    let mut byte = 0;
    while byte < classes.len() {
        match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => classes[byte] = 0,
            b'A'..=b'Z' => classes[byte] = UPPER,
            b'.' => classes[byte] = DOT,
            _ => {}
        }
        byte += 1;
    }
    classes
};

fn parse_port(text: &str) -> Result<Option<u16>, HostError> {
    if text.is_empty() {
        // RFC 3986 §3.2.3: an empty port is the scheme's default.
        return Ok(None);
    }
    if text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(HostError::Port),
        Ok(port) => Ok(Some(port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> Result<String, PathError> {
        canonical_path(text, false).map(|path| path.merged.into_owned())
    }

    #[test]
    fn paths_have_one_form() {
        for (given, wanted) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b", "/a/b"),
            ("//", "/"),
            ("/a/", "/a/"),
            ("/a//", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a/%2e%2E/c", "/c"),
            ("/a/.", "/a/"),
            ("/%61%7e%2d", "/a~-"),
            ("/a%2fb%5c", "/a%2Fb%5C"),
            ("/a%2F..%2Fb", "/a%2F..%2Fb"),
            ("/%e4%b8", "/%E4%B8"),
            ("/...", "/..."),
            ("/.a/..b", "/.a/..b"),
            ("/a/..;/b", "/a/..;/b"),
            ("/%252e%252e/", "/%252e%252e/"),
        ] {
            assert_eq!(path(given).as_deref(), Ok(wanted), "{given}");
        }
    }

    #[test]
    fn paths_without_a_form_are_refused() {
        for (given, wanted) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/%2e%2e/a", PathError::AboveRoot),
            ("//../a", PathError::AboveRoot),
            ("/%00", PathError::Nul),
            ("/%", PathError::BadEscape),
            ("/%4", PathError::BadEscape),
            ("/%zz", PathError::BadEscape),
            ("/a b", PathError::BadByte),
            ("/a#b", PathError::BadByte),
            ("/a\\b", PathError::BadByte),
            ("/é", PathError::BadByte),
        ] {
            assert_eq!(path(given), Err(wanted), "{given}");
        }
        assert_eq!(canonical_path("/a%2Fb", true), Err(PathError::EncodedSlash));
        assert_eq!(canonical_path("/a%5cb", true), Err(PathError::EncodedSlash));
    }

    #[test]
    fn slashes_are_kept_for_those_who_ask() {
        for (given, wanted) in [
            ("/a//b", "/a//b"),
            ("/a//", "/a//"),
            ("//a", "//a"),
            ("/a//../b", "/a/b"),
            ("/a//.", "/a//"),
        ] {
            let path = canonical_path(given, false).unwrap();
            assert_eq!(path.form(true), wanted, "{given}");
        }
    }

    #[test]
    fn rule_paths_are_escaped_as_clients_do() {
        assert_eq!(canonical_rule_path("/caf\u{e9} x", false).unwrap(), "/caf%C3%A9%20x");
    }

    #[test]
    fn hosts_have_one_form() {
        for (given, name, port) in [
            ("www.Example.COM", "www.example.com", None),
            ("www.example.com.", "www.example.com", None),
            ("www.example.com.:80", "www.example.com", Some(80)),
            ("a:", "a", None),
            ("10.0.0.1:8080", "10.0.0.1", Some(8080)),
            ("[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:443", "[::1]", Some(443)),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
            ("a_b.c", "a_b.c", None),
        ] {
            let host = canonical_host(given).unwrap();
            assert_eq!((host.name.as_ref(), host.port), (name, port), "{given}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for given in [
            "",
            ".",
            "..",
            ":80",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "u@a",
            "u:p@a",
            "a:0",
            "a:65536",
            "a:x",
            "a:+1",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[a]",
            "::1",
            "é",
            "a,b",
            "a%41",
            "a:80:80",
            "a..",
        ] {
            assert!(canonical_host(given).is_err(), "{given}");
        }
        assert_eq!(canonical_host(&"a".repeat(254)), Err(HostError::TooLong));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own(text in "/[a./%25EeFf0-2\\\\;?#]{0,24}") {
            for keep in [false, true] {
                if let Ok(once) = canonical_path(&text, false) {
                    let once = once.form(keep).to_owned();
                    let twice = canonical_path(&once, false).unwrap();
                    prop_assert_eq!(twice.form(keep), once.as_str());
                    prop_assert!(once.starts_with('/'));
                    let climbs = once.split('/').any(|segment| segment == ".." || segment == ".");
                    prop_assert!(!climbs);
                }
            }
        }
    }
}
