//! GRPCRoute. gRPC is HTTP/2 with a POST to `/SERVICE/METHOD`, so such a route is an HTTPRoute that is written in other words.

use super::http_route::{BackendRef, HttpFilter, HttpMatch, HttpRule, NamedValue, PathMatch};
use serde::Deserialize;
use serde_json::Value;

/// One of a route's rules.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GrpcRule {
    name: Option<Box<str>>,
    matches: Option<Vec<GrpcMatch>>,
    filters: Option<Vec<HttpFilter>>,
    backend_refs: Option<Vec<BackendRef>>,
    session_persistence: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GrpcMatch {
    method: Option<MethodMatch>,
    headers: Option<Vec<NamedValue>>,
}

/// How a call is compared. What is absent may be anything.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MethodMatch {
    /// `Exact` where it is absent.
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    service: Option<Box<str>>,
    method: Option<Box<str>>,
}

/// A part of a path.
const ANY: &str = "[^/]+";

impl MethodMatch {
    fn path(&self) -> PathMatch {
        let part = |text: &Option<Box<str>>| text.clone().filter(|text| !text.is_empty());
        let (service, method) = (part(&self.service), part(&self.method));
        let length = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        let path = |kind: &str, value: String| PathMatch {
            kind: Some(kind.into()),
            value: Some(value.into()),
            lengths: Some((length(&service), length(&method))),
        };
        let expression = |read: fn(&str) -> String| {
            let read = |text: &Option<Box<str>>| text.as_deref().map_or_else(|| ANY.to_owned(), read);
            path("RegularExpression", format!("/{}/{}", read(&service), read(&method)))
        };
        match (self.kind.as_deref().unwrap_or("Exact"), &service, &method) {
            (_, None, None) => path("PathPrefix", "/".to_owned()),
            ("Exact", Some(service), Some(method)) => path("Exact", format!("/{service}/{method}")),
            ("Exact", ..) => expression(escaped),
            ("RegularExpression", ..) => expression(|text| format!("(?:{text})")),
            // A word that nobody knows.
            (other, ..) => path(other, "/".to_owned()),
        }
    }
}

/// A text that stands for itself in a regular expression.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        if one.is_ascii_punctuation() && one != '_' {
            out.push('\\');
        }
        out.push(one);
    }
    out
}

impl From<GrpcMatch> for HttpMatch {
    fn from(said: GrpcMatch) -> Self {
        Self {
            path: said.method.map(|method| method.path()),
            headers: said.headers,
            query_params: None,
            method: None,
        }
    }
}

impl From<GrpcRule> for HttpRule {
    fn from(said: GrpcRule) -> Self {
        Self {
            name: said.name,
            matches: said.matches.map(|all| all.into_iter().map(Into::into).collect()),
            filters: said.filters,
            backend_refs: said.backend_refs,
            timeouts: None,
            retry: None,
            session_persistence: said.session_persistence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_a_path() {
        for (json, kind, value) in [
            (r#"{}"#, "PathPrefix", "/"),
            (r#"{"service": "a.B", "method": "C"}"#, "Exact", "/a.B/C"),
            (r#"{"service": "a.B"}"#, "RegularExpression", r"/a\.B/[^/]+"),
            (r#"{"method": "C_1"}"#, "RegularExpression", "/[^/]+/C_1"),
            (
                r#"{"type": "RegularExpression", "service": "a|b", "method": "C.*"}"#,
                "RegularExpression",
                "/(?:a|b)/(?:C.*)",
            ),
            (r#"{"type": "Prefix", "service": "a"}"#, "Prefix", "/"),
        ] {
            let path = serde_json::from_str::<MethodMatch>(json).unwrap().path();
            assert_eq!(
                (path.kind.as_deref(), path.value.as_deref()),
                (Some(kind), Some(value)),
                "{json}"
            );
        }
    }
}
