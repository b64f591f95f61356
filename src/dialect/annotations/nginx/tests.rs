use super::*;
use crate::dialect::Dialect;
use crate::dialect::annotations::{Ignored, read};
use crate::model::object::Meta;
use crate::model::{Annotations, Code, Diagnostic, Kind, ObjectRef};

fn said(annotations: &[(&str, &str)]) -> (Settings, Vec<Diagnostic>) {
    let own = |name: &str| {
        if name.contains('/') {
            name.to_owned()
        } else {
            format!("{PREFIX}{name}")
        }
    };
    let meta = Meta {
        namespace: "shop".into(),
        annotations: Annotations::from_iter(annotations.iter().map(|(name, value)| (own(name), *value))),
        ..Meta::default()
    };
    let object = ObjectRef::new(Kind::Ingress, "shop", "web");
    let mut findings = Vec::new();
    let settings = read(
        (Dialect::IngressNginx, None),
        &meta,
        (&object, ""),
        &Ignored::default(),
        &mut findings,
    );
    (settings, findings)
}

#[test]
fn every_annotation_of_ingress_nginx_has_one_verdict() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/ingress-nginx/annotations.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut wanted: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let served = served::all().map(|known| known.name);
    let unserved = unserved::ALL.iter().flat_map(|known| known.names.iter().copied());
    let mut known: Vec<&str> = served.chain(unserved).collect();
    known.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(known, wanted);
}

#[test]
fn values_are_read_as_ingress_nginx_reads_them() {
    for (name, value, good) in [
        ("proxy-body-size", "100m", true),
        ("proxy-body-size", "0m", true),
        ("proxy-body-size", "10240M", true),
        ("proxy-body-size", "8G", true),
        ("proxy-body-size", "1.5m", false),
        ("proxy-body-size", "1mb", false),
        ("proxy-body-size", "-1", false),
        ("proxy-body-size", "99999999999999999999g", false),
        ("proxy-read-timeout", "3600", true),
        ("proxy-read-timeout", "20m", false),
        ("proxy-read-timeout", "365d", false),
        ("proxy-read-timeout", "+5", false),
        ("ssl-redirect", "T", true),
        ("ssl-redirect", "yes", false),
        ("backend-protocol", "https", true),
        ("backend-protocol", "FCGI", false),
        ("whitelist-source-range", "10.0.0.0/8, 192.0.2.1 ,2001:db8::/32", true),
        ("whitelist-source-range", "10.0.0.0/33", false),
        ("whitelist-source-range", "", false),
        ("whitelist-source-range", ",", false),
        ("denylist-source-range", "office", false),
        ("auth-tls-secret", "shop/ca", true),
        ("auth-tls-secret", "other/ca", false),
        ("auth-tls-secret", "", false),
        ("auth-tls-match-cn", "O=x", false),
        ("auth-tls-match-cn", "CN=(", false),
        ("auth-tls-verify-client", "required", false),
        ("auth-tls-verify-depth", "-1", false),
        ("auth-tls-error-page", "/x", false),
        ("auth-tls-error-page", "https://b.test/$unknown", false),
        ("auth-tls-pass-certificate-to-upstream", "yes", false),
        ("ssl-passthrough", "on", false),
        ("permanent-redirect", "https://b.test/x?y#z", true),
        ("permanent-redirect", "/x", true),
        ("permanent-redirect", "https://b.test$request_uri", false),
        ("permanent-redirect", "https://b.test/\r\nSet-Cookie: a", false),
        ("permanent-redirect", "javascript:alert(1)", false),
        ("permanent-redirect-code", "308", true),
        ("permanent-redirect-code", "309", false),
        ("temporal-redirect-code", "308", false),
        ("cors-allow-origin", "https://a.test, nonsense", true),
        ("cors-allow-origin", "nonsense", false),
        ("cors-allow-methods", "GET, PUT,", true),
        ("cors-allow-headers", "X-A\r\nX-B: c", false),
        ("proxy-ssl-protocols", "TLSv1.2 TLSv1.3", true),
        ("proxy-ssl-protocols", "TLSv1", false),
        ("proxy-ssl-protocols", "TLSv1.4", false),
        ("proxy-ssl-protocols", "", false),
        ("proxy-ssl-ciphers", "HIGH:!aNULL", true),
        ("proxy-ssl-ciphers", "RC4-SHA", false),
        ("proxy-ssl-secret", "shop/pods", true),
        ("proxy-ssl-secret", "other/pods", false),
        ("proxy-next-upstream", "error timeout http_502 non_idempotent", true),
        ("proxy-next-upstream", "http_404", true),
        ("proxy-next-upstream", "http_405", false),
        ("upstream-hash-by", "$http_x_user", true),
        ("upstream-hash-by", "$request_uri$host", false),
        ("upstream-vhost", "a.test", true),
        ("upstream-vhost", "$service_name.$namespace.svc:$service_port", true),
        ("upstream-vhost", "$unknown", false),
        ("upstream-vhost", "a.test\r\nX: y", false),
        ("upstream-vhost", "$host\r\nX: y", false),
        ("proxy-send-timeout", "600", true),
        ("proxy-send-timeout", "0", false),
        ("proxy-next-upstream-timeout", "0", true),
        ("proxy-next-upstream-timeout", "5s", false),
        ("connection-proxy-header", "upgrade", false),
        ("enable-access-log", "false", true),
        ("enable-access-log", "off", false),
        ("proxy-cookie-path", "/one/ /", true),
        ("proxy-cookie-path", "off", true),
        ("proxy-cookie-path", "/one/", false),
        ("proxy-cookie-path", "~^/(.*) /$1", false),
        ("proxy-cookie-path", "/one/ /;Secure", false),
        ("proxy-cookie-domain", "pod.test $host", true),
        ("proxy-cookie-domain", "pod.test $nohost", false),
        ("proxy-redirect-from", "http://pod/", true),
        ("proxy-redirect-from", "~http", false),
        ("proxy-redirect-to", "$scheme://$http_host/", true),
        ("proxy-redirect-to", "a\nb", false),
        ("x-forwarded-prefix", "/app", true),
        ("x-forwarded-prefix", "/app\0", false),
        ("configuration-snippet", "more_set_headers \"X-A: b\";", true),
        ("configuration-snippet", "if ($host) { return 403; }", false),
        ("session-cookie-name", "a;b", false),
    ] {
        let (_, findings) = said(&[(name, value)]);
        assert_eq!(findings.is_empty(), good, "{name}: {value}: {findings:?}");
    }
}

#[test]
fn a_guard_with_a_wrong_value_closes_and_all_else_is_left_out() {
    let (settings, findings) = said(&[("whitelist-source-range", "10.0.0.0/33")]);
    let name = "nginx.ingress.kubernetes.io/whitelist-source-range";
    assert_eq!(settings.closed_by.as_deref(), Some(name));
    assert_eq!(
        findings.iter().map(|one| one.code).collect::<Vec<_>>(),
        [Code::GuardInvalid]
    );
    let (settings, findings) = said(&[("proxy-body-size", "many")]);
    assert_eq!(settings.closed_by, None);
    assert_eq!(
        findings.iter().map(|one| one.code).collect::<Vec<_>>(),
        [Code::InvalidAnnotation]
    );
    assert!(matches!(
        *settings.chain.before,
        [Before::Fields(_), Before::BodyLimit(BODY)]
    ));
}

#[test]
fn the_order_of_steps_is_that_of_ingress_nginx() {
    let (settings, findings) = said(&[
        ("denylist-source-range", "192.0.2.0/24"),
        ("enable-cors", "true"),
        ("proxy-body-size", "8k"),
        ("permanent-redirect", "https://b.test/"),
        ("temporal-redirect", "https://c.test/"),
        ("force-ssl-redirect", "true"),
        ("ssl-redirect", "false"),
    ]);
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(settings.ssl_redirect, Some(true));
    let before = settings.policies(true, None, None).before;
    let [
        Before::Fields(_),
        Before::Cors(_),
        Before::BodyLimit(8192),
        Before::Redirect(to),
        Before::RedirectToHttps(StatusCode::PERMANENT_REDIRECT),
        Before::Addresses(_),
    ] = &*before
    else {
        panic!("{before:?}");
    };
    assert_eq!(to.status, StatusCode::FOUND, "the temporal one comes first");
}

#[test]
fn narthex_s_own_annotations_win() {
    let (settings, findings) = said(&[
        ("proxy-connect-timeout", "7"),
        ("narthex.io/connect-timeout", "3s"),
        ("narthex.io/hsts", "off"),
        ("narthex.io/ssl-redirect", "false"),
        ("force-ssl-redirect", "true"),
    ]);
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(settings.backend.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!((settings.hsts, settings.ssl_redirect), (None, Some(false)));
}

#[test]
fn what_narthex_does_not_act_on_closes_or_is_reported_as_without_the_dialect() {
    let (settings, findings) = said(&[
        ("stream-snippet", "deny all;"),
        ("ssl-passthrough", "false"),
        ("proxy-ssl-verify-depth", "2"),
        ("proxy-buffering", "on"),
    ]);
    let codes: Vec<Code> = findings.iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::NotYet, Code::GuardNotEnforced]);
    assert_eq!(settings.closed_by, None, "its guards are found where all guards are");
}

#[test]
fn what_holds_without_an_annotation_is_that_of_ingress_nginx() {
    let (settings, _) = said(&[]);
    let backend = &settings.backend;
    assert_eq!(backend.connect_timeout, Some(Duration::from_secs(5)));
    let minute = Some(Duration::from_secs(60));
    assert_eq!(
        [backend.response_timeout, backend.stream_timeout, backend.take_timeout],
        [minute; 3]
    );
    assert_eq!((backend.tunnel_timeout, backend.retry_time), (None, None));
    assert_eq!(
        (backend.retries, backend.retry_on.map(|on| on.timeout)),
        (Some(2), Some(true))
    );
    let (settings, _) = said(&[("proxy-read-timeout", "3600")]);
    assert_eq!(settings.backend.tunnel_timeout, Some(Duration::from_secs(3600)));
}

#[test]
fn a_canary_is_not_said_to_be_closed() {
    let (_, findings) = said(&[("canary", "true"), ("whitelist-source-range", "10.0.0.0/33")]);
    let codes: Vec<Code> = findings.iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::InvalidAnnotation], "{findings:?}");
}

#[test]
fn a_snippet_that_is_not_translated_closes_and_names_the_line() {
    let (settings, findings) = said(&[("configuration-snippet", "add_header X-A b;\nproxy_pass http://evil;")]);
    assert!(settings.closed_by.is_some());
    assert_eq!(findings[0].code, Code::GuardInvalid);
    let message = &findings[0].message;
    assert!(message.contains("line 2: \"proxy_pass\""), "{message}");
    for name in ["server-snippet", "stream-snippet", "modsecurity-snippet"] {
        let (_, findings) = said(&[(name, "add_header X-A b;")]);
        let codes: Vec<Code> = findings.iter().map(|one| one.code).collect();
        assert_eq!(codes, [Code::GuardNotEnforced], "{name}");
    }
    for (value, codes) in [("true", &[Code::GuardNotEnforced][..]), ("false", &[])] {
        for name in ["enable-modsecurity", "enable-owasp-core-rules"] {
            let (_, findings) = said(&[(name, value)]);
            let found: Vec<Code> = findings.iter().map(|one| one.code).collect();
            assert_eq!(found, codes, "{name}: {value}");
        }
    }
}
