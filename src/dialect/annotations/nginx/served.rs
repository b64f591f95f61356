//! The annotations of ingress-nginx that narthex acts on.

mod auth;
mod backends;
mod cors;
mod fields;
mod guards;
mod hosts;
mod paths;

use super::Served;

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Served> {
    [
        auth::ALL,
        backends::ALL,
        cors::ALL,
        fields::ALL,
        guards::ALL,
        hosts::ALL,
        paths::ALL,
    ]
    .into_iter()
    .flatten()
}
