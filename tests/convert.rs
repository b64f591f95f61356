//! `narthex convert`: old manifests to today's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::testing::cli::convert::convert;
use narthex::testing::source::directory::node::Node;
use narthex::testing::source::directory::yaml::documents;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

fn converted(text: &str) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.yaml");
    fs::write(&file, text).unwrap();
    let mut out = Vec::new();
    let notes = convert(&[file], &mut out).unwrap();
    let prefix = format!("{}/", folder.path().display());
    let notes = notes.iter().map(|note| note.replace(&prefix, "")).collect();
    (String::from_utf8(out).unwrap(), notes)
}

fn fixture(name: &str) -> (String, Vec<String>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/walkthrough")
        .join(name);
    converted(&fs::read_to_string(path).unwrap())
}

fn json(text: &str) -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    documents(text, false, &mut |node: Node| found.push(node.to_json())).unwrap();
    found
}

#[test]
fn the_walkthroughs_rule() {
    let (out, notes) = fixture("ingress.rule.yaml");
    insta::assert_snapshot!("rule", out);
    insta::assert_snapshot!("rule_notes", notes.join("\n"));
}

#[test]
fn the_walkthroughs_rbac() {
    let (out, notes) = fixture("ingress.rbac.yaml");
    insta::assert_snapshot!("rbac", out);
    insta::assert_snapshot!("rbac_notes", notes.join("\n"));
}

#[test]
fn the_walkthroughs_daemon_set_passes_through() {
    let (out, notes) = fixture("traefik-ds.yaml");
    insta::assert_snapshot!("daemon_set", out);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn every_kind_that_moved() {
    let (out, notes) = converted(include_str!("fixtures/convert/old.yaml"));
    insta::assert_snapshot!("old", out);
    insta::assert_snapshot!("old_notes", notes.join("\n"));
}

#[test]
fn a_second_conversion_changes_nothing() {
    for text in [
        include_str!("fixtures/convert/old.yaml"),
        include_str!("fixtures/walkthrough/ingress.rbac.yaml"),
        include_str!("fixtures/walkthrough/ingress.rule.yaml"),
    ] {
        let (once, _) = converted(text);
        let (twice, notes) = converted(&once);
        assert_eq!(once, twice);
        assert_eq!(notes, [""; 0]);
    }
}

#[test]
fn lists_and_json_are_taken_apart() {
    let (out, _) = converted(
        r#"{"kind":"IngressList","apiVersion":"extensions/v1beta1","items":[
            {"metadata":{"name":"a"},"spec":{"backend":{"serviceName":"s","servicePort":"http"}}},
            {"metadata":{"name":"b"},"spec":{"backend":{"serviceName":"s","servicePort":"80"}}}]}
           {"kind":"List","apiVersion":"v1","items":[{"z":1,"kind":"ConfigMap","apiVersion":"v1","a":null}]}"#,
    );
    insta::assert_snapshot!("lists", out);
}

#[test]
fn text_stays_text() {
    let text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: \"80\"\n  b: 'yes'\n  c: \"null\"\n  d: '0x1f'\n  e: \"1e3\"\n  \
                f: \"2020-01-01\"\n  g: \"\"\n  h: '~'\n  i: \"*.example.com\"\n  j: \"y\"\n  k: '1_000'\n  l: \"12:30:45\"\n  \
                m: |\n    line\n      deeper\n\n    last\n  n: |-\n    x\n    y\n  o: 'a: b # c'\n  p: \"\\ttab\"\n  \
                \"80\": x\n  \"true\": x\n  q: |+\n    keep\n\n";
    let (out, notes) = converted(text);
    assert_eq!(json(&out), json(text));
    assert_eq!(notes, [""; 0]);
}

#[test]
fn nothing_is_written_when_a_file_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.yaml"), "kind: X\n").unwrap();
    fs::write(at("b.yaml"), "kind: X\n---\na: [\n").unwrap();
    for second in ["b.yaml", "missing.yaml"] {
        let mut out = Vec::new();
        let error = convert(&[at("a.yaml"), at(second)], &mut out).unwrap_err();
        assert!(
            error.to_string().starts_with(&at(second).display().to_string()),
            "{error}"
        );
        assert_eq!(out, b"");
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        any::<String>(),
        "[ -~\n\t]{0,40}",
        "[-+0-9._xobeE:~ \n#]{0,8}",
        Just(" \n".to_owned()),
        Just("\n\n".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("[ -~]{1,12}", inner, 0..5)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    /// Whatever a manifest holds, it means the same after being written and read again.
    #[test]
    fn what_is_written_reads_the_same(value in value()) {
        let text = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "data": value}).to_string();
        let (out, _) = converted(&text);
        prop_assert_eq!(json(&out), json(&text), "{}", out);
    }
}

#[test]
fn routes_of_openshift_become_ingresses() {
    let (out, notes) = converted(include_str!("fixtures/convert/routes.yaml"));
    insta::assert_snapshot!("routes", out);
    insta::assert_snapshot!("routes_notes", notes.join("\n"));
}
