//! The status of Routes: a list in which each router has one entry. narthex changes its own and leaves those of others as they
//! are, so it reads the object, changes the entry and writes the object back under its resourceVersion.

mod watch;

use super::api::{Api, Failed};
use super::{LOOK, REFUSED, WRITER, now, path_of, places};
use crate::model::{Kind, ObjectRef};
use crate::table::{RouteAdmission, Table};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
use watch::Watch;

/// How often an entry may be found changed before narthex stops writing it: two routers of one name would go on for ever.
const MOST_UNDONE: u32 = 3;
/// How long an entry has to stay as it is for the count to begin anew.
const CALM: Duration = Duration::from_secs(600);

/// What a router is called in the status of Routes.
#[derive(Clone, Debug)]
pub struct Router {
    /// `--router-name`.
    pub name: String,
    /// `--router-hostname`.
    pub hostname: Option<String>,
}

/// What is known of the entry of this router in one Route.
#[derive(Debug, PartialEq)]
pub(super) struct Known {
    /// Which Route it was: another one of the same name has lost nothing.
    uid: String,
    /// The entry without times, as it was last read or written; absent if the Route has no entry of this router.
    entry: Option<Value>,
    /// The Route's resourceVersion then.
    version: u64,
}

/// What is known of the entries of this router.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: HashMap<ObjectRef, Known>,
    /// How often in a row another writer has changed an entry, and when last.
    undone: HashMap<ObjectRef, (u32, Instant)>,
    watch: Option<Watch>,
    /// When the entries were last read, or that was tried.
    read: Option<Instant>,
    /// The generation of the table whose Routes all have the entries they should.
    settled: Option<u64>,
    wait_until: Option<Instant>,
}

impl Routes {
    /// Reads the entries that all Routes have, and watches them from there on.
    pub async fn read(&mut self, api: &Api, router: &Router, namespaces: &[String]) -> Result<(), Failed> {
        self.read = Some(Instant::now());
        let (mut found, mut watched) = (HashMap::new(), Vec::new());
        for place in places(Kind::Route, namespaces) {
            let take = |object: Value| found.extend(entry_of(&object, &router.name));
            match api.each(&place, "", take).await {
                Ok(version) => watched.push((place, version)),
                // The API server has no such kind.
                Err(Failed::Missing) => {}
                // Ingresses get their addresses all the same.
                Err(error @ Failed::Forbidden(_)) => {
                    tracing::warn!(%error, "cannot read the status of Routes: grant list on routes");
                    self.wait_until = Some(Instant::now() + REFUSED);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if !watched.is_empty() && !self.watch.as_mut().is_some_and(Watch::is_live) {
            self.watch = Some(Watch::begin(api, &router.name, watched));
        }
        let gone = self.known.keys().filter(|object| !found.contains_key(*object));
        let gone: Vec<ObjectRef> = gone.cloned().collect();
        for object in gone {
            self.observe(router, object, None, Instant::now());
        }
        for (object, known) in found {
            self.observe(router, object, Some(known), Instant::now());
        }
        self.settled = None;
        Ok(())
    }

    /// Whether Routes are served that nobody watches yet: their kind came later than this writer, or the watch has ended.
    fn is_blind(&mut self, table: &Table) -> bool {
        let is_early = self.read.is_some_and(|at| at.elapsed() < LOOK);
        !is_early
            && !self.watch.as_mut().is_some_and(Watch::is_live)
            && table.all_served().any(|served| served.admission.is_some())
    }

    /// Takes what was seen of a Route, and counts what others have changed of its entry since it was read or written.
    fn observe(&mut self, router: &Router, object: ObjectRef, now: Option<Known>, at: Instant) {
        let Some(now) = now else {
            self.undone.remove(&object);
            self.known.remove(&object);
            self.settled = None;
            return;
        };
        let may_write = self.may_write(&object);
        if let Some(known) = self.known.get(&object) {
            if known.uid != now.uid {
                self.undone.remove(&object);
            } else if now.version < known.version {
                // A watch shows also what has been written over since.
                return;
            } else if may_write && known.entry != now.entry {
                let (undone, last) = self.undone.entry(object.clone()).or_insert((0, at));
                *undone = match at.duration_since(*last) < CALM {
                    true => *undone + 1,
                    false => 1,
                };
                *last = at;
                if *undone == MOST_UNDONE {
                    tracing::warn!(
                        %object,
                        "another writer keeps changing the entry of router \"{}\" in the status, so narthex leaves this entry \
                         alone until it is started again: give each router a name of its own (--router-name)",
                        router.name
                    );
                }
            }
        }
        self.settled = None;
        self.known.insert(object, now);
    }

    /// Writes some of the entries that differ from what they should be. Returns how many it tried.
    pub async fn write(
        &mut self,
        api: &Api,
        router: &Router,
        namespaces: &[String],
        (table, most): (&Table, usize),
    ) -> usize {
        while let Some((object, known)) = self.watch.as_mut().and_then(Watch::next) {
            self.observe(router, object, known, Instant::now());
        }
        if self.wait_until.is_some_and(|until| Instant::now() < until) {
            return 0;
        }
        if self.is_blind(table)
            && let Err(error) = self.read(api, router, namespaces).await
        {
            tracing::debug!(%error, "cannot read the status of Routes");
        }
        if self.settled == Some(table.generation) {
            return 0;
        }
        let due = self.due(router, table);
        let mut tried = 0;
        for (object, wanted) in due.iter().take(most) {
            tried += 1;
            match self.bring(api, router, object, wanted.as_ref()).await {
                Ok(()) => {}
                Err(error @ Failed::Forbidden(_)) => {
                    tracing::warn!(%error, "cannot write the status of Routes: grant update on routes/status");
                    self.wait_until = Some(Instant::now() + REFUSED);
                    return tried;
                }
                Err(error) => {
                    tracing::debug!(%error, %object, "cannot write the status of a Route");
                    self.wait_until = Some(Instant::now() + Duration::from_secs(1));
                    return tried;
                }
            }
        }
        // What was written is compared once more before it counts as settled, because of conflicts.
        if due.is_empty() {
            self.settled = Some(table.generation);
        }
        tried
    }

    /// The entries that differ from what they should be, with what that is.
    fn due(&self, router: &Router, table: &Table) -> Vec<(ObjectRef, Option<Value>)> {
        let mut due: Vec<(ObjectRef, Option<Value>)> = Vec::new();
        for served in table.all_served() {
            let Some(admission) = &served.admission else { continue };
            let wanted = Some(desired(router, admission));
            let is_right = |known: &Known| known.entry == wanted && *known.uid == *served.revision.uid;
            if self.may_write(&served.object) && !self.known.get(&served.object).is_some_and(is_right) {
                due.push((served.object.clone(), wanted));
            }
        }
        let with_entry = self.known.iter().filter(|(_, known)| known.entry.is_some());
        let is_gone = |object: &&ObjectRef| table.served(object).is_none() && self.may_write(object);
        let gone: BTreeSet<&ObjectRef> = with_entry.map(|(object, _)| object).filter(is_gone).collect();
        due.extend(gone.into_iter().map(|object| (object.clone(), None)));
        due
    }

    fn may_write(&self, object: &ObjectRef) -> bool {
        self.undone.get(object).is_none_or(|(undone, _)| *undone < MOST_UNDONE)
    }

    async fn bring(
        &mut self,
        api: &Api,
        router: &Router,
        object: &ObjectRef,
        wanted: Option<&Value>,
    ) -> Result<(), Failed> {
        match bring(api, &path_of(object), &router.name, wanted).await {
            Ok((uid, version)) => {
                let entry = wanted.cloned();
                self.known.insert(object.clone(), Known { uid, entry, version });
            }
            Err(Failed::Missing) => {
                self.known.remove(object);
            }
            // Somebody else has written meanwhile: it is read again at the next turn.
            Err(Failed::Conflict) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Brings the entry of a router in the status of one Route to what it should be; absent takes it away. Returns the Route's UID and
/// its resourceVersion.
///
/// # Errors
/// As [`Failed`] has them; a conflict where somebody else has written meanwhile.
pub(super) async fn bring(
    api: &Api,
    path: &str,
    router: &str,
    wanted: Option<&Value>,
) -> Result<(String, u64), Failed> {
    let mut route = api.get(path).await?;
    let uid = uid(&route);
    if !put(&mut route, router, wanted, &now()) {
        return Ok((uid, version(&route)));
    }
    let path = format!("{path}/status?fieldManager={WRITER}");
    api.replace(&path, &route).await.map(|written| (uid, version(&written)))
}

fn uid(route: &Value) -> String {
    route["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// Of one object they can be compared as numbers.
fn version(route: &Value) -> u64 {
    let version = route["metadata"]["resourceVersion"].as_str();
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The entry that a router should have, without times.
pub fn desired(router: &Router, admission: &RouteAdmission) -> Value {
    let mut condition = json!({"type": "Admitted", "status": "True"});
    if let Some((reason, message)) = &admission.refused {
        condition = json!({"type": "Admitted", "status": "False", "reason": reason, "message": message});
    }
    let mut entry = json!({
        "routerName": router.name,
        "wildcardPolicy": if admission.wildcard { "Subdomain" } else { "None" },
        "conditions": [condition],
    });
    if !admission.host.is_empty() {
        entry["host"] = (*admission.host).into();
    }
    if let Some(name) = &router.hostname {
        entry["routerCanonicalHostname"] = name.as_str().into();
    }
    entry
}

/// Whether a Route has an entry of a router.
pub(super) fn has_entry(object: &Value, router: &str) -> bool {
    entry_of(object, router).is_some_and(|(_, known)| known.entry.is_some())
}

/// A Route of a list, and the entry of a router in its status, without times.
fn entry_of(object: &Value, router: &str) -> Option<(ObjectRef, Known)> {
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let reference = ObjectRef::new(Kind::Route, namespace.as_str()?, name.as_str()?);
    let entries = object["status"]["ingress"].as_array();
    let ours = entries
        .into_iter()
        .flatten()
        .find(|entry| entry["routerName"] == router);
    let known = Known {
        uid: uid(object),
        entry: ours.map(without_times),
        version: version(object),
    };
    Some((reference, known))
}

fn without_times(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Some(conditions) = entry["conditions"].as_array_mut() {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            condition.remove("lastTransitionTime");
        }
    }
    entry
}

/// Puts the entry of a router into the status of a Route, or takes it away. All other entries stay as they are, in their order.
/// Says whether anything changed.
fn put(route: &mut Value, router: &str, wanted: Option<&Value>, now: &str) -> bool {
    let is_ours = |entry: &Value| entry["routerName"] == router;
    let entries = route["status"]["ingress"].as_array().cloned().unwrap_or_default();
    let first = entries.iter().position(is_ours);
    let known = first.and_then(|place| entries.get(place));
    let is_one = entries.iter().filter(|entry| is_ours(entry)).count() <= 1;
    if is_one && known.map(without_times).as_ref() == wanted {
        return false;
    }
    let entry = wanted.map(|wanted| {
        let mut entry = wanted.clone();
        let before = |field: &str| known.and_then(|known| known["conditions"][0][field].as_str());
        let condition = &wanted["conditions"][0];
        let stays = ["status", "reason"]
            .iter()
            .all(|field| before(field) == condition[*field].as_str());
        let since = before("lastTransitionTime").filter(|_| stays).unwrap_or(now);
        entry["conditions"][0]["lastTransitionTime"] = since.into();
        entry
    });
    let mut all = Vec::with_capacity(entries.len() + 1);
    for (place, other) in entries.iter().enumerate() {
        if !is_ours(other) {
            all.push(other.clone());
        } else if Some(place) == first {
            all.extend(entry.clone());
        }
    }
    if first.is_none() {
        all.extend(entry);
    }
    route["status"]["ingress"] = all.into();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router {
        Router {
            name: "narthex".to_owned(),
            hostname: Some("edge.test".to_owned()),
        }
    }

    fn admission(refused: Option<(&'static str, String)>) -> RouteAdmission {
        RouteAdmission {
            host: "a.test".into(),
            wildcard: false,
            refused,
        }
    }

    fn route(entries: Value) -> Value {
        json!({"metadata": {"namespace": "n", "name": "r", "resourceVersion": "7"}, "spec": {"x": 1}, "status": {"ingress": entries}})
    }

    #[test]
    fn the_entries_of_others_stay_to_the_letter() {
        let theirs = json!([
            {"routerName": "default", "host": "a.test", "conditions": [{"type": "Admitted", "status": "True", "lastTransitionTime": "x"}], "odd": [1]},
            {"routerName": "shard", "host": ""},
        ]);
        let mut object = route(theirs.clone());
        assert!(put(
            &mut object,
            "narthex",
            Some(&desired(&router(), &admission(None))),
            "T1"
        ));
        let entries = object["status"]["ingress"].as_array().unwrap();
        assert_eq!(entries[..2], theirs.as_array().unwrap()[..]);
        assert_eq!(
            entries[2],
            json!({
                "routerName": "narthex", "host": "a.test", "routerCanonicalHostname": "edge.test", "wildcardPolicy": "None",
                "conditions": [{"type": "Admitted", "status": "True", "lastTransitionTime": "T1"}],
            })
        );
        assert_eq!(object["metadata"]["resourceVersion"], "7");
        assert!(put(&mut object, "narthex", None, "T2"));
        assert_eq!(object["status"]["ingress"], theirs);
        assert!(!put(&mut object, "narthex", None, "T3"));
    }

    #[test]
    fn a_time_is_that_of_the_last_change() {
        let (good, bad) = (
            desired(&router(), &admission(None)),
            desired(&router(), &admission(Some(("HostAlreadyClaimed", "why".to_owned())))),
        );
        let mut object = route(Value::Null);
        let time = |object: &Value| object["status"]["ingress"][0]["conditions"][0]["lastTransitionTime"].clone();
        assert!(put(&mut object, "narthex", Some(&good), "T1"));
        assert!(!put(&mut object, "narthex", Some(&good), "T2"));
        assert!(put(&mut object, "narthex", Some(&bad), "T3"));
        assert_eq!(time(&object), "T3");
        let other = desired(
            &router(),
            &admission(Some(("HostAlreadyClaimed", "other words".to_owned()))),
        );
        assert!(put(&mut object, "narthex", Some(&other), "T4"));
        assert_eq!(time(&object), "T3");
        assert_eq!(entry_of(&object, "narthex").unwrap().1.entry, Some(other));
        assert!(!has_entry(&object, "else"));
    }

    #[test]
    fn an_entry_that_another_writer_keeps_changing_is_left_alone() {
        let mut routes = Routes::default();
        let object = ObjectRef::new(Kind::Route, "n", "r");
        let (ours, theirs) = (
            json!({"routerName": "narthex"}),
            json!({"routerName": "narthex", "host": "x"}),
        );
        let known = |uid: &str, entry: &Value, version: u64| Known {
            uid: uid.to_owned(),
            entry: Some(entry.clone()),
            version,
        };
        let mut now = Instant::now();
        let mut version = 0;
        // After each time it is written again.
        let mut undo = |routes: &mut Routes, uid: &str, later: Duration| {
            version += 10;
            now += later;
            routes.observe(&router(), object.clone(), Some(known(uid, &theirs, version)), now);
            if routes.may_write(&object) {
                routes.known.insert(object.clone(), known(uid, &ours, version + 5));
            }
            // What was written over since is nobody's doing, and what narthex wrote itself neither.
            routes.observe(&router(), object.clone(), Some(known(uid, &theirs, version)), now);
            if routes.may_write(&object) {
                routes.observe(&router(), object.clone(), Some(known(uid, &ours, version + 5)), now);
            }
        };
        let soon = Duration::from_millis(100);
        routes.known.insert(object.clone(), known("1", &ours, 1));
        undo(&mut routes, "1", soon);
        undo(&mut routes, "1", soon);
        // A time in which it stays begins the count anew, and so does another Route of this name.
        undo(&mut routes, "1", CALM);
        undo(&mut routes, "1", soon);
        undo(&mut routes, "2", soon);
        undo(&mut routes, "2", soon);
        undo(&mut routes, "2", soon);
        assert!(routes.may_write(&object));
        undo(&mut routes, "2", soon);
        assert!(!routes.may_write(&object));
        // It stays so.
        undo(&mut routes, "2", CALM);
        assert!(!routes.may_write(&object));
    }
}
