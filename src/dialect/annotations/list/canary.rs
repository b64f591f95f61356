//! Annotations of a second Service that gets some of the requests.

use super::super::native::value::canary_service;
use super::super::value::{Value, token};
use super::super::{Annotation, Scope};
use http::HeaderName;

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "canary-cookie",
        scope: Scope::Policy,
        about: "Cookie that decides where a request goes: to `canary-service` with the value `always`, not there with `never`. `canary-header` comes before it, and `canary-weight` decides the rest.",
        default: "no cookie decides",
        example: "canary",
        value: Value::Text {
            form: "the name of a cookie",
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
            read: |settings, text| {
                settings.native.canary.cookie = Some((&*token(text)?).into());
                Ok(())
            },
        },
    },
    Annotation {
        name: "canary-header",
        scope: Scope::Policy,
        about: "Request field that decides where a request goes: to `canary-service` with the value `always`, not there with `never`. See also `canary-header-value`.",
        default: "no field decides",
        example: "X-Canary",
        value: Value::Text {
            form: "the name of a field",
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
            read: |settings, text| {
                let name = token(text)?;
                settings.native.canary.header = HeaderName::from_bytes(name.as_bytes()).ok();
                Ok(())
            },
        },
    },
    Annotation {
        name: "canary-header-value",
        scope: Scope::Policy,
        about: "Value of `canary-header` with which a request goes to `canary-service`, in place of `always`.",
        default: "the values are always and never",
        example: "beta",
        value: Value::Text {
            form: "the value of a field",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                    return Err(format!("{text:?} is not the value of a field"));
                }
                settings.native.canary.value = Some(text.into());
                Ok(())
            },
        },
    },
    Annotation {
        name: "canary-service",
        scope: Scope::Policy,
        about: "Second Service of the same namespace that gets some of the requests of this Ingress, as `canary-weight`, `canary-header` and `canary-cookie` say. Without a port, that of the path's own Service is used. While it has no endpoints it gets no requests. A sticky session holds across both Services.",
        default: "all requests go to the Service of their path",
        example: "web-v2:80",
        value: Value::Text {
            form: "`NAME`, or `NAME:PORT` with the number or the name of a port",
            pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[a-z0-9-]+)?$",
            read: |settings, text| {
                settings.native.canary.service = Some(canary_service(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "canary-weight",
        scope: Scope::Policy,
        about: "Percentage of the requests that go to `canary-service`. A change of it drops no connection.",
        default: "no share of the requests goes there",
        example: "10",
        value: Value::Integer {
            least: 0,
            most: 100,
            set: |settings, number| settings.native.canary.weight = Some(number),
        },
    },
];
