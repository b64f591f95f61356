//! What the cluster is told: addresses in the status of Ingresses, and Events about what is wrong. One process writes, the
//! one that holds the Lease; routing never waits for any of it.

pub mod addresses;
pub mod api;
pub mod cleanup;
pub mod desired;
mod events;
mod gateways;
pub mod lease;
pub mod routes;

use crate::control::Shared;
use crate::model::{Kind, ObjectRef};
use crate::peers::live::{self, Live, MOST_ASKED};
use crate::table::Served;
use addresses::{Finder, OwnPods, Source, ask};
use api::{Api, Failed};
use desired::{Address, next};
use events::Events;
use gateways::Statuses;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often something is written.
const TURN: Duration = Duration::from_millis(250);
/// How often addresses are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How often all status is read anew: what others have written over it is put right then.
const READ: Duration = Duration::from_secs(60);
/// How long nothing is tried after it was refused.
const REFUSED: Duration = Duration::from_secs(60);
/// Who writes, as the API server notes it with each field: so it is known later whose addresses an Ingress shows.
const WRITER: &str = "narthex";
/// Events in each turn.
const EVENTS: usize = 3;

/// What is written, and how fast.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// Where addresses come from.
    pub source: Source,
    /// Which pods are peers.
    pub pods: OwnPods,
    pub lease: lease::Wanted,
    /// Writes of status a second.
    pub rate: u32,
    /// The namespaces whose Ingresses are served; empty for all.
    pub namespaces: Vec<String>,
    /// What this process is called in Events.
    pub instance: String,
    /// What it is called in the status of Routes; absent where it serves none.
    pub router: Option<routes::Router>,
}

/// Where the objects of a kind are listed: in some namespaces, or all together.
fn places(kind: Kind, namespaces: &[String]) -> Vec<String> {
    if namespaces.is_empty() || !kind.namespaced() {
        return vec![resource(kind, "")];
    }
    let each = namespaces.iter();
    each.map(|namespace| resource(kind, &format!("namespaces/{namespace}/")))
        .collect()
}

/// Where one object is.
fn path_of(object: &ObjectRef) -> String {
    let place = match object.kind.namespaced() {
        true => resource(object.kind, &format!("namespaces/{}/", object.namespace)),
        false => resource(object.kind, ""),
    };
    format!("{place}/{}", object.name)
}

/// The time, as the times of conditions are written.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes as long as this process holds the Lease. Never ends.
pub async fn run(client: kube::Client, options: StatusOptions, shared: Arc<Shared>) {
    // Nothing is said of a world that is not known yet.
    while !shared.is_ready() {
        tokio::time::sleep(TURN).await;
    }
    let api = Api::new(client);
    let (leads, leading) = watch::channel(false);
    // In one task, so that the Lease is not kept for a writer that is gone.
    tokio::select! {
        () = lease::keep(api.clone(), options.lease.clone(), leads) => {}
        () = write_while_leading(&api, &options, &shared, leading) => {}
    }
}

async fn write_while_leading(api: &Api, options: &StatusOptions, shared: &Shared, mut leading: watch::Receiver<bool>) {
    let mut events = Events::new(api.clone(), options.instance.clone());
    loop {
        while !*leading.borrow_and_update() {
            events.observe(&shared.report.load());
            if tokio::time::timeout(LOOK, leading.changed())
                .await
                .is_ok_and(|changed| changed.is_err())
            {
                return;
            }
        }
        let writer = Writer {
            finder: Finder::new(api.clone(), options.source.clone(), options.pods.clone()),
            events: &mut events,
            api: api.clone(),
            options,
            shared,
            known: HashMap::new(),
            addresses: None,
            wait_until: None,
            generation: u64::MAX,
            settled: false,
            routes: routes::Routes::default(),
            gateways: Statuses::default(),
        };
        tokio::select! {
            () = writer.write() => {}
            _ = leading.wait_for(|leads| !*leads) => {}
        }
    }
}

/// The one that writes.
struct Writer<'a> {
    api: Api,
    options: &'a StatusOptions,
    shared: &'a Shared,
    finder: Finder,
    events: &'a mut Events,
    /// The status that objects have, as it was read or written.
    known: HashMap<ObjectRef, desired::Known>,
    addresses: Option<BTreeSet<Address>>,
    wait_until: Option<Instant>,
    /// The generation of the last table that was looked at.
    generation: u64,
    /// Whether all objects of that one have the status they should.
    settled: bool,
    routes: routes::Routes,
    /// What objects of Gateway API have.
    gateways: Statuses,
}

impl Writer<'_> {
    async fn write(mut self) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut looked, mut read) = (None::<Instant>, None::<Instant>);
        let mut report = self.shared.report.load_full();
        self.events.take_over(&report);
        loop {
            turns.tick().await;
            if looked.is_none_or(|at| at.elapsed() >= LOOK) {
                looked = Some(Instant::now());
                match self.finder.find().await {
                    Ok(Some(addresses)) => {
                        if self.addresses.as_ref() != Some(&addresses) {
                            tracing::info!(?addresses, "the addresses of Ingresses have changed");
                        }
                        self.settled &= self.addresses.as_ref() == Some(&addresses);
                        self.addresses = Some(addresses);
                    }
                    Ok(None) => tracing::debug!("no peer answers, so the status stays unchanged"),
                    Err(error) => tracing::debug!(%error, "cannot find the addresses of Ingresses"),
                }
            }
            if read.is_none_or(|at| at.elapsed() >= READ) {
                match self.read().await {
                    Ok(()) => read = Some(Instant::now()),
                    Err(error) => {
                        tracing::debug!(%error, "cannot read the status of Ingresses");
                        continue;
                    }
                }
            }
            let latest = self.shared.report.load_full();
            if !Arc::ptr_eq(&report, &latest) {
                self.events.take(&latest);
                report = latest;
            }
            self.events.write(EVENTS).await;
            let mut most =
                (self.options.rate as usize * usize::try_from(TURN.as_millis()).unwrap_or(1000) / 1000).max(1);
            if let Some(router) = &self.options.router {
                let table = self.shared.tables.load_full();
                let namespaces = &self.options.namespaces;
                most -= self.routes.write(&self.api, router, namespaces, (&table, most)).await;
            }
            if most > 0 && self.wait_until.is_none_or(|until| Instant::now() >= until) {
                self.write_status(most).await;
            }
            let (desired, namespaces) = (self.shared.statuses.load_full(), &*self.options.namespaces);
            let addresses = self.addresses.as_ref();
            if most > 0 {
                let writing = self.gateways.write(&self.api, &desired, addresses, (namespaces, most));
                writing.await;
            }
        }
    }

    /// Reads the status that all Ingresses have.
    async fn read(&mut self) -> Result<(), Failed> {
        let mut known = HashMap::new();
        for kind in desired::by_kind(&BTreeSet::new()).into_keys() {
            for place in places(kind, &self.options.namespaces) {
                let take = |object| known.extend(status_of(kind, &object));
                self.api.each(&place, "", take).await?;
            }
        }
        self.known = known;
        self.settled = false;
        if let Some(router) = &self.options.router {
            self.routes.read(&self.api, router, &self.options.namespaces).await?;
        }
        Ok(())
    }

    /// Writes some of what differs.
    async fn write_status(&mut self, most: usize) {
        let Some(addresses) = &self.addresses else { return };
        let table = self.shared.tables.load();
        if self.generation != table.generation {
            self.generation = table.generation;
            self.settled = false;
        }
        if self.settled {
            return;
        }
        let desired = desired::by_kind(addresses);
        let due = next(table.all_served(), &self.known, &desired, most);
        if due.is_empty() {
            self.settled = true;
            return;
        }
        // Whoever is told an address asks there at once, so every peer must have the route by then.
        let has_one = |served: &&Arc<Served>| {
            let known = desired::known_of(&self.known, served);
            known.is_some_and(|known| Some(known) != desired::current(served.object.kind, &Value::Null).as_ref())
        };
        let (mut live, new): (Vec<_>, Vec<_>) = due.into_iter().partition(has_one);
        for some in new.chunks(MOST_ASKED) {
            live.extend(self.live_everywhere(some).await);
        }
        let live = live.into_iter();
        let live: Vec<_> = live.map(|one| (one.object.clone(), one.revision.uid.clone())).collect();
        let writes = live.iter().map(|(object, uid)| {
            let path = format!("{}/status?fieldManager={WRITER}", path_of(object));
            // Another object of that name has another uid, and the API server refuses this for it.
            let patch = json!({"metadata": {"uid": &**uid}, "status": desired.get(&object.kind)});
            let (api, status) = (&self.api, patch);
            async move { api.merge(&path, &status).await }
        });
        let answers = futures_util::future::join_all(writes).await;
        for ((object, uid), answer) in live.into_iter().zip(answers) {
            match answer {
                Ok(_) | Err(Failed::Missing) => {
                    let status = desired.get(&object.kind).cloned().unwrap_or_default();
                    self.known.insert(object, (uid, status));
                }
                Err(Failed::Conflict) => {}
                Err(error @ Failed::Forbidden(_)) => {
                    let resource = object.kind.plural();
                    tracing::warn!(%error, "cannot write the status: grant patch on {resource}/status");
                    self.wait_until = Some(Instant::now() + REFUSED);
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, %object, "cannot write the status of an object");
                    self.wait_until = Some(Instant::now() + Duration::from_secs(1));
                }
            }
        }
    }

    /// Those of some objects that every peer which answers serves as they are here, or as they became later: one
    /// question to each.
    async fn live_everywhere<'o>(&self, served: &[&'o Arc<Served>]) -> Vec<&'o Arc<Served>> {
        let names: Vec<String> = served
            .iter()
            .map(|served| format!("ingress={}", live::name_of(&served.object)))
            .collect();
        let path = format!("/api/v1/live?{}", names.join("&"));
        let asked = self.finder.peers().iter().map(|peer| ask(*peer, &path));
        let answers = futures_util::future::join_all(asked).await.into_iter().flatten();
        let peers: Vec<Live> = answers
            .filter_map(|(_, said)| serde_json::from_str(&said).ok())
            .collect();
        let is_everywhere = |one: &&&Arc<Served>| peers.iter().all(|peer| peer.serves(one));
        served.iter().filter(is_everywhere).copied().collect()
    }
}

/// Where the API server has the objects of a kind. `place` is empty, or `namespaces/NAME/`.
fn resource(kind: Kind, place: &str) -> String {
    let root = if kind.group().is_empty() { "api" } else { "apis" };
    format!("/{root}/{}/{place}{}", kind.api_version(), kind.plural())
}

/// An object of a list, and its status.
fn status_of(kind: Kind, object: &Value) -> Option<(ObjectRef, desired::Known)> {
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let reference = ObjectRef::new(kind, namespace.as_str()?, name.as_str()?);
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().into();
    Some((reference, (uid, desired::current(kind, &object["status"])?)))
}
