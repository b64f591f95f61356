//! What narthex's own policies ask for, before they are put together: one may need another.

pub(super) mod value;

use super::access::{AccessWanted, BasicWanted, DigestWanted, ExternalWanted, JwtWanted, KeySetWanted};
use super::nginx::auth::Url;
use super::{ErrorPagesWanted, MirrorWanted, Paths, Settings};
use crate::dialect::reading::BackendKey;
use crate::model::Kind;
use crate::model::annotation::PREFIX;
use crate::model::object::PortRef;
use crate::table::{
    Addresses, After, Before, CanaryHeader, CanaryRule, Claims, Connections, Cors, Edit, FieldChanges, Networks,
    Origins, Pace, Places, Rate, RateKey, Rates, Redirection, ReplyFields, RequestFields, Rewrite, Share, Target,
    Template, Texts,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use value::Line;

/// The annotation that names the Secret of users.
const SECRET: &str = "narthex.io/auth-basic-secret";
/// The annotation that names the Secret of users whose digests are asked for.
const DIGEST: &str = "narthex.io/auth-digest-secret";
/// The annotation that names the service that is asked.
const URL: &str = "narthex.io/auth-url";

/// How long that service may take where nothing is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Seconds by which the clock of whoever issued a token may differ, where nothing is said.
const LEEWAY: u64 = 30;

/// How many seconds browsers keep what they were told of other origins, where nothing is said.
const MAX_AGE: u32 = 600;

/// What they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub paths_are_patterns: bool,
    pub rewrite: Option<(Box<str>, Target)>,
    pub strip: Option<Box<str>>,
    pub add: Option<Box<str>>,
    pub body: Option<u64>,
    pub allow: Option<Networks>,
    pub deny: Option<Networks>,
    pub exempt: Option<Networks>,
    pub rates: Vec<(u32, u32)>,
    pub burst: Option<u32>,
    pub key: RateKey,
    pub under_way: Option<u32>,
    pub redirect: Option<Template>,
    pub redirect_status: Option<StatusCode>,
    pub set_requests: Vec<Line>,
    pub add_requests: Vec<Line>,
    pub remove_requests: Vec<Box<str>>,
    pub set_replies: Vec<Edit>,
    pub add_replies: Vec<Edit>,
    pub remove_replies: Vec<Edit>,
    pub places: Places,
    pub origins: Option<Origins>,
    pub methods: Option<HeaderValue>,
    pub headers: Option<HeaderValue>,
    pub expose: Option<HeaderValue>,
    pub credentials: bool,
    pub max_age: Option<u32>,
    pub auth: Auth,
    pub canary: Canary,
    pub logged: Option<bool>,
    pub errors: Option<Box<[StatusCode]>>,
    pub errors_of_pods: Option<bool>,
    pub error_service: Option<Named>,
    pub mirror: Option<Named>,
    pub mirror_body: Option<bool>,
    pub mirror_share: Option<u32>,
    /// Bytes of replies, in a second and before that counts.
    pub rate: Option<u64>,
    pub rate_after: Option<u64>,
}

/// A Service in the namespace of the object, and its port if that is said.
type Named = (Arc<str>, Option<PortRef>);

/// What is asked of clients that want to come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Auth {
    pub secret: Option<Arc<str>>,
    pub realm: Option<Box<str>>,
    pub is_kept: bool,
    pub digest: Option<Arc<str>>,
    pub digest_realm: Option<Box<str>>,
    /// The kind and name of the object with the keys of tokens, and the annotation that names it.
    pub keys: Option<(&'static str, Kind, Arc<str>)>,
    /// Where a Service has them.
    pub key_set: Option<KeySetWanted>,
    pub issuers: Texts,
    pub audiences: Texts,
    pub leeway: Option<u64>,
    pub cookie: Option<Box<str>>,
    pub claims: Claims,
    pub url: Option<Url>,
    pub method: Option<Method>,
    pub fields: Box<[Box<str>]>,
    pub sign_in: Option<Box<str>>,
    pub patience: Option<Duration>,
    pub any: bool,
}

/// What is asked of a second Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Canary {
    pub service: Option<Named>,
    pub weight: Option<u32>,
    pub header: Option<HeaderName>,
    pub value: Option<Box<str>>,
    pub cookie: Option<Box<str>>,
}

/// A Service that gets some requests of an Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanaryService {
    pub service: Arc<str>,
    /// Absent for that of the other Service.
    pub port: Option<PortRef>,
    pub rule: Arc<CanaryRule>,
}

/// An annotation that does not fit the others.
pub(super) struct Unfit {
    pub annotation: &'static str,
    pub message: String,
    /// Whether it guards, so that the routes are closed.
    pub closes: bool,
}

/// What they come to, as steps that a dialect puts in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    pub body: Option<u64>,
    pub allow: Option<Networks>,
    pub deny: Option<Networks>,
    pub connections: Option<Before>,
    pub rates: Option<Before>,
    pub cors: Option<Arc<Cors>>,
    pub redirect: Option<Before>,
    pub access: AccessWanted,
    pub fields: Fields,
    pub paths: Paths,
    /// What all paths become.
    pub rewrite: Option<Arc<Rewrite>>,
    pub logged: Option<bool>,
    pub error_pages: Option<ErrorPagesWanted>,
    pub mirror: Option<MirrorWanted>,
    pub pace: Option<Pace>,
}

/// Changes of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// Those without a text go.
    pub set: Vec<Line>,
    pub added: Vec<Line>,
    pub edits: Vec<Edit>,
    pub places: Places,
}

impl Fields {
    fn changes(self) -> Option<Arc<FieldChanges>> {
        let request = RequestFields::new(self.set).with_added(self.added);
        let reply = ReplyFields {
            hidden: Box::default(),
            places: (self.places != Places::default()).then(|| Box::new(self.places)),
            edits: self.edits.into(),
        };
        (!request.is_empty() || !reply.is_empty()).then(|| Arc::new(FieldChanges { request, reply }))
    }
}

impl Asked {
    /// Puts together what was asked for, as far as it goes by itself.
    pub fn steps(mut self, settings: &mut Settings, say: &mut dyn FnMut(Unfit)) -> Steps {
        let unfit = |annotation, message: &str| Unfit {
            annotation,
            message: message.to_owned(),
            closes: false,
        };
        let is_pattern = self.paths_are_patterns;
        if self.rewrite.is_some() && (self.strip.is_some() || self.add.is_some()) {
            let annotation = if self.strip.is_some() {
                "strip-prefix"
            } else {
                "add-prefix"
            };
            say(unfit(
                annotation,
                "rewrite-target says what paths become, so it is left out",
            ));
            (self.strip, self.add) = (None, None);
        }
        if let Some((text, target)) = &self.rewrite
            && target.has_groups()
            && !is_pattern
        {
            let message = format!("\"{text}\" has groups, which only paths with path-regex have, so it is left out");
            say(unfit("rewrite-target", &message));
            self.rewrite = None;
        }
        let rewrite = match (&self.rewrite, &self.strip, &self.add) {
            (Some((_, target)), ..) if !is_pattern => Some(Rewrite::Whole(target.clone())),
            (None, None, None) | (Some(_), ..) => None,
            (None, strip, add) => Some(Rewrite::Prefix {
                strip: strip.clone().unwrap_or_default(),
                add: add.clone().unwrap_or_default(),
            }),
        };
        if self.redirect.is_none() && self.redirect_status.is_some() {
            say(unfit("redirect-status", "it does nothing without redirect"));
        }
        self.fit_limits(say);
        let cors = self.cors(say);
        let access = self.access(say);
        settings.canary_service = self.canary_service(say);
        let error_pages = self.error_pages(&settings.namespace, say);
        let mirror = self.mirror(&settings.namespace, say);
        let rate = self.rate.filter(|rate| *rate > 0);
        if rate.is_none() && self.rate_after.is_some() {
            say(unfit("reply-rate-after", "it does nothing without reply-rate"));
        }
        let removed = self.remove_requests.drain(..);
        let removed = removed.map(|name| (name, Template::default()));
        let set: Vec<Line> = removed.chain(self.set_requests.drain(..)).collect();
        let edits = [&mut self.remove_replies, &mut self.set_replies, &mut self.add_replies];
        let edits: Vec<Edit> = edits.into_iter().flat_map(std::mem::take).collect();
        Steps {
            body: self.body,
            connections: self.connections(settings.identity),
            rates: self.rates(settings.identity),
            cors,
            redirect: self.redirect.take().map(|to| {
                Before::Redirect(Arc::new(Redirection {
                    status: self.redirect_status.unwrap_or(StatusCode::FOUND),
                    to,
                    relative: true,
                    host: None,
                    with_port: false,
                }))
            }),
            access,
            fields: Fields {
                set,
                added: std::mem::take(&mut self.add_requests),
                edits,
                places: std::mem::take(&mut self.places),
            },
            paths: Paths {
                are_patterns: is_pattern,
                rewrite: self.rewrite.take().filter(|_| is_pattern),
                are_whole: true,
            },
            rewrite: rewrite.map(Arc::new),
            allow: self.allow,
            deny: self.deny,
            logged: self.logged,
            error_pages,
            mirror,
            pace: rate.map(|rate| Pace {
                rate,
                after: self.rate_after.unwrap_or(0),
            }),
        }
    }

    /// Leaves out what no limit uses.
    fn fit_limits(&mut self, say: &mut dyn FnMut(Unfit)) {
        let lone = |annotation| Unfit {
            annotation,
            message: "it does nothing without rate-limit".to_owned(),
            closes: false,
        };
        if self.rates.is_empty() {
            if self.burst.is_some() {
                say(lone("rate-limit-burst"));
            }
            if self.key != RateKey::Client {
                say(lone("rate-limit-key"));
            }
        }
    }

    fn rates(&self, id: u64) -> Option<Before> {
        let limits = self.rates.iter().filter_map(|given| value::rate(*given, self.burst));
        let limits: Box<[Rate]> = limits.collect();
        (!limits.is_empty()).then(|| {
            Before::Rates(Arc::new(Rates {
                id: id.rotate_left(1),
                exempt: self.exempt.clone().unwrap_or_default(),
                limits,
                key: self.key.clone(),
                status: StatusCode::TOO_MANY_REQUESTS,
                native: true,
            }))
        })
    }

    fn connections(&self, id: u64) -> Option<Before> {
        let most = self.under_way?;
        Some(Before::Connections(Arc::new(Connections {
            id: id.rotate_left(1),
            exempt: self.exempt.clone().unwrap_or_default(),
            most,
            status: StatusCode::TOO_MANY_REQUESTS,
            native: true,
        })))
    }

    fn cors(&mut self, say: &mut dyn FnMut(Unfit)) -> Option<Arc<Cors>> {
        const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
        const HEADERS: HeaderValue =
            HeaderValue::from_static("Accept, Authorization, Content-Type, Range, X-Requested-With");
        let origins = self.origins.take()?;
        if origins == Origins::Any && self.credentials {
            let message = "browsers refuse credentials where cors-allow-origin is *, so they are not allowed: name the \
                           origins";
            say(Unfit {
                annotation: "cors-allow-credentials",
                message: message.to_owned(),
                closes: false,
            });
            self.credentials = false;
        }
        Some(Arc::new(Cors {
            origins,
            methods: self.methods.take().unwrap_or(METHODS),
            headers: self.headers.take().unwrap_or(HEADERS),
            expose: self.expose.take(),
            credentials: self.credentials,
            max_age: self.max_age.unwrap_or(MAX_AGE).into(),
            native: true,
        }))
    }

    fn access(&mut self, say: &mut dyn FnMut(Unfit)) -> AccessWanted {
        let auth = std::mem::take(&mut self.auth);
        let keys = "auth-jwt-secret, auth-jwt-configmap or auth-jwt-url";
        let alone = [
            (
                "auth-jwt-audience",
                !auth.audiences.is_empty() && auth.keys.is_none(),
                keys,
            ),
            ("auth-jwt-claims", !auth.claims.is_empty() && auth.keys.is_none(), keys),
            ("auth-jwt-cookie", auth.cookie.is_some() && auth.keys.is_none(), keys),
            ("auth-jwt-issuer", !auth.issuers.is_empty() && auth.keys.is_none(), keys),
            ("auth-jwt-leeway", auth.leeway.is_some() && auth.keys.is_none(), keys),
            (
                "auth-basic-realm",
                auth.realm.is_some() && auth.secret.is_none(),
                "auth-basic-secret",
            ),
            (
                "auth-digest-realm",
                auth.digest_realm.is_some() && auth.digest.is_none(),
                "auth-digest-secret",
            ),
            (
                "auth-basic-forward",
                auth.is_kept && auth.secret.is_none(),
                "auth-basic-secret",
            ),
            ("auth-method", auth.method.is_some() && auth.url.is_none(), "auth-url"),
            (
                "auth-response-headers",
                !auth.fields.is_empty() && auth.url.is_none(),
                "auth-url",
            ),
            ("auth-signin", auth.sign_in.is_some() && auth.url.is_none(), "auth-url"),
            (
                "auth-timeout",
                auth.patience.is_some() && auth.url.is_none(),
                "auth-url",
            ),
        ];
        // Whoever says how clients are asked wants them to be asked.
        for (annotation, _, needed) in alone.iter().filter(|(_, is_alone, _)| *is_alone) {
            say(Unfit {
                annotation,
                message: format!("it needs {PREFIX}{needed}, which is missing or wrong"),
                closes: true,
            });
        }
        let basic = auth.secret.map(|secret| BasicWanted {
            named_by: SECRET,
            secret,
            map: false,
            challenge: super::nginx::auth::challenge(auth.realm.as_deref().unwrap_or("Restricted")),
            is_kept: auth.is_kept,
        });
        let digest = auth.digest.map(|secret| DigestWanted {
            named_by: DIGEST,
            secret,
            map: false,
            realm: auth.digest_realm,
        });
        let shown = [auth.keys.is_some(), digest.is_some(), basic.is_some()];
        if shown.iter().filter(|is_shown| **is_shown).count() > 1 && !auth.any {
            say(Unfit {
                annotation: if basic.is_some() {
                    "auth-basic-secret"
                } else {
                    "auth-digest-secret"
                },
                message:
                    "a request has one Authorization, which cannot be more than one of a password, a digest and a \
                          token: use auth-satisfy: any"
                        .to_owned(),
                closes: true,
            });
        }
        let jwt = auth.keys.map(|(named_by, kind, name)| JwtWanted {
            named_by,
            from: auth.key_set.filter(|_| kind == Kind::Service),
            kind,
            name,
            issuers: auth.issuers,
            audiences: auth.audiences,
            cookie: auth.cookie,
            leeway: auth.leeway.unwrap_or(LEEWAY),
            claims: auth.claims,
        });
        let sign_in = auth
            .sign_in
            .as_deref()
            .and_then(|place| super::nginx::auth::sign_in_with(place, "rd"));
        let external = auth.url.map(|url| ExternalWanted {
            named_by: URL,
            backend: url.backend,
            host: url.authority,
            secure: url.secure,
            target: url.target,
            tells_more: auth.method.is_some(),
            method: auth.method.unwrap_or(Method::GET),
            patience: auth.patience.unwrap_or(PATIENCE),
            sign_in,
            fields: auth.fields,
            returns_to: None,
            always_sets_cookies: false,
            told: RequestFields::default(),
            remembered: None,
            needs_flag: true,
        });
        let is_asked = basic.is_some() || digest.is_some() || jwt.is_some() || external.is_some();
        let any = auth.any && is_asked;
        let addresses = any.then(|| self.allow.take()).flatten();
        AccessWanted {
            basic,
            digest,
            jwt,
            external,
            any,
            // Addresses that are denied stay out.
            addresses: addresses.map(|allow| {
                Arc::new(Addresses {
                    allow: Some(allow),
                    deny: Networks::default(),
                })
            }),
        }
    }

    fn error_pages(&mut self, namespace: &Arc<str>, say: &mut dyn FnMut(Unfit)) -> Option<ErrorPagesWanted> {
        let (statuses, from) = (self.errors.take(), self.error_service.take());
        let lone = match (&statuses, &from) {
            (Some(_), None) => Some((
                "error-pages",
                "it needs error-pages-service, so errors stay as they are",
            )),
            (None, Some(_)) => Some(("error-pages-service", "it does nothing without error-pages")),
            (None, None) if self.errors_of_pods.is_some() => {
                Some(("error-pages-of-pods", "it does nothing without error-pages"))
            }
            _ => None,
        };
        if let Some((annotation, message)) = lone {
            say(Unfit {
                annotation,
                message: message.to_owned(),
                closes: false,
            });
        }
        Some(ErrorPagesWanted {
            statuses: statuses?,
            of_pods: self.errors_of_pods.unwrap_or(true),
            named_by: Some("narthex.io/error-pages-service"),
            from: Some(backend(from?, namespace)),
        })
    }

    fn mirror(&mut self, namespace: &Arc<str>, say: &mut dyn FnMut(Unfit)) -> Option<MirrorWanted> {
        let Some(to) = self.mirror.take() else {
            let lone = [
                ("mirror-body", self.mirror_body.is_some()),
                ("mirror-share", self.mirror_share.is_some()),
            ];
            for (annotation, _) in lone.into_iter().filter(|(_, is_said)| *is_said) {
                say(Unfit {
                    annotation,
                    message: "it does nothing without mirror-service".to_owned(),
                    closes: false,
                });
            }
            return None;
        };
        Some(MirrorWanted {
            named_by: "annotation narthex.io/mirror-service",
            to: backend(to, namespace),
            target: None,
            host: None,
            body: self.mirror_body.unwrap_or(true),
            share: Share {
                part: self.mirror_share.unwrap_or(100),
                whole: 100,
            },
        })
    }

    fn canary_service(&mut self, say: &mut dyn FnMut(Unfit)) -> Option<CanaryService> {
        let canary = std::mem::take(&mut self.canary);
        let says_more = canary.weight.is_some() || canary.header.is_some() || canary.cookie.is_some();
        let Some((service, port)) = canary.service else {
            if says_more || canary.value.is_some() {
                say(Unfit {
                    annotation: "canary-service",
                    message: "it is missing or wrong, so the other annotations of the canary do nothing".to_owned(),
                    closes: false,
                });
            }
            return None;
        };
        if !says_more {
            let message = "it gets no requests without canary-weight, canary-header or canary-cookie";
            say(Unfit {
                annotation: "canary-service",
                message: message.to_owned(),
                closes: false,
            });
        }
        let header = canary.value.map_or(CanaryHeader::Word, CanaryHeader::Value);
        Some(CanaryService {
            service,
            port,
            rule: Arc::new(CanaryRule {
                header: canary.header.map(|name| (name, header)),
                cookie: canary.cookie,
                weight: canary.weight.unwrap_or(0),
                total: 100,
                forgets_sessions: false,
            }),
        })
    }
}

/// A port of a Service that is spoken to by HTTP.
fn backend((service, port): Named, namespace: &Arc<str>) -> BackendKey {
    BackendKey {
        service,
        port: port.unwrap_or(PortRef::First),
        ..BackendKey::none(namespace)
    }
}

impl Steps {
    /// The annotations of ingress-nginx for which these take their place.
    pub fn replaced(&self) -> impl Iterator<Item = &'static str> {
        let all: [(bool, &[&str]); 10] = [
            (
                self.rewrite.is_some() || self.paths.rewrite.is_some(),
                &["rewrite-target"],
            ),
            (self.body.is_some(), &["proxy-body-size"]),
            (
                self.allow.is_some(),
                &["whitelist-source-range", "allowlist-source-range"],
            ),
            (self.deny.is_some(), &["denylist-source-range"]),
            (self.connections.is_some(), &["limit-connections"]),
            (self.rates.is_some(), &["limit-rps", "limit-rpm"]),
            (self.cors.is_some(), &["enable-cors"]),
            (self.redirect.is_some(), &["permanent-redirect", "temporal-redirect"]),
            (self.error_pages.is_some(), &["custom-http-errors"]),
            (self.mirror.is_some(), &["mirror-target"]),
        ];
        all.into_iter()
            .filter(|(is_own, _)| *is_own)
            .flat_map(|(_, names)| names)
            .copied()
    }

    /// Puts them into narthex's own order: limits of bodies, addresses, limits of clients, preflight requests, redirects,
    /// authentication, fields, rewrites. The redirect to HTTPS comes before all of them.
    pub fn settle(self, settings: &mut Settings) {
        let addresses = (self.allow.is_some() || self.deny.is_some()).then(|| {
            Before::Addresses(Arc::new(Addresses {
                allow: self.allow,
                deny: self.deny.unwrap_or_default(),
            }))
        });
        let fields = self.fields.changes();
        let chain = &mut settings.chain;
        let behind = [
            self.body.filter(|most| *most > 0).map(Before::BodyLimit),
            addresses,
            self.connections,
            self.rates,
            self.cors.clone().map(Before::Cors),
            self.redirect,
        ];
        chain.behind = behind.into_iter().flatten().collect();
        let inner = [fields.clone().map(Before::Fields), self.rewrite.map(Before::Rewrite)];
        chain.inner = inner.into_iter().flatten().collect();
        let reply = fields.filter(|changes| !changes.reply.is_empty()).map(After::Fields);
        let pace = self.pace.map(After::Pace);
        chain.after = reply
            .into_iter()
            .chain(self.cors.map(After::Cors))
            .chain(pace)
            .collect();
        chain.is_unlogged = self.logged == Some(false);
        settings.access = self.access;
        settings.paths = self.paths;
        settings.error_pages = self.error_pages;
        settings.mirrors = self.mirror.into_iter().collect();
    }
}
