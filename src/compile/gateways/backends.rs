//! What objects of Gateway API refer to: whether they may, and whether it is there.

use crate::compile::backends::find_port;
use crate::compile::{Key, State};
use crate::dialect::gateway::BackendRef;
use crate::dialect::reading::BackendKey;
use crate::model::object::PortRef;
use crate::model::{Code, Kind};
use crate::table::backend::tls_wanted;
use crate::table::{BackendProtocol, BackendSettings};
use std::sync::Arc;

/// Why a reference is not followed: the reason in the status, a sentence, and the code of the diagnostic.
pub(super) type Refused = (&'static str, String, Code);

/// What the pods of a GRPCRoute speak: HTTP/2, under TLS where their port is one for TLS.
fn grpc(app_protocol: Option<&str>) -> Arc<BackendSettings> {
    let protocol = match tls_wanted(&BackendSettings::default(), app_protocol) {
        Some(_) => BackendProtocol::Grpcs,
        None => BackendProtocol::Grpc,
    };
    Arc::new(BackendSettings {
        protocol: Some(protocol),
        ..BackendSettings::default()
    })
}

impl State {
    /// Whether an object of a kind and namespace may refer to another object, which has a group and a kind.
    pub(super) fn is_granted(
        &self,
        (kind, namespace): (&str, &Arc<str>),
        (group, to, key): (&str, &str, &Key),
    ) -> Result<(), Refused> {
        let (target, name) = key;
        let mut grants = self.gateways.grants();
        let granted = target == namespace
            || grants
                .any(|grant| grant.meta.namespace == *target && grant.grants((kind, namespace), (group, to, name)));
        if granted {
            return Ok(());
        }
        let why = format!(
            "{to} \"{name}\" is in namespace \"{target}\", and no ReferenceGrant there lets a {kind} of namespace \
             \"{namespace}\" refer to it"
        );
        Err(("RefNotPermitted", why, Code::RefNotPermitted))
    }

    /// The backend that a route refers to.
    pub(super) fn route_backend(
        &self,
        (of, namespace): (Kind, &Arc<str>),
        named: &BackendRef,
        settings: Option<&Arc<BackendSettings>>,
    ) -> Result<BackendKey, Refused> {
        let (group, kind) = (named.group.as_deref(), named.kind.as_deref());
        if group.is_some_and(|group| !group.is_empty()) || kind.is_some_and(|kind| kind != "Service") {
            let what = kind.unwrap_or("Service");
            let why = format!(
                "{what} \"{}\" is no Service, and routes lead to Services only",
                named.name
            );
            return Err(("InvalidKind", why, Code::InvalidBackend));
        }
        let other = named.namespace.as_deref().map(Arc::from);
        let key: Key = (other.unwrap_or_else(|| namespace.clone()), (&*named.name).into());
        self.is_granted((of.name(), namespace), ("", "Service", &key))?;
        let Some(service) = self.services.get(&key) else {
            let why = format!("there is no Service \"{}\" in namespace \"{}\"", key.1, key.0);
            return Err(("BackendNotFound", why, Code::ServiceNotFound));
        };
        let Some(port) = named.port else {
            let why = format!("the port of Service \"{}\" is missing", key.1);
            return Err(("BackendNotFound", why, Code::InvalidBackend));
        };
        let port = PortRef::Number(port);
        let found = find_port(service, &port);
        if service.external_name.is_none() && found.is_none() {
            let why = format!("Service \"{}\" has no port {port}", key.1);
            return Err(("BackendNotFound", why, Code::PortNotFound));
        }
        Ok(BackendKey {
            namespace: key.0,
            service: key.1,
            port,
            settings: settings.cloned().or_else(|| {
                let app_protocol = found.and_then(|port| port.app_protocol.as_deref());
                (of == Kind::GRPCRoute).then(|| grpc(app_protocol))
            }),
            limited_by: None,
        })
    }
}
