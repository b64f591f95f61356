//! What happens now to requests for a route, and how its pods are: what the table cannot say.

use crate::admin::sampler::Tries;
use crate::admin::{EndpointInfo, Status};
use crate::telemetry::traffic::RecentError;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A route or pod counts as well while fewer than one in this many requests fails.
const FEW: u64 = 100;

/// Seconds for which the last failure of a route counts. The last minute is looked at each ten seconds, so it may be longer.
const MINUTE: i64 = 70;

/// What happens now to requests for a route.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Now {
    /// `error` where half of the requests fail or more, `warning` where one in a hundred does or a pod is not used, else `ok`.
    pub status: Status,
    /// One sentence.
    pub summary: String,
    /// Requests that were answered in the last minute.
    pub requests: u64,
    /// Of these, those that were answered with 5xx.
    pub failed: u64,
    /// Requests of the last minute whose clients left before an answer.
    pub abandoned: u64,
    /// Requests that have not ended yet.
    pub under_way: u64,
    /// Since when every request has failed (RFC 3339); absent where the last one did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failing_since: Option<String>,
    /// Pods that have left the Service while requests to them go on.
    pub leaving: usize,
}

impl Now {
    /// What is known of a route: its requests, its pods, how many have left with how many requests under way, and the last
    /// request that failed, whenever that was.
    pub fn of(tries: &Tries, pods: &[EndpointInfo], leaving: (usize, u64), last: Option<&RecentError>) -> Self {
        let last = last.filter(|last| last.at >= since_when(tries));
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
            abandoned: tries.abandoned,
            under_way: tries.under_way,
            failing_since: tries.failing.map(|(since, _)| format!("{since:.0}")),
            leaving: leaving.0,
        }
    }
}

fn judge(tries: &Tries, pods: &[EndpointInfo], last: Option<&RecentError>) -> (Status, String) {
    let failing = pods.iter().filter(|pod| pod.failing_since.is_some()).count();
    let all_pods = failing > 0 && failing == pods.len();
    let why = last.map_or_else(String::new, |last| why(pods, last));
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
            let not_answered = not_answered(tries);
            let summary = format!(
                "every request failed from {since} to {until}, and none was answered since{not_answered}: {status}{why}"
            );
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
    let requests = answered(tries);
    let unwell = pods.iter().filter(|pod| is_unwell(pod)).count();
    if unwell == 0 {
        // Clients that leave may have lost patience, and none was answered.
        let is_hanging = tries.all == 0 && tries.abandoned > 0;
        return (if is_hanging { Status::Warning } else { Status::Ok }, requests);
    }
    if all_pods {
        let why = failing_pods(pods).next().map(|(pod, what)| blame(pods, pod, what));
        let summary = format!("{requests}, but no pod works{}", why.unwrap_or_default());
        return (Status::Error, summary);
    }
    let (all, is) = (pods.len(), if unwell == 1 { "is" } else { "are" });
    let summary = format!("{requests}, but {unwell} of {} {is} not well", counted(all, "pod"));
    (Status::Warning, summary)
}

/// How many requests were answered where none failed, and how many were not.
fn answered(tries: &Tries) -> String {
    let is_all = tries.abandoned == 0 && tries.under_way == 0;
    let said = match tries.all {
        0 if is_all => return "no request came in the last minute".to_owned(),
        0 => "no request was answered in the last minute".to_owned(),
        1 if is_all => "the one request of the last minute was answered".to_owned(),
        1 => "1 request was answered in the last minute".to_owned(),
        all if is_all => format!("all {all} requests of the last minute were answered"),
        all => format!("{all} requests were answered in the last minute"),
    };
    said + &not_answered(tries)
}

/// How many requests were not answered, with a comma before it; empty if there were none.
fn not_answered(tries: &Tries) -> String {
    let mut said = String::new();
    if tries.abandoned > 0 {
        said += &format!(", {} left before an answer", counted(tries.abandoned, "client"));
    }
    match tries.under_way {
        0 => {}
        1 => said += ", 1 is under way",
        many => said += &format!(", {many} are under way"),
    }
    said
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

/// Since when failures count for what is said now.
fn since_when(tries: &Tries) -> Timestamp {
    let now = Timestamp::now();
    let minute = now.checked_sub(jiff::SignedDuration::from_secs(MINUTE)).unwrap_or(now);
    tries.failing.map_or(minute, |(since, _)| since)
}

/// Why requests fail. Pods may fail at requests of other routes, so they are blamed only if the last request that failed
/// did so at one of them; otherwise it has a cause of its own.
fn why(pods: &[EndpointInfo], last: &RecentError) -> String {
    // An endpoint is written as its address, with its pod behind it.
    let tried = last.endpoint.as_deref().and_then(|endpoint| endpoint.split(' ').next());
    match failing_pods(pods).find(|(pod, _)| Some(&*pod.address) == tried) {
        Some((pod, what)) => blame(pods, pod, what),
        None => {
            let cause = last.cause.as_deref();
            cause.map_or_else(String::new, |cause| format!(": {cause}"))
        }
    }
}

/// Pods that have failed at present, and how they did so last.
fn failing_pods(pods: &[EndpointInfo]) -> impl Iterator<Item = (&EndpointInfo, &str)> {
    let failing = |pod: &&EndpointInfo| pod.failures_in_minute > 0 || pod.failing_since.is_some();
    let failing = pods.iter().filter(failing);
    failing.filter_map(|pod| Some((pod, pod.last_failure.as_ref()?.what.as_str())))
}

/// What a pod has done, and which others did the same.
fn blame(pods: &[EndpointInfo], first: &EndpointInfo, what: &str) -> String {
    let alike = failing_pods(pods).filter(|(_, other)| *other == what).count();
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A pod that is well but for this.
    fn pod(but: &Value) -> EndpointInfo {
        let mut pod = json!({
            "address": "10.0.0.1:80", "pod": "web-1", "zone": null, "near": true, "requests": 0, "failures": 0, "in_flight": 0,
            "rate": 0.0, "check": null, "set_aside": null,
        });
        for (name, value) in but.as_object().unwrap() {
            pod[name] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn failing() -> EndpointInfo {
        let at = Timestamp::now().to_string();
        pod(&json!({"failing_since": at, "last_failure": {"at": at, "what": "connection refused"}}))
    }

    fn tries(all: u64, failed: u64, in_a_row: bool) -> Tries {
        let now = Timestamp::now();
        Tries {
            all,
            failed,
            abandoned: 0,
            under_way: 0,
            failing: in_a_row.then_some((now, now)),
        }
    }

    fn last(status: u16, endpoint: Option<&str>, cause: Option<&str>) -> RecentError {
        RecentError {
            at: Timestamp::now(),
            status,
            reason: "",
            side: "upstream",
            method: "GET".into(),
            host: "".into(),
            path: "/".into(),
            route: None,
            origin: None,
            endpoint: endpoint.map(str::to_owned),
            cause: cause.map(str::to_owned),
            request_id: "".into(),
        }
    }

    #[test]
    fn the_reason_is_that_of_the_routes_own_requests() {
        let at = Timestamp::now().to_string();
        let well = pod(&json!({"address": "10.0.0.2:80", "pod": "web-2"}));
        let pods = [failing(), well];
        let told = |tries: &Tries, last: Option<&RecentError>| Now::of(tries, &pods, (0, 0), last).summary;
        let some = tries(10, 5, false);
        // Others share the pods, and theirs fail.
        let by_others = last(504, None, Some("the login service does not answer"));
        let said = told(&some, Some(&by_others));
        assert!(
            said.ends_with("failed: 504: the login service does not answer"),
            "{said}"
        );
        let by_well_one = last(502, Some("10.0.0.2:80 (web-2)"), Some("a field is not valid"));
        let said = told(&some, Some(&by_well_one));
        assert!(said.ends_with("failed: 502: a field is not valid"), "{said}");
        let by_pod = last(502, Some("10.0.0.1:80 (web-1)"), Some("os error"));
        let said = told(&some, Some(&by_pod));
        assert!(said.ends_with("failed: 502: connection refused by pod web-1"), "{said}");
        assert!(told(&some, None).ends_with("failed: 5xx"), "{at}");
        // What was long ago is not why requests fail now.
        let mut old = by_others;
        old.at = "2020-01-01T00:00:00Z".parse().unwrap();
        assert!(told(&some, Some(&old)).ends_with("failed: 5xx"));
        let mut before = last(500, None, Some("before"));
        before.at = Timestamp::now() - jiff::SignedDuration::from_secs(5);
        let said = told(&tries(10, 10, true), Some(&before));
        assert!(!said.contains("before"), "{said}");
        assert!(told(&some, Some(&before)).ends_with("500: before"));
    }

    #[test]
    fn a_route_is_judged_by_its_requests_and_then_by_its_pods() {
        let well = || pod(&json!({}));
        let unchecked = || pod(&json!({"check": "failing"}));
        for (tries, pods, status, words) in [
            (
                tries(0, 0, false),
                vec![well()],
                Status::Ok,
                "no request came in the last minute",
            ),
            (
                tries(9, 0, false),
                vec![well()],
                Status::Ok,
                "all 9 requests of the last minute were answered",
            ),
            (
                tries(9, 9, true),
                vec![failing()],
                Status::Error,
                "connection refused by the only pod",
            ),
            (
                tries(0, 0, true),
                vec![failing(), failing()],
                Status::Error,
                "and none was answered since: 502: connection refused by both pods",
            ),
            // Pods that came since may be well.
            (tries(0, 0, true), vec![well()], Status::Ok, "no request came"),
            (
                tries(1000, 1, false),
                vec![well()],
                Status::Ok,
                "1 of 1000 requests of the last minute failed",
            ),
            (
                tries(100, 10, false),
                vec![well(), failing()],
                Status::Warning,
                "502: connection refused by pod web-1",
            ),
            (tries(100, 50, false), vec![well()], Status::Error, "50 of 100"),
            (
                tries(9, 0, false),
                vec![well(), unchecked()],
                Status::Warning,
                "1 of 2 pods is not well",
            ),
            (
                tries(0, 0, false),
                vec![failing()],
                Status::Error,
                "but no pod works: connection refused by the only pod",
            ),
        ] {
            let last = last(502, Some("10.0.0.1:80 (web-1)"), Some("connection refused"));
            let now = Now::of(&tries, &pods, (0, 0), Some(&last));
            assert_eq!(now.status, status, "{}", now.summary);
            assert!(now.summary.contains(words), "{} does not say {words}", now.summary);
        }
        let with = |all, abandoned, under_way| Tries {
            abandoned,
            under_way,
            ..tries(all, 0, false)
        };
        for (tries, status, words) in [
            (
                with(0, 0, 3),
                Status::Ok,
                "no request was answered in the last minute, 3 are under way",
            ),
            (
                with(0, 2, 1),
                Status::Warning,
                "no request was answered in the last minute, 2 clients left before an answer, 1 is under way",
            ),
            (
                with(9, 1, 0),
                Status::Ok,
                "9 requests were answered in the last minute, 1 client left before an answer",
            ),
            (
                with(1, 0, 1),
                Status::Ok,
                "1 request was answered in the last minute, 1 is under way",
            ),
        ] {
            let now = Now::of(&tries, &[well()], (0, 0), None);
            assert_eq!((now.status, &*now.summary), (status, words));
        }
        let hanging = Tries {
            under_way: 2,
            ..tries(0, 0, true)
        };
        let hanging = Now::of(&hanging, &[failing()], (0, 0), None).summary;
        assert!(
            hanging.ends_with("and none was answered since, 2 are under way: 5xx"),
            "{hanging}"
        );
        let drained = Now::of(&tries(0, 0, false), &[well()], (2, 1), None);
        assert!(
            drained
                .summary
                .ends_with("; 2 pods being drained, with 1 request under way"),
            "{}",
            drained.summary
        );
    }

    #[test]
    fn what_is_wrong_with_a_pod_is_said_in_words() {
        for (but, words) in [
            (json!({}), None),
            (json!({"check": "passing"}), None),
            (json!({"check": "failing"}), Some("its health check fails")),
            (json!({"terminating": true}), Some("it is terminating")),
            (
                json!({"set_aside": {"why": "it cannot be reached", "seconds": 3.2, "shards": 1}}),
                Some("ejected for 3 s, because it cannot be reached"),
            ),
            (
                json!({"attempts_in_minute": 5, "failures_in_minute": 2, "last_failure": {"at": "", "what": "answered with 500"}}),
                Some("2 of 5 attempts of the last minute failed: answered with 500"),
            ),
        ] {
            assert_eq!(trouble(&pod(&but)).as_deref(), words, "{but}");
        }
    }
}
