//! The annotations of ingress-nginx that narthex acts on.

mod auth;
mod backends;
pub(super) mod canary;
mod cors;
mod fields;
mod guards;
mod hosts;
pub(super) mod mirrors;
pub(super) mod pace;
mod paths;
mod services;
mod tls;

use super::Served;

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Served> {
    [
        auth::ALL,
        backends::ALL,
        canary::ALL,
        cors::ALL,
        fields::ALL,
        guards::ALL,
        hosts::ALL,
        mirrors::ALL,
        pace::ALL,
        paths::ALL,
        services::ALL,
        tls::ALL,
    ]
    .into_iter()
    .flatten()
}
