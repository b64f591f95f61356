//! Annotations that have copies of requests sent elsewhere.

use super::super::auth::Url;
use super::super::value::on_off;
use super::super::{Served, Wrong};
use crate::dialect::annotations::MirrorWanted;
use crate::dialect::annotations::value::Value;
use crate::dialect::reading::BackendKey;
use crate::table::{Share, Template, canonical_host};

/// What they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct Wanted {
    to: Option<(BackendKey, Option<Template>, Box<str>)>,
    host: Option<Box<str>>,
    no_body: bool,
}

impl Wanted {
    /// Puts together what was asked for.
    pub fn settle(self) -> Option<MirrorWanted> {
        let (to, target, own_host) = self.to?;
        Some(MirrorWanted {
            named_by: "annotation nginx.ingress.kubernetes.io/mirror-target",
            to,
            target,
            host: Some(self.host.unwrap_or(own_host)),
            body: !self.no_body,
            share: Share::ALL,
        })
    }
}

pub(super) static ALL: &[Served] = &[
    Served {
        name: "mirror-host",
        differs: "no variables",
        wrong: Wrong::Default("copies get the host of mirror-target"),
        value: Value::Text {
            form: "a host",
            pattern: "^[^\\s$]+$",
            read: |settings, text| {
                canonical_host(text).map_err(|error| format!("\"{text}\" is not a host: {error}"))?;
                settings.nginx.mirror.host = Some(text.into());
                Ok(())
            },
        },
    },
    Served {
        name: "mirror-request-body",
        differs: "",
        wrong: Wrong::Default("\"on\" applies"),
        value: Value::Text {
            form: "`on` or `off`",
            pattern: "^(on|off)$",
            read: |settings, text| {
                settings.nginx.mirror.no_body = !on_off(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "mirror-target",
        differs: "the request never waits for its copy: a copy has limits of its own (128 at a time on a shard, 30 s, 1 MiB of body) \
                  and is lost beyond them, which is counted; it is sent once all of the body has come; it has the fields that \
                  the pod gets; its host has no variable; certificates are verified, except those of Services; WebSockets have \
                  no copies",
        wrong: Wrong::Default("there are no copies"),
        value: Value::Text {
            form: "a URL, with variables in its path and query",
            pattern: "^https?://[!-~]+$",
            read: |settings, text| {
                settings.nginx.mirror.to = Some(Url::for_copies(text.trim())?);
                Ok(())
            },
        },
    },
];
