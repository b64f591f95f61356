//! Every annotation narthex acts on.

use super::value::Value;
use super::{Annotation, Scope};
use crate::compile::hsts;
use crate::table::{BackendProtocol, Coding, Compression};

/// All of them, by name.
pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "backend-protocol",
        scope: Scope::Backend,
        about: "What the pods speak. `H2C` and `GRPC` are HTTP/2 without TLS, by prior knowledge.",
        default: "appProtocol of the Service port decides, and where it has none, HTTP is spoken",
        example: "GRPC",
        value: Value::Choice {
            of: &["HTTP", "H2C", "GRPC"],
            set: |settings, word| {
                settings.backend.protocol = Some(match word {
                    "H2C" => BackendProtocol::H2c,
                    "GRPC" => BackendProtocol::Grpc,
                    _ => BackendProtocol::Http,
                });
            },
        },
    },
    Annotation {
        name: "compress",
        scope: Scope::Route,
        about: "Replies are compressed for clients that take it, with the first of these codings where a client likes \
                several equally well. `\"true\"` is `zstd, br, gzip`. Read about BREACH in \
                [compression](compression.md) first.",
        default: "nothing is compressed",
        example: "br, gzip",
        value: Value::Text {
            form: "one or more of `zstd`, `br`, `gzip`, with commas between; or `\"true\"`; `\"false\"` or `\"off\"` \
                   for none",
            pattern: "^\\s*(true|false|off|(zstd|br|gzip)(\\s*,\\s*(zstd|br|gzip))*)\\s*$",
            read: |settings, text| {
                settings.compression = compress(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "hsts",
        scope: Scope::Route,
        about: "Replies over TLS carry `Strict-Transport-Security` with this value (RFC 6797): browsers then use \
                HTTPS only, for as long as `max-age` says.",
        default: "none is sent",
        example: "max-age=31536000; includeSubDomains",
        value: Value::Header {
            form: "`max-age=SECONDS`, then `includeSubDomains` and `preload` as wanted, with `;` between",
            read: hsts::normalise,
            set: |settings, value| settings.hsts = value,
        },
    },
    Annotation {
        name: "merge-slashes",
        scope: Scope::Route,
        about: "Whether empty path segments are left out before paths are compared and forwarded: `/a//b` is `/a/b`.",
        default: "\"true\" is used",
        example: "false",
        value: Value::Switch(|settings, merge| settings.keep_slashes = !merge),
    },
    Annotation {
        name: "ssl-redirect",
        scope: Scope::Route,
        about: "Whether plain HTTP is sent to HTTPS with 308. `\"true\"` does so for all rules, also those without a \
                host and those without an entry in `spec.tls`.",
        default: "hosts that spec.tls covers are redirected, unless --ssl-redirect=false",
        example: "false",
        value: Value::Switch(|settings, redirect| settings.ssl_redirect = Some(redirect)),
    },
];

/// `compress`: the codings in the order they are named, or all in ours.
fn compress(text: &str) -> Result<Option<Compression>, String> {
    let words = text.trim();
    let is = |known: &str| words.eq_ignore_ascii_case(known);
    if is("false") || is("off") {
        return Ok(None);
    }
    if is("true") {
        return Ok(Compression::of(Coding::ALL));
    }
    let coding = |word: &str| {
        let mut known = Coding::ALL.into_iter();
        known
            .find(|coding| coding.name().eq_ignore_ascii_case(word.trim()))
            .ok_or_else(|| format!("\"{}\" is not one of zstd, br, gzip", word.trim()))
    };
    let codings: Result<Vec<_>, _> = words.split(',').map(coding).collect();
    Ok(Compression::of(codings?))
}
