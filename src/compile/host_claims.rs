//! Whose a host is where Routes want it: the namespace of the oldest object that claims something of it has all of it.
//!
//! Ingresses alone share a host by paths. An Ingress loses its host only to an older Route, so that nobody takes a host from
//! others by making a Route for it; a Route loses it to any older object of another namespace.

use super::State;
use super::claimants::hosts;
use super::claims::Claimed;
use super::secrets::Known as KnownSecret;
use crate::dialect::reading::{Claim, Reading, Spot, TlsEnds};
use crate::model::object::Meta;
use crate::model::{Code, Diagnostic, Field, FieldForm, Kind, ObjectRef, Origin, Seniority};
use crate::table::route::route_key;
use crate::table::{Answer, Destination, HostPattern, PathKind, PathPattern, Policies, Route, RouteAdmission, Served};
use http::StatusCode;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// An object as read, and whose it is.
type Read<'i> = (Reading, &'i Meta);

/// An object that claims something of a host, in the order of age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    seniority: Seniority,
    namespace: Arc<str>,
    name: Arc<str>,
    kind: Kind,
    /// Where TLS ends, if it says so and is a Route.
    tls: Option<TlsEnds>,
}

impl Claimant {
    fn object(&self) -> ObjectRef {
        ObjectRef::new(self.kind, self.namespace.clone(), self.name.clone())
    }
}

/// The Ingresses and Routes that claim a host, for each host that a Route claims.
#[derive(Debug, Default)]
pub(super) struct HostClaims {
    hosts: HashMap<HostPattern, BTreeSet<Claimant>>,
    /// The hosts for which some Route passes TLS through.
    passing: HashSet<HostPattern>,
    /// Routes of which it is to be said again whether they are admitted.
    stale: HashSet<ObjectRef>,
}

impl HostClaims {
    fn owner(&self, host: &HostPattern) -> Option<&Claimant> {
        if self.hosts.is_empty() {
            return None;
        }
        self.hosts.get(host)?.first()
    }

    /// Whether a host is another namespace's than that of an object that claims something of it.
    fn denies(&self, host: &HostPattern, object: &ObjectRef) -> bool {
        self.owner(host).is_some_and(|owner| {
            owner.namespace != object.namespace && (object.kind == Kind::Route || owner.kind == Kind::Route)
        })
    }

    /// The oldest Route that says where TLS for a host ends, if some Route passes TLS through there. TLS of a host ends in one
    /// place only, so all that say otherwise are excluded.
    fn decides_tls(&self, host: &HostPattern, any_namespace: bool) -> Option<&Claimant> {
        if !self.passing.contains(host) {
            return None;
        }
        let owner = self.owner(host)?;
        let mut all = self.hosts.get(host)?.iter();
        all.find(|other| other.tls.is_some() && (any_namespace || other.namespace == owner.namespace))
    }
}

/// The field of a Route that says which host it is for.
const HOST: Field = Field::new(&FieldForm {
    text: "spec.host",
    list: "spec",
    host: "spec.host",
});

impl State {
    /// Whether a claim counts for nothing, because its host is another namespace's.
    pub(super) fn is_denied(&self, spot: &Spot, claimed: &Claimed) -> bool {
        self.is_strangers(spot.host(), claimed.owner()) || self.excluding(spot.host(), claimed.owner()).is_some()
    }

    /// The older Route because of which another one's TLS does not go with its host: one of the two passes it through.
    fn excluding(&self, host: &HostPattern, object: &ObjectRef) -> Option<&Claimant> {
        let first = self.host_claims.decides_tls(host, self.options.routes.any_namespace)?;
        let mut all = self.host_claims.hosts.get(host)?.iter();
        let own = all.find(|other| {
            other.name == object.name && other.namespace == object.namespace && other.kind == object.kind
        })?;
        let fits =
            own == first || own.tls.is_none() || (own.tls, first.tls) == (Some(TlsEnds::Here), Some(TlsEnds::Here));
        (!fits).then_some(first)
    }

    /// Whether a Route is excluded from a host by one that passes TLS through, or because it does so itself.
    pub(super) fn is_excluded(&self, host: &HostPattern, object: &ObjectRef) -> bool {
        self.excluding(host, object).is_some()
    }

    /// Whether a host is another namespace's than that of an object that claims something of it.
    pub(super) fn is_strangers(&self, host: &HostPattern, object: &ObjectRef) -> bool {
        !self.options.routes.any_namespace && self.host_claims.denies(host, object)
    }

    /// Notes which hosts an object claims, and gives back those that are another's now, each with all that claim it.
    pub(super) fn claim_hosts(
        &mut self,
        object: &ObjectRef,
        old: Option<&Read<'_>>,
        new: Option<&Read<'_>>,
    ) -> Vec<(HostPattern, Vec<ObjectRef>)> {
        if self.host_claims.hosts.is_empty() && object.kind != Kind::Route {
            return Vec::new();
        }
        let of = |read: Option<&Read<'_>>| read.map(|(reading, _)| hosts(reading)).unwrap_or_default();
        let (before, after) = (of(old), of(new));
        let me = new.map(|(reading, _)| Claimant {
            seniority: reading.seniority,
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            kind: object.kind,
            tls: reading.admission.as_ref().and_then(|asked| asked.tls),
        });
        let any = self.options.routes.any_namespace;
        let mut changed = Vec::new();
        for host in before.union(&after) {
            let owner = self.host_claims.owner(host).cloned();
            let decided = self.host_claims.decides_tls(host, any).cloned();
            let mut known = match self.host_claims.hosts.remove(host) {
                Some(known) => known,
                None if object.kind == Kind::Route && after.contains(host) => self.known_claimants(host),
                None => continue,
            };
            known.retain(|other| {
                other.name != object.name || other.namespace != object.namespace || other.kind != object.kind
            });
            known.extend(me.clone().filter(|_| after.contains(host)));
            let all: Vec<ObjectRef> = known.iter().map(Claimant::object).collect();
            let passes = known.iter().any(|other| other.tls == Some(TlsEnds::AtPod));
            let first = known
                .first()
                .filter(|_| known.iter().any(|other| other.kind == Kind::Route))
                .cloned();
            if first.is_some() {
                self.host_claims.hosts.insert(host.clone(), known);
            }
            if passes {
                self.host_claims.passing.insert(host.clone());
            } else {
                self.host_claims.passing.remove(host);
            }
            if first != owner || self.host_claims.decides_tls(host, any) != decided.as_ref() {
                changed.push((host.clone(), all));
            }
            self.patterns.mark(host);
            // What is said of objects of other kinds depends on who is there.
            self.stale.extend(self.contenders(host));
        }
        changed
    }

    /// The objects that claim something of a host before the first Route does.
    fn known_claimants(&self, host: &HostPattern) -> BTreeSet<Claimant> {
        let objects = self.claimants_of(host).into_iter();
        let known = objects.filter_map(|object| Some((self.claimants.get(&object)?.seniority(), object)));
        let known = known.map(|(seniority, object)| Claimant {
            seniority,
            namespace: object.namespace,
            name: object.name,
            kind: object.kind,
            tls: None,
        });
        known.collect()
    }

    /// The oldest object that claims something of a host, and the oldest of another kind and namespace.
    fn contenders(&self, host: &HostPattern) -> Vec<ObjectRef> {
        let Some(known) = self.host_claims.hosts.get(host) else {
            return Vec::new();
        };
        let first = known.first().into_iter();
        first.chain(self.contender(host)).map(Claimant::object).collect()
    }

    /// The oldest object that loses a host to its owner, which is of another kind.
    fn contender(&self, host: &HostPattern) -> Option<&Claimant> {
        let known = self.host_claims.hosts.get(host)?;
        let owner = known.first()?;
        known
            .iter()
            .find(|other| other.kind != owner.kind && other.namespace != owner.namespace)
    }

    /// Settles everything anew that objects claim of a host: it is another's.
    pub(super) fn settle_claims_of(&mut self, host: &HostPattern, all: Vec<ObjectRef>) {
        let mut spots = HashSet::new();
        for known in all.iter().filter_map(|object| self.claimants.get(object)) {
            let reading = known
                .claimant
                .read(self.options.context(known.dialect, known.beside.as_ref()));
            let claims = reading.claims.into_iter().map(|claim| claim.spot);
            spots.extend(claims.filter(|spot| spot.host() == host));
        }
        for spot in spots {
            self.settle_spot(spot, |_| {});
        }
        self.stale.extend(all.iter().cloned());
        let routes = all.into_iter().filter(|object| object.kind == Kind::Route);
        self.host_claims.stale.extend(routes);
    }

    /// What answers the paths of a host that none of its Routes lists: nobody. OpenShift's router says 503.
    pub(super) fn route_rest(&self, host: &HostPattern) -> Option<Arc<Route>> {
        let known = self.host_claims.hosts.get(host)?;
        let is_admitted =
            |claimant: &&Claimant| claimant.kind == Kind::Route && !self.is_strangers(host, &claimant.object());
        let first = known.iter().find(is_admitted)?;
        let path = PathPattern {
            kind: PathKind::Prefix,
            path: "/".into(),
        };
        let table = self.table.host(host)?;
        if table.default.is_some() || table.paths.get(&path).is_some() {
            return None;
        }
        Some(Arc::new(Route {
            key: route_key(None, host, Some(&path), None),
            origin: Origin {
                object: first.object(),
                field: HOST,
            },
            seniority: first.seniority,
            host: host.clone(),
            path: Some(path),
            keep_slashes: false,
            when: None,
            to: Destination::Answer(Arc::new(Answer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                location: None,
            })),
            policies: Arc::new(Policies::default()),
            shadows: Box::default(),
        }))
    }

    /// Why an object as a whole is not admitted, given the Secrets that it names; absent where it is, or where objects of its
    /// kind are not admitted as a whole.
    pub(super) fn refused(&self, reading: &Reading, meta: &Meta) -> Option<(Code, String, String)> {
        let admission = reading.admission.as_ref()?;
        if let Some(code) = admission.refused {
            return Some((code, String::new(), String::new()));
        }
        let entry = reading.tls.first()?;
        let secret = self.secrets.get(&(meta.namespace.clone(), entry.secret.clone()));
        let refuse = |message: String| Some((Code::ExtendedValidationFailed, entry.secret_field(), message));
        let Some(certificate) = secret.and_then(KnownSecret::certificate) else {
            let fault = secret.and_then(KnownSecret::fault);
            let none = || format!("Secret \"{}\" does not exist", entry.secret);
            return refuse(format!(
                "{}, so the Route is not served",
                fault.map_or_else(none, str::to_owned)
            ));
        };
        let (_, host) = entry.hosts.first()?;
        if certificate.covers(host) {
            return None;
        }
        let names = super::certificate::list_names(certificate);
        refuse(format!(
            "the certificate is for {names}, not for {host}, so the Route is not served"
        ))
    }

    /// What is said of an object's hosts where Routes want them.
    pub(super) fn diagnose_hosts(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        if self.host_claims.hosts.is_empty() {
            return;
        }
        if let Some(claim) = reading.claims.first()
            && let host = claim.spot.host()
            && !self.is_strangers(host, object)
            && let Some(first) = self.excluding(host, object)
        {
            let ends = match first.tls {
                Some(TlsEnds::AtPod) => "passed through",
                _ => "ended by narthex",
            };
            let message = format!(
                "TLS for {host} is {ends} as {} says, which is older, so this Route is not served",
                first.object()
            );
            said.push(Diagnostic::new(
                Code::HostAlreadyClaimed,
                object,
                "spec.tls.termination",
                message,
            ));
        }
        if self.options.routes.any_namespace {
            return;
        }
        let mut told = HashSet::new();
        for claim in &reading.claims {
            let host = claim.spot.host();
            let Some(owner) = self.host_claims.owner(host).filter(|_| told.insert(host)) else {
                continue;
            };
            let field = claim.field.host();
            if self.host_claims.denies(host, object) {
                let message = format!(
                    "{host} belongs to namespace \"{}\", where {} is older, so this {} is not served there (with \
                     --route-ownership=any, namespaces share hosts by their paths)",
                    owner.namespace,
                    owner.object(),
                    object.kind
                );
                said.push(Diagnostic::new(Code::HostAlreadyClaimed, object, field, message));
            } else if owner.object() == *object
                && let Some(other) = self.contender(host)
            {
                let message = format!(
                    "{} wants {host} too, and is not served there: it is younger",
                    other.object()
                );
                said.push(Diagnostic::new(Code::HostContested, object, field, message));
            }
        }
    }

    /// Notes that of the Routes in a list of claims it is to be said again whether they are admitted.
    pub(super) fn note_admissions(&mut self, list: &[Claimed]) {
        let routes = list
            .iter()
            .map(Claimed::owner)
            .filter(|owner| owner.kind == Kind::Route);
        self.host_claims.stale.extend(routes.cloned());
    }

    /// Notes that of a Route it is to be said again whether it is admitted.
    pub(super) fn note_admission(&mut self, object: &ObjectRef) {
        if object.kind == Kind::Route {
            self.host_claims.stale.insert(object.clone());
        }
    }

    /// Brings up to date what is said of whether Routes are admitted.
    pub(super) fn settle_admissions(&mut self) {
        for object in std::mem::take(&mut self.host_claims.stale) {
            let served = self.served_route(&object);
            self.changed |= self.table.set_served(&object, served);
        }
    }

    /// A Route with the reason for which it is not admitted, if it is not; absent if it is another router's.
    fn served_route(&self, object: &ObjectRef) -> Option<Served> {
        let known = self.claimants.get(object).filter(|known| known.served)?;
        let context = self.options.context(known.dialect, known.beside.as_ref());
        let reading = known.claimant.read(context);
        let asked = reading.admission.as_ref()?;
        let has_it = |claim: &Claim| {
            self.holder(&claim.spot)
                .is_some_and(|route| route.origin.object == *object)
        };
        // Of a Route that passes TLS through, the second claim is only what becomes of plain HTTP.
        let refused = if reading.claims.first().is_some_and(has_it) {
            None
        } else {
            let said = self.diagnose(object);
            let why = said.into_iter().find(|one| reason(one.code).is_some());
            let reason_of = |one: &Diagnostic| reason(one.code).unwrap_or(NOT_ADMITTED);
            Some(why.map_or((NOT_ADMITTED, String::new()), |one| (reason_of(&one), one.message)))
        };
        Some(Served {
            object: object.clone(),
            created: known.claimant.meta().created,
            revision: known.claimant.revision().clone(),
            admission: Some(Arc::new(RouteAdmission {
                host: asked.host.clone(),
                wildcard: asked.wildcard,
                refused,
            })),
        })
    }
}

/// The reason for which there is no better word.
const NOT_ADMITTED: &str = "RouteNotAdmitted";

/// The reason in a Route's status for what is wrong with it; absent if it is admitted in spite of it.
fn reason(code: Code) -> Option<&'static str> {
    match code {
        Code::HostAlreadyClaimed | Code::NoHostValue | Code::ExtendedValidationFailed => Some(code.name()),
        Code::RouteNotAdmitted | Code::InvalidRoute | Code::InvalidHost | Code::InvalidPath | Code::HostNotOwned => {
            Some(NOT_ADMITTED)
        }
        _ => None,
    }
}
