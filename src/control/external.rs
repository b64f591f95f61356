//! Addresses of ExternalName Services: asked of DNS, again when they are due.

use crate::dialect::Change;
use crate::source::{Event, Sender};
use hickory_resolver::TokioResolver;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// An answer is used for its time to live, but within these bounds; a failure is tried again after the shorter.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// Resolves the names in `wanted` until either side ends.
pub async fn run(mut wanted: watch::Receiver<BTreeSet<Arc<str>>>, sender: Sender) {
    let resolver = match TokioResolver::builder_tokio().and_then(|builder| builder.build()) {
        Ok(resolver) => resolver,
        Err(error) => {
            tracing::error!(%error, "cannot resolve ExternalName Services: cannot read the system's DNS settings");
            return;
        }
    };
    let mut due: BTreeMap<Arc<str>, Instant> = BTreeMap::new();
    loop {
        let names = wanted.borrow_and_update().clone();
        due.retain(|name, _| names.contains(name));
        for name in names {
            due.entry(name).or_insert_with(Instant::now);
        }
        let now = Instant::now();
        let ripe: Vec<Arc<str>> = due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in ripe {
            let (addresses, until) = resolve(&resolver, &name).await;
            due.insert(name.clone(), until);
            let Some(addresses) = addresses else { continue };
            let change = Change::Resolved { name, addresses };
            if sender.send(Event::Change(change)).await.is_err() {
                return;
            }
        }
        let next = due.values().min().copied().unwrap_or_else(|| Instant::now() + LONGEST);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(next.into()) => {}
        }
    }
}

/// The addresses of a name, if DNS answered, and when to ask again.
async fn resolve(resolver: &TokioResolver, name: &str) -> (Option<Vec<IpAddr>>, Instant) {
    let now = Instant::now();
    // A name of DNS is absolute, whatever the pod's search list says.
    let absolute = format!("{}.", name.trim_end_matches('.'));
    match resolver.lookup_ip(absolute).await {
        Ok(found) => {
            let until = found.valid_until().clamp(now + SHORTEST, now + LONGEST);
            (Some(found.iter().collect()), until)
        }
        Err(error) => {
            tracing::warn!(name, %error, "cannot resolve an ExternalName");
            // Addresses are removed only if DNS says that there are none, and not if DNS does not answer.
            (error.is_no_records_found().then(Vec::new), now + SHORTEST)
        }
    }
}
