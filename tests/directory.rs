//! Manifests from files: what one reading finds and says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::testing::dialect::Object;
use narthex::testing::source::directory::{Loaded, load};
use std::fs;
use std::path::Path;

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports: [{{port: 80}}]\n")
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded
        .objects
        .iter()
        .map(|(object, _)| object.reference().to_string())
        .collect()
}

fn said(loaded: &Loaded, folder: &Path) -> Vec<String> {
    let prefix = format!("{}/", folder.display());
    loaded
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.to_string().replace(&prefix, ""))
        .collect()
}

fn read(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let loaded = load(&[folder.path().to_owned()]);
    (names(&loaded), said(&loaded, folder.path()))
}

#[test]
fn folders_are_read_in_order_without_hidden_files() {
    let (names, said) = read(&[
        ("b.yml", &service("b")),
        ("a.yaml", &service("a")),
        ("a/z.YAML", &service("az")),
        (".hidden.yaml", &service("hidden")),
        (".git/x.yaml", &service("git")),
        ("notes.txt", "not: [yaml"),
        (
            "c.json",
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"c"}}"#,
        ),
        ("c.yaml~", &service("backup")),
    ]);
    let expected = ["az", "a", "b", "c"].map(|name| format!("Service default/{name}"));
    assert_eq!(names, expected);
    assert_eq!(said, [""; 0]);
}

#[test]
fn lists_and_many_documents_and_json() {
    let (names, said) = read(&[
        (
            "1.yaml",
            &format!("---\n{}---\n---\n# none\n---\n{}...\n", service("a"), service("b")),
        ),
        (
            "2.yaml",
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: c}\n- \
             {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}\n",
        ),
        (
            "3.json",
            r#"{"apiVersion":"networking.k8s.io/v1","kind":"IngressList","items":[{"metadata":{"name":"e"},"spec":{}}]}
               {"apiVersion":"v1","kind":"Service","metadata":{"name":"f","namespace":"n"}}"#,
        ),
        ("4.yaml", "replicaCount: 2\nimage: {tag: x}\n"),
        ("5.yaml", "apiVersion: v1\nkind: List\nitems:\n"),
    ]);
    assert_eq!(said, [""; 0]);
    assert_eq!(
        names,
        [
            "Service default/a",
            "Service default/b",
            "Service default/c",
            "Ingress default/e",
            "Service n/f"
        ]
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    let (names, said) = read(&[
        (
            "1.yaml",
            &format!("{}---\nspec:\n  rules:\n  - host: *.example.com\n", service("a")),
        ),
        (
            "2.yaml",
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  rules:\n  - host: x\n    \
             http:\n      paths:\n      - path: /\n        backend:\n          service:\n            name: b\n            \
             port:\n              number: eighty\n",
        ),
        ("3.yaml", "kind: Service\nmetadata: {name: c}\n"),
        ("4.yaml", "just words\n"),
        ("5.yaml", &service("a")),
        ("6.yaml", &format!("{}---\n{}", service("d"), service("d"))),
        ("7.json", "{\"apiVersion\": \"v1\",\n \"kind\": }\n"),
        ("8.yaml", "- apiVersion: v1\n  kind: Service\n"),
    ]);
    assert_eq!(names, ["Service default/a", "Service default/d"]);
    let expected = [
        "1.yaml:9:11: `*.example.com` is a YAML alias, and there is no anchor `&.example.com`; if it is meant as text, \
         put it in quotes: \"*.example.com\"",
        "2.yaml:14:23: Ingress default/web: spec.rules[0].http.paths[0].backend.service.port.number: ",
        "3.yaml:1:1: `apiVersion` is missing: which kind of object is this?",
        "4.yaml:1:1: text, no Kubernetes object: that is a mapping with `apiVersion` and `kind`",
        "5.yaml:1:1: Service default/a: given twice: 1.yaml:1:1 has it too, and that one is used",
        "6.yaml:7:1: Service default/d: given twice: 6.yaml:1:1 has it too, and that one is used",
        "7.json:2:10: expected value",
        "8.yaml:1:1: a bare list: several objects need `---` between them, or `kind: List` with `items`",
    ];
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    assert_eq!(said.len(), expected.len());
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("latin1.yaml"), b"a: b\nc: caf\xe9\n").unwrap();
    fs::File::create(at("long.yaml"))
        .unwrap()
        .set_len((64 << 20) + 1)
        .unwrap();
    fs::write(at("other.txt"), service("named")).unwrap();
    let loaded = load(&[folder.path().to_owned(), at("missing.yaml"), at("other.txt")]);
    assert_eq!(names(&loaded), ["Service default/named"]);
    assert_eq!(
        said(&loaded, folder.path()),
        [
            "missing.yaml: cannot be read: no such file or directory",
            "latin1.yaml:2:7: not UTF-8 text",
            "long.yaml: longer than 64 MiB: split it into several files",
        ]
    );
}

#[test]
fn a_config_map_mount_and_loops_of_links_are_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
    fs::create_dir_all(at("..2024_01_01")).unwrap();
    fs::write(at("..2024_01_01/a.yaml"), service("a")).unwrap();
    link("..2024_01_01", "..data");
    link("..data/a.yaml", "a.yaml");
    link(".", "loop");
    link("nowhere", "dangling.yaml");
    let loaded = load(&[folder.path().to_owned(), at("a.yaml")]);
    assert_eq!(names(&loaded), ["Service default/a"]);
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(
        loaded.objects[0].1.to_string(),
        format!("{}/a.yaml:1:1", folder.path().display())
    );
}

#[test]
fn a_secret_has_its_data_and_no_complaint_quotes_it() {
    let file = |entries: &str| {
        let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: cert}\ntype: kubernetes.io/tls\n";
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cert.yaml"), format!("{head}{entries}")).unwrap();
        let loaded = load(&[folder.path().to_owned()]);
        let said = said(&loaded, folder.path());
        (loaded, said)
    };
    let (loaded, said) = file("data: {tls.crt: b25l, tls.key: dHdv}\nstringData:\n  tls.key: |\n    hunter2\n");
    assert!(said.is_empty(), "{said:?}");
    let [(Object::Secret(secret), _)] = &loaded.objects[..] else {
        panic!("{:?}", loaded.objects)
    };
    assert_eq!(secret.certificate.as_deref(), Some(&b"one"[..]));
    assert_eq!(secret.key.as_deref(), Some(&b"hunter2\n"[..]));

    let (_, said) = file("data:\n  tls.crt: hunter2 !\n");
    let expected = "cert.yaml:6:12: Secret default/cert: data.tls.crt: not base64";
    assert!(said[0].starts_with(expected), "{said:?}");

    let spoiled = [
        "data: {tls.crt: hunter2 !}\n",
        "data: hunter2\n",
        "stringData:\n  tls.key: [hunter2]\n",
        "stringData:\n  ? [hunter2]\n  : x\n",
        "stringData:\n  tls.key: hunter2: hunter2\n",
        "stringData:\n  tls.key: \"hunter2\n",
        "stringData:\n  tls.key: \"\\hunter2\"\n",
        "stringData:\n  tls.key: *hunter2\n",
        "stringData:\n  tls.key: |\n    -----BEGIN\n  hunter2\n",
        "immutable: hunter2\n",
    ];
    for entries in spoiled {
        let (loaded, said) = file(entries);
        assert!(loaded.objects.is_empty() && !said.is_empty(), "{entries}: {loaded:?}");
        assert!(
            !format!("{said:?} {loaded:?}").contains("hunter2"),
            "{entries}: {said:?}"
        );
    }
}

#[test]
fn no_valid_field_is_unknown() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check/every-field.yaml");
    let loaded = load(&[file]);
    assert_eq!(said(&loaded, Path::new("")), [""; 0]);
    assert_eq!(loaded.objects.len(), 11);
}

#[test]
fn what_yaml_does_not_take_for_text_is_to_be_put_in_quotes() {
    for (written, read) in [
        ("y", "the boolean true"),
        ("on", "the boolean true"),
        ("No", "the boolean false"),
        ("123", "the number 123"),
        ("1e3", "the number 1000"),
        ("~", "nothing"),
        ("null", "nothing"),
    ] {
        for text in [
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {written}}}\n"),
            format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {written} # mine\n"),
        ] {
            let (names, said) = self::read(&[("a.yaml", &text)]);
            assert_eq!(names, [""; 0]);
            let wanted = format!(
                "metadata.name: it has to be text: every Service needs a name (YAML reads {written} as {read}: if it is \
                 meant as text, put it in quotes: \"{written}\")"
            );
            assert!(said.len() == 1 && said[0].ends_with(&wanted), "{written}: {said:?}");
        }
    }
    let ingress = |host: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: a}}\nspec:\n  rules: [{{host: {host}}}]\n"
        )
    };
    let (_, said) = read(&[("a.yaml", &ingress("no"))]);
    assert!(said[0].ends_with("put it in quotes: \"no\")"), "{said:?}");
    let namespace = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: no}\n";
    let (names, said) = read(&[("a.yaml", namespace)]);
    assert_eq!(names, [""; 0]);
    assert!(said[0].ends_with("put it in quotes: \"no\")"), "{said:?}");
    let kind = "apiVersion: v1\nkind: yes\nmetadata: {name: a}\n";
    let (_, said) = read(&[("a.yaml", kind)]);
    assert!(
        said[0].contains("`kind` has to be text (YAML reads yes as the boolean true"),
        "{said:?}"
    );
    let (names, said) = read(&[("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: }\n")]);
    assert_eq!(names, [""; 0]);
    assert!(said[0].ends_with("every Service needs a name"), "{said:?}");
}

#[test]
fn a_name_holds_nothing_that_could_hide() {
    for name in ["a\\e[2J", "a\\x9b", "a\\u202eb", "a/b", "a b", "a\\nb"] {
        let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: \"{name}\"}}\n");
        let (names, said) = read(&[("a.yaml", &text)]);
        assert_eq!(names, [""; 0]);
        assert!(
            said[0].contains("is not a valid name") && said[0].is_ascii(),
            "{said:?}"
        );
        assert!(!said[0].contains(char::is_control), "{said:?}");
    }
}

#[test]
fn aliases_are_counted_by_their_bytes() {
    let long = format!("a: &a \"{}\"\nb:\n{}", "x".repeat(100_000), "- *a\n".repeat(5_000));
    let (names, said) = read(&[
        ("a.yaml", &(service("first") + "---\n" + &long)),
        ("b.yaml", &service("b")),
    ]);
    assert_eq!(names, ["Service default/first", "Service default/b"]);
    assert!(
        said.len() == 1 && said[0].contains("the aliases of this file"),
        "{said:?}"
    );
}

#[test]
fn helm_like_files_are_read_as_they_are_meant() {
    let with = |text: &str| read(&[("a.yaml", text)]);
    let one = service("a");
    let cases = [
        ("windows", one.replace('\n', "\r\n") + "---\r\n" + &service("b").replace('\n', "\r\n"), 2),
        ("a byte order mark", format!("\u{feff}---\n{one}"), 1),
        ("marks before later documents", format!("{one}---\n\u{feff}{}", service("b")), 2),
        ("markers everywhere", format!("---\n---\n---\n{one}---\n---\n\n---\n{}---\n", service("b")), 2),
        ("text behind a marker", format!("--- # Source: x.yaml\n{one}---   \n{}", service("b")), 2),
        ("ends of documents", format!("{one}...\n...\n---\n{}...\n", service("b")), 2),
        ("comments only", "# Source: chart/templates/a.yaml\n---\n# nothing\n".to_owned(), 0),
        ("nothing but markers", "---\n---\n---".to_owned(), 0),
        ("nothing", String::new(), 0),
        ("null", "null\n---\n~\n".to_owned(), 0),
        ("a directive", format!("%YAML 1.1\n---\n{one}"), 1),
        ("indented", one.lines().map(|line| format!("  {line}\n")).collect(), 1),
        ("no end of line", one.trim_end().to_owned(), 1),
        ("empty annotations", one.replace("{name: a}", "{name: a, annotations: , labels: {}}"), 1),
        ("an annotation without text", one.replace("{name: a}", "{name: a, annotations: {narthex.io/a: , b: ~}}"), 1),
        ("empty lists", one.replace("ports: [{port: 80}]", "ports:"), 1),
        ("an empty spec", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n".to_owned(), 1),
        ("a list of lists", format!("apiVersion: v1\nkind: List\nitems:\n- kind: ServiceList\n  apiVersion: v1\n  items:\n  - metadata: {{name: a}}\n{}", ""), 1),
        ("an empty list", "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems: []\n".to_owned(), 0),
        ("anchors", "x-a: &a {app: x}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, labels: &l {app: x}}\nspec: {selector: *l, ports: [{port: 80}]}\n".to_owned(), 1),
        ("merges", "apiVersion: v1\nkind: List\nitems:\n- &b {apiVersion: v1, kind: Service, metadata: {name: a}}\n- {<<: *b, metadata: {name: b}}\n".to_owned(), 2),
        ("hooks", one.replace("{name: a}", "{name: a, annotations: {helm.sh/hook: pre-install, \"helm.sh/hook-weight\": \"-5\"}}"), 1),
        ("json lines", "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"a\"}}\n---\n{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"b\"}}\n".to_owned(), 2),
        ("a chart", "apiVersion: v2\nname: chart\nversion: 1.0.0\ndependencies: []\n".to_owned(), 0),
        ("values", "image: {repository: x}\nservice: {type: ClusterIP}\ningress: {enabled: true, hosts: [a]}\n".to_owned(), 0),
        ("values with a kind", "kind: DaemonSet\nimage: {tag: x}\n".to_owned(), 0),
        ("kustomize", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n".to_owned(), 0),
        ("a kubeconfig", "apiVersion: v1\nkind: Config\nclusters: []\n".to_owned(), 0),
    ];
    for (what, text, objects) in cases {
        let (names, said) = with(&text);
        assert_eq!(said, [""; 0], "{what}: {text}");
        assert_eq!(names.len(), objects, "{what}: {names:?}\n{text}");
    }
}

#[test]
fn what_is_not_meant_so_says_what_was() {
    for (text, wanted) in [
        (
            "apiVersion: v1\nkind: Service\nMetadata: {name: a}\n",
            "(is that what `Metadata` was meant to be?)",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {Name: a}\n",
            "(is that what `Name` was meant to be?)",
        ),
        ("a:\n- b:c\n  d: e\n", "is a space missing after a `:`"),
        (
            "a: {{ .Values.a }}\nb: {{- x }}\n",
            "helm template CHART | narthex check -",
        ),
    ] {
        let (names, said) = read(&[("a.yaml", text)]);
        assert_eq!(names, [""; 0]);
        assert!(said.len() == 1 && said[0].contains(wanted), "{text}: {said:?}");
    }
    // But not of a Secret, whose contents may stand anywhere.
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {password: 31337}}\ntype: 31337\n";
    let (_, said) = read(&[("a.yaml", secret)]);
    assert!(said.len() == 1 && !said[0].contains("31337"), "{said:?}");
}
