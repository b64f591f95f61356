//! Annotations of the cookie of a sticky session.

use super::super::nginx::value::attribute;
use super::super::value::Value;
use super::super::{Annotation, Scope, Settings};
use crate::table::CookieAttributes;
use std::sync::Arc;

/// What is said of the cookie.
fn attributes(settings: &mut Settings) -> &mut CookieAttributes {
    let known = settings.backend.sticky_attributes.get_or_insert_with(|| {
        Arc::new(CookieAttributes {
            path: Some("/".into()),
            same_site: Some("Lax".into()),
            ..CookieAttributes::default()
        })
    });
    Arc::make_mut(known)
}

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "sticky-cookie-domain",
        scope: Scope::Backend,
        about: "`Domain` of the cookie of `sticky-cookie`.",
        default: "the cookie is for its host alone",
        example: "example.com",
        value: Value::Text {
            form: "a domain",
            pattern: "^[^;, ]+$",
            read: |settings, text| {
                attributes(settings).domain = Some(attribute(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "sticky-cookie-max-age",
        scope: Scope::Backend,
        about: "`Max-Age` of the cookie of `sticky-cookie`, in seconds.",
        default: "the cookie lasts as long as the browser runs",
        example: "86400",
        value: Value::Integer {
            least: 1,
            most: 31_536_000,
            set: |settings, number| attributes(settings).max_age = Some(number),
        },
    },
    Annotation {
        name: "sticky-cookie-path",
        scope: Scope::Backend,
        about: "`Path` of the cookie of `sticky-cookie`.",
        default: "the path is /",
        example: "/app",
        value: Value::Text {
            form: "a path",
            pattern: "^/[^;, ]*$",
            read: |settings, text| {
                if !text.starts_with('/') {
                    return Err(format!("\"{text}\" does not begin with a slash"));
                }
                attributes(settings).path = Some(attribute(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "sticky-cookie-samesite",
        scope: Scope::Backend,
        about: "`SameSite` of the cookie of `sticky-cookie`. `None` needs `sticky-cookie-secure`.",
        default: "\"Lax\" applies",
        example: "Strict",
        value: Value::Choice {
            of: &["None", "Lax", "Strict"],
            set: |settings, word| attributes(settings).same_site = Some(word.into()),
        },
    },
    Annotation {
        name: "sticky-cookie-secure",
        scope: Scope::Backend,
        about: "Whether the cookie of `sticky-cookie` is always `Secure`.",
        default: "the cookie is Secure if the request came over TLS",
        example: "true",
        value: Value::Switch(|settings, secure| attributes(settings).secure = secure),
    },
];
