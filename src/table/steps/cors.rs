//! Cross-origin requests (Fetch standard, section 3.2): which origins may ask, and what replies say of it.

use crate::message::{Fields, Value};
use http::{HeaderValue, Method};

/// What replies of a route say to browsers about other origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cors {
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`.
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers`.
    pub headers: HeaderValue,
    /// `Access-Control-Expose-Headers`.
    pub expose: Option<HeaderValue>,
    /// `Access-Control-Allow-Credentials`.
    pub credentials: bool,
    /// `Access-Control-Max-Age`.
    pub max_age: HeaderValue,
}

/// Which origins may ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origins {
    /// All, and replies say `*`.
    Any,
    /// These, and replies say which one asked.
    Some(Box<[Origin]>),
}

/// An origin, or many that differ in one label of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Before the `*`, in lower case; all of it where there is no `*`.
    before: Box<str>,
    /// After the `*`.
    after: Option<Box<str>>,
}

impl Origin {
    /// One such as `https://a.test:8443`, `https://*.a.test` or `null`; absent if it is not written so.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text == "null" {
            let (before, after) = (text.into(), None);
            return Some(Self { before, after });
        }
        let (scheme, host) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|one: char| one.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "1"));
        let is_port = port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit());
        let rest = name.strip_prefix("*.").unwrap_or(name);
        let is_name = !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !is_scheme || !is_port || !is_name {
            return None;
        }
        let (before, after) = match text.split_once('*') {
            Some((before, after)) => (before.into(), Some(after.into())),
            None => (text.into(), None),
        };
        Some(Self { before, after })
    }

    /// Whether it is this one, in whatever case.
    fn is(&self, origin: &[u8]) -> bool {
        let Some(after) = &self.after else {
            return origin.eq_ignore_ascii_case(self.before.as_bytes());
        };
        let Some((before, rest)) = origin.split_at_checked(self.before.len()) else {
            return false;
        };
        let Some((label, end)) = rest
            .len()
            .checked_sub(after.len())
            .and_then(|at| rest.split_at_checked(at))
        else {
            return false;
        };
        before.eq_ignore_ascii_case(self.before.as_bytes())
            && end.eq_ignore_ascii_case(after.as_bytes())
            && !label.is_empty()
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    }
}

impl Cors {
    /// `Access-Control-Allow-Origin` for a request; absent if its origin may not ask.
    fn allows<'v>(&self, origin: Option<Value<'v>>) -> Option<&'v [u8]> {
        match &self.origins {
            Origins::Any => Some(b"*"),
            Origins::Some(known) => {
                let origin = origin?.as_bytes();
                known.iter().any(|one| one.is(origin)).then_some(origin)
            }
        }
    }

    /// Whether a request is answered without asking a pod: OPTIONS of an origin that may ask.
    pub fn answers(&self, method: &Method, request: &Fields) -> bool {
        *method == Method::OPTIONS && self.allows(request.get("origin")).is_some()
    }

    /// Has a reply say what the policy is, whatever the pod says of it. Nothing is said to other origins.
    pub fn decorate(&self, request: &Fields, reply: &mut Fields) {
        let Some(origin) = self.allows(request.get("origin")) else {
            return;
        };
        reply.insert("Access-Control-Allow-Origin", origin);
        if self.credentials {
            reply.insert("Access-Control-Allow-Credentials", "true");
        }
        reply.insert("Access-Control-Allow-Methods", &self.methods);
        reply.insert("Access-Control-Allow-Headers", &self.headers);
        if let Some(expose) = &self.expose {
            reply.insert("Access-Control-Expose-Headers", expose);
        }
        reply.insert("Access-Control-Max-Age", &self.max_age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let all = origins.iter().map(|text| Origin::new(text).unwrap());
        Cors {
            origins: if origins.is_empty() {
                Origins::Any
            } else {
                Origins::Some(all.collect())
            },
            methods: HeaderValue::from_static("GET"),
            headers: HeaderValue::from_static("X-A"),
            expose: None,
            credentials: true,
            max_age: HeaderValue::from_static("1"),
        }
    }

    fn of(origin: &str) -> Fields {
        let mut fields = Fields::new();
        fields.append("Origin", origin);
        fields
    }

    #[test]
    fn an_origin_is_compared_as_a_whole() {
        let cors = cors(&["https://*.a.test", "http://b.test:8080", "null"]);
        for (origin, allowed) in [
            ("https://x.a.test", true),
            ("HTTPS://X.A.TEST", true),
            ("https://x.y.a.test", false),
            ("https://a.test", false),
            ("https://.a.test", false),
            ("https://x.a.test.evil.test", false),
            ("http://x.a.test", false),
            ("https://evil.test/https://x.a.test", false),
            ("http://b.test:8080", true),
            ("http://b.test", false),
            ("null", true),
            ("", false),
        ] {
            assert_eq!(cors.answers(&Method::OPTIONS, &of(origin)), allowed, "{origin}");
            let mut reply = of("kept");
            cors.decorate(&of(origin), &mut reply);
            let said = reply.get("Access-Control-Allow-Origin").map(Value::as_bytes);
            assert_eq!(said, allowed.then_some(origin.as_bytes()), "{origin}");
        }
        assert!(!cors.answers(&Method::GET, &of("null")));
        assert!(!cors.answers(&Method::OPTIONS, &Fields::new()));
    }

    #[test]
    fn what_the_pod_says_is_replaced() {
        let mut reply = Fields::new();
        reply.append("access-control-allow-origin", "https://pod.test");
        reply.append("access-control-allow-methods", "PATCH");
        cors(&[]).decorate(&Fields::new(), &mut reply);
        let all: Vec<_> = reply
            .get_all("Access-Control-Allow-Origin")
            .map(Value::as_bytes)
            .collect();
        assert_eq!(all, [b"*"]);
        let methods = reply.get("Access-Control-Allow-Methods").map(Value::as_bytes);
        assert_eq!(methods, Some(&b"GET"[..]));
    }

    #[test]
    fn what_is_no_origin_is_not_one() {
        for text in [
            "",
            "*",
            "a.test",
            "https://",
            "https://*",
            "https://a.*.test",
            "https://a.test:x",
            "https://a.test/",
        ] {
            assert!(Origin::new(text).is_none(), "{text}");
        }
    }
}
