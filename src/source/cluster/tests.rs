use super::*;

#[test]
fn without_namespaces_everything_is_watched_once() {
    let names: Vec<_> = duties(&ClusterOptions::default())
        .iter()
        .map(|duty| (duty.name(), duty.required))
        .collect();
    let expected = [
        ("ingressclasses", false),
        ("gatewayclasses", true),
        ("namespaces", false),
        ("ingresses", true),
        ("services", true),
        ("endpointslices", true),
        ("secrets", false),
        ("gateways", true),
        ("httproutes", true),
        ("grpcroutes", true),
        ("tlsroutes", true),
        ("tcproutes", true),
        ("referencegrants", true),
    ];
    assert_eq!(names, expected.map(|(name, required)| (name.to_owned(), required)));
}

#[test]
fn a_kind_of_a_dialect_is_watched_where_a_flag_asks_for_it() {
    let options = ClusterOptions {
        asked_for: vec![Kind::Route],
        needs_namespaces: true,
        ..ClusterOptions::default()
    };
    let names: Vec<_> = duties(&options)
        .iter()
        .map(|duty| (duty.name(), duty.required))
        .collect();
    assert!(names.contains(&("routes".to_owned(), true)), "{names:?}");
    assert!(names.contains(&("namespaces".to_owned(), true)), "{names:?}");
}

#[test]
fn with_namespaces_only_what_has_none_is_watched_everywhere() {
    let options = ClusterOptions {
        namespaces: vec!["b".to_owned(), "a".to_owned(), "b".to_owned()],
        ..ClusterOptions::default()
    };
    let duties = duties(&options);
    let everywhere: Vec<_> = duties.iter().filter(|duty| duty.namespace.is_none()).collect();
    let kinds: Vec<_> = everywhere.iter().map(|duty| duty.kind).collect();
    assert_eq!(kinds, [Kind::IngressClass, Kind::GatewayClass, Kind::Namespace]);
    let names: Vec<_> = duties.iter().map(Duty::name).collect();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(" in b")).count(),
        10,
        "{names:?}"
    );
    assert!(names.contains(&"services in a".to_owned()));
}

#[test]
fn forbidden_names_the_rule_to_add() {
    let forbidden = ApiError::Forbidden("User \"x\" cannot list".to_owned());
    assert_eq!(
        advice(&forbidden, Kind::IngressClass, None),
        "forbidden: add to the ClusterRole: {apiGroups: [\"networking.k8s.io\"], \
         resources: [\"ingressclasses\"], verbs: [\"get\",\"list\",\"watch\"]}"
    );
    assert_eq!(
        advice(&forbidden, Kind::Service, Some("team-a")),
        "forbidden: add to a Role in namespace team-a: {apiGroups: [\"\"], \
         resources: [\"services\"], verbs: [\"get\",\"list\",\"watch\"]}"
    );
    let missing = ApiError::Missing("the server could not find the requested resource".to_owned());
    assert_eq!(
        advice(&missing, Kind::EndpointSlice, None),
        "the API server has no endpointslices in discovery.k8s.io/v1, discovery.k8s.io/v1beta1"
    );
}

#[tokio::test]
async fn a_kubeconfig_that_is_no_good_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let said = async |text: Option<&str>| {
        let path = folder.path().join("config");
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => drop(std::fs::remove_file(&path)),
        }
        let options = ClusterOptions {
            kubeconfig: Some(path.clone()),
            ..Default::default()
        };
        let error = connect(&options).await.err().expect("is refused").to_string();
        assert!(!error.contains('\n'), "{error}");
        error.replace(path.to_str().unwrap(), "PATH")
    };
    assert_eq!(
        said(None).await,
        "kubeconfig PATH: No such file or directory (os error 2)"
    );
    assert!(
        said(Some("{ not yaml"))
            .await
            .starts_with("kubeconfig PATH: failed to parse")
    );
    assert_eq!(
        said(Some("apiVersion: v1\nkind: Config\n")).await,
        "kubeconfig PATH: failed to determine current context"
    );
}

#[test]
fn waits_double_and_stay_within_bounds() {
    let (shortest, longest) = (Duration::from_millis(400), Duration::from_secs(30));
    for attempts in 0..100 {
        let wait = pause(shortest, longest, attempts);
        let full = shortest
            .saturating_mul(2_u32.saturating_pow(attempts.min(20)))
            .min(longest);
        assert!(full / 2 <= wait && wait <= full, "{attempts}: {wait:?}");
    }
}
