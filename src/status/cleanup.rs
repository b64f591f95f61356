//! Taking back what was written: addresses in the status of objects, Events, and at last the Lease.
//!
//! The Lease is taken first, under a name that every narthex lets be, so that nobody writes back what is emptied here. It goes
//! only when no narthex is left that could take it again.

use super::api::{Api, Failed, escape};
use super::lease::{self, CLEANUP};
use super::{WRITER, resource, routes};
use crate::compile::CONTROLLER;
use crate::dialect::Dialect;
use crate::dialect::status::{StatusRules, rules};
use crate::model::Kind;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How often objects that change meanwhile are looked at.
const PASSES: usize = 5;
/// How often it is asked whether a narthex is left.
const LOOK: Duration = Duration::from_secs(1);
/// Failures that are kept to be told; the others are counted.
const TOLD: usize = 20;

/// What to remove.
#[derive(Clone, Debug)]
pub struct Order {
    /// The namespace narthex ran in, with its Lease.
    pub namespace: String,
    /// The Lease's name.
    pub lease: String,
    /// The labels of narthex's pods.
    pub selector: String,
    /// The namespaces that were served; empty for all.
    pub namespaces: Vec<String>,
    /// `--ingress-class`.
    pub class: String,
    /// Whether Ingresses without a class were served.
    pub class_less: bool,
    /// `--drop-in`.
    pub drop_in: Vec<Dialect>,
    /// `--router-name`, where Routes were served.
    pub router: Option<String>,
    /// Writes a second, at most.
    pub rate: u32,
    /// How long pods of narthex's may take to end.
    pub patience: Duration,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Who held the Lease before, if anybody did.
    pub holder: Option<String>,
    /// What became of the status of each kind that has one.
    pub statuses: Vec<(Kind, Statuses)>,
    /// Events that were deleted.
    pub events: usize,
    /// What could not be done, by object; the first few.
    pub failures: Vec<String>,
    /// How many there were.
    pub failed: usize,
    /// Pods that still ran at the end, for whose sake the Lease was kept.
    pub running: Vec<String>,
}

/// What became of the status of a kind's objects.
#[derive(Debug, Default)]
pub struct Statuses {
    /// Objects whose status was emptied.
    pub emptied: usize,
    /// Objects of other classes, which were left alone.
    pub foreign: usize,
    /// Objects of ours that show nothing, or what somebody else wrote.
    pub untouched: usize,
}

impl Outcome {
    /// Whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.running.is_empty()
    }

    fn fail(&mut self, object: &str, error: &Failed) {
        self.failed += 1;
        if self.failures.len() < TOLD {
            self.failures.push(format!("{object}: {error}"));
        }
    }
}

/// Takes all of it back. Run again, it finds what was left, or nothing to do.
///
/// # Errors
/// When the API server cannot be asked, or does not let narthex ask. What fails for single objects is in the outcome.
pub async fn run(api: &Api, order: &Order) -> Result<Outcome, (String, Failed)> {
    let wanted = lease::Wanted {
        namespace: order.namespace.clone(),
        name: order.lease.clone(),
        holder: CLEANUP.to_owned(),
    };
    let named = |error| (format!("Lease {}/{}", order.namespace, order.lease), error);
    let mut outcome = Outcome {
        holder: lease::seize(api, &wanted).await.map_err(named)?,
        ..Outcome::default()
    };
    if outcome.holder.is_some() {
        // Until whoever held it has noticed, and what it had sent has arrived.
        tokio::time::sleep(lease::DURATION).await;
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1) / order.rate.max(1));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let classes = classes(api, order).await?;
    for kind in Kind::ALL {
        if let Some(rules) = rules(kind) {
            let statuses = empty((api, order, &classes), (kind, rules), &mut pace, &mut outcome).await?;
            outcome.statuses.push((kind, statuses));
        }
    }
    if let Some(router) = &order.router {
        let statuses = leave_routes((api, order), router, &mut pace, &mut outcome).await?;
        outcome.statuses.push((Kind::Route, statuses));
    }
    forget(api, order, &mut pace, &mut outcome).await?;
    if outcome.failed == 0 {
        outcome.running = left(api, order).await?;
        if outcome.running.is_empty() {
            lease::remove(api, &wanted).await.map_err(named)?;
        }
    }
    Ok(outcome)
}

/// Empties the status of our objects of a kind.
async fn empty(
    (api, order, classes): (&Api, &Order, &HashMap<String, String>),
    (kind, rules): (Kind, StatusRules),
    pace: &mut tokio::time::Interval,
    outcome: &mut Outcome,
) -> Result<Statuses, (String, Failed)> {
    let at = |place: &str| resource(kind, place);
    let mut emptied = 0;
    for pass in 1..=PASSES {
        let (mut foreign, mut untouched) = (0, 0);
        let mut changed = Vec::new();
        for object in everywhere(api, order, kind.plural(), at, "").await? {
            if !is_ours((rules.class)(&object), order, classes) {
                foreign += 1;
                continue;
            }
            if !has_our_status(&object, &rules) {
                untouched += 1;
                continue;
            }
            let name = format!("{kind} {}", place(&object));
            // With its version: what somebody writes meanwhile is not ours to empty.
            let nothing = json!({
                "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
                "status": removed(&unset(&rules)),
            });
            pace.tick().await;
            match api.merge(&format!("{}/status", path(at, &object)), &nothing).await {
                Ok(_) => emptied += 1,
                Err(Failed::Missing) => {}
                Err(error @ Failed::Conflict) => changed.push((name, error)),
                Err(error) => outcome.fail(&name, &error),
            }
        }
        let done = changed.is_empty() || outcome.failed > 0;
        if pass == PASSES {
            for (name, error) in changed {
                outcome.fail(&name, &error);
            }
        }
        if done || pass == PASSES {
            return Ok(Statuses {
                emptied,
                foreign,
                untouched,
            });
        }
    }
    Ok(Statuses::default())
}

/// Takes the entries of a router out of the status of all Routes.
async fn leave_routes(
    (api, order): (&Api, &Order),
    router: &str,
    pace: &mut tokio::time::Interval,
    outcome: &mut Outcome,
) -> Result<Statuses, (String, Failed)> {
    let at = |place: &str| resource(Kind::Route, place);
    let mut statuses = Statuses::default();
    let all = match everywhere(api, order, Kind::Route.plural(), at, "").await {
        // The API server has no such kind.
        Err((_, Failed::Missing)) => Vec::new(),
        other => other?,
    };
    for object in all {
        if !routes::has_entry(&object, router) {
            statuses.untouched += 1;
            continue;
        }
        let path = path(at, &object);
        for pass in 1..=PASSES {
            pace.tick().await;
            match routes::bring(api, &path, router, None).await {
                Ok(_) => statuses.emptied += 1,
                Err(Failed::Missing) => {}
                Err(Failed::Conflict) if pass < PASSES => continue,
                Err(error) => outcome.fail(&format!("Route {}", place(&object)), &error),
            }
            break;
        }
    }
    Ok(statuses)
}

/// The fields that narthex writes into a status, with nothing in them.
fn unset(rules: &StatusRules) -> Value {
    (rules.desired)(&BTreeSet::new())
}

/// A merge patch that removes these fields.
fn removed(fields: &Value) -> Value {
    match fields {
        Value::Object(fields) => (fields.iter())
            .map(|(name, inner)| (name.clone(), removed(inner)))
            .collect(),
        _ => Value::Null,
    }
}

/// Deletes our Events.
async fn forget(
    api: &Api,
    order: &Order,
    pace: &mut tokio::time::Interval,
    outcome: &mut Outcome,
) -> Result<(), (String, Failed)> {
    let ours = format!("&fieldSelector=reportingController%3D{}", escape(CONTROLLER));
    let at = |place: &str| format!("/apis/events.k8s.io/v1/{place}events");
    for event in everywhere(api, order, "events", at, &ours).await? {
        pace.tick().await;
        match api.delete(&path(at, &event)).await {
            Ok(_) => outcome.events += 1,
            Err(Failed::Missing) => {}
            Err(error) => outcome.fail(&format!("Event {}", place(&event)), &error),
        }
    }
    Ok(())
}

/// The pods of narthex's that are left when patience is over.
async fn left(api: &Api, order: &Order) -> Result<Vec<String>, (String, Failed)> {
    let deadline = Instant::now() + order.patience;
    let at = format!("/api/v1/namespaces/{}/pods", order.namespace);
    let selector = format!("&labelSelector={}", escape(&order.selector));
    loop {
        let pods = list(api, &at, &selector).await;
        let pods = pods.map_err(|error| (format!("pods in {}", order.namespace), error))?;
        let over = |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let names: Vec<_> = pods.iter().filter(|pod| !over(pod)).map(place).collect();
        if names.is_empty() || Instant::now() >= deadline {
            return Ok(names);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The controllers of classes. Those of a narthex for some namespaces are known by name only.
async fn classes(api: &Api, order: &Order) -> Result<HashMap<String, String>, (String, Failed)> {
    if !order.namespaces.is_empty() {
        return Ok(HashMap::new());
    }
    let found = list(api, "/apis/networking.k8s.io/v1/ingressclasses", "").await;
    let found = found.map_err(|error| ("ingressclasses".to_owned(), error))?;
    let each = found.iter().filter_map(|class| {
        let controller = class["spec"]["controller"].as_str()?;
        Some((class["metadata"]["name"].as_str()?.to_owned(), controller.to_owned()))
    });
    Ok(each.collect())
}

/// Whether an object that names this class was served here: as `compile` decides it. The class itself may be gone already.
fn is_ours(class: Option<&str>, order: &Order, classes: &HashMap<String, String>) -> bool {
    match class {
        None => order.class_less,
        Some(class) => {
            let drop_in = |is: &dyn Fn(Dialect) -> bool| order.drop_in.iter().any(|dialect| is(*dialect));
            match classes.get(class) {
                Some(known) => known == CONTROLLER || drop_in(&|dialect| dialect.controller() == Some(known)),
                None => class == order.class || drop_in(&|dialect| dialect.class() == Some(class)),
            }
        }
    }
}

/// Whether an object shows something that a narthex wrote: whose it is, the API server notes with each field.
fn has_our_status(object: &Value, rules: &StatusRules) -> bool {
    let fields = unset(rules);
    let writers = object["metadata"]["managedFields"].as_array();
    (rules.current)(&object["status"]) != fields
        && writers.into_iter().flatten().any(|entry| {
            let written = &entry["fieldsV1"]["f:status"];
            entry["manager"] == WRITER && entry["subresource"] == "status" && has_any(written, &fields)
        })
}

/// Whether some of these fields are among those that somebody has written, as the API server notes them.
fn has_any(written: &Value, fields: &Value) -> bool {
    match fields {
        Value::Object(fields) => (fields.iter()).any(|(name, inner)| {
            let written = written.get(format!("f:{name}"));
            written.is_some_and(|written| has_any(written, inner))
        }),
        _ => true,
    }
}

/// All objects of a resource where narthex served. `at` says where they are for a place, which is empty or
/// `namespaces/NAME/`.
async fn everywhere(
    api: &Api,
    order: &Order,
    plural: &str,
    at: impl Fn(&str) -> String,
    query: &str,
) -> Result<Vec<Value>, (String, Failed)> {
    let mut found = Vec::new();
    if order.namespaces.is_empty() {
        let all = list(api, &at(""), query).await;
        return all.map_err(|error| (plural.to_owned(), error));
    }
    for namespace in &order.namespaces {
        let here = list(api, &at(&format!("namespaces/{namespace}/")), query).await;
        found.extend(here.map_err(|error| (format!("{plural} in {namespace}"), error))?);
    }
    Ok(found)
}

async fn list(api: &Api, at: &str, query: &str) -> Result<Vec<Value>, Failed> {
    let mut found = Vec::new();
    api.each(at, query, |object| found.push(object)).await?;
    Ok(found)
}

/// `namespace/name`.
fn place(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

fn path(at: impl Fn(&str) -> String, object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", at(&format!("namespaces/{}/", text("namespace"))), text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::OLD_CLASS;

    fn order() -> Order {
        Order {
            namespace: "narthex-system".to_owned(),
            lease: "narthex".to_owned(),
            selector: String::new(),
            namespaces: Vec::new(),
            class: "narthex".to_owned(),
            class_less: false,
            drop_in: Vec::new(),
            router: None,
            rate: 1,
            patience: Duration::ZERO,
        }
    }

    fn of_ingresses() -> StatusRules {
        rules(Kind::Ingress).unwrap()
    }

    #[test]
    fn ours_are_those_of_our_classes() {
        let is_ours = |object: &Value, order: &Order, classes: &HashMap<String, String>| {
            is_ours((of_ingresses().class)(object), order, classes)
        };
        let classes = HashMap::from([
            ("edge".to_owned(), CONTROLLER.to_owned()),
            ("nginx".to_owned(), "k8s.io/ingress-nginx".to_owned()),
        ]);
        let of = |class: Value| json!({"spec": {"ingressClassName": class}});
        for (class, ours) in [("narthex", true), ("edge", true), ("nginx", false), ("other", false)] {
            assert_eq!(is_ours(&of(json!(class)), &order(), &classes), ours, "{class}");
        }
        let old = json!({"metadata": {"annotations": {OLD_CLASS: "edge"}}, "spec": {}});
        assert!(is_ours(&old, &order(), &classes));
        let taken = HashMap::from([("narthex".to_owned(), "example.com/other".to_owned())]);
        assert!(
            !is_ours(&of(json!("narthex")), &order(), &taken),
            "another's class of our name"
        );
        assert!(!is_ours(&of(Value::Null), &order(), &classes));
        let with = Order {
            class_less: true,
            ..order()
        };
        assert!(is_ours(&of(Value::Null), &with, &classes));
    }

    #[test]
    fn classes_of_a_controller_that_was_stood_in_for_are_ours() {
        let classes = HashMap::from([
            ("public".to_owned(), "k8s.io/ingress-nginx".to_owned()),
            ("nginx".to_owned(), "example.com/other".to_owned()),
        ]);
        let none = HashMap::new();
        let with = Order {
            drop_in: vec![Dialect::IngressNginx],
            ..order()
        };
        for (class, classes, wanted) in [
            ("public", &classes, true),
            ("nginx", &classes, false),
            ("nginx", &none, true),
        ] {
            assert_eq!(is_ours(Some(class), &with, classes), wanted, "{class}");
            assert!(!is_ours(Some(class), &order(), classes), "{class}");
        }
    }

    #[test]
    fn only_what_we_wrote_is_emptied() {
        let has_our_addresses = |object: &Value| has_our_status(object, &of_ingresses());
        let ingress = |manager: &str, subresource: &str, addresses: Value| {
            json!({
                "metadata": {"managedFields": [
                    {"manager": "kubectl", "fieldsV1": {"f:spec": {}}},
                    {"manager": manager, "subresource": subresource,
                     "fieldsV1": {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}},
                ]},
                "status": {"loadBalancer": {"ingress": addresses}},
            })
        };
        let one = || json!([{"ip": "192.0.2.1"}]);
        assert!(has_our_addresses(&ingress(WRITER, "status", one())));
        assert!(!has_our_addresses(&ingress("nginx", "status", one())));
        assert!(!has_our_addresses(&ingress(WRITER, "", one())));
        assert!(!has_our_addresses(&ingress(WRITER, "status", json!([]))));
        assert!(!has_our_addresses(&json!({})));
    }

    #[test]
    fn what_is_emptied_is_what_is_written() {
        let nothing = json!({"loadBalancer": {"ingress": null}});
        assert_eq!(removed(&unset(&of_ingresses())), nothing);
    }
}
