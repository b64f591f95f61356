//! narthex: a Kubernetes ingress controller and L7 reverse proxy.
//!
//! Two roads meet in one place. The road of a change (`source` → `compile` → `table`) turns Kubernetes objects
//! into an immutable routing table; the road of a request (`serve` → `proxy` → `upstream`) reads it.
//! `docs/architecture.md` draws both.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod admin;
mod cli;
mod compile;
mod config;
mod control;
mod dialect;
mod http1;
mod message;
mod model;
mod peers;
mod policy;
mod proxy;
mod serve;
mod source;
mod status;
mod table;
mod telemetry;
mod upstream;

pub use cli::main;

/// What tests, benchmarks and fuzz targets reach of the inside. All else is private, so that the compiler sees dead code.
#[doc(hidden)]
pub mod testing {
    pub mod admin {
        pub use crate::admin::openapi;
    }
    pub mod cli {
        pub use crate::cli::Cli;
        pub mod convert {
            pub use crate::cli::convert::convert;
        }
        pub mod reference {
            pub use crate::cli::reference::markdown;
        }
    }
    pub mod compile {
        pub use crate::compile::{CONTROLLER, Options, State};
        pub mod lint {
            pub use crate::compile::lint::lint;
        }
    }
    pub mod config {
        pub use crate::config::{annotation, net};
    }
    pub mod control {
        pub use crate::control::{Control, Guard, Shared};
    }
    pub mod dialect {
        pub use crate::dialect::ingress;
        pub mod openshift {
            pub use crate::dialect::openshift::{
                HeaderAction, Route, RouteActions, RouteOptions, RouteTarget, RouteTls, Selector, TargetPort,
            };
        }
        pub use crate::dialect::{Change, Dialect, Object};
        pub mod annotations {
            pub use crate::dialect::annotations::{Ignored, markdown, nginx, openshift, schema};
        }
        pub mod owners {
            pub use crate::dialect::owners::{HostOwners, parse};
        }
    }
    pub mod http1 {
        pub use crate::http1::{
            Decoder, FORBIDDEN, Fault, FaultKind, Framing, Limits, Line, Name, Part, Position, RequestHead,
            RequestReader, ResponseHead, ResponseLimits, ResponseReader, Span, Trailers, is_forbidden,
        };
    }
    pub mod message {
        pub use crate::message::Fields;
    }
    pub mod model {
        pub use crate::model::object;
        pub use crate::model::shared::shared;
        pub use crate::model::{Code, Diagnostic, Field, FieldForm, Kind, ObjectRef, Report, Revision, Timestamp};
    }
    pub mod serve {
        pub use crate::serve::{Binding, Server, Tls, bind};
        pub mod handover {
            pub use crate::serve::handover::{Name, SocketKey, ask, offer};
        }
    }
    pub mod source {
        pub use crate::source::{EVENT_QUEUE, Event, NAMED_SECRETS, Phase, Wanted, Watches};
        pub mod cluster {
            pub use crate::source::cluster::{ClusterOptions, Timing, connect, run};
        }
        pub mod directory {
            pub use crate::source::directory::{Loaded, load, run};
            pub mod node {
                pub use crate::source::directory::node::Node;
            }
            pub mod parse {
                pub use crate::source::directory::parse::parse;
            }
            pub mod yaml {
                pub use crate::source::directory::yaml::documents;
            }
        }
    }
    pub mod table {
        pub use crate::table::{
            AddressPool, Answer, Backend, BackendState, CanonicalPath, Certificate, Destination, HostPattern, HostSet,
            Hosts, Jwt, JwtKeys, Known, Listener, ListenerId, Match, Names, PathKind, PathPattern, PathRegex, Pattern,
            Patterns, PodSet, Route, Says, Scheme, Schemes, Serves, Split, Table, Template, TlsMode, Users, When,
            canonical_host, canonical_path, route_key,
        };
        pub mod canonical {
            pub use crate::table::canonical::{canonical_host, canonical_path, canonical_rule_path};
        }
        pub mod explain {
            pub use crate::table::explain::explain;
        }
        pub mod route {
            pub use crate::table::route::HostRank;
        }
    }
}
