//! Whether a request's connection is one that its host takes, and whether its client has shown what the host asks for.

use super::{ACME, Ask, Canonical, Outcome, Refusal, Rules, redirect};
use crate::table::{Before, ClientRules, Hosts, Match, PathKind, Route};
use http::StatusCode;
use std::sync::Arc;

/// What becomes of a request whose host, or whose connection, has a profile; absent where it may go on.
pub(super) fn check<'d>(
    found: &Match<'d>,
    ask: &'d Ask<'_>,
    canonical: &'d Canonical<'_>,
    rules: &Rules,
) -> Option<Outcome<'d>> {
    let route = found.route;
    let all = [found.asked_host, found.own_host];
    let closed = all
        .iter()
        .flatten()
        .find_map(|clients| clients.closes(Some(&route.origin.object)));
    if let Some(guard) = closed {
        return Some(Outcome::Closed(guard));
    }
    if !ask.tls {
        return plain(all, ask, canonical, route, rules);
    }
    if let Some(refusal) = misdirected(found.asked_host, ask) {
        return Some(Outcome::Refused(refusal));
    }
    all.into_iter().flatten().find_map(|clients| {
        let refusal = clients.admits(ask.shown).err()?;
        Some(refused(clients, refusal, ask, canonical, Some(route)))
    })
}

/// The same of a request that no rule answers. A client that the host would not serve does not learn what it serves.
pub(super) fn unrouted<'d>(hosts: &'d Hosts, ask: &'d Ask<'_>, canonical: &'d Canonical<'_>) -> Option<Outcome<'d>> {
    let clients = hosts.client_rules(canonical.host.as_deref());
    if clients.is_none() && ask.shown.is_none() {
        return None;
    }
    if let Some(guard) = clients.and_then(|clients| clients.closes(None)) {
        return Some(Outcome::Closed(guard));
    }
    if let Some(refusal) = misdirected(clients, ask).filter(|_| ask.tls) {
        return Some(Outcome::Refused(refusal));
    }
    let clients = clients?;
    let refusal = clients.admits(ask.shown).err()?;
    Some(refused(clients, refusal, ask, canonical, None))
}

/// Whether a connection has another profile than the host that is asked for (RFC 9110, section 15.5.20). Whoever has opened
/// it, and whether that is a trusted proxy, makes no difference.
fn misdirected(clients: Option<&Arc<ClientRules>>, ask: &Ask<'_>) -> Option<Refusal> {
    let wanted = clients.and_then(|clients| clients.profile());
    let has = ask.shown.map(|shown| &shown.profile);
    let same = match (wanted, has) {
        (Some(wanted), Some(has)) => Arc::ptr_eq(wanted, has),
        (wanted, has) => wanted.is_none() && has.is_none(),
    };
    (!same).then_some(Refusal::Misdirected)
}

/// What becomes of a plain request: its client can show no certificate, but may be sent to HTTPS to do so. Authorities
/// that ask for a token in plain are answered by rules for nothing else.
fn plain<'d>(
    all: [Option<&'d Arc<ClientRules>>; 2],
    ask: &'d Ask<'_>,
    canonical: &'d Canonical<'_>,
    route: &'d Route,
    rules: &Rules,
) -> Option<Outcome<'d>> {
    let (clients, refusal) = all
        .into_iter()
        .flatten()
        .find_map(|clients| Some((clients, clients.admits(None).err()?)))?;
    let is_for_tokens = route.path.as_ref().is_some_and(|pattern| {
        pattern.kind != PathKind::RegularExpression && pattern.path.starts_with(ACME.trim_end_matches('/'))
    });
    if is_for_tokens && canonical.path.form(route.keep_slashes).starts_with(ACME) {
        return None;
    }
    let redirects = route.policies.before.iter().find_map(|step| match step {
        Before::RedirectToHttps(status) => Some(*status),
        _ => None,
    });
    let redirected = redirects.and_then(|status| redirect(ask, canonical, route, (status, rules)));
    Some(match redirected {
        Some(redirect) => Outcome::Redirect(redirect),
        None => refused(clients, refusal, ask, canonical, Some(route)),
    })
}

/// What a client gets that has not shown what the host asks for.
fn refused<'d>(
    clients: &'d ClientRules,
    refusal: Refusal,
    ask: &'d Ask<'_>,
    canonical: &'d Canonical<'_>,
    route: Option<&'d Route>,
) -> Outcome<'d> {
    let page = clients
        .error_page
        .as_ref()
        .filter(|_| refusal != Refusal::SubjectNotAllowed);
    match page {
        Some(page) => Outcome::Elsewhere {
            status: StatusCode::FOUND,
            location: page.expand(&super::known_of(ask, canonical, route)).into_owned(),
        },
        None => Outcome::Refused(refusal),
    }
}
