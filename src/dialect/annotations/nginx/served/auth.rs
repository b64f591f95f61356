//! Annotations by which clients have to show who they are.

use super::super::auth::challenge;
use super::super::value::secret;
use super::super::{Served, Wrong};
use crate::dialect::annotations::value::Value;

pub(super) static ALL: &[Served] = &[
    Served {
        name: "auth-realm",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "printable ASCII without quotes and backslashes",
            pattern: "^[ !#-\\[\\]-~]{0,256}$",
            read: |settings, text| {
                settings.nginx.auth.challenge = Some(challenge(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-secret",
        differs: "lines with hashes by DES, or by bcrypt with a cost above 14, are reported, and their users cannot sign in",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "the name of a Secret in the namespace of the Ingress, perhaps with that before a `/`",
            pattern: "^[a-z0-9./-]+$",
            read: |settings, text| {
                settings.nginx.auth.secret = Some(secret(settings, text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-secret-type",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "`auth-file` or `auth-map`",
            pattern: "^auth-(file|map)$",
            read: |settings, text| {
                settings.nginx.auth.map = match text {
                    "" | "auth-file" => false,
                    "auth-map" => true,
                    other => return Err(format!("\"{other}\" is neither auth-file nor auth-map")),
                };
                Ok(())
            },
        },
    },
    Served {
        name: "auth-type",
        differs: "`digest` closes the routes",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "`basic`",
            pattern: "^basic$",
            read: |settings, text| {
                settings.nginx.auth.basic = match text.trim() {
                    // Without a value it is as if it were not there.
                    "" => false,
                    "basic" => true,
                    "digest" => return Err("narthex does not do digest authentication".to_owned()),
                    other => return Err(format!("\"{other}\" is neither basic nor digest")),
                };
                Ok(())
            },
        },
    },
];
