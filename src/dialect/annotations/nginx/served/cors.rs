//! Annotations of cross-origin requests.

use super::super::value::{boolean, number, switch, words};
use super::super::{Served, Wrong, origins};
use crate::dialect::annotations::value::Value;
use crate::table::Origins;

pub(super) static ALL: &[Served] = &[
    Served {
        name: "cors-allow-credentials",
        differs: "",
        wrong: Wrong::Default("\"true\" applies"),
        value: switch(|settings, text| {
            settings.nginx.no_credentials = !boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "cors-allow-headers",
        differs: "",
        wrong: Wrong::Default("the usual names are allowed"),
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[A-Za-z0-9_*, -]+$",
            read: |settings, text| {
                settings.nginx.headers = Some(words(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "cors-allow-methods",
        differs: "",
        wrong: Wrong::Default("the usual methods are allowed"),
        value: Value::Text {
            form: "methods, separated by commas",
            pattern: "^[A-Za-z*, ]+$",
            read: |settings, text| {
                settings.nginx.methods = Some(words(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "cors-allow-origin",
        differs: "an origin is compared as a whole",
        wrong: Wrong::Default("replies say nothing to other origins"),
        value: Value::Text {
            form: "`*`, or origins, separated by commas: `https://a.example.com`, `https://*.example.com:8443`, `null`",
            pattern: "^.+$",
            read: |settings, text| {
                let given = origins(text);
                settings.nginx.origins = Some(given.clone().unwrap_or(Origins::Some(Box::default())));
                given?;
                Ok(())
            },
        },
    },
    Served {
        name: "cors-expose-headers",
        differs: "",
        wrong: Wrong::Default("no names are sent"),
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[A-Za-z0-9_*, -]+$",
            read: |settings, text| {
                settings.nginx.expose = Some(words(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "cors-max-age",
        differs: "",
        wrong: Wrong::Default("1728000 applies"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.max_age = Some(number(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "enable-cors",
        differs: "",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.cors = boolean(text)?;
            Ok(())
        }),
    },
];
