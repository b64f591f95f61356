//! Canaries of ingress-nginx: an Ingress beside another one with the same host and path gets some of its requests.

use crate::ingress_nginx::{ask, nginx};
use crate::rig::{Pod, Rig, eventually, service_with};
use std::sync::atomic::Ordering;

/// An Ingress of the class `nginx` for one host and path, and its Service.
fn ingress(name: &str, host: &str, annotations: &[(&str, &str)], path: (&str, &str), service: &str) -> String {
    nginx(host, annotations, &[path])
        .replace(&format!("'x{}'", host.replace('.', "-")), name)
        .replace("{name: web", &format!("{{name: {service}"))
}

const ALL: (&str, &str) = ("Prefix", "/");

fn services(pods: &[Pod]) -> String {
    service_with("main", &pods[..1], "") + &service_with("canary", &pods[1..2], "")
}

/// A main Ingress, and a canary of it with these annotations.
fn pair(main: &[(&str, &str)], canary: &[(&str, &str)]) -> String {
    let mut all = vec![("canary", "true")];
    all.extend(canary);
    ingress("main", "a.test", main, ALL, "main") + &ingress("canary", "a.test", &all, ALL, "canary")
}

fn rig(manifests: &str) -> Rig {
    Rig::with(2, &["--drop-in", "ingress-nginx"], |pods| services(pods) + manifests)
}

fn write(rig: &Rig, manifests: &str) {
    std::fs::write(rig.manifest("all.yaml"), services(&rig.pods) + manifests).unwrap();
}

/// The status of a request; while the table changes, `explain` may see another one.
fn plain(rig: &Rig, target: &str) -> u16 {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    rig.client().send(request).answer().status
}

/// Whether the canary's pod answers a request with these fields; `explain` has to agree on the status.
fn is_canary(rig: &Rig, target: &str, fields: &[(&str, &str)]) -> bool {
    let before = rig.pods[1].requests().len();
    assert_eq!(ask(rig, "GET", "a.test", target, fields).status, 200, "{fields:?}");
    rig.pods[1].requests().len() > before
}

#[test]
fn fields_and_cookies_choose_the_canary() {
    let rig = rig(&pair(
        &[],
        &[("canary-by-header", "X-Canary"), ("canary-by-cookie", "c")],
    ));
    for (fields, wanted) in [
        (&[][..], false),
        (&[("X-Canary", "always")], true),
        (&[("x-canary", "never"), ("Cookie", "c=always")], false),
        (&[("X-Canary", "maybe"), ("Cookie", "c=always")], true),
        (&[("Cookie", "b=always; c=never")], false),
    ] {
        assert_eq!(is_canary(&rig, "/", fields), wanted, "{fields:?}");
    }
    let by = |more: (&str, &str)| pair(&[], &[("canary-by-header", "X-Canary"), more]);
    write(&rig, &by(("canary-by-header-value", "me")));
    eventually("the value counts", || {
        is_canary(&rig, "/", &[("X-Canary", "me")]).then_some(())
    });
    assert!(!is_canary(&rig, "/", &[("X-Canary", "always")]));
    write(&rig, &by(("canary-by-header-pattern", "^v[0-9]+$")));
    eventually("the pattern counts", || {
        is_canary(&rig, "/", &[("X-Canary", "v12")]).then_some(())
    });
    assert!(!is_canary(&rig, "/", &[("X-Canary", "me")]));
}

#[test]
fn the_weight_decides_the_rest_and_an_edit_of_it_keeps_all_connections() {
    let weight = |weight: &str, total: &str| pair(&[], &[("canary-weight", weight), ("canary-weight-total", total)]);
    let rig = rig(&weight("0", "100"));
    let many = |count: usize| {
        let before = rig.pods[1].requests().len();
        let mut client = rig.client();
        for _ in 0..count {
            assert_eq!(
                client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status,
                200
            );
        }
        rig.pods[1].requests().len() - before
    };
    assert_eq!(many(500), 0);
    write(&rig, &weight("100", "100"));
    eventually("all go to the canary", || (many(20) == 20).then_some(()));
    assert_eq!(many(500), 500);
    write(&rig, &weight("100", "1000"));
    eventually("most do not", || (many(20) < 20).then_some(()));
    let share = many(10_000);
    assert!((850..=1150).contains(&share), "{share}");
    // A total below the usual one does not count.
    write(&rig, &weight("50", "50"));
    eventually("half do", || (many(100) > 30).then_some(()));
    assert!(many(500) < 500);
    // One for each shard, and all of them were kept.
    let opened: Vec<usize> = rig
        .pods
        .iter()
        .map(|pod| pod.connections.load(Ordering::SeqCst))
        .collect();
    assert!(opened.iter().all(|opened| *opened <= 6), "{opened:?}");
}

#[test]
fn a_canary_may_come_first_and_its_main_ingress_may_go() {
    let main = ingress("main", "a.test", &[], ALL, "main");
    let canary = |path: (&str, &str), name: &str| {
        ingress(
            name,
            "a.test",
            &[("canary", "true"), ("canary-weight", "100")],
            path,
            "canary",
        )
    };
    let rig = rig(&canary(ALL, "canary"));
    let status = || plain(&rig, "/");
    assert_eq!(status(), 404);
    write(&rig, &(canary(ALL, "canary") + &main));
    eventually("it has a main Ingress", || (status() == 200).then_some(()));
    assert!(is_canary(&rig, "/", &[]));
    // A second one changes nothing, and is named.
    write(&rig, &(canary(ALL, "canary") + &main + &canary(ALL, "second")));
    eventually("the second is named", || {
        let (_, report) = crate::rig::get(rig.admin, "/api/v1/diagnostics");
        report.contains("which is a canary of it already").then_some(())
    });
    assert!(is_canary(&rig, "/", &[]));
    write(&rig, &main);
    eventually("the canary is gone", || (!is_canary(&rig, "/", &[])).then_some(()));
    write(&rig, &canary(ALL, "canary"));
    eventually("the main one is gone", || (status() == 404).then_some(()));
    // A canary without pods gets nothing.
    let nowhere = canary(ALL, "canary").replace("{name: canary", "{name: nowhere");
    write(&rig, &(main.clone() + &nowhere));
    eventually("the main one is back", || (status() == 200).then_some(()));
    // Its own annotations say nothing of its path: that of the main Ingress is a regular expression, so it is one too.
    let regex = [("use-regex", "true"), ("backend-protocol", "HTTP")];
    let specific = ("ImplementationSpecific", "/x(/|$)(.*)");
    let main = ingress("main", "a.test", &regex, specific, "main");
    write(&rig, &(main + &canary(specific, "canary")));
    eventually("a pattern has a canary", || (plain(&rig, "/x/y") == 200).then_some(()));
    eventually("the canary has it too", || is_canary(&rig, "/x/y", &[]).then_some(()));
    assert_eq!(status(), 404);
}

#[test]
fn a_session_stays_where_it_began() {
    let main = [("affinity", "cookie")];
    let by = |weight: &str| pair(&main, &[("canary-by-header", "X-Canary"), ("canary-weight", weight)]);
    let rig = rig(&by("0"));
    let cookie = |fields: &[(&str, &str)]| {
        let answer = ask(&rig, "GET", "a.test", "/", fields);
        let set = answer.field("set-cookie").expect("a cookie").to_owned();
        set.split(';').next().unwrap().to_owned()
    };
    let (of_main, of_canary) = (cookie(&[]), cookie(&[("X-Canary", "always")]));
    assert!(is_canary(&rig, "/", &[("Cookie", &of_canary)]));
    assert!(is_canary(&rig, "/", &[("Cookie", &of_canary), ("X-Canary", "never")]));
    assert!(!is_canary(&rig, "/", &[("Cookie", &of_main), ("X-Canary", "always")]));
    write(&rig, &by("100"));
    eventually("all new ones go to the canary", || {
        is_canary(&rig, "/", &[]).then_some(())
    });
    assert!(!is_canary(&rig, "/", &[("Cookie", &of_main)]));
    write(
        &rig,
        &pair(
            &main,
            &[("canary-weight", "100"), ("affinity-canary-behavior", "legacy")],
        ),
    );
    eventually("sessions are forgotten", || {
        is_canary(&rig, "/", &[("Cookie", &of_main)]).then_some(())
    });
}
