//! What happens now to requests for a route, and how its pods are: what the table cannot say.

use crate::admin::sampler::Tries;
use crate::admin::{EndpointInfo, Status};
use crate::telemetry::traffic::RecentError;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One failure in so many is few: no reason to call a route or a pod unwell.
const FEW: u64 = 100;

/// What happens now to requests for a route.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Now {
    /// `error` where half of the requests fail or more, `warning` where one in a hundred does or a pod is not used, else `ok`.
    pub status: Status,
    /// One sentence.
    pub summary: String,
    /// Requests of the last minute.
    pub requests: u64,
    /// Of these, those that were answered with 5xx.
    pub failed: u64,
    /// Since when every request has failed (RFC 3339); absent where the last one did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failing_since: Option<String>,
    /// Pods that have left the Service while requests to them go on.
    pub leaving: usize,
}

impl Now {
    /// What is known of a route: its requests, its pods, how many have left with how many requests under way, and the last
    /// request that failed.
    pub fn of(tries: &Tries, pods: &[EndpointInfo], leaving: (usize, u64), last: Option<&RecentError>) -> Self {
        let (status, mut summary) = judge(tries, pods, last);
        if leaving.0 > 0 {
            let (pods, requests) = (counted(leaving.0, "pod"), counted(leaving.1, "request"));
            summary += &format!("; {pods} being drained, with {requests} under way");
        }
        Self {
            status,
            summary,
            requests: tries.all,
            failed: tries.failed,
            failing_since: tries.failing.map(|(since, _)| format!("{since:.0}")),
            leaving: leaving.0,
        }
    }
}

fn judge(tries: &Tries, pods: &[EndpointInfo], last: Option<&RecentError>) -> (Status, String) {
    let failing = pods.iter().filter(|pod| pod.failing_since.is_some()).count();
    let all_pods = failing > 0 && failing == pods.len();
    let why = why(pods, last);
    let status = last.map_or_else(|| "5xx".to_owned(), |last| last.status.to_string());
    match tries.failing {
        // Pods that came since may be well, so an old series of failures counts only as long as its pods are there.
        Some((since, _)) if tries.all > 0 => {
            return (
                Status::Error,
                format!("every request fails: {status} since {}{why}", clock(since)),
            );
        }
        Some((since, until)) if all_pods => {
            let (since, until) = (clock(since), clock(until));
            let summary =
                format!("every request failed from {since} to {until}, and none has come since: {status}{why}");
            return (Status::Error, summary);
        }
        _ => {}
    }
    if tries.failed > 0 {
        let (failed, all) = (tries.failed, tries.all);
        let judgement = if failed * 2 >= all {
            Status::Error
        } else if failed * FEW >= all {
            Status::Warning
        } else {
            Status::Ok
        };
        let summary = format!("{failed} of {all} requests of the last minute failed: {status}{why}");
        return (judgement, summary);
    }
    let requests = match tries.all {
        0 => "no request came in the last minute".to_owned(),
        1 => "the one request of the last minute was answered".to_owned(),
        all => format!("all {all} requests of the last minute were answered"),
    };
    let unwell = pods.iter().filter(|pod| is_unwell(pod)).count();
    if unwell == 0 {
        return (Status::Ok, requests);
    }
    if all_pods {
        return (Status::Error, format!("{requests}, but no pod works{why}"));
    }
    let (all, is) = (pods.len(), if unwell == 1 { "is" } else { "are" });
    let summary = format!("{requests}, but {unwell} of {} {is} not well", counted(all, "pod"));
    (Status::Warning, summary)
}

/// Whether a pod gets no requests, or fails at more than a few.
fn is_unwell(pod: &EndpointInfo) -> bool {
    pod.set_aside.is_some()
        || pod.check.as_deref() == Some("failing")
        || pod.terminating
        || pod.failing_since.is_some()
        || (pod.failures_in_minute > 0 && pod.failures_in_minute * FEW >= pod.attempts_in_minute)
}

/// What is wrong with a pod at present.
pub fn trouble(pod: &EndpointInfo) -> Option<String> {
    let mut said = Vec::new();
    let (attempts, failed) = (pod.attempts_in_minute, pod.failures_in_minute);
    let last = pod.last_failure.as_ref();
    if failed > 0 || pod.failing_since.is_some() {
        let mut words = match (failed, attempts) {
            (0, _) => "the last attempts failed".to_owned(),
            (1, 1) => "the one attempt of the last minute failed".to_owned(),
            (failed, all) if failed == all => format!("all {all} attempts of the last minute failed"),
            (failed, all) => format!("{failed} of {all} attempts of the last minute failed"),
        };
        if let Some(since) = pod.failing_since.as_deref().and_then(|since| since.parse().ok()) {
            words += &format!(", and every one since {}", clock(since));
        }
        if let Some(last) = last {
            words += &format!(": {}", last.what);
        }
        said.push(words);
    }
    if let Some(aside) = &pod.set_aside {
        said.push(format!("ejected for {:.0} s, because {}", aside.seconds, aside.why));
    }
    if pod.check.as_deref() == Some("failing") {
        said.push("its health check fails".to_owned());
    }
    if pod.terminating {
        said.push("it is terminating".to_owned());
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// Why requests fail: how attempts at the pods do, or else how the last request did.
fn why(pods: &[EndpointInfo], last: Option<&RecentError>) -> String {
    let failing = |pod: &&EndpointInfo| pod.failures_in_minute > 0 || pod.failing_since.is_some();
    let failed: Vec<(&EndpointInfo, &str)> = pods
        .iter()
        .filter(failing)
        .filter_map(|pod| Some((pod, pod.last_failure.as_ref()?.what.as_str())))
        .collect();
    let Some((first, what)) = failed.first() else {
        let cause = last.and_then(|last| last.cause.as_deref());
        return cause.map_or_else(String::new, |cause| format!(": {cause}"));
    };
    let alike = failed.iter().filter(|(_, other)| other == what).count();
    let name = first.pod.as_deref().unwrap_or(&first.address);
    let whom = match (alike, pods.len()) {
        (1, 1) => "the only pod".to_owned(),
        (2, 2) => "both pods".to_owned(),
        (1, _) => format!("pod {name}"),
        (alike, all) if alike == all => format!("all {all} pods"),
        (alike, all) => format!("{alike} of {all} pods"),
    };
    // What is told in words of others, such as why a certificate is refused, need not be what the pod has done.
    let by_pod = ["connection ", "answered ", "not answered "];
    match by_pod.iter().any(|begin| what.starts_with(begin)) {
        true => format!(": {what} by {whom}"),
        false => format!(": {what} ({whom})"),
    }
}

fn counted(count: impl ToString, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A time of today as people say it; with the day, if that is another.
fn clock(at: Timestamp) -> String {
    let day = |at: Timestamp| at.strftime("%F").to_string();
    match day(at) == day(Timestamp::now()) {
        true => at.strftime("%H:%M:%S UTC").to_string(),
        false => at.strftime("%F %H:%M:%S UTC").to_string(),
    }
}
