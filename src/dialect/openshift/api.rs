//! route.openshift.io/v1 as its API has it. No Kubernetes crate knows it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: RouteSpec,
    /// What routers wrote: no concern of the compiler.
    #[serde(default, rename = "status")]
    _status: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteSpec {
    pub host: Option<String>,
    pub subdomain: Option<String>,
    pub path: Option<String>,
    pub to: Option<RouteTargetReference>,
    pub alternate_backends: Option<Vec<RouteTargetReference>>,
    pub port: Option<RoutePort>,
    pub tls: Option<TlsConfig>,
    pub wildcard_policy: Option<String>,
    pub http_headers: Option<RouteHttpHeaders>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct RouteTargetReference {
    pub kind: Option<String>,
    pub name: Option<String>,
    pub weight: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutePort {
    pub target_port: IntOrString,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsConfig {
    pub termination: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    #[serde(rename = "caCertificate")]
    pub ca_certificate: Option<String>,
    #[serde(rename = "destinationCACertificate")]
    pub destination_ca_certificate: Option<String>,
    pub insecure_edge_termination_policy: Option<String>,
    pub external_certificate: Option<LocalObjectReference>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct LocalObjectReference {
    pub name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct RouteHttpHeaders {
    pub actions: Option<RouteHttpHeaderActions>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct RouteHttpHeaderActions {
    pub request: Option<Vec<RouteHttpHeader>>,
    pub response: Option<Vec<RouteHttpHeader>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct RouteHttpHeader {
    pub name: Option<String>,
    pub action: Option<RouteHttpHeaderAction>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct RouteHttpHeaderAction {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub set: Option<RouteSetHttpHeader>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct RouteSetHttpHeader {
    pub value: Option<String>,
}
