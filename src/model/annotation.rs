//! What the annotations of others mean to narthex, which enforces none of them: which are guards, that restrict who may
//! come in or what they may do. One list for all sources, the compiler and the documentation.
//!
//! What is certain comes first: names that are known, of controllers that are known. For the rest the words in a name
//! decide, and a doubt closes: an open route that should be guarded does more harm than a closed one that is reported.

mod vendors;
mod words;

use super::annotations::Annotations;
use super::object::OLD_CLASS;
use vendors::{BYSTANDERS, CONTROLLERS, ENTRIES, Rule, SWITCHES, is_of};
use words::Words;

/// What the names of all annotations of narthex begin with.
pub const PREFIX: &str = "narthex.io/";

/// With the value "master", what an Ingress asks of NGINX Inc.'s controller holds for the hosts of all that are merged
/// with it.
const NGINX_MASTER: &str = "nginx.org/mergeable-ingress-type";

/// What the names of Traefik's annotations begin with.
const TRAEFIK: &str = "traefik.ingress.kubernetes.io";

/// How far a guard reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The routes of the object that carries it.
    Rules,
    /// All of the host, where it comes from.
    Host,
}

/// What an annotation is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// narthex's own, or the name of the class.
    Ours,
    /// Nothing to an ingress controller.
    Nothing,
    /// It asks an ingress controller for something that guards nothing.
    Asks,
    Guard(Reach),
}

/// Prefix and name of a key. Traefik 1.x also had keys without a prefix (`traefik.frontend.auth.basic`), which are read
/// as if they had its own; of others, as Kong once had, both are all of it.
fn split(key: &str) -> (&str, &str) {
    let bare = || match key.strip_prefix("traefik.") {
        Some(name) => (TRAEFIK, name),
        None => (key, key),
    };
    key.split_once('/').unwrap_or_else(bare)
}

/// What an annotation is, by its name.
pub fn meaning(key: &str) -> Meaning {
    if key == OLD_CLASS || key.starts_with(PREFIX) {
        return Meaning::Ours;
    }
    let (prefix, name) = split(key);
    let controller = CONTROLLERS.iter().any(|domain| is_of(prefix, domain));
    if !controller && (!key.contains('/') || BYSTANDERS.iter().any(|domain| is_of(prefix, domain))) {
        return Meaning::Nothing;
    }
    match entry(prefix, name) {
        Some(Rule::Guard) => Meaning::Guard(Reach::Rules),
        Some(Rule::If(_)) if name == "router.tls.options" => Meaning::Guard(Reach::Host),
        Some(Rule::If(_)) => Meaning::Guard(Reach::Rules),
        Some(Rule::Host) => Meaning::Guard(Reach::Host),
        Some(Rule::Asks) => Meaning::Asks,
        None => match guard_by_words(prefix, name, controller) {
            Some(reach) => Meaning::Guard(reach),
            None if controller => Meaning::Asks,
            None => Meaning::Nothing,
        },
    }
}

fn entry(prefix: &str, name: &str) -> Option<Rule> {
    let fits = |(domains, names, _): &&vendors::Entry| {
        domains.iter().any(|domain| is_of(prefix, domain)) && names.iter().any(|pattern| matches(pattern, name))
    };
    ENTRIES.iter().find(fits).map(|(_, _, rule)| *rule)
}

/// Of a vendor that is not known, the prefix may say what its annotations are for: `auth.example.com/realm`.
fn guard_by_words(prefix: &str, name: &str, controller: bool) -> Option<Reach> {
    let by_name = Words::of(name).guard();
    if by_name.is_some() || controller {
        return by_name;
    }
    // Not the domain itself, which may be called anything.
    let labels = prefix.rsplitn(3, '.').nth(2)?;
    let tuned = Words::of(name).any(&["timeout", "cache", "keepalive", "cors"]);
    let strong = Words::of(labels).any(&[
        "auth",
        "oauth",
        "oauth2",
        "oidc",
        "jwt",
        "sso",
        "waf",
        "ratelimit",
        "firewall",
        "acl",
        "allowlist",
        "whitelist",
    ]);
    (strong && !tuned).then_some(Reach::Rules)
}

/// Whether the words of one of narthex's own names, which it does not know, speak of a guard.
pub fn speaks_of_guard(name: &str) -> bool {
    Words::of(name).guard().is_some()
}

/// Whether some of an object's annotations may be guards.
pub fn may_guard(all: &Annotations) -> bool {
    all.iter().any(|(key, value)| match key.strip_prefix(PREFIX) {
        Some(ours) => speaks_of_guard(ours),
        None => guard(key, value, all).is_some(),
    })
}

/// Whether a source keeps an annotation: what nobody reads does not stay in memory.
pub fn is_kept(key: &str) -> bool {
    meaning(key) != Meaning::Nothing || ISSUERS.contains(&key)
}

/// Annotations by which cert-manager makes the Secrets of `spec.tls`.
const ISSUERS: [&str; 3] = [
    "cert-manager.io/issuer",
    "cert-manager.io/cluster-issuer",
    "kubernetes.io/tls-acme",
];

/// Whether cert-manager makes the certificates of an object with these annotations.
pub fn has_issuer(all: &Annotations) -> bool {
    let is_off = |key: &str, value| key == "kubernetes.io/tls-acme" && value != "true";
    all.iter()
        .any(|(key, value)| ISSUERS.contains(&key) && !is_off(key, value))
}

/// Whether an annotation is a guard that is not off, and how far it reaches.
pub fn guard(key: &str, value: &str, all: &Annotations) -> Option<Reach> {
    let Meaning::Guard(reach) = meaning(key) else {
        return None;
    };
    if is_off(key, value, all) {
        return None;
    }
    let (prefix, _) = split(key);
    let of_nginx = ["nginx.org", "nginx.com", "f5.com"]
        .iter()
        .any(|domain| is_of(prefix, domain));
    let is_master = || all.get(NGINX_MASTER).is_some_and(|kind| kind == "master");
    Some(if of_nginx && is_master() { Reach::Host } else { reach })
}

/// Whether the guard that an annotation stands for is explicitly off, by its value or by another annotation of the
/// object.
pub fn is_off(key: &str, value: &str, all: &Annotations) -> bool {
    let (prefix, name) = split(key);
    let value = value.trim();
    if let Some(Rule::If(guards)) = entry(prefix, name) {
        return value.is_empty() || !guards(value);
    }
    let words = Words::of(name);
    is_off_by_value(&words, value) || is_off_by_other(prefix, name, all)
}

fn is_off_by_value(words: &Words, value: &str) -> bool {
    let is = |of: &[&str]| of.iter().any(|word| value.eq_ignore_ascii_case(word));
    if words.is_inverted() {
        return is(&["true", "on", "yes", "1"]);
    }
    let empty = value.chars().all(|one| "[]{},;\"' \t\r\n".contains(one));
    let open = || {
        let networks = || value.split([',', ' ', '\n']).map(str::trim);
        // haproxy-ingress takes out what begins with an exclamation mark.
        networks().any(|network| network == "0.0.0.0/0") && !networks().any(|network| network.starts_with('!'))
    };
    empty
        || is(&["false", "off", "no", "0", "disabled", "disable"])
        || (is(&["none"]) && words.is_kind())
        || (words.is_allow_list() && open())
}

fn is_off_by_other(prefix: &str, name: &str, all: &Annotations) -> bool {
    SWITCHES.iter().any(|(domain, switch, values, turned_off)| {
        let value = || all.get(&format!("{prefix}/{switch}")).map(str::trim);
        is_of(prefix, domain) && matches(turned_off, name) && value().is_some_and(|value| values.contains(&value))
    })
}

/// Whether a text fits a pattern in which `*` stands for anything, also for nothing.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = left.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests;
