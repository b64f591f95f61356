//! What a state says, as text that can be compared.

use narthex::testing::compile::State;
use narthex::testing::model::Report;
use narthex::testing::table::{Backend, Certificate, Destination, HostPattern, Route, Table, canonical_path};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a table says, without what may differ: slots, generations, order.
#[derive(Debug, PartialEq)]
pub struct Contents {
    pub routes: BTreeSet<String>,
    pub ingresses: BTreeSet<String>,
    pub backends: BTreeSet<String>,
    pub certificates: BTreeSet<String>,
    pub wanted: BTreeSet<(Arc<str>, Arc<str>)>,
    pub report: Vec<String>,
}

fn certificate_text(certificate: &Certificate) -> String {
    let der = certificate.key.cert.first().unwrap();
    let sum = der
        .iter()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {:?} {sum:x}", certificate.secret, certificate.algorithm)
}

pub fn certificates(table: &Table) -> BTreeSet<String> {
    table
        .all_certificates()
        .map(|(name, set)| {
            let set: Vec<String> = set.iter().map(|certificate| certificate_text(certificate)).collect();
            format!("{name}: {}", set.join(" and "))
        })
        .chain(ASKED.iter().map(|name| shown(table, name)))
        .collect()
}

/// Names that clients ask for.
const ASKED: &[&str] = &[
    "a.example.com",
    "b.example.com",
    "c.example.com",
    "example.com",
    "shared.example.com",
];

/// What is shown for a name, and that it is of the owner's namespace where the name has an owner.
fn shown(table: &Table, name: &str) -> String {
    let host = table.host(&HostPattern::Exact(name.into()));
    let routes: Vec<_> = host.into_iter().flat_map(|host| host.routes()).collect();
    // Under --yield-empty the owner may be one that has yielded.
    let yields = routes.iter().any(|route| !route.shadows.is_empty());
    let owner = routes
        .iter()
        .map(|route| route.age())
        .min()
        .map(|age| age.origin.object.namespace);
    let set = table
        .certificates_for(Some(name))
        .into_iter()
        .flat_map(|set| set.iter());
    let secrets: Vec<String> = set
        .inspect(|one| {
            assert!(
                yields || owner.as_ref().is_none_or(|owner| *owner == one.secret.namespace),
                "{name} of {owner:?} is shown {}",
                one.secret
            );
        })
        .map(|one| certificate_text(one))
        .collect();
    format!("{name} is shown {}", secrets.join(" and "))
}

fn backend_text(backend: &Backend) -> String {
    format!(
        "{backend} {:?} {:?} {:?} {:?} {:?} {:?}",
        backend.guard,
        backend.tls,
        backend.state,
        backend.app_protocol,
        backend.settings.said(),
        backend.endpoints
    )
}

/// What a route may lead to beside its main backend.
fn beside(table: &Table, route: &Route) -> String {
    let Destination::Choice(choice) = &route.to else {
        return String::new();
    };
    let backends = choice.backends().skip(1).map(|id| {
        table
            .backend(id)
            .map_or("GONE".to_owned(), |backend| backend_text(backend))
    });
    let rule = choice.canary.as_ref().map(|canary| &canary.rule);
    format!("beside {:?} {rule:?}", backends.collect::<Vec<_>>())
}

/// The same without the places that backends have in a table, which depend on the order of the objects.
fn without_slots(text: &str) -> String {
    let mut parts = text.split("BackendId {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('}').map_or(part, |(_, rest)| rest)
    })
}

pub fn guards_of_hosts(table: &Table) -> impl Iterator<Item = String> {
    let guarded = table
        .hosts()
        .filter(|(_, host)| host.guards.is_some() || host.clients.is_some());
    guarded.map(|(pattern, host)| format!("{pattern} guarded {:?} {:?}", host.guards, host.clients))
}

/// Who answers for names that rules and annotations give, and paths in between.
fn answers(table: &Table) -> impl Iterator<Item = String> {
    let hosts = [
        "a.example.com",
        "www.a.example.com",
        "b.example.com",
        "c.example.com",
        "x.example.com",
        "x.example.org",
        "re7.example",
        "www.example.com",
    ];
    let asked = hosts
        .into_iter()
        .flat_map(|host| ["/", "/x", "/X/y", "/xy", "/none"].map(|path| (host, path)));
    asked.map(|(host, path)| {
        let canonical = canonical_path(path, false).unwrap();
        let found = table.lookup(Some(host), &canonical);
        let found = found.map(|route| format!("{:?} of {} {:?}", route.path, route.host, route.origin));
        format!("{host}{path}: {found:?}")
    })
}

pub fn contents(state: &mut State) -> Contents {
    let table = state.table();
    let routes = table
        .matches()
        .map(|found| {
            let route = found.route;
            let backend = table
                .backend_of(route)
                .map_or("GONE".to_owned(), |backend| backend_text(backend));
            let path = route.path.as_ref().map(ToString::to_string);
            let guard = table.guard_of(found);
            let policies = without_slots(&format!("{:?}", route.policies));
            format!(
                "{} {path:?} {} {:?} {:?} -> {backend} {} {policies} {guard:?} over {:?}",
                route.host,
                route.origin,
                route.seniority,
                route.keep_slashes,
                beside(&table, route),
                route.shadows
            )
        })
        .chain(guards_of_hosts(&table))
        .chain(answers(&table))
        .collect();
    Contents {
        routes,
        ingresses: table.all_served().map(|ingress| format!("{ingress:?}")).collect(),
        backends: table.backends().map(|backend| backend_text(backend)).collect(),
        certificates: certificates(&table),
        wanted: state.wanted_secrets(),
        report: report_text(state.refresh()),
    }
}

fn report_text(report: &Report) -> Vec<String> {
    report
        .iter()
        .map(|diagnostic| format!("{:?} {diagnostic}", diagnostic.code))
        .collect()
}
