//! The dashboard: what `make dashboard` built lies in the program, packed and as it is.

use super::reply::{Reply, not_found};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use twox_hash::XxHash3_64;

/// One file of the dashboard.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    packed: Option<&'static [u8]>,
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// Where it is.
pub const DASHBOARD: &str = "/dashboard/";

/// What a build without Node has.
const MISSING: &[u8] = b"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>narthex</title><h1>narthex</h1>\
<p>This program was built without its dashboard. <code>make dashboard build</code>, with Node, makes one that has it.</p>\
<p>What it would show is in JSON at <a href=\"/api/v1/overview\">/api/v1/overview</a>, \
<a href=\"/api/v1/routes\">/api/v1/routes</a> and the others of docs/api.md.</p></html>\n";

/// Scripts, styles and questions of our own, and nothing from or for anybody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Names below `assets/` have a hash of what they hold.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// Whether a path is the page's own, which holds no data: then no token is needed.
pub fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/dashboard")
}

/// Answers what lies at or below [`DASHBOARD`], and sends those who ask for `/` there.
pub fn answer(path: &str, fields: &HeaderMap) -> Option<Reply> {
    if path == "/" || path == "/dashboard" {
        return Some(moved());
    }
    let name = match path.strip_prefix(DASHBOARD)? {
        "" => "index.html",
        name => name,
    };
    if ASSETS.is_empty() && name == "index.html" {
        return Some(page(MISSING, "text/html; charset=utf-8", false));
    }
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Some(not_found(path));
    };
    let packed = asset.packed.filter(|_| takes_gzip(fields));
    let mut reply = page(packed.unwrap_or(asset.bytes), asset.kind, packed.is_some());
    if name.starts_with("assets/") {
        let fields = reply.headers_mut();
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_GOOD));
    }
    Some(reply)
}

fn moved() -> Reply {
    let mut reply = page(b"", "text/plain; charset=utf-8", false);
    *reply.status_mut() = StatusCode::FOUND;
    let place = HeaderValue::from_static(DASHBOARD);
    reply.headers_mut().insert(header::LOCATION, place);
    reply
}

fn page(bytes: &'static [u8], kind: &'static str, packed: bool) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(bytes)).boxed_unsync());
    let tag = format!("\"{:016x}\"", XxHash3_64::oneshot(bytes));
    let fields = reply.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        fields.insert(header::ETAG, tag);
    }
    if packed {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    reply
}

/// Whether gzip is among the encodings a client takes (RFC 9110, section 12.5.3).
fn takes_gzip(fields: &HeaderMap) -> bool {
    let lines = fields.get_all(header::ACCEPT_ENCODING).iter();
    lines.filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',').any(|one| {
            let (name, rest) = one.split_once(';').unwrap_or((one, ""));
            let refused = rest
                .trim()
                .strip_prefix("q=")
                .is_some_and(|q| q.trim().parse() == Ok(0.0_f32));
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
    })
}
