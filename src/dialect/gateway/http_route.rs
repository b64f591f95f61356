//! HTTPRoute as narthex keeps it, as it is written. Routes of other kinds are read as one.

use super::ParentRef;
use crate::model::object::Meta;
use crate::model::{Kind, Revision};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// A route of any kind: which requests or connections go where. All kinds are read as an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRoute {
    pub kind: Kind,
    pub meta: Meta,
    pub revision: Revision,
    /// `spec.parentRefs`.
    pub parents: Box<[ParentRef]>,
    /// `spec.hostnames`; a TCPRoute has none.
    pub hostnames: Box<[Box<str>]>,
    /// `spec.rules`.
    pub rules: Box<[HttpRule]>,
    /// Whether `spec.useDefaultGateways` is there.
    pub uses_default_gateways: bool,
}

impl GatewayRoute {
    /// What requests for a rule without a usable backend get. Clients of gRPC take 503 for UNAVAILABLE, and 500 for UNKNOWN.
    /// Absent where narthex passes on connections, in which it says nothing.
    pub fn refusal(&self) -> Option<StatusCode> {
        match self.kind {
            kind if kind.is_of_streams() => None,
            Kind::GRPCRoute => Some(StatusCode::SERVICE_UNAVAILABLE),
            _ => Some(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// What becomes of what a rule is for that cannot be served.
    pub fn refused(&self, of: &str) -> String {
        match self.refusal() {
            Some(status) => format!("requests for {of} get {}", status.as_u16()),
            None => format!("connections for {of} are closed"),
        }
    }
}

/// One of a route's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRule {
    pub name: Option<Box<str>>,
    /// Absent for any request.
    pub matches: Option<Vec<HttpMatch>>,
    pub filters: Option<Vec<HttpFilter>>,
    pub backend_refs: Option<Vec<BackendRef>>,
    pub timeouts: Option<Timeouts>,
    /// Not acted on yet.
    pub retry: Option<Value>,
    /// Likewise.
    pub session_persistence: Option<Value>,
}

/// What a request has to be; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    pub path: Option<PathMatch>,
    pub headers: Option<Vec<NamedValue>>,
    pub query_params: Option<Vec<NamedValue>>,
    pub method: Option<Box<str>>,
}

/// How a path is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PathMatch {
    /// `PathPrefix` where it is absent.
    #[serde(rename = "type")]
    pub kind: Option<Box<str>>,
    /// `/` where it is absent.
    pub value: Option<Box<str>>,
    /// How long the texts for a service and for a method of gRPC are, where it was made of these.
    #[serde(skip)]
    pub lengths: Option<(usize, usize)>,
}

/// How a field or a query parameter is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NamedValue {
    /// `Exact` where it is absent.
    #[serde(rename = "type")]
    pub kind: Option<Box<str>>,
    pub name: Box<str>,
    pub value: Box<str>,
}

/// How a text is compared, once that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    Exact,
    RegularExpression,
}

impl NamedValue {
    /// How it is compared; absent for a word that nobody knows.
    pub fn how(&self) -> Option<ValueMatch> {
        match self.kind.as_deref() {
            None | Some("Exact") => Some(ValueMatch::Exact),
            Some("RegularExpression") => Some(ValueMatch::RegularExpression),
            Some(_) => None,
        }
    }
}

/// What is done to requests and replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFilter {
    #[serde(rename = "type")]
    pub kind: Box<str>,
    pub request_header_modifier: Option<HeaderFilter>,
    pub response_header_modifier: Option<HeaderFilter>,
    pub request_mirror: Option<Mirror>,
    pub request_redirect: Option<Redirect>,
    pub url_rewrite: Option<UrlRewrite>,
    /// Not acted on yet.
    pub cors: Option<Value>,
    /// Likewise.
    pub external_auth: Option<Value>,
    /// Nothing that narthex knows can be referred to.
    pub extension_ref: Option<Value>,
}

/// Changes of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HeaderFilter {
    pub set: Option<Vec<RouteHeader>>,
    pub add: Option<Vec<RouteHeader>>,
    pub remove: Option<Vec<Box<str>>>,
}

/// A field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RouteHeader {
    pub name: Box<str>,
    pub value: Box<str>,
}

/// Copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirror {
    pub backend_ref: BackendRef,
    pub percent: Option<i32>,
    pub fraction: Option<Fraction>,
}

/// A part of a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Fraction {
    pub numerator: i32,
    /// 100 where it is absent.
    pub denominator: Option<i32>,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redirect {
    pub scheme: Option<Box<str>>,
    pub hostname: Option<Box<str>>,
    pub path: Option<PathModifier>,
    pub port: Option<i32>,
    /// 302 where it is absent.
    pub status_code: Option<i32>,
}

/// What pods are asked for in place of what the client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UrlRewrite {
    pub hostname: Option<Box<str>>,
    pub path: Option<PathModifier>,
}

/// What a path becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathModifier {
    #[serde(rename = "type")]
    pub kind: Box<str>,
    pub replace_full_path: Option<Box<str>>,
    pub replace_prefix_match: Option<Box<str>>,
}

/// A Service that requests go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BackendRef {
    pub group: Option<Box<str>>,
    pub kind: Option<Box<str>>,
    pub name: Box<str>,
    pub namespace: Option<Box<str>>,
    pub port: Option<i32>,
    /// 1 where it is absent.
    pub weight: Option<i32>,
    pub filters: Option<Vec<HttpFilter>>,
}

/// How long requests may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    pub request: Option<Box<str>>,
    pub backend_request: Option<Box<str>>,
}
