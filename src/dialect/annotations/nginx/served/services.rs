//! Annotations that say which Service, or which of its addresses, gets requests.

use super::super::value::{boolean, errors, switch};
use super::super::{Served, Wrong};
use crate::dialect::annotations::value::{Value, object_name};

pub(super) static ALL: &[Served] = &[
    Served {
        name: "custom-http-errors",
        differs: "of the client's fields the default backend gets `Accept`, `Accept-Encoding`, `Accept-Language`, `Referer` and \
                  `User-Agent`; if it does not answer within 5 s and 256 KiB, the error stays as it was, and so it does where \
                  there is no default backend; what a guard decided keeps its status; a pod's 401 does not become a redirect to \
                  auth-signin; gRPC clients get the error",
        wrong: Wrong::Default("errors stay as they are"),
        value: Value::Text {
            form: "statuses from 400 to 599, separated by commas",
            pattern: "^[0-9, ]+$",
            read: |settings, text| {
                settings.nginx.errors = Some(errors(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "default-backend",
        differs: "requests that it gets while the Service of the rule has no endpoints come without `X-Code` and its like",
        wrong: Wrong::Default("requests get 503 while there are no endpoints"),
        value: Value::Text {
            form: "the name of a Service; its first port counts",
            pattern: "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
            read: |settings, text| {
                settings.spare = Some(object_name(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "disable-proxy-intercept-errors",
        differs: "",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.leaves_errors = Some(boolean(text)?);
            Ok(())
        }),
    },
    Served {
        name: "service-upstream",
        differs: "",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.backend.service_upstream = boolean(text)?.then_some(true);
            Ok(())
        }),
    },
];
