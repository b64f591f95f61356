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
    /// Whether it is narthex's own policy: only a preflight request by the Fetch standard is answered, and replies say
    /// what a reply of its kind is to say. Otherwise it is that of ingress-nginx.
    pub native: bool,
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
    /// By narthex's own policy no origin's question goes to a pod, which might allow more.
    pub fn answers(&self, method: &Method, request: &Fields) -> bool {
        if *method != Method::OPTIONS {
            return false;
        }
        if self.native {
            return request.get("origin").is_some() && request.get("access-control-request-method").is_some();
        }
        self.allows(request.get("origin")).is_some()
    }

    /// Has a reply say what the policy is, whatever the pod says of it. Nothing is said to other origins.
    pub fn decorate(&self, method: &Method, request: &Fields, reply: &mut Fields) {
        if self.native {
            return self.decorate_by_standard(method, request, reply);
        }
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

    /// The same by the Fetch standard. What the pod says of other origins goes in any case.
    fn decorate_by_standard(&self, method: &Method, request: &Fields, reply: &mut Fields) {
        const PREFIX: &[u8] = b"access-control-";
        reply.retain(|field| {
            let begin = field.name.get(..PREFIX.len());
            !begin.is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX))
        });
        if matches!(self.origins, Origins::Some(_)) {
            vary_by_origin(reply);
        }
        let origin = request.get("origin");
        let Some(allowed) = origin.and_then(|origin| self.allows(Some(origin))) else {
            return;
        };
        reply.append("Access-Control-Allow-Origin", allowed);
        if self.credentials {
            reply.append("Access-Control-Allow-Credentials", "true");
        }
        if self.answers(method, request) {
            reply.append("Access-Control-Allow-Methods", &self.methods);
            reply.append("Access-Control-Allow-Headers", &self.headers);
            reply.append("Access-Control-Max-Age", &self.max_age);
        } else if let Some(expose) = &self.expose {
            reply.append("Access-Control-Expose-Headers", expose);
        }
    }
}

/// Has caches keep one reply for each origin (RFC 9110, section 12.5.5).
fn vary_by_origin(reply: &mut Fields) {
    let names = |value: Value<'_>| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    };
    if !reply.get_all("Vary").any(names) {
        reply.append("Vary", "Origin");
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
            native: false,
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
            cors.decorate(&Method::GET, &of(origin), &mut reply);
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
        cors(&[]).decorate(&Method::GET, &Fields::new(), &mut reply);
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
