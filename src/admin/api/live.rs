//! What happens, as it happens: server-sent events (HTML Living Standard, section 9.2).

use super::super::Admin;
use super::super::reply::{Reply, as_json};
use super::ChangeView;
use super::overview::Problems;
use crate::control::ChangeRecord;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

/// Routes that a tick tells of.
const MOST_ROUTES: usize = 1000;
/// How often there is a tick.
const TICK: Duration = Duration::from_secs(1);

/// A second of the stream.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tick {
    at: String,
    /// Replies a second, over the last ten.
    rate: f64,
    error_rate: f64,
    in_flight: u64,
    connections: usize,
    /// Replies a second by class.
    codes: BTreeMap<&'static str, f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    generation: u64,
    problems: Problems,
    /// Those with traffic in the last minute, by their ids; at most 1000.
    routes: BTreeMap<String, RouteTick>,
}

/// What passes over one route.
#[derive(Debug, Serialize, JsonSchema)]
struct RouteTick {
    rate: f64,
    error_share: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// Somebody who listens.
struct Subscriber {
    admin: Arc<Admin>,
    changes: broadcast::Receiver<Arc<ChangeRecord>>,
    ticks: tokio::time::Interval,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    async fn next(&mut self) -> Bytes {
        loop {
            tokio::select! {
                change = self.changes.recv() => match change {
                    Ok(change) => {
                        if let Ok(text) = serde_json::to_string(&ChangeView::from(&*change)) {
                            return format!("event: change\ndata: {text}\n\n").into();
                        }
                    }
                    // It was too slow for them all; the list has them.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                },
                _ = self.ticks.tick() => return self.admin.tick(),
            }
        }
    }
}

/// A stream of events, or 503 where too many listen.
pub fn stream(admin: &Arc<Admin>) -> Reply {
    let Ok(place) = admin.subscribers.clone().try_acquire_owned() else {
        return as_json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"error": "too many listen to the stream already"}),
        );
    };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let subscriber = Subscriber {
        admin: admin.clone(),
        changes: admin.shared.changes.subscribe(),
        ticks,
        _place: place,
    };
    events(futures_util::stream::unfold(subscriber, |mut subscriber| async {
        Some((subscriber.next().await, subscriber))
    }))
}

/// A reply that goes on with events for as long as there are some.
pub(super) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Reply {
    let events = events.map(|text| Ok::<_, Infallible>(Frame::data(text)));
    let mut reply = Response::new(StreamBody::new(events).boxed_unsync());
    let fields = reply.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

impl Admin {
    /// The event of the present second. It is the same for all who listen, so it is made once.
    fn tick(&self) -> Bytes {
        let mut last = self.last_tick.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((at, text)) = &*last
            && at.elapsed() < TICK / 2
        {
            return text.clone();
        }
        let tick = serde_json::to_string(&self.make_tick()).unwrap_or_default();
        let text = Bytes::from(format!("event: tick\ndata: {tick}\n\n"));
        *last = Some((std::time::Instant::now(), text.clone()));
        text
    }

    fn make_tick(&self) -> Tick {
        let (all, classes, busy) = {
            let sampler = self.sampler();
            (sampler.all(), sampler.class_rates(), sampler.busy(MOST_ROUTES))
        };
        let routes = busy
            .into_iter()
            .map(|(key, view)| {
                let numbers = RouteTick {
                    rate: view.rate,
                    error_share: view.error_share,
                    p50_ms: view.p50_ms,
                    p99_ms: view.p99_ms,
                };
                (key.to_string(), numbers)
            })
            .collect();
        Tick {
            at: format!("{:.3}", jiff::Timestamp::now()),
            rate: all.rate,
            error_rate: all.rate * all.error_share,
            in_flight: all.in_flight,
            connections: crate::control::lock(&self.server).open_connections(),
            codes: ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(classes).collect(),
            p50_ms: all.p50_ms,
            p99_ms: all.p99_ms,
            generation: self.shared.tables.load().generation,
            problems: Problems::of(&self.shared.report.load()),
            routes,
        }
    }
}
