//! The annotations of OpenShift's router as narthex's own.

use super::route::Writer;
use crate::dialect::annotations::openshift::{RATE_SECONDS, TCP_RATE_SECONDS};
use crate::source::directory::node::Node;

const ROUTER: &str = "haproxy.router.openshift.io/";
/// How often a minute holds the time in which `rate-http` counts, and that of `rate-tcp`.
const HTTP_WINDOWS: u64 = 60 / RATE_SECONDS as u64;
const TCP_WINDOWS: u64 = 60 / TCP_RATE_SECONDS as u64;

/// Says natively what the annotations of a Route say. Returns those that stay as they are: others' and, so that guards close, what
/// cannot be said.
pub(super) fn convert(
    writer: &mut Writer<'_>,
    route: &Node,
    (path, several, passes): (&str, bool, bool),
) -> Vec<(String, String)> {
    let all = route.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let all: Vec<(&str, &str)> = all
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| Some((&*entry.key, entry.value.as_str()?)))
        .collect();
    let find = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let of_router = |name: &str| find(&format!("{ROUTER}{name}"));
    let mut kept = Vec::new();
    let limits = of_router("rate-limit-connections").is_some_and(|on| on.eq_ignore_ascii_case("true"));
    let is_off = of_router("disable_cookies").is_some_and(|off| off.eq_ignore_ascii_case("true"));
    for (name, value) in &all {
        let Some(own) = name
            .strip_prefix(ROUTER)
            .or_else(|| name.strip_prefix("router.openshift.io/"))
        else {
            // What kubectl has applied is another object.
            if !name.ends_with("last-applied-configuration") && !name.starts_with("openshift.io/host.generated") {
                kept.push(((*name).to_owned(), (*value).to_owned()));
            }
            continue;
        };
        let is_said = match own {
            "timeout" if !passes => duration(value).is_some_and(|time| {
                writer.say("response-timeout", time.clone());
                writer.say("stream-timeout", time);
                true
            }),
            "balance" => match *value {
                "random" | "leastconn" => Some("p2c"),
                "roundrobin" => Some("round-robin"),
                "source" => Some("hash:source-ip"),
                _ => None,
            }
            .is_some_and(|balance| {
                writer.say("balance", balance);
                true
            }),
            // Read below, with what they belong to.
            "disable_cookies" | "cookie_name" | "cookie-same-site" | "rate-limit-connections" => true,
            name if name.starts_with("rate-limit-connections.") => !limits || number(value).is_some(),
            "h1-adjust-case" | "pool-size" => true,
            "ip_whitelist" if of_router("ip_allowlist").is_some() => true,
            "ip_allowlist" | "ip_whitelist" => {
                let addresses: Vec<&str> = value.split_whitespace().collect();
                writer.say("allow-addresses", addresses.join(", "));
                true
            }
            "hsts_header" => {
                writer.say("hsts", value.replace(';', "; ").replace("  ", " "));
                true
            }
            "rewrite-target" => match *value {
                "/" if path == "/" => true,
                "/" => {
                    writer.say("strip-prefix", path.trim_end_matches('/'));
                    true
                }
                to if path == "/" && to.ends_with('/') => {
                    writer.say("add-prefix", to.trim_end_matches('/'));
                    true
                }
                to if path != "/" && !to.ends_with('/') && !path.ends_with('/') => {
                    writer.say("strip-prefix", path);
                    writer.say("add-prefix", to);
                    true
                }
                _ => false,
            },
            "pod-concurrent-connections" => number(value).is_some_and(|most| {
                writer.say("max-in-flight-per-pod", most.to_string());
                writer.say("queue-timeout", "5s");
                true
            }),
            "haproxy.health.check.interval" => duration(value).is_some_and(|time| {
                writer.say("health-interval", time);
                true
            }),
            _ => false,
        };
        if !is_said {
            writer.cannot(format!(
                "narthex has no annotation for {name}: \"{value}\", which stays"
            ));
            kept.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    if of_router("timeout").is_none() && !passes {
        writer.say("response-timeout", "30s");
        writer.say("stream-timeout", "30s");
    }
    if of_router("balance").is_none() && (several || passes) {
        writer.say("balance", if passes { "hash:source-ip" } else { "round-robin" });
    }
    if !is_off && !passes {
        let name = find("router.openshift.io/cookie_name")
            .unwrap_or(writer.name)
            .to_owned();
        writer.say("sticky-cookie", name);
        writer.say("sticky-cookie-path", "/");
        if let Some(site) = find("router.openshift.io/cookie-same-site") {
            writer.say("sticky-cookie-samesite", site);
            if site == "None" {
                writer.say("sticky-cookie-secure", "true");
            }
        }
    }
    if limits {
        let limit = |name: &str| of_router(&format!("rate-limit-connections.{name}")).and_then(number);
        if let Some(most) = limit("concurrent-tcp") {
            writer.say("max-in-flight-per-client", most.to_string());
        }
        let http = limit("rate-http").filter(|_| !passes);
        let rates = [(http, HTTP_WINDOWS), (limit("rate-tcp"), TCP_WINDOWS)];
        let rates: Vec<(u64, u64)> = rates
            .into_iter()
            .filter_map(|(most, windows)| Some((most?, windows)))
            .collect();
        if let Some(least) = rates.iter().map(|(most, _)| *most).min() {
            let each = rates.iter().map(|(most, windows)| format!("{}/m", most * windows));
            writer.say("rate-limit", each.collect::<Vec<_>>().join(", "));
            writer.say("rate-limit-burst", (least - 1).to_string());
        }
    }
    kept
}

fn number(value: &str) -> Option<u64> {
    value.parse().ok().filter(|number| (1..=1_000_000).contains(number))
}

/// A time of HAProxy's as narthex writes it.
fn duration(value: &str) -> Option<String> {
    let unit = value.trim_start_matches(|one: char| one.is_ascii_digit());
    let digits = value.strip_suffix(unit)?;
    let number: u64 = digits.parse().ok().filter(|number| *number > 0)?;
    Some(match unit {
        "" | "ms" => format!("{number}ms"),
        "s" | "m" | "h" => format!("{number}{unit}"),
        "d" => format!("{}h", number * 24),
        _ => return None,
    })
}
