//! Annotations that keep requests from pods: addresses, rates, sizes.

use super::super::value::{limit, list, networks, number, size};
use super::super::{Served, Wrong};
use crate::dialect::annotations::value::Value;

pub(super) static ALL: &[Served] = &[
    Served {
        name: "allowlist-source-range",
        differs: "",
        wrong: Wrong::Closes,
        value: list(|settings, text| {
            settings.nginx.allow = Some(networks(text)?);
            Ok(())
        }),
    },
    Served {
        name: "denylist-source-range",
        differs: "",
        wrong: Wrong::Closes,
        value: list(|settings, text| {
            settings.nginx.deny = Some(networks(text)?);
            Ok(())
        }),
    },
    Served {
        name: "limit-allowlist",
        differs: "",
        wrong: Wrong::Closes,
        value: list(|settings, text| {
            settings.nginx.exempt = Some(networks(text)?);
            Ok(())
        }),
    },
    Served {
        name: "limit-burst-multiplier",
        differs: "0 is no burst",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a whole number",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.burst_multiplier = Some(number(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "limit-connections",
        differs: "each node counts by itself",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.nginx.under_way = number(text)?;
            Ok(())
        }),
    },
    Served {
        name: "limit-rpm",
        differs: "each node counts by itself",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.nginx.per_minute = number(text)?;
            Ok(())
        }),
    },
    Served {
        name: "limit-rps",
        differs: "each node counts by itself",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.nginx.per_second = number(text)?;
            Ok(())
        }),
    },
    Served {
        name: "limit-whitelist",
        differs: "",
        wrong: Wrong::Closes,
        value: list(|settings, text| {
            // It is the old name, and comes after the new one.
            settings.nginx.exempt = settings.nginx.exempt.take().or(Some(networks(text)?));
            Ok(())
        }),
    },
    Served {
        name: "proxy-body-size",
        differs: "",
        wrong: Wrong::Default("1m applies"),
        value: Value::Text {
            form: "a number of bytes, or of `k`, `m` or `g`; 0 for no limit",
            pattern: "^[0-9]+[bBkKmMgG]?$",
            read: |settings, text| {
                settings.nginx.body = Some(size(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "whitelist-source-range",
        differs: "",
        wrong: Wrong::Closes,
        value: list(|settings, text| {
            // It is the old name, and comes after the new one.
            settings.nginx.allow = settings.nginx.allow.take().or(Some(networks(text)?));
            Ok(())
        }),
    },
];
