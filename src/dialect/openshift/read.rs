//! One Route by itself: what it claims, and why it is not admitted whatever the others say.

use super::headers;
use super::object::{Route, RouteTarget, RouteTls, TargetPort};
use super::tls::{OWN_SECRET, SERVICE_CA, own_secret};
use crate::dialect::annotations::{self, Settings};
use crate::dialect::claimant::{Claimant, Context};
use crate::dialect::host::read_host;
use crate::dialect::reading::{
    Admission, BackendKey, Claim, Guards, Reading, Share, Spot, TlsEnds, TlsEntry, TlsPlace,
};
use crate::model::nearest::nearest;
use crate::model::object::PortRef;
use crate::model::{Code, Diagnostic, Field, FieldForm, Kind, ObjectRef};
use crate::table::canonical::canonical_rule_path;
use crate::table::paths::prefix_key;
use crate::table::route::wildcard_suffix;
use crate::table::{BackendProtocol, BackendSettings, HostPattern, PathKind, PathPattern, Schemes};
use std::sync::Arc;

/// What all fields of a Route have: it has no lists that stand for themselves.
const ROUTE: FieldForm = FieldForm {
    text: "spec",
    list: "spec",
    host: "spec.host",
};

/// Where a Route says what it is for.
const HOST: Field = Field::new(&FieldForm {
    text: "spec.host",
    ..ROUTE
});

const PATH: Field = Field::new(&FieldForm {
    text: "spec.path",
    ..ROUTE
});

/// The Services it leads to.
const TO: Field = Field::new(&FieldForm {
    text: "spec.to",
    ..ROUTE
});

const OTHER: FieldForm = FieldForm {
    text: "spec.alternateBackends[]",
    ..ROUTE
};

/// The weight of a Service where nothing is said.
const WEIGHT: i32 = 100;

/// The most that a weight may be.
const MOST_WEIGHT: i32 = 256;

/// The most Services beside the first.
const MOST_OTHERS: usize = 3;

/// The longest label of a host.
const MOST_LABEL: usize = 63;

/// Why a Route is not admitted: the code, which is the reason in its status, the field, and a sentence.
type Refused = (Code, &'static str, String);

/// Reads one Route, apart from all others.
pub(super) fn read(route: &Route, context: Context<'_>) -> Reading {
    let object = ObjectRef::new(Kind::Route, route.meta.namespace.clone(), route.meta.name.clone());
    let mut findings = Vec::new();
    let whose = (&object, &*route.revision.uid);
    let mut settings = annotations::read(
        (context.dialect, context.beside),
        &route.meta,
        whose,
        context.ignored,
        &mut findings,
    );
    let tls = route.tls.as_ref().map(|tls| match &*tls.termination {
        "passthrough" => TlsEnds::AtPod,
        _ => TlsEnds::Here,
    });
    let passes = tls == Some(TlsEnds::AtPod);
    settings.settle_route((&object.path(), &route.path), route.targets.len() > 1, passes);
    // Whatever a Route says of plain HTTP, it says itself.
    settings.ssl_redirect = Some(false);
    let guards = Guards::of(&object, &route.meta, context);
    let mut guards = guards.with_invalid(&object, settings.closed_by.as_deref());
    let (undecoded, said) = guards.take_undecoded(&object, &route.meta, context);
    findings.extend(said);
    guards.hosts = undecoded;
    if route.is_bare() && route.meta.undecoded.is_some() {
        return guards_alone(route, settings, guards, findings);
    }
    let host = claimed_host(route, context);
    let mut refused: Vec<Refused> = host.as_ref().err().cloned().into_iter().collect();
    let path = path(route).map_err(|why| refused.push(why)).ok();
    terminate(route, context, &mut settings, &mut refused);
    if lacks_authorities(route, &settings) {
        let message = "without it, and without --route-service-ca, the authorities of the system verify the certificates of pods. \
                       OpenShift signs those of Services itself: requests get 502 where a pod has such a certificate";
        let field = "spec.tls.destinationCACertificate";
        findings.push(Diagnostic::new(Code::NoServiceCa, &object, field, message));
    }
    weights(route, &mut refused);
    let mut wrong_actions = Vec::new();
    match headers::steps(route, &mut wrong_actions) {
        Some(_) if passes => {
            let message = "it has no effect: nobody sees the fields of requests whose TLS is passed through";
            findings.push(Diagnostic::new(
                Code::NotYet,
                &object,
                "spec.httpHeaders.actions",
                message,
            ));
        }
        Some((before, after)) => settings.change_fields(before, after),
        None => {}
    }
    let host_text = route.wanted_host(context.routes).unwrap_or_default();
    let admission = Admission {
        host: host_text.to_ascii_lowercase().into(),
        wildcard: matches!(host, Ok(HostPattern::Wildcard(_))),
        refused: (refused.first().map(|(code, ..)| *code))
            .or((!wrong_actions.is_empty()).then_some(Code::InvalidRoute)),
        tls,
    };
    for (field, why) in wrong_actions {
        let message = format!("{why}, so the Route is not served");
        findings.push(Diagnostic::new(Code::InvalidRoute, &object, field, message));
    }
    for (code, field, message) in refused {
        findings.push(Diagnostic::new(code, &object, field, message));
    }
    let mut claims = Vec::new();
    let mut tls = Vec::new();
    if admission.refused.is_none()
        && let (Ok(host), Some(path)) = (host, path)
    {
        if !guards.hosts.contains(&host) {
            guards.hosts.push(host.clone());
        }
        tls.extend(certificate(route).map(|secret| TlsEntry {
            index: 0,
            hosts: vec![(0, host.clone())],
            whole: false,
            issued: false,
            place: match secret.starts_with(OWN_SECRET) {
                true => TlsPlace::Inline,
                false => TlsPlace::External,
            },
            secret,
        }));
        let said = settings.backend != BackendSettings::default();
        let backend_settings = said.then(|| Arc::new(settings.backend.clone()));
        let plain = claim(route, (host, path), backend_settings, &object, &mut findings);
        if passes {
            claims.push(Claim {
                spot: Spot::Path(plain.spot.host().clone(), PathPattern::passthrough()),
                ..plain.clone()
            });
        }
        let redirects = (route.tls.as_ref()).is_some_and(|tls| &*tls.insecure_policy == "Redirect");
        if !passes || redirects {
            claims.push(plain);
        }
    }
    Reading {
        claims,
        tls,
        admission: Some(admission),
        ..guards_alone(route, settings, guards, findings)
    }
}

/// Of a Route that cannot be decoded, and was never known otherwise, only the guards count.
fn guards_alone(route: &Route, settings: Settings, guards: Guards, findings: Vec<Diagnostic>) -> Reading {
    Reading {
        claims: Vec::new(),
        settings,
        seniority: route.seniority(),
        tls: Vec::new(),
        spare: None,
        error_pages: None,
        rest: None,
        guards,
        patterns: Vec::new(),
        findings,
        admission: None,
    }
}

/// The host that a Route claims.
fn claimed_host(route: &Route, context: Context<'_>) -> Result<HostPattern, Refused> {
    let field = if route.host.is_empty() && !route.subdomain.is_empty() {
        "spec.subdomain"
    } else {
        "spec.host"
    };
    let host = route.wanted_host(context.routes);
    let host = host.map_err(|why| (Code::NoHostValue, field, why.to_owned()))?;
    let invalid = |why: &str| {
        (
            Code::InvalidHost,
            field,
            format!("\"{host}\" is not a valid host: {why}"),
        )
    };
    if host.starts_with("*.") {
        return Err(invalid(
            "write the host of one name, and wildcardPolicy: Subdomain for all that have its domain",
        ));
    }
    if host.split('.').any(|label| label.len() > MOST_LABEL) {
        return Err(invalid("each part between dots may have 63 characters at most"));
    }
    let pattern = read_host(&host).map_err(|why| invalid(&why))?;
    let pattern = match (&*route.wildcard_policy, pattern) {
        ("" | "None", pattern) => pattern,
        ("Subdomain", HostPattern::Exact(name)) if context.routes.wildcards => {
            let suffix = wildcard_suffix(&name).filter(|suffix| suffix.contains('.'));
            let suffix =
                suffix.ok_or_else(|| invalid("with wildcardPolicy: Subdomain it needs three parts at least"))?;
            HostPattern::Wildcard(suffix.into())
        }
        ("Subdomain", _) => {
            let message = "Routes for all hosts of a domain need --route-wildcards, so the Route is not served";
            return Err((Code::RouteNotAdmitted, "spec.wildcardPolicy", message.to_owned()));
        }
        (other, _) => {
            let message = format!("\"{other}\" is neither None nor Subdomain, so the Route is not served");
            return Err((Code::InvalidRoute, "spec.wildcardPolicy", message));
        }
    };
    match context.owners.against(&route.meta.namespace, &pattern) {
        None => Ok(pattern),
        Some(owners) => {
            let message = format!("--host-owners gives {pattern} to {owners}, so the Route is not served");
            Err((Code::HostNotOwned, field, message))
        }
    }
}

/// The paths it is for: all that begin with these elements, or all that are below, if it is written with a closing slash.
fn path(route: &Route) -> Result<PathPattern, Refused> {
    let text = match &*route.path {
        "" => "/",
        text => text,
    };
    let refused = |why: String| {
        (
            Code::InvalidPath,
            "spec.path",
            format!("\"{text}\" {why}, so the Route is not served"),
        )
    };
    if text.contains(['?', '#']) {
        return Err(refused("has a ? or a #, which are no part of a path".to_owned()));
    }
    let canonical = canonical_rule_path(text, false).map_err(|error| refused(format!("is not a path: {error}")))?;
    let is_below = canonical.len() > 1 && canonical.ends_with('/');
    Ok(if is_below {
        PathPattern {
            kind: PathKind::Below,
            path: canonical.into(),
        }
    } else {
        let key = prefix_key(&canonical);
        PathPattern {
            kind: PathKind::Prefix,
            path: if key.is_empty() { "/".into() } else { key.into() },
        }
    })
}

/// Whether the pods of a Route are verified by nothing but the authorities of the system.
fn lacks_authorities(route: &Route, settings: &Settings) -> bool {
    let encrypts_again = route.tls.as_ref().is_some_and(|tls| &*tls.termination == "reencrypt");
    let backend = &settings.backend;
    encrypts_again && backend.ca_secret.is_none() && backend.verify != Some(false)
}

/// Where TLS ends, and what becomes of the scheme that a Route is not for.
fn terminate(route: &Route, context: Context<'_>, settings: &mut Settings, refused: &mut Vec<Refused>) {
    let Some(tls) = &route.tls else {
        settings.hsts = None;
        // OpenShift's router looks for Routes without tls only where requests come in plain.
        settings.serve_by(Schemes::Http);
        return;
    };
    let mut refuse = |field, message: String| refused.push((Code::InvalidRoute, field, message));
    let backend = &mut settings.backend;
    match &*tls.termination {
        "edge" => {
            if !tls.destination_ca_certificate.is_empty() {
                let message = "it is for the termination reencrypt: with edge, pods are spoken to in plain";
                refuse("spec.tls.destinationCACertificate", message.to_owned());
            }
        }
        "reencrypt" => {
            backend.protocol.get_or_insert(BackendProtocol::Https);
            if !tls.destination_ca_certificate.is_empty() {
                backend.ca_secret.get_or_insert_with(|| own_secret(route));
            } else if context.routes.service_ca.is_some() {
                backend.ca_secret.get_or_insert_with(|| SERVICE_CA.into());
            }
        }
        "passthrough" => {
            if !matches!(&*route.path, "" | "/") {
                refuse(
                    "spec.path",
                    "narthex cannot read the path of a connection whose TLS it passes through: leave it out, or this Route is not served".to_owned(),
                );
            }
            let ends_here = [
                ("spec.tls.certificate", &*tls.certificate),
                ("spec.tls.key", &*tls.key),
                ("spec.tls.caCertificate", &*tls.ca_certificate),
                ("spec.tls.destinationCACertificate", &*tls.destination_ca_certificate),
                ("spec.tls.externalCertificate", &*tls.external_certificate),
            ];
            for (field, _) in ends_here.into_iter().filter(|(_, text)| !text.is_empty()) {
                refuse(
                    field,
                    "with the termination passthrough, pods have the certificates".to_owned(),
                );
            }
            if &*tls.insecure_policy == "Allow" {
                let message = "Allow is not possible with the termination passthrough, so the Route is not served";
                refuse("spec.tls.insecureEdgeTerminationPolicy", message.to_owned());
            }
            settings.hsts = None;
        }
        other => {
            let message = none_of(other, ["edge", "reencrypt", "passthrough"]);
            refuse("spec.tls.termination", message);
            return;
        }
    }
    match &*tls.insecure_policy {
        "" | "None" => settings.serve_by(Schemes::Https),
        "Allow" => settings.serve_by(Schemes::Both),
        "Redirect" => settings.serve_by(Schemes::Redirected),
        other => {
            let message = none_of(other, ["None", "Allow", "Redirect"]);
            refuse("spec.tls.insecureEdgeTerminationPolicy", message);
        }
    }
    let is_inline = !tls.certificate.is_empty() || !tls.key.is_empty();
    if is_inline && !tls.external_certificate.is_empty() {
        let message = "certificate and key are written there too: write only one of them";
        refuse("spec.tls.externalCertificate", message.to_owned());
    }
    if let Some((field, message)) = half_written(tls) {
        refused.push((Code::ExtendedValidationFailed, field, message.to_owned()));
    }
}

/// The message about a word that is not one of those that are allowed.
fn none_of(word: &str, allowed: [&str; 3]) -> String {
    let list = allowed.join(", ");
    if word.is_empty() {
        return format!("it is missing, so the Route is not served: write one of {list}");
    }
    let meant = nearest(word, allowed).map(|meant| format!(" (did you mean {meant}?)"));
    let meant = meant.unwrap_or_default();
    format!("\"{word}\" is not one of {list}{meant}, so the Route is not served")
}

/// What is missing of a certificate.
fn half_written(tls: &RouteTls) -> Option<(&'static str, &'static str)> {
    match (tls.certificate.is_empty(), tls.key.is_empty()) {
        (false, true) => Some(("spec.tls.key", "it is missing: a certificate needs its key")),
        (true, false) => Some(("spec.tls.certificate", "it is missing: a key needs its certificate")),
        (true, true) if !tls.ca_certificate.is_empty() && tls.external_certificate.is_empty() => {
            Some(("spec.tls.caCertificate", "it is of use only with a certificate"))
        }
        _ => None,
    }
}

/// The Secret with the certificate for a Route's host, where it has one of its own.
fn certificate(route: &Route) -> Option<Arc<str>> {
    let tls = route.tls.as_ref()?;
    if !tls.external_certificate.is_empty() {
        return Some(tls.external_certificate.clone());
    }
    (!tls.certificate.is_empty()).then(|| own_secret(route))
}

/// What the API would refuse of `to` and `alternateBackends`.
fn weights(route: &Route, refused: &mut Vec<Refused>) {
    let mut refuse = |field, message| refused.push((Code::InvalidRoute, field, message));
    if route.targets.is_empty() {
        refuse("spec.to", "it is missing: write the name of a Service".to_owned());
    }
    let others = route.targets.len().saturating_sub(1);
    if others > MOST_OTHERS {
        let message = format!("there are {others} Services, and there may be {MOST_OTHERS} beside spec.to");
        refuse("spec.alternateBackends", message);
    }
    const FIELDS: [[&str; 3]; 4] = [
        ["spec.to.name", "spec.to.kind", "spec.to.weight"],
        [
            "spec.alternateBackends[0].name",
            "spec.alternateBackends[0].kind",
            "spec.alternateBackends[0].weight",
        ],
        [
            "spec.alternateBackends[1].name",
            "spec.alternateBackends[1].kind",
            "spec.alternateBackends[1].weight",
        ],
        [
            "spec.alternateBackends[2].name",
            "spec.alternateBackends[2].kind",
            "spec.alternateBackends[2].weight",
        ],
    ];
    for (target, [name, kind, weight]) in route.targets.iter().zip(FIELDS) {
        if target.name.is_empty() {
            refuse(name, "it is missing: write the name of a Service".to_owned());
        }
        if let Some(other) = &target.kind {
            refuse(
                kind,
                format!("\"{other}\" is not Service, and Routes lead to Services only"),
            );
        }
        let given = target.weight.unwrap_or(WEIGHT);
        if !(0..=MOST_WEIGHT).contains(&given) {
            refuse(
                weight,
                format!("{given} is not from 0 to {MOST_WEIGHT}, so this Route is not served"),
            );
        }
    }
    let port = match &route.port {
        Some(TargetPort::Number(number)) => Some(*number),
        _ => None,
    };
    if let Some(number) = port.filter(|number| u16::try_from(*number).is_err()) {
        refuse("spec.port.targetPort", format!("{number} is not from 1 to 65535"));
    }
}

fn claim(
    route: &Route,
    (host, path): (HostPattern, PathPattern),
    settings: Option<Arc<BackendSettings>>,
    object: &ObjectRef,
    findings: &mut Vec<Diagnostic>,
) -> Claim {
    let port = match &route.port {
        None => PortRef::Every,
        Some(TargetPort::Name(name)) => PortRef::Name(name.clone()),
        Some(TargetPort::Number(number)) => PortRef::OfPods(u16::try_from(*number).unwrap_or_default()),
    };
    let key = |target: &RouteTarget| BackendKey {
        namespace: route.meta.namespace.clone(),
        service: target.name.clone(),
        port: port.clone(),
        limited_by: (settings.as_ref())
            .filter(|settings| settings.is_limited())
            .map(|_| route.meta.name.clone()),
        settings: settings.clone(),
    };
    let weight = |target: &RouteTarget| u32::try_from(target.weight.unwrap_or(WEIGHT)).unwrap_or_default();
    let mut shares: Vec<Share> = Vec::new();
    for (place, target) in (0_u32..).zip(&route.targets) {
        let field = match place.checked_sub(1) {
            None => TO,
            Some(index) => Field::at(&OTHER, index),
        };
        let backend = key(target);
        match shares.iter_mut().find(|share| share.backend == backend) {
            // A Service that is named twice has both shares.
            Some(share) => share.weight += weight(target),
            None => shares.push(Share {
                backend,
                weight: weight(target),
                field,
            }),
        }
    }
    if shares.iter().all(|share| share.weight == 0) {
        let message =
            "the weight of every Service is 0, so no client that comes for the first time is served: requests get 503";
        findings.push(Diagnostic::new(Code::NothingToServe, object, "spec.to.weight", message));
    }
    let backend = shares.first().map(|share| share.backend.clone());
    let is_one = matches!(shares.as_slice(), [share] if share.weight > 0);
    Claim {
        field: if route.path.is_empty() { HOST } else { PATH },
        spot: Spot::Path(host, path),
        backend: backend.unwrap_or_else(|| BackendKey::none(&route.meta.namespace)),
        named: Some(TO),
        shares: if is_one { Box::default() } else { shares.into() },
        rewrite: None,
        guard: None,
        canary: None,
        closing_slash: false,
    }
}
