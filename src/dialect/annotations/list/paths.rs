//! Annotations of paths: patterns, rewrites, redirects.

use super::super::native::value::{prefix, redirect, rewrite};
use super::super::value::Value;
use super::super::{Annotation, Scope};
use http::StatusCode;

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "add-prefix",
        scope: Scope::Policy,
        about: "Prefix that narthex puts before the path that pods get. With `strip-prefix` it takes the place of that prefix, and paths without that prefix stay as they are.",
        default: "pods get the path that the client asks for",
        example: "/v1",
        value: Value::Text {
            form: "a path that begins with `/`",
            pattern: "^/[^?#\\s]+$",
            read: |settings, text| {
                settings.native.add = Some(prefix(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "path-regex",
        scope: Scope::Policy,
        about: "Whether the paths of this Ingress whose pathType is ImplementationSpecific are regular expressions. An expression has to match the whole path, and case matters; it sees the path with its escapes decoded, except those of `/`, `\\`, `%` and control characters. Exact paths of the host come first, then the expressions, the longest text first, then prefixes. Expressions take linear time, so look-around and back-references are errors: such a path, and all paths that begin as it does, get 503.",
        default: "such paths are prefixes",
        example: "true",
        value: Value::Switch(|settings, are_patterns| settings.native.paths_are_patterns = are_patterns),
    },
    Annotation {
        name: "redirect",
        scope: Scope::Policy,
        about: "Redirect all requests to this URL, or to this path of the same host. The text may have [variables](#variables), such as `https://www.example.com$request_uri`. A request that would be sent to the URL that it asks for gets 508.",
        default: "requests are not redirected",
        example: "https://www.example.com$request_uri",
        value: Value::Text {
            form: "a URL or a path, which may have variables",
            pattern: "^(/|https?://|\\$\\{?scheme\\}?://)[!-~]*$",
            read: |settings, text| {
                settings.native.redirect = Some(redirect(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "redirect-status",
        scope: Scope::Policy,
        about: "Status of the replies that `redirect` makes.",
        default: "the status is 302",
        example: "301",
        value: Value::Choice {
            of: &["301", "302", "303", "307", "308"],
            set: |settings, word| settings.native.redirect_status = StatusCode::from_bytes(word.as_bytes()).ok(),
        },
    },
    Annotation {
        name: "rewrite-target",
        scope: Scope::Policy,
        about: "Path that pods get. With `path-regex`, `$1` to `$9` are the groups of the expression that matches, and paths that are not expressions stay as they are. The result is put in canonical form; if it climbs above `/`, the client gets 400. The query stays.",
        default: "pods get the path that the client asks for",
        example: "/index.html",
        value: Value::Text {
            form: "a path, which may have groups such as `$1`",
            pattern: "^/[A-Za-z0-9._~/:$-]*$",
            read: |settings, text| {
                settings.native.rewrite = Some((text.into(), rewrite(text)?));
                Ok(())
            },
        },
    },
    Annotation {
        name: "strip-prefix",
        scope: Scope::Policy,
        about: "Prefix that narthex takes off the path that pods get. It goes by path element: `/api` is taken off `/api/users`, but not off `/apis`.",
        default: "pods get the path that the client asks for",
        example: "/api",
        value: Value::Text {
            form: "a path that begins with `/`",
            pattern: "^/[^?#\\s]+$",
            read: |settings, text| {
                settings.native.strip = Some(prefix(text)?);
                Ok(())
            },
        },
    },
];
