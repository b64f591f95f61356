//! Taking back what was written: addresses in the status of Ingresses, Events, and at last the Lease.
//!
//! The Lease is taken first, under a name that every narthex lets be, so that nobody writes back what is emptied here. It goes
//! only when no narthex is left that could take it again.

use super::WRITER;
use super::api::{Api, Failed, escape};
use super::lease::{self, CLEANUP};
use crate::compile::CONTROLLER;
use crate::model::object::OLD_CLASS;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often Ingresses that change meanwhile are looked at.
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
    /// Ingresses whose status was emptied.
    pub emptied: usize,
    /// Ingresses of other classes, which were left alone.
    pub foreign: usize,
    /// Ingresses of ours that show nothing, or what somebody else wrote.
    pub untouched: usize,
    /// Events that were deleted.
    pub events: usize,
    /// What could not be done, by object; the first few.
    pub failures: Vec<String>,
    /// How many there were.
    pub failed: usize,
    /// Pods that still ran at the end, for whose sake the Lease was kept.
    pub running: Vec<String>,
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
    empty(api, order, &mut pace, &mut outcome).await?;
    forget(api, order, &mut pace, &mut outcome).await?;
    if outcome.failed == 0 {
        outcome.running = left(api, order).await?;
        if outcome.running.is_empty() {
            lease::remove(api, &wanted).await.map_err(named)?;
        }
    }
    Ok(outcome)
}

/// Empties the status of our Ingresses.
async fn empty(
    api: &Api,
    order: &Order,
    pace: &mut tokio::time::Interval,
    outcome: &mut Outcome,
) -> Result<(), (String, Failed)> {
    let classes = classes(api, order).await?;
    for pass in 1..=PASSES {
        (outcome.foreign, outcome.untouched) = (0, 0);
        let mut changed = Vec::new();
        for ingress in everywhere(api, order, "networking.k8s.io/v1", "ingresses", "").await? {
            if !is_ours(&ingress, order, &classes) {
                outcome.foreign += 1;
                continue;
            }
            if !has_our_addresses(&ingress) {
                outcome.untouched += 1;
                continue;
            }
            let meta = &ingress["metadata"];
            let name = format!("Ingress {}", place(&ingress));
            let path = format!("{}/status", path("networking.k8s.io/v1", "ingresses", &ingress));
            // With its version: what somebody writes meanwhile is not ours to empty.
            let nothing = json!({
                "metadata": {"resourceVersion": meta["resourceVersion"]},
                "status": {"loadBalancer": {"ingress": null}},
            });
            pace.tick().await;
            match api.merge(&path, &nothing).await {
                Ok(_) => outcome.emptied += 1,
                Err(Failed::Missing) => {}
                Err(error @ Failed::Conflict) => changed.push((name, error)),
                Err(error) => outcome.fail(&name, &error),
            }
        }
        if changed.is_empty() || outcome.failed > 0 {
            break;
        }
        if pass == PASSES {
            for (name, error) in changed {
                outcome.fail(&name, &error);
            }
        }
    }
    Ok(())
}

/// Deletes our Events.
async fn forget(
    api: &Api,
    order: &Order,
    pace: &mut tokio::time::Interval,
    outcome: &mut Outcome,
) -> Result<(), (String, Failed)> {
    let ours = format!("&fieldSelector=reportingController%3D{}", escape(CONTROLLER));
    for event in everywhere(api, order, "events.k8s.io/v1", "events", &ours).await? {
        pace.tick().await;
        match api.delete(&path("events.k8s.io/v1", "events", &event)).await {
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

/// Whether an Ingress was served here: as `compile` decides it. The class itself may be gone already.
fn is_ours(ingress: &Value, order: &Order, classes: &HashMap<String, String>) -> bool {
    let field = ingress["spec"]["ingressClassName"].as_str();
    let class = field.or_else(|| ingress["metadata"]["annotations"][OLD_CLASS].as_str());
    match class.filter(|class| !class.is_empty()) {
        None => order.class_less,
        Some(class) => classes
            .get(class)
            .map_or(class == order.class, |controller| controller == CONTROLLER),
    }
}

/// Whether an Ingress shows addresses that a narthex wrote: whose they are, the API server notes with each field.
fn has_our_addresses(ingress: &Value) -> bool {
    let shown = ingress
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array);
    let writers = ingress["metadata"]["managedFields"].as_array();
    shown.is_some_and(|shown| !shown.is_empty())
        && writers.into_iter().flatten().any(|entry| {
            let addresses = entry.pointer("/fieldsV1/f:status/f:loadBalancer/f:ingress");
            entry["manager"] == WRITER && entry["subresource"] == "status" && addresses.is_some()
        })
}

/// All objects of a kind where narthex served.
async fn everywhere(
    api: &Api,
    order: &Order,
    version: &str,
    plural: &str,
    query: &str,
) -> Result<Vec<Value>, (String, Failed)> {
    let mut found = Vec::new();
    if order.namespaces.is_empty() {
        let all = list(api, &format!("/apis/{version}/{plural}"), query).await;
        return all.map_err(|error| (plural.to_owned(), error));
    }
    for namespace in &order.namespaces {
        let here = list(api, &format!("/apis/{version}/namespaces/{namespace}/{plural}"), query).await;
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

fn path(version: &str, plural: &str, object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!(
        "/apis/{version}/namespaces/{}/{plural}/{}",
        text("namespace"),
        text("name")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            namespace: "narthex-system".to_owned(),
            lease: "narthex".to_owned(),
            selector: String::new(),
            namespaces: Vec::new(),
            class: "narthex".to_owned(),
            class_less: false,
            rate: 1,
            patience: Duration::ZERO,
        }
    }

    #[test]
    fn ours_are_those_of_our_classes() {
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
    fn only_what_we_wrote_is_emptied() {
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
}
