//! Annotations that have other Services do something with requests or replies.

use super::super::native::value::canary_service;
use super::super::nginx::value::errors;
use super::super::value::Value;
use super::super::{Annotation, Scope};

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "error-pages",
        scope: Scope::Policy,
        about: "Statuses of errors whose replies `error-pages-service` makes. It is asked with GET, and gets `X-Code` with the status, `X-Format`, `X-Original-URI`, `X-Namespace`, `X-Ingress-Name`, `X-Service-Name`, `X-Service-Port` and `X-Request-ID`. If it does not answer within 5 s and 256 KiB, the error stays as it was. What a guard decided keeps its status.",
        default: "errors stay as they are",
        example: "404, 502, 503",
        value: Value::Text {
            form: "statuses from 400 to 599, separated by commas",
            pattern: "^[0-9, ]+$",
            read: |settings, text| {
                settings.native.errors = Some(errors(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "error-pages-of-pods",
        scope: Scope::Policy,
        about: "Whether errors of pods get a page too. With `\"false\"`, only those that narthex itself makes do.",
        default: "\"true\" applies",
        example: "false",
        value: Value::Switch(|settings, of_pods| settings.native.errors_of_pods = Some(of_pods)),
    },
    Annotation {
        name: "error-pages-service",
        scope: Scope::Policy,
        about: "Service of the same namespace that makes the pages of `error-pages`. It is spoken to by HTTP. Without a port, its first one is used.",
        default: "errors stay as they are",
        example: "errors:80",
        value: Value::Text {
            form: "`NAME`, or `NAME:PORT` with the number or the name of a port",
            pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[a-z0-9-]{1,15})?$",
            read: |settings, text| {
                settings.native.error_service = Some(canary_service(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "mirror-body",
        scope: Scope::Policy,
        about: "Whether copies have the body of their request.",
        default: "\"true\" applies",
        example: "false",
        value: Value::Switch(|settings, body| settings.native.mirror_body = Some(body)),
    },
    Annotation {
        name: "mirror-service",
        scope: Scope::Policy,
        about: "Service of the same namespace that gets copies of the requests. Its answers are read and dropped, and no request waits for its copy. A copy is lost, and counted, if 128 are under way on a shard, if it takes longer than 30 s, or if its body has more than 1 MiB. It is spoken to by HTTP. Without a port, its first one is used.",
        default: "there are no copies",
        example: "web-next:80",
        value: Value::Text {
            form: "`NAME`, or `NAME:PORT` with the number or the name of a port",
            pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[a-z0-9-]{1,15})?$",
            read: |settings, text| {
                settings.native.mirror = Some(canary_service(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "mirror-share",
        scope: Scope::Policy,
        about: "Percentage of the requests of which `mirror-service` gets a copy.",
        default: "all requests are copied",
        example: "10",
        value: Value::Integer {
            least: 0,
            most: 100,
            set: |settings, share| settings.native.mirror_share = Some(share),
        },
    },
];
