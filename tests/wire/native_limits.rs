//! narthex's own limits by annotations: addresses, rates, requests under way, bodies.

use crate::ingress_nginx::ask;
use crate::native::{ALL, native, problems, rig};
use crate::rig::{Client, PATIENCE, Reply, Rig, eventually, service_with};

/// The statuses of requests with these fields, each on a connection of its own.
fn statuses(rig: &Rig, host: &str, fields: &str, count: usize) -> Vec<u16> {
    let send = |_| {
        let mut client = Client::connect(rig.http);
        client
            .send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
            .answer()
            .status
    };
    (0..count).map(send).collect()
}

fn passed(rig: &Rig, host: &str, fields: &str, count: usize) -> usize {
    let statuses = statuses(rig, host, fields, count);
    assert!(
        statuses.iter().all(|status| [200, 429].contains(status)),
        "{host}: {statuses:?}"
    );
    statuses.iter().filter(|status| **status == 200).count()
}

#[test]
fn rates_let_a_burst_pass_and_say_when_to_come_again() {
    let rig = rig(&["--shards", "2"], || {
        let limited = |host: &str, more: &[(&str, &str)]| {
            let all = [&[("rate-limit", "1/m")][..], more].concat();
            native(host, &all, ALL)
        };
        native("usual.test", &[("rate-limit", "5/m, 1000/s")], ALL)
            + &limited("burst.test", &[("rate-limit-burst", "7")])
            + &limited("key.test", &[("rate-limit-key", "header:X-Key")])
            + &limited("host.test", &[("rate-limit-key", "host")])
            + &limited("exempt.test", &[("limit-exempt", "127.0.0.0/8")])
    });
    assert_eq!(
        passed(&rig, "usual.test", "", 20),
        5,
        "as many at once as the rate names"
    );
    assert_eq!(passed(&rig, "burst.test", "", 20), 8);
    let passed = |host: &str, fields: &str| passed(&rig, host, fields, 3);
    assert_eq!(passed("key.test", "X-Key: a\r\n"), 1);
    assert_eq!(passed("key.test", "x-key: b\r\n"), 1);
    assert_eq!(passed("key.test", ""), 1, "those without the field count by client");
    assert_eq!(passed("host.test", ""), 1);
    assert_eq!(passed("exempt.test", ""), 3);
    let mut client = rig.client();
    let answer = client.send("GET / HTTP/1.1\r\nHost: burst.test\r\n\r\n").answer();
    assert_eq!((answer.status, &*answer.body), (429, &b"too many requests\n"[..]));
    let seconds: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let again = client.send("GET / HTTP/1.1\r\nHost: burst.test\r\n\r\n").answer();
    assert_eq!(again.status, 429, "the connection stays open");
    rig.logged("too_often");
}

#[test]
fn a_client_has_so_many_requests_under_way() {
    let rig = rig(&["--shards", "2"], || {
        native("a.test", &[("max-in-flight-per-client", "2")], ALL)
            + &native(
                "free.test",
                &[("max-in-flight-per-client", "1"), ("limit-exempt", "127.0.0.1")],
                ALL,
            )
    });
    rig.pod().answers(Reply::Silence);
    let hold = |host: &str, count: usize| -> Vec<Client> {
        let before = rig.pod().requests().len();
        let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(rig.http)).collect();
        for client in &mut clients {
            client.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        }
        eventually("the pod has them", || {
            (rig.pod().requests().len() == before + count).then_some(())
        });
        clients
    };
    let held = hold("a.test", 2);
    let free = hold("free.test", 3);
    let answer = rig.client().send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")));
    drop((held, free));
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let deadline = std::time::Instant::now() + PATIENCE;
    while statuses(&rig, "a.test", "", 1) != [200] {
        assert!(std::time::Instant::now() < deadline, "places are not given back");
    }
}

#[test]
fn addresses_and_bodies_are_limited() {
    let rig = rig(&["--trusted-proxies", "127.0.0.1"], || {
        native("allow.test", &[("allow-addresses", "10.0.0.0/8, 2001:db8::/32")], ALL)
            + &native(
                "deny.test",
                &[("deny-addresses", "10.1.0.0/16, ::ffff:10.2.0.0/112")],
                ALL,
            )
            + &native(
                "both.test",
                &[("allow-addresses", "10.0.0.0/8"), ("deny-addresses", "10.1.0.0/16")],
                ALL,
            )
            + &native("size.test", &[("max-request-body", "1KiB")], ALL)
    });
    for (host, client, status) in [
        ("allow.test", "10.9.9.9", 200),
        ("allow.test", "2001:db8::1", 200),
        ("allow.test", "192.0.2.1", 403),
        ("allow.test", "::ffff:10.0.0.1", 200),
        ("deny.test", "10.1.2.3", 403),
        ("deny.test", "10.2.0.1", 403),
        ("deny.test", "10.3.0.1", 200),
        ("both.test", "10.1.0.1", 403),
        ("both.test", "10.2.0.1", 200),
        ("both.test", "192.0.2.1", 403),
    ] {
        let answer = ask(&rig, "GET", host, "/", &[("X-Forwarded-For", client)]);
        assert_eq!(answer.status, status, "{host} {client}");
    }
    let post = |length: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: size.test\r\nContent-Length: {length}\r\n\r\n");
        rig.client().send(head).send(vec![b'x'; length]).answer().status
    };
    assert_eq!((post(1024), post(1025)), (200, 413));
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2000, "x".repeat(2000));
    let head = "POST / HTTP/1.1\r\nHost: size.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(rig.client().send(head).send(chunk).answer().status, 413);
    assert_eq!(
        ask(&rig, "POST", "size.test", "/", &[("Content-Length", "2000")]).status,
        413
    );
}

#[test]
fn a_guard_that_cannot_be_read_closes_its_routes() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: &[Case<'_>] = &[
        ("a1.test", &[("allow-addresses", "10.0.0.0/33")], "is not a network"),
        ("a2.test", &[("allow-addresses", " , ")], "it names no network"),
        ("a3.test", &[("deny-addresses", "")], "it names no network"),
        ("a4.test", &[("rate-limit", "0/s")], "is not a rate"),
        ("a5.test", &[("rate-limit", "10/h")], "is not a rate"),
        ("a6.test", &[("rate-limit", "")], "it names no rate"),
        ("a7.test", &[("rate-limit", "-5/s")], "is not a rate"),
        (
            "a8.test",
            &[("rate-limit", "1/s"), ("rate-limit-key", "cookie")],
            "is not one of client",
        ),
        (
            "a9.test",
            &[("rate-limit", "1/s"), ("rate-limit-burst", "many")],
            "is not a whole number",
        ),
        (
            "b1.test",
            &[("max-in-flight-per-client", "0")],
            "is not a whole number from 1",
        ),
        (
            "b2.test",
            &[("limit-exempt", "localhost"), ("rate-limit", "1/s")],
            "is not a network",
        ),
    ];
    let rig = rig(&["--ignore-annotation", "narthex.io/deny-*"], || {
        let all = cases
            .iter()
            .map(|(host, annotations, _)| native(host, annotations, ALL));
        all.collect::<String>()
            + &native("size.test", &[("max-request-body", "lots")], ALL)
            + &native("burst.test", &[("rate-limit-burst", "5")], ALL)
    });
    for (host, _, why) in cases {
        let said = problems(&rig, host);
        let answer = ask(&rig, "GET", host, "/", &[]);
        if *host == "a3.test" {
            assert!(said.contains("GuardIgnored"), "{said}");
            assert_eq!(answer.status, 200);
            continue;
        }
        assert!(said.contains("GuardInvalid") && said.contains(why), "{host}: {said}");
        assert_eq!((answer.status, &*answer.body), (503, &b"guard invalid\n"[..]), "{host}");
    }
    // Neither of these keeps anybody out.
    for host in ["size.test", "burst.test"] {
        assert!(problems(&rig, host).contains("InvalidAnnotation"), "{host}");
        assert_eq!(ask(&rig, "GET", host, "/", &[]).status, 200, "{host}");
    }
}

#[test]
fn a_guard_on_a_service_closes_what_leads_there() {
    let rig = rig(&[], || native("a.test", &[], ALL));
    let service = service_with("web", &rig.pods, "narthex.io/allow-addresses: 127.0.0.0/8");
    std::fs::write(rig.manifest("all.yaml"), service + &native("a.test", &[], ALL)).unwrap();
    eventually("the route is closed", || {
        let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        (answer.status == 503).then_some(())
    });
    eventually("it is said", || {
        let (_, all) = crate::rig::get(rig.admin, "/api/v1/diagnostics");
        all.contains("put it on the Ingress").then_some(())
    });
}
