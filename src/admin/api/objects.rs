//! Hosts, backends, endpoints and certificates.

use super::super::Admin;
use super::Status;
use super::routes::{EndpointInfo, endpoints_of, has_certificate, status};
use crate::control::lock;
use crate::model::Timestamp;
use crate::table::{BackendId, BackendState, Certificate, Protocol};
use rustls::SignatureAlgorithm;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use x509_parser::parse_x509_certificate;

/// How long before its end a certificate is worth a warning (`certificate-expires-soon`).
const SOON: i64 = 14 * 24 * 3600;

/// A host.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HostInfo {
    /// The name, `*.suffix`, or `*` for any.
    pub host: String,
    routes: usize,
    tls: bool,
    rate: f64,
    status: Status,
}

/// A backend.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BackendInfo {
    /// `namespace/service:port`.
    pub name: String,
    namespace: String,
    service: String,
    port: String,
    state: &'static str,
    status: Status,
    protocol: &'static str,
    tls: bool,
    routes: usize,
    endpoints: Vec<EndpointInfo>,
    settings: BTreeMap<&'static str, String>,
}

/// An endpoint, with its backend.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EndpointOf {
    /// The backend's name.
    pub backend: String,
    namespace: String,
    #[serde(flatten)]
    endpoint: EndpointInfo,
}

/// A certificate.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CertificateInfo {
    /// What it is for.
    pub names: Vec<String>,
    issuer: String,
    not_before: String,
    not_after: String,
    secret: Option<String>,
    namespace: String,
    kind: &'static str,
    hosts: Vec<String>,
    used_by: Vec<String>,
    status: Status,
}

/// Every host that has a rule.
pub fn hosts(admin: &Admin) -> Vec<HostInfo> {
    let table = admin.shared.tables.load();
    let report = admin.shared.report.load();
    let sampler = admin.sampler();
    let hosts = table.hosts().filter(|(_, host)| !host.is_empty());
    let each = hosts.map(|(pattern, host)| {
        let routes: Vec<_> = host.routes().collect();
        let worst = host.matches().map(|found| status(&report, &table, found).0);
        HostInfo {
            host: pattern.to_string(),
            routes: routes.len(),
            tls: routes.first().is_some_and(|route| has_certificate(&table, route)),
            rate: routes.iter().map(|route| sampler.route(route.key).rate).sum(),
            status: worst.max().unwrap_or_default(),
        }
    });
    each.collect()
}

/// Every backend that a rule leads to.
pub fn backends(admin: &Admin) -> Vec<BackendInfo> {
    let table = admin.shared.tables.load();
    let commons = lock(&admin.server).commons();
    let sampler = admin.sampler();
    let mut routes: HashMap<BackendId, usize> = HashMap::new();
    for route in table.routes() {
        for backend in route.to.backends() {
            *routes.entry(backend).or_default() += 1;
        }
    }
    let each = table.backends().map(|backend| BackendInfo {
        name: backend.to_string(),
        namespace: backend.namespace.to_string(),
        service: backend.service.to_string(),
        port: backend.port.to_string(),
        state: backend.state.reason(),
        status: match backend.state {
            BackendState::Ready => Status::Ok,
            BackendState::OnlyTerminating | BackendState::ReadinessUnknown => Status::Warning,
            _ => Status::Error,
        },
        protocol: match backend.protocol() {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        },
        tls: backend.tls.is_some(),
        routes: routes.get(&backend.id).copied().unwrap_or_default(),
        endpoints: endpoints_of(backend, &commons, &sampler),
        settings: backend.settings.said().into_iter().collect(),
    });
    each.collect()
}

/// Every endpoint of every backend.
pub fn endpoints(admin: &Admin) -> Vec<EndpointOf> {
    let each = backends(admin).into_iter().flat_map(|backend| {
        let (name, namespace) = (backend.name, backend.namespace);
        backend.endpoints.into_iter().map(move |endpoint| EndpointOf {
            backend: name.clone(),
            namespace: namespace.clone(),
            endpoint,
        })
    });
    each.collect()
}

/// Every certificate that is shown to somebody.
pub fn certificates(admin: &Admin) -> Vec<CertificateInfo> {
    let table = admin.shared.tables.load();
    let mut all: BTreeMap<(String, i64), (Arc<Certificate>, Vec<String>)> = BTreeMap::new();
    for (pattern, set) in table.all_certificates() {
        for one in set.iter() {
            let key = (format!("{} {:?}", one.secret, one.algorithm), one.not_after.0);
            let entry = all.entry(key).or_insert_with(|| (one.clone(), Vec::new()));
            entry.1.push(pattern.to_string());
        }
    }
    let now = Timestamp::now().0;
    let each = all.into_values().map(|(one, mut hosts)| {
        hosts.sort();
        let mut used_by: Vec<String> = table
            .routes()
            .filter(|route| hosts.contains(&route.host.to_string()))
            .map(|route| route.origin.object.to_string())
            .collect();
        used_by.sort();
        used_by.dedup();
        let left = one.not_after.0.saturating_sub(now);
        CertificateInfo {
            names: one.names.iter().map(ToString::to_string).collect(),
            issuer: issuer(&one).unwrap_or_default(),
            not_before: date(one.not_before),
            not_after: date(one.not_after),
            secret: Some(one.secret.to_string()),
            namespace: one.secret.namespace.to_string(),
            kind: match one.algorithm {
                SignatureAlgorithm::ECDSA => "ECDSA",
                SignatureAlgorithm::RSA => "RSA",
                _ => "other",
            },
            hosts,
            used_by,
            status: match left {
                ..=0 => Status::Error,
                left if left < SOON => Status::Warning,
                _ => Status::Ok,
            },
        }
    });
    each.collect()
}

fn issuer(certificate: &Certificate) -> Option<String> {
    let first = certificate.key.cert.first()?;
    let (_, parsed) = parse_x509_certificate(first).ok()?;
    Some(parsed.issuer().to_string())
}

fn date(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| String::new(), |time| time.to_string())
}
