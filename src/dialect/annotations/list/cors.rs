//! Annotations of requests from other origins (Fetch standard, section 3.2).

use super::super::native::value::words;
use super::super::nginx::origins;
use super::super::value::Value;
use super::super::{Annotation, Scope};

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "cors-allow-credentials",
        scope: Scope::Policy,
        about: "Whether pages of the allowed origins may send cookies and credentials. `cors-allow-origin` must name the origins then.",
        default: "credentials are not allowed",
        example: "true",
        value: Value::Switch(|settings, allowed| settings.native.credentials = allowed),
    },
    Annotation {
        name: "cors-allow-headers",
        scope: Scope::Policy,
        about: "Request fields that pages of other origins may send, beside those that browsers always allow.",
        default: "the names are Accept, Authorization, Content-Type, Range, X-Requested-With",
        example: "Authorization, X-Token",
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[!-~ ]+$",
            read: |settings, text| {
                settings.native.headers = Some(words(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "cors-allow-methods",
        scope: Scope::Policy,
        about: "Methods that pages of other origins may use.",
        default: "the methods are GET, HEAD, POST, PUT, PATCH, DELETE",
        example: "GET, POST",
        value: Value::Text {
            form: "methods, separated by commas",
            pattern: "^[!-~ ]+$",
            read: |settings, text| {
                settings.native.methods = Some(words(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "cors-allow-origin",
        scope: Scope::Policy,
        about: "Origins whose pages may send requests. narthex then answers preflight requests (OPTIONS with `Access-Control-Request-Method`) itself, and replies say what holds for the origin, whatever the pod says of it.",
        default: "what holds for other origins is left to the pods",
        example: "https://www.example.com, https://*.example.org",
        value: Value::Text {
            form: "`*`, or origins, separated by commas: `https://a.example.com`, `https://*.example.com:8443`, `null`",
            pattern: "^.+$",
            read: |settings, text| {
                settings.native.origins = Some(origins(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "cors-expose-headers",
        scope: Scope::Policy,
        about: "Response fields that pages of other origins may read.",
        default: "browsers let pages read the usual fields",
        example: "X-Request-Id",
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[!-~ ]+$",
            read: |settings, text| {
                settings.native.expose = Some(words(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "cors-max-age",
        scope: Scope::Policy,
        about: "For how many seconds browsers may keep the answer to a preflight request.",
        default: "the time is 600 seconds",
        example: "3600",
        value: Value::Integer {
            least: 0,
            most: 86400,
            set: |settings, number| settings.native.max_age = Some(number),
        },
    },
];
