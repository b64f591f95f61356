//! One writer at a time: a Lease (coordination.k8s.io/v1), as Kubernetes' own controllers use it.
//!
//! Clocks of nodes differ, so nobody's `renewTime` is compared with one's own: a Lease has run out when nobody touched it
//! for its duration, by the watcher's own clock.

use super::api::{Api, Failed, micro_time};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a Lease holds.
pub const DURATION: Duration = Duration::from_secs(8);
/// How often it is renewed, or looked at.
pub const RENEW: Duration = Duration::from_secs(2);
/// Whoever cannot renew for so long stops writing, before another one may begin.
const STEP_DOWN: Duration = Duration::from_secs(6);
/// Tries to take it from who holds it.
const SEIZE_TRIES: u32 = 10;
/// The holder under which nobody writes any more: what `narthex cleanup` leaves.
pub const CLEANUP: &str = "cleanup";

/// Which Lease, and who wants it.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub namespace: String,
    pub name: String,
    /// What this process is called in it: no other may be.
    pub holder: String,
}

impl Wanted {
    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }
}

/// What was seen of a Lease, and when it looked different the last time.
struct Seen {
    version: String,
    since: Instant,
}

/// Tries to get and keep the Lease, and tells whether it is ours. Never ends.
pub async fn keep(api: Api, wanted: Wanted, leading: watch::Sender<bool>) {
    let mut looks = tokio::time::interval(RENEW);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut seen, mut renewed, mut said) = (None, None::<Instant>, false);
    loop {
        looks.tick().await;
        match look(&api, &wanted, &mut seen).await {
            Ok(true) => {
                renewed = Some(Instant::now());
                said = false;
            }
            Ok(false) => renewed = None,
            Err(error) => {
                if renewed.is_some_and(|at| at.elapsed() > STEP_DOWN) {
                    renewed = None;
                }
                if !std::mem::replace(&mut said, true) {
                    let lease = format!("{}/{}", wanted.namespace, wanted.name);
                    tracing::warn!(%error, lease, "cannot get the Lease, so this process writes no status");
                }
            }
        }
        let leads = renewed.is_some();
        if leading.send_if_modified(|known| std::mem::replace(known, leads) != leads) {
            tracing::info!(
                holder = wanted.holder,
                leads,
                "the writer of status and Events has changed"
            );
        }
    }
}

/// Gives the Lease back, so that the next one need not wait.
pub async fn release(api: &Api, wanted: &Wanted) {
    let Ok(mut lease) = api.get(&wanted.path()).await else {
        return;
    };
    if holder(&lease) == wanted.holder {
        lease["spec"]["holderIdentity"] = json!("");
        // If it cannot be given back it runs out.
        let _ = api.replace(&wanted.path(), &lease).await;
    }
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

/// A Lease that was not there before.
fn new(wanted: &Wanted, now: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": wanted.name, "namespace": wanted.namespace},
        "spec": {
            "holderIdentity": wanted.holder, "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": now, "renewTime": now, "leaseTransitions": 0,
        },
    })
}

/// Takes the Lease whoever holds it, and says who did. Only for a holder that all others let be.
///
/// # Errors
/// As [`Failed`] has them.
pub async fn seize(api: &Api, wanted: &Wanted) -> Result<Option<String>, Failed> {
    let mut tries = 0;
    loop {
        let now = micro_time(jiff::Timestamp::now());
        let (answer, before) = match api.get(&wanted.path()).await {
            Err(Failed::Missing) => (
                api.create(&wanted.collection(), &new(wanted, &now)).await,
                String::new(),
            ),
            Err(error) => return Err(error),
            Ok(mut lease) => {
                let before = holder(&lease).to_owned();
                lease["spec"]["holderIdentity"] = json!(wanted.holder);
                lease["spec"]["acquireTime"] = json!(now);
                lease["spec"]["renewTime"] = json!(now);
                (api.replace(&wanted.path(), &lease).await, before)
            }
        };
        match answer {
            Ok(_) => return Ok(Some(before).filter(|before| !before.is_empty())),
            // Who holds it renews it every two seconds, so the next try is likely to come between.
            Err(Failed::Conflict) if tries < SEIZE_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Deletes the Lease.
///
/// # Errors
/// As in [`Failed`]; a missing Lease is not a failure.
pub async fn remove(api: &Api, wanted: &Wanted) -> Result<(), Failed> {
    match api.delete(&wanted.path()).await {
        Ok(_) | Err(Failed::Missing) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Looks at the Lease, and takes or renews it where that may be done. Whether it is ours now.
async fn look(api: &Api, wanted: &Wanted, seen: &mut Option<Seen>) -> Result<bool, Failed> {
    let now = micro_time(jiff::Timestamp::now());
    let mut lease = match api.get(&wanted.path()).await {
        Ok(lease) => lease,
        Err(Failed::Missing) => {
            return match api.create(&wanted.collection(), &new(wanted, &now)).await {
                Ok(_) => Ok(true),
                Err(Failed::Conflict) => Ok(false),
                Err(error) => Err(error),
            };
        }
        Err(error) => return Err(error),
    };
    let version = lease["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let since = match seen {
        Some(seen) if seen.version == version => seen.since,
        _ => Instant::now(),
    };
    *seen = Some(Seen { version, since });
    let other = holder(&lease).to_owned();
    if other == CLEANUP || (other != wanted.holder && !other.is_empty() && since.elapsed() < DURATION) {
        return Ok(false);
    }
    let spec = &mut lease["spec"];
    if other != wanted.holder {
        let transitions = spec["leaseTransitions"].as_i64().unwrap_or(0);
        spec["holderIdentity"] = json!(wanted.holder);
        spec["acquireTime"] = json!(now);
        spec["leaseTransitions"] = json!(transitions + 1);
    }
    spec["leaseDurationSeconds"] = json!(DURATION.as_secs());
    spec["renewTime"] = json!(now);
    match api.replace(&wanted.path(), &lease).await {
        Ok(_) => Ok(true),
        Err(Failed::Conflict) => Ok(false),
        Err(error) => Err(error),
    }
}
