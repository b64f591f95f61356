//! Annotations of the fields that pods and clients get.

use super::super::native::value::{request_lines, request_names, response_lines, response_names};
use super::super::nginx::value::exchanged;
use super::super::value::Value;
use super::super::{Annotation, Scope};
use crate::table::What;

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "access-log",
        scope: Scope::Policy,
        about: "Whether requests are written to the access log.",
        default: "\"true\" applies",
        example: "false",
        value: Value::Switch(|settings, logged| settings.native.logged = Some(logged)),
    },
    Annotation {
        name: "request-headers-add",
        scope: Scope::Policy,
        about: "Fields that pods get beside those of the client. A value may have [variables](#variables). Not `Host` (see `upstream-host`), `X-Forwarded-*`, and fields about the connection or the body.",
        default: "pods get the fields of the client",
        example: "X-Via: $host",
        value: Value::Text {
            form: "lines of `Name: value`; a value may have variables",
            pattern: "^[^\\r\\x00]*$",
            read: |settings, text| {
                settings.native.add_requests = request_lines(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "request-headers-remove",
        scope: Scope::Policy,
        about: "Fields of the client that pods do not get, whether words in their names are separated by `-` or `_`. Not `Host` (see `upstream-host`), `X-Forwarded-*`, and fields about the connection or the body.",
        default: "pods get the fields of the client",
        example: "X-Debug, X-Internal-User",
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[^\\r\\x00]*$",
            read: |settings, text| {
                settings.native.remove_requests = request_names(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "request-headers-set",
        scope: Scope::Policy,
        about: "Fields that pods get in place of those of the client. A field whose text is empty is left out. A value may have [variables](#variables). Not `Host` (see `upstream-host`), `X-Forwarded-*`, and fields about the connection or the body.",
        default: "pods get the fields of the client",
        example: "X-Client: $remote_addr",
        value: Value::Text {
            form: "lines of `Name: value`; a value may have variables",
            pattern: "^[^\\r\\x00]*$",
            read: |settings, text| {
                settings.native.set_requests = request_lines(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "response-headers-add",
        scope: Scope::Policy,
        about: "Fields that clients get beside those of the pod. Not the fields about the connection or the end of the body.",
        default: "clients get the fields of the pod",
        example: "Link: </style.css>; rel=preload",
        value: Value::Text {
            form: "lines of `Name: value`; a value may have variables",
            pattern: "^[^\\r\\x00]*$",
            read: |settings, text| {
                settings.native.add_replies = response_lines(text, What::Add)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "response-headers-remove",
        scope: Scope::Policy,
        about: "Fields of the pod that clients do not get. A `*` at the end of a name stands for any text. Not the fields about the connection or the end of the body.",
        default: "clients get the fields of the pod",
        example: "X-Powered-By, X-Internal-*",
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[^\\r\\x00]*$",
            read: |settings, text| {
                settings.native.remove_replies = response_names(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "response-headers-set",
        scope: Scope::Policy,
        about: "Fields that clients get in place of those of the pod. They are also in replies that narthex makes itself once a client is let in, such as errors. A value may have [variables](#variables). Not the fields about the connection or the end of the body.",
        default: "clients get the fields of the pod",
        example: "X-Frame-Options: DENY",
        value: Value::Text {
            form: "lines of `Name: value`; a value may have variables",
            pattern: "^[^\\r\\x00]*$",
            read: |settings, text| {
                settings.native.set_replies = response_lines(text, What::Set)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "rewrite-cookie-domain",
        scope: Scope::Policy,
        about: "Domain in cookies that pods set, and what takes its place.",
        default: "domains of cookies stay",
        example: "pod.internal www.example.com",
        value: Value::Text {
            form: "a domain and what takes its place, with a blank between; both may have variables",
            pattern: "^[^ ]+ [^ ]+$",
            read: |settings, text| {
                settings.native.places.cookie_domain = exchanged(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "rewrite-cookie-path",
        scope: Scope::Policy,
        about: "Beginning of the paths in cookies that pods set, and what takes its place.",
        default: "paths of cookies stay",
        example: "/app/ /",
        value: Value::Text {
            form: "the beginning of a path and what takes its place, with a blank between; both may have variables",
            pattern: "^[^ ]+ [^ ]+$",
            read: |settings, text| {
                settings.native.places.cookie_path = exchanged(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "rewrite-location",
        scope: Scope::Policy,
        about: "Beginning of the URLs in `Location` and `Refresh` of pods, and what takes its place.",
        default: "`Location` and `Refresh` stay",
        example: "http://web.internal:8080/ https://$host/",
        value: Value::Text {
            form: "the beginning of a URL and what takes its place, with a blank between; both may have variables",
            pattern: "^[^ ]+ [^ ]+$",
            read: |settings, text| {
                settings.native.places.location = exchanged(text)?;
                Ok(())
            },
        },
    },
];
