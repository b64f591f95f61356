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
        Dialect::IngressNginx,
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
        ("proxy-ssl-secret", "shop/pods", true),
        ("proxy-ssl-secret", "other/pods", false),
        ("proxy-next-upstream", "error timeout http_502 non_idempotent", true),
        ("proxy-next-upstream", "http_404", false),
        ("upstream-hash-by", "$http_x_user", true),
        ("upstream-hash-by", "$request_uri$host", false),
        ("upstream-vhost", "a.test", true),
        ("upstream-vhost", "$host", false),
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
    assert_eq!(*settings.chain.before, [Before::BodyLimit(BODY)]);
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
        Before::Cors(_),
        Before::BodyLimit(8192),
        Before::Redirect(to),
        Before::RedirectToHttps,
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
        ("auth-url", "http://a.test/"),
        ("limit-rate", "0"),
        ("app-root", "/x"),
        ("proxy-buffering", "on"),
    ]);
    let codes: Vec<Code> = findings.iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::NotYet, Code::GuardNotEnforced]);
    assert_eq!(settings.closed_by, None, "its guards are found where all guards are");
}
