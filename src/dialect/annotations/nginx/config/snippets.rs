//! Snippets in the ConfigMap of ingress-nginx. Only what may restrict access closes routes: whoever tunes nginx in them need
//! not take that out first.

use super::Config;
use super::keys::Finding;
use crate::dialect::annotations::nginx::snippet::{Snippet, outermost};

/// Keys with snippets, and the context that they stand in.
const SNIPPETS: &[&str] = &["main-snippet", "http-snippet", "server-snippet", "location-snippet"];

/// Directives that never keep a request from a pod, by their beginnings.
const HARMLESS: &[&str] = &[
    "absolute_redirect",
    "access_log",
    "add_header",
    "add_trailer",
    "aio",
    "brotli",
    "charset",
    "chunked_transfer_encoding",
    "client_",
    "daemon",
    "debug_points",
    "default_type",
    "env",
    "error_log",
    "etag",
    "events",
    "expires",
    "geo",
    "geoip",
    "geoip2",
    "gzip",
    "http2",
    "ignore_invalid_headers",
    "keepalive_",
    "large_client_header_buffers",
    "limit_conn_log_level",
    "limit_conn_status",
    "limit_conn_zone",
    "limit_rate",
    "limit_req_log_level",
    "limit_req_status",
    "limit_req_zone",
    "lingering_",
    "load_module",
    "log_format",
    "lua_",
    "map",
    "merge_slashes",
    "more_clear_headers",
    "more_clear_input_headers",
    "more_set_headers",
    "more_set_input_headers",
    "open_file_cache",
    "open_log_file_cache",
    "opentelemetry",
    "opentracing",
    "output_buffers",
    "pcre_jit",
    "port_in_redirect",
    "postpone_output",
    "proxy_buffer",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_cache",
    "proxy_connect_timeout",
    "proxy_cookie_",
    "proxy_headers_hash_",
    "proxy_hide_header",
    "proxy_http_version",
    "proxy_ignore_headers",
    "proxy_max_temp_file_size",
    "proxy_next_upstream",
    "proxy_pass_header",
    "proxy_read_timeout",
    "proxy_redirect",
    "proxy_request_buffering",
    "proxy_send_timeout",
    "proxy_set_header",
    "proxy_socket_keepalive",
    "proxy_temp_",
    "reset_timedout_connection",
    "resolver",
    "send_timeout",
    "sendfile",
    "server_name_in_redirect",
    "server_names_hash_",
    "server_tokens",
    "set",
    "split_clients",
    "ssl_buffer_size",
    "ssl_dhparam",
    "ssl_ecdh_curve",
    "ssl_session_",
    "ssl_stapling",
    "stream",
    "sub_filter",
    "tcp_nodelay",
    "tcp_nopush",
    "thread_pool",
    "timer_resolution",
    "types",
    "underscores_in_headers",
    "upstream",
    "user",
    "variables_hash_",
    "worker_",
];

/// Whether a directive never keeps a request from a pod of an Ingress.
fn is_harmless(key: &str, directive: &str) -> bool {
    // A server of its own has nothing to do with those of Ingresses.
    let is_other_server = key == "http-snippet" && directive == "server";
    // What sets the address of clients decides who they are, and what runs code may do anything.
    let decides = directive == "set_real_ip_from" || directive.contains("_by_lua");
    let begins = |with: &&str| match with.strip_suffix('_') {
        Some(_) => directive.starts_with(*with),
        None => directive == *with || directive.starts_with(&format!("{with}_")),
    };
    is_other_server || (!decides && HARMLESS.iter().any(begins))
}

/// Reads a key, if it has a snippet, and says what is to be said of it.
pub(super) fn read(config: &mut Config, name: &str, text: &str) -> Option<Finding> {
    let key = *SNIPPETS.iter().find(|key| **key == name)?;
    let refused = if key == "location-snippet" {
        match Snippet::new(text) {
            Ok(snippet) => {
                config.snippet = snippet;
                return None;
            }
            Err(why) => why,
        }
    } else {
        "configuration of nginx is not interpreted".to_owned()
    };
    let directives = match outermost(text) {
        Ok(directives) => directives,
        Err(why) => return Some(closing(config, key, &why)),
    };
    match directives.iter().find(|(_, name)| !is_harmless(key, name)) {
        Some((line, name)) => {
            let why = format!("line {line}: \"{name}\" may restrict access, and {refused}");
            Some(closing(config, key, &why))
        }
        None => Some(Finding {
            is_wrong: false,
            ..Finding::wrong(key, format!("narthex does not act on this key: {refused}"))
        }),
    }
}

fn closing(config: &mut Config, key: &'static str, why: &str) -> Finding {
    config.closed_by = Some(key);
    Finding {
        closes: Some("all routes of ingress-nginx"),
        ..Finding::wrong(key, why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_restrict_access_closes_and_all_else_is_reported() {
        for (key, text, closes) in [
            (
                "http-snippet",
                "map $a $b {\n  ~^/x\\.y{2} \"}\"; # }\n}\nlog_format x 'a;b';",
                Some(false),
            ),
            (
                "http-snippet",
                "server { listen 1; location / { deny all; } }",
                Some(false),
            ),
            ("http-snippet", "deny 10.0.0.1;", Some(true)),
            ("http-snippet", "include /etc/x;", Some(true)),
            ("http-snippet", "map $a $b { x y;", Some(true)),
            ("server-snippet", "add_header X-A b;", Some(false)),
            ("server-snippet", "server { }", Some(true)),
            ("server-snippet", "set $a b;\nif ($a) { return 403; }", Some(true)),
            ("server-snippet", "location /admin { deny all; }", Some(true)),
            ("server-snippet", "rewrite_by_lua_block { ngx.exit(403) }", Some(true)),
            ("server-snippet", "lua_need_request_body on;", Some(false)),
            ("server-snippet", "set_real_ip_from 0.0.0.0/0;", Some(true)),
            ("main-snippet", "worker_rlimit_nofile 1000;\nenv A;", Some(false)),
            ("location-snippet", "more_set_headers \"X-A: b\";\ndeny 10.0.0.1;", None),
            ("location-snippet", "proxy_buffering off;", Some(false)),
            ("location-snippet", "proxy_buffering off; deny all;", Some(true)),
            ("location-snippet", "auth_basic x;", Some(true)),
        ] {
            let mut config = Config::default();
            let finding = read(&mut config, key, text);
            assert_eq!(
                finding.as_ref().map(|one| one.closes.is_some()),
                closes,
                "{key}: {text}: {finding:?}"
            );
            assert_eq!(config.closed_by.is_some(), closes == Some(true), "{key}: {text}");
        }
        assert_eq!(read(&mut Config::default(), "stream-snippet", "deny all;"), None);
    }
}
