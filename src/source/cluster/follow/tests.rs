//! The loop against a scripted API server, in simulated time: what a real one does too rarely to wait for.

mod stage;

use super::*;
use serde_json::json;
use stage::*;

#[tokio::test(start_paused = true)]
async fn pages_become_one_change_and_half_a_list_none() {
    let mut stage = stage(vec![
        page("5", "more", vec![service("a", "1")]),
        // The rest of that list is gone: begin again.
        refusal(410),
        page("9", "more", vec![service("b", "2")]),
        list("9", vec![service("c", "3")]),
        events(&[("ADDED", service("d", "10"))], End::Never),
    ]);
    assert_eq!(stage.said(3).await, ["replace b c", "synced it", "apply d"]);
    assert_eq!(
        stage.asked(5).await,
        ["list", "list more", "list", "list more", "watch 9"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_object_is_reported_and_the_rest_goes_on() {
    let odd = json!({
        "metadata": {"name": "odd", "namespace": "n", "resourceVersion": "6"}, "spec": {"ports": [{"port": "x"}]},
    });
    let mut stage = stage(vec![
        list("5", vec![odd.clone(), service("a", "1")]),
        events(
            &[
                ("MODIFIED", odd.clone()),
                ("MODIFIED", service("a", "7")),
                ("DELETED", odd),
            ],
            End::Never,
        ),
    ]);
    let broken = "broken Service n/odd: spec.ports[0].port: invalid type: string \"x\", expected i32";
    let expected = [
        &format!("replace a {broken}"),
        "synced it",
        broken,
        "apply a",
        "delete odd",
    ];
    assert_eq!(stage.said(5).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_the_last_event_or_bookmark_was() {
    let stage = stage(vec![
        list("5", vec![]),
        events(
            &[("ADDED", service("a", "6")), ("BOOKMARK", bookmark("8"))],
            End::After(40),
        ),
        events(&[], End::After(40)),
        events(&[("BOOKMARK", bookmark("11"))], End::After(40)),
    ]);
    assert_eq!(
        stage.asked(5).await,
        ["list", "watch 5", "watch 8", "watch 8", "watch 11"]
    );
    assert_eq!(stage.failing(), None);
}

#[tokio::test(start_paused = true)]
async fn gone_means_a_new_list_at_once() {
    let gone = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
    let mut stage = stage(vec![
        list("5", vec![service("a", "1"), service("b", "2")]),
        reply(200, "", End::After(40)),
        events(&[("ERROR", gone)], End::Now),
        list("20", vec![service("b", "2")]),
        events(&[], End::Never),
    ]);
    assert_eq!(stage.said(3).await, ["replace a b", "synced it", "replace b"]);
    assert_eq!(stage.asked(5).await, ["list", "watch 5", "watch 5", "list", "watch 20"]);
    assert_eq!(stage.failing(), None, "part of a healthy life");
    assert!(
        stage.began.elapsed() < Duration::from_secs(41),
        "{:?}",
        stage.began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn history_that_is_always_gone_is_not_asked_for_in_a_loop() {
    let mut script = vec![];
    for _ in 0..8 {
        script.extend([list("5", vec![]), refusal(410)]);
    }
    let stage = stage(script);
    stage.asked(16).await;
    assert!(
        stage.began.elapsed() > Duration::from_secs(10),
        "{:?}",
        stage.began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_taken_up_after_comparing() {
    let half = format!(
        "{}\n{{\"type\":\"ADD",
        json!({"type": "ADDED", "object": service("a", "6")})
    );
    for end in [End::Now, End::Reset] {
        let mut stage = stage(vec![
            list("5", vec![]),
            reply(200, half.clone(), end),
            list("7", vec![]),
            events(&[("ADDED", service("b", "7"))], End::Never),
        ]);
        assert_eq!(stage.said(4).await, ["replace ", "synced it", "apply a", "apply b"]);
        assert_eq!(stage.asked(4).await, ["list", "watch 5", "compare", "watch 6"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_older_than_ours_is_listed_anew() {
    let mut stage = stage(vec![
        list("100", vec![service("a", "1"), service("b", "99")]),
        reply(200, "", End::Reset),
        list("99", vec![]),
        list("99", vec![service("a", "1")]),
    ]);
    assert_eq!(stage.said(3).await, ["replace a b", "synced it", "replace a"]);
    assert_eq!(
        stage.asked(5).await,
        ["list", "watch 100", "compare", "list", "watch 99"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_healthy_watch_is_compared_every_five_minutes() {
    let mut script = vec![list("5", vec![])];
    script.extend((0..8).map(|_| events(&[], End::After(40))));
    script.push(list("5", vec![]));
    let stage = stage(script);
    let asked = stage.asked(11).await;
    assert_eq!(asked.iter().position(|asked| asked == "compare"), Some(9), "{asked:?}");
    assert_eq!(asked[10], "watch 5");
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_given_up_within_a_minute() {
    let stage = stage(vec![
        list("5", vec![]),
        events(&[], End::Never),
        list("5", vec![]),
        events(&[], End::Never),
    ]);
    assert_eq!(stage.asked(4).await, ["list", "watch 5", "compare", "watch 5"]);
    let took = stage.began.elapsed();
    assert!(
        Duration::from_secs(44) < took && took < Duration::from_secs(60),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_away_is_listed_anew_and_nothing_is_taken_away() {
    let mut stage = stage(vec![
        list("5", vec![service("a", "1")]),
        reply(200, "", End::Reset),
        reply(0, "connection refused", End::Now),
        reply(0, "connection refused", End::Now),
        reply(503, "starting", End::Now),
        // It was restored, and had moved on beyond our 5 by the time it was back: only a list can show that.
        list("9", vec![service("b", "9")]),
        events(&[], End::Never),
    ]);
    assert_eq!(stage.said(2).await, ["replace a", "synced it"]);
    stage.asked(4).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        stage.failing().as_deref(),
        Some("no answer from the API server: connection refused")
    );
    assert_eq!(stage.said(1).await, ["replace b"], "no list in between");
    assert_eq!(
        stage.asked(7).await,
        ["list", "watch 5", "compare", "list", "list", "list", "watch 9"]
    );
    assert_eq!(stage.failing(), None);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_left_alone_as_long_as_it_asks() {
    let busy = Reply {
        headers: vec![("retry-after", "7")],
        ..refusal(429)
    };
    let stage = stage(vec![list("5", vec![]), busy, events(&[], End::Never)]);
    assert_eq!(
        stage.asked(3).await,
        ["list", "watch 5", "watch 5"],
        "nothing is lost, nothing to list"
    );
    assert!(
        stage.began.elapsed() >= Duration::from_secs(7),
        "{:?}",
        stage.began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_not_believed() {
    let mut stage = stage(vec![
        reply(200, "<html>login</html>", End::Now),
        reply(200, "{}", End::Now),
        list("5", vec![service("a", "1")]),
        reply(200, "nonsense\n", End::Never),
        list("6", vec![service("a", "1")]),
        events(&[("ADDED", json!({"metadata": {"name": "x"}}))], End::Never),
        list("7", vec![service("a", "1")]),
    ]);
    assert_eq!(
        stage.said(4).await,
        ["replace a", "synced it", "replace a", "replace a"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_server_is_asked_in_its_own_version() {
    const VERSIONS: &[&str] = &[
        "networking.k8s.io/v1",
        "networking.k8s.io/v1beta1",
        "extensions/v1beta1",
    ];
    let old = json!({
        "metadata": {"name": "old", "namespace": "n", "resourceVersion": "1"},
        "spec": {"backend": {"serviceName": "a", "servicePort": 80}},
    });
    // Not there, and forbidden by a role that only knows the oldest: the way of the walkthrough.
    let script = vec![
        refusal(404),
        refusal(403),
        list("5", vec![old]),
        events(&[], End::Never),
    ];
    let mut stage = stage_of(Kind::Ingress, VERSIONS, Some(Duration::from_secs(30)), script);
    let Some(Event::Change(Change::Replace { objects, .. })) = stage.events.recv().await else {
        panic!()
    };
    let [Object::Ingress(ingress)] = &objects[..] else {
        panic!("{objects:?}")
    };
    assert!(ingress.legacy && ingress.default_backend.is_some());
    stage.asked(4).await;
    let paths: Vec<_> = stage
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|uri| uri.split('?').next().unwrap().to_owned())
        .collect();
    assert_eq!(paths[2..], ["/apis/extensions/v1beta1/ingresses"; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_denied_wait_or_give_up_as_they_are_told() {
    let patient = stage((0..10).map(|_| refusal(403)).collect());
    patient.asked(10).await;
    assert!(
        patient
            .failing()
            .unwrap()
            .starts_with("forbidden: add to the ClusterRole")
    );
    let waited = patient.began.elapsed();
    assert!(
        Duration::from_secs(60) < waited && waited < Duration::from_secs(600),
        "{waited:?}"
    );

    let hasty = stage_of(Kind::Service, SERVICES, None, vec![refusal(404)]);
    let ended = hasty.follower.await.unwrap();
    assert!(matches!(ended, Ended::Denied(ApiError::Missing(_))), "{ended:?}");
}

fn secret(name: &str, kind: &str, version: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "n", "resourceVersion": version}, "type": kind,
        "data": {"tls.crt": "b25l", "tls.key": "dHdv"},
    })
}

#[tokio::test(start_paused = true)]
async fn of_secrets_only_certificates_are_asked_for_and_come_whole() {
    let mut stage = stage_of(
        Kind::Secret,
        SERVICES,
        None,
        vec![
            list("5", vec![secret("cert", "kubernetes.io/tls", "1")]),
            events(&[], End::Never),
        ],
    );
    let Some(Event::Change(Change::Replace { objects, .. })) = stage.events.recv().await else {
        panic!()
    };
    let [Object::Secret(cert)] = &objects[..] else {
        panic!("{objects:?}")
    };
    assert_eq!(cert.key.as_deref(), Some(&b"two"[..]));
    stage.asked(2).await;
    for uri in stage.requests.lock().unwrap().iter() {
        assert!(uri.contains("fieldSelector=type%3Dkubernetes.io%2Ftls"), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_by_name_is_asked_for_alone_and_is_no_full_list() {
    let ledger = Arc::<Ledger>::default();
    ledger.begin(("n".into(), "ca".into())).await;
    let mut broken = secret("ca", "Opaque", "8");
    broken["data"]["tls.crt"] = json!("hunter2 !");
    let script = vec![
        list("5", vec![secret("ca", "Opaque", "1")]),
        events(
            &[("MODIFIED", secret("ca", "Opaque", "7")), ("MODIFIED", broken)],
            End::Now,
        ),
        refusal(410),
        list("9", vec![]),
        events(&[], End::Never),
    ];
    let mut stage = stage_of_secret(ledger, "ca", script);
    let said = stage.said(4).await;
    assert_eq!((&*said[0], &*said[1], &*said[3]), ("apply ca", "apply ca", "delete ca"));
    assert!(
        said[2].starts_with("broken Secret n/ca: data.tls.crt: not base64"),
        "{said:?}"
    );
    stage.asked(5).await;
    for uri in stage.requests.lock().unwrap().iter() {
        assert!(uri.starts_with("/api/v1/namespaces/n/secrets?"), "{uri}");
        assert!(uri.contains("fieldSelector=metadata.name%3Dca"), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens() {
    let stage = stage(vec![list("5", vec![]), events(&[], End::Never)]);
    stage.asked(2).await;
    drop(stage.events);
    assert!(matches!(stage.follower.await.unwrap(), Ended::Closed));
}
