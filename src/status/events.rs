//! What is wrong with objects, said where `kubectl describe` shows it: Events (events.k8s.io/v1).
//!
//! An Event has a name made of what it says, so that another process, or a later one, finds it again and counts it once
//! more instead of saying it twice.

use super::api::{Api, Failed, micro_time};
use crate::compile::CONTROLLER;
use crate::model::{Code, Diagnostic, Kind, ObjectRef, Report, Severity};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};
use twox_hash::XxHash3_64;

/// Bytes of a note (events.k8s.io/v1: at most 1 KiB).
const NOTE: usize = 1000;
/// Events that wait at most; what is beyond is in the report anyhow.
const WAITING: usize = 2000;
/// Events about one object in each [`SPAN`].
const PER_OBJECT: u32 = 10;
const SPAN: Duration = Duration::from_secs(600);

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    object: ObjectRef,
    code: Code,
    field: String,
    message: String,
}

/// Something to say.
#[derive(Clone, Debug)]
struct Saying {
    problem: Problem,
    mended: bool,
}

/// Events that are to be written.
pub struct Events {
    api: Api,
    instance: String,
    said: BTreeSet<Problem>,
    waiting: VecDeque<Saying>,
    about: HashMap<ObjectRef, (Instant, u32)>,
    denied: bool,
}

/// The part of a report that concerns objects and is worth an Event.
fn problems(report: &Report) -> BTreeSet<Problem> {
    let serious = |diagnostic: &&Diagnostic| diagnostic.severity() != Severity::Info;
    let each = report.objects.iter().flat_map(|(object, all)| {
        all.iter().filter(serious).map(|diagnostic| Problem {
            object: object.clone(),
            code: diagnostic.code,
            field: diagnostic.field.clone(),
            message: diagnostic.message.clone(),
        })
    });
    each.filter(|problem| problem.object.kind.facts().events).collect()
}

impl Events {
    /// Nothing said yet, by this process.
    pub fn new(api: Api, instance: String) -> Self {
        Self {
            api,
            instance,
            said: BTreeSet::new(),
            waiting: VecDeque::new(),
            about: HashMap::new(),
            denied: false,
        }
    }

    /// What another process says of a report, as long as that one writes.
    pub fn observe(&mut self, report: &Report) {
        self.waiting.clear();
        self.said = problems(report);
    }

    /// From now on this process writes: all that is wrong is said, for the one before may not have come to it, and who
    /// said it already is found by the Event's name. What was wrong and is not any more is known from having observed.
    pub fn take_over(&mut self, report: &Report) {
        let before = self.said.clone();
        self.take(report);
        let again = self.said.intersection(&before).cloned();
        let again = again.map(|problem| Saying { problem, mended: false });
        self.waiting
            .extend(again.take(WAITING.saturating_sub(self.waiting.len())));
    }

    /// A new report: what is new in it is to be said, and what is gone from it is mended.
    pub fn take(&mut self, report: &Report) {
        let now = problems(report);
        let say = |problem: &Problem, mended| Saying {
            problem: problem.clone(),
            mended,
        };
        let (new, gone) = (now.difference(&self.said), self.said.difference(&now));
        // A problem in other words, such as with another count of pods, is not mended.
        let lasting: BTreeSet<_> = now.iter().map(|one| (&one.object, one.code, &one.field)).collect();
        let mended = gone.filter(|one| !lasting.contains(&(&one.object, one.code, &one.field)));
        let sayings = new.map(|one| say(one, false)).chain(mended.map(|one| say(one, true)));
        self.waiting
            .extend(sayings.take(WAITING.saturating_sub(self.waiting.len())));
        self.said = now;
    }

    /// Says the next few.
    pub async fn write(&mut self, most: usize) {
        for _ in 0..most {
            let Some(saying) = self.waiting.pop_front() else { return };
            if self.denied || !self.may_say(&saying.problem.object) {
                continue;
            }
            match self.say(&saying).await {
                Ok(()) | Err(Failed::Missing) => {}
                Err(error @ Failed::Forbidden(_)) => {
                    self.denied = true;
                    tracing::warn!(%error, "cannot write Events: grant create, get and patch on events of events.k8s.io");
                }
                Err(error) => tracing::debug!(%error, "cannot write an Event"),
            }
        }
    }

    fn may_say(&mut self, object: &ObjectRef) -> bool {
        if self.about.len() > WAITING {
            self.about.retain(|_, (since, _)| since.elapsed() < SPAN);
        }
        let (since, count) = self.about.entry(object.clone()).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() >= SPAN {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        *count <= PER_OBJECT
    }

    async fn say(&self, saying: &Saying) -> Result<(), Failed> {
        let object = &saying.problem.object;
        let (version, plural) = (object.kind.api_version(), object.kind.plural());
        // Secrets may not be read just for this, so their Events go without a uid.
        let uid = match object.kind {
            Kind::Secret => Value::Null,
            _ => {
                let root = if object.kind.group().is_empty() { "api" } else { "apis" };
                let path = format!(
                    "/{root}/{version}/namespaces/{}/{plural}/{}",
                    object.namespace, object.name
                );
                self.api.get(&path).await?["metadata"]["uid"].take()
            }
        };
        let now = micro_time(jiff::Timestamp::now());
        let event = event(saying, (version, &uid), &now, &self.instance);
        let collection = format!("/apis/events.k8s.io/v1/namespaces/{}/events", object.namespace);
        match self.api.create(&collection, &event).await {
            Err(Failed::Conflict) => {
                let path = format!(
                    "{collection}/{}",
                    event["metadata"]["name"].as_str().unwrap_or_default()
                );
                let known = self.api.get(&path).await?;
                let count = known["series"]["count"].as_i64().unwrap_or(1);
                let again = json!({"series": {"count": count + 1, "lastObservedTime": now}});
                self.api.merge(&path, &again).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}

fn event(saying: &Saying, (version, uid): (&str, &Value), now: &str, instance: &str) -> Value {
    let Saying { problem, mended } = saying;
    let object = &problem.object;
    let place = if problem.field.is_empty() {
        String::new()
    } else {
        format!("{}: ", problem.field)
    };
    let mut note = match mended {
        true => format!("mended: {place}{}", problem.message),
        false => format!("{place}{}", problem.message),
    };
    if note.len() > NOTE {
        let end = (0..NOTE).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
        note += "…";
    }
    let hash = XxHash3_64::oneshot(format!("{uid} {} {note}", problem.code.name()).as_bytes());
    // Names of objects may be 253 characters long, and so may those of Events.
    let name: String = object.name.chars().take(230).collect();
    let mut regarding = BTreeMap::from([
        ("apiVersion", json!(version)),
        ("kind", json!(object.kind.name())),
        ("namespace", json!(&*object.namespace)),
        ("name", json!(&*object.name)),
    ]);
    if !uid.is_null() {
        regarding.insert("uid", uid.clone());
    }
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": format!("{name}.{hash:016x}"), "namespace": &*object.namespace},
        "eventTime": now,
        "type": if *mended { "Normal" } else { "Warning" },
        "reason": if *mended { "Mended".to_owned() } else { problem.code.name().to_owned() },
        "action": "Route",
        "note": note,
        "regarding": regarding,
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_what_and_where_and_is_the_same_again() {
        let object = ObjectRef::new(Kind::Ingress, "team", "web");
        let problem = Problem {
            object,
            code: Code::ALL[0],
            field: "spec.rules[0]".to_owned(),
            message: "ä".repeat(2000),
        };
        let saying = Saying { problem, mended: false };
        let make = |now| event(&saying, ("networking.k8s.io/v1", &json!("u1")), now, "pod");
        let (one, other) = (make("1"), make("2"));
        assert_eq!(one["metadata"]["name"], other["metadata"]["name"]);
        let note = one["note"].as_str().unwrap();
        assert!(
            note.starts_with("spec.rules[0]: ää") && note.len() <= 1024,
            "{}",
            note.len()
        );
        assert_eq!(one["regarding"]["uid"], "u1");
        assert_eq!(one["type"], "Warning");
        let reason = one["reason"].as_str().unwrap();
        assert!(
            reason.chars().all(|c| c.is_ascii_alphanumeric()) && reason.starts_with(char::is_uppercase),
            "{reason}"
        );
    }
}
