//! One watch for ever: list, then follow, and whatever goes wrong, go on from what is known.
//!
//! The promise: nothing is taken away but by an event that says so or by a whole list. A list that fails half-way is
//! as if it had never been, and while the API server is away the last state stays.

use super::api::{self, ApiError, Said, Target};
use super::secrets::ledger::{Ledger, Voice};
use super::{Timing, advice};
use crate::dialect::decode;
use crate::dialect::{Change, Object};
use crate::model::kind::Watch;
use crate::model::{Diagnostic, Kind, ObjectRef};
use crate::source::{Event, Sender, Watches};
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

/// Why following ended.
#[derive(Debug)]
pub enum Ended {
    /// The control task is gone: there is nobody to tell.
    Closed,
    /// Forbidden or missing, and this follower has no patience with that.
    Denied(ApiError),
}

/// There is nobody to tell.
pub struct Closed;

impl From<Closed> for Ended {
    fn from(_: Closed) -> Self {
        Ended::Closed
    }
}

/// Something went wrong, or there is nobody to tell.
enum Stop {
    Closed,
    Failed(ApiError),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Stop::Closed
    }
}

impl From<ApiError> for Stop {
    fn from(failure: ApiError) -> Self {
        Stop::Failed(failure)
    }
}

/// What a follower takes the place of, once it has its first list: not before, so that nothing is ever empty.
pub struct Superseded {
    /// The kind whose objects go.
    pub kind: Kind,
    /// Its watch's name.
    pub name: String,
    /// Its follower, if that still runs.
    pub task: JoinSet<()>,
}

/// What to follow, and how.
pub struct Order {
    /// The way to the API server.
    pub client: kube::Client,
    /// The way to the control task.
    pub sender: Sender,
    /// Where the state of every watch is seen.
    pub watches: Arc<Watches>,
    /// How often, how long.
    pub timing: Timing,
    /// What.
    pub kind: Kind,
    /// Where; none for everywhere.
    pub namespace: Option<String>,
    /// In which versions, best first.
    pub api_versions: &'static [&'static str],
    /// The name in [`Watches`].
    pub name: String,
    /// How long to wait, at most, between two attempts at what is forbidden or missing; none to give up instead.
    pub patience: Option<Duration>,
    /// For Secrets: what is said goes through here, in this voice.
    pub secrets: Option<(Arc<Ledger>, Voice)>,
}

impl Order {
    /// The only object followed.
    fn only(&self) -> Option<&Arc<str>> {
        match &self.secrets {
            Some((_, Voice::Named((_, name)))) => Some(name),
            _ => None,
        }
    }

    /// What is wrong and what to do about it.
    fn advice(&self, failure: &ApiError) -> String {
        let advice = advice(failure, self.kind, self.namespace.as_deref());
        match &self.secrets {
            Some((_, Voice::Wide(_))) if failure.denied() => {
                format!("{advice}; until then, those that are wanted are asked for by name")
            }
            None if self.kind == Kind::Namespace && failure.denied() => {
                format!("{advice}; until then, Ingresses of a namespace that is being deleted keep their places")
            }
            _ => advice,
        }
    }
}

/// Follows one kind, in one namespace or everywhere, or one object.
pub struct Follower {
    order: Order,
    /// The follower this takes the place of.
    pub supersedes: Option<Superseded>,
    /// A kind whose objects the first list makes void.
    pub clears: Option<Kind>,
    /// Whether the first list was sent.
    pub synced: bool,
    /// The failure that was said and is not over, and since when.
    trouble: Option<(ApiError, Instant)>,
    /// Whether it was said that this watch is live.
    announced: bool,
    /// Attempts since it last went well.
    attempts: u32,
}

/// Where in history we are.
struct Position {
    target: Target,
    version: String,
    /// When we last knew that the server's history is not older than ours.
    compared: Instant,
    /// The last connection failed: compare before going on.
    doubtful: bool,
}

impl Follower {
    /// A follower with nothing done yet.
    pub fn new(order: Order) -> Self {
        Self {
            order,
            supersedes: None,
            clears: None,
            synced: false,
            trouble: None,
            announced: false,
            attempts: 0,
        }
    }

    /// Follows until there is nobody to tell, or until denied where there is no patience. May be run again.
    pub async fn run(&mut self) -> Ended {
        let mut place = None;
        loop {
            match self.step(&mut place).await {
                Ok(()) => {}
                Err(Stop::Closed) => return Ended::Closed,
                Err(Stop::Failed(failure)) if failure.denied() && self.order.patience.is_none() => {
                    self.trouble = None;
                    return Ended::Denied(failure);
                }
                Err(Stop::Failed(failure)) => {
                    if let Err(Closed) = self.wait(&failure).await {
                        return Ended::Closed;
                    }
                }
            }
        }
    }

    /// A list, or one connection of a watch.
    async fn step(&mut self, place: &mut Option<Position>) -> Result<(), Stop> {
        let Some(at) = place else {
            *place = Some(self.list().await?);
            return Ok(());
        };
        let began = Instant::now();
        let Err(stop) = self.go_on(at).await;
        let Stop::Failed(failure) = stop else {
            return Err(stop);
        };
        let was_well = began.elapsed() >= self.order.timing.well_after;
        if was_well {
            self.attempts = 0;
        }
        match failure {
            // An API server that is busy has not lost anything, nor has a connection that broke; see `went_back`.
            ApiError::Broken(_) => at.doubtful = true,
            ApiError::Busy { .. } => {}
            // Anything else: the server was away or is not itself. It may come back from an older backup and be past
            // our point again by then, which comparing numbers cannot show. So list.
            _ => *place = None,
        }
        // Both are part of a healthy life: history is kept for minutes only, and connections do break.
        if was_well && matches!(failure, ApiError::Broken(_) | ApiError::Gone(_)) {
            debug!(watch = self.order.name, "{failure}");
            return Ok(());
        }
        Err(failure.into())
    }

    /// Follows from a point in history on, one connection after another, until something is wrong.
    async fn go_on(&mut self, at: &mut Position) -> Result<Infallible, Stop> {
        loop {
            if at.doubtful || at.compared.elapsed() >= self.order.timing.compare_every {
                self.compare(at).await?;
            }
            self.connection(at).await?;
        }
    }

    /// Says what is wrong (once), and waits.
    async fn wait(&mut self, failure: &ApiError) -> Result<(), Closed> {
        let is_over = match self.order.kind.facts().watch {
            Watch::Installed => matches!(failure, ApiError::Missing(_)),
            Watch::Sought => failure.denied(),
            _ => false,
        };
        if is_over {
            // There is nothing to wait for.
            self.note_synced().await?;
        }
        let order = &self.order;
        let advice = order.advice(failure);
        let is_quiet = matches!(failure, ApiError::Missing(_)) && order.kind.facts().watch == Watch::Sought;
        if !is_quiet {
            order.watches.failing(&order.name, advice.as_str());
        }
        if let Some((ledger, voice)) = &order.secrets {
            ledger.failed(voice, failure).await;
        }
        let kind_of = |failure: &ApiError| std::mem::discriminant(failure);
        match &self.trouble {
            Some((said, _)) if kind_of(said) == kind_of(failure) => {
                debug!(watch = order.name, "still failing: {failure}");
            }
            trouble => {
                // Of many watches for one object each, their keeper says it for all.
                match order.only() {
                    None if is_quiet => debug!(watch = order.name, "{advice}"),
                    Some(_) => debug!(watch = order.name, error = %failure, "{advice}"),
                    None => warn!(watch = order.name, error = %failure, "{advice}"),
                }
                let since = trouble.as_ref().map_or_else(Instant::now, |(_, since)| *since);
                self.trouble = Some((failure.clone(), since));
            }
        }
        let longest = match order.patience {
            Some(patience) if failure.denied() => patience,
            _ => order.timing.longest_wait,
        };
        let wait = match failure {
            ApiError::Busy { wait: Some(wait), .. } => (*wait).min(longest) + jitter(order.timing.shortest_wait),
            _ => pause(order.timing.shortest_wait, longest, self.attempts),
        };
        self.attempts = self.attempts.saturating_add(1);
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = order.sender.closed() => Err(Closed),
        }
    }

    /// Lists everything in the first version that is there, and sends it as one change.
    async fn list(&mut self) -> Result<Position, Stop> {
        let mut denied: Option<ApiError> = None;
        for &api_version in self.order.api_versions {
            let Order {
                kind, ref namespace, ..
            } = self.order;
            let target = Target {
                kind,
                api_version,
                namespace: namespace.clone(),
                name: self.order.only().cloned(),
            };
            match self.whole_list(&target).await {
                Ok((objects, broken, version)) => {
                    debug!(watch = self.order.name, objects = objects.len(), version, "listed");
                    self.send_list(objects, broken).await?;
                    let compared = Instant::now();
                    return Ok(Position {
                        target,
                        version,
                        compared,
                        doubtful: false,
                    });
                }
                // An older API server, or a role written for one: an older version may be there.
                Err(failure) if failure.denied() => {
                    if !matches!(denied, Some(ApiError::Forbidden(_))) {
                        denied = Some(failure);
                    }
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(denied.unwrap_or_else(|| ApiError::Missing(String::new())).into())
    }

    async fn whole_list(&self, target: &Target) -> Result<(Vec<Object>, Vec<Diagnostic>, String), ApiError> {
        let Order { client, timing, .. } = &self.order;
        let (mut objects, mut broken) = (Vec::new(), Vec::new());
        let mut from = None;
        loop {
            let page = api::list(client, target, timing.page_size, from.as_deref()).await?;
            for mut item in page.items.unwrap_or_default() {
                target.complete(&mut item);
                match decode::from_value(item) {
                    Ok(object) => objects.extend(object),
                    Err(mut error) => match error.guarded.take() {
                        Some(guarded) => objects.push(*guarded),
                        None => broken.push(Diagnostic::from(error)),
                    },
                }
            }
            from = page.metadata.r#continue.filter(|token| !token.is_empty());
            if from.is_none() {
                return Ok((objects, broken, page.metadata.resource_version));
            }
        }
    }

    async fn send_list(&mut self, objects: Vec<Object>, broken: Vec<Diagnostic>) -> Result<(), Closed> {
        for diagnostic in &broken {
            warn!(watch = self.order.name, "{diagnostic}");
        }
        self.replace(self.order.kind, objects, broken).await?;
        if let Some(mut old) = self.supersedes.take() {
            // Waited for, so that nothing of it comes after what takes its objects away.
            old.task.shutdown().await;
            self.order.watches.hand_over(&old.name, &self.order.name);
            self.order.watches.forget(&old.name);
            self.clears = Some(old.kind);
        }
        if let Some(kind) = self.clears.take() {
            self.replace(kind, Vec::new(), Vec::new()).await?;
        }
        self.order.watches.seen(&self.order.name);
        self.note_synced().await
    }

    /// Says, once, that everything there is has been sent.
    async fn note_synced(&mut self) -> Result<(), Closed> {
        if !self.synced {
            self.synced = true;
            self.send(Event::Synced(self.order.name.clone())).await?;
        }
        Ok(())
    }

    /// One connection, from a point in history on. `Ok` when the server ended it at its time.
    async fn connection(&mut self, at: &mut Position) -> Result<(), Stop> {
        let Order {
            client,
            sender,
            watches,
            timing,
            name,
            ..
        } = &self.order;
        let open = api::watch(client, &at.target, &at.version, timing.watch_time, timing.margin);
        let mut stream = tokio::select! {
            stream = open => stream?,
            () = sender.closed() => return Err(Stop::Closed),
        };
        watches.seen(name);
        let trouble = self.trouble.take();
        if let (Some(_), Some((ledger, voice))) = (&trouble, &self.order.secrets) {
            ledger.recovered(voice).await;
        }
        match trouble {
            _ if self.order.only().is_some() => debug!(watch = name, "live"),
            Some((_, since)) => info!(watch = name, "live again after {} s", since.elapsed().as_secs()),
            None if !self.announced => info!(watch = name, api = at.target.api_version, "live"),
            None => debug!(watch = name, version = at.version, "watching again"),
        }
        self.announced = true;
        loop {
            let said = tokio::select! {
                said = stream.next() => said?,
                () = sender.closed() => return Err(Stop::Closed),
            };
            let Some(said) = said else { return Ok(()) };
            let Some(version) = said.resource_version() else {
                return Err(ApiError::Malformed("an event without resourceVersion".to_owned()).into());
            };
            version.clone_into(&mut at.version);
            watches.seen(name);
            if let Some(change) = self.change(&at.target, said) {
                self.send(Event::Change(change)).await?;
            }
        }
    }

    fn change(&self, target: &Target, said: Said) -> Option<Change> {
        let mut object = match said {
            Said::Bookmark(_) => return None,
            // Also of an object that never could be decoded: its name is all it takes.
            Said::Deleted(object) => return self.reference(&object).map(Change::Delete),
            Said::Applied(object) => object,
        };
        target.complete(&mut object);
        match decode::from_value(object) {
            Ok(object) => object.map(Change::Apply),
            Err(mut error) => {
                let guarded = error.guarded.take();
                let diagnostic = Diagnostic::from(error);
                warn!(watch = self.order.name, "{diagnostic}");
                Some(match guarded {
                    Some(guarded) => Change::Apply(*guarded),
                    None => Change::Broken(diagnostic),
                })
            }
        }
    }

    fn reference(&self, object: &Value) -> Option<ObjectRef> {
        let name = object.pointer("/metadata/name")?.as_str()?;
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        Some(ObjectRef::new(self.order.kind, namespace.unwrap_or_default(), name))
    }

    /// Fails when the server's history is older than ours: etcd was restored from a backup. Such a server sends no
    /// 410; it waits until its numbers reach ours and says nothing of what came before.
    async fn compare(&self, at: &mut Position) -> Result<(), Stop> {
        let page = api::list(&self.order.client, &at.target, 1, None).await?;
        let theirs = page.metadata.resource_version;
        debug!(
            watch = self.order.name,
            ours = at.version,
            theirs,
            "compared resourceVersions"
        );
        if api::older(&theirs, &at.version) == Some(true) {
            let ours = &at.version;
            warn!(
                watch = self.order.name,
                "the API server is at resourceVersion {theirs}, before our {ours} (restored from a backup?), so narthex lists all objects again"
            );
            return Err(ApiError::Gone(format!("{theirs} is before {ours}")).into());
        }
        at.compared = Instant::now();
        at.doubtful = false;
        Ok(())
    }

    async fn replace(&self, kind: Kind, objects: Vec<Object>, broken: Vec<Diagnostic>) -> Result<(), Closed> {
        let namespace = self.order.namespace.as_deref().map(Arc::from);
        self.send(Event::Change(Change::Replace {
            kind,
            namespace,
            objects,
            broken,
        }))
        .await
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        let sender = &self.order.sender;
        match (&self.order.secrets, event) {
            (Some((ledger, voice)), Event::Change(change)) => ledger.say(voice, change, sender).await,
            // Nobody waits for a single one of many: their keeper says when all have answered.
            (Some((_, Voice::Named(_))), Event::Synced(_)) => Ok(()),
            (_, event) => sender.send(event).await.map_err(|_| Closed),
        }
    }
}

/// The wait before another attempt: doubled each time up to the longest, half of it at random, so that a thousand
/// nodes do not come back at the same moment.
pub fn pause(shortest: Duration, longest: Duration, attempts: u32) -> Duration {
    let doubled = shortest.saturating_mul(2_u32.saturating_pow(attempts.min(20)));
    let wait = doubled.min(longest);
    wait / 2 + jitter(wait / 2)
}

fn jitter(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests;
