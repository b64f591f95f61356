//! Annotations of the fields that pods and clients get.

use super::super::config::custom;
use super::super::snippet::Snippet;
use super::super::value::{boolean, exchanged, redirect_part, switch};
use super::super::{Served, Wrong};
use crate::dialect::annotations::value::Value;
use crate::table::Template;

pub(super) static ALL: &[Served] = &[
    Served {
        name: "configuration-snippet",
        differs: "only `more_set_headers`, `more_clear_headers`, `add_header`, `proxy_set_header`, `more_set_input_headers`, \
                  `proxy_hide_header`, `allow`, `deny` and a `return` outside of all blocks are translated; any other directive \
                  closes the routes. `allow` and `deny` count beside the annotations of addresses, and a text that `return` \
                  gives is sent as plain text",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "directives of nginx",
            pattern: "^[\\s\\S]*$",
            read: |settings, text| {
                settings.nginx.fields.snippet = Snippet::new(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "custom-headers",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a ConfigMap in the namespace of the Ingress, whose fields `global-allowed-response-headers` names in the \
                   ConfigMap of ingress-nginx",
            pattern: "^([-a-z0-9]+/)?[-a-z0-9.]+$",
            read: |settings, text| {
                settings.nginx.fields.custom = custom(text, &settings.namespace, &settings.beside)?;
                Ok(())
            },
        },
    },
    Served {
        name: "enable-access-log",
        differs: "",
        wrong: Wrong::Default("\"true\" applies"),
        value: switch(|settings, text| {
            settings.nginx.fields.is_unlogged = !boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "proxy-cookie-domain",
        differs: "no regular expressions",
        wrong: Wrong::Default("domains of cookies stay"),
        value: Value::Text {
            form: "`off`, or a domain and what takes its place, with a blank between",
            pattern: "^(off|[^~ ][^ ]* [^ ]+)$",
            read: |settings, text| {
                settings.nginx.fields.cookie_domain = exchanged(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-cookie-path",
        differs: "no regular expressions",
        wrong: Wrong::Default("paths of cookies stay"),
        value: Value::Text {
            form: "`off`, or the beginning of a path and what takes its place, with a blank between",
            pattern: "^(off|[^~ ][^ ]* [^ ]+)$",
            read: |settings, text| {
                settings.nginx.fields.cookie_path = exchanged(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-redirect-from",
        differs: "no regular expressions, and `default` changes nothing; it counts together with proxy-redirect-to only",
        wrong: Wrong::Default("`Location` stays"),
        value: Value::Text {
            form: "`off`, `default`, or the beginning of a URL",
            pattern: "^[^~ ][^ ]*$",
            read: |settings, text| {
                settings.nginx.fields.redirect_from = redirect_part(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-redirect-to",
        differs: "",
        wrong: Wrong::Default("`Location` stays"),
        value: Value::Text {
            form: "`off`, or what takes the place of proxy-redirect-from",
            pattern: "^[^ ]+$",
            read: |settings, text| {
                settings.nginx.fields.redirect_to = redirect_part(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "x-forwarded-prefix",
        differs: "",
        wrong: Wrong::Default("pods do not get the field"),
        value: Value::Text {
            form: "a path, for pods of an Ingress with rewrite-target",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                let prefix = Template::literal(text).map_err(|why| format!("\"{text}\" {why}"))?;
                settings.nginx.fields.prefix = Some(prefix);
                Ok(())
            },
        },
    },
];
