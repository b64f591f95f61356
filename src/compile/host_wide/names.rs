//! Hosts that no rule has to name: other names of a host, and the host with `www.` in front, or without it.

use super::{Guest, Part, own_route, pattern, redirected};
use crate::compile::State;
use crate::dialect::annotations::Alias;
use crate::model::ObjectRef;
use crate::table::aliases::MAX_EXPRESSIONS;
use crate::table::route::Age;
use crate::table::{Destination, HostPattern, HostTable, PathKind, Redirection, Route, Template};
use http::StatusCode;
use std::collections::BTreeSet;
use std::sync::Arc;

impl State {
    /// Replaces the hosts that are guests of a host.
    pub(super) fn set_guests(&mut self, host: &HostPattern, parts: &[Part]) {
        let mut guests: Vec<(HostPattern, Guest)> = Vec::new();
        let mut expressions = Vec::new();
        let www = parts.iter().find(|part| part.wide.www);
        if let Some((part, other)) = www.zip(with_or_without_www(host)) {
            let guest = Guest {
                age: part.age.clone(),
                host: host.clone(),
                redirected: true,
            };
            guests.push((other, guest));
        }
        let aliased = parts.iter().find(|part| !part.wide.aliases.is_empty());
        for (part, alias) in aliased
            .into_iter()
            .flat_map(|part| part.wide.aliases.iter().map(move |alias| (part, alias)))
        {
            match alias {
                Alias::Host(name) => {
                    let guest = Guest {
                        age: part.age.clone(),
                        host: host.clone(),
                        redirected: false,
                    };
                    guests.push((name.clone(), guest));
                }
                Alias::Expression(regex) => expressions.push((part.age.clone(), regex.clone())),
            }
        }
        guests.retain(|(name, guest)| self.owners_against(name, &guest.age.origin.object).is_none());
        expressions.retain(|(age, _)| self.owners_against(&HostPattern::Any, &age.origin.object).is_none());
        let Some(of_host) = self.host_wide.hosts.get_mut(host) else {
            return;
        };
        let names: Vec<HostPattern> = guests.iter().map(|(name, _)| name.clone()).collect();
        let old = std::mem::replace(&mut of_host.guests, names.clone());
        let had_expressions = !std::mem::replace(&mut of_host.expressions, expressions).is_empty();
        let has_expressions = !of_host.expressions.is_empty();
        for name in &old {
            if let Some(all) = self.host_wide.guests.get_mut(name) {
                all.retain(|guest| guest.host != *host);
            }
        }
        for (name, guest) in guests {
            self.host_wide.guests.entry(name).or_default().insert(guest);
        }
        let giving = parts
            .iter()
            .filter(|part| part.wide.www || !part.wide.aliases.is_empty());
        self.stale.extend(giving.map(|part| part.age.origin.object.clone()));
        let touched: BTreeSet<HostPattern> = old.into_iter().chain(names).collect();
        for name in touched {
            let all = self.host_wide.guests.get(&name).into_iter().flatten();
            let hosts = all.filter_map(|guest| self.host_wide.hosts.get(&guest.host));
            let parts = hosts.flat_map(|of_host| &of_host.parts);
            self.stale.extend(parts.map(|part| part.age.origin.object.clone()));
            self.settle_guest(&name);
        }
        if has_expressions {
            self.host_wide.with_expressions.insert(host.clone());
        } else {
            self.host_wide.with_expressions.remove(host);
        }
        self.host_wide.expressions_changed |= had_expressions || has_expressions;
    }

    /// The namespaces that `--host-owners` gives a host to, if the object's is not among them.
    fn owners_against(&self, name: &HostPattern, object: &ObjectRef) -> Option<String> {
        self.options.host_owners.against(&object.namespace, name)
    }

    /// Gives a host that no rule has to name to the oldest that claims it.
    fn settle_guest(&mut self, name: &HostPattern) {
        let Some(all) = self.host_wide.guests.get(name) else {
            return;
        };
        let first = all.first().cloned();
        let table = first.and_then(|guest| {
            if !guest.redirected {
                return self.table.host(&guest.host).cloned();
            }
            let of_host = self.host_wide.hosts.get(&guest.host)?;
            let part = of_host.parts.iter().find(|part| part.age == guest.age)?;
            let rest = www(name, &guest.host, part).map(Arc::new);
            Some(Arc::new(HostTable {
                rest,
                ..HostTable::default()
            }))
        });
        if table.is_none() && all.is_empty() {
            self.host_wide.guests.remove(name);
        }
        self.table.set_alias(name, table);
    }

    /// Brings what only a whole table can have up to date: the other names of all hosts that changed.
    pub(in crate::compile) fn settle_aliases(&mut self, settled: &[HostPattern]) {
        for host in settled {
            let guests = self.host_wide.hosts.get(host).map(|of_host| of_host.guests.clone());
            for name in guests.into_iter().flatten() {
                self.settle_guest(&name);
            }
        }
        let concerned = settled
            .iter()
            .any(|host| self.host_wide.with_expressions.contains(host));
        if !std::mem::take(&mut self.host_wide.expressions_changed) && !concerned {
            return;
        }
        let mut all = Vec::new();
        for host in &self.host_wide.with_expressions {
            let known = self.host_wide.hosts.get(host).zip(self.table.host(host));
            if let Some((of_host, table)) = known {
                let expressions = of_host.expressions.iter();
                all.extend(expressions.map(|(age, regex)| (age, regex.clone(), table.clone())));
            }
        }
        all.sort_by_cached_key(|(age, ..)| Age::clone(age));
        let left_out = all.split_off(MAX_EXPRESSIONS.min(all.len()));
        let crowded_out = left_out.iter().map(|(age, ..)| age.origin.object.clone()).collect();
        let before = std::mem::replace(&mut self.host_wide.crowded_out, crowded_out);
        let changed = before.symmetric_difference(&self.host_wide.crowded_out);
        self.stale.extend(changed.cloned());
        let all = all.into_iter().map(|(_, regex, table)| (regex, table)).collect();
        self.table.set_alias_expressions(all);
    }

    /// Which other names an object does not give a host, and why.
    pub(super) fn names_not_given(&self, host: &HostPattern, mine: &Part) -> Vec<String> {
        let www = with_or_without_www(host).filter(|_| mine.wide.www);
        let aliases = mine.wide.aliases.iter().map(|alias| match alias {
            Alias::Host(name) => name.clone(),
            Alias::Expression(_) => HostPattern::Any,
        });
        let mut said = Vec::new();
        for name in www.into_iter().chain(aliases) {
            if let Some(owners) = self.owners_against(&name, &mine.age.origin.object) {
                let what = match name {
                    HostPattern::Any => "what an expression fits".to_owned(),
                    name => name.to_string(),
                };
                said.push(format!(
                    "--host-owners gives {what} to {owners}, so it is no other name of {host}"
                ));
                continue;
            }
            if name == HostPattern::Any {
                if self.host_wide.crowded_out.contains(&mine.age.origin.object) {
                    said.push(format!(
                        "other names of {host} are left out: there are more than {MAX_EXPRESSIONS} regular expressions for \
                         hosts, and those of older Ingresses come first"
                    ));
                }
                continue;
            }
            let guests = self.host_wide.guests.get(&name);
            let first = guests.and_then(BTreeSet::first);
            let is_mine = |guest: &Guest| guest.age == mine.age && guest.host == *host;
            if self.rules_of(&name).next().is_some() {
                said.push(format!("{name} has rules of its own, so it is no other name of {host}"));
            } else if let Some(first) = first.filter(|first| !is_mine(first) && first.host != *host) {
                let object = &first.age.origin.object;
                said.push(format!("{name} is no other name of {host}, because {object} has it"));
            } else if !guests.into_iter().flatten().any(|guest| guest.host == *host) {
                said.push(format!(
                    "{name} is no other name of {host}, because an older Ingress says its other names"
                ));
            }
        }
        said
    }
}

/// A host with `www.` in front, or without it.
fn with_or_without_www(host: &HostPattern) -> Option<HostPattern> {
    let HostPattern::Exact(name) = host else { return None };
    let other = match name.strip_prefix("www.") {
        Some(bare) => bare.to_owned(),
        None => format!("www.{name}"),
    };
    Some(HostPattern::Exact(other.into()))
}

/// The redirect of a host to another.
fn www(name: &HostPattern, host: &HostPattern, part: &Part) -> Option<Route> {
    let HostPattern::Exact(to) = host else { return None };
    let redirection = Redirection {
        status: StatusCode::PERMANENT_REDIRECT,
        to: Template::new("$request_uri").ok()?,
        relative: false,
        host: Some(to.clone()),
        with_port: true,
    };
    let path = pattern(PathKind::Prefix, "/");
    let policies = redirected(part, redirection);
    Some(own_route(name, path, &part.age, Destination::Nowhere, policies))
}
