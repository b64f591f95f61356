//! Annotations that say which Service, or which of its addresses, gets requests.

use super::super::value::{boolean, switch};
use super::super::{Served, Wrong};
use crate::dialect::annotations::value::{Value, object_name};

pub(super) static ALL: &[Served] = &[
    Served {
        name: "default-backend",
        differs: "it gets requests only while the Service of the rule has no endpoints, and they come without `X-Code` and its \
                  like",
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
        name: "service-upstream",
        differs: "",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.backend.service_upstream = boolean(text)?.then_some(true);
            Ok(())
        }),
    },
];
