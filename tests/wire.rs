//! Raw bytes in, and a look at what the pod received and whether the connection goes on.
//!
//! The real binary, a recording pod, plain sockets. Rows are those of the threat table in docs/security.md.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "wire/access_log.rs"]
mod access_log;
#[path = "wire/admin.rs"]
mod admin;
#[path = "wire/admin_guard.rs"]
mod admin_guard;
#[path = "wire/admin_slow.rs"]
mod admin_slow;
#[path = "wire/agreement.rs"]
mod agreement;
#[path = "wire/attacks.rs"]
mod attacks;
#[path = "wire/backend_tls.rs"]
mod backend_tls;
#[path = "wire/backend_trust.rs"]
mod backend_trust;
#[path = "wire/balance.rs"]
mod balance;
#[path = "wire/balancers.rs"]
mod balancers;
#[path = "wire/certificates.rs"]
mod certificates;
#[path = "wire/changes.rs"]
mod changes;
#[path = "wire/check_gate.rs"]
mod check_gate;
#[path = "wire/check_wrong.rs"]
mod check_wrong;
#[path = "wire/checks.rs"]
mod checks;
#[path = "wire/client_certificates.rs"]
mod client_certificates;
#[path = "wire/client_rig.rs"]
mod client_rig;
#[path = "wire/commands.rs"]
mod commands;
#[path = "wire/compression.rs"]
mod compression;
#[path = "wire/digest.rs"]
mod digest;
#[path = "wire/downgrade.rs"]
mod downgrade;
#[path = "wire/early.rs"]
mod early;
#[path = "wire/explain_now.rs"]
mod explain_now;
#[path = "wire/extended_connect.rs"]
mod extended_connect;
#[path = "wire/flags.rs"]
mod flags;
#[path = "wire/floods.rs"]
mod floods;
#[path = "wire/framing.rs"]
mod framing;
#[path = "wire/gateway.rs"]
mod gateway;
#[path = "wire/gateway_addresses.rs"]
mod gateway_addresses;
#[path = "wire/gateway_streams.rs"]
mod gateway_streams;
#[path = "wire/gateway_tls.rs"]
mod gateway_tls;
#[path = "wire/gone_clients.rs"]
mod gone_clients;
#[path = "wire/grpc.rs"]
mod grpc;
#[path = "wire/guards.rs"]
mod guards;
#[path = "wire/h2_bodies.rs"]
mod h2_bodies;
#[path = "wire/h2_left.rs"]
mod h2_left;
#[path = "wire/h2_memory.rs"]
mod h2_memory;
#[path = "wire/h2_rig.rs"]
mod h2_rig;
#[path = "wire/handovers.rs"]
mod handovers;
#[path = "wire/headers.rs"]
mod headers;
#[path = "wire/health.rs"]
mod health;
#[path = "wire/http2.rs"]
mod http2;
#[path = "wire/http2_pods.rs"]
mod http2_pods;
#[path = "wire/ingress_nginx.rs"]
mod ingress_nginx;
#[path = "wire/ingress_nginx_auth.rs"]
mod ingress_nginx_auth;
#[path = "wire/ingress_nginx_canary.rs"]
mod ingress_nginx_canary;
#[path = "wire/ingress_nginx_client_certificates.rs"]
mod ingress_nginx_client_certificates;
#[path = "wire/ingress_nginx_config.rs"]
mod ingress_nginx_config;
#[path = "wire/ingress_nginx_errors.rs"]
mod ingress_nginx_errors;
#[path = "wire/ingress_nginx_external_auth.rs"]
mod ingress_nginx_external_auth;
#[path = "wire/ingress_nginx_fields.rs"]
mod ingress_nginx_fields;
#[path = "wire/ingress_nginx_guards.rs"]
mod ingress_nginx_guards;
#[path = "wire/ingress_nginx_hosts.rs"]
mod ingress_nginx_hosts;
#[path = "wire/ingress_nginx_limits.rs"]
mod ingress_nginx_limits;
#[path = "wire/ingress_nginx_mirrors.rs"]
mod ingress_nginx_mirrors;
#[path = "wire/ingress_nginx_paths.rs"]
mod ingress_nginx_paths;
#[path = "wire/ingress_nginx_pods.rs"]
mod ingress_nginx_pods;
#[path = "wire/ingress_nginx_services.rs"]
mod ingress_nginx_services;
#[path = "wire/interim.rs"]
mod interim;
#[path = "wire/leaving.rs"]
mod leaving;
#[path = "wire/lifecycle.rs"]
mod lifecycle;
#[path = "wire/manifests.rs"]
mod manifests;
#[path = "wire/metrics.rs"]
mod metrics;
#[path = "wire/native.rs"]
mod native;
#[path = "wire/native_access.rs"]
mod native_access;
#[path = "wire/native_canary.rs"]
mod native_canary;
#[path = "wire/native_cors.rs"]
mod native_cors;
#[path = "wire/native_explain.rs"]
mod native_explain;
#[path = "wire/native_fields.rs"]
mod native_fields;
#[path = "wire/native_jwt.rs"]
mod native_jwt;
#[path = "wire/native_limits.rs"]
mod native_limits;
#[path = "wire/native_services.rs"]
mod native_services;
#[path = "wire/not_yet.rs"]
mod not_yet;
#[path = "wire/one_reply.rs"]
mod one_reply;
#[path = "wire/openshift.rs"]
mod openshift;
#[path = "wire/openshift_hands.rs"]
mod openshift_hands;
#[path = "wire/openshift_refused.rs"]
mod openshift_refused;
#[path = "wire/openshift_schemes.rs"]
mod openshift_schemes;
#[path = "wire/openshift_tls.rs"]
mod openshift_tls;
#[path = "wire/overload.rs"]
mod overload;
#[path = "wire/passthrough.rs"]
mod passthrough;
#[path = "wire/passthrough_handover.rs"]
mod passthrough_handover;
#[path = "wire/peers.rs"]
mod peers;
#[path = "wire/pod_connections.rs"]
mod pod_connections;
#[path = "wire/pod_limits.rs"]
mod pod_limits;
#[path = "wire/pods.rs"]
mod pods;
#[path = "wire/proxied_pods.rs"]
mod proxied_pods;
#[path = "wire/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "wire/queries.rs"]
mod queries;
#[path = "wire/raw_h2.rs"]
mod raw_h2;
#[path = "wire/rig.rs"]
mod rig;
#[path = "wire/serving.rs"]
mod serving;
#[path = "wire/silence.rs"]
mod silence;
#[path = "wire/strict_pod.rs"]
mod strict_pod;
#[path = "wire/tap.rs"]
mod tap;
#[path = "wire/tenants.rs"]
mod tenants;
#[path = "wire/tls.rs"]
mod tls;
#[path = "wire/tls_by_host.rs"]
mod tls_by_host;
#[path = "wire/tls_rig.rs"]
mod tls_rig;
#[path = "wire/told_pod.rs"]
mod told_pod;
#[path = "wire/traces.rs"]
mod traces;
#[path = "wire/traefik.rs"]
mod traefik;
#[path = "wire/upgrade.rs"]
mod upgrade;
#[path = "wire/websocket.rs"]
mod websocket;
