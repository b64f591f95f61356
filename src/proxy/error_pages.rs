//! Error pages: a Service is asked for what a client gets in the place of an error. If it does not answer, the client gets the
//! error as it was.

use super::body::Source;
use super::client::Client;
use super::names::is_hop_by_hop;
use super::reply::Draft;
use super::request_id::RequestId;
use super::subrequest::{self, SubRequest};
use super::worker::Worker;
use crate::message::{Fields, Name, Response, Value};
use crate::table::decide::{Ask, MAX_HOPS};
use crate::table::{Backend, Before, ErrorPages, Known, Protocol, Table};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a page may take. Its client has waited for the error already.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that a page may have.
const LONGEST: usize = 256 << 10;

/// The fields of the client's that the Service gets as well.
const PASSED: [Name; 5] = [
    Name::Accept,
    Name::AcceptEncoding,
    Name::AcceptLanguage,
    Name::Referer,
    Name::UserAgent,
];

/// A request that came to an error.
pub struct Failed<'r> {
    pub worker: &'r Rc<Worker>,
    pub client: &'r Rc<Client>,
    pub table: &'r Table,
    pub ask: &'r Ask<'r>,
    pub known: Known<'r>,
    pub id: &'r RequestId,
}

/// The step that has a page for a status, among those that the request had passed.
pub fn wanted(passed: &[Before], status: StatusCode, of_pod: bool) -> Option<&Arc<ErrorPages>> {
    if status.as_u16() < 400 {
        return None;
    }
    let pages = passed.iter().find_map(|step| match step {
        Before::ErrorPages(pages) => Some(pages),
        _ => None,
    });
    pages.filter(|pages| pages.has(status, of_pod))
}

/// Puts a page in the place of a reply. What a guard decided keeps its status and the fields that belong to it. Whether there
/// is a page now.
pub async fn put(failed: &Failed<'_>, pages: &ErrorPages, of_guard: bool, draft: &mut Draft<'_>) -> bool {
    let status = draft.head.status;
    let Some((mut page, body)) = ask(failed, pages, status).await else {
        return false;
    };
    if of_guard {
        page.status = status;
    }
    let mut kept = Fields::new();
    for name in [Name::WwwAuthenticate, Name::RetryAfter, Name::SetCookie] {
        for value in draft.head.fields.get_all(&name).filter(|_| of_guard) {
            kept.append(&name, value.as_bytes());
        }
    }
    page.fields.remove(&Name::ContentLength);
    page.fields.remove(&Name::Trailer);
    page.fields.extend(&kept);
    page.fields.insert(&Name::XRequestId, failed.id.as_bytes());
    let is_bodiless = page.status == StatusCode::NO_CONTENT || page.status == StatusCode::NOT_MODIFIED;
    *draft.head = page;
    *draft.source = Source::Ours(Some(body).filter(|body| !body.is_empty() && !is_bodiless));
    *draft.alarm = None;
    *draft.pacing = None;
    true
}

async fn ask(failed: &Failed<'_>, pages: &ErrorPages, status: StatusCode) -> Option<(Response, Bytes)> {
    let backend = failed.table.backend(pages.from)?;
    let hops = failed.ask.hops_with_this();
    if hops > MAX_HOPS || backend.protocol() != Protocol::Http1 {
        return None;
    }
    let asked = SubRequest {
        backend,
        method: &Method::GET,
        head: head(failed, backend, status, hops),
        body: None,
        patience: PATIENCE,
        most: LONGEST,
        keeps: true,
    };
    let sent = subrequest::send(failed.worker, failed.client, &asked).await;
    match sent {
        Ok(reply) => Some((reply.head, reply.body)),
        Err(why) => {
            tracing::debug!(backend = %backend, cause = %why.cause, "no error page");
            None
        }
    }
}

fn head(failed: &Failed<'_>, pages: &Backend, status: StatusCode, hops: u8) -> Vec<u8> {
    let known = &failed.known;
    let fields = known.fields;
    let mut out = b"GET / HTTP/1.1\r\n".to_vec();
    let mut write = |name: &[u8], value: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    let own = pages.to_string();
    write(b"Host", known.http_host.unwrap_or(&own).as_bytes());
    let passes = |known: Name| PASSED.contains(&known) && !is_hop_by_hop(known);
    for field in fields.iter().filter(|field| passes(field.known)) {
        write(field.name, field.value.as_bytes());
    }
    let format = fields.get(&Name::Accept).map_or(&b""[..], Value::as_bytes);
    let uri = match known.query {
        Some(query) => format!("{}?{query}", known.path),
        None => known.path.to_owned(),
    };
    let object = known.route.map(|route| &route.origin.object);
    let address = failed.client.address().to_string();
    let service = known.backend.map_or("", |backend| &*backend.service);
    let port = known.backend.map_or("", |backend| &*backend.port);
    let hops = hops.to_string();
    for (name, value) in [
        ("X-Code", status.as_str()),
        ("X-Original-URI", uri.as_str()),
        ("X-Namespace", object.map_or("", |object| &*object.namespace)),
        ("X-Ingress-Name", object.map_or("", |object| &*object.name)),
        ("X-Service-Name", service),
        ("X-Service-Port", port),
        ("X-Request-ID", failed.id.as_str()),
        ("X-Forwarded-For", address.as_str()),
        ("X-Narthex-Hops", hops.as_str()),
    ] {
        write(name.as_bytes(), value.as_bytes());
    }
    write(b"X-Format", format);
    out.extend_from_slice(b"\r\n");
    out
}
