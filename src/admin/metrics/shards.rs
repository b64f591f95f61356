//! The counters of shards, by their metric names.

/// The metric's name, without `_total`, and its help, for each field of `proxy::worker::Counters`.
const METRICS: &[(&str, &str, &str)] = &[
    ("connections", "narthex_connections", "Client connections accepted"),
    (
        "connections_h2",
        "narthex_http2_connections",
        "Client connections that use HTTP/2",
    ),
    (
        "handshakes",
        "narthex_tls_handshakes",
        "Completed TLS handshakes with clients",
    ),
    (
        "handshake_failures",
        "narthex_tls_handshake_failures",
        "TLS handshakes with clients that failed, were refused or timed out",
    ),
    (
        "proxy_protocol_failures",
        "narthex_proxy_protocol_failures",
        "Connections closed because their PROXY header was missing, malformed, late or not trusted",
    ),
    (
        "strays",
        "narthex_stray_connections",
        "Connections reset because no listener of the Gateway that has their address has their port",
    ),
    ("requests", "narthex_requests", "Requests with a complete head"),
    (
        "upstream_connects",
        "narthex_upstream_connects",
        "Connections opened to pods",
    ),
    (
        "upstream_connect_failures",
        "narthex_upstream_connect_failures",
        "Failed attempts to connect to pods",
    ),
    ("retries", "narthex_retries", "Retries of requests"),
    (
        "ejections",
        "narthex_ejections",
        "Ejections of endpoints because of their responses",
    ),
    (
        "loops",
        "narthex_request_loops",
        "Requests refused because they had passed through narthex too often",
    ),
    (
        "refused_by_filter",
        "narthex_invalid_requests",
        "Requests refused because they are not valid HTTP",
    ),
    (
        "refused_by_hyper",
        "narthex_http_library_refusals",
        "Requests that narthex accepted and its HTTP library refused; this should stay 0",
    ),
    ("compressions", "narthex_compressions", "Responses compressed"),
    (
        "compressions_refused",
        "narthex_compressions_refused",
        "Responses not compressed because of --compression-memory",
    ),
    (
        "passwords_forgotten",
        "narthex_passwords_forgotten",
        "Right passwords that were forgotten because there were too many of them",
    ),
    (
        "answers_forgotten",
        "narthex_auth_answers_forgotten",
        "Answers of authentication services that were forgotten because there were too many of them",
    ),
    (
        "tokens_forgotten",
        "narthex_tokens_forgotten",
        "Verified tokens that were forgotten because there were too many of them",
    ),
    (
        "nonces_forgotten",
        "narthex_nonces_forgotten",
        "Nonces of digest authentication that were forgotten because there were too many of them",
    ),
    (
        "rates_forgotten",
        "narthex_rates_forgotten",
        "Clients whose rate was forgotten because there were too many of them",
    ),
    (
        "floods",
        "narthex_http2_enhance_your_calm",
        "HTTP/2 connections closed with ENHANCE_YOUR_CALM because the client sent too many frames",
    ),
    (
        "stuck_ended",
        "narthex_http2_stalled_requests",
        "HTTP/2 requests ended because they held memory while the client or the pod made no progress",
    ),
    (
        "let_go",
        "narthex_connections_evicted",
        "Idle and slow client connections closed to make room for others because of --max-connections",
    ),
    (
        "panics",
        "narthex_panics",
        "Requests that ended in a panic, which is a bug of narthex",
    ),
    (
        "timeouts",
        "narthex_client_timeouts",
        "Client connections closed because a head, a body or the reading of a response took too long",
    ),
    (
        "mirrors",
        "narthex_mirrored_requests",
        "Copies of requests that a mirror has answered",
    ),
    (
        "mirrors_lost",
        "narthex_mirrored_requests_lost",
        "Copies of requests that were lost: too many under way, too long a body, or no answer",
    ),
    (
        "access_log_dropped",
        "narthex_access_log_lines_dropped",
        "Lines of the access log that were lost because they could not be written in time",
    ),
    (
        "spans_dropped",
        "narthex_spans_dropped",
        "Spans that were lost because they could not be exported",
    ),
];

/// The name and help of a counter; absent if it is not exported.
pub(super) fn metric(field: &str) -> Option<(&'static str, &'static str)> {
    let known = METRICS.iter().find(|(known, _, _)| *known == field);
    known.map(|(_, name, help)| (*name, *help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name_and_a_help_text() {
        let counters = crate::proxy::Counters::default();
        // narthex_responses_total has these, by status.
        let fields = counters.each().map(|(field, _)| field);
        let fields: Vec<&str> = fields.filter(|field| !field.starts_with("responses_")).collect();
        let known: Vec<&str> = METRICS.iter().map(|(field, _, _)| *field).collect();
        assert_eq!(fields, known);
    }
}
