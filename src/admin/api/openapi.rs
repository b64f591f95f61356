//! The OpenAPI document of the admin API (version 3.1): schemas from the very types that are sent, and a table of paths.

use super::super::cluster::Nodes;
use super::super::view::{Decision, Problem};
use super::live::Tick;
use super::objects::{BackendInfo, CertificateInfo, EndpointOf, HostInfo};
use super::overview::{Overview, Version};
use super::query::{Page, fields_of};
use super::routes::{RouteDetail, RouteInfo, SORTS};
use super::tap::LeftOut;
use super::{ChangeView, ErrorView, Live};
use crate::telemetry::tap::{MOST_RATE, Tapped};
use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// What an error says.
#[derive(Debug, Serialize, JsonSchema)]
struct Error {
    /// One sentence.
    error: String,
}

/// The flags of the process as they are in effect: text, or a list of texts. No secrets are among them.
#[derive(Debug, Serialize, JsonSchema)]
struct Config(Map<String, Value>);

/// The document, as JSON. The same for a process's whole life.
pub fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        // A tree of values is always JSON.
        let text = serde_json::to_string_pretty(&document()).unwrap_or_default();
        text + "\n"
    })
}

/// How a list is asked about.
#[derive(Clone, Copy)]
enum List<'a> {
    /// By all there is, sorted by one of these.
    Whole(&'a [String]),
    /// Page by page.
    Paged,
}

struct Document {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.contract = Contract::Serialize;
    });
    let mut document = Document {
        schemas: settings.into_generator(),
        paths: Map::new(),
    };
    document.probes();
    document.lists();
    document.single();
    let error = document.schemas.subschema_for::<Error>();
    let schemas = document.schemas.take_definitions(true);
    let refused = |description: &str| json!({"description": description, "headers": mark(), "content": {"application/json": {"schema": error}}});
    let header = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "narthex", "version": env!("CARGO_PKG_VERSION"),
            "description": "What narthex's table holds, what passes over it, what is wrong and what changed. Read-only. \
                            Parameters that are not named here do nothing. Every answer says which narthex gives it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "the address of --admin"}],
        // A token is asked for where --admin-token-file is given.
        "security": [{}, {"token": []}],
        "paths": document.paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "headers": {
                "narthex-pod": header("the name of the pod, or the value of --pod"),
                "narthex-started": header("when this narthex started (RFC 3339)"),
                "ETag": header("identifies this response; a request with the same value in If-None-Match gets 304"),
            },
            "responses": {
                "BadRequest": refused("a parameter is wrong"),
                "Unauthorized": refused("the token of --admin-token-file is missing or wrong"),
                "Forbidden": refused("the Host is not accepted, or the request was proxied by a narthex"),
                "NotFound": refused("there is no object of this name"),
                "Unavailable": refused("there are too many requests at once, or the token cannot be read"),
            },
        },
    })
}

/// Which narthex answers.
fn mark() -> Value {
    json!({
        "narthex-pod": {"$ref": "#/components/headers/narthex-pod"},
        "narthex-started": {"$ref": "#/components/headers/narthex-started"},
    })
}

fn parameter(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn scope() -> Value {
    let schema = json!({"type": "string", "enum": ["", "node", "cluster"]});
    parameter(
        "scope",
        "cluster: the responses of all narthexes, each under its name",
        schema,
    )
}

fn list_parameters(list: List<'_>) -> Vec<Value> {
    let number = json!({"type": "integer", "minimum": 1, "maximum": 1_000_000});
    let mut all = vec![
        parameter("page", "the number of the page, from 1", number.clone()),
        parameter(
            "per_page",
            "the number of entries on a page; 50 by default, 1000 at most",
            number,
        ),
    ];
    let List::Whole(sorts) = list else { return all };
    let sorts: Vec<String> = std::iter::once(String::new())
        .chain(sorts.iter().flat_map(|field| [field.clone(), format!("-{field}")]))
        .collect();
    let words = json!({"type": "string"});
    all.extend([
        parameter(
            "q",
            "words that all occur: names, hosts, paths, pods, addresses",
            words.clone(),
        ),
        parameter("namespace", "only objects in this namespace", words),
        parameter(
            "status",
            "only what is so well",
            json!({"type": "string", "enum": ["", "ok", "warning", "error"]}),
        ),
        parameter(
            "sort",
            "sort by this field; with - in descending order",
            json!({"type": "string", "enum": sorts}),
        ),
    ]);
    all
}

impl Document {
    /// What is plain text, and not only for those who know our name.
    fn probes(&mut self) {
        let text = |description: &str| json!({"description": description, "headers": mark(), "content": {"text/plain": {"schema": {"type": "string"}}}});
        for (path, summary, well, ill) in [
            (
                "/healthz",
                "Whether the process makes progress",
                "it does",
                "it does not",
            ),
            (
                "/readyz",
                "Whether requests may be sent here, and the state of every watch",
                "they may",
                "the table is not complete yet, or the process is ending",
            ),
            (
                "/ping",
                "Whether requests may still be sent here, as Traefik says it",
                "they may",
                "it is ending",
            ),
        ] {
            let operation = json!({
                "operationId": path.trim_start_matches('/'), "summary": summary, "security": [],
                "responses": {"200": text(well), "503": text(ill)},
            });
            self.paths.insert(path.to_owned(), json!({"get": operation}));
        }
        let operation = json!({
            "operationId": "metrics", "summary": "All metrics, for Prometheus", "security": [],
            "responses": {"200": text("the metrics as text"), "403": text("the Host is not accepted")},
        });
        self.paths.insert("/metrics".to_owned(), json!({"get": operation}));
    }

    fn lists(&mut self) {
        let routes: Vec<String> = SORTS.iter().map(|field| (*field).to_owned()).collect();
        self.list::<RouteInfo>("routes", "Every route, with its pods and its traffic", &routes);
        self.list::<HostInfo>("hosts", "Every host that has a rule", &fields_of::<HostInfo>());
        self.list::<BackendInfo>(
            "backends",
            "Every Service port that a rule leads to",
            &fields_of::<BackendInfo>(),
        );
        self.list::<EndpointOf>("endpoints", "Every pod of every backend", &fields_of::<EndpointOf>());
        let fields = fields_of::<CertificateInfo>();
        self.list::<CertificateInfo>("certificates", "Every certificate that is in use", &fields);
        let page = self.schemas.subschema_for::<Page<ChangeView<'static>>>();
        self.add(
            "changes",
            "The last changes of the table, the newest first",
            page.into(),
            list_parameters(List::Paged),
        );
        let whole = self.schemas.subschema_for::<Vec<Problem>>();
        let page = self.schemas.subschema_for::<Page<Problem>>();
        let answer = json!({"anyOf": [whole, page]});
        let parameters = list_parameters(List::Whole(&fields_of::<Problem>()));
        self.add(
            "diagnostics",
            "What is wrong, errors first: at most 1000 problems, or one page if a parameter is given",
            answer,
            parameters,
        );
        let errors = self.schemas.subschema_for::<Vec<ErrorView>>();
        let summary = "Requests that failed because of narthex or a pod, the newest first, at most 100";
        self.add("errors", summary, errors.into(), Vec::new());
    }

    fn single(&mut self) {
        let overview = self.schemas.subschema_for::<Overview>();
        self.add("overview", "A summary of this narthex", overview.into(), Vec::new());
        let version = self.schemas.subschema_for::<Version>();
        self.add("version", "The version of this narthex", version.into(), Vec::new());
        let config = self.schemas.subschema_for::<Config>();
        self.add(
            "config",
            "The flags as they are in effect, without secrets",
            config.into(),
            Vec::new(),
        );
        let ingress = json!({"type": "array", "items": {"type": "string"}, "maxItems": 100});
        let live = self.schemas.subschema_for::<Live>();
        let asked = parameter("ingress", "NAMESPACE/NAME; may be repeated", ingress);
        self.add(
            "live",
            "Whether Ingresses are in the table that serves requests",
            live.into(),
            vec![asked],
        );
        let detail = self.schemas.subschema_for::<RouteDetail>();
        let id = json!({
            "name": "id", "in": "path", "required": true, "description": "the id of a route in a list",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        });
        self.add("routes/{id}", "One route in detail", detail.into(), vec![id]);
        let mut url = parameter(
            "url",
            "http://HOST/PATH, HOST/PATH or /PATH",
            json!({"type": "string", "pattern": URL}),
        );
        url["required"] = json!(true);
        let texts = json!({"type": "array", "items": {"type": "string"}});
        let parameters = vec![
            url,
            parameter("method", "GET by default", json!({"type": "string"})),
            parameter("header", "NAME:VALUE; may be repeated", texts),
            parameter(
                "server_name",
                "the name in the TLS handshake, if it is not the URL's host",
                json!({"type": "string"}),
            ),
            parameter(
                "client_subject",
                "the subject of the certificate that the client shows, which is taken for valid; none by default",
                json!({"type": "string"}),
            ),
            parameter(
                "from",
                "the address of the peer, which may be one of --trusted-proxies",
                json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
            ),
        ];
        let client = parameter(
            "client",
            "the address of the client, for lists of addresses; that of the peer by default",
            json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        );
        let parameters = [parameters, vec![client], explained_further()].concat();
        let decision = self.schemas.subschema_for::<Decision>();
        self.add(
            "explain",
            "Which rule answers a URL, and why",
            decision.into(),
            parameters,
        );
        self.add("openapi.json", "This document", json!({"type": "object"}), Vec::new());
        self.stream();
        self.tap();
    }

    fn tap(&mut self) {
        let request = self.schemas.subschema_for::<Tapped>();
        let left_out = self.schemas.subschema_for::<LeftOut>();
        let events = json!({
            "description": "an endless stream of events: `request` for each request that ends, `left-out` for those that fit \
                            but were too many",
            "headers": mark(),
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "x-events": {"request": request, "left-out": left_out},
        });
        let text = |name: &str, description: &str| parameter(name, description, json!({"type": "string"}));
        let rate = json!({"type": "integer", "minimum": 1, "maximum": MOST_RATE});
        let operation = json!({
            "operationId": "tap",
            "summary": "Requests as they end, as server-sent events; header fields and queries are never shown",
            "parameters": [
                text("host", "only requests for this host; *.DOMAIN for those below a domain"),
                text("path", "only paths that begin so"),
                text("status", "only these statuses: 5xx or 404, with commas between several"),
                text("slower", "only requests that took longer than this, such as 500ms"),
                text("pod", "only requests that were sent to a pod whose name or address begins so"),
                text("route", "only requests for this route, by its id"),
                parameter("rate", "at most this many requests per second; 100 by default", rate),
            ],
            "responses": {"200": events, "400": response("BadRequest"), "401": response("Unauthorized"),
                          "403": response("Forbidden"), "503": response("Unavailable")},
        });
        self.paths.insert("/api/v1/tap".to_owned(), json!({"get": operation}));
    }

    fn stream(&mut self) {
        let (tick, change) = (
            self.schemas.subschema_for::<Tick>(),
            self.schemas.subschema_for::<ChangeView<'static>>(),
        );
        let events = json!({
            "description": "an endless stream of events: `tick` each second, `change` whenever the table changes",
            "headers": mark(),
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "x-events": {"tick": tick, "change": change},
        });
        let operation = json!({
            "operationId": "stream", "summary": "Changes and rates as they happen, as server-sent events",
            "responses": {"200": events, "401": response("Unauthorized"), "403": response("Forbidden"),
                          "503": response("Unavailable")},
        });
        self.paths
            .insert("/api/v1/stream".to_owned(), json!({"get": operation}));
    }

    fn list<T: JsonSchema>(&mut self, name: &str, summary: &str, sorts: &[String]) {
        let page = self.schemas.subschema_for::<Page<T>>();
        self.add(name, summary, page.into(), list_parameters(List::Whole(sorts)));
    }

    fn add(&mut self, name: &str, summary: &str, answer: Value, mut parameters: Vec<Value>) {
        let nodes = self.schemas.subschema_for::<Nodes>();
        parameters.push(scope());
        let mut headers = mark();
        headers["ETag"] = json!({"$ref": "#/components/headers/ETag"});
        let mut responses = json!({
            "200": {
                "description": "the answer; with scope=cluster, that of every narthex",
                "headers": headers,
                "content": {"application/json": {"schema": {"anyOf": [answer, nodes]}}},
            },
            "304": {"description": "the answer is still what If-None-Match says", "headers": mark()},
            "400": response("BadRequest"), "401": response("Unauthorized"), "403": response("Forbidden"),
            "503": response("Unavailable"),
        });
        if name.contains('{') {
            responses["404"] = response("NotFound");
        }
        let id = name.replace(['/', '{', '}', '.'], "_");
        let operation = json!({
            "operationId": id.trim_end_matches('_'), "summary": summary, "parameters": parameters, "responses": responses,
        });
        self.paths.insert(format!("/api/v1/{name}"), json!({"get": operation}));
    }
}

/// Questions of `explain` about requests that are out of the ordinary.
fn explained_further() -> Vec<Value> {
    vec![
        parameter(
            "target",
            "the request target as it is sent, if it is not the URL's path and query",
            json!({"type": "string"}),
        ),
        parameter(
            "version",
            "the version of HTTP",
            json!({"type": "string", "enum": ["1.0", "1.1", "2"]}),
        ),
        parameter(
            "to",
            "IP:PORT the client connected to, if a PROXY header names it",
            json!({"type": "string", "pattern": r"^(\d{1,3}\.){3}\d{1,3}:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$"}),
        ),
    ]
}

/// What can be explained: an HTTP or HTTPS URL with a host, the same without its scheme, or a path.
const URL: &str = r"^([hH][tT][tT][pP][sS]?://[^/?#]|/|(?![a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#])";

fn response(name: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{name}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = 0;
        let mut look = vec![&document];
        while let Some(value) = look.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(reference)) = fields.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                        found += 1;
                    }
                    look.extend(fields.values());
                }
                Value::Array(items) => look.extend(items),
                _ => {}
            }
        }
        assert!(found > 50, "{found}");
        assert!(
            document
                .pointer("/components/schemas/RouteInfo/properties/traffic")
                .is_some()
        );
    }
}
