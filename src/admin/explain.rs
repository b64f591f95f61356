//! `/api/v1/explain`: the question as it comes, and the decision with what happens now.

use super::Admin;
use super::api::{EndpointInfo, Query, endpoints_of};
use super::reply::{Reply, as_json};
use super::view::{self, Decision, Now};
use crate::control::lock;
use crate::proxy::Counters;
use crate::table::Table;
use http::StatusCode;
use serde_json::json;
use std::sync::Arc;

impl Admin {
    /// Which rule answers a URL and why, and what happens there now.
    pub(super) fn explain(&self, query: &Query) -> Reply {
        let mut question = view::Question {
            url: query.get("url").unwrap_or_default().to_owned(),
            method: query.get("method").unwrap_or_default().to_owned(),
            target: query.get("target").map(str::to_owned),
            server_name: query.get("server_name").map(str::to_owned),
            client_subject: query.get("client_subject").map(str::to_owned),
            ..view::Question::default()
        };
        for header in query.all("header") {
            if let Err(error) = question.add_field(header) {
                return as_json(StatusCode::BAD_REQUEST, &json!({"error": error}));
            }
        }
        if let Some(from) = query.get("from") {
            let Ok(from) = from.parse() else {
                return as_json(StatusCode::BAD_REQUEST, &json!({"error": "from is not an IP address"}));
            };
            question.from = Some(from);
        }
        if let Some(client) = query.get("client") {
            let Ok(client) = client.parse() else {
                return as_json(
                    StatusCode::BAD_REQUEST,
                    &json!({"error": "client is not an IP address"}),
                );
            };
            question.client = Some(client);
        }
        if let Some(to) = query.get("to") {
            let Ok(to) = to.parse() else {
                return as_json(StatusCode::BAD_REQUEST, &json!({"error": "to is not IP:PORT"}));
            };
            question.to = Some(to);
        }
        if let Some(version) = query.get("version")
            && let Err(error) = question.set_version(version)
        {
            return as_json(StatusCode::BAD_REQUEST, &json!({"error": error}));
        }
        if question.url.is_empty() {
            return as_json(
                StatusCode::BAD_REQUEST,
                &json!({"error": "ask with ?url=http://HOST/PATH, and perhaps &method= and &header=Name:value"}),
            );
        }
        let table = self.shared.tables.load();
        let terms = {
            let server = lock(&self.server);
            view::Terms::of(server.settings(), server.limits())
        };
        match view::decide(&table, &self.shared.report.load(), &question, &terms) {
            Ok(mut decision) => {
                self.look_at_life(&mut decision, &table);
                as_json(StatusCode::OK, &decision)
            }
            Err(error) => as_json(StatusCode::BAD_REQUEST, &json!({"error": error})),
        }
    }

    /// Adds what happens now to requests for the route that answers.
    fn look_at_life(&self, decision: &mut Decision, table: &Table) {
        let Some(route) = decision.answers.clone() else { return };
        let (commons, counts) = {
            let server = lock(&self.server);
            let counts = |shard: &Arc<Counters>| shard.traffic.counts(route.key);
            let is_counted = server.settings().count_routes && server.counters().iter().all(counts);
            (server.commons(), is_counted)
        };
        let sampler = self.sampler();
        let backends = view::backends(table, &route);
        let pods = backends.iter().map(|backend| endpoints_of(backend, &commons, &sampler));
        let pods: Vec<EndpointInfo> = pods.flatten().collect();
        let mut leaving = (0, 0);
        for set in backends.iter().filter_map(|backend| table.pods(backend.pods?)) {
            let is_there = |identity: &_| set.endpoints.iter().any(|endpoint| endpoint.identity() == *identity);
            let (count, requests) = commons.of(set.id).leaving(is_there);
            leaving = (leaving.0 + count, leaving.1 + requests);
        }
        let tries = counts.then(|| sampler.tries(route.key));
        drop(sampler);
        let last = self
            .recent_errors(|error| error.route == Some(route.key))
            .into_iter()
            .next();
        // Where requests are not counted, nobody knows whether there were any.
        let now = tries.map(|tries| Now::of(&tries, &pods, leaving, last.as_ref()));
        decision.happens(now, pods);
    }
}
