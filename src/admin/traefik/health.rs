//! `/health` as Traefik 1.7 had it.

use super::super::Admin;
use crate::control::lock;
use http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Failures that are shown, as there.
const MOST_ERRORS: usize = 10;

/// Counts, times and failures of this process.
#[derive(Debug, Serialize)]
pub struct Health {
    pid: u32,
    uptime: String,
    uptime_sec: f64,
    time: String,
    unixtime: i64,
    /// In the last second.
    status_code_count: BTreeMap<String, u64>,
    total_status_code_count: BTreeMap<String, u64>,
    count: u64,
    total_count: u64,
    total_response_time: String,
    total_response_time_sec: f64,
    average_response_time: String,
    average_response_time_sec: f64,
    recent_errors: Vec<RecentError>,
}

#[derive(Debug, Serialize)]
struct RecentError {
    status_code: u16,
    status: &'static str,
    method: Box<str>,
    host: Box<str>,
    path: Box<str>,
    time: String,
}

impl Admin {
    pub(super) fn traefik_health(&self) -> Health {
        let shards = lock(&self.server).counters().to_vec();
        let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
        for (code, count) in shards.iter().flat_map(|shard| shard.codes.each()) {
            *codes.entry(code).or_default() += count;
        }
        let (second, times) = {
            let sampler = self.sampler();
            (sampler.last_second().clone(), sampler.times())
        };
        let mut errors: Vec<_> = shards.iter().flat_map(|shard| shard.traffic.errors()).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.at));
        errors.truncate(MOST_ERRORS);
        let uptime = self.shared.started.elapsed();
        let total = Duration::from_micros(times.sum);
        let average = u32::try_from(times.count())
            .ok()
            .and_then(|count| total.checked_div(count));
        let average = average.unwrap_or_default();
        let now = jiff::Timestamp::now();
        let sum = |counts: &BTreeMap<u16, u64>| counts.values().sum();
        let by_name = |counts: &BTreeMap<u16, u64>| {
            let each = counts.iter().map(|(code, count)| (code.to_string(), *count));
            each.collect()
        };
        Health {
            pid: std::process::id(),
            uptime: go_duration(uptime),
            uptime_sec: uptime.as_secs_f64(),
            time: now.strftime("%Y-%m-%d %H:%M:%S.%9f +0000 UTC").to_string(),
            unixtime: now.as_second(),
            status_code_count: by_name(&second),
            total_status_code_count: by_name(&codes),
            count: sum(&second),
            total_count: sum(&codes),
            total_response_time: go_duration(total),
            total_response_time_sec: total.as_secs_f64(),
            average_response_time: go_duration(average),
            average_response_time_sec: average.as_secs_f64(),
            recent_errors: errors
                .into_iter()
                .map(|error| RecentError {
                    status_code: error.status,
                    status: StatusCode::from_u16(error.status)
                        .ok()
                        .and_then(|status| status.canonical_reason())
                        .unwrap_or_default(),
                    method: error.method,
                    host: error.host,
                    path: error.path,
                    time: error.at.to_string(),
                })
                .collect(),
        }
    }
}

/// A time as Go writes it (`time.Duration.String`): `1h2m3.5s`, `864.8016ms`, `12µs`.
pub fn go_duration(time: Duration) -> String {
    let fraction = |value: u128, unit: u128, name: &str| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", value % unit);
        match rest.trim_end_matches('0') {
            "" => format!("{}{name}", value / unit),
            rest => format!("{}.{rest}{name}", value / unit),
        }
    };
    match time.as_nanos() {
        0 => "0s".to_owned(),
        nanos @ ..1_000 => format!("{nanos}ns"),
        nanos @ ..1_000_000 => fraction(nanos, 1_000, "µs"),
        nanos @ ..1_000_000_000 => fraction(nanos, 1_000_000, "ms"),
        nanos => {
            let (minutes, nanos) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = fraction(nanos, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (864_801_600, "864.8016ms"),
            (10_000_000, "10ms"),
            (35_456_865_605, "35.456865605s"),
            (60_000_000_000, "1m0s"),
            (2_346_885_931_127, "39m6.885931127s"),
            (7_200_000_000_000, "2h0m0s"),
            (3_723_000_000_001, "1h2m3.000000001s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
