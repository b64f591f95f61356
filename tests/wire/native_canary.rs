//! A second Service that gets some of the requests of an Ingress.

use crate::ingress_nginx::ask;
use crate::native::{ALL, native, problems};
use crate::rig::{Pod, Rig, eventually, service_with};

fn services(pods: &[Pod]) -> String {
    service_with("web", &pods[..1], "") + &service_with("second", &pods[1..], "")
}

fn rig(manifests: &str) -> Rig {
    Rig::with(2, &[], |pods| services(pods) + manifests)
}

/// Whether the second Service gets a request with these fields.
fn is_second(rig: &Rig, host: &str, fields: &[(&str, &str)]) -> bool {
    let before = rig.pods[1].requests().len();
    assert_eq!(ask(rig, "GET", host, "/", fields).status, 200, "{host} {fields:?}");
    rig.pods[1].requests().len() > before
}

#[test]
fn fields_cookies_and_weights_decide() {
    let canary = |host: &str, more: &[(&str, &str)]| {
        let all = [&[("canary-service", "second")][..], more].concat();
        native(host, &all, ALL)
    };
    let rig = rig(
        &(canary("none.test", &[("canary-weight", "0"), ("canary-header", "X-Canary")])
            + &canary("all.test", &[("canary-weight", "100"), ("canary-cookie", "c")])
            + &canary(
                "value.test",
                &[("canary-header", "X-Canary"), ("canary-header-value", "beta")],
            )
            + &native(
                "port.test",
                &[("canary-service", "second:80"), ("canary-weight", "100")],
                ALL,
            )),
    );
    for (host, fields, second) in [
        ("none.test", &[][..], false),
        ("none.test", &[("X-Canary", "always")], true),
        ("none.test", &[("X-Canary", "never")], false),
        ("all.test", &[], true),
        ("all.test", &[("Cookie", "c=never")], false),
        ("value.test", &[("X-Canary", "beta")], true),
        ("value.test", &[("X-Canary", "always")], false),
        ("port.test", &[], true),
    ] {
        for _ in 0..5 {
            assert_eq!(is_second(&rig, host, fields), second, "{host} {fields:?}");
        }
    }
}

#[test]
fn a_weight_is_kept_and_an_edit_of_it_keeps_connections() {
    let with = |weight: &str| {
        native(
            "a.test",
            &[("canary-service", "second"), ("canary-weight", weight)],
            ALL,
        )
    };
    let rig = rig(&with("25"));
    let mut client = rig.client();
    for _ in 0..2000 {
        let answer = client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        assert_eq!(answer.status, 200);
    }
    let second = rig.pods[1].requests().len();
    assert!((400..600).contains(&second), "{second} of 2000");
    std::fs::write(rig.manifest("all.yaml"), services(&rig.pods) + &with("100")).unwrap();
    eventually("the edit is live", || {
        let before = rig.pods[0].requests().len();
        for _ in 0..20 {
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        }
        (rig.pods[0].requests().len() == before).then_some(())
    });
}

#[test]
fn sessions_hold_across_both() {
    let rig = rig(&native(
        "a.test",
        &[
            ("canary-service", "second"),
            ("canary-weight", "50"),
            ("sticky-cookie", "s"),
        ],
        ALL,
    ));
    for _ in 0..10 {
        let before = rig.pods[1].requests().len();
        let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        let second = rig.pods[1].requests().len() > before;
        let cookie = answer
            .field("set-cookie")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        for _ in 0..5 {
            assert_eq!(is_second(&rig, "a.test", &[("Cookie", &cookie)]), second);
        }
    }
}

#[test]
fn what_is_wrong_with_it_is_said_and_nothing_is_lost() {
    let rig = rig(&(native("a1.test", &[("canary-service", "no name")], ALL)
        + &native("a2.test", &[("canary-weight", "10")], ALL)
        + &native("a3.test", &[("canary-service", "second")], ALL)
        + &native(
            "a4.test",
            &[("canary-service", "second:0"), ("canary-weight", "100")],
            ALL,
        )
        + &native(
            "a5.test",
            &[("canary-service", "second"), ("canary-weight", "101")],
            ALL,
        )
        + &native(
            "a6.test",
            &[("canary-service", "missing"), ("canary-weight", "100")],
            ALL,
        )
        + &native(
            "a7.test",
            &[("canary-service", "second"), ("canary-cookie", "a;b")],
            ALL,
        )));
    for (host, why) in [
        ("a1.test", "is not the name of an object"),
        ("a2.test", "it is missing or wrong"),
        ("a3.test", "it gets no requests without"),
        ("a4.test", "neither the number nor the name of a port"),
        ("a5.test", "is not a whole number from 0 to 100"),
        ("a6.test", "missing"),
        ("a7.test", "is not a token"),
    ] {
        let said = problems(&rig, host);
        assert!(said.contains(why), "{host}: {said}");
        assert!(!is_second(&rig, host, &[]), "{host}");
    }
}
