//! Two calls to the API server, list a page and watch, with every answer that is not the hoped-for one told apart.
//!
//! Not kube's watcher: it keeps bookmarks to itself (so nothing could tell a quiet watch from a dead one), never
//! compares resourceVersions, and hides the end of a connection. kube builds the requests, authenticates and speaks TLS.

use crate::model::Kind;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a page of a list, or the head of a watch, may take. A busy API server takes seconds for a big page.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How big a page may be: 500 objects of at most 1.5 MiB in etcd would be more, but no cluster's average is that.
const PAGE_BYTES: usize = 256 << 20;

/// How big one watch event may be: etcd takes 1.5 MiB (protobuf), JSON is a few times that.
const EVENT_BYTES: usize = 32 << 20;

/// How much of an error's body is read.
const ERROR_BYTES: usize = 64 << 10;

/// One kind in one version, everywhere or in one namespace, or one object alone.
#[derive(Clone, Debug)]
pub struct Target {
    /// What is listed.
    pub kind: Kind,
    /// `networking.k8s.io/v1`
    pub api_version: &'static str,
    /// None for all.
    pub namespace: Option<String>,
    /// The only object listed; none for all. Asked for by field selector, which a role with `resourceNames` allows.
    pub name: Option<Arc<str>>,
}

impl Target {
    /// The API group; empty for the core one.
    pub fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    fn path(&self) -> String {
        let root = if self.group().is_empty() { "api" } else { "apis" };
        let version = self.api_version;
        let plural = self.kind.plural();
        match &self.namespace {
            Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{version}/{plural}"),
        }
    }

    /// Whether only the metadata of objects is asked for.
    fn is_metadata(&self) -> bool {
        self.kind.facts().metadata_only
    }

    /// Of Secrets, whole lists are of certificates only: there may be many others, and they are none of our business.
    fn selector(&self) -> Option<String> {
        match (&self.name, self.kind) {
            (Some(name), _) => Some(format!("metadata.name={name}")),
            (None, Kind::Secret) => Some(format!("type={SECRET_TYPE}")),
            (None, _) => None,
        }
    }

    /// Puts in what the API server leaves out: items of a list have no kind.
    pub fn complete(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), self.api_version.into());
            fields.insert("kind".to_owned(), self.kind.name().into());
        }
    }
}

/// The type of Secret that is watched wholesale.
const SECRET_TYPE: &str = "kubernetes.io/tls";

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 401: the token or certificate is not (or no longer) good.
    #[error("the API server does not know us: {0}")]
    Unauthorized(String),
    /// 403
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 404
    #[error("not found: {0}")]
    Missing(String),
    /// 410, as an answer or as an event: the history we would go on from is gone.
    #[error("the history since our last list is gone: {0}")]
    Gone(String),
    /// 429
    #[error("the API server is busy: {message}")]
    Busy {
        message: String,
        /// How long it asks us to wait.
        wait: Option<Duration>,
    },
    /// Any other refusal.
    #[error("the API server answered {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("no answer from the API server: {0}")]
    Unreachable(String),
    /// An answer that is not what the API promises.
    #[error("the API server's answer makes no sense: {0}")]
    Malformed(String),
    /// A watch that ended before its time, or fell silent.
    #[error("the watch broke off: {0}")]
    Broken(String),
}

impl ApiError {
    /// Whether retrying alone will not help: someone has to change the cluster.
    pub fn denied(&self) -> bool {
        matches!(self, ApiError::Forbidden(_) | ApiError::Missing(_))
    }

    fn of_status(code: u16, status: Status, wait: Option<Duration>) -> Self {
        let Status { message, details, .. } = status;
        match code {
            401 => ApiError::Unauthorized(message),
            403 => ApiError::Forbidden(message),
            404 => ApiError::Missing(message),
            410 => ApiError::Gone(message),
            429 => {
                let seconds = details.map_or(0, |details| details.retry_after_seconds);
                let said = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
                ApiError::Busy {
                    message,
                    wait: wait.or(said),
                }
            }
            _ => ApiError::Refused { code, message },
        }
    }

    /// An error and all that caused it, in one line: the outer ones say "service error", the last says why.
    fn of_error(error: &(dyn Error + 'static)) -> Self {
        let mut parts: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // An outer message that repeats its source's adds nothing.
            parts.retain(|part| !part.contains(&text));
            parts.push(text);
            next = error.source();
        }
        ApiError::Unreachable(parts.join(": "))
    }
}

/// One page of a list. Not `Debug`, like [`Said`]: it may hold Secrets.
#[derive(Default, Deserialize)]
pub struct Page {
    /// Where in history the list stands, and where its next page is.
    #[serde(default)]
    pub metadata: PageMeta,
    /// The objects, without kind and apiVersion; `null`, which old servers send, means an empty list.
    #[serde(default)]
    pub items: Option<Vec<Value>>,
}

/// A page's `metadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PageMeta {
    /// The point in history the whole list shows.
    pub resource_version: String,
    /// The token of the next page; none or empty on the last.
    pub r#continue: Option<String>,
}

/// Lists one page: the newest state, from `from` on where the last page said there is more.
///
/// # Errors
/// Any [`ApiError`] but `Broken`; `Gone` when the next page took too long to be asked for.
pub async fn list(client: &kube::Client, target: &Target, limit: u32, from: Option<&str>) -> Result<Page, ApiError> {
    let mut params = ListParams::default().limit(limit);
    params.field_selector = target.selector();
    params.continue_token = from.map(str::to_owned);
    let request = kube::core::Request::new(target.path());
    let request = if target.is_metadata() {
        request.list_metadata(&params)
    } else {
        request.list(&params)
    };
    let answer = async {
        let response = send(client, request).await?;
        let body = read(response.into_body(), PAGE_BYTES).await?;
        serde_json::from_slice::<Page>(&body).map_err(|error| ApiError::Malformed(error.to_string()))
    };
    let page = timeout(ANSWER_TIME, answer).await.unwrap_or_else(|_| Err(too_slow()))?;
    if page.metadata.resource_version.is_empty() {
        return Err(ApiError::Malformed(
            "a list without metadata.resourceVersion".to_owned(),
        ));
    }
    Ok(page)
}

/// What a watch says.
pub enum Said {
    /// ADDED or MODIFIED
    Applied(Value),
    /// DELETED
    Deleted(Value),
    /// BOOKMARK: nothing happened up to its resourceVersion.
    Bookmark(Value),
}

impl Said {
    /// The point in history this event stands for.
    pub fn resource_version(&self) -> Option<&str> {
        let (Said::Applied(object) | Said::Deleted(object) | Said::Bookmark(object)) = self;
        object.pointer("/metadata/resourceVersion").and_then(Value::as_str)
    }
}

pub struct Stream {
    body: Body,
    read: BytesMut,
    /// The server ends a watch by then, so one that is still open is dead.
    deadline: Instant,
    /// An end before this is not the server's own timeout.
    due: Instant,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// Watches from a point in history on, for `time`; silence for `margin` longer than that is a dead connection.
///
/// # Errors
/// Any [`ApiError`]; `Gone` when the server no longer knows that point.
pub async fn watch(
    client: &kube::Client,
    target: &Target,
    from: &str,
    time: Duration,
    margin: Duration,
) -> Result<Stream, ApiError> {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
    let mut params = WatchParams::default().timeout(seconds);
    params.field_selector = target.selector();
    let request = kube::core::Request::new(target.path());
    let request = if target.is_metadata() {
        request.watch_metadata(&params, from)
    } else {
        request.watch(&params, from)
    };
    let began = Instant::now();
    let answer = timeout(ANSWER_TIME, send(client, request));
    let response = answer.await.unwrap_or_else(|_| Err(too_slow()))?;
    Ok(Stream {
        body: response.into_body(),
        read: BytesMut::new(),
        // Counted from the request, as the server counts from when it came.
        deadline: Instant::now() + time + margin,
        due: began + time.saturating_sub(margin),
    })
}

impl Stream {
    /// The next event; none when the server ended the watch at its time.
    ///
    /// # Errors
    /// `Broken` when the connection ended or fell silent, otherwise what the server said in an ERROR event.
    pub async fn next(&mut self) -> Result<Option<Said>, ApiError> {
        loop {
            if let Some(line) = self.line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return said(&line).map(Some);
            }
            if self.read.len() > EVENT_BYTES {
                return Err(ApiError::Malformed(format!(
                    "an event of more than {EVENT_BYTES} bytes"
                )));
            }
            let Ok(frame) = timeout_at(self.deadline, self.body.frame()).await else {
                return Err(ApiError::Broken("silent beyond its time".to_owned()));
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(ApiError::Broken(error.to_string())),
                // Half an event is told again after the last whole one.
                None if !self.read.is_empty() => {
                    return Err(ApiError::Broken("it ended in the middle of an event".to_owned()));
                }
                // A server that shuts down (or a proxy) ends watches politely, but early.
                None if Instant::now() < self.due => {
                    return Err(ApiError::Broken("it ended before its time".to_owned()));
                }
                None => return Ok(None),
            }
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        let end = memchr::memchr(b'\n', &self.read)?;
        Some(self.read.split_to(end + 1).freeze())
    }
}

fn said(line: &[u8]) -> Result<Said, ApiError> {
    let Line { kind, object } = serde_json::from_slice(line).map_err(|error| ApiError::Malformed(error.to_string()))?;
    match kind.as_str() {
        "ADDED" | "MODIFIED" => Ok(Said::Applied(object)),
        "DELETED" => Ok(Said::Deleted(object)),
        "BOOKMARK" => Ok(Said::Bookmark(object)),
        "ERROR" => {
            let status: Status = serde_json::from_value(object)
                .map_err(|error| ApiError::Malformed(format!("an ERROR event: {error}")))?;
            Err(ApiError::of_status(status.code, status, None))
        }
        other => Err(ApiError::Malformed(format!("an event of type {other:?}"))),
    }
}

fn too_slow() -> ApiError {
    ApiError::Unreachable(format!("nothing within {} s", ANSWER_TIME.as_secs()))
}

async fn send(
    client: &kube::Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Response<Body>, ApiError> {
    let mut request = request
        .map_err(|error| ApiError::Malformed(error.to_string()))?
        .map(Body::from);
    debug_assert_eq!(request.method(), Method::GET);
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::ACCEPT, json);
    let response = client.send(request).await.map_err(|error| ApiError::of_error(&error))?;
    let code = response.status();
    if code == StatusCode::OK {
        return Ok(response);
    }
    let wait = response.headers().get(header::RETRY_AFTER);
    let wait = wait
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = read(response.into_body(), ERROR_BYTES).await.unwrap_or_default();
    let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        // A proxy in between, or an API server that is not up yet, answers in its own words.
        let text = String::from_utf8_lossy(&body);
        let text: String = text.trim().chars().take(200).collect();
        Status {
            message: text,
            ..Status::default()
        }
    });
    Err(ApiError::of_status(code.as_u16(), status, wait))
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let read = Limited::new(body, limit).collect().await;
    Ok(read.map_err(|error| ApiError::of_error(error.as_ref()))?.to_bytes())
}

/// Whether one resourceVersion is lower than another: both decimal numbers, of any length (KEP-4988). None where
/// either is not, so nothing can be said.
pub fn older(one: &str, than: &str) -> Option<bool> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(one) || !digits(than) {
        return None;
    }
    let (one, than) = (one.trim_start_matches('0'), than.trim_start_matches('0'));
    Some((one.len(), one) < (than.len(), than))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_versions_compare_as_numbers() {
        assert_eq!(older("9", "10"), Some(true));
        assert_eq!(older("10", "9"), Some(false));
        assert_eq!(older("10", "10"), Some(false));
        assert_eq!(older("099", "100"), Some(true));
        assert_eq!(older("18446744073709551616", "18446744073709551617"), Some(true));
        assert_eq!(older("a", "10"), None);
        assert_eq!(older("", "10"), None);
    }

    #[test]
    fn targets_have_the_paths_of_the_api() {
        let path = |kind, api_version, namespace: Option<&str>| {
            Target {
                kind,
                api_version,
                namespace: namespace.map(str::to_owned),
                name: None,
            }
            .path()
        };
        assert_eq!(path(Kind::Service, "v1", None), "/api/v1/services");
        assert_eq!(
            path(Kind::Ingress, "networking.k8s.io/v1", Some("a")),
            "/apis/networking.k8s.io/v1/namespaces/a/ingresses"
        );
    }

    #[test]
    fn an_error_is_one_line_with_its_cause() {
        let inner = std::io::Error::other("connection refused");
        let outer = kube::Error::Service(Box::new(inner));
        assert_eq!(
            ApiError::of_error(&outer),
            ApiError::Unreachable("connection refused".to_owned())
        );
    }
}
