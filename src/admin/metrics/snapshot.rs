//! All numbers, read once.

use super::super::Admin;
use super::process::Process;
use crate::config::MetricsLabel;
use crate::control::lock;
use crate::model::RouteKey;
use crate::table::{PodSetId, Table};
use crate::telemetry::traffic::{Reason, Refusals, Times, Totals};
use foldhash::HashMap;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

/// What stands for all that are not shown apart.
const OTHER: &str = "(other)";

/// What is shown apart, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct Labelled {
    /// `--metrics-labels`.
    pub labels: Vec<MetricsLabel>,
    /// `--metrics-series`.
    pub most: usize,
}

/// Rules of one Ingress that lead to one Service.
#[derive(Debug)]
pub struct Rule {
    namespace: String,
    ingress: String,
    service: String,
    /// Its numbers.
    pub totals: Totals,
    /// How many requests it refused, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
}

impl Rule {
    /// Its labels.
    pub fn labels(&self) -> [(&str, &str); 3] {
        [
            ("namespace", &self.namespace),
            ("ingress", &self.ingress),
            ("service", &self.service),
        ]
    }

    /// Version, class and count of its replies, where there were any.
    pub fn codes(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        let versions = self.totals.codes.iter().enumerate();
        versions.flat_map(|(version, classes)| {
            let classes = classes.iter().enumerate().filter(|(_, count)| **count > 0);
            classes.map(move |(class, count)| (version, class, *count))
        })
    }
}

/// One endpoint of a Service.
#[derive(Debug, Default)]
pub struct Endpoint {
    namespace: String,
    service: String,
    port: String,
    pod: String,
    address: String,
    /// Requests sent.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// How often it was set aside.
    pub ejections: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Connections to it that are kept.
    pub kept: u64,
    /// Whether it is set aside now.
    pub aside: bool,
}

impl Endpoint {
    /// Its labels.
    pub fn labels(&self) -> [(&str, &str); 5] {
        [
            ("namespace", &self.namespace),
            ("service", &self.service),
            ("port", &self.port),
            ("pod", &self.pod),
            ("address", &self.address),
        ]
    }
}

/// Everything that is shown.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) shards: Vec<Vec<(&'static str, u64)>>,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) failed: BTreeMap<Reason, u64>,
    pub(super) gauges: Vec<(&'static str, &'static str, f64)>,
    pub(super) counters: Vec<(&'static str, &'static str, u64)>,
    pub(super) watches: Vec<(String, f64)>,
    pub(super) changes: Times,
    pub(super) certificates: Vec<(String, f64)>,
    pub(super) rules: Vec<Rule>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) process: Process,
}

impl Admin {
    /// Reads all numbers.
    #[expect(clippy::cast_precision_loss, reason = "counts, sizes and times")]
    pub fn snapshot(&self) -> Snapshot {
        // The lock is the control task's too, so nothing is written meanwhile.
        let (shards, commons, open, to_pods, refused, short, listeners, listener_failures) = {
            let server = lock(&self.server);
            let (open, refused) = (server.open_connections(), server.connections_refused());
            let short = server.is_short_of_memory();
            let to_pods = server.pod_connections();
            (
                server.counters().to_vec(),
                server.commons(),
                open,
                to_pods,
                refused,
                short,
                server.sockets().open(),
                server.sockets().failures(),
            )
        };
        let table = self.shared.tables.load_full();
        let mut statuses = BTreeMap::new();
        for (code, count) in shards.iter().flat_map(|shard| shard.codes.each()) {
            *statuses.entry(code).or_default() += count;
        }
        let mut failed = BTreeMap::new();
        for shard in &shards {
            shard.traffic.collect_failed(&mut failed);
        }
        let wants = |label| self.around.metrics.labels.contains(&label);
        let rules = if wants(MetricsLabel::Route) {
            let (routes, rest) = super::super::sampler::totals(&shards);
            let mut refusals = Refusals::default();
            shards
                .iter()
                .for_each(|shard| shard.traffic.collect_refused(&mut refusals));
            rules(&table, (&routes, &refusals), rest, self.around.metrics.most)
        } else {
            Vec::new()
        };
        let endpoints = if wants(MetricsLabel::Endpoint) {
            busiest(endpoints(&table, &commons), self.around.metrics.most)
        } else {
            Vec::new()
        };
        let in_flight: u64 = shards.iter().map(|shard| shard.in_flight.get()).sum();
        let watches = self.shared.watches.snapshot().into_iter();
        let watches = watches.filter_map(|(name, watch)| {
            // A folder's name may hold anything.
            let name = name.replace(['\\', '"', '\n'], "_");
            Some((name, watch.last_event?.elapsed().as_secs_f64()))
        });
        let mut certificates = BTreeMap::new();
        for (_, set) in table.all_certificates() {
            for one in set.iter() {
                let ends = certificates.entry(one.secret.to_string()).or_insert(one.not_after.0);
                *ends = one.not_after.0.min(*ends);
            }
        }
        Snapshot {
            shards: shards.iter().map(|shard| shard.each().collect()).collect(),
            statuses,
            failed,
            gauges: vec![
                (
                    "narthex_ready",
                    "1 if the routing table is complete and requests are served",
                    f64::from(u8::from(self.shared.is_ready())),
                ),
                ("narthex_listeners", "Listeners that are open", listeners as f64),
                ("narthex_open_connections", "Open client connections", open as f64),
                (
                    "narthex_pod_connections",
                    "Connections to pods, idle or in use",
                    to_pods as f64,
                ),
                ("narthex_requests_in_flight", "Requests in flight", in_flight as f64),
                (
                    "narthex_memory_limit_exceeded",
                    "1 while most requests are refused because of --max-memory",
                    f64::from(u8::from(short)),
                ),
                (
                    "narthex_table_generation",
                    "Generation of the live routing table",
                    table.generation as f64,
                ),
                (
                    "narthex_table_routes",
                    "Routes in the routing table",
                    table.routes().count() as f64,
                ),
                ("narthex_table_hosts", "Hosts with routes", table.hosts().count() as f64),
                (
                    "narthex_table_backends",
                    "Backends of routes",
                    table.backends().count() as f64,
                ),
                (
                    "narthex_table_endpoints",
                    "Endpoints of all backends",
                    table.backends().map(|backend| backend.endpoints.len()).sum::<usize>() as f64,
                ),
            ],
            counters: vec![
                (
                    "narthex_connections_refused",
                    "Client connections refused because of --max-connections",
                    refused,
                ),
                (
                    "narthex_listener_failures",
                    "Attempts to listen on an address that failed",
                    listener_failures,
                ),
                (
                    "narthex_table_swaps",
                    "Routing tables that became live",
                    self.shared.swaps.load(Ordering::Relaxed),
                ),
            ],
            watches: watches.collect(),
            changes: self.shared.changes.times(),
            certificates: certificates
                .into_iter()
                .map(|(secret, ends)| (secret, ends as f64))
                .collect(),
            rules,
            endpoints,
            process: Process::now(self.identity.started.as_second() as f64),
        }
    }
}

/// The busiest rules, and all others together with what had no rule.
fn rules(
    table: &Table,
    (routes, refusals): (&HashMap<RouteKey, Totals>, &Refusals),
    rest: Totals,
    most: usize,
) -> Vec<Rule> {
    type Numbers = (Totals, BTreeMap<&'static str, u64>);
    let mut by_labels: HashMap<(String, String, String), Numbers> = HashMap::default();
    let refused = |sums: &mut BTreeMap<&'static str, u64>, more: &BTreeMap<&'static str, u64>| {
        for (reason, count) in more {
            *sums.entry(reason).or_default() += count;
        }
    };
    let mut known = 0;
    for route in table.routes() {
        let Some(totals) = routes.get(&route.key) else { continue };
        known += 1;
        let service = table
            .backend_of(route)
            .map_or_else(String::new, |backend| backend.service.to_string());
        let object = &route.origin.object;
        let labels = (object.namespace.to_string(), object.name.to_string(), service);
        let numbers = by_labels.entry(labels).or_default();
        numbers.0.add(totals);
        if let Some(refusals) = refusals.get(&route.key) {
            refused(&mut numbers.1, refusals);
        }
    }
    let mut other = rest;
    if known < routes.len() {
        // Of routes that are gone, until they are forgotten.
        let live: std::collections::HashSet<RouteKey> = table.routes().map(|route| route.key).collect();
        for (_, totals) in routes.iter().filter(|(key, _)| !live.contains(*key)) {
            other.add(totals);
        }
    }
    let mut rules: Vec<Rule> = by_labels
        .into_iter()
        .map(|((namespace, ingress, service), (totals, refusals))| Rule {
            namespace,
            ingress,
            service,
            totals,
            refusals,
        })
        .collect();
    rules.sort_by(|a, b| (b.totals.requests(), a.labels()).cmp(&(a.totals.requests(), b.labels())));
    let mut other_refusals = BTreeMap::new();
    for rule in rules.drain(most.min(rules.len())..) {
        other.add(&rule.totals);
        refused(&mut other_refusals, &rule.refusals);
    }
    rules.push(Rule {
        namespace: String::new(),
        ingress: OTHER.to_owned(),
        service: String::new(),
        totals: other,
        refusals: other_refusals,
    });
    rules
}

/// Every endpoint that a backend leads to, once for each Service port, however many backends do.
fn endpoints(table: &Table, commons: &crate::upstream::Commons) -> Vec<Endpoint> {
    let used: HashSet<PodSetId> = table.backends().filter_map(|backend| backend.pods).collect();
    let each = table.all_pods().filter(|set| used.contains(&set.id)).flat_map(|set| {
        let common = commons.of(set.id);
        set.endpoints.iter().map(move |endpoint| {
            let mut sum = Endpoint {
                namespace: set.namespace.to_string(),
                service: set.service.to_string(),
                port: set.port.to_string(),
                pod: endpoint.pod.as_deref().unwrap_or_default().to_owned(),
                address: endpoint.address.to_string(),
                ..Endpoint::default()
            };
            for shard in common.traffic(&endpoint.identity()) {
                sum.requests += shard.requests.get();
                sum.failures += shard.failures.get();
                sum.ejections += shard.ejections.get();
                sum.in_flight += shard.in_flight.get();
                sum.kept += shard.kept.get();
                sum.aside |= shard.aside().is_some();
            }
            sum
        })
    });
    each.collect()
}

/// The busiest endpoints, and all others together.
fn busiest(mut endpoints: Vec<Endpoint>, most: usize) -> Vec<Endpoint> {
    if endpoints.len() <= most {
        return endpoints;
    }
    endpoints.sort_by(|a, b| (b.requests, a.labels()).cmp(&(a.requests, b.labels())));
    let mut other = Endpoint {
        service: OTHER.to_owned(),
        ..Endpoint::default()
    };
    for endpoint in endpoints.drain(most..) {
        other.requests += endpoint.requests;
        other.failures += endpoint.failures;
        other.ejections += endpoint.ejections;
        other.in_flight += endpoint.in_flight;
        other.kept += endpoint.kept;
        other.aside |= endpoint.aside;
    }
    endpoints.push(other);
    endpoints
}
