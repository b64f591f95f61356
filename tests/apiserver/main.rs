//! The cluster source against a real API server: etcd and kube-apiserver, started by the tests.
//!
//! Needs `etcd`, `curl`, `openssl` and `setpriv` (Debian: etcd-server, curl, openssl, util-linux) and
//! kube-apiserver (`make kube-binaries`); no root.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cleanup;
mod fixture;
mod nodes;
mod outage;
mod policies;
mod rights;
mod routes;
mod secrets;
mod status;
mod watching;
mod world;
