//! GatewayClass, Gateway and ReferenceGrant as narthex keeps them: the fields that decide something, as they are
//! written. What is one of several words stays text, for a word that nobody knows has to reach the status.

use super::GatewayRoute;
use crate::model::object::Meta;
use crate::model::{Annotations, Kind, Revision};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Any object of Gateway API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayObject {
    Class(GatewayClass),
    Gateway(Gateway),
    Route(GatewayRoute),
    Grant(ReferenceGrant),
}

impl GatewayObject {
    /// What kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Class(_) => Kind::GatewayClass,
            Self::Gateway(_) => Kind::Gateway,
            Self::Route(route) => route.kind,
            Self::Grant(_) => Kind::ReferenceGrant,
        }
    }

    /// Name, age, annotations.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Class(object) => &object.meta,
            Self::Gateway(object) => &object.meta,
            Self::Route(object) => &object.meta,
            Self::Grant(object) => &object.meta,
        }
    }

    pub(in crate::dialect) fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Class(object) => &mut object.meta,
            Self::Gateway(object) => &mut object.meta,
            Self::Route(object) => &mut object.meta,
            Self::Grant(object) => &mut object.meta,
        }
    }
}

/// GatewayClass: who serves the Gateways that name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayClass {
    pub meta: Meta,
    pub revision: Revision,
    /// `spec.controllerName`.
    pub controller: Box<str>,
    /// Whether there is a `spec.parametersRef`.
    pub has_parameters: bool,
}

/// Gateway: what is listened on, and whose routes are served there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    pub meta: Meta,
    pub revision: Revision,
    /// `spec.gatewayClassName`.
    pub class: Arc<str>,
    /// `spec.listeners`.
    pub listeners: Box<[GatewayListener]>,
    /// `spec.addresses`.
    pub addresses: Box<[AddressAsked]>,
    /// The addresses that its status has.
    pub had: Box<[IpAddr]>,
    /// What it asks for beside that.
    pub asks_for: Box<[GatewayAsk]>,
}

/// One of a Gateway's `spec.addresses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AddressAsked {
    /// `type`; IPAddress where it is absent.
    #[serde(rename = "type")]
    pub kind: Option<Box<str>>,
    /// Absent, or empty, where any will do.
    pub value: Option<Box<str>>,
}

/// What a Gateway may ask for beside its listeners. narthex does not act on any of it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayAsk {
    Parameters,
    Infrastructure,
    Listeners,
    ClientCertificates,
    OwnCertificate,
    Scope,
}

impl GatewayAsk {
    /// The field that says so.
    pub fn field(self) -> &'static str {
        match self {
            Self::Parameters => "spec.infrastructure.parametersRef",
            Self::Infrastructure => "spec.infrastructure",
            Self::Listeners => "spec.allowedListeners",
            Self::ClientCertificates => "spec.tls.frontend",
            Self::OwnCertificate => "spec.tls.backend",
            Self::Scope => "spec.defaultScope",
        }
    }
}

/// One of a Gateway's `spec.listeners`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayListener {
    pub name: Box<str>,
    /// Absent, or empty, for all hosts.
    pub hostname: Option<Box<str>>,
    pub port: i32,
    pub protocol: Box<str>,
    pub tls: Option<ListenerTls>,
    pub allowed_routes: Option<AllowedRoutes>,
}

/// `tls` of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerTls {
    pub mode: Option<Box<str>>,
    pub certificate_refs: Option<Vec<ObjectReference>>,
    /// Keys of the implementation; narthex has none.
    pub options: Option<BTreeMap<String, String>>,
}

/// A reference to an object, of the same namespace unless it names another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ObjectReference {
    pub group: Option<Box<str>>,
    pub kind: Option<Box<str>>,
    pub namespace: Option<Box<str>>,
    pub name: Box<str>,
}

/// `allowedRoutes` of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllowedRoutes {
    pub namespaces: Option<RouteNamespaces>,
    pub kinds: Option<Vec<RouteGroupKind>>,
}

/// The namespaces whose routes a listener takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RouteNamespaces {
    /// `Same` where it is absent.
    pub from: Option<Box<str>>,
    pub selector: Option<LabelSelector>,
}

/// A kind of routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RouteGroupKind {
    pub group: Option<Box<str>>,
    pub kind: Box<str>,
}

/// A choice by labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    pub match_labels: Option<BTreeMap<Box<str>, Box<str>>>,
    pub match_expressions: Option<Vec<Requirement>>,
}

/// One of a selector's `matchExpressions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Requirement {
    pub key: Box<str>,
    pub operator: Box<str>,
    pub values: Option<Vec<Box<str>>>,
}

impl LabelSelector {
    /// Whether labels fulfil all of it. An operator that nobody knows is never fulfilled. Where not all labels are known,
    /// nothing is fulfilled that asks for the absence of one.
    pub fn selects(&self, labels: &Annotations, are_all_known: bool) -> bool {
        let mut equal = self.match_labels.iter().flatten();
        equal.all(|(key, value)| labels.get(key) == Some(value)) && {
            let mut requirements = self.match_expressions.iter().flatten();
            requirements.all(|one| one.holds(labels, are_all_known))
        }
    }
}

impl Requirement {
    fn holds(&self, labels: &Annotations, are_all_known: bool) -> bool {
        let value = labels.get(&self.key);
        let is_listed = || value.is_some_and(|value| self.values.iter().flatten().any(|one| **one == *value));
        match &*self.operator {
            "In" => is_listed(),
            "NotIn" => (value.is_some() || are_all_known) && !is_listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => are_all_known && value.is_none(),
            _ => false,
        }
    }
}

/// ReferenceGrant: which objects of other namespaces may refer to those of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceGrant {
    pub meta: Meta,
    pub from: Box<[GrantFrom]>,
    pub to: Box<[GrantTo]>,
}

/// A kind and a namespace whose objects may refer to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GrantFrom {
    pub group: Box<str>,
    pub kind: Box<str>,
    pub namespace: Box<str>,
}

/// What may be referred to; all of the kind where there is no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GrantTo {
    pub group: Box<str>,
    pub kind: Box<str>,
    pub name: Option<Box<str>>,
}

impl ReferenceGrant {
    /// Whether it lets objects of a kind of Gateway API, in a namespace, refer to an object of its own namespace.
    pub fn grants(&self, (kind, namespace): (&str, &str), (group, to, name): (&str, &str, &str)) -> bool {
        let is_from =
            |from: &GrantFrom| *from.group == *super::GROUP && *from.kind == *kind && *from.namespace == *namespace;
        let is_to = |one: &GrantTo| {
            *one.group == *group && *one.kind == *to && one.name.as_deref().is_none_or(|own| own == name)
        };
        self.from.iter().any(is_from) && self.to.iter().any(is_to)
    }
}

/// One of a route's `parentRefs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    pub group: Option<Box<str>>,
    pub kind: Option<Box<str>>,
    pub namespace: Option<Box<str>>,
    pub name: Box<str>,
    pub section_name: Option<Box<str>>,
    pub port: Option<i32>,
}

impl ParentRef {
    /// As the status of a route has it: the fields that are written.
    pub fn to_value(&self) -> Value {
        let mut fields = serde_json::Map::new();
        let group = self.group.as_deref().unwrap_or(super::GROUP);
        fields.insert("group".to_owned(), group.into());
        fields.insert("kind".to_owned(), self.kind.as_deref().unwrap_or("Gateway").into());
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        put("namespace", self.namespace.as_deref().map(Value::from));
        put("name", Some(Value::from(&*self.name)));
        put("sectionName", self.section_name.as_deref().map(Value::from));
        put("port", self.port.map(Value::from));
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_wants_all_that_it_says() {
        let labels = Annotations::from_iter([("team", "a"), ("env", "prod")]);
        let selects = |text: &str| {
            let selector: LabelSelector = serde_json::from_str(text).unwrap();
            selector.selects(&labels, true)
        };
        assert!(selects("{}"));
        assert!(selects(r#"{"matchLabels": {"team": "a"}}"#));
        assert!(!selects(r#"{"matchLabels": {"team": "a", "env": "test"}}"#));
        for (expression, wanted) in [
            (r#"{"key": "team", "operator": "In", "values": ["a", "b"]}"#, true),
            (r#"{"key": "team", "operator": "NotIn", "values": ["a"]}"#, false),
            (r#"{"key": "none", "operator": "NotIn", "values": ["a"]}"#, true),
            (r#"{"key": "env", "operator": "Exists"}"#, true),
            (r#"{"key": "env", "operator": "DoesNotExist"}"#, false),
            (r#"{"key": "env", "operator": "Equals"}"#, false),
        ] {
            assert_eq!(
                selects(&format!(r#"{{"matchExpressions": [{expression}]}}"#)),
                wanted,
                "{expression}"
            );
        }
        for (expression, wanted) in [
            (r#"{"key": "none", "operator": "NotIn", "values": ["a"]}"#, false),
            (r#"{"key": "team", "operator": "NotIn", "values": ["b"]}"#, true),
            (r#"{"key": "none", "operator": "DoesNotExist"}"#, false),
        ] {
            let text = format!(r#"{{"matchExpressions": [{expression}]}}"#);
            let selector: LabelSelector = serde_json::from_str(&text).unwrap();
            assert_eq!(selector.selects(&labels, false), wanted, "{expression}");
        }
    }

    #[test]
    fn an_empty_name_in_a_grant_grants_nothing() {
        let grants = |name: Option<&str>| {
            let grant = ReferenceGrant {
                from: [GrantFrom {
                    group: super::super::GROUP.into(),
                    kind: "HTTPRoute".into(),
                    namespace: "a".into(),
                }]
                .into(),
                to: [GrantTo {
                    kind: "Service".into(),
                    name: name.map(Into::into),
                    ..GrantTo::default()
                }]
                .into(),
                ..ReferenceGrant::default()
            };
            grant.grants(("HTTPRoute", "a"), ("", "Service", "web"))
        };
        assert!(grants(None) && grants(Some("web")));
        assert!(!grants(Some("")) && !grants(Some("other")));
    }
}
