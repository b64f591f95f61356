//! `/metrics`: what all shards have counted, added up when somebody asks (docs/metrics.md).
//!
//! Shards are not asked for anything: their numbers are read where they write them. The text is OpenMetrics 1.0, or, for
//! those who do not ask for that, Prometheus's own format 0.0.4.

mod process;
mod shards;
mod snapshot;

pub use snapshot::Labelled;

use crate::telemetry::traffic::{BOUNDS, Times};
use http::header::{self, HeaderMap};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use snapshot::{Endpoint, Rule, Snapshot};
use std::collections::HashSet;
use std::fmt;

/// The type of OpenMetrics (section 4.1.1 there).
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The type of Prometheus's own format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether somebody asks for OpenMetrics.
pub fn wants_openmetrics(fields: &HeaderMap) -> bool {
    let lines = fields.get_all(header::ACCEPT).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .any(|line| line.contains("application/openmetrics-text"))
}

/// The text, in OpenMetrics or Prometheus's own format.
///
/// # Errors
/// None that come from writing to a String.
pub fn text(snapshot: Snapshot, openmetrics: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(if openmetrics { text } else { as_prometheus(&text) })
}

/// OpenMetrics names a counter's family without `_total`, and has an end and units: the older format does not.
fn as_prometheus(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(text.len() + counters.len() * 12);
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| {
            let (name, rest) = line.strip_prefix(kind)?.split_once(' ')?;
            counters.contains(name).then_some((kind, name, rest))
        });
        match described {
            Some((kind, name, rest)) => out.extend([kind, name, "_total ", rest, "\n"]),
            None => out.extend([line, "\n"]),
        }
    }
    out
}

/// Writes families one after the other.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        each: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        each(&mut self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn counters<'v, L: AsLabels + 'v>(
        &mut self,
        (name, help): (&str, &str),
        values: impl IntoIterator<Item = (L, u64)> + 'v,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, |family| {
            for (labels, value) in values {
                labels.with(|labels| {
                    with_labels(family, labels, |counter| {
                        counter.encode_counter::<NoLabelSet, _, u64>(&value, None)
                    })
                })?;
            }
            Ok(())
        })
    }

    fn gauges<'v, L: AsLabels + 'v>(
        &mut self,
        (name, help): (&str, &str),
        values: impl IntoIterator<Item = (L, f64)> + 'v,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, |family| {
            for (labels, value) in values {
                labels.with(|labels| with_labels(family, labels, |gauge| gauge.encode_gauge(&value)))?;
            }
            Ok(())
        })
    }

    fn histograms<'v, L: AsLabels + 'v>(
        &mut self,
        (name, help): (&str, &str),
        values: impl IntoIterator<Item = (L, &'v Times)> + 'v,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, |family| {
            for (labels, times) in values {
                labels.with(|labels| {
                    with_labels(family, labels, |histogram| {
                        histogram.encode_histogram::<NoLabelSet>(
                            seconds(times.sum),
                            times.count(),
                            &buckets(times),
                            None,
                        )
                    })
                })?;
            }
            Ok(())
        })
    }
}

/// One series of a family; `name{}` would be right, but is not what people write.
fn with_labels(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        encode(family)
    } else {
        encode(&mut family.encode_family(&labels)?)
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a process's life")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn buckets(times: &Times) -> Vec<(f64, u64)> {
    let bounds = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
    bounds.zip(times.buckets).collect()
}

/// Names and values of labels.
trait AsLabels {
    fn with<R>(&self, use_them: impl FnOnce(&[(&str, &str)]) -> R) -> R;
}

impl AsLabels for () {
    fn with<R>(&self, use_them: impl FnOnce(&[(&str, &str)]) -> R) -> R {
        use_them(&[])
    }
}

impl<const N: usize> AsLabels for [(&str, &str); N] {
    fn with<R>(&self, use_them: impl FnOnce(&[(&str, &str)]) -> R) -> R {
        use_them(self)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        self.encode_shards(page)?;
        self.encode_state(page)?;
        self.encode_rules(page)?;
        self.encode_endpoints(page)?;
        self.process.encode(page)
    }
}

/// The classes of statuses, as labels.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The versions, as labels.
const VERSIONS: [&str; 2] = ["http/1", "http/2"];

impl Snapshot {
    fn encode_shards(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(first) = self.shards.first() else {
            return Ok(());
        };
        for (place, (field, _)) in first.iter().enumerate() {
            let Some(name_and_help) = shards::metric(field) else {
                continue;
            };
            let shards = self.shards.iter().enumerate();
            let values: Vec<(String, u64)> = shards
                .filter_map(|(shard, counters)| Some((shard.to_string(), counters.get(place)?.1)))
                .collect();
            let values = values
                .iter()
                .map(|(shard, value)| ([("shard", shard.as_str())], *value));
            page.counters(name_and_help, values)?;
        }
        let statuses: Vec<(String, u64)> = self
            .statuses
            .iter()
            .map(|(code, count)| (code.to_string(), *count))
            .collect();
        page.counters(
            (
                "narthex_requests_failed",
                "Requests that were refused or failed, by reason and by the side that caused it",
            ),
            self.failed
                .iter()
                .map(|((reason, side), count)| ([("reason", *reason), ("side", *side)], *count)),
        )?;
        page.counters(
            ("narthex_responses", "Responses by status"),
            statuses.iter().map(|(code, count)| ([("code", code.as_str())], *count)),
        )
    }

    fn encode_state(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauges(
            ("narthex_build_info", "Always 1; the label has the version"),
            [([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )?;
        for (name, help, value) in &self.gauges {
            page.gauges((name, help), [((), *value)])?;
        }
        for (name, help, value) in &self.counters {
            page.counters((name, help), [((), *value)])?;
        }
        page.gauges(
            (
                "narthex_watch_staleness_seconds",
                "Time since the last event or bookmark of a watch",
            ),
            self.watches
                .iter()
                .map(|(name, seconds)| ([("watch", name.as_str())], *seconds)),
        )?;
        page.histograms(
            (
                "narthex_change_duration_seconds",
                "Time from the arrival of a change to the routing table that includes it",
            ),
            [((), &self.changes)],
        )?;
        page.gauges(
            (
                "narthex_certificate_expiration_timestamp_seconds",
                "Time at which a certificate expires, in seconds since 1970",
            ),
            self.certificates
                .iter()
                .map(|(secret, at)| ([("secret", secret.as_str())], *at)),
        )
    }

    fn encode_rules(&self, page: &mut Page<'_>) -> fmt::Result {
        let rules = || self.rules.iter();
        let codes: Vec<_> = rules()
            .flat_map(|rule| {
                rule.codes()
                    .map(move |(version, class, count)| (rule, version, class, count))
            })
            .collect();
        page.counters(
            (
                "narthex_route_requests",
                "Responses by rule, class of status and protocol",
            ),
            codes.iter().filter_map(|(rule, version, class, count)| {
                let [namespace, ingress, service] = rule.labels();
                let (code, protocol) = (CLASSES.get(*class)?, VERSIONS.get(*version)?);
                Some((
                    [namespace, ingress, service, ("code", *code), ("protocol", *protocol)],
                    *count,
                ))
            }),
        )?;
        let refusals =
            rules().flat_map(|rule| rule.refusals.iter().map(move |(reason, count)| (rule, *reason, *count)));
        page.counters(
            ("narthex_route_refusals", "Requests that a rule refused, by reason"),
            refusals.map(|(rule, reason, count)| {
                let [namespace, ingress, service] = rule.labels();
                ([namespace, ingress, service, ("reason", reason)], count)
            }),
        )?;
        for (name, help, value) in [
            (
                "narthex_route_request_bytes",
                "Bytes of request bodies",
                (|rule| rule.totals.bytes_in) as fn(&Rule) -> u64,
            ),
            ("narthex_route_response_bytes", "Bytes of response bodies", |rule| {
                rule.totals.bytes_out
            }),
            ("narthex_route_retries", "Retries of requests", |rule| {
                rule.totals.retries
            }),
        ] {
            page.counters((name, help), rules().map(|rule| (rule.labels(), value(rule))))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "requests under way are few")]
        page.gauges(
            ("narthex_route_requests_in_flight", "Requests in flight"),
            rules().map(|rule| (rule.labels(), rule.totals.in_flight as f64)),
        )?;
        page.histograms(
            (
                "narthex_route_request_duration_seconds",
                "Time from the head of a request to the end of its response",
            ),
            rules().map(|rule| (rule.labels(), &rule.totals.whole)),
        )?;
        page.histograms(
            (
                "narthex_route_pod_duration_seconds",
                "Time from sending a request to a pod to the head of the pod's response",
            ),
            rules().map(|rule| (rule.labels(), &rule.totals.pod)),
        )
    }

    fn encode_endpoints(&self, page: &mut Page<'_>) -> fmt::Result {
        let endpoints = || self.endpoints.iter();
        for (name, help, value) in [
            (
                "narthex_endpoint_requests",
                "Requests sent to an endpoint, counting each attempt",
                (|endpoint| endpoint.requests) as fn(&Endpoint) -> u64,
            ),
            (
                "narthex_endpoint_failures",
                "Requests sent to an endpoint that failed because of it",
                |endpoint| endpoint.failures,
            ),
            ("narthex_endpoint_ejections", "Ejections of an endpoint", |endpoint| {
                endpoint.ejections
            }),
        ] {
            page.counters(
                (name, help),
                endpoints().map(|endpoint| (endpoint.labels(), value(endpoint))),
            )?;
        }
        #[expect(clippy::cast_precision_loss, reason = "requests under way are few")]
        page.gauges(
            (
                "narthex_endpoint_requests_in_flight",
                "Requests in flight to an endpoint",
            ),
            endpoints().map(|endpoint| (endpoint.labels(), endpoint.in_flight as f64)),
        )?;
        #[expect(clippy::cast_precision_loss, reason = "connections are few")]
        page.gauges(
            (
                "narthex_endpoint_pooled_connections",
                "Idle HTTP/1.1 connections and all HTTP/2 connections to an endpoint",
            ),
            endpoints().map(|endpoint| (endpoint.labels(), endpoint.kept as f64)),
        )?;
        page.gauges(
            (
                "narthex_endpoint_ejected",
                "1 while an endpoint is ejected because of its responses",
            ),
            endpoints().map(|endpoint| (endpoint.labels(), f64::from(u8::from(endpoint.aside)))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_whole() {
        let text =
            "# HELP a_b B.\n# TYPE a_b counter\n# UNIT a_b x\na_b_total{c=\"# TYPE\"} 1\n# TYPE a gauge\na 2\n# EOF\n";
        assert_eq!(
            as_prometheus(text),
            "# HELP a_b_total B.\n# TYPE a_b_total counter\na_b_total{c=\"# TYPE\"} 1\n# TYPE a gauge\na 2\n"
        );
    }
}
