//! Turns flags, which are plain values, into the settings of each part of the program.

use crate::compile;
use crate::config::{
    AccessArgs, DropIn, Format, HeadArgs, Protocol, RouteArgs, RouteOwnership, RuleArgs, ServeArgs, StatusArgs,
};
use crate::dialect::Dialect;
use crate::dialect::annotations::Ignored;
use crate::dialect::openshift::{RouteOptions, Selector};
use crate::dialect::owners::{self, HostOwners};
use crate::http1::Limits;
use crate::policy::compress::Memory;
use crate::proxy::{self, Timeouts, TrustedProxies};
use crate::serve::handover::SocketKey;
use crate::serve::{Binding, Bound, Role, ShardSettings, Tls, TlsSettings};
use crate::status;
use crate::status::addresses::{OwnPods, Source};
use crate::status::desired::Address;
use crate::table::{AddressPool, After, Listener, ListenerProtocol};
use crate::telemetry::access;
use crate::upstream::{PoolSettings, Sockets};
use std::net::SocketAddr;
use std::sync::Arc;

impl From<Protocol> for Role {
    fn from(protocol: Protocol) -> Self {
        Self::Listener(match protocol {
            Protocol::Http => ListenerProtocol::Http,
            Protocol::Https => ListenerProtocol::Https,
        })
    }
}

impl From<DropIn> for Dialect {
    fn from(controller: DropIn) -> Self {
        match controller {
            DropIn::IngressNginx => Self::IngressNginx,
            DropIn::OpenShift => Self::OpenShift,
        }
    }
}

/// The listeners of the flags, as far as their addresses could be bound. They serve what Ingresses have.
pub(super) fn listeners(bound: &[Bound]) -> Vec<Arc<Listener>> {
    let listeners = bound.iter().zip(0..).map(|(bound, slot)| {
        let SocketKey { role, address, .. } = bound.place();
        Arc::new(match role {
            Role::Listener(ListenerProtocol::Https) => Listener::https(slot, address),
            _ => Listener::http(slot, address),
        })
    });
    listeners.collect()
}

impl ServeArgs {
    /// Settings of TLS towards clients.
    pub fn tls_settings(&self) -> TlsSettings {
        TlsSettings {
            min_version: self.tls.tls_min_version,
            strict_sni: self.tls.strict_sni,
            handshake_timeout: self.tls.handshake_timeout,
            max_handshakes: self.tls.max_handshakes.max(1),
        }
    }

    /// Settings of the request's road. `https_port` is where HTTPS is listened for; `pods` is how many connections
    /// to pods there may be.
    pub fn proxy_settings(&self, https_port: Option<u16>, pods: usize) -> proxy::Settings {
        proxy::Settings {
            pool: PoolSettings {
                connect_timeout: self.timeouts.connect_timeout,
                idle_timeout: self.timeouts.upstream_idle_timeout,
                sockets: Sockets::new(pods),
                max_idle: self.limits.upstream_max_idle,
                max_response_head: self.limits.max_response_head,
            },
            timeouts: Timeouts {
                head: self.timeouts.head_timeout,
                idle: self.timeouts.idle_timeout,
                body: self.timeouts.body_timeout,
                send: self.timeouts.send_timeout,
                tunnel: self.timeouts.tunnel_timeout,
                leaving: self.end.drain_deadline,
                response: self.timeouts.response_timeout,
                stream: self.timeouts.stream_timeout,
            },
            attempts: self.limits.attempts,
            reject_encoded_slash: self.http.reading.rejects_encoded_slash(),
            after: self.http.server_header.iter().cloned().map(After::Server).collect(),
            https_port: self.tls.https_port.or(https_port),
            trusted_proxies: TrustedProxies::new(&self.http.reading.trusted_proxies),
            max_in_flight: self.limits.max_in_flight.into(),
            short_of_memory: Arc::default(),
            compression_memory: Arc::new(Memory::new(self.limits.compression_memory)),
            buckets: Arc::default(),
            under_way: Arc::default(),
            passwords: Arc::default(),
            digests: Arc::default(),
            answers: Arc::default(),
            tokens: Arc::default(),
            count_routes: self.metrics.count_routes,
            access_log: None,
            tracer: None,
            tap: Arc::default(),
        }
    }

    /// How addresses are bound.
    pub fn binding(&self) -> Binding {
        Binding::new(self.listen.share_ports, AddressPool::new(&self.rules.gateway_addresses))
    }

    /// Settings of client connections.
    pub fn shard_settings(&self, tls: Option<Arc<Tls>>) -> ShardSettings {
        ShardSettings {
            limits: self.limits.head.limits(),
            serves_half_closed: self.http.serve_half_closed,
            proxy_protocol: self.listen.proxy_protocol,
            tls,
            binding: self.binding(),
            http2_window: self.limits.http2_stream_window,
        }
    }
}

impl HeadArgs {
    /// What clients may send.
    pub fn limits(&self) -> Limits {
        Limits {
            head_bytes: self.max_head,
            uri_bytes: self.max_uri,
            header_count: self.max_headers,
            ..Limits::default()
        }
    }
}

impl RuleArgs {
    /// What the compiler needs to know.
    ///
    /// # Errors
    /// A value of `--host-owners` that cannot be read.
    pub fn compile_options(&self, own_addresses: Vec<SocketAddr>) -> Result<compile::Options, String> {
        Ok(compile::Options {
            ingress_class: self.ingress_class.clone(),
            class_less: self.class_less,
            allow_external_names: self.allow_external_names,
            own_addresses,
            admin_addresses: Vec::new(),
            local_endpoints: true,
            host_owners: self.owners()?,
            default_certificate: self.default_certificate.clone(),
            system_roots: compile::backend_tls::system_roots(),
            zone: self.zone.clone(),
            node: self.node.clone(),
            yield_empty: self.yield_empty.map(|time| time.as_secs()),
            ignored_annotations: Ignored::new(&self.ignore_annotation),
            drop_in: self.drop_in.iter().copied().map(Dialect::from).collect(),
            nginx_config_map: self.nginx_configmap.clone(),
            nginx_default_backend: self.nginx_default_backend.clone(),
            ssl_redirect: self.ssl_redirect,
            routes: self.routes.options()?,
            gateway_class: self.gateway_class.clone(),
            gateway_ports: self.gateway_ports.clone(),
            gateway_addresses: AddressPool::new(&self.gateway_addresses),
            ..compile::Options::default()
        })
    }

    /// The owners of hosts that `--host-owners` names.
    ///
    /// # Errors
    /// A value of `--host-owners` that cannot be read.
    pub fn owners(&self) -> Result<HostOwners, String> {
        let read = |one: &Arc<str>| {
            owners::parse(one)
                .map_err(|error| format!("invalid value '{one}' for '--host-owners <NAMESPACE=HOST>': {error}"))
        };
        let given: Vec<_> = self.host_owners.iter().map(read).collect::<Result<_, _>>()?;
        Ok(HostOwners::new(&given))
    }
}

impl RouteArgs {
    /// What the compiler needs to know of them.
    ///
    /// # Errors
    /// A selector, or a file of authorities, that cannot be read.
    fn options(&self) -> Result<RouteOptions, String> {
        let selector = |flag: &str, text: &Option<String>| {
            let text = text.as_deref().unwrap_or_default();
            Selector::new(text).map_err(|error| format!("invalid value '{text}' for '{flag} <SELECTOR>': {error}"))
        };
        let service_ca = self.route_service_ca.as_ref().map(|path| {
            let read = std::fs::read(path).map_err(|error| error.to_string());
            let checked = read.and_then(|pem| compile::backend_tls::checked_authorities(pem.into()));
            checked.map_err(|why| format!("--route-service-ca {}: {why}", path.display()))
        });
        Ok(RouteOptions {
            domain: self.route_domain.clone(),
            wildcards: self.route_wildcards,
            labels: selector("--route-labels", &self.route_labels)?,
            namespace_labels: selector("--namespace-labels", &self.namespace_labels)?,
            any_namespace: self.route_ownership == RouteOwnership::Any,
            service_ca: service_ca.transpose()?,
        })
    }
}

impl AccessArgs {
    /// What is to be logged; absent if nothing is.
    pub fn options(&self) -> Option<access::AccessOptions> {
        (self.access_log != Format::Off).then(|| access::AccessOptions {
            format: self.access_log,
            statuses: self.access_log_status.clone(),
            min_duration: self.access_log_min_duration,
            sample: self.access_log_sample,
            headers: self.access_log_headers.iter().flatten().cloned().collect(),
        })
    }
}

impl StatusArgs {
    /// What is to be written, for a process of this name; absent if nothing is. `namespace` is that of the service account,
    /// `admin_port` where peers answer.
    pub fn options(
        &self,
        pod: &str,
        namespace: &str,
        admin_port: Option<u16>,
        watched: &[String],
        serves_routes: bool,
    ) -> Option<status::StatusOptions> {
        if !self.update_status {
            return None;
        }
        let namespace = self.namespace.clone().unwrap_or_else(|| namespace.to_owned());
        let source = match (&self.publish_service, self.publish_address.as_slice()) {
            (Some((namespace, name)), _) => Source::Service(namespace.clone(), name.clone()),
            (None, []) => Source::Nodes {
                by_name: self.publish_hostnames,
            },
            (None, given) => Source::Given(given.iter().map(|text| Address::new(text)).collect()),
        };
        Some(status::StatusOptions {
            source,
            pods: OwnPods {
                namespace: namespace.clone(),
                selector: self.pod_selector.clone(),
                own: pod.to_owned(),
                admin_port,
            },
            lease: status::lease::Wanted {
                namespace,
                name: self.lease.clone(),
                // A pod's container that starts anew is not the one that held it.
                holder: format!("{pod}_{:08x}", fastrand::u32(..)),
            },
            rate: self.status_rate.max(1),
            namespaces: watched.to_vec(),
            instance: pod.to_owned(),
            router: serves_routes.then(|| status::routes::Router {
                name: self.router_name.clone(),
                hostname: self.router_hostname.clone(),
            }),
        })
    }
}
