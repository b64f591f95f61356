//! What a route does besides forwarding, as plain data in the order in which it is done. The compiler makes the lists;
//! `proxy/steps.rs` walks them.

use super::compression::Compression;
use super::guard::Guard;
use http::HeaderValue;
use std::sync::Arc;

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
}

/// A step before a request is forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Before {
    /// A client that speaks plain HTTP is sent to HTTPS with 308. It follows from the request's head alone, so it is part
    /// of the decision (`table/decide.rs`).
    RedirectToHttps,
}

/// A step with a pod's reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum After {
    /// `narthex.io/compress`: the reply is compressed for clients that take it.
    Compress(Compression),
    /// `narthex.io/hsts`: the reply gets this `Strict-Transport-Security` if it goes over TLS (RFC 6797).
    Hsts(HeaderValue),
    /// `--server-header`: the reply gets this `Server` if it has none.
    Server(HeaderValue),
}

impl Policies {
    /// Whether plain HTTP is sent to HTTPS.
    pub fn redirects_to_https(&self) -> bool {
        self.before.contains(&Before::RedirectToHttps)
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
