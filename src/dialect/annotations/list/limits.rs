//! Annotations that limit who may ask, and how often and how much.

use super::super::native::value::{rate_key, rates};
use super::super::nginx::value::networks;
use super::super::value::Value;
use super::super::{Annotation, Scope};
use super::CLOSES;

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "allow-addresses",
        scope: Scope::Guard,
        about: "Networks whose clients may come in; all others get 403. Which address a client has is described in [proxies](proxies.md).",
        default: CLOSES,
        example: "10.0.0.0/8, 192.0.2.7",
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.native.allow = Some(networks(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "deny-addresses",
        scope: Scope::Guard,
        about: "Networks whose clients get 403, even if `allow-addresses` has them.",
        default: CLOSES,
        example: "192.0.2.0/24",
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.native.deny = Some(networks(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "limit-exempt",
        scope: Scope::Guard,
        about: "Networks whose clients `rate-limit` and `max-in-flight-per-client` do not apply to.",
        default: CLOSES,
        example: "10.0.0.0/8",
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.native.exempt = Some(networks(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "max-in-flight-per-client",
        scope: Scope::Guard,
        about: "Maximum number of requests of one client that may be in flight to this Ingress. Further requests get 429. A client of IPv6 is a network of 64 bits. Each node counts by itself.",
        default: CLOSES,
        example: "20",
        value: Value::Integer {
            least: 1,
            most: 1_000_000,
            set: |settings, number| settings.native.under_way = Some(number),
        },
    },
    Annotation {
        name: "max-request-body",
        scope: Scope::Policy,
        about: "Maximum size of a request body. A longer one gets 413: before anything of it is read if `Content-Length` says so, otherwise as soon as it is longer. `0` sets no limit.",
        default: "bodies of any size are passed on",
        example: "8MiB",
        value: Value::Bytes {
            most: 1 << 36,
            set: |settings, bytes| settings.native.body = u64::try_from(bytes).ok(),
        },
    },
    Annotation {
        name: "rate-limit",
        scope: Scope::Guard,
        about: "How many requests may come in a second (`s`) or a minute (`m`). A request has to keep to all rates that are named. If it does not, it gets 429 with `Retry-After`, and counts for none of them. A rate allows as many requests at once as it names, see `rate-limit-burst`. All hosts and paths of the Ingress count together, and each node counts by itself.",
        default: CLOSES,
        example: "10/s, 300/m",
        value: Value::Text {
            form: "rates such as `10/s` or `300/m`, separated by commas",
            pattern: "^ *[0-9]+/[sm] *(, *[0-9]+/[sm] *)*$",
            read: |settings, text| {
                settings.native.rates = rates(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "rate-limit-burst",
        scope: Scope::Guard,
        about: "How many requests may come at once beyond the first, for each rate of `rate-limit`.",
        default: CLOSES,
        example: "50",
        value: Value::Integer {
            least: 0,
            most: 1_000_000,
            set: |settings, number| settings.native.burst = Some(number),
        },
    },
    Annotation {
        name: "rate-limit-key",
        scope: Scope::Guard,
        about: "Which requests `rate-limit` counts together: those of one client address (for IPv6, of one network of 64 bits), those for one host, or those with the same value of a field. Requests without the field are counted by client.",
        default: CLOSES,
        example: "header:X-Api-Key",
        value: Value::Text {
            form: "`client`, `host` or `header:NAME`",
            pattern: "^(client|host|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
            read: |settings, text| {
                settings.native.key = rate_key(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "reply-rate",
        scope: Scope::Policy,
        about: "How many bytes of a reply are sent in a second. Each reply has this rate by itself, also those over one connection.",
        default: "replies are sent as fast as clients take them",
        example: "1MiB",
        value: Value::Bytes {
            most: 1 << 36,
            set: |settings, bytes| settings.native.rate = u64::try_from(bytes).ok(),
        },
    },
    Annotation {
        name: "reply-rate-after",
        scope: Scope::Policy,
        about: "How many bytes of a reply are sent before `reply-rate` counts.",
        default: "the rate counts from the first byte",
        example: "5MiB",
        value: Value::Bytes {
            most: 1 << 36,
            set: |settings, bytes| settings.native.rate_after = u64::try_from(bytes).ok(),
        },
    },
];
