//! Annotations of paths: patterns, rewrites, redirects.

use super::super::value::{boolean, place, status, switch, target};
use super::super::{Served, Wrong};
use crate::dialect::annotations::value::Value;
use crate::table::Target;

pub(super) static ALL: &[Served] = &[
    Served {
        name: "force-ssl-redirect",
        differs: "",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.force_ssl_redirect = Some(boolean(text)?);
            Ok(())
        }),
    },
    Served {
        name: "permanent-redirect",
        differs: "",
        wrong: Wrong::Default("requests are not redirected"),
        value: place(|settings, text| {
            settings.nginx.permanent = Some(target(text)?);
            Ok(())
        }),
    },
    Served {
        name: "permanent-redirect-code",
        differs: "",
        wrong: Wrong::Default("301 applies"),
        value: Value::Text {
            form: "a whole number from 300 to 308",
            pattern: "^30[0-8]$",
            read: |settings, text| {
                settings.nginx.permanent_code = Some(status(text, 308)?);
                Ok(())
            },
        },
    },
    Served {
        name: "relative-redirects",
        differs: "redirects to HTTPS are always absolute",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.host_wide.relative = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "rewrite-target",
        differs: "`%2F` stays as it is, and what becomes of the path is forwarded in canonical form",
        wrong: Wrong::Default("paths are not rewritten"),
        value: Value::Text {
            form: "a path, with `$1` to `$9` for the groups of the path's pattern",
            pattern: "^/?[A-Za-z0-9._~/:$-]*$",
            read: |settings, text| {
                let target = Target::new(text).map_err(|why| format!("\"{text}\" {why}"))?;
                settings.nginx.rewrite = Some((text.into(), target));
                Ok(())
            },
        },
    },
    Served {
        name: "ssl-redirect",
        differs: "a slash at the end of the path stays",
        wrong: Wrong::Default("--ssl-redirect applies"),
        value: switch(|settings, text| {
            settings.nginx.ssl_redirect = Some(boolean(text)?);
            Ok(())
        }),
    },
    Served {
        name: "temporal-redirect",
        differs: "",
        wrong: Wrong::Default("requests are not redirected"),
        value: place(|settings, text| {
            settings.nginx.temporal = Some(target(text)?);
            Ok(())
        }),
    },
    Served {
        name: "temporal-redirect-code",
        differs: "",
        wrong: Wrong::Default("302 applies"),
        value: Value::Text {
            form: "a whole number from 300 to 307",
            pattern: "^30[0-7]$",
            read: |settings, text| {
                settings.nginx.temporal_code = Some(status(text, 307)?);
                Ok(())
            },
        },
    },
    Served {
        name: "use-regex",
        differs: "patterns take linear time, so look-around and back-references are errors that close the route",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.use_regex = boolean(text)?;
            Ok(())
        }),
    },
];
