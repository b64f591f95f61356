use super::*;
use crate::dialect::ingress::{Ingress, IngressBackend, IngressRule, IngressTls, Resource};
use crate::model::object::Endpoints;
use crate::model::object::PortRef;
use serde_json::json;

fn decoded(value: Value) -> Object {
    from_value(value).expect("decodes").expect("a kind of ours")
}

fn refused(value: Value) -> String {
    from_value(value).expect_err("is refused").to_string()
}

fn an_ingress(value: Value) -> Ingress {
    match decoded(value) {
        Object::Ingress(ingress) => (*ingress).clone(),
        other => panic!("not an Ingress: {other:?}"),
    }
}

fn some_endpoints(value: Value) -> Endpoints {
    match decoded(value) {
        Object::Endpoints(endpoints) => (*endpoints).clone(),
        other => panic!("not Endpoints: {other:?}"),
    }
}

#[test]
fn an_ingress_keeps_what_routes() {
    let ingress = an_ingress(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "web", "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:05Z",
            "uid": "7d9a", "generation": 4, "resourceVersion": "913",
            "annotations": {
                "narthex.io/merge-slashes": "false",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
            "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "v1"}],
        },
        "spec": {
            "ingressClassName": "narthex",
            "defaultBackend": {"resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "static"}},
            "tls": [{"hosts": ["a.example"], "secretName": "cert"}],
            "rules": [
                {"host": "a.example", "http": {"paths": [
                    {"path": "/a", "pathType": "Exact", "backend": {"service": {"name": "a", "port": {"number": 80}}}},
                    {"path": "/b", "backend": {"service": {"name": "b", "port": {"name": "http"}}}},
                    {"pathType": "Prefix", "backend": {}},
                ]}},
                {"host": "b.example"},
            ],
        },
    }));
    assert_eq!(&*ingress.meta.namespace, "shop");
    assert_eq!(ingress.meta.created, Timestamp(1_767_323_045));
    assert_eq!((&*ingress.revision.uid, ingress.revision.generation), ("7d9a", 4));
    assert_eq!(
        ingress.meta.annotations.keys().collect::<Vec<_>>(),
        ["narthex.io/merge-slashes"]
    );
    assert_eq!(ingress.class.as_deref(), Some("narthex"));
    assert_eq!(
        ingress.default_backend.as_deref(),
        Some(&IngressBackend::Resource(Box::new(Resource {
            kind: "k8s.example.com/Bucket".into(),
            name: "static".into()
        })))
    );
    assert_eq!(
        *ingress.tls,
        [IngressTls {
            hosts: Box::new(["a.example".into()]),
            secret: Some("cert".into())
        }]
    );
    assert!(!ingress.legacy);
    let paths = ingress.rules[0].paths.as_ref().unwrap();
    assert_eq!(
        paths[0].backend,
        IngressBackend::Service {
            name: "a".into(),
            port: PortRef::Number(80)
        }
    );
    assert_eq!(paths[0].path_type.as_deref(), Some("Exact"));
    assert_eq!(
        paths[1].backend,
        IngressBackend::Service {
            name: "b".into(),
            port: PortRef::Name("http".into())
        }
    );
    assert_eq!(paths[1].path_type, None);
    assert_eq!((&paths[2].path, &paths[2].backend), (&None, &IngressBackend::Missing));
    assert_eq!(ingress.rules[1].paths, None);
}

#[test]
fn an_old_ingress_of_either_group_becomes_the_same() {
    for api_version in ["extensions/v1beta1", "networking.k8s.io/v1beta1"] {
        let ingress = an_ingress(json!({
            "apiVersion": api_version, "kind": "Ingress", "metadata": {"name": "old"},
            "spec": {
                "backend": {"serviceName": "fallback", "servicePort": "http"},
                "rules": [{"host": "a.example", "http": {"paths": [
                    {"backend": {"serviceName": "deploy1", "servicePort": 80}},
                    {"path": "/q", "pathType": "Prefix", "backend": {"serviceName": "q", "servicePort": "8080"}},
                    {"path": "/r", "backend": {"resource": {"kind": "Bucket", "name": "r"}}},
                ]}}],
            },
        }));
        assert!(ingress.legacy);
        assert_eq!(&*ingress.meta.namespace, "default");
        assert_eq!(ingress.meta.created, Timestamp::UNKNOWN);
        let service = |name: &str, port| IngressBackend::Service {
            name: name.into(),
            port,
        };
        assert_eq!(
            ingress.default_backend.as_deref(),
            Some(&service("fallback", PortRef::Name("http".into())))
        );
        let paths = ingress.rules[0].paths.as_ref().unwrap();
        assert_eq!((&paths[0].path, &paths[0].path_type), (&None, &None));
        assert_eq!(paths[0].backend, service("deploy1", PortRef::Number(80)));
        assert_eq!(paths[1].backend, service("q", PortRef::Number(8080)));
        assert_eq!(
            paths[2].backend,
            IngressBackend::Resource(Box::new(Resource {
                kind: "Bucket".into(),
                name: "r".into()
            }))
        );
    }
}

#[test]
fn a_class_of_either_version_names_its_controller() {
    for api_version in ["networking.k8s.io/v1", "networking.k8s.io/v1beta1"] {
        let class = decoded(json!({
            "apiVersion": api_version, "kind": "IngressClass", "metadata": {"name": "narthex"},
            "spec": {"controller": "narthex.io/ingress-controller"},
        }));
        let Object::IngressClass(class) = class else {
            panic!("not a class")
        };
        assert_eq!(class.controller, "narthex.io/ingress-controller");
        assert_eq!(&*class.meta.namespace, "", "classes have no namespace");
    }
}

#[test]
fn a_service_keeps_its_ports_and_first_family() {
    let Object::Service(service) = decoded(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {
            "type": "ClusterIP", "externalName": "left.over", "ipFamilies": ["IPv6", "IPv4"],
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
                {"name": "admin", "port": 81, "targetPort": "adm"},
                {"name": "same", "port": 82},
            ],
        },
    })) else {
        panic!("not a Service")
    };
    assert_eq!(service.external_name, None, "only for type ExternalName");
    assert!(service.ipv6_first);
    assert_eq!(
        service.ports.iter().map(|port| port.target).collect::<Vec<_>>(),
        [Some(8080), None, None]
    );
    assert_eq!(service.ports[0].app_protocol.as_deref(), Some("kubernetes.io/h2c"));
    let Object::Service(external) = decoded(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ext"},
        "spec": {"type": "ExternalName", "externalName": "db.example"},
    })) else {
        panic!("not a Service")
    };
    assert_eq!(external.external_name.as_deref(), Some("db.example"));
}

#[test]
fn a_slice_keeps_conditions_as_written() {
    let slice = some_endpoints(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-abc", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": null, "port": null}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "zone": "a", "targetRef": {"kind": "Pod", "name": "web-1", "uid": "u1"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ],
    }));
    assert_eq!(
        (slice.kind, slice.service.as_deref()),
        (Kind::EndpointSlice, Some("web"))
    );
    assert_eq!(slice.unsupported_type, None);
    let [subset] = &slice.subsets[..] else {
        panic!("one subset")
    };
    assert_eq!(
        subset.ports.iter().map(|port| port.port).collect::<Vec<_>>(),
        [Some(8080), None]
    );
    let [first, second] = &subset.endpoints[..] else {
        panic!("two endpoints")
    };
    assert_eq!(
        (first.ready, first.pod.as_deref(), first.uid.as_deref()),
        (None, Some("web-1"), Some("u1"))
    );
    assert_eq!(first.zone.as_deref(), Some("a"));
    assert_eq!(
        (second.ready, second.serving, second.terminating),
        (Some(false), Some(true), Some(true))
    );
}

#[test]
fn an_old_or_odd_slice_is_read_too() {
    let slice = some_endpoints(json!({
        "apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "metadata": {"name": "s"},
        "addressType": "FQDN",
        "endpoints": [{"addresses": ["a.example"], "topology": {"topology.kubernetes.io/zone": "b"}}],
    }));
    assert_eq!((slice.service, slice.unsupported_type.as_deref()), (None, Some("FQDN")));
    assert_eq!(slice.subsets[0].endpoints[0].zone.as_deref(), Some("b"));
}

#[test]
fn endpoints_are_taken_apart_as_slices_are() {
    let endpoints = some_endpoints(json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "shop"},
        "subsets": [{
            "addresses": [{"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "web-1", "uid": "u1"}}],
            "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": [{"name": "http", "port": 8080}],
        }, {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 9090}]}],
    }));
    assert_eq!(
        (endpoints.kind, endpoints.service.as_deref()),
        (Kind::Endpoints, Some("web"))
    );
    let [first, second] = &endpoints.subsets[..] else {
        panic!("two subsets")
    };
    let conditions: Vec<_> = first
        .endpoints
        .iter()
        .map(|at| (at.addresses[0].as_str(), at.ready, at.serving))
        .collect();
    assert_eq!(
        conditions,
        [
            ("10.0.0.1", Some(true), Some(true)),
            ("10.0.0.2", Some(false), Some(false))
        ]
    );
    assert_eq!(first.endpoints[0].uid.as_deref(), Some("u1"));
    assert_eq!(second.ports[0].port, Some(9090));
}

fn a_secret(fields: Value) -> Value {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert", "namespace": "shop"},
        "type": "kubernetes.io/tls",
    });
    let Value::Object(fields) = fields else { panic!() };
    secret.as_object_mut().unwrap().extend(fields);
    secret
}

fn its_data(fields: Value) -> [Option<String>; 3] {
    let Object::Secret(secret) = decoded(a_secret(fields)) else {
        panic!("not a Secret")
    };
    assert_eq!(secret.kind.as_deref(), Some("kubernetes.io/tls"));
    let text = |bytes: &Option<Arc<[u8]>>| Some(String::from_utf8(bytes.as_ref()?.to_vec()).unwrap());
    [text(&secret.certificate), text(&secret.key), text(&secret.ca)]
}

#[test]
fn of_a_secret_three_entries_are_kept() {
    let some = |text: &str| Some(text.to_owned());
    let data = json!({"tls.crt": "b25l", "tls.key": "dHdv", "ca.crt": "dGhyZWU=", "password": "not base64 !"});
    assert_eq!(
        its_data(json!({"data": data})),
        [some("one"), some("two"), some("three")]
    );
    assert_eq!(
        its_data(json!({"data": data, "stringData": {"tls.key": "new", "other": 5}})),
        [some("one"), some("new"), some("three")],
        "stringData overrides, entry by entry"
    );
    assert_eq!(
        its_data(json!({"data": {"tls.crt": "", "tls.key": null, "ca.crt": "dGhy\nZWU=\n"}})),
        [some(""), None, some("three")]
    );
    assert_eq!(its_data(json!({"data": null})), [None, None, None]);
    assert_eq!(its_data(json!({})), [None, None, None]);
}

#[test]
fn no_error_holds_what_a_secret_holds() {
    const HIDDEN: &str = "hunter2 !";
    let cases = [
        (json!({"data": {"tls.crt": HIDDEN}}), "data.tls.crt: not base64"),
        (json!({"data": {"tls.key": [HIDDEN]}}), "data.tls.key: not text"),
        (
            json!({"data": {"ca.crt": HIDDEN}, "stringData": {"ca.crt": "x"}}),
            "data.ca.crt: not base64",
        ),
        (json!({"data": HIDDEN}), "data: not a mapping"),
        (json!({"stringData": [HIDDEN]}), "stringData: not a mapping"),
        (
            json!({"stringData": {"tls.key": {"x": HIDDEN}}}),
            "stringData.tls.key: not text",
        ),
        (json!({"type": {"x": HIDDEN}}), "type: does not fit, expected a string"),
        (
            json!({"immutable": HIDDEN}),
            "immutable: does not fit, expected a boolean",
        ),
        (
            json!({"metadata": {"name": "cert", "namespace": "shop", "creationTimestamp": HIDDEN}}),
            "metadata.creationTimestamp: does not fit",
        ),
    ];
    for (fields, start) in cases {
        let error = from_value(a_secret(fields)).expect_err("is refused");
        let said = error.to_string();
        assert!(said.starts_with(&format!("Secret shop/cert: {start}")), "{said}");
        let all = format!("{said} {error:?} {:?}", Diagnostic::from(error.clone()));
        assert!(!all.contains("hunter2"), "{all}");
    }
    let good = decoded(a_secret(
        json!({"stringData": {"tls.key": HIDDEN, "tls.crt": HIDDEN, "ca.crt": HIDDEN}}),
    ));
    let bytes = format!("{:?}", HIDDEN.as_bytes());
    for said in [
        format!("{good:?}"),
        format!("{:?}", crate::dialect::Change::Apply(good.clone())),
    ] {
        assert!(!said.contains("hunter2") && !said.contains(&bytes), "{said}");
    }
}

#[test]
fn a_mistake_names_object_and_field() {
    let v1 = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
        "spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "a", "port": {"number": "x"}}}}]}}]},
    });
    assert_eq!(
        refused(v1),
        "Ingress default/web: spec.rules[0].http.paths[0].backend.service.port.number: \
         invalid type: string \"x\", expected i32"
    );
    let beta = json!({
        "apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "n"},
        "spec": {"rules": [{"host": 5}]},
    });
    assert_eq!(
        refused(beta),
        "Ingress n/web: spec.rules[0].host: invalid type: integer `5`, expected a string"
    );
    let created =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "creationTimestamp": "then"}});
    assert!(refused(created).starts_with("Service default/s: metadata.creationTimestamp: "));
}

#[test]
fn a_diagnostic_says_the_same() {
    let error = failure(Some(ObjectRef::new(Kind::Service, "n", "s")), "spec.ports", "odd");
    let said = error.to_string();
    let diagnostic = Diagnostic::from(error);
    assert_eq!((diagnostic.code, diagnostic.to_string()), (Code::InvalidObject, said));
}

#[test]
fn other_kinds_are_none_of_ours() {
    let kinds = [
        ("apps/v1", "Deployment"),
        ("serving.knative.dev/v1", "Service"),
        ("config.openshift.io/v1", "Ingress"),
    ];
    for (api_version, kind) in kinds {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
        assert_eq!(from_value(object), Ok(None), "{api_version} {kind}");
    }
    assert_eq!(from_value(Value::Null), Ok(None), "an empty document");
}

#[test]
fn what_is_no_object_is_said() {
    assert_eq!(
        refused(json!({"image": "nginx"})),
        "kind: missing: this is not a Kubernetes object"
    );
    assert_eq!(refused(json!(["a"])), "kind: missing: this is not a Kubernetes object");
    assert_eq!(
        refused(json!({"kind": "Ingress"})),
        "apiVersion: missing: which Ingress is this?"
    );
    assert_eq!(
        refused(json!({"apiVersion": "v1", "kind": "Service", "metadata": {}})),
        "metadata.name: missing: every Service needs a name"
    );
    assert_eq!(
        refused(json!({"apiVersion": "v1", "kind": "Ingress", "metadata": {"name": "web"}})),
        "Ingress default/web: apiVersion: there is no Ingress in \"v1\"; the current one is \"networking.k8s.io/v1\""
    );
}

#[test]
fn what_many_ingresses_say_is_kept_once() {
    let ingress = |name: &str| {
        an_ingress(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "shop", "annotations": {"narthex.io/hsts": "off"}},
            "spec": {
                "rules": [{"host": "a.example", "http": {"paths": [
                    {"path": "/a", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
                ]}}],
                "tls": [{"hosts": ["a.example"], "secretName": "cert"}],
            },
        }))
    };
    fn texts(ingress: &Ingress) -> Vec<&str> {
        let (rule, tls) = (&ingress.rules[0], &ingress.tls[0]);
        let path = &rule.paths.as_ref().unwrap()[0];
        let IngressBackend::Service { name, .. } = &path.backend else {
            panic!("a Service");
        };
        let of_path = [path.path.as_deref().unwrap(), path.path_type.as_deref().unwrap(), name];
        let others = [&*ingress.meta.namespace, rule.host.as_deref().unwrap(), &tls.hosts[0]];
        let secret = tls.secret.as_deref().unwrap();
        (of_path.into_iter().chain(others).chain([secret]))
            .chain(ingress.meta.annotations.keys())
            .collect()
    }
    let (one, other) = (ingress("one"), ingress("other"));
    for (text, same) in texts(&one).into_iter().zip(texts(&other)) {
        assert!(std::ptr::eq(text, same), "two copies of {text}");
    }
}

#[test]
fn nulls_are_absences() {
    let ingress = an_ingress(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "web", "annotations": null, "creationTimestamp": null},
        "spec": {"rules": [{"host": null, "http": {"paths": null}}], "tls": null},
    }));
    assert_eq!(
        *ingress.rules,
        [IngressRule {
            host: None,
            paths: Some(Box::default()),
            unclear: false,
        }]
    );
    assert_eq!(
        decoded(json!({
            "apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "web"}, "spec": null,
        }))
        .reference(),
        ObjectRef::new(Kind::Ingress, "default", "web")
    );
}

#[test]
fn fields_of_a_newer_kubernetes_are_no_mistake_from_a_cluster() {
    let value = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "newer": 1},
        "spec": {"newer": 1, "rules": [{"newer": 1, "http": {"paths": [{"newer": 1, "path": "/", "pathType": "Prefix"}]}}]},
    });
    let Ok(Some(Object::Ingress(ingress))) = from_value(value.clone()) else {
        panic!("not an Ingress");
    };
    assert!(
        ingress
            .rules
            .iter()
            .all(|rule| !rule.unclear && rule.paths.iter().flatten().all(|path| !path.unclear))
    );
    let manifest = from_manifest(value).unwrap();
    assert_eq!(manifest.said.len(), 4);
}

#[test]
fn other_groups_have_kinds_of_the_same_name() {
    let object = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "web"}, "spec": {}});
    for (api_version, kind) in [
        ("networking.internal.knative.dev/v1alpha1", "Ingress"),
        ("config.openshift.io/v1", "Ingress"),
        ("serving.knative.dev/v1", "Service"),
    ] {
        let value = object(api_version, kind);
        assert_eq!(from_value(value.clone()), Ok(None), "{api_version} {kind}");
        let manifest = from_manifest(value).unwrap();
        assert!(
            manifest.object.is_none() && manifest.said.is_empty(),
            "{api_version} {kind}"
        );
    }
    for (api_version, kind) in [
        ("networking.k8s.io/v1", "Ingress"),
        ("extensions/v1beta1", "Ingress"),
        ("v1", "Service"),
    ] {
        assert!(
            from_value(object(api_version, kind)).unwrap().is_some(),
            "{api_version} {kind}"
        );
    }
    for (api_version, kind) in [("v1", "Ingress"), ("discovery.k8s.io/v1", "Endpoints")] {
        assert!(from_value(object(api_version, kind)).is_err(), "{api_version} {kind}");
    }
}
