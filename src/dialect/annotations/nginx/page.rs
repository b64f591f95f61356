//! docs/from-ingress-nginx.md.

use super::{PREFIX, Served, Verdict, Wrong, config, served, unserved};
use std::fmt::Write;

/// docs/from-ingress-nginx.md.
pub fn markdown() -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out);
    out
}

fn write(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "# Moving from ingress-nginx\n\n\
         With `--drop-in ingress-nginx`, narthex serves the Ingresses of ingress-nginx as they are: those whose \
         IngressClass names the controller `k8s.io/ingress-nginx`, and those of the class `nginx` if there is no such \
         IngressClass. Without the flag nothing changes. This page is generated from the code, and a test compares the two.\n\n\
         narthex acts on a part of the annotations only. Annotations that restrict access and that narthex does not act on, or \
         cannot read, close the routes of their Ingress: requests get 503. `narthex check --drop-in ingress-nginx \
         MANIFESTS` says so for each Ingress before anything is switched. An annotation of narthex's own (`narthex.io/...`) \
         works too. On the Ingress it wins; `narthex.io/backend-protocol` on a Service does nothing here, and neither does \
         `appProtocol`.\n\n\
         # What holds without an annotation\n\n\
         - A request body may have 1 MiB (`proxy-body-size`).\n\
         - Replies over TLS have `Strict-Transport-Security: max-age=31536000; includeSubDomains`.\n\
         - Hosts in `spec.tls` redirect plain HTTP to HTTPS with 308.\n\
         - Certificates of pods that speak HTTPS are not verified.\n\
         - A pod has 5 s for a connection, 60 s for each byte that it sends and 60 s for each that it takes \
         (`proxy-connect-timeout`, `proxy-read-timeout`, `proxy-send-timeout`). A request gets three tries if the connection \
         breaks or the time is up (`proxy-next-upstream`).\n\
         - Pods get `X-Scheme`, `X-Forwarded-Scheme`, and what the client said as `X-Forwarded-For` and `X-Forwarded-Host` in \
         `X-Original-Forwarded-For` and `X-Original-Forwarded-Host`.\n\n\
         The ConfigMap of ingress-nginx can say otherwise: see below.\n\n\
         # What differs whatever the annotations say\n\n\
         - Paths are matched and forwarded in canonical form, and `%2F` never becomes `/`. ingress-nginx matches the decoded \
         path and forwards the bytes as they came.\n\
         - What becomes of a path is forwarded in canonical form: empty segments are merged, and an empty path becomes `/`. \
         ingress-nginx answers the latter with 500.\n\
         - Rates are counted by each node for itself, as there by each pod, and are in no answer of `narthex explain`.\n\
         - Of rules for the same path, that of the oldest Ingress counts, and of equally old ones the first by namespace and \
         name. In ingress-nginx the last by name counts.\n\
         - The bodies of errors and redirects are plain text.\n\
         - The guards of a canary have no effect, as there: those of the Ingress that it is a canary of count for both. So \
         `narthex check` does not say that a canary is closed.\n\
         - In an expression, `$` is the end of the path. There it is also the place before a line feed at the end (`%0A`).\n\
         - A path that does not begin with a slash, such as `^/admin`, is an error, and its rule is left out.\n\
         - Fields with underscores in their names reach pods. There they are dropped.\n\
         - Where a Service has no endpoints, a client that has to sign in gets 401 first. There it gets 503.\n\
         - `/foo/` of one rule and `/foo` of another, both of type Prefix, count as the same path, and the older one has it.\n\
         - `rewrite-target` is a path. There it may be a URL, to which clients are redirected.\n\
         - The `Server` of pods passes, unless `server-tokens` says `\"false\"`. There it never does.\n\
         - WebSockets in which nothing is said end by --tunnel-timeout, unless `proxy-read-timeout` says otherwise. There \
         they end after 60 s.\n\
\n\
         # Annotations\n\n\
         The names come after `{PREFIX}`.\n\n\
         | annotation | value | in narthex | if the value is wrong |\n|---|---|---|---|"
    )?;
    let mut served: Vec<&Served> = served::all().collect();
    served.sort_unstable_by_key(|known| known.name);
    for known in served {
        let verdict = match known.differs {
            "" => "same".to_owned(),
            differs => format!("differs: {differs}"),
        };
        let wrong = match known.wrong {
            Wrong::Closes => "the routes are closed",
            Wrong::Default(then) => then,
        };
        // A bar would end the cell.
        let form = known.value.form().replace('|', "\\|");
        writeln!(out, "| `{}` | {form} | {verdict} | {wrong} |", known.name)?;
    }
    for (verdict, title, about) in [
        (
            Verdict::NoEffect,
            "Annotations without effect",
            "narthex accepts them silently, for clients and pods would not see a difference.",
        ),
        (
            Verdict::NotYet,
            "Annotations that narthex does not act on yet",
            "If one restricts access, it closes the routes of its Ingress. `narthex check` reports all others.",
        ),
        (
            Verdict::Refused,
            "Annotations that narthex will not act on",
            "They close the routes of their Ingress, unless they are off or `--ignore-annotation` names them.",
        ),
    ] {
        writeln!(out, "\n## {title}\n\n{about}\n")?;
        for known in unserved::ALL.iter().filter(|known| known.verdict == verdict) {
            let names: Vec<String> = known.names.iter().map(|name| format!("`{name}`")).collect();
            let why = if known.why.is_empty() {
                String::new()
            } else {
                format!(": {}", known.why)
            };
            writeln!(out, "- {}{why}", names.join(", "))?;
        }
    }
    writeln!(
        out,
        "\n# The ConfigMap\n\n\
         `--nginx-configmap NAMESPACE/NAME` names the ConfigMap of ingress-nginx. narthex follows it while it runs. Its \
         keys hold for the Ingresses of ingress-nginx where an annotation says nothing else. A value that cannot be read is \
         reported and left out. What keeps requests from pods is different: if it cannot be read, the routes that it guards are \
         closed. These are lists of addresses, `block-user-agents` and `block-referers`, and what says which service has to be \
         asked. A snippet of the ConfigMap closes all routes of ingress-nginx if one of its directives may restrict access. Only \
         `location-snippet` is translated, as `configuration-snippet` is; where both are there, the addresses of both count. A \
         web application firewall is asked for by `enable-modsecurity`, which closes all routes too. `server-tokens: \"false\"` \
         takes the `Server` of pods away, and without the key it passes.\n\n\
         narthex acts on these keys:\n"
    )?;
    let mut served: Vec<&str> = config::served().collect();
    served.sort_unstable();
    for name in served {
        writeln!(out, "- `{name}`")?;
    }
    writeln!(out, "\nIt reports these keys once, unless they are off or empty:\n")?;
    for (names, instead) in config::unserved() {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let instead = if instead.is_empty() {
            String::new()
        } else {
            format!(": {instead}")
        };
        writeln!(out, "- {}{instead}", names.join(", "))?;
    }
    Ok(())
}
