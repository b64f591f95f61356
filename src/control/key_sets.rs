//! Sets of keys for tokens that Services have: asked for again and again, once for the whole process.

use super::checks;
use crate::compile::KeySet;
use crate::dialect::Change;
use crate::source::{Event, Sender};
use crate::table::{Backend, Protocol, Table};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{self, HeaderValue};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often a set is asked for, and how soon again if that failed.
const INTERVAL: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(2);
/// How often it is looked whether tokens name keys that a set does not have, and how soon it is asked for again then: anybody can
/// make up names of keys.
const LOOK: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer.
const LONGEST: usize = 256 << 10;
/// Pods that are asked, one after the other, until one answers.
const TRIES: usize = 3;
/// Sets that are asked for at the same time.
const AT_ONCE: usize = 16;

/// Asks for the sets in `wanted` until either side ends.
pub async fn run(mut wanted: watch::Receiver<BTreeMap<Arc<str>, KeySet>>, tables: Arc<ArcSwap<Table>>, sender: Sender) {
    let mut due: BTreeMap<Arc<str>, Instant> = BTreeMap::new();
    let mut asked: BTreeMap<Arc<str>, Instant> = BTreeMap::new();
    loop {
        let sets = wanted.borrow_and_update().clone();
        due.retain(|url, _| sets.contains_key(url));
        asked.retain(|url, _| sets.contains_key(url));
        for (url, set) in &sets {
            let due = due.entry(url.clone()).or_insert_with(Instant::now);
            if let Some(asked) = asked.get(url)
                && set.missing.take()
            {
                *due = (*due).min(*asked + SOONEST);
            }
        }
        let now = Instant::now();
        let ripe = sets
            .iter()
            .filter(|(url, _)| due.get(*url).is_some_and(|at| *at <= now));
        let ripe: Vec<(&Arc<str>, &KeySet)> = ripe.take(AT_ONCE).collect();
        let answers = join_all(ripe.iter().map(|(_, set)| fetch(&tables, set))).await;
        for ((url, _), said) in ripe.into_iter().zip(answers) {
            asked.insert(url.clone(), Instant::now());
            let pause = if said.is_ok() { INTERVAL } else { AGAIN };
            due.insert(url.clone(), Instant::now() + pause);
            if let Err(why) = &said {
                tracing::debug!(url = &**url, why, "cannot get keys of tokens");
            }
            let url = url.clone();
            let change = Change::KeySet { url, said };
            if sender.send(Event::Change(change)).await.is_err() {
                return;
            }
        }
        let look = Instant::now() + if due.is_empty() { INTERVAL } else { LOOK };
        let next = due.values().min().copied().map_or(look, |due| due.min(look));
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(next.into()) => {}
        }
    }
}

/// What one of the pods says. The addresses are those of the table, so no others are asked than for requests.
async fn fetch(tables: &ArcSwap<Table>, set: &KeySet) -> Result<Arc<[u8]>, String> {
    let backend = tables.load().backend(set.backend).cloned();
    let backend = backend.ok_or("its Service is not known yet")?;
    if let Some(guard) = &backend.guard {
        return Err(guard.why());
    }
    let mut why = backend.state.reason().to_owned();
    let first = fastrand::usize(..backend.endpoints.len().max(1));
    for place in 0..backend.endpoints.len().min(TRIES) {
        let place = (first + place) % backend.endpoints.len();
        match tokio::time::timeout(PATIENCE, ask(&backend, place, set)).await {
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(error)) => why = error,
            Err(_) => why = format!("it did not answer within {PATIENCE:?}"),
        }
    }
    Err(why)
}

async fn ask(backend: &Backend, place: usize, set: &KeySet) -> Result<Arc<[u8]>, String> {
    let endpoint = backend.endpoints.get(place).ok_or("it has no such pod")?;
    let http2 = backend.terms.protocol == Protocol::Http2;
    let target = match (http2, &backend.terms.tls) {
        (false, _) => set.target.to_string(),
        (true, None) => format!("http://{}{}", set.host, set.target),
        (true, Some(_)) => format!("https://{}{}", set.host, set.target),
    };
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = Uri::try_from(target).map_err(|error| format!("its path is malformed: {error}"))?;
    let fields = request.headers_mut();
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if !http2 {
        let host = HeaderValue::from_str(&set.host).map_err(|error| error.to_string())?;
        fields.insert(header::HOST, host);
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let stream = checks::connect(endpoint.address, &backend.terms).await?;
    let (response, _driver) = checks::exchange(stream, request, http2).await?;
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| format!("its answer broke off, or is longer than {LONGEST} bytes: {error}"))?;
    Ok(body.to_bytes().as_ref().into())
}
