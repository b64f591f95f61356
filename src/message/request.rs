//! The head of a request.

use super::Fields;
use crate::http1::{RequestHead, Span};
use http::request::Parts;
use http::{Method, Version};

/// The head of a request.
#[derive(Debug)]
pub struct Request {
    /// The method. That of an extended CONNECT for a WebSocket is the GET that a pod gets.
    pub method: Method,
    /// The version by which it came.
    pub version: Version,
    /// Whether it is an extended CONNECT for a WebSocket (RFC 8441).
    pub websocket: bool,
    /// The fields.
    pub fields: Fields,
    authority: Option<Span>,
    path: Span,
    /// Where it begins, behind the `?`.
    query: Option<u32>,
}

impl Default for Request {
    fn default() -> Self {
        Self::new(Method::GET, Version::HTTP_11, "/", Fields::new())
    }
}

impl Request {
    /// One with a target in one of the four forms.
    pub fn new(method: Method, version: Version, target: &str, mut fields: Fields) -> Self {
        let span = fields.put(target.as_bytes());
        let mut request = Self {
            method,
            version,
            websocket: false,
            fields,
            authority: None,
            path: Span::default(),
            query: None,
        };
        request.set_target(span);
        request
    }

    /// Makes it the one of HTTP/1.1 whose head was read. Whether the `http` crate knows its method, which the reader has
    /// checked.
    pub fn set_head(&mut self, bytes: &[u8], head: &mut RequestHead) -> bool {
        let Ok(method) = Method::from_bytes(head.method.of(bytes)) else {
            return false;
        };
        self.method = method;
        self.version = if head.version == 10 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        self.websocket = false;
        self.fields.set(bytes, std::mem::take(&mut head.lines));
        let target = match head.encoded.take() {
            Some(encoded) => self.fields.put(&encoded),
            None => head.target,
        };
        (self.authority, self.path, self.query) = (None, Span::default(), None);
        self.set_target(target);
        true
    }

    /// One in the terms of the `http` crate.
    pub fn of_parts(parts: &Parts) -> Self {
        let uri = &parts.uri;
        let length = |text: Option<&str>| text.map_or(0, str::len);
        let target = length(uri.path_and_query().map(|target| target.as_str()));
        let more = 1 + target + length(uri.authority().map(|authority| authority.as_str()));
        let mut fields = Fields::of_map(&parts.headers, more);
        let authority = uri
            .authority()
            .map(|authority| fields.put(authority.as_str().as_bytes()));
        let target = match uri.path_and_query().map(|target| target.as_str()) {
            // `http://host` without a path means the root.
            None | Some("") if uri.scheme().is_some() => "/",
            Some(target) => target,
            None => "",
        };
        let span = fields.put(target.as_bytes());
        let mut request = Self {
            method: parts.method.clone(),
            version: parts.version,
            websocket: false,
            fields,
            authority,
            path: Span::default(),
            query: None,
        };
        request.set_path(span);
        request
    }

    fn set_target(&mut self, target: Span) {
        if self.method != Method::CONNECT && self.fields.bytes_at(target).starts_with(b"/") {
            return self.set_path(target);
        }
        let text = self.fields.text(target);
        let rest = text.split_once("://").map(|(_, rest)| rest);
        if self.method == Method::CONNECT && rest.is_none() {
            self.authority = Some(target);
            return;
        }
        let Some(rest) = rest else {
            return self.set_path(target);
        };
        let behind = rest.find(['/', '?']).unwrap_or(rest.len());
        let place = |length: usize| target.end.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX));
        let (start, end) = (place(rest.len()), place(rest.len() - behind));
        let rooted = match rest.get(behind..).unwrap_or_default() {
            path if path.starts_with('/') => None,
            query => Some(format!("/{query}")),
        };
        self.authority = Some(Span { start, end });
        let path = match rooted {
            None => Span {
                start: end,
                end: target.end,
            },
            Some(path) => self.fields.put(path.as_bytes()),
        };
        self.set_path(path);
    }

    fn set_path(&mut self, target: Span) {
        let mark = memchr::memchr(b'?', self.fields.bytes_at(target));
        let mark = mark.and_then(|mark| u32::try_from(mark).ok());
        self.query = mark.map(|mark| target.start + mark + 1);
        self.path = target;
    }

    /// The authority of the target, where it has one.
    pub fn authority(&self) -> Option<&str> {
        self.authority.map(|span| self.fields.text(span))
    }

    /// The path of the target; `*` for `OPTIONS *`, and empty for a CONNECT.
    pub fn path(&self) -> &str {
        self.fields.text(self.path_alone())
    }

    /// Whether this is its path.
    pub fn has_path(&self, path: &str) -> bool {
        self.fields.bytes_at(self.path_alone()) == path.as_bytes()
    }

    fn path_alone(&self) -> Span {
        let end = self.query.map_or(self.path.end, |query| query - 1);
        Span { end, ..self.path }
    }

    /// The query of the target, without its `?`.
    pub fn query(&self) -> Option<&str> {
        let end = self.path.end;
        self.query.map(|start| self.fields.text(Span { start, end }))
    }

    /// Path and query.
    pub fn target(&self) -> &[u8] {
        self.fields.bytes_at(self.path)
    }

    /// The authority of the target, and else what `Host` says, as it came.
    pub fn host(&self) -> &[u8] {
        let named = self.authority().map(str::as_bytes);
        let field = || self.fields.get(&crate::http1::Name::Host).map(super::Value::as_bytes);
        named.or_else(field).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_target_is_read() {
        for (method, target, authority, path, query) in [
            ("GET", "/", None, "/", None),
            ("GET", "/a/b?c=d?e", None, "/a/b", Some("c=d?e")),
            ("GET", "/a?", None, "/a", Some("")),
            ("GET", "/http://b/", None, "/http://b/", None),
            ("OPTIONS", "*", None, "*", None),
            ("GET", "http://a.test", Some("a.test"), "/", None),
            ("GET", "HTTP://a.test?x", Some("a.test"), "/", Some("x")),
            ("GET", "https://a.test:8/p?q", Some("a.test:8"), "/p", Some("q")),
            ("CONNECT", "a.test:443", Some("a.test:443"), "", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = Request::new(method, Version::HTTP_11, target, Fields::new());
            assert_eq!(
                (request.authority(), request.path(), request.query()),
                (authority, path, query),
                "{target}"
            );
        }
    }
}
