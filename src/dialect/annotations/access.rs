//! What clients have to show before they are let in, as annotations ask for it. What it needs of other objects is not
//! looked up yet.

use crate::dialect::reading::BackendKey;
use crate::model::Kind;
use crate::table::{Addresses, Claims, Remembered, RequestFields, Template, Texts};
use http::{HeaderValue, Method};
use std::sync::Arc;
use std::time::Duration;

/// What clients have to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessWanted {
    /// A password.
    pub basic: Option<BasicWanted>,
    /// A digest of a password.
    pub digest: Option<DigestWanted>,
    /// A token.
    pub jwt: Option<JwtWanted>,
    /// What a service wants to see.
    pub external: Option<ExternalWanted>,
    /// Whether one of both is enough.
    pub any: bool,
    /// With `any`, these addresses are enough too.
    pub addresses: Option<Arc<Addresses>>,
}

/// A password of one of the users that a Secret names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BasicWanted {
    /// The annotation that names the Secret.
    pub named_by: &'static str,
    /// The Secret, in the namespace of the object.
    pub secret: Arc<str>,
    /// Whether each of its entries is a user; else one entry is a file by htpasswd.
    pub map: bool,
    /// `WWW-Authenticate` for those who show no password, or a wrong one.
    pub challenge: HeaderValue,
    /// Whether pods get `Authorization`.
    pub is_kept: bool,
}

/// A digest of the password of one of the users that a Secret names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DigestWanted {
    /// The annotation that names the Secret.
    pub named_by: &'static str,
    /// The Secret, in the namespace of the object.
    pub secret: Arc<str>,
    /// Whether each of its entries is a user; else one entry is a file by htdigest.
    pub map: bool,
    /// Where users of another realm cannot sign in; absent for the realm that all users of the Secret have.
    pub realm: Option<Box<str>>,
}

/// A token that was signed by one of the keys of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwtWanted {
    /// The annotation that names the set.
    pub named_by: &'static str,
    /// Whether the set is in a Secret or in a ConfigMap, or a Service is asked for it.
    pub kind: Kind,
    /// The name of that, in the namespace of the object; or the URL that is asked for.
    pub name: Arc<str>,
    /// Where the Service is.
    pub from: Option<KeySetWanted>,
    pub issuers: Texts,
    pub audiences: Texts,
    /// The cookie that may have the token too.
    pub cookie: Option<Box<str>>,
    /// Seconds by which clocks may differ.
    pub leeway: u64,
    /// Claims, and the fields that pods get them in.
    pub claims: Claims,
}

/// A set of keys that a Service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeySetWanted {
    pub backend: BackendKey,
    /// Its `Host`.
    pub host: Box<str>,
    /// The path and query.
    pub target: Box<str>,
}

/// A service that says who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExternalWanted {
    /// The annotation that names it, or the key of a ConfigMap in words.
    pub named_by: &'static str,
    /// Where it is; absent where the host of the client's request leads there.
    pub backend: Option<BackendKey>,
    /// Its `Host`.
    pub host: Box<str>,
    /// Whether it is asked by HTTPS.
    pub secure: bool,
    pub target: Template,
    pub method: Method,
    pub tells_more: bool,
    pub patience: Duration,
    pub sign_in: Option<Template>,
    pub fields: Box<[Box<str>]>,
    pub returns_to: Option<Template>,
    pub always_sets_cookies: bool,
    pub told: RequestFields,
    pub remembered: Option<Box<Remembered>>,
    /// Whether a name outside of the cluster needs `--allow-external-names`.
    pub needs_flag: bool,
}

impl AccessWanted {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.named_by().is_none()
    }

    /// The first annotation that asks for something of clients.
    pub fn named_by(&self) -> Option<&'static str> {
        let basic = self.basic.as_ref().map(|basic| basic.named_by);
        let digest = self.digest.as_ref().map(|digest| digest.named_by);
        let jwt = self.jwt.as_ref().map(|jwt| jwt.named_by);
        let external = self.external.as_ref().map(|external| external.named_by);
        basic.or(digest).or(jwt).or(external)
    }

    /// The Secrets that name users or have keys.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<str>> {
        let users = self.basic.as_ref().map(|basic| &basic.secret);
        let digests = self.digest.as_ref().map(|digest| &digest.secret);
        users.into_iter().chain(digests).chain(self.keys(Kind::Secret))
    }

    /// The object of a kind that has keys.
    pub fn keys(&self, kind: Kind) -> Option<&Arc<str>> {
        self.jwt.as_ref().filter(|jwt| jwt.kind == kind).map(|jwt| &jwt.name)
    }

    /// The URL of the set of keys.
    pub fn key_set(&self) -> Option<&Arc<str>> {
        self.keys(Kind::Service)
    }

    /// The backends that are asked.
    pub fn backends(&self) -> impl Iterator<Item = &BackendKey> {
        let external = self.external.as_ref().and_then(|external| external.backend.as_ref());
        let keys = self.jwt.as_ref().and_then(|jwt| jwt.from.as_ref());
        external.into_iter().chain(keys.map(|keys| &keys.backend))
    }
}
