//! `auth-tls-*` of ingress-nginx: what clients get, and what pods are told.

use crate::client_rig::{Authority, Client, authorities, connect, status};
use crate::ingress_nginx::{nginx, rig};
use crate::rig::{Got, Rig, get};
use crate::tls_rig::{Tls, make, secret};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::Write;

const ALL: &[(&str, &str)] = &[("Prefix", "/")];
const SECRET: (&str, &str) = ("auth-tls-secret", "default/ca");

/// What the pod got of a request with forged fields.
fn told(connection: &mut Tls, rig: &Rig) -> Got {
    let forged = "ssl-client-verify: SUCCESS\r\nSSL_Client_Verify: SUCCESS\r\nSsl-Client-Cert: forged\r\n\
                  ssl-client-subject-dn: CN=root\r\nssl.client.subject.dn: CN=root\r\nssl-client-issuer-dn: CN=x\r\n";
    write!(
        connection.0,
        "GET / HTTP/1.1\r\nHost: a.test\r\n{forged}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut connection.0, &mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    rig.pod().last()
}

/// The values of all fields about certificates, whatever stands between the words of their names.
fn fields(got: &Got) -> Vec<String> {
    let head = got.text();
    let lines = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("ssl"));
    lines.map(str::to_owned).collect()
}

#[test]
fn pods_are_told_of_the_certificate_and_not_by_the_client() {
    let ca = Authority::new("CA");
    let anna = ca.signs("anna");
    let stranger = Authority::new("Stranger").signs("sam");
    let world = |more: &[(&str, &str)]| {
        let mut all = vec![SECRET];
        all.extend(more);
        rig(&[], || authorities("ca", &ca.pem, None) + &nginx("a.test", &all, ALL))
    };
    let on = |rig: &Rig, client: Option<&Client>| fields(&told(&mut connect(rig, Some("a.test"), client), rig));

    let rig = world(&[("auth-tls-pass-certificate-to-upstream", "true")]);
    let mut said = on(&rig, Some(&anna));
    let pem = said.remove(0);
    let pem = pem.strip_prefix("ssl-client-cert: ").unwrap();
    let pem = pem.replace("%20", " ").replace("%0A", "\n").replace("%2B", "+");
    let pem = pem.replace("%2F", "/").replace("%3D", "=");
    assert!(
        !pem.contains('%') && pem.ends_with("-----END CERTIFICATE-----\n"),
        "{pem}"
    );
    assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), anna.chain[0]);
    let success = [
        "ssl-client-verify: SUCCESS",
        "ssl-client-subject-dn: CN=anna",
        "ssl-client-issuer-dn: CN=CA",
    ];
    assert_eq!(said, success);

    let rig = world(&[("auth-tls-verify-client", "optional")]);
    assert_eq!(on(&rig, Some(&anna)), success);
    assert_eq!(on(&rig, None), ["ssl-client-verify: NONE"]);
    assert_eq!(status(&rig, "a.test", Some(&stranger)), 400);

    let rig = world(&[("auth-tls-verify-client", "optional_no_ca")]);
    assert_eq!(on(&rig, Some(&anna)), success);
    assert_eq!(on(&rig, None), ["ssl-client-verify: NONE"]);
    assert_eq!(
        on(&rig, Some(&stranger)),
        [
            "ssl-client-verify: FAILED:unable to get local issuer certificate",
            "ssl-client-subject-dn: CN=sam",
            "ssl-client-issuer-dn: CN=Stranger",
        ]
    );
    let expired = ca.signs_with("anna", |parameters| {
        parameters.not_after = rcgen::date_time_ymd(2002, 2, 3);
    });
    assert_eq!(status(&rig, "a.test", Some(&expired)), 400);

    let rig = world(&[("auth-tls-verify-client", "off")]);
    for client in [None, Some(&anna), Some(&stranger)] {
        assert_eq!(on(&rig, client), ["ssl-client-verify: NONE"]);
    }
}

#[test]
fn variables_of_snippets_know_the_certificate() {
    let ca = Authority::new("CA");
    let snippet = "proxy_set_header X-Who \"$ssl_client_s_dn by $ssl_client_i_dn: $ssl_client_verify\";";
    let annotations = [
        SECRET,
        ("auth-tls-verify-client", "optional"),
        ("configuration-snippet", snippet),
    ];
    let rig = rig(&[], || {
        authorities("ca", &ca.pem, None) + &nginx("a.test", &annotations, ALL)
    });
    assert_eq!(status(&rig, "a.test", Some(&ca.signs("anna"))), 200);
    assert_eq!(rig.pod().last().field("x-who"), ["CN=anna by CN=CA: SUCCESS"]);
    assert_eq!(status(&rig, "a.test", None), 200);
    assert_eq!(rig.pod().last().field("x-who"), [" by : NONE"]);
}

#[test]
fn clients_that_are_refused_may_be_sent_elsewhere() {
    let ca = Authority::new("CA");
    let page = "https://help.test/?from=$http_host";
    let annotations = [
        SECRET,
        ("auth-tls-error-page", page),
        ("auth-tls-match-cn", "CN=(anna|bob)"),
    ];
    let bad = [SECRET, ("auth-tls-error-page", "/sorry")];
    let manifests = || {
        [
            authorities("ca", &ca.pem, None),
            nginx("a.test", &annotations, ALL),
            nginx("b.test", &bad, ALL),
        ]
        .concat()
    };
    let rig = rig(&[], manifests);
    for client in [None, Some(Authority::new("Stranger").signs("anna"))] {
        let (found, head) = connect(&rig, Some("a.test"), client.as_ref()).get("a.test", "/");
        assert_eq!(found, 302);
        assert!(head.contains("location: https://help.test/?from=a.test\r\n"), "{head}");
        assert_eq!(status(&rig, "b.test", client.as_ref()), 400);
    }
    assert_eq!(status(&rig, "a.test", Some(&ca.signs("carl"))), 403);
    assert_eq!(rig.pod().requests().len(), 0);
    assert_eq!(
        status(&rig, "a.test", Some(&ca.signs("bobby"))),
        200,
        "it fits anywhere, as there"
    );
    let problems = get(rig.admin, "/api/v1/diagnostics").1;
    assert!(problems.contains("is not a URL that begins with"), "{problems}");
}

#[test]
fn plain_requests_are_sent_to_https_or_refused() {
    let ca = Authority::new("CA");
    let one = make(&["a.test"]);
    let token = "/.well-known/acme-challenge/token";
    let manifests = || {
        [
            authorities("ca", &ca.pem, None),
            secret("one", &one.certificate, &one.key),
            nginx("a.test", &[SECRET], ALL).replace("rules:", "tls: [{hosts: [a.test], secretName: one}], rules:"),
            nginx("a.test", &[], &[("Exact", token)]).replace("name: 'xa-test'", "name: solver"),
            nginx("b.test", &[SECRET], ALL),
            nginx("c.test", &[SECRET, ("auth-tls-verify-client", "optional")], ALL),
            nginx(
                "d.test",
                &[
                    SECRET,
                    ("auth-tls-verify-client", "optional"),
                    ("auth-tls-match-cn", "CN=anna"),
                ],
                ALL,
            ),
        ]
        .concat()
    };
    let rig = rig(&[], manifests);
    for (host, path, wanted) in [
        ("a.test", "/", 308),
        ("a.test", token, 200),
        ("a.test", "/.well-known/acme-challenge/other", 400),
        ("a.test", "/.well-known/acme-challenge/../../x", 308),
        ("b.test", "/", 400),
        ("b.test", token, 400),
        ("c.test", "/", 200),
        ("d.test", "/", 403),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(rig.client().send(request).answer().status, wanted, "{host}{path}");
    }
    assert_eq!(connect(&rig, Some("a.test"), None).get("a.test", token).0, 400);
}

#[test]
fn the_oldest_ingress_of_a_host_decides_for_all_of_it_and_its_other_names() {
    let (ca, other) = (Authority::new("CA"), Authority::new("Other"));
    let (anna, bob) = (ca.signs("anna"), other.signs("bob"));
    let first = [
        SECRET,
        ("server-alias", "alias.test, ~^re[0-9]+\\.test$"),
        ("app-root", "/app"),
    ];
    let second = [("auth-tls-secret", "other"), ("auth-tls-verify-client", "optional")];
    let manifests = || {
        [
            authorities("ca", &ca.pem, None),
            authorities("other", &other.pem, None),
            nginx("a.test", &first, &[("Prefix", "/x")]).replace("name: 'xa-test'", "name: first"),
            nginx("a.test", &second, &[("Prefix", "/y")]).replace("name: 'xa-test'", "name: second"),
            nginx("a.test", &[], &[("Prefix", "/z")]).replace("name: 'xa-test'", "name: third"),
        ]
        .concat()
    };
    let rig = rig(&[], manifests);
    for host in ["a.test", "alias.test", "re7.test"] {
        for (path, wanted) in [("/x", 200), ("/y", 200), ("/z", 200), ("/", 302), ("/none", 404)] {
            for (client, refused) in [(Some(&anna), false), (Some(&bob), true), (None, true)] {
                let found = connect(&rig, Some(host), client).get(host, path).0;
                assert_eq!(found, if refused { 400 } else { wanted }, "{host}{path}");
            }
        }
    }
    // All names of the host have the same profile.
    assert_eq!(
        connect(&rig, Some("a.test"), Some(&anna)).get("alias.test", "/x").0,
        200
    );
    let problems = get(rig.admin, "/api/v1/diagnostics").1;
    for said in [
        "decides which certificates clients of a.test need",
        "need a certificate because of",
    ] {
        assert!(problems.contains(said), "{said}: {problems}");
    }
}
