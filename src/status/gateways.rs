//! The statuses of Gateway API objects. Others write into them too, and lists such as `parents` are replaced as a whole by
//! a patch, so each object is read, changed and written with the resourceVersion that it was read with.

use super::api::{Api, Failed};
use super::desired::Address;
use super::{READ, REFUSED, WRITER, now, path_of, places};
use crate::dialect::gateway::GATEWAY_CONTROLLER;
use crate::model::{Kind, ObjectRef};
use crate::table::DesiredStatus;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The kinds whose status narthex writes, in the order in which it is written.
const KINDS: [Kind; 6] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::HTTPRoute,
    Kind::GRPCRoute,
    Kind::TLSRoute,
    Kind::TCPRoute,
];
/// The most addresses of a Gateway, and parents of a route: the API refuses more.
const MOST_ADDRESSES: usize = 16;
const MOST_PARENTS: usize = 32;
/// The types of conditions that narthex writes. All others are somebody else's.
const OURS: [&str; 5] = [
    "Accepted",
    "Conflicted",
    "PartiallyInvalid",
    "Programmed",
    "ResolvedRefs",
];

fn is_route(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute
    )
}

/// What is known of the statuses that objects have.
#[derive(Default)]
pub(super) struct Statuses {
    known: HashMap<ObjectRef, DesiredStatus>,
    read: Option<Instant>,
    wait_until: Option<Instant>,
    /// The objects whose status the API server has not taken, and until when they are left alone: those behind them have
    /// their turn meanwhile.
    refused: HashMap<ObjectRef, Instant>,
}

impl Statuses {
    /// Writes some of what differs.
    pub async fn write(
        &mut self,
        api: &Api,
        desired: &BTreeMap<ObjectRef, DesiredStatus>,
        addresses: Option<&BTreeSet<Address>>,
        (namespaces, most): (&[String], usize),
    ) {
        if self.wait_until.is_some_and(|until| Instant::now() < until) || (desired.is_empty() && self.known.is_empty())
        {
            return;
        }
        if self.read.is_none_or(|at| at.elapsed() >= READ) {
            self.read_all(api, namespaces).await;
        }
        self.refused.retain(|_, until| Instant::now() < *until);
        let addresses = addresses.map(written);
        let now = now();
        for (object, wanted) in self.due(desired, addresses.as_deref(), &now, most) {
            match write_one(api, &object, &wanted, addresses.as_deref(), &now).await {
                Ok(status) => drop(self.known.insert(object, status)),
                Err(Failed::Missing) => drop(self.known.remove(&object)),
                // It is read again before it is written again.
                Err(Failed::Conflict) => {}
                Err(error @ Failed::Forbidden(_)) => {
                    let resource = object.kind.plural();
                    tracing::warn!(%error, "cannot write the status: grant update on {resource}/status, and get on {resource}");
                    self.wait_until = Some(Instant::now() + REFUSED);
                    return;
                }
                Err(error @ Failed::Invalid(_)) => {
                    tracing::warn!(%error, %object, "the API server refuses the status of an object, which is tried again in a minute");
                    self.refused.insert(object, Instant::now() + REFUSED);
                }
                Err(error) => {
                    tracing::debug!(%error, %object, "cannot write the status of an object");
                    self.wait_until = Some(Instant::now() + Duration::from_secs(1));
                    return;
                }
            }
        }
    }

    /// Reads the statuses of all objects, as far as they can be listed.
    async fn read_all(&mut self, api: &Api, namespaces: &[String]) {
        self.read = Some(Instant::now());
        let mut known = HashMap::new();
        for kind in KINDS {
            for place in places(kind, namespaces) {
                let take = |object: Value| {
                    let metadata = &object["metadata"];
                    let namespace = metadata["namespace"].as_str().unwrap_or_default();
                    let name = metadata["name"].as_str().unwrap_or_default();
                    let status = DesiredStatus {
                        uid: metadata["uid"].as_str().unwrap_or_default().into(),
                        fields: object["status"].clone(),
                    };
                    known.insert(ObjectRef::new(kind, namespace, name), status);
                };
                if let Err(error) = api.each(&place, "", take).await {
                    tracing::debug!(%error, "cannot read the status of {}", kind.plural());
                }
            }
        }
        self.known = known;
    }

    /// The objects whose status is to be written next, with what it should say.
    fn due(
        &self,
        desired: &BTreeMap<ObjectRef, DesiredStatus>,
        addresses: Option<&[Value]>,
        now: &str,
        most: usize,
    ) -> Vec<(ObjectRef, DesiredStatus)> {
        let differs = |object: &ObjectRef, wanted: &DesiredStatus| {
            if self.refused.contains_key(object) {
                return false;
            }
            // One of another uid is gone, and another object has its name.
            let known = self.known.get(object).filter(|known| known.uid == wanted.uid);
            let known = known.map_or(&Value::Null, |known| &known.fields);
            merged(object.kind, known, &wanted.fields, addresses, now).is_some_and(|status| status != *known)
        };
        let wanted = desired.iter().filter(|(object, wanted)| differs(object, wanted));
        let wanted = wanted.map(|(object, status)| (object.clone(), status.clone()));
        // Routes that name no Gateway of ours any more.
        let left = self.known.iter().filter(|(object, status)| {
            let is_ours = |parent: &Value| parent["controllerName"] == GATEWAY_CONTROLLER;
            let has_ours = list(&status.fields["parents"]).iter().any(is_ours);
            has_ours && is_route(object.kind) && !desired.contains_key(object)
        });
        let left = left.map(|(object, known)| {
            let nothing = DesiredStatus {
                uid: known.uid.clone(),
                fields: json!({"parents": []}),
            };
            (object.clone(), nothing)
        });
        let left = left.filter(|(object, nothing)| differs(object, nothing));
        wanted.chain(left).take(most).collect()
    }
}

/// Reads an object, and writes its status if that differs from what it should be. Gives the status that it has.
async fn write_one(
    api: &Api,
    object: &ObjectRef,
    wanted: &DesiredStatus,
    addresses: Option<&[Value]>,
    now: &str,
) -> Result<DesiredStatus, Failed> {
    let path = path_of(object);
    let mut read = api.get(&path).await?;
    let current = read["status"].clone();
    let uid: Arc<str> = read["metadata"]["uid"].as_str().unwrap_or_default().into();
    if uid != wanted.uid {
        // Another object has the name by now. What it should say is not known yet.
        return Ok(DesiredStatus { uid, fields: current });
    }
    match merged(object.kind, &current, &wanted.fields, addresses, now) {
        Some(status) if status != current => {
            read["status"] = status.clone();
            api.replace(&format!("{path}/status?fieldManager={}", WRITER), &read)
                .await?;
            // Not what the server says: older definitions of the kinds drop fields, and what never comes back would be
            // written again and again.
            Ok(DesiredStatus { uid, fields: status })
        }
        // Somebody who knows a newer generation was here, or it is as it should be.
        _ => Ok(DesiredStatus { uid, fields: current }),
    }
}

/// Addresses as a Gateway's status has them.
fn written(addresses: &BTreeSet<Address>) -> Vec<Value> {
    let entry = |address: &Address| match address {
        Address::Ip(ip) => json!({"type": "IPAddress", "value": ip.to_string()}),
        Address::Name(name) => json!({"type": "Hostname", "value": name}),
    };
    addresses.iter().take(MOST_ADDRESSES).map(entry).collect()
}

/// A status with what narthex wants in it: what others have written stays, and what narthex wrote and does not want any
/// more goes. Absent where the status knows a newer generation of the object.
fn merged(kind: Kind, current: &Value, wanted: &Value, addresses: Option<&[Value]>, now: &str) -> Option<Value> {
    let mut status = current.as_object().cloned().unwrap_or_default();
    match kind {
        kind if is_route(kind) => {
            let parents = parents(&current["parents"], &wanted["parents"], now)?;
            status.insert("parents".to_owned(), parents);
        }
        _ => {
            let own = conditions(&current["conditions"], &wanted["conditions"], now)?;
            status.insert("conditions".to_owned(), own);
        }
    }
    if kind == Kind::Gateway {
        let listeners = listeners(&current["listeners"], &wanted["listeners"], now)?;
        status.insert("listeners".to_owned(), listeners);
        let is_served = list(&wanted["conditions"])
            .iter()
            .any(|one| one["type"] == "Programmed" && one["status"] == "True");
        let own = wanted.get("addresses").map(list);
        match own.or(addresses) {
            Some([]) => drop(status.remove("addresses")),
            Some(own) if wanted.get("addresses").is_some() => drop(status.insert("addresses".to_owned(), own.into())),
            Some(addresses) if is_served => drop(status.insert("addresses".to_owned(), addresses.into())),
            Some(_) => drop(status.remove("addresses")),
            None => {}
        }
    }
    if let Some(features) = wanted.get("supportedFeatures") {
        status.insert("supportedFeatures".to_owned(), features.clone());
    }
    Some(Value::Object(status))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Conditions with those that are wanted: each keeps the time of its last change unless its status changes.
fn conditions(current: &Value, wanted: &Value, now: &str) -> Option<Value> {
    let (current, wanted) = (list(current), list(wanted));
    let known = |kind: &Value| current.iter().find(|one| one["type"] == *kind);
    let mut all = Vec::new();
    for one in wanted {
        let before = known(&one["type"]);
        let generation = |one: &Value| one["observedGeneration"].as_i64().unwrap_or_default();
        if before.is_some_and(|before| generation(before) > generation(one)) {
            return None;
        }
        let since = before.filter(|before| before["status"] == one["status"]);
        let since = since
            .and_then(|before| before["lastTransitionTime"].as_str())
            .unwrap_or(now);
        let mut fields: Map<String, Value> = one.as_object().cloned().unwrap_or_default();
        fields.insert("lastTransitionTime".to_owned(), since.into());
        all.push(Value::Object(fields));
    }
    let is_others = |one: &&Value| !one["type"].as_str().is_some_and(|kind| OURS.contains(&kind));
    // In the place that they have, so that nothing is written where nothing changes.
    let mut out: Vec<Value> = Vec::new();
    for one in current {
        match all.iter().position(|new| new["type"] == one["type"]) {
            Some(place) => out.push(all.remove(place)),
            None if is_others(&one) => out.push(one.clone()),
            None => {}
        }
    }
    out.extend(all);
    Some(Value::Array(out))
}

fn listeners(current: &Value, wanted: &Value, now: &str) -> Option<Value> {
    let mut out = Vec::new();
    for one in list(wanted) {
        let before = list(current).iter().find(|before| before["name"] == one["name"]);
        let mut listener = one.clone();
        let before = before.map_or(&Value::Null, |before| &before["conditions"]);
        listener["conditions"] = conditions(before, &one["conditions"], now)?;
        out.push(listener);
    }
    Some(Value::Array(out))
}

/// The parents of a route: those of other controllers stay to the letter.
fn parents(current: &Value, wanted: &Value, now: &str) -> Option<Value> {
    let mut new = Vec::new();
    for one in list(wanted) {
        let is_it =
            |before: &&Value| before["controllerName"] == GATEWAY_CONTROLLER && before["parentRef"] == one["parentRef"];
        let before = list(current).iter().find(is_it);
        let mut parent = one.clone();
        let before = before.map_or(&Value::Null, |before| &before["conditions"]);
        parent["conditions"] = conditions(before, &one["conditions"], now)?;
        new.push(parent);
    }
    let mut out = Vec::new();
    for one in list(current) {
        if one["controllerName"] != GATEWAY_CONTROLLER {
            out.push(one.clone());
        } else if let Some(place) = new.iter().position(|other| other["parentRef"] == one["parentRef"]) {
            out.push(new.remove(place));
        }
    }
    out.extend(new);
    out.truncate(MOST_PARENTS);
    Some(Value::Array(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str, generation: i64) -> Value {
        json!({"type": kind, "status": status, "reason": kind, "message": "", "observedGeneration": generation})
    }

    fn since(mut condition: Value, time: &str) -> Value {
        condition["lastTransitionTime"] = time.into();
        condition
    }

    fn parent(controller: &str, name: &str, conditions: &[Value]) -> Value {
        json!({"controllerName": controller, "parentRef": {"name": name}, "conditions": conditions})
    }

    #[test]
    fn what_others_wrote_stays_to_the_letter_and_ours_goes_with_its_cause() {
        let theirs = parent("a.test/other", "x", &[since(condition("Accepted", "True", 9), "t0")]);
        let foreign = since(condition("a.test/Extra", "True", 1), "t0");
        let ours = |name: &str, conditions: &[Value]| parent(GATEWAY_CONTROLLER, name, conditions);
        let old = since(condition("Accepted", "True", 1), "t1");
        let partly = since(condition("PartiallyInvalid", "True", 1), "t1");
        let current = json!({"parents": [
            ours("gone", std::slice::from_ref(&old)), theirs, ours("x", &[foreign.clone(), old, partly]),
        ]});
        let wanted = json!({"parents": [
            ours("x", &[condition("Accepted", "True", 2), condition("ResolvedRefs", "False", 2)]),
            ours("new", &[condition("Accepted", "False", 2)]),
        ]});
        let status = merged(Kind::HTTPRoute, &current, &wanted, None, "t2").unwrap();
        let expected = json!({"parents": [
            theirs,
            ours("x", &[
                foreign,
                since(condition("Accepted", "True", 2), "t1"),
                since(condition("ResolvedRefs", "False", 2), "t2"),
            ]),
            ours("new", &[since(condition("Accepted", "False", 2), "t2")]),
        ]});
        assert_eq!(status, expected);
        // Nothing is written where nothing changes.
        assert_eq!(
            merged(Kind::HTTPRoute, &status, &wanted, None, "t3").as_ref(),
            Some(&status)
        );
        let none = merged(Kind::HTTPRoute, &status, &json!({"parents": []}), None, "t4").unwrap();
        assert_eq!(none, json!({"parents": [theirs]}));
    }

    #[test]
    fn an_object_that_is_made_again_has_no_status_yet() {
        let object = ObjectRef::new(Kind::HTTPRoute, "a", "r");
        let of = |uid: &str, fields: &Value| DesiredStatus {
            uid: uid.into(),
            fields: fields.clone(),
        };
        let wanted = json!({"parents": [parent(GATEWAY_CONTROLLER, "x", &[condition("Accepted", "True", 1)])]});
        let written = merged(Kind::HTTPRoute, &Value::Null, &wanted, None, "t1").unwrap();
        let mut statuses = Statuses::default();
        statuses.known.insert(object.clone(), of("first", &written));
        let due = |uid: &str| {
            let desired = BTreeMap::from([(object.clone(), of(uid, &wanted))]);
            statuses.due(&desired, None, "t2", 9).len()
        };
        assert_eq!((due("first"), due("second")), (0, 1));
    }

    #[test]
    fn a_gateway_shows_addresses_where_it_is_served_and_no_more_than_fit() {
        let wanted = |served: &str| {
            json!({
                "conditions": [condition("Accepted", "True", 2), condition("Programmed", served, 2)],
                "listeners": [{"name": "web", "attachedRoutes": 1, "supportedKinds": [],
                               "conditions": [condition("Accepted", "True", 2)]}],
            })
        };
        let current = json!({
            "attachedListenerSets": 3,
            "conditions": [since(condition("a.test/Extra", "True", 1), "t0"), since(condition("Accepted", "False", 1), "t0")],
            "listeners": [{"name": "gone", "conditions": []},
                          {"name": "web", "conditions": [since(condition("Accepted", "True", 1), "t0")]}],
        });
        let addresses = (1..=17).map(|last| Address::new(&format!("10.0.0.{last}"))).collect();
        let addresses = written(&addresses);
        assert_eq!(addresses.len(), MOST_ADDRESSES);
        let status = merged(Kind::Gateway, &current, &wanted("True"), Some(&addresses), "t1").unwrap();
        assert_eq!(
            status["addresses"][0],
            json!({"type": "IPAddress", "value": "10.0.0.1"})
        );
        assert_eq!(status["attachedListenerSets"], 3);
        assert_eq!(status["conditions"][0], current["conditions"][0]);
        assert_eq!(status["conditions"][1]["lastTransitionTime"], "t1");
        assert_eq!(list(&status["listeners"]).len(), 1);
        assert_eq!(status["listeners"][0]["conditions"][0]["lastTransitionTime"], "t0");
        let closed = merged(Kind::Gateway, &status, &wanted("False"), Some(&addresses), "t2").unwrap();
        assert_eq!(closed.get("addresses"), None);
        let newer = json!({"conditions": [since(condition("Accepted", "True", 3), "t0")]});
        assert_eq!(merged(Kind::Gateway, &newer, &wanted("True"), None, "t1"), None);
    }
}
