//! What a route does besides forwarding, as plain data in the order in which it is done. The compiler makes the lists;
//! `proxy/steps.rs` walks them.

use super::compression::Compression;
use super::guard::Guard;
use super::steps::{
    Access, Addresses, Blocked, BlockedField, Connections, Cors, ErrorPages, FieldChanges, Mirror, Pace, Rates,
    Redirection, Returned, Rewrite, Satisfy, SendTo, Template,
};
use super::when::Scheme;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;

/// The schemes that a route is for. A path of OpenShift's Routes exists for some schemes only: a request by another one goes to
/// the next shorter path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Schemes {
    /// All, whatever other routes are for.
    #[default]
    All,
    /// All, but a redirect of a shorter path comes first.
    Both,
    /// Plain HTTP, but a redirect of a shorter path comes first.
    Http,
    /// HTTPS.
    Https,
    /// HTTPS. Plain HTTP is redirected there.
    Redirected,
}

impl Schemes {
    /// Whether a request that comes by a scheme is for the route.
    #[inline]
    pub fn include(self, scheme: Scheme) -> bool {
        match self {
            Self::All | Self::Both | Self::Redirected => true,
            Self::Http => scheme != Scheme::Https,
            Self::Https => scheme != Scheme::Http,
        }
    }

    /// Whether redirects of shorter paths come first where a request comes in plain.
    pub fn yield_to_redirects(self) -> bool {
        matches!(self, Self::Both | Self::Http)
    }
}

/// The policies of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policies {
    /// What its Ingress or its IngressClass asks for and narthex does not enforce: nobody is let through. Guards of
    /// whole hosts are not here but with the host, since they close what other Ingresses claim.
    pub guard: Option<Arc<Guard>>,
    /// Done to a request before it is forwarded, in this order.
    pub before: Box<[Before]>,
    /// Done to a pod's reply, in this order.
    pub after: Box<[After]>,
    /// Whether it is a rule of ingress-nginx, whose path is a pattern where its host has patterns.
    pub follows_patterns: bool,
    /// Whether its requests are left out of the access log.
    pub is_unlogged: bool,
    /// Whether its path, which is a prefix, was written with a closing slash, and its dialect minds.
    pub closing_slash: bool,
    /// The schemes that it is for.
    pub schemes: Schemes,
}

/// A step before a request is forwarded. What follows from the request's head and its client alone is part of the decision
/// (`table/decide.rs`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Before {
    /// Errors of this and later steps, and those of pods, get their replies from a Service. This takes time, so it is no part
    /// of the decision.
    ErrorPages(Arc<ErrorPages>),
    /// A client that speaks plain HTTP is sent to HTTPS with this status.
    RedirectToHttps(StatusCode),
    /// A client that speaks plain HTTP is refused with 503.
    HttpsOnly,
    /// A client whose TLS ends here is refused with 503.
    PlainOnly,
    /// A body of more bytes is refused with 413: at once if its length is said, else as soon as it is longer.
    BodyLimit(u64),
    /// A client at another address is refused with 403.
    Addresses(Arc<Addresses>),
    /// A client that says something unwanted of itself is refused with 403.
    Blocked(Arc<Blocked>),
    /// A browser that asks whether it may send a request from another origin is answered; replies of all later steps say
    /// what holds for other origins.
    Cors(Arc<Cors>),
    /// A client that asks too often is refused. This is live state, so it is no part of the decision.
    Rates(Arc<Rates>),
    /// A client that has too many requests under way is refused. This is live state too.
    Connections(Arc<Connections>),
    /// A client that cannot show who it is is refused. This takes time, so it is no part of the decision.
    Access(Arc<Access>),
    /// Pods get other fields, and all replies of this and later steps do.
    Fields(Arc<FieldChanges>),
    /// Pods get this `Host`.
    Host(Arc<Template>),
    /// Every request is sent elsewhere.
    Redirect(Arc<Redirection>),
    /// Every request is sent elsewhere, as Gateway API has it.
    SendTo(Arc<SendTo>),
    /// Every request gets this answer.
    Return(Arc<Returned>),
    /// The pod gets another path.
    Rewrite(Arc<Rewrite>),
    /// Another backend gets a copy of some requests.
    Mirror(Arc<Mirror>),
}

/// A step with a pod's reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum After {
    /// `narthex.io/compress`: the reply is compressed for clients that take it.
    Compress(Compression),
    /// The reply says what holds for other origins.
    Cors(Arc<Cors>),
    /// The reply gets and loses fields.
    Fields(Arc<FieldChanges>),
    /// `narthex.io/hsts`: the reply gets this `Strict-Transport-Security` if it goes over TLS (RFC 6797).
    Hsts(HeaderValue),
    /// The reply is sent no faster than this.
    Pace(Pace),
    /// `--server-header`: the reply gets this `Server` if it has none.
    Server(HeaderValue),
}

impl Before {
    /// It in words; absent where that is said elsewhere.
    pub fn words(&self) -> Option<String> {
        match self {
            Before::RedirectToHttps(_) => None,
            Before::HttpsOnly => Some("https-only".to_owned()),
            Before::PlainOnly => Some("plain-only".to_owned()),
            Before::BodyLimit(most) => Some(format!("body-limit={most}")),
            Before::Addresses(addresses) => Some(format!(
                "addresses(allow={} deny={})",
                addresses
                    .allow
                    .as_ref()
                    .map_or("any".to_owned(), |allow| allow.len().to_string()),
                addresses.deny.len()
            )),
            Before::ErrorPages(pages) => Some(format!("error-pages={}", pages.statuses.len())),
            Before::Blocked(blocked) => Some(format!(
                "blocked({}={})",
                match blocked.field {
                    BlockedField::UserAgent => "user-agent",
                    BlockedField::Referer => "referer",
                },
                blocked.texts.len() + blocked.expressions.len()
            )),
            Before::Cors(_) => Some("cors".to_owned()),
            Before::Connections(connections) => Some(format!("connections={}", connections.most)),
            Before::Rates(rates) => Some(format!("rates={}", rates.limits.len())),
            Before::Access(access) => Some(access.to_string()),
            Before::Rewrite(_) => Some("rewrite".to_owned()),
            Before::Mirror(mirror) => Some(mirror.to_string()),
            Before::Fields(_) => Some("fields".to_owned()),
            Before::Host(_) => Some("host".to_owned()),
            Before::Return(returned) => Some(format!("return={}", returned.status.as_u16())),
            Before::SendTo(change) => Some(format!("redirect={}", change.status.as_u16())),
            Before::Redirect(redirection) => Some(format!("redirect={}", redirection.status.as_u16())),
        }
    }
}

impl Policies {
    /// Takes out what asks clients who they are. Addresses that would have been enough alone are the only ones that are let in
    /// then.
    pub fn ask_nobody(&mut self) {
        let stays = |step: &Before| match step {
            Before::Access(access) => match &access.satisfy {
                Satisfy::Any(Some(addresses)) => Some(Before::Addresses(addresses.clone())),
                Satisfy::Any(None) | Satisfy::All => None,
            },
            other => Some(other.clone()),
        };
        self.before = self.before.iter().filter_map(stays).collect();
    }

    /// Whether plain HTTP is sent to HTTPS.
    pub fn redirects_to_https(&self) -> bool {
        self.before
            .iter()
            .any(|step| matches!(step, Before::RedirectToHttps(_)))
    }

    /// The steps of a dialect, in their order and in words.
    pub fn steps(&self) -> impl Iterator<Item = String> {
        self.before.iter().filter_map(Before::words)
    }

    /// Whether pods may get other fields than all get.
    pub fn changes_fields(&self) -> bool {
        let changes = |step: &Before| matches!(step, Before::Fields(_) | Before::Host(_));
        self.before.iter().any(changes)
    }

    /// How long a request's body may be.
    pub fn body_limit(&self) -> Option<u64> {
        self.before.iter().find_map(|step| match step {
            Before::BodyLimit(most) => Some(*most),
            _ => None,
        })
    }

    /// How replies are compressed, where they are.
    pub fn compression(&self) -> Option<&Compression> {
        self.after.iter().find_map(|step| match step {
            After::Compress(compression) => Some(compression),
            _ => None,
        })
    }

    /// `Strict-Transport-Security` of replies over TLS, where they get it.
    pub fn hsts(&self) -> Option<&HeaderValue> {
        self.after.iter().find_map(|step| match step {
            After::Hsts(value) => Some(value),
            _ => None,
        })
    }
}
