//! Annotations of canaries.

use super::super::value::{boolean, number, switch};
use super::super::{Asked, Served, Wrong};
use crate::dialect::annotations::value::{Value, token};
use crate::table::{CanaryHeader, CanaryRule, HeaderRegex};
use http::HeaderName;
use std::sync::Arc;

/// What is asked of a canary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations::nginx) struct Wanted {
    is_canary: bool,
    header: Option<HeaderName>,
    value: Option<Box<str>>,
    pattern: Option<CanaryHeader>,
    cookie: Option<Box<str>>,
    weight: u32,
    total: Option<u32>,
    forgets_sessions: bool,
}

impl Wanted {
    /// Puts it together, where the Ingress is a canary.
    pub(in crate::dialect::annotations::nginx) fn rule(self) -> Option<Arc<CanaryRule>> {
        let header = self.value.map(CanaryHeader::Value).or(self.pattern);
        let header = header.unwrap_or(CanaryHeader::Word);
        self.is_canary.then(|| {
            Arc::new(CanaryRule {
                header: self.header.map(|name| (name, header)),
                cookie: self.cookie,
                weight: self.weight,
                // As there: a smaller total than the usual one does not count.
                total: self.total.unwrap_or(100).max(100),
                forgets_sessions: self.forgets_sessions,
            })
        })
    }
}

const NEVER: Wrong = Wrong::Default("the canary gets no requests by it");

pub(super) static ALL: &[Served] = &[
    Served {
        name: "affinity-canary-behavior",
        differs: "",
        wrong: Wrong::Default("sessions hold across the two"),
        value: Value::Text {
            form: "`sticky` or `legacy`",
            pattern: "^(sticky|legacy)$",
            read: |settings, text| {
                canary(&mut settings.nginx).forgets_sessions = match text {
                    "sticky" => false,
                    "legacy" => true,
                    other => return Err(format!("\"{other}\" is neither \"sticky\" nor \"legacy\"")),
                };
                Ok(())
            },
        },
    },
    Served {
        name: "canary",
        differs: "the Ingress that it is the canary of has to be in the same namespace",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            canary(&mut settings.nginx).is_canary = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "canary-by-cookie",
        differs: "",
        wrong: NEVER,
        value: Value::Text {
            form: "the name of a cookie",
            pattern: "^[A-Za-z0-9_-]+$",
            read: |settings, text| {
                canary(&mut settings.nginx).cookie = Some((&*token(text)?).into());
                Ok(())
            },
        },
    },
    Served {
        name: "canary-by-header",
        differs: "",
        wrong: NEVER,
        value: Value::Text {
            form: "the name of a field",
            pattern: "^[A-Za-z0-9_-]+$",
            read: |settings, text| {
                let name = HeaderName::from_bytes(text.as_bytes());
                let name = name.map_err(|_| format!("\"{text}\" is not the name of a field"))?;
                canary(&mut settings.nginx).header = Some(name);
                Ok(())
            },
        },
    },
    Served {
        name: "canary-by-header-pattern",
        differs: "expressions take linear time, so one with look-around or back-references counts as broken",
        wrong: Wrong::Default("requests with the field are not for the canary"),
        value: Value::Text {
            form: "a regular expression",
            pattern: "^.+$",
            read: |settings, text| {
                let canary = canary(&mut settings.nginx);
                canary.pattern = Some(CanaryHeader::Broken);
                let regex = HeaderRegex::new(text).map_err(|why| format!("\"{text}\" {why}"))?;
                canary.pattern = Some(CanaryHeader::Pattern(regex));
                Ok(())
            },
        },
    },
    Served {
        name: "canary-by-header-value",
        differs: "",
        wrong: NEVER,
        value: Value::Text {
            form: "the value of a field",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                let fits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
                if !fits {
                    return Err(format!("{text:?} is not the value of a field"));
                }
                canary(&mut settings.nginx).value = Some(text.into());
                Ok(())
            },
        },
    },
    Served {
        name: "canary-weight",
        differs: "",
        wrong: NEVER,
        value: Value::Text {
            form: "a whole number, of `canary-weight-total`",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                canary(&mut settings.nginx).weight = number(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "canary-weight-total",
        differs: "",
        wrong: Wrong::Default("100 applies"),
        value: Value::Text {
            form: "a whole number above 100",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                canary(&mut settings.nginx).total = Some(number(text)?);
                Ok(())
            },
        },
    },
];

fn canary(asked: &mut Asked) -> &mut Wanted {
    &mut asked.canary
}
