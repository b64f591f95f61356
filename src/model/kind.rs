//! The kinds of objects narthex reads: one row for each, which all else about a kind follows from.
//!
//! A kind is known by its group and its name together, for other groups have an `Ingress` or a `Service` of their own.

use std::fmt;

/// Which objects of a kind are asked for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They live in namespaces.
    Namespaced,
    /// They have none.
    Cluster,
}

/// How a cluster's objects of a kind are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// narthex is not ready before it has listed them once.
    Required,
    /// Where they are forbidden or missing, that is said and everything else goes on.
    Optional,
    /// They are watched only while another kind cannot be.
    Fallback,
    /// Only those that something names are watched, each by its name.
    Named,
    /// Only a flag has them watched. Where the API server has the kind, narthex is not ready before it has listed them once;
    /// where it has not, that is said and the kind is looked for now and then.
    Installed,
    /// Nobody expects the API server to have the kind, so it is looked for without a word. Where the API server has it and lets
    /// narthex list it, narthex is not ready before that was done once.
    Sought,
}

/// What a kind's row says.
#[derive(Debug)]
pub struct Facts {
    /// The `kind:` of a manifest.
    pub name: &'static str,
    /// The plural resource name, which URLs and RBAC rules use.
    pub plural: &'static str,
    /// Other names that kubectl takes.
    pub short: &'static [&'static str],
    /// Each `apiVersion` it ever had, the current one first.
    pub versions: &'static [&'static str],
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// How it is watched.
    pub watch: Watch,
    /// Whether narthex writes Events about its objects.
    pub events: bool,
    /// Whether only the metadata of its objects is asked for.
    pub metadata_only: bool,
    /// The dialect whose objects claim hosts and paths; absent for what all dialects build on.
    pub dialect: Option<&'static str>,
}

/// Hands all rows to another macro. `dialect` names the folder of the room `dialect` that has the kind's type, decoder and
/// reading. What every dialect builds on has a `decoder` in that room instead.
macro_rules! with_kinds {
    ($then:ident) => {
        $then! {
            Ingress {
                plural: "ingresses", short: ["ing"],
                versions: ["networking.k8s.io/v1", "networking.k8s.io/v1beta1", "extensions/v1beta1"],
                scope: Namespaced, watch: Required, events: true, metadata_only: false, dialect: ingress,
            }
            // OpenShift's, for `--drop-in openshift`.
            Route {
                plural: "routes", short: [],
                versions: ["route.openshift.io/v1"],
                scope: Namespaced, watch: Installed, events: true, metadata_only: false, dialect: openshift,
            }
            IngressClass {
                plural: "ingressclasses", short: [],
                versions: ["networking.k8s.io/v1", "networking.k8s.io/v1beta1"],
                scope: Cluster, watch: Optional, events: false, metadata_only: false, decoder: ingress_class,
            }
            Service {
                plural: "services", short: ["svc"],
                versions: ["v1"],
                scope: Namespaced, watch: Required, events: true, metadata_only: false, decoder: service,
            }
            EndpointSlice {
                plural: "endpointslices", short: [],
                versions: ["discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"],
                scope: Namespaced, watch: Required, events: false, metadata_only: false, decoder: endpoint_slice,
            }
            // For clusters (or RBAC) without EndpointSlices.
            Endpoints {
                plural: "endpoints", short: ["ep"],
                versions: ["v1"],
                scope: Namespaced, watch: Fallback, events: false, metadata_only: false, decoder: endpoints,
            }
            Secret {
                plural: "secrets", short: [],
                versions: ["v1"],
                scope: Namespaced, watch: Optional, events: true, metadata_only: false, decoder: secret,
            }
            ConfigMap {
                plural: "configmaps", short: ["cm"],
                versions: ["v1"],
                scope: Namespaced, watch: Named, events: false, metadata_only: false, decoder: config_map,
            }
            // Those of Gateway API.
            GatewayClass {
                plural: "gatewayclasses", short: ["gc"],
                versions: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
                scope: Cluster, watch: Sought, events: false, metadata_only: false, decoder: gateway_class,
            }
            Gateway {
                plural: "gateways", short: ["gtw"],
                versions: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
                scope: Namespaced, watch: Sought, events: true, metadata_only: false, decoder: gateway,
            }
            HTTPRoute {
                plural: "httproutes", short: [],
                versions: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
                scope: Namespaced, watch: Sought, events: true, metadata_only: false, decoder: http_route,
            }
            GRPCRoute {
                plural: "grpcroutes", short: [],
                versions: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"],
                scope: Namespaced, watch: Sought, events: true, metadata_only: false, decoder: grpc_route,
            }
            TLSRoute {
                plural: "tlsroutes", short: [],
                versions: [
                    "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha3", "gateway.networking.k8s.io/v1alpha2"
                ],
                scope: Namespaced, watch: Sought, events: true, metadata_only: false, decoder: tls_route,
            }
            TCPRoute {
                plural: "tcproutes", short: [],
                versions: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"],
                scope: Namespaced, watch: Sought, events: true, metadata_only: false, decoder: tcp_route,
            }
            ReferenceGrant {
                plural: "referencegrants", short: ["refgrant"],
                versions: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
                scope: Namespaced, watch: Sought, events: false, metadata_only: false, decoder: reference_grant,
            }
            // Read for whether it is being deleted, and for its labels.
            Namespace {
                plural: "namespaces", short: ["ns"],
                versions: ["v1"],
                scope: Cluster, watch: Optional, events: false, metadata_only: true, decoder: namespace,
            }
        }
    };
}
pub(crate) use with_kinds;

macro_rules! make_kinds {
    ($($kind:ident {
        plural: $plural:literal, short: [$($short:literal),*], versions: [$($version:literal),+], scope: $scope:ident,
        watch: $watch:ident, events: $events:literal, metadata_only: $metadata_only:literal,
        $(decoder: $decoder:ident,)? $(dialect: $dialect:ident,)?
    })*) => {
        /// The kinds of objects narthex reads.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// Every kind, in the order reports list them.
            pub const ALL: [Kind; [$(Kind::$kind),*].len()] = [$(Kind::$kind),*];

            /// Its row.
            pub const fn facts(self) -> &'static Facts {
                match self {
                    $(Kind::$kind => &Facts {
                        name: stringify!($kind),
                        plural: $plural,
                        short: &[$($short),*],
                        versions: &[$($version),+],
                        scope: Scope::$scope,
                        watch: Watch::$watch,
                        events: $events,
                        metadata_only: $metadata_only,
                        dialect: [$(Some(stringify!($dialect)),)? None][0],
                    },)*
                }
            }
        }
    };
}
with_kinds!(make_kinds);

/// The group and version of an `apiVersion`. The core group has no name.
pub fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl Kind {
    /// Whether its objects claim hosts and paths.
    pub fn claims(self) -> bool {
        self.facts().dialect.is_some()
    }

    /// Whether connections are passed on by it, whatever is spoken in them.
    pub fn is_of_streams(self) -> bool {
        matches!(self, Self::TLSRoute | Self::TCPRoute)
    }

    /// Whether it is one of Gateway API's.
    pub fn is_of_gateways(self) -> bool {
        self.group() == "gateway.networking.k8s.io"
    }

    /// The `kind:` of a manifest.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The plural resource name RBAC rules use.
    pub fn plural(self) -> &'static str {
        self.facts().plural
    }

    /// Whether objects of this kind live in a namespace.
    pub fn namespaced(self) -> bool {
        self.facts().scope == Scope::Namespaced
    }

    /// Each `apiVersion` it ever had, the current one first.
    pub fn versions(self) -> &'static [&'static str] {
        self.facts().versions
    }

    /// The `apiVersion` it has today.
    pub fn api_version(self) -> &'static str {
        self.versions().first().copied().unwrap_or_default()
    }

    /// The group it is in today; empty for the core group.
    pub fn group(self) -> &'static str {
        group_and_version(self.api_version()).0
    }

    /// The kind of this name in whatever group: its `apiVersion` has to be one of [`Kind::versions`] too.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
