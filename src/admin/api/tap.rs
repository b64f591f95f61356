//! Requests as they end, as server-sent events: what `narthex tap` and the dashboard's route page show.

use super::super::Admin;
use super::super::reply::{Reply, as_json};
use super::{Query, bad, live};
use crate::control::lock;
use crate::model::visible::{Keep, visible};
use crate::telemetry::tap::{Filter, MOST_RATE, Watch, statuses};
use bytes::Bytes;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Requests a second that are shown, where nothing is said.
const RATE: u32 = 100;
/// How often it is said how many requests were left out. It also shows a client that has gone.
const TICK: Duration = Duration::from_secs(1);

/// Requests that fit and were not shown, since there were too many.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// How many in the last second.
    pub(crate) requests: u64,
}

/// Somebody who taps.
struct Tapping {
    watch: Watch,
    ticks: tokio::time::Interval,
}

impl Tapping {
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            request = self.watch.next() => {
                let request = request?;
                let text = String::from_utf8_lossy(&request);
                // It may be shown by a terminal as it is.
                Some(format!("event: request\ndata: {}\n\n", visible(&text, Keep::Nothing)).into())
            }
            _ = self.ticks.tick() => Some(match self.watch.take_left_out() {
                0 => Bytes::from_static(b":\n\n"),
                requests => {
                    let text = serde_json::to_string(&LeftOut { requests }).unwrap_or_default();
                    format!("event: left-out\ndata: {text}\n\n").into()
                }
            }),
        }
    }
}

/// A stream of requests; 400 where the filter is wrong, and 503 where too many tap.
pub fn tap(admin: &Admin, query: &str) -> Reply {
    let read = Query::read(query).and_then(|query| Ok((filter(&query)?, rate(&query)?)));
    let (filter, rate) = match read {
        Ok(read) => read,
        Err(error) => return bad(error),
    };
    let tap = lock(&admin.server).settings().tap.clone();
    let Some(watch) = tap.watch(filter, rate) else {
        let error = "too many tap requests already";
        return as_json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": error}));
    };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let tapping = Tapping { watch, ticks };
    live::events(futures_util::stream::unfold(tapping, |mut tapping| async {
        Some((tapping.next().await?, tapping))
    }))
}

fn rate(query: &Query) -> Result<u32, String> {
    let Some(text) = query.get("rate") else {
        return Ok(RATE);
    };
    let rate = text.parse().ok().filter(|rate| (1..=MOST_RATE).contains(rate));
    rate.ok_or_else(|| format!("rate={text}: write a number of requests a second from 1 to {MOST_RATE}"))
}

fn filter(query: &Query) -> Result<Filter, String> {
    if query.get("scope").is_some_and(|scope| scope == "cluster") {
        return Err("the requests are those of one narthex: tap each of them".to_owned());
    }
    let said = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let slower = said("slower").map(|text| {
        let time = humantime::parse_duration(text);
        time.map_err(|_| format!("slower={text}: write a time such as 500ms"))
    });
    let route = said("route").map(|text| {
        let key = text.parse();
        key.map_err(|_| format!("route={text}: it is not the id of a route"))
    });
    let path = said("path");
    if let Some(path) = path.filter(|path| !path.starts_with('/')) {
        return Err(format!("path={path}: it begins with a slash"));
    }
    Ok(Filter {
        host: said("host").map(|host| host.trim_end_matches('.').to_lowercase()),
        path: path.map(str::to_owned),
        statuses: said("status").map(statuses).transpose()?.unwrap_or_default(),
        slower: slower.transpose()?,
        pod: said("pod").map(str::to_owned),
        route: route.transpose()?,
    })
}
