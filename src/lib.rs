//! narthex: a Kubernetes ingress controller and L7 reverse proxy.

#![forbid(unsafe_code)]

pub mod serve;
