//! URLs that may hold a password or a token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// The address of another service. However it is shown, it is shown without user, password, path and query: any of them
/// may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// All of it. For use only, and never to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Where to connect to and what to ask for there, without user and password; and what these make of `Authorization`
    /// (RFC 7617). Absent if it is not an HTTP URL.
    pub fn parts(&self) -> Option<(Uri, Option<HeaderValue>)> {
        let uri: Uri = self.0.parse().ok()?;
        let mut parts = uri.into_parts();
        let (scheme, authority) = (parts.scheme.as_ref()?.as_str(), parts.authority.as_ref()?.as_str());
        if !matches!(scheme, "http" | "https") {
            return None;
        }
        let mut basic = None;
        if let Some((user, address)) = authority.rsplit_once('@') {
            let user = user.split_once(':').unwrap_or((user, ""));
            let decode = |text| percent_decode_str(text).collect::<Vec<u8>>();
            let credentials = [&*decode(user.0), b":", &*decode(user.1)].concat();
            let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok()?;
            value.set_sensitive(true);
            basic = Some(value);
            parts.authority = Some(address.parse().ok()?);
        }
        let uri = Uri::from_parts(parts).ok()?;
        let host = uri.host().filter(|host| !host.is_empty())?;
        // The parser lets any text pass for a port.
        let is_whole = uri.port_u16().is_some() || uri.authority()?.as_str() == host;
        is_whole.then_some((uri, basic))
    }
}

impl From<&str> for SecretUrl {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Anything is taken: an error of the parser of flags would show what it cannot read.
impl FromStr for SecretUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        // Not the first @: a password may have one too, though it should be encoded.
        let (user, rest) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(user, rest)| (Some(user), rest));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (address, rest) = rest.split_at(end);
        // `http://user:password` without a host looks like one with a port.
        let port = address.rsplit_once(':').map(|(_, port)| port.trim_end_matches(']'));
        let is_address = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !is_address || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return to.write_str("***");
        }
        if !scheme.is_empty() {
            write!(to, "{scheme}://")?;
        }
        let hidden = if user.is_some() { "***@" } else { "" };
        let rest = if matches!(rest, "" | "/") { rest } else { "/***" };
        write!(to, "{hidden}{address}{rest}")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        for (text, shown) in [
            ("http://collector:4318", "http://collector:4318"),
            ("https://collector/", "https://collector/"),
            ("http://[fd00::1]:4318", "http://[fd00::1]:4318"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":8080", ":8080"),
            ("http://user:PASS@collector:4318", "http://***@collector:4318"),
            ("http://PASS@collector/v1/PASS?key=PASS", "http://***@collector/***"),
            ("http://user:PA/SS@PASS@collector", "http://***@collector"),
            ("http://collector/#PASS", "http://collector/***"),
            ("http://user:PASS-word", "***"),
            ("user:PASS@http://collector", "***"),
            ("http://user:PASS@", "http://***@"),
            ("PASS@collector", "***@collector"),
        ] {
            let url = SecretUrl::from(text);
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(format!("{url:?}"), shown, "{text}");
        }
    }

    #[test]
    fn user_and_password_become_a_field() {
        let parts = |text: &str| SecretUrl::from(text).parts();
        let (uri, basic) = parts("http://us%20er:p%40ss@collector:4318/x?y").unwrap();
        assert_eq!(uri, "http://collector:4318/x?y");
        assert_eq!(basic.unwrap(), format!("Basic {}", STANDARD.encode("us er:p@ss")));
        assert_eq!(parts("https://collector").unwrap().1, None);
        for none in [
            "collector:4318",
            "ftp://collector",
            "http://",
            "http://user:pass@",
            "",
            "http:///x",
        ] {
            assert!(parts(none).is_none(), "{none}");
        }
    }
}
