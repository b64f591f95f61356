//! The rules of a route by themselves: which requests they are for, and where these go.

use super::backends::Refused;
use super::filters::Filters;
use crate::compile::State;
use crate::dialect::gateway::{
    BackendRef, GatewayRoute, HttpMatch, HttpRule, NamedValue, PathMatch, Timeouts, ValueMatch,
};
use crate::dialect::reading::BackendKey;
use crate::dialect::{Dialect, annotations};
use crate::model::{Field, FieldForm, Kind};
use crate::table::canonical::canonical_rule_path;
use crate::table::paths::prefix_key;
use crate::table::{BackendSettings, Expressions, PathKind, PathPattern, PathRegex, When};
use http::{HeaderName, HeaderValue, Method};
use std::sync::Arc;
use std::time::Duration;

const RULE: FieldForm = FieldForm {
    text: "spec.rules[]",
    list: "spec.rules",
    host: "spec.hostnames",
};

const MATCH: FieldForm = FieldForm {
    text: "spec.rules[].matches[]",
    ..RULE
};

/// A rule as the tables are made of it.
#[derive(Debug)]
pub(super) struct RulePlan {
    pub matches: Vec<MatchPlan>,
    pub to: To,
    /// What it says that narthex cannot act on: the field below the rule, and why. Its requests get 500, and its connections are closed.
    pub unfit: Vec<(String, String)>,
    /// What it refers to and cannot be used, with the field below the rule.
    pub unresolved: Vec<(String, Refused)>,
    /// The backends that it names, with the field below the rule.
    pub named: Vec<(String, BackendKey)>,
}

/// Which requests a rule is for, one of several possibilities.
#[derive(Debug)]
pub(super) struct MatchPlan {
    pub field: Field,
    pub path: PathPattern,
    /// Which of several expressions comes first: the one with the longer text, or for gRPC with the longer service, and then the
    /// longer method.
    pub lengths: (usize, usize),
    pub when: Option<Box<When>>,
}

/// Where the requests of a rule go.
#[derive(Debug)]
pub(super) enum To {
    /// They get 500.
    Error,
    /// They are sent elsewhere.
    Redirect(Box<Filters>),
    /// To backends by weight, each with all steps that come before it.
    Shares(Vec<(Option<(BackendKey, Filters)>, u32)>),
}

impl State {
    /// Reads the rules of a route.
    pub(super) fn plan_rules(&self, route: &GatewayRoute) -> Vec<RulePlan> {
        let ignored = &self.options.ignored_annotations;
        let guards = annotations::guards(Dialect::Narthex, route.kind, &route.meta, ignored);
        let closed = guards.map(|(name, _)| {
            let why = format!(
                "annotation {name} of the route restricts access, and narthex does not enforce it on {}s; remove it, or name it in \
                 --ignore-annotation",
                route.kind
            );
            ("backendRefs".to_owned(), why)
        });
        let closed: Vec<_> = closed.collect();
        let rules = (0_u32..).zip(&*route.rules);
        rules
            .map(|(index, rule)| self.plan_rule(route, (index, rule), closed.clone()))
            .collect()
    }

    /// Reads a rule. `closed` says why the whole route is.
    fn plan_rule(
        &self,
        route: &GatewayRoute,
        (index, rule): (u32, &HttpRule),
        closed: Vec<(String, String)>,
    ) -> RulePlan {
        let mut plan = RulePlan {
            matches: Vec::new(),
            to: To::Error,
            unfit: closed,
            unresolved: Vec::new(),
            named: Vec::new(),
        };
        match (route.kind.is_of_streams(), index) {
            (false, _) => plan.read_matches(rule, index),
            (true, 0) => plan.matches.push(MatchPlan {
                field: Field::at(&RULE, index),
                path: PathPattern::connections(route.kind == Kind::TCPRoute),
                lengths: (0, 0),
                when: None,
            }),
            (true, _) => {
                let why = format!("a {} has one rule, and this is a further one", route.kind);
                plan.unfit.push(("backendRefs".to_owned(), why));
            }
        }
        let unserved = [
            ("retry", rule.retry.is_some()),
            ("sessionPersistence", rule.session_persistence.is_some()),
        ];
        for (field, is_there) in unserved {
            if is_there {
                let why = "narthex cannot act on it yet".to_owned();
                plan.unfit.push((field.to_owned(), why));
            }
        }
        let settings = match rule.timeouts.as_ref().map(time_limit).transpose() {
            Ok(limit) => limit.flatten().map(|limit| {
                Arc::new(BackendSettings {
                    request_timeout: Some(limit),
                    ..BackendSettings::default()
                })
            }),
            Err((field, why)) => {
                plan.unfit.push((format!("timeouts.{field}"), why));
                None
            }
        };
        let paths: Vec<PathPattern> = plan.matches.iter().map(|one| one.path.clone()).collect();
        let whose = (route.kind, &route.meta.namespace);
        let filters = rule.filters.as_deref().unwrap_or_default();
        let filters = self.read_filters(whose, filters, &paths, &mut plan.unresolved);
        let filters = filters.unwrap_or_else(|unfit| {
            plan.unfit.push(unfit);
            Filters::default()
        });
        let mut shares = Vec::new();
        for (place, named) in rule.backend_refs.iter().flatten().enumerate() {
            let found = self.plan_backend(whose, (named, place), &paths, (settings.as_ref(), &filters), &mut plan);
            shares.push(found);
        }
        for (key, _) in &filters.mirrors {
            plan.named.push(("filters".to_owned(), key.clone()));
        }
        if plan.unfit.is_empty() {
            plan.to = match filters.redirects() {
                true => To::Redirect(Box::new(filters)),
                false => To::Shares(shares),
            };
        } else {
            plan.named.clear();
        }
        plan
    }

    /// Where a backend's share of the requests goes.
    fn plan_backend(
        &self,
        whose: (Kind, &Arc<str>),
        (named, place): (&BackendRef, usize),
        paths: &[PathPattern],
        (settings, of_rule): (Option<&Arc<BackendSettings>>, &Filters),
        plan: &mut RulePlan,
    ) -> (Option<(BackendKey, Filters)>, u32) {
        let field = format!("backendRefs[{place}]");
        let weight = named.weight.unwrap_or(1);
        let weight = u32::try_from(weight).unwrap_or_else(|_| {
            plan.unfit
                .push((format!("{field}.weight"), format!("{weight} is less than 0")));
            0
        });
        let own = named.filters.as_deref().unwrap_or_default();
        if whose.0.is_of_streams() && !own.is_empty() {
            let why = format!("there are no filters in a {}", whose.0);
            plan.unfit.push((format!("{field}.filters"), why));
        }
        let mut unresolved = Vec::new();
        let filters = self.read_filters(whose, own, paths, &mut unresolved);
        let below = |below: String| format!("{field}.{below}");
        plan.unresolved
            .extend(unresolved.into_iter().map(|(at, why)| (below(at), why)));
        let filters = match filters {
            Ok(filters) => of_rule.with(&filters),
            Err((at, why)) => {
                plan.unfit.push((below(at), why));
                return (None, weight);
            }
        };
        match self.route_backend(whose, named, settings) {
            Ok(key) => {
                plan.named.push((field.clone(), key.clone()));
                let of_backend = filters.mirrors.iter().skip(of_rule.mirrors.len());
                plan.named
                    .extend(of_backend.map(|(key, _)| (field.clone(), key.clone())));
                (Some((key, filters)), weight)
            }
            Err(why) => {
                plan.unresolved.push((field, why));
                (None, weight)
            }
        }
    }
}

impl RulePlan {
    fn read_matches(&mut self, rule: &HttpRule, index: u32) {
        let any = [HttpMatch::default()];
        let said = rule.matches.as_deref().filter(|matches| !matches.is_empty());
        for (place, said) in (0_u32..).zip(said.unwrap_or(&any)) {
            let at = |field: &str| format!("matches[{place}].{field}");
            let path = match path(said.path.as_ref()) {
                Ok(path) => path,
                Err(why) => {
                    // All that it may be for is closed. Otherwise a rule for more paths would answer.
                    self.unfit.push((at("path"), why));
                    let text = said.path.as_ref().and_then(|path| path.value.as_deref()).unwrap_or("/");
                    PathPattern {
                        kind: PathKind::RegularExpression,
                        path: PathRegex::closing_text(text).into(),
                    }
                }
            };
            let when = match when(said) {
                Ok(when) => when,
                Err((field, why)) => {
                    self.unfit.push((at(&field), why));
                    None
                }
            };
            let field = match rule.matches.is_some() {
                true => Field::within(&MATCH, index, place),
                false => Field::at(&RULE, index),
            };
            let lengths = said.path.as_ref().and_then(|path| path.lengths);
            let lengths = lengths.unwrap_or((path.path.len(), 0));
            self.matches.push(MatchPlan {
                field,
                path,
                lengths,
                when,
            });
        }
    }
}

fn path(said: Option<&PathMatch>) -> Result<PathPattern, String> {
    let text = said.and_then(|path| path.value.as_deref()).unwrap_or("/");
    let kind = said.and_then(|path| path.kind.as_deref()).unwrap_or("PathPrefix");
    let canonical = |keep: fn(&str) -> &str| {
        let canonical = match text.contains(['?', '#']) {
            true => Err("it has a ? or a #".to_owned()),
            false => canonical_rule_path(text, false).map_err(|error| error.to_string()),
        };
        let canonical = canonical.map_err(|why| format!("\"{text}\" is not a path: {why}"))?;
        let kept = keep(&canonical);
        Ok::<Arc<str>, String>(if kept.is_empty() { "/".into() } else { kept.into() })
    };
    Ok(match kind {
        "Exact" => PathPattern {
            kind: PathKind::Exact,
            path: canonical(|path| path)?,
        },
        "PathPrefix" => PathPattern {
            kind: PathKind::Prefix,
            path: canonical(prefix_key)?,
        },
        "RegularExpression" => {
            PathRegex::whole(text).map_err(|why| format!("\"{text}\" {why}"))?;
            PathPattern {
                kind: PathKind::RegularExpression,
                path: text.into(),
            }
        }
        other => {
            return Err(format!(
                "the type \"{other}\" is not one of Exact, PathPrefix, RegularExpression"
            ));
        }
    })
}

fn when(said: &HttpMatch) -> Result<Option<Box<When>>, (String, String)> {
    let method = said
        .method
        .as_deref()
        .map(|method| Method::from_bytes(method.as_bytes()));
    let method = method
        .transpose()
        .map_err(|_| ("method".to_owned(), "it is not a method".to_owned()))?;
    let (mut fields, mut field_texts) = (Vec::new(), Vec::new());
    let mut seen = Vec::new();
    for (index, one) in said.headers.iter().flatten().enumerate() {
        let at = |why: String| (format!("headers[{index}]"), why);
        let name = HeaderName::from_bytes(one.name.as_bytes());
        let name = name.map_err(|_| at(format!("\"{}\" is not a valid name of a field", one.name)))?;
        // Of several with the same name the first counts.
        if seen.contains(&name) {
            continue;
        }
        seen.push(name.clone());
        match how(one).map_err(at)? {
            ValueMatch::Exact => {
                let value = HeaderValue::from_str(&one.value);
                fields.push((
                    name,
                    value.map_err(|_| at("the value is not one of a field".to_owned()))?,
                ));
            }
            ValueMatch::RegularExpression => field_texts.push((name, expression(one).map_err(at)?)),
        }
    }
    let (mut query, mut query_texts) = (Vec::<(Box<str>, Box<str>)>::new(), Vec::new());
    let mut seen: Vec<&str> = Vec::new();
    for (index, one) in said.query_params.iter().flatten().enumerate() {
        let at = |why: String| (format!("queryParams[{index}]"), why);
        if seen.contains(&&*one.name) {
            continue;
        }
        seen.push(&one.name);
        match how(one).map_err(at)? {
            ValueMatch::Exact => query.push((one.name.clone(), one.value.clone())),
            ValueMatch::RegularExpression => query_texts.push((one.name.clone(), expression(one).map_err(at)?)),
        }
    }
    // The same conditions in another order are the same.
    fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    query.sort();
    let expressions = (!field_texts.is_empty() || !query_texts.is_empty()).then(|| {
        Box::new(Expressions {
            fields: field_texts.into(),
            query: query_texts.into(),
        })
    });
    let when = When {
        method,
        fields: fields.into(),
        query: query.into(),
        expressions,
    };
    Ok((when != When::default()).then(|| Box::new(when)))
}

fn how(one: &NamedValue) -> Result<ValueMatch, String> {
    one.how().ok_or_else(|| {
        let kind = one.kind.as_deref().unwrap_or_default();
        format!("the type \"{kind}\" is neither Exact nor RegularExpression")
    })
}

fn expression(one: &NamedValue) -> Result<PathRegex, String> {
    PathRegex::whole(&one.value).map_err(|why| format!("\"{}\" {why}", one.value))
}

/// How long a request may take as a whole. There is one try that takes time, so the limit of a try is one of the whole.
fn time_limit(timeouts: &Timeouts) -> Result<Option<Duration>, (&'static str, String)> {
    let read = |field, text: Option<&str>| text.map(|text| duration(text).map_err(|why| (field, why))).transpose();
    let request = read("request", timeouts.request.as_deref())?;
    let backend = read("backendRequest", timeouts.backend_request.as_deref())?;
    let limits = [request, backend].into_iter().flatten();
    Ok(limits.filter(|limit| !limit.is_zero()).min())
}

/// A duration as GEP-2257 has it: up to four numbers of at most five digits, each with `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration such as 500ms, 10s or 1h30m");
    let (mut total, mut rest, mut parts) = (Duration::ZERO, text, 0);
    while !rest.is_empty() {
        let end = rest.find(|one: char| !one.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, behind) = rest.split_at(end);
        let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 5).ok_or_else(wrong)?;
        let end = behind.find(|one: char| one.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, left) = behind.split_at(end);
        total += match unit {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return Err(wrong()),
        };
        (rest, parts) = (left, parts + 1);
    }
    (1..=4).contains(&parts).then_some(total).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gateway_api() {
        for (text, wanted) in [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1m2s3ms", Some(62_003)),
            ("", None),
            ("10", None),
            ("1.5s", None),
            ("100000s", None),
            ("1d", None),
            ("1s1s1s1s1s", None),
            ("-1s", None),
        ] {
            let read = duration(text).ok().map(|time| time.as_millis());
            assert_eq!(read, wanted, "{text}");
        }
    }
}
