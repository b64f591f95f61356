//! Which paths a host of Routes has depends on the scheme: without `tls` a path is there in plain, with `tls` over HTTPS, and in
//! plain as `insecureEdgeTerminationPolicy` says.

use crate::openshift::{FLAGS, ask, route};
use crate::rig::{Pod, Rig, get, service_with};
use crate::tls_rig::Tls;

/// A Route of `a.test` with a Service of its own. `policy` is the insecure policy, and absent without `tls`.
fn at(path: &str, age: u32, policy: Option<&str>) -> String {
    let name = path.trim_matches('/').replace(['/', '.'], "-");
    let tls = policy
        .map(|policy| format!("\n  tls: {{termination: edge, insecureEdgeTerminationPolicy: {policy}}}"))
        .unwrap_or_default();
    let spec = format!("  host: a.test\n  path: {path}\n  to: {{name: s{name}}}{tls}");
    route("default", &format!("r{name}"), age, &spec)
}

/// A Service for each path; each has a pod of its own.
fn services(pods: &[Pod], paths: &[&str]) -> String {
    let of = |(pod, path): (&Pod, &&str)| {
        let name = path.trim_matches('/').replace(['/', '.'], "-");
        service_with(&format!("s{name}"), std::slice::from_ref(pod), "")
    };
    pods.iter().zip(paths).map(of).collect()
}

/// The path of the Route that answers, or a status.
fn answers<'p>(rig: &Rig, paths: &[&'p str], scheme: &str, path: &str) -> Result<&'p str, u16> {
    let before: Vec<usize> = rig.pods.iter().map(|pod| pod.requests().len()).collect();
    let status = match scheme {
        "https" => Tls::open(rig, "a.test").get("a.test", path).0,
        _ => ask(rig, "a.test", path).status,
    };
    let mut served = rig.pods.iter().zip(before).zip(paths);
    let found = served.find(|((pod, before), _)| pod.requests().len() > *before);
    found.map(|(_, path)| *path).ok_or(status)
}

#[test]
fn a_path_is_there_for_the_schemes_of_its_route() {
    let paths = [
        "/",
        "/plain",
        "/plain/secure",
        "/secure",
        "/secure/plain",
        "/both",
        "/both/plain",
    ];
    let rig = Rig::with(paths.len(), FLAGS, |pods| {
        services(pods, &paths)
            + &at("/", 9, Some("None"))
            + &at("/plain", 1, None)
            + &at("/plain/secure", 1, Some("None"))
            + &at("/secure", 1, Some("None"))
            + &at("/secure/plain", 1, None)
            + &at("/both", 1, Some("Allow"))
            + &at("/both/plain", 1, None)
    });
    for (path, plain, secure) in [
        ("/", Err(503), Ok("/")),
        ("/x", Err(503), Ok("/")),
        ("/plain", Ok("/plain"), Ok("/")),
        ("/plain/x", Ok("/plain"), Ok("/")),
        ("/plain/secure", Ok("/plain"), Ok("/plain/secure")),
        ("/secure", Err(503), Ok("/secure")),
        ("/secure/plain", Ok("/secure/plain"), Ok("/secure")),
        ("/both/x", Ok("/both"), Ok("/both")),
        ("/both/plain/x", Ok("/both/plain"), Ok("/both")),
    ] {
        assert_eq!(answers(&rig, &paths, "http", path), plain, "http {path}");
        assert_eq!(answers(&rig, &paths, "https", path), secure, "https {path}");
    }
    let said = get(rig.admin, "/api/v1/explain?url=https://a.test/plain").1;
    assert!(said.contains("Route default/r "), "{said}");
    assert!(said.contains("it matches, but it is for plain HTTP only"), "{said}");
}

#[test]
fn redirects_come_before_longer_paths_in_plain() {
    let paths = ["/", "/plain", "/both", "/none", "/.well-known/acme-challenge/x"];
    let rig = Rig::with(paths.len(), FLAGS, |pods| {
        services(pods, &paths)
            + &at("/", 1, Some("Redirect"))
            + &at("/plain", 1, None)
            + &at("/both", 1, Some("Allow"))
            + &at("/none", 1, Some("None"))
            + &at("/.well-known/acme-challenge/x", 1, None)
    });
    for (path, plain, secure) in [
        ("/", Err(302), Ok("/")),
        ("/plain/x", Err(302), Ok("/")),
        ("/both", Err(302), Ok("/both")),
        ("/none", Err(302), Ok("/none")),
        // What certificate authorities ask for is not redirected.
        (paths[4], Ok(paths[4]), Ok("/")),
        ("/.well-known/acme-challenge/y", Ok("/"), Ok("/")),
    ] {
        assert_eq!(answers(&rig, &paths, "http", path), plain, "http {path}");
        assert_eq!(answers(&rig, &paths, "https", path), secure, "https {path}");
    }
    let said = get(rig.admin, "/api/v1/explain?url=http://a.test/plain").1;
    assert!(said.contains("redirects come before longer paths"), "{said}");
}

#[test]
fn behind_a_proxy_that_ends_tls_the_longest_path_answers() {
    let paths = ["/", "/plain"];
    let flags = [FLAGS, &["--trusted-proxies", "127.0.0.0/8"]].concat();
    let rig = Rig::with(paths.len(), &flags, |pods| {
        services(pods, &paths) + &at("/", 1, Some("Redirect")) + &at("/plain", 1, None)
    });
    let by_proxy = "X-Forwarded-Proto: https\r\n";
    for (path, pod) in [("/", 0), ("/plain", 1)] {
        let answer = crate::openshift::ask_with(&rig, "a.test", path, by_proxy);
        assert_eq!((answer.status, rig.pods[pod].requests().len()), (200, 1), "{path}");
    }
}
