//! Which pod answers: `narthex.io/balance`, `sticky-cookie`, `slow-start`, and the hints of slices.

use crate::rig::{Pod, Reply, Rig, eventually, ingress, service_with, slice};
use std::collections::BTreeSet;

/// One host with so many pods, and these annotations on its Service.
fn rig(pods: usize, annotations: &str) -> Rig {
    Rig::with(pods, &["--shards", "1"], |pods| manifests(pods, annotations))
}

fn manifests(pods: &[Pod], annotations: &str) -> String {
    service_with("web", pods, annotations) + &ingress("web", "a.test", "/", "web", "")
}

fn counts(rig: &Rig) -> Vec<usize> {
    rig.pods.iter().map(|pod| pod.requests().len()).collect()
}

/// Asks with these fields, and says which pod answered.
fn ask(rig: &Rig, target: &str, fields: &str) -> usize {
    let before = counts(rig);
    let answer = rig
        .client()
        .send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"))
        .answer();
    assert_eq!(answer.status, 200, "{}", answer.head);
    let after = counts(rig);
    (0..after.len()).find(|pod| after[*pod] > before[*pod]).unwrap()
}

#[test]
fn round_robin_takes_turns_under_load_too() {
    let rig = rig(3, "narthex.io/balance: round-robin");
    rig.pods[0].answers(Reply::Silence);
    // One of three hangs, so the shard is never idle.
    let hanging: Vec<_> = (1..=3)
        .map(|count| {
            let mut client = rig.client();
            client.send("GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n");
            eventually("the request is at a pod", || {
                (counts(&rig).iter().sum::<usize>() == count).then_some(())
            });
            client
        })
        .collect();
    rig.pods[0].answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let start = counts(&rig);
    for _ in 0..30 {
        ask(&rig, "/", "");
    }
    let shares: Vec<usize> = counts(&rig).iter().zip(start).map(|(now, then)| now - then).collect();
    assert_eq!(shares, [10, 10, 10]);
    drop(hanging);
}

#[test]
fn hashed_keys_stay_at_their_pod_and_few_move_when_one_goes() {
    for (balance, vary) in [
        ("hash:header:X-User", "header"),
        ("hash:cookie:user", "cookie"),
        ("hash:uri", "uri"),
    ] {
        let rig = rig(4, &format!("narthex.io/balance: \"{balance}\""));
        let at = |key: usize| match vary {
            "header" => ask(&rig, "/", &format!("x-user: u{key}\r\n")),
            "cookie" => ask(&rig, "/", &format!("Cookie: a=b; user=u{key}\r\n")),
            _ => ask(&rig, &format!("/page?user={key}"), ""),
        };
        let first: Vec<usize> = (0..40).map(at).collect();
        assert_eq!(first, (0..40).map(at).collect::<Vec<_>>(), "{balance}");
        let used: BTreeSet<usize> = first.iter().copied().collect();
        assert_eq!(used.len(), 4, "{balance}: {first:?}");
        // One pod goes: only its keys move.
        let left = manifests(&rig.pods[..3], &format!("narthex.io/balance: \"{balance}\""));
        std::fs::write(rig.manifest("all.yaml"), left).unwrap();
        let gone = first.iter().position(|pod| *pod == 3).unwrap();
        eventually("the pod is gone", || (at(gone) != 3).then_some(()));
        for (key, before) in first.iter().enumerate() {
            let now = at(key);
            assert!(
                now == *before || *before == 3,
                "{balance}: key {key} moved from {before} to {now}"
            );
        }
    }
}

#[test]
fn all_of_a_client_goes_to_one_pod_by_its_address() {
    let rig = rig(3, "narthex.io/balance: hash:source-ip");
    let first = ask(&rig, "/", "");
    for _ in 0..10 {
        assert_eq!(ask(&rig, "/", ""), first);
    }
}

#[test]
fn what_is_beyond_its_share_goes_elsewhere() {
    let rig = rig(2, "narthex.io/balance: hash:header:x-user");
    for pod in &rig.pods {
        pod.answers(Reply::Silence);
    }
    let mut hanging = Vec::new();
    for _ in 0..20 {
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nx-user: one\r\n\r\n");
        hanging.push(client);
    }
    eventually("all are at pods", || {
        (counts(&rig).iter().sum::<usize>() == 20).then_some(())
    });
    let counts = counts(&rig);
    assert!(counts.iter().all(|count| *count >= 6), "{counts:?}");
    assert!(counts[0] != counts[1], "the key's own pod has more: {counts:?}");
}

#[test]
fn a_cookie_keeps_a_client_at_its_pod_also_after_a_restart() {
    let annotation = "narthex.io/sticky-cookie: pod";
    let rig = rig(3, annotation);
    let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    let cookie = answer.field("set-cookie").unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    let pair = cookie.split(';').next().unwrap().to_owned();
    let pod = counts(&rig).iter().position(|count| *count == 1).unwrap();
    let again = format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: x=y; {pair}\r\n\r\n");
    for _ in 0..10 {
        let answer = rig.client().send(&again).answer();
        assert_eq!(
            answer.field("set-cookie"),
            None,
            "a client that came back gets no new one"
        );
    }
    assert_eq!(counts(&rig)[pod], 11);
    // Another narthex knows the cookie too.
    let pods: Vec<_> = rig.pods.iter().map(|pod| pod.address).collect();
    let other = Rig::with(0, &["--shards", "2"], |_| {
        let mut all = service_with("web", &[], annotation);
        for (index, address) in pods.iter().enumerate() {
            all += &slice("web", *address, &format!("p{index}"));
        }
        all + &ingress("web", "a.test", "/", "web", "")
    });
    for _ in 0..5 {
        assert_eq!(other.client().send(&again).answer().status, 200);
    }
    assert_eq!(counts(&rig)[pod], 16);
    // When the pod is gone, another takes over, and the cookie says so.
    let left: Vec<&Pod> = rig
        .pods
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != pod)
        .map(|(_, pod)| pod)
        .collect();
    let mut all = service_with("web", &[], annotation);
    for left in &left {
        all += &slice("web", left.address, &format!("q{}", left.address.port()));
    }
    std::fs::write(
        rig.manifest("all.yaml"),
        all + &ingress("web", "a.test", "/", "web", ""),
    )
    .unwrap();
    let moved = eventually("another pod takes over", || {
        let answer = rig.client().send(&again).answer();
        answer.field("set-cookie").map(str::to_owned)
    });
    assert!(moved.starts_with("pod=") && !moved.starts_with(&pair), "{moved}");
}

#[test]
fn a_client_of_several_services_sticks_to_a_pod_of_each() {
    let annotation = ", annotations: {narthex.io/sticky-cookie: pod}";
    let rig = Rig::with(6, &["--shards", "1"], |pods| {
        service_with("web", &pods[..3], "narthex.io/balance: round-robin")
            + &service_with("api", &pods[3..], "narthex.io/balance: round-robin")
            + &ingress("web", "a.test", "/", "web", annotation)
            + &ingress("api", "a.test", "/api", "api", annotation)
    });
    // As a browser does it: one cookie of a name for the host.
    let mut jar: Option<String> = None;
    let mut set = 0;
    let mut browse = |path: &str, jar: &mut Option<String>, more: &str| {
        let cookie = jar.as_ref().map(|pair| format!("Cookie: x=1; {pair}{more}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a.test\r\n{}\r\n",
            cookie.unwrap_or_default()
        );
        let answer = rig.client().send(request).answer();
        assert_eq!(answer.status, 200);
        if let Some(cookie) = answer.field("set-cookie") {
            *jar = Some(cookie.split(';').next().unwrap().to_owned());
            set += 1;
        }
    };
    for _ in 0..20 {
        browse("/", &mut jar, "");
        browse("/api", &mut jar, "");
    }
    let mut counted = counts(&rig);
    counted.sort_unstable();
    assert_eq!(counted, [0, 0, 0, 0, 20, 20], "one pod of each");
    // Another cookie of the name, of another path or domain, hides nothing, whichever comes first.
    let mut other = Some("pod=0123456789abcdef".to_owned());
    let more = format!("; {}", jar.clone().unwrap());
    browse("/", &mut other, &more);
    browse("/api", &mut jar, "; pod=nonsense; pod=0123456789abcdef");
    // A cookie of an earlier version names the pod alone.
    let plain: Vec<String> = jar.clone().unwrap()["pod=".len()..]
        .split('.')
        .map(|entry| format!("pod={}", &entry[8..]))
        .collect();
    for pair in plain {
        let before: usize = counts(&rig).iter().sum();
        for path in ["/", "/api"] {
            browse(path, &mut Some(pair.clone()), "");
        }
        assert_eq!(counts(&rig).iter().sum::<usize>(), before + 2);
    }
    let mut counted = counts(&rig);
    counted.sort_unstable();
    assert_eq!(
        set, 4,
        "one for each Service, and one where a cookie names the other's pod only"
    );
    assert!(counted[4] >= 22 && counted[5] >= 22, "{counted:?}");
}

#[test]
fn the_pod_that_answers_sooner_gets_more() {
    let rig = rig(2, "narthex.io/balance: ewma");
    rig.pods[0].takes(std::time::Duration::from_millis(100));
    let mut clients: Vec<_> = (0..4).map(|_| rig.client()).collect();
    for _ in 0..25 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.answer().status, 200);
        }
    }
    let counts = counts(&rig);
    assert!(counts[1] > counts[0] * 2, "{counts:?}");
}

#[test]
fn a_new_pod_begins_slowly() {
    let annotation = "narthex.io/slow-start: 10m";
    let rig = rig(3, annotation);
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods[..2], annotation)).unwrap();
    let settled = || {
        let before = counts(&rig)[2];
        (0..6).for_each(|_| _ = ask(&rig, "/", ""));
        counts(&rig)[2] == before
    };
    eventually("the third is gone", || settled().then_some(()));
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, annotation)).unwrap();
    eventually("the third has joined", || (!settled()).then_some(()));
    let before = counts(&rig)[2];
    for _ in 0..100 {
        ask(&rig, "/", "");
    }
    let share = counts(&rig)[2] - before;
    assert!(share < 25, "a new pod got {share} of 100 at once");
}

#[test]
fn settings_of_an_ingress_are_its_own() {
    let rig = Rig::with(2, &["--shards", "1"], |pods| {
        service_with("web", pods, "narthex.io/balance: p2c")
            + &ingress("a", "a.test", "/", "web", "")
            + &ingress(
                "b",
                "b.test",
                "/",
                "web",
                ", annotations: {narthex.io/sticky-cookie: b}",
            )
    });
    let of = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = rig.client().send(request).answer();
        answer.field("set-cookie").is_some()
    };
    assert_eq!((of("a.test"), of("b.test")), (false, true));
}
