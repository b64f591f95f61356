//! Golden tests of the compiler: one folder of `tests/compile/cases` per case, manifests in, table and report out.
//!
//! A file named `options` in a case says what the case shows (`#` lines) and what narthex is started with.
//! `cargo insta review`, or `INSTA_UPDATE=always cargo test --test compile`, after a change that is meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::testing::compile::{Options, State, lint};
use narthex::testing::dialect::openshift::Selector;
use narthex::testing::dialect::{Change, Dialect, Object};
use narthex::testing::dialect::{annotations, owners};
use narthex::testing::model::object::{Meta, Secret};
use narthex::testing::model::{Report, Timestamp};
use narthex::testing::source::directory::load;
use narthex::testing::table::{AddressPool, HostPattern, Match, Table};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[test]
fn cases() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile/cases");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() > 40, "the cases are in {}", cases.display());
    let failed: Vec<&PathBuf> = folders
        .iter()
        .filter(|folder| std::panic::catch_unwind(|| case(folder)).is_err())
        .collect();
    assert!(failed.is_empty(), "these cases differ: {failed:#?}");
}

fn case(folder: &Path) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("expected", render(folder)));
}

fn render(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("options")).unwrap_or_default();
    let (options, given, about) = options(&text);
    let loaded = load(&[folder.to_owned()]);
    let mut state = State::new(options);
    let mut backwards = State::new(options_of(&text));
    for (object, _) in loaded.objects.iter().rev() {
        backwards.apply(Change::Apply(object.clone()));
    }
    backwards.apply(Change::Files(loaded.diagnostics.clone()));
    for change in given {
        if !matches!(change, Change::Resolved { .. }) {
            backwards.apply(change.clone());
        }
        state.apply(change);
    }
    for (object, _) in loaded.objects {
        state.apply(Change::Apply(object));
    }
    state.apply(Change::Files(loaded.diagnostics));
    let mut out = about;
    let table = state.table();
    render_table(&table, &mut out);
    render_report(state.refresh(), &mut out);
    render_statuses(&mut state, &mut out);
    for advice in lint::lint(&state) {
        writeln!(out, "{} {}: {advice}", advice.severity().name(), advice.code.name()).unwrap();
    }
    // The order of the objects does not matter.
    if !text.contains("resolve") {
        let (mut one, mut other) = (String::new(), String::new());
        render_table(&table, &mut one);
        render_table(&backwards.table(), &mut other);
        render_report(state.refresh(), &mut one);
        render_report(backwards.refresh(), &mut other);
        render_statuses(&mut state, &mut one);
        render_statuses(&mut backwards, &mut other);
        assert_eq!(one, other, "{}", folder.display());
    }
    out.replace(&format!("{}/", folder.display()), "")
}

fn options_of(text: &str) -> Options {
    options(text).0
}

/// A Secret made of two files of tests/data/tls; `-` is none.
fn secret(of: &str, certificate: &str, key: &str) -> Change {
    let data = |file: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
        (file != "-").then(|| std::fs::read(folder.join(file)).unwrap().into())
    };
    let (namespace, name) = of.split_once('/').unwrap();
    Change::Apply(Object::Secret(Arc::new(Secret {
        meta: Meta {
            namespace: namespace.into(),
            name: name.into(),
            ..Meta::default()
        },
        kind: Some("kubernetes.io/tls".to_owned()),
        certificate: data(certificate),
        key: data(key),
        ca: None,
        revoked: None,
        others: Box::default(),
    })))
}

/// Reads the file `options`: the settings, the addresses names resolve to, the time, Secrets with certificates, and
/// what the case shows.
fn options(text: &str) -> (Options, Vec<Change>, String) {
    let mut options = Options::default();
    let mut given = Vec::new();
    let mut about = String::new();
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        match name {
            "class-less" => options.class_less = value.parse().unwrap(),
            "ingress-class" => options.ingress_class = value.to_owned(),
            "allow-external-names" => options.allow_external_names = value.parse().unwrap(),
            "admin" => options.admin_addresses.push(value.parse().unwrap()),
            "local-endpoints" => options.local_endpoints = value.parse().unwrap(),
            "host-owners" => {
                let given: Vec<_> = value.split(',').map(|one| owners::parse(one).unwrap()).collect();
                options.host_owners = owners::HostOwners::new(&given);
            }
            "ignore-annotation" => {
                let given: Vec<_> = value
                    .split(',')
                    .map(|one| narthex::testing::config::annotation(one).unwrap())
                    .collect();
                options.ignored_annotations = annotations::Ignored::new(&given);
            }
            "gateway-addresses" => {
                let given: Vec<_> = value
                    .split(',')
                    .map(|one| narthex::testing::config::net(one).unwrap())
                    .collect();
                options.gateway_addresses = AddressPool::new(&given);
            }
            "own" => options.own_addresses.push(value.parse().unwrap()),
            "zone" => options.zone = Some(value.into()),
            "node" => options.node = Some(value.into()),
            "yield-empty" => options.yield_empty = Some(value.parse().unwrap()),
            "drop-in" => options.drop_in.push(match value {
                "ingress-nginx" => Dialect::IngressNginx,
                "openshift" => Dialect::OpenShift,
                _ => panic!("options: {line}"),
            }),
            "route-domain" => options.routes.domain = Some(value.into()),
            "route-wildcards" => options.routes.wildcards = value.parse().unwrap(),
            "route-labels" => options.routes.labels = Selector::new(value).unwrap(),
            "namespace-labels" => options.routes.namespace_labels = Selector::new(value).unwrap(),
            "route-ownership" => options.routes.any_namespace = value == "any",
            "ssl-redirect" => options.ssl_redirect = value.parse().unwrap(),
            "default-certificate" => {
                let (namespace, name) = value.split_once('/').unwrap();
                options.default_certificate = Some((namespace.into(), name.into()));
            }
            "now" => {
                let now: jiff::Timestamp = value.parse().unwrap();
                given.push(Change::Time(Timestamp(now.as_second())));
            }
            "secret" => match *value.split(' ').collect::<Vec<_>>() {
                [of, stem] => given.push(secret(of, &format!("{stem}.crt"), &format!("{stem}.key"))),
                [of, certificate, key] => given.push(secret(of, certificate, key)),
                _ => panic!("options: {line}"),
            },
            "resolve" => {
                let (name, addresses) = value.split_once(' ').unwrap();
                given.push(Change::Resolved {
                    name: name.into(),
                    addresses: addresses.split_whitespace().map(|one| one.parse().unwrap()).collect(),
                });
            }
            _ => {
                assert!(line.starts_with('#'), "options: {line}");
                continue;
            }
        }
        writeln!(about, "with {line}").unwrap();
    }
    (options, given, about)
}

/// A route that narthex answers itself.
fn render_own(found: Match<'_>, out: &mut String) {
    let route = found.route;
    let path = route.path.as_ref().map_or("(default)".to_owned(), ToString::to_string);
    let steps: Vec<String> = route.policies.steps().collect();
    writeln!(out, "  {path:<24} -> narthex itself {}", steps.join(" ")).unwrap();
    writeln!(out, "  {:<24}    by {}", "", route.origin).unwrap();
}

fn render_table(table: &Table, out: &mut String) {
    let mut routes: Vec<Match<'_>> = table.matches().collect();
    routes.sort_by_cached_key(|found| {
        let route = found.route;
        let name = match &route.host {
            HostPattern::Any => String::new(),
            HostPattern::Wildcard(name) | HostPattern::Exact(name) => name.to_string(),
        };
        let fallback = route.path.is_none() && route.host == HostPattern::Any;
        let host = route.precedence().host;
        // Any host's defaults come last, as they are asked last.
        (
            Reverse(host),
            name,
            route.path.is_none(),
            fallback,
            Reverse(route.precedence()),
        )
    });
    let mut host = None;
    for found in routes {
        let route = found.route;
        if host != Some(&route.host) {
            writeln!(out, "host {}", route.host).unwrap();
            host = Some(&route.host);
        }
        let path = route.path.as_ref().map_or("(default)".to_owned(), ToString::to_string);
        let Some(backend) = table.backend_of(route) else {
            render_own(found, out);
            continue;
        };
        let app = backend
            .app_protocol
            .as_ref()
            .map(|app| format!(" {app}"))
            .unwrap_or_default();
        let mut policies = String::new();
        for (has, name) in [
            (route.keep_slashes, " keep-slashes"),
            (route.policies.redirects_to_https(), " https-redirect"),
        ] {
            policies.push_str(if has { name } else { "" });
        }
        if let Some(hsts) = route.policies.hsts() {
            write!(policies, " hsts \"{}\"", hsts.to_str().unwrap()).unwrap();
        }
        if let Some(compression) = route.policies.compression() {
            let names: Vec<_> = compression.codings.iter().map(|coding| coding.name()).collect();
            write!(policies, " compress \"{}\"", names.join(", ")).unwrap();
        }
        for step in route.policies.steps() {
            write!(policies, " {step}").unwrap();
        }
        for (name, value) in backend.settings.said() {
            write!(policies, " {name}={value}").unwrap();
        }
        if let Some(tls) = &backend.tls {
            write!(policies, " {tls:?}").unwrap();
        }
        if let Some(guard) = table.guard_of(found) {
            write!(policies, " CLOSED by {guard}").unwrap();
        }
        writeln!(out, "  {path:<24} -> {backend}{app} {:?}{policies}", backend.state).unwrap();
        for endpoint in backend.endpoints.iter() {
            let alternate = endpoint
                .alternate
                .map(|address| format!(" or {address}"))
                .unwrap_or_default();
            let zone = endpoint
                .zone
                .as_ref()
                .map(|zone| format!(" in {zone}"))
                .unwrap_or_default();
            let far = if endpoint.near { "" } else { " (meant for others)" };
            writeln!(out, "  {:<24}      {endpoint}{alternate}{zone}{far}", "").unwrap();
        }
        writeln!(out, "  {:<24}    by {}", "", route.origin).unwrap();
        for shadow in &route.shadows {
            let why = shadow.yields.map(|yields| format!(": {}", yields.reason()));
            writeln!(out, "  {:<24}    not {}{}", "", shadow.origin, why.unwrap_or_default()).unwrap();
        }
    }
    if table.routes().next().is_none() {
        writeln!(out, "no routes").unwrap();
    }
    let mut names: Vec<_> = table.all_certificates().collect();
    names.sort_by_key(|(name, _)| *name);
    for (name, set) in names {
        writeln!(out, "certificate of {name}").unwrap();
        for certificate in set.iter() {
            writeln!(out, "  {} {:?}", certificate.secret, certificate.algorithm).unwrap();
        }
    }
}

/// The statuses of objects of Gateway API, a line for each condition.
fn render_statuses(state: &mut State, out: &mut String) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for (object, status) in state.gateway_statuses() {
        let status = &status.fields;
        writeln!(out, "status of {object}").unwrap();
        render_conditions("", status, out);
        let addresses = list(&status["addresses"]);
        let addresses = addresses.iter().map(|one| one["value"].as_str().unwrap());
        let addresses: Vec<_> = addresses.collect();
        if !addresses.is_empty() {
            writeln!(out, "  addresses {}", addresses.join(", ")).unwrap();
        }
        for listener in list(&status["listeners"]) {
            let kinds = list(&listener["supportedKinds"]);
            let kinds: Vec<_> = kinds.iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
            let (name, kinds) = (listener["name"].as_str().unwrap(), kinds.join(", "));
            writeln!(
                out,
                "  listener {name}: {} routes of [{kinds}]",
                listener["attachedRoutes"]
            )
            .unwrap();
            render_conditions("  ", &listener, out);
        }
        for parent in list(&status["parents"]) {
            assert_eq!(parent["controllerName"], "narthex.io/gateway-controller");
            writeln!(out, "  parent {}", parent["parentRef"]).unwrap();
            render_conditions("  ", &parent, out);
        }
        for feature in list(&status["supportedFeatures"]) {
            writeln!(out, "  feature {}", feature["name"].as_str().unwrap()).unwrap();
        }
    }
}

fn render_conditions(indent: &str, of: &Value, out: &mut String) {
    for condition in of["conditions"].as_array().into_iter().flatten() {
        let text = |name: &str| condition[name].as_str().unwrap();
        let (kind, status, reason) = (text("type"), text("status"), text("reason"));
        let generation = &condition["observedGeneration"];
        writeln!(
            out,
            "  {indent}{kind}={status} {reason} (generation {generation}): {}",
            text("message")
        )
        .unwrap();
    }
}

fn render_report(report: &Report, out: &mut String) {
    writeln!(out, "---").unwrap();
    for diagnostic in report.iter() {
        let (severity, code) = (diagnostic.severity().name(), diagnostic.code.name());
        writeln!(out, "{severity} {code}: {diagnostic}").unwrap();
    }
}

/// A change of annotations makes another backend of the same Service, and gives its pods no more time.
#[test]
fn the_time_of_yield_empty_counts_for_pods_and_not_for_annotations() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let world = |annotation: &str, created: &str| {
        let of = |namespace: &str, created: &str, annotation: &str| {
            format!(
                "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: web, namespace: {namespace}, \
                 creationTimestamp: \"{created}\", annotations: {{{annotation}}}}}, spec: {{rules: [{{host: a.test, http: \
                 {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]}}}}\n\
                 ---\n{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: {namespace}}}, \
                 spec: {{ports: [{{port: 80}}]}}}}\n---\n"
            )
        };
        let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web, namespace: new, \
                     labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{port: 80}], \
                     endpoints: [{addresses: [10.1.1.1]}]}\n";
        let text = of("old", created, annotation) + &of("new", "2026-01-01T00:00:00Z", "") + slice;
        std::fs::write(&file, text).unwrap();
        let loaded = load(std::slice::from_ref(&file));
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        loaded.objects.into_iter().map(|(object, _)| Change::Apply(object))
    };
    let mut state = State::new(Options {
        yield_empty: Some(10),
        ..Options::default()
    });
    let served_by_old = |state: &mut State| {
        let mut text = String::new();
        render_table(&state.table(), &mut text);
        text.contains("not Ingress new/web")
    };
    state.apply(Change::Time(Timestamp(1_000_000_000)));
    state.apply(Change::Listed);
    let annotated = |value: u8| format!("narthex.io/max-in-flight: \"{value}\"");
    for (seconds, value) in [(0, 1), (6, 2), (9, 3)] {
        state.apply(Change::Time(Timestamp(1_000_000_000 + seconds)));
        for change in world(&annotated(value), "2020-01-01T00:00:00Z") {
            state.apply(change);
        }
        assert!(served_by_old(&mut state), "after {seconds} seconds");
    }
    state.apply(Change::Time(Timestamp(1_000_000_010)));
    assert!(!served_by_old(&mut state), "the time is over");
    for change in world(&annotated(4), "2020-01-01T00:00:00Z") {
        state.apply(change);
    }
    assert!(!served_by_old(&mut state), "it does not begin again");
}

/// Each Ingress with a guard of the whole host comes before those that are there already, so it is the one that is named
/// from then on. That must not touch the routes of all others, or many would cost the square of their number.
#[test]
fn many_guards_of_one_host_cost_as_much_each() {
    const MANY: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let mut text = String::new();
    for index in (0..MANY).rev() {
        writeln!(
            text,
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: web-{index:04}, annotations: \
             {{nginx.ingress.kubernetes.io/server-snippet: deny all;}}}}, spec: {{rules: [{{host: a.test, http: {{paths: \
             [{{path: /{index}, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]}}}}\n---"
        )
        .unwrap();
    }
    std::fs::write(&file, text).unwrap();
    let loaded = load(std::slice::from_ref(&file));
    let ingresses: Vec<_> = loaded.objects.into_iter().map(|(object, _)| object).collect();
    assert_eq!(ingresses.len(), MANY);
    let touched = |state: &mut State| {
        let journal = state.take_journal();
        journal.added.count + journal.altered.count + journal.removed.count
    };
    let mut state = State::new(Options::default());
    for ingress in ingresses.iter().cloned() {
        let name = ingress.reference();
        state.apply(Change::Apply(ingress));
        assert_eq!(
            touched(&mut state),
            2,
            "{name}: its route, and who is named for the host"
        );
    }
    let table = state.table();
    let first = "annotation nginx.ingress.kubernetes.io/server-snippet of Ingress default/web-0000";
    for found in table.matches() {
        let own = format!(
            "of Ingress {}",
            found.route.origin.object.to_string().replace("Ingress ", "")
        );
        let guard = table.guard_of(found).unwrap().to_string();
        assert!(guard.ends_with(&own), "{guard} {own}");
    }
    let host = table.host(&HostPattern::Exact("a.test".into())).unwrap();
    assert_eq!(host.guard("default").unwrap().to_string(), first);
    for ingress in ingresses.iter().rev() {
        let name = ingress.reference();
        state.apply(Change::Delete(name.clone()));
        assert_eq!(touched(&mut state), 2, "{name}");
    }
    assert_eq!(
        state.table().hosts().filter(|(_, host)| host.guards.is_some()).count(),
        0
    );
}

/// A Route or an Ingress of the test below: where, how old, for which host and path.
#[derive(Clone, Copy)]
struct Wants {
    is_route: bool,
    namespace: &'static str,
    number: u32,
    created: i64,
    host: &'static str,
    path: &'static str,
}

impl Wants {
    fn any(random: &mut fastrand::Rng, number: u32) -> Self {
        Self {
            is_route: random.u32(0..3) > 0,
            namespace: ["a", "b", "c"][random.usize(0..3)],
            number,
            created: random.i64(0..4),
            host: ["one.test", "two.test"][random.usize(0..2)],
            path: ["/", "/x", "/x/y"][random.usize(0..3)],
        }
    }

    fn manifest(self) -> String {
        let Self {
            namespace,
            number,
            host,
            path,
            ..
        } = self;
        let meta = format!(
            "{{name: o{number}, namespace: {namespace}, uid: {:08x}-0000-4000-8000-000000000000, \
             creationTimestamp: \"2026-01-01T00:00:{:02}Z\"}}",
            // Another order than that of the names.
            number.reverse_bits(),
            self.created
        );
        if self.is_route {
            format!(
                "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {meta}\n\
                 spec: {{host: {host}, path: {path}, to: {{name: web}}}}\n"
            )
        } else {
            format!(
                "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {meta}\nspec: {{rules: [{{host: {host}, http: {{paths: \
                 [{{path: {path}, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]}}\n"
            )
        }
    }

    /// The order of age: Ingresses of one second come before Routes and go by their names, Routes go by their UID.
    fn age(self) -> impl Ord {
        let uid = if self.is_route { self.number.reverse_bits() } else { 0 };
        let name = format!("o{}", self.number);
        (self.created, self.is_route, uid, self.namespace, name)
    }

    fn text(self) -> String {
        let kind = if self.is_route { "Route" } else { "Ingress" };
        format!("{kind} {}/o{}", self.namespace, self.number)
    }
}

/// Who has each host and path, by a sort of all that want something of a host.
fn expected_owners(all: &[Wants]) -> BTreeMap<(String, String), String> {
    let mut owners = BTreeMap::new();
    for host in ["one.test", "two.test"] {
        let mut of_host: Vec<Wants> = all.iter().copied().filter(|wants| wants.host == host).collect();
        of_host.sort_by_key(|wants| wants.age());
        let Some(first) = of_host.first().copied() else {
            continue;
        };
        for wants in of_host {
            let admitted = wants.namespace == first.namespace || !(wants.is_route || first.is_route);
            if admitted {
                let spot = (host.to_owned(), wants.path.to_owned());
                owners.entry(spot).or_insert_with(|| wants.text());
            }
        }
    }
    owners
}

#[test]
fn claims_of_routes_are_those_of_a_sort_by_age() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut options = Options::default();
        options.drop_in.push(Dialect::OpenShift);
        let mut state = State::new(options);
        let all: Vec<Wants> = (0..8).map(|number| Wants::any(&mut random, number)).collect();
        let mut there: Vec<Wants> = Vec::new();
        for _ in 0..40 {
            let wants = all[random.usize(0..all.len())];
            let value = narthex::testing::source::directory::parse::parse(Path::new("x.yaml"), &wants.manifest());
            let (object, _) = value.objects.into_iter().next().unwrap();
            there.retain(|other| other.number != wants.number);
            if random.bool() {
                there.push(wants);
                state.apply(Change::Apply(object));
            } else {
                state.apply(Change::Delete(object.reference()));
            }
            let mut found = BTreeMap::new();
            for found_route in state.table().matches() {
                let route = found_route.route;
                if let (Some(path), Some(_)) = (&route.path, route.to.main()) {
                    let spot = (route.host.to_string(), path.path.to_string());
                    found.insert(spot, route.origin.object.to_string());
                }
            }
            assert_eq!(found, expected_owners(&there), "seed {seed}");
        }
    }
}
