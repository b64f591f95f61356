use super::*;

#[test]
fn names_that_no_secret_can_have_are_not_asked_for() {
    let can = |namespace: &str, name: &str| can_be(&(namespace.into(), name.into()));
    assert!(can("team-a", "cert.example-1"));
    for (namespace, name) in [
        ("", "cert"),
        ("team-a", ""),
        ("..", "cert"),
        ("a/b", "cert"),
        ("team-a", "a,type=x"),
        ("team-a", "A b"),
    ] {
        assert!(!can(namespace, name), "{namespace} {name}");
    }
}
