use super::*;

fn map(name: &str, data: &[(&str, &str)]) -> Arc<ConfigMap> {
    let meta = Meta {
        namespace: "ingress-nginx".into(),
        name: name.into(),
        ..Meta::default()
    };
    let data = data.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Arc::new(ConfigMap {
        meta,
        data: data.collect(),
        not_text: Vec::new(),
    })
}

fn read(data: &[(&str, &str)]) -> (Config, Vec<Finding>) {
    let other = map("fields", &[("X-A", "$host"), ("X-B", "b")]);
    let find = |key: &Key| (*key.1 == *"fields").then(|| other.clone());
    Config::read(&map("controller", data), find)
}

#[test]
fn a_wrong_value_is_said_and_costs_no_other() {
    let (config, findings) = read(&[
        ("proxy-body-size", "8m"),
        ("proxy-read-timeout", "20m"),
        ("hsts-max-age", "many"),
        ("hsts-preload", "true"),
        ("use-http2", "true"),
        ("use-forwarded-headers", "false"),
        ("worker-processes", "4"),
        ("proxy-buffer-size", "16k"),
        ("no-such-key", "1"),
        ("add-headers", "ingress-nginx/fields"),
        ("proxy-set-headers", "none"),
    ]);
    assert_eq!((config.body, config.read), (Some(8 << 20), None));
    let hsts = config.hsts.value().unwrap();
    assert_eq!(hsts, "max-age=31536000; includeSubDomains; preload");
    let said: Vec<(&str, bool)> = findings.iter().map(|one| (&*one.key, one.is_wrong)).collect();
    assert_eq!(
        said,
        [
            ("hsts-max-age", true),
            ("no-such-key", false),
            ("proxy-read-timeout", true),
            ("use-http2", false),
            ("proxy-set-headers", true),
        ]
    );
    assert_eq!(config.added.len(), 2);
}

#[test]
fn a_list_that_cannot_be_read_lets_nobody_in() {
    let (config, findings) = read(&[("whitelist-source-range", "10.0.0.0/33")]);
    assert_eq!((config.closed_by, config.allow), (Some("whitelist-source-range"), None));
    assert_eq!(findings.len(), 1);
    let (config, findings) = read(&[("whitelist-source-range", "10.0.0.0/8"), ("block-cidrs", "")]);
    assert_eq!((config.closed_by, findings.len()), (None, 0));
    assert!(config.allow.is_some() && config.blocked.is_none());
}

#[test]
fn fields_that_frame_messages_are_refused() {
    let other = map("fields", &[("Transfer-Encoding", "chunked")]);
    for key in ["add-headers", "proxy-set-headers"] {
        let (config, findings) = Config::read(&map("controller", &[(key, "fields")]), |_| Some(other.clone()));
        assert_eq!(findings.len(), 1, "{key}");
        assert!(config.added.is_empty() && config.for_pods.is_empty());
    }
}
