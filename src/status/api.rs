//! Reading and writing single objects of the API server.

use futures_util::Stream;
use http::{Method, Request, StatusCode, header};
use kube::core::WatchEvent;
use serde_json::Value;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ingresses of a page.
const PAGE: u32 = 500;

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The object is gone, or its namespace.
    #[error("not found")]
    Missing,
    /// Somebody else was quicker, or the object is there already.
    #[error("conflict")]
    Conflict,
    /// We may not.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The API server finds fault with what is written (400, 422).
    #[error("refused: {0}")]
    Invalid(String),
    /// Anything else, which may pass.
    #[error("{0}")]
    Other(String),
}

/// The way to the API server.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
}

impl Api {
    /// By a client.
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// One object, or a list.
    ///
    /// # Errors
    /// As [`Failed`] has them.
    pub async fn get(&self, path: &str) -> Result<Value, Failed> {
        self.call(Method::GET, path, "", None).await
    }

    /// Each object of a list, page by page, and the resourceVersion of the list. `query` is what stands in it besides, each part with `&` before it.
    ///
    /// # Errors
    /// As [`Failed`] has them.
    pub async fn each(&self, path: &str, query: &str, mut take: impl FnMut(Value)) -> Result<String, Failed> {
        let (mut next, mut version) = (String::new(), None);
        loop {
            let mut page = self.get(&format!("{path}?limit={PAGE}{query}{next}")).await?;
            if let Value::Array(items) = page["items"].take() {
                items.into_iter().for_each(&mut take);
            }
            // All pages are of the same version, unless the API server has forgotten that one.
            let of_page = page["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let version = version.get_or_insert_with(|| of_page.to_owned());
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => next = format!("&continue={}", escape(token)),
                _ => return Ok(std::mem::take(version)),
            }
        }
    }

    /// What happens to the objects of a list from a resourceVersion on, until the API server ends it.
    ///
    /// # Errors
    /// As [`Failed`] has them.
    pub async fn watch(
        &self,
        path: &str,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, kube::Error>> + use<>, Failed> {
        let path = format!("{path}?watch=true&resourceVersion={}", escape(version));
        let request = Request::builder().method(Method::GET).uri(path).body(Vec::new());
        let request = request.map_err(|error| Failed::Other(error.to_string()))?;
        self.client.request_events(request).await.map_err(failed)
    }

    /// A new object.
    ///
    /// # Errors
    /// As [`Failed`] has them.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, Failed> {
        self.call(Method::POST, path, "application/json", Some(object)).await
    }

    /// Replaces the object that has the same resourceVersion.
    ///
    /// # Errors
    /// As [`Failed`] has them.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, Failed> {
        self.call(Method::PUT, path, "application/json", Some(object)).await
    }

    /// Some fields of an object (RFC 7386).
    ///
    /// # Errors
    /// As [`Failed`] has them.
    pub async fn merge(&self, path: &str, fields: &Value) -> Result<Value, Failed> {
        self.call(Method::PATCH, path, "application/merge-patch+json", Some(fields))
            .await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// As [`Failed`] has them.
    pub async fn delete(&self, path: &str) -> Result<Value, Failed> {
        self.call(Method::DELETE, path, "", None).await
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| Failed::Other(error.to_string()))?;
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request
            .body(body.unwrap_or_default())
            .map_err(|error| Failed::Other(error.to_string()))?;
        match tokio::time::timeout(PATIENCE, self.client.request::<Value>(request)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(Failed::Other("the API server does not answer".to_owned())),
        }
    }
}

fn failed(error: kube::Error) -> Failed {
    let kube::Error::Api(status) = error else {
        return Failed::Other(error.to_string());
    };
    match StatusCode::from_u16(status.code) {
        Ok(StatusCode::NOT_FOUND) => Failed::Missing,
        Ok(StatusCode::CONFLICT) => Failed::Conflict,
        Ok(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => Failed::Forbidden(status.message),
        Ok(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) => Failed::Invalid(status.message),
        _ => Failed::Other(status.message),
    }
}

/// A time as the API has it (`MicroTime`).
pub fn micro_time(time: jiff::Timestamp) -> String {
    format!("{time:.6}")
}

/// A value as a query carries it.
pub fn escape(token: &str) -> String {
    let mut escaped = String::new();
    for byte in token.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            other => escaped += &format!("%{other:02X}"),
        }
    }
    escaped
}
