//! The kinds of Gateway API (gateway.networking.k8s.io).
//!
//! Their objects refer to each other: a route names the Gateways that it wants to be served by, and these say which routes
//! they take. So none of them is read by itself, and the compiler has a room for all of them together
//! (`compile/gateways`).

mod decode;
mod grpc_route;
mod http_route;
mod object;
mod stream_route;
mod unclear;

pub(super) use decode::{gateway, gateway_class, grpc_route, http_route, reference_grant, tcp_route, tls_route};
pub use http_route::{
    BackendRef, GatewayRoute, HeaderFilter, HttpFilter, HttpMatch, HttpRule, Mirror, NamedValue, PathMatch,
    PathModifier, Redirect, Timeouts, ValueMatch,
};
pub use object::{
    Gateway, GatewayAsk, GatewayClass, GatewayListener, GatewayObject, ObjectReference, ParentRef, ReferenceGrant,
};
pub(super) use unclear::leave_out;

/// The name that GatewayClasses of ours carry.
pub const GATEWAY_CONTROLLER: &str = "narthex.io/gateway-controller";

/// The group of all kinds of Gateway API.
pub const GROUP: &str = "gateway.networking.k8s.io";
