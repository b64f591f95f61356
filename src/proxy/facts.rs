//! What forwarding needs to know of a request's fields, gathered in one pass.

use super::names::{is_managed, is_protected};
use crate::message::{Fields, Name, Value};
use smallvec::SmallVec;

/// How many fields `Connection` may name. Nobody needs as many, and each is compared with every field of the head.
const MAX_OPTIONS: usize = 64;

/// Names of fields that `Connection` takes away.
pub type ConnectionOptions<'f> = SmallVec<[&'f [u8]; 4]>;

/// What forwarding needs to know of a request's fields.
#[derive(Default)]
pub struct Facts<'r> {
    /// The first `Host`.
    pub host: Option<Value<'r>>,
    /// Whether there is another.
    pub second_host: bool,
    /// `Expect`.
    pub expect: Option<Value<'r>>,
    /// Whether `Authorization` names a scheme that authenticates the connection, not the request.
    pub binds_identity: bool,
    /// [`Name::XNarthexHops`].
    pub hops: Option<Value<'r>>,
    /// Whether `Transfer-Encoding` is there; the reader has checked that it says `chunked` and no more.
    pub chunked: bool,
    /// `Content-Length`.
    pub length: Option<Value<'r>>,
    /// `Upgrade`, if there is one and no more.
    pub upgrade: Option<Value<'r>>,
    upgrades: bool,
    /// Whether `Content-Type` says that it is gRPC (gRPC-Web is not: its errors are HTTP's).
    pub grpc: bool,
    /// Whether `Cookie` is there more than once.
    pub crumbs: bool,
    cookie: bool,
    /// Whether `Connection` is there.
    pub connection: bool,
    /// Whether `Connection` says `close`.
    pub close: bool,
    /// Whether it says `keep-alive`, which matters to HTTP/1.0 only.
    pub keep_alive: bool,
    /// Whether `TE` says `trailers`.
    pub takes_trailers: bool,
}

impl<'r> Facts<'r> {
    /// Reads them.
    pub fn of(fields: &'r Fields) -> Self {
        let mut facts = Self::default();
        for field in fields.iter() {
            let value = field.value;
            match field.known {
                Name::Te => facts.takes_trailers |= value.has_option(b"trailers"),
                Name::Host => {
                    facts.second_host = facts.host.is_some();
                    facts.host = facts.host.or(Some(value));
                }
                Name::Expect => facts.expect = Some(value),
                Name::Cookie => facts.crumbs |= std::mem::replace(&mut facts.cookie, true),
                Name::Upgrade => {
                    facts.upgrade = facts.upgrade.is_none().then_some(value).filter(|_| !facts.upgrades);
                    facts.upgrades = true;
                }
                Name::Connection => {
                    facts.connection = true;
                    facts.close |= value.has_option(b"close");
                    facts.keep_alive |= value.has_option(b"keep-alive");
                }
                Name::ContentType => facts.grpc = is_grpc(value.as_bytes()),
                Name::Authorization => facts.binds_identity |= binds(value.as_bytes()),
                Name::XNarthexHops => facts.hops = Some(value),
                Name::ContentLength => facts.length = Some(value),
                Name::TransferEncoding => facts.chunked = true,
                _ => {}
            }
        }
        facts
    }

    /// Whether `Connection` names more fields than can be taken away.
    pub fn lists_too_much(&self, fields: &Fields) -> bool {
        self.connection && lists_too_much(fields)
    }
}

/// `application/grpc`, perhaps with `+proto` or the like.
fn is_grpc(kind: &[u8]) -> bool {
    kind.strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Whether a `Connection` is one of the two everyday ones.
pub fn names_no_field(line: &[u8]) -> bool {
    line == b"keep-alive" || line == b"close"
}

/// What `Connection` lists, over all its lines.
fn listed(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    let lines = fields.get_all(&Name::Connection);
    lines
        .filter(|line| !names_no_field(line.as_bytes()))
        .flat_map(Value::options)
}

/// Whether `Connection` lists more than can be obeyed.
pub fn lists_too_much(fields: &Fields) -> bool {
    listed(fields).nth(MAX_OPTIONS).is_some()
}

/// The fields that `Connection` takes away.
pub fn connection_options(fields: &Fields) -> ConnectionOptions<'_> {
    let names = listed(fields).take(MAX_OPTIONS);
    names
        .filter(|name| !is_protected(Name::of(name)) && !is_managed(Name::of(name), name))
        .collect()
}

/// Whether credentials or a challenge are of a scheme that authenticates connections (RFC 4559 §6).
pub fn binds(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let scheme = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}
