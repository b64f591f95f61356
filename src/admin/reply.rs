//! Answers of the admin side, as HTTP has them.

use super::gate::Refusal;
use crate::model::visible::{Keep, visible};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use std::borrow::Cow;
use std::convert::Infallible;
use twox_hash::XxHash3_64;

/// An answer of the admin side.
pub type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

pub(super) fn reply(status: StatusCode, kind: &'static str, body: String) -> Reply {
    // A text that has grown takes up to twice its length, and it is held for as long as the client reads.
    let body = Bytes::from(body.into_boxed_str().into_boxed_bytes());
    let mut reply = Response::new(Full::new(body).boxed_unsync());
    *reply.status_mut() = status;
    let fields = reply.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Says what is wrong with a question: in JSON where all is JSON, as text elsewhere.
pub(super) fn complain(path: &str, status: StatusCode, said: impl std::fmt::Display) -> Reply {
    if path.starts_with("/api/v1/") {
        return as_json(status, &json!({"error": said.to_string()}));
    }
    text(status, format!("{said}\n"))
}

pub(super) fn not_found(path: &str) -> Reply {
    complain(path, StatusCode::NOT_FOUND, "404 page not found")
}

pub(super) fn refused(path: &str, refusal: Refusal) -> Reply {
    let mut reply = complain(path, refusal.status(), refusal);
    if refusal == Refusal::NoToken {
        let scheme = HeaderValue::from_static("Bearer");
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    reply
}

pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Reply {
    reply(status, "text/plain; charset=utf-8", body.into())
}

pub(super) fn as_json(status: StatusCode, body: &impl serde::Serialize) -> Reply {
    json_reply(status, serde_json::to_string_pretty(body))
}

pub(super) fn json_reply(status: StatusCode, body: serde_json::Result<String>) -> Reply {
    let text = match body {
        // It may be shown by a terminal as it is.
        Ok(text) => match visible(&text, Keep::Lines) {
            Cow::Borrowed(_) => text + "\n",
            Cow::Owned(shown) => shown + "\n",
        },
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    let tag = format!("\"{:016x}\"", XxHash3_64::oneshot(text.as_bytes()));
    let mut reply = reply(status, "application/json", text);
    let fields = reply.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if status == StatusCode::OK
        && let Ok(tag) = HeaderValue::try_from(tag)
    {
        fields.insert(header::ETAG, tag);
    }
    reply
}

/// An answer, or 304 to whoever has it already (RFC 9110, section 13.1.2).
pub(super) fn unless_known(request: &Request<()>, reply: Reply) -> Reply {
    let known = request.headers().get_all(header::IF_NONE_MATCH);
    let mut tags = known
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_known = |tag: &HeaderValue| {
        tags.any(|known| {
            let known = known.trim_ascii();
            known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
        })
    };
    let tag = reply.headers().get(header::ETAG);
    if !tag.is_some_and(is_known) {
        return reply;
    }
    let (mut parts, _) = reply.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Full::default().boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_answer_holds_no_more_memory_than_it_has_bytes() {
        let mut said = String::with_capacity(1 << 16);
        said.push_str("short");
        let body = text(StatusCode::OK, said)
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(body.try_into_mut().unwrap().capacity(), "short".len());
    }
}
